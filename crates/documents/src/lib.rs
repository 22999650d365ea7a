//! Answers questions with the best passage of a folder of documents, or of the guide inside the binary.
//!
//! The way of a document, from the file to the index:
//! * `folder` finds and reads the files, `decoding` makes text of their bytes;
//! * `html`, `markdown_writer` and `open_elements` turn HTML into Markdown, `site_tags` takes out what site generators read;
//! * `passages` cuts each page into passages under their headings, with links resolved by `address`;
//! * `term_index` indexes the words of the passages (`tokens`) in the forms that `language` gives.
//!
//! The way of a question, from its text to the answer:
//! * `subject` keeps the words that carry meaning (`lexicon` lists those that carry none);
//! * `query` finds what the index has for them: the words, their `synonyms`, or what `spelling` and `typos` make of them;
//! * `ranking` scores the passages and tells how sure it is;
//! * `answer` writes the best passage, of a table the row that answers (`tables`), or what can be asked about.
//!
//! `document_index` joins the two; `live_index` replaces the whole index when the folder changes. What a change of
//! words or weights does to the answers, `golden.toml` and `cargo xtask docs` measure.

mod address;
mod answer;
mod decoding;
mod document_index;
mod folder;
mod html;
mod language;
mod lexicon;
mod live_index;
mod markdown_writer;
mod open_elements;
mod passages;
mod query;
mod ranking;
mod site_tags;
mod spelling;
mod subject;
mod synonyms;
mod tables;
mod term_index;
mod tokens;
mod typos;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use self::live_index::{FolderWatcher, LiveIndex};

pub use self::document_index::{DocumentIndex, Found};
pub use self::folder::LeftOut;
pub use self::ranking::Certainty;

/// A documents bot's own settings in the configuration file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// A folder of Markdown, HTML and text files, read with its subfolders. Empty: the guide inside the binary.
    #[serde(default)]
    pub folder: String,
    /// The web address under which the folder's files are served. Empty: answers carry no links to them.
    #[serde(default)]
    pub link_base: String,
    /// What stands in an address in place of a file's extension, such as `.html` or `/`. Absent: the file's own name.
    #[serde(default)]
    pub link_suffix: Option<String>,
    /// A file of the folder with words for the same. Empty: the built-in ones alone.
    #[serde(default)]
    pub synonyms: String,
    /// A line below replies that are not sure, which says where else to ask. Empty: none.
    #[serde(default)]
    pub fallback: String,
    /// How much a file or a folder counts, by its path in the folder; 1 where it is not named, 0: it is left out. Of
    /// several paths the longest holds.
    #[serde(default)]
    pub weights: BTreeMap<String, f32>,
}

impl Settings {
    /// Finds a setting that cannot be meant: its name and why.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        if self.folder.is_empty() {
            let of_folders = [
                ("link_base", !self.link_base.is_empty()),
                ("link_suffix", self.link_suffix.is_some()),
                ("synonyms", !self.synonyms.is_empty()),
                ("weights", !self.weights.is_empty()),
            ];
            if let Some((name, _)) = of_folders.into_iter().find(|(_, is_set)| *is_set) {
                let message =
                    format!("it is for the files of a folder: set folder too, or leave {name} away");
                return Err((name, message));
            }
        }
        if self.link_suffix.is_some() && self.link_base.is_empty() {
            return Err(("link_suffix", "without a link_base there are no links to files".to_owned()));
        }
        for (path, weight) in &self.weights {
            if !WEIGHTS.contains(weight) {
                let (least, most) = (WEIGHTS.start(), WEIGHTS.end());
                return Err(("weights", format!("{path:?} has {weight}; {least} to {most} are allowed")));
            }
        }
        Ok(())
    }

    /// With the folder's full path, which errors show: a relative one depends on where the program was started.
    fn with_full_path(&self) -> Result<Self, String> {
        let folder = std::path::absolute(&self.folder)
            .map_err(|error| format!("the folder {:?} cannot be read: {error}", self.folder))?;
        Ok(Self { folder: folder.display().to_string(), ..self.clone() })
    }

    /// The weight of the file at a path of the folder.
    fn weight(&self, path: &str) -> f32 {
        let is_below = |folder: &str| {
            let folder = folder.trim_start_matches("./").trim_end_matches('/');
            path.strip_prefix(folder)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || folder.is_empty())
        };
        let named = self.weights.iter().filter(|(folder, _)| is_below(folder));
        named.max_by_key(|(folder, _)| folder.len()).map_or(1.0, |(_, weight)| *weight)
    }
}

/// The weights of files and folders that are allowed.
pub const WEIGHTS: RangeInclusive<f32> = 0.0..=10.0;

/// The files of the settings' folder that are not answered from, and why. Reads the files, without an index. The error names
/// the folder and its fault.
pub fn left_out(settings: &Settings) -> Result<Vec<LeftOut>, String> {
    if settings.folder.is_empty() {
        return Ok(Vec::new());
    }
    let settings = settings.with_full_path()?;
    let scan = folder::scan(&settings.folder)?;
    Ok(document_index::read(&settings, &scan).left_out)
}

/// How often a folder is scanned for changed files.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// The documents of one bot.
pub struct Documents(LiveIndex);

impl Documents {
    /// Reads and indexes the documents, which blocks for as long as that takes. `guide_base` is the absolute address
    /// of `/guide`. The error names the folder or file and its fault.
    pub fn new(id: &str, settings: &Settings, guide_base: &str) -> Result<Self, String> {
        let index = if settings.folder.is_empty() {
            LiveIndex::fixed(DocumentIndex::guide(id, settings, guide_base))
        } else {
            LiveIndex::watching(FolderWatcher::open(id, settings)?, POLL_INTERVAL)?
        };
        Ok(Self(index))
    }

    /// The current index.
    #[must_use]
    pub fn index(&self) -> Arc<DocumentIndex> {
        self.0.get()
    }
}

#[cfg(test)]
mod folder_tests;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod html_tests;
#[cfg(test)]
mod tests;
