//! A set of documents, indexed: takes a question and returns the whole answer.

use uuid::Uuid;
use wicara_guide::{self as guide, Language};
use wicara_model::{Answer, Question, flow_id};

use crate::address::Addresses;
use crate::answer::{Reply, TopicsReason};
use crate::folder::{self, Format, SourceFile};
use crate::passages::{self, Page, Passage, PassageRef};
use crate::ranking::{Ranker, Ranking};
use crate::subject::{SmallTalk, Subject};

/// How sure a reply is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certainty {
    /// A passage is shown as the answer.
    Sure,
    /// A passage is offered as a possible answer.
    Perhaps,
    /// The documents seem to have no answer.
    Declined,
    /// A greeting, thanks and the like, which ask nothing.
    SmallTalk,
}

/// What a reply shows.
#[derive(Debug)]
pub struct Found {
    pub certainty: Certainty,
    /// The passages that are shown or linked to, best first, as `path#heading`.
    pub places: Vec<String>,
}

/// The documents of a folder, or of the guide, as they were when they were read. It never changes.
pub struct DocumentIndex {
    bot_id: String,
    pages: Vec<Page>,
    /// The language of most pages: the answer's language where the question's cannot be told.
    language: Language,
    addresses: Addresses,
    ranker: Ranker,
}

impl DocumentIndex {
    /// Indexes the guide inside the binary. `base` is the absolute address of `/guide`.
    pub fn guide(bot_id: &str, base: &str) -> Result<Self, String> {
        let addresses = Addresses::new(base);
        let pages = guide::pages().iter().map(|page| {
            let file =
                SourceFile { path: page.slug.clone(), format: Format::Markdown, text: page.markdown.clone() };
            passages::page(file, Some(page.language), &addresses)
        });
        let pages = pages.collect();
        Self::new(bot_id, pages, addresses)
    }

    /// Reads and indexes a folder. `link_base` is the web address of its files; empty where they have none.
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
        let ranker = Ranker::new(&pages);
        let count = |language| pages.iter().filter(|page| page.language == Some(language)).count();
        let mostly_indonesian = count(Language::Indonesian) > count(Language::English);
        let language = if mostly_indonesian { Language::Indonesian } else { Language::English };
        Ok(Self { bot_id: bot_id.to_owned(), pages, language, addresses, ranker })
    }

    /// Always an answer: the best passage, suggestions, or the topics of the documents. Blocks for milliseconds of
    /// processor time.
    pub fn answer(&self, question: &Question) -> Answer {
        let subject = Subject::of(question);
        let language = subject.language.unwrap_or(self.language);
        let reply = match self.ranker.rank(&subject, self.language) {
            Ranking::Answer(best) => {
                let (page, passage) = self.resolve(best);
                Reply::passage(page, passage, &self.addresses)
            }
            Ranking::Suggestions(best) => {
                let suggested: Vec<_> = best.into_iter().map(|passage| self.resolve(passage)).collect();
                let language = subject.language.or(suggested[0].0.language).unwrap_or(language);
                Reply::suggestions(&suggested, language, &self.addresses)
            }
            Ranking::NoMatch => {
                Reply::topics(&self.pages, language, TopicsReason::NothingFound, &self.addresses)
            }
            Ranking::NoSubject => {
                let reason = TopicsReason::SmallTalk(SmallTalk::of(&question.text));
                Reply::topics(&self.pages, language, reason, &self.addresses)
            }
        };
        let id = Uuid::new_v5(&flow_id(&self.bot_id), &i64::from(question.id).to_be_bytes());
        reply.into_answer(&self.bot_id, id)
    }

    /// What [`Self::answer`] finds, for measuring.
    #[must_use]
    pub fn find(&self, question: &Question) -> Found {
        let (certainty, passages) = match self.ranker.rank(&Subject::of(question), self.language) {
            Ranking::Answer(best) => (Certainty::Sure, vec![best]),
            Ranking::Suggestions(passages) => (Certainty::Perhaps, passages),
            Ranking::NoMatch => (Certainty::Declined, Vec::new()),
            Ranking::NoSubject => (Certainty::SmallTalk, Vec::new()),
        };
        let places = passages.into_iter().map(|passage| {
            let (page, passage) = self.resolve(passage);
            let fragment = passage.fragment.as_deref().map(|fragment| format!("#{fragment}"));
            format!("{}{}", page.path, fragment.unwrap_or_default())
        });
        Found { certainty, places: places.collect() }
    }

    fn resolve(&self, passage: PassageRef) -> (&Page, &Passage) {
        let page = &self.pages[passage.page];
        (page, &page.passages[passage.passage])
    }
}
