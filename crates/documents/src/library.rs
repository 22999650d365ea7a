//! A set of documents, ready to be asked.

use uuid::Uuid;
use wicara_guide::{self as guide, Language};
use wicara_model::{Answer, Question, flow_id};

use crate::address::Addresses;
use crate::answer::{Reply, Topics};
use crate::folder::{self, File, Format};
use crate::passages::{self, Page};
use crate::search::{Found, Search};
use crate::subject::{SmallTalk, Subject};

pub struct Library {
    bot_id: String,
    pages: Vec<Page>,
    /// The language of most pages, for questions that show none.
    language: Language,
    addresses: Addresses,
    search: Search,
}

impl Library {
    /// The guide inside the binary.
    pub fn guide(bot_id: &str, base: &str) -> Result<Self, String> {
        let addresses = Addresses::new(base);
        let pages = guide::pages().iter().map(|page| {
            let file =
                File { path: page.slug.clone(), format: Format::Markdown, text: page.markdown.clone() };
            passages::page(file, Some(page.language), &addresses)
        });
        let pages = pages.collect();
        Self::new(bot_id, pages, addresses)
    }

    /// A folder as it is now.
    pub fn folder(bot_id: &str, folder: &str, link_base: &str) -> Result<Self, String> {
        let addresses = Addresses::new(link_base);
        let files = folder::read(folder)?;
        let pages = files.into_iter().map(|file| passages::page(file, None, &addresses));
        let pages: Vec<_> = pages.filter(|page| !page.passages.is_empty()).collect();
        if pages.is_empty() {
            return Err(format!("the documents in {folder} are empty"));
        }
        Self::new(bot_id, pages, addresses)
    }

    fn new(bot_id: &str, pages: Vec<Page>, addresses: Addresses) -> Result<Self, String> {
        let search =
            Search::new(&pages).map_err(|error| format!("the documents cannot be indexed: {error}"))?;
        let count = |language| pages.iter().filter(|page| page.language == Some(language)).count();
        let indonesian = count(Language::Indonesian) > count(Language::English);
        let language = if indonesian { Language::Indonesian } else { Language::English };
        Ok(Self { bot_id: bot_id.to_owned(), pages, language, addresses, search })
    }

    pub fn answer(&self, question: &Question) -> tantivy::Result<Answer> {
        let subject = Subject::of(question);
        let language = subject.language.unwrap_or(self.language);
        let reply = match self.search.find(&subject, self.language)? {
            Found::Passage((page, passage)) => {
                let page = &self.pages[page];
                Reply::passage(page, &page.passages[passage], &self.addresses)
            }
            Found::Perhaps(places) => {
                let offers: Vec<_> = places
                    .iter()
                    .map(|(page, passage)| (&self.pages[*page], &self.pages[*page].passages[*passage]))
                    .collect();
                let language = subject.language.or(offers[0].0.language).unwrap_or(language);
                Reply::offers(&offers, language, &self.addresses)
            }
            Found::Nothing => Reply::topics(&self.pages, language, Topics::NothingFound, &self.addresses),
            Found::NoSubject => {
                let said = Topics::Said(SmallTalk::of(&question.text));
                Reply::topics(&self.pages, language, said, &self.addresses)
            }
        };
        let id = Uuid::new_v5(&flow_id(&self.bot_id), &i64::from(question.id).to_be_bytes());
        Ok(reply.into_answer(&self.bot_id, id))
    }
}
