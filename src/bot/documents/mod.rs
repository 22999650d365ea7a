//! Kind `documents`: answers with the best passage of a folder of documents, or of the guide inside the binary.

mod address;
mod answer;
mod folder;
pub mod guide;
mod html;
mod index;
pub mod language;
mod lexicon;
mod library;
pub mod markdown;
mod passages;
mod search;
mod shelf;
mod subject;
mod typos;

use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use serde::Deserialize;

use self::library::Library;
use self::shelf::{Shelf, Watched};
use super::{Bot, Error, Part, Parts, Question};

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

/// A few questions with their answers: enough for one that goes on from another.
const EARLIER_MESSAGES: usize = 8;
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
}

impl Bot for Documents {
    fn ask(&self, question: Question) -> Parts {
        let library = self.0.library();
        stream::once(async move {
            let answer = tokio::task::spawn_blocking(move || library.answer(&question));
            answer.await.map_err(|_| Error::Unreadable("the search broke off".to_owned()))?.map(Part::Answer)
        })
        .boxed()
    }

    fn history(&self) -> usize {
        EARLIER_MESSAGES
    }
}

#[cfg(test)]
mod folder_tests;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;
