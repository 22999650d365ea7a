//! Answers questions with the best passage of a folder of documents, or of the guide inside the binary.

mod address;
mod answer;
mod folder;
mod html;
mod index;
mod language;
mod lexicon;
mod library;
mod open_elements;
mod passages;
mod search;
mod shelf;
mod subject;
mod typos;

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use self::shelf::{Shelf, Watched};

pub use self::library::Library;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Markdown, HTML and text files, in folders below too. Empty: the guide inside the binary.
    #[serde(default)]
    pub folder: String,
    /// The web address under which the folder's files stand. Empty: answers carry no links to them.
    #[serde(default)]
    pub link_base: String,
}

/// How often a folder is looked at for changes.
const LOOK_EVERY: Duration = Duration::from_secs(5);

pub struct Documents(Shelf);

impl Documents {
    /// Reads and indexes the documents: blocks for as long as that takes. `guide_base` is where `/guide` is reached,
    /// as an absolute address. The error names the folder and what is wrong with it.
    pub fn new(id: &str, settings: &Settings, guide_base: &str) -> Result<Self, String> {
        let shelf = if settings.folder.is_empty() {
            Shelf::fixed(Library::guide(id, guide_base)?)
        } else {
            Shelf::watching(Watched::open(id, settings)?, LOOK_EVERY)?
        };
        Ok(Self(shelf))
    }

    /// The documents as they are indexed now.
    #[must_use]
    pub fn library(&self) -> Arc<Library> {
        self.0.library()
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
