//! Kind `documents`: answers with the best passage of a folder of documents, or of the guide inside the binary.

mod address;
mod answer;
mod folder;
pub mod guide;
mod html;
pub mod language;
pub mod markdown;
mod passages;
mod search;

use std::sync::Arc;

use futures_util::stream::{self, StreamExt};
use serde::Deserialize;
use uuid::Uuid;

use self::address::Addresses;
use self::answer::Reply;
use self::folder::{File, Format};
use self::language::Language;
use self::passages::Page;
use self::search::{Found, Search};
use super::{Bot, Error, Part, Parts, Question};
use crate::model::{Answer, flow_id};

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

pub struct Documents(Arc<Library>);

/// The documents and their index, shared with the threads that search.
struct Library {
    bot_id: String,
    pages: Vec<Page>,
    /// The language of most pages, for questions that show none.
    language: Language,
    addresses: Addresses,
    search: Search,
}

impl Documents {
    /// Reads and indexes the documents: blocks for as long as that takes. `guide_base` is where `/guide` is reached,
    /// as an absolute address. The error names the folder and what is wrong with it.
    pub fn new(id: &str, settings: &Settings, guide_base: &str) -> Result<Self, String> {
        let (addresses, pages) = if settings.folder.is_empty() {
            let addresses = Addresses::new(guide_base);
            let pages = guide::pages().iter().map(|page| {
                let file =
                    File { path: page.slug.clone(), format: Format::Markdown, text: page.markdown.clone() };
                passages::page(file, Some(page.language), &addresses)
            });
            let pages: Vec<_> = pages.collect();
            (addresses, pages)
        } else {
            let addresses = Addresses::new(&settings.link_base);
            let files = folder::read(&settings.folder)?;
            let pages = files.into_iter().map(|file| passages::page(file, None, &addresses));
            let pages: Vec<_> = pages.filter(|page| !page.passages.is_empty()).collect();
            if pages.is_empty() {
                return Err(format!("the documents in {} are empty", settings.folder));
            }
            (addresses, pages)
        };
        let search =
            Search::new(&pages).map_err(|error| format!("the documents cannot be indexed: {error}"))?;
        let count = |language| pages.iter().filter(|page| page.language == Some(language)).count();
        let indonesian = count(Language::Indonesian) > count(Language::English);
        let language = if indonesian { Language::Indonesian } else { Language::English };
        Ok(Self(Arc::new(Library { bot_id: id.to_owned(), pages, language, addresses, search })))
    }
}

impl Bot for Documents {
    fn ask(&self, question: Question) -> Parts {
        let library = Arc::clone(&self.0);
        stream::once(async move {
            let answer = tokio::task::spawn_blocking(move || library.answer(&question));
            answer.await.map_err(|error| Error::Unreadable(error.to_string()))?.map(Part::Answer)
        })
        .boxed()
    }
}

impl Library {
    fn answer(&self, question: &Question) -> Result<Answer, Error> {
        let language = Language::of(&question.text).unwrap_or(self.language);
        let found = self.search.find(&question.text, language);
        let found = found.map_err(|error| Error::Unreadable(format!("the search failed: {error}")))?;
        let reply = match found {
            Found::Passage((page, passage)) => {
                let page = &self.pages[page];
                Reply::passage(page, &page.passages[passage], &self.addresses)
            }
            Found::Nothing => Reply::topics(&self.pages, language, true, &self.addresses),
            Found::NoSubject => Reply::topics(&self.pages, language, false, &self.addresses),
        };
        let id = Uuid::new_v5(&flow_id(&self.bot_id), &i64::from(question.id).to_be_bytes());
        Ok(reply.into_answer(&self.bot_id, id))
    }
}

#[cfg(test)]
mod tests;
