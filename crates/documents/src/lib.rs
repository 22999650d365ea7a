//! Answers questions with the best passage of a folder of documents, or of the guide inside the binary.
//!
//! The way of a document, from the file to the index:
//! * `folder` finds and reads the files; `html` and `open_elements` turn HTML into Markdown;
//! * `passages` cuts each page into passages under their headings, with links resolved by `address`;
//! * `term_index` indexes the words of the passages in the forms that `language` gives.
//!
//! The way of a question, from its text to the answer:
//! * `subject` keeps the words that carry meaning (`lexicon` lists those that carry none);
//! * `ranking` scores the passages that have those words, their synonyms or, for misspelt words, what `typos` finds;
//! * `answer` writes the best passage, suggestions, or the topics of the documents as an answer object.
//!
//! `document_index` joins the two; `live_index` replaces the whole index when the folder changes. What a change of
//! words or weights does to the answers, `golden.toml` measures.

mod address;
mod answer;
mod document_index;
mod folder;
mod html;
mod language;
mod lexicon;
mod live_index;
mod open_elements;
mod passages;
mod ranking;
mod subject;
mod term_index;
mod typos;

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use self::live_index::{FolderWatcher, LiveIndex};

pub use self::document_index::{Certainty, DocumentIndex, Found};

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
            LiveIndex::fixed(DocumentIndex::guide(id, guide_base)?)
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
