//! A set of documents, indexed: takes a question and returns the whole answer.

use uuid::Uuid;
use wicara_guide::{self as guide, Language};
use wicara_model::{Answer, Question, flow_id};

use crate::Settings;
use crate::address::Addresses;
use crate::answer::{Reply, TopicsReason};
use crate::folder::{self, Format, LeftOut, Scan, SourceFile};
use crate::passages::{self, Page, Passage, PassageRef};
use crate::ranking::{Certainty, Ranker};
use crate::subject::{SmallTalk, Subject};
use crate::synonyms::Synonyms;

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
    /// Added to replies that are not sure.
    fallback: String,
    left_out: Vec<LeftOut>,
}

impl DocumentIndex {
    /// Indexes the guide inside the binary. `base` is the absolute address of `/guide`.
    #[must_use]
    pub fn guide(bot_id: &str, settings: &Settings, base: &str) -> Self {
        let addresses = Addresses::new(base);
        let pages = guide::pages().iter().map(|page| {
            let file =
                SourceFile { path: page.slug.clone(), format: Format::Markdown, text: page.markdown.clone() };
            passages::page(file, Some(page.language), &addresses)
        });
        let mut index = Self::new(bot_id, pages.collect(), Synonyms::built_in(), addresses);
        index.fallback = settings.fallback.clone();
        index
    }

    /// Indexes the documents of a scan. `settings` name its folder.
    pub fn folder(bot_id: &str, settings: &Settings, scan: &Scan) -> Result<Self, String> {
        let addresses = Addresses::new(&settings.link_base).with_suffix(settings.link_suffix.clone());
        let folder = &settings.folder;
        let Documents { files, synonyms, left_out } = read(settings, scan);
        let pages = files.into_iter().map(|file| {
            let weight = settings.weight(&file.path);
            Page { weight, ..passages::page(file, None, &addresses) }
        });
        let pages: Vec<_> = pages.filter(|page| !page.passages.is_empty()).collect();
        if pages.is_empty() {
            let why = left_out.first().map(|file| format!(": {} {}", file.path, file.reason));
            return Err(format!("the documents in {folder} are empty{}", why.unwrap_or_default()));
        }
        let mut index = Self::new(bot_id, pages, synonyms, addresses);
        index.fallback = settings.fallback.clone();
        index.left_out = left_out;
        Ok(index)
    }

    fn new(bot_id: &str, pages: Vec<Page>, synonyms: Synonyms, addresses: Addresses) -> Self {
        let ranker = Ranker::new(&pages, synonyms);
        let count = |language| pages.iter().filter(|page| page.language == Some(language)).count();
        let mostly_indonesian = count(Language::Indonesian) > count(Language::English);
        let language = if mostly_indonesian { Language::Indonesian } else { Language::English };
        let (bot_id, fallback) = (bot_id.to_owned(), String::new());
        Self { bot_id, pages, language, addresses, ranker, fallback, left_out: Vec::new() }
    }

    /// The files of the folder that are not answered from, and why.
    #[must_use]
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// Always an answer: the best passage, suggestions, or the topics of the documents. Blocks for milliseconds of
    /// processor time.
    pub fn answer(&self, question: &Question) -> Answer {
        let subject = Subject::of(question);
        let language = subject.language.unwrap_or(self.language);
        let ranking = self.ranker.rank(&subject, self.language);
        let found: Vec<_> = ranking.passages.iter().map(|passage| self.resolve(*passage)).collect();
        let topics = |reason| Reply::topics(&self.pages, &ranking.pages, language, reason, &self.addresses);
        let reply = match ranking.certainty {
            Certainty::Sure => Reply::answer(&found, &ranking.asked, &self.addresses),
            Certainty::Perhaps | Certainty::Declined if subject.is_thanks => {
                topics(TopicsReason::SmallTalk(SmallTalk::Thanks))
            }
            Certainty::Perhaps => {
                let language = subject.language.or(found[0].0.language).unwrap_or(language);
                Reply::offer(&found, &ranking.asked, language, &self.addresses).with_fallback(&self.fallback)
            }
            Certainty::Declined => topics(TopicsReason::NothingFound).with_fallback(&self.fallback),
            Certainty::SmallTalk => topics(TopicsReason::SmallTalk(SmallTalk::of(&question.text))),
        };
        let id = Uuid::new_v5(&flow_id(&self.bot_id), &i64::from(question.id).to_be_bytes());
        reply.into_answer(&self.bot_id, id)
    }

    /// What [`Self::answer`] finds, for measuring.
    #[must_use]
    pub fn find(&self, question: &Question) -> Found {
        let ranking = self.ranker.rank(&Subject::of(question), self.language);
        let places = ranking.passages.into_iter().map(|passage| {
            let (page, passage) = self.resolve(passage);
            let fragment = passage.fragment.as_deref().map(|fragment| format!("#{fragment}"));
            format!("{}{}", page.path, fragment.unwrap_or_default())
        });
        Found { certainty: ranking.certainty, places: places.collect() }
    }

    fn resolve(&self, passage: PassageRef) -> (&Page, &Passage) {
        let page = &self.pages[passage.page];
        (page, &page.passages[passage.passage])
    }
}

/// What is read of a folder before it is indexed.
pub struct Documents {
    files: Vec<SourceFile>,
    synonyms: Synonyms,
    pub left_out: Vec<LeftOut>,
}

/// Reads the documents of a scan and the operator's synonyms. What cannot be used is left out.
pub fn read(settings: &Settings, scan: &Scan) -> Documents {
    let is_wanted = |path: &str| path != settings.synonyms && settings.weight(path) > 0.0;
    let mut files = folder::read(&settings.folder, scan, folder::LIMITS, is_wanted);
    let synonyms = own_synonyms(settings).unwrap_or_else(|reason| {
        files.left_out.push(LeftOut { path: settings.synonyms.clone(), reason });
        Synonyms::built_in()
    });
    Documents { files: files.documents, synonyms, left_out: files.left_out }
}

/// The synonyms with those of the operator's file. The error says what is wrong with the file.
fn own_synonyms(settings: &Settings) -> Result<Synonyms, String> {
    if settings.synonyms.is_empty() {
        return Ok(Synonyms::built_in());
    }
    let text = folder::read_text(&settings.folder, &settings.synonyms)?;
    Synonyms::read(&text).map_err(|error| format!("cannot be used: {error}"))
}
