//! Writes the reply: a passage, or the topics that can be asked about.

use std::collections::HashSet;

use serde::Serialize;
use uuid::Uuid;
use wicara_guide::Language;
use wicara_guide::markdown::escape_into;
use wicara_model::{Answer, Json, flow_id};

use crate::address::Addresses;
use crate::passages::{Link, Page, Passage};
use crate::query::AskedWord;
use crate::subject::SmallTalk;
use crate::tables;

/// Links below an answer.
const MAX_LINKS: usize = 3;
/// Topics listed where there is no answer.
const MAX_TOPICS: usize = 5;

/// The answer object as the Chatbot API documents it.
#[derive(Serialize)]
struct AnswerObject<'a> {
    text: &'a str,
    properties: Properties<'a>,
    category: &'a str,
    id: Uuid,
    flow_id: Uuid,
    suggest_links: Vec<SuggestLink>,
}

#[derive(Serialize)]
struct Properties<'a> {
    source: Source<'a>,
    icon: &'a str,
    allow_markdown: bool,
    state: &'a str,
    text_color: &'a str,
    background_color: &'a str,
}

#[derive(Serialize)]
struct Source<'a> {
    id: &'a str,
    display_name: &'a str,
    source: &'a str,
}

#[derive(Serialize)]
struct SuggestLink {
    title: String,
    url: String,
}

/// Why there is no passage to show.
#[derive(Debug, Clone, Copy)]
pub enum TopicsReason {
    NothingFound,
    SmallTalk(SmallTalk),
}

/// A text in Markdown, and the links below it.
pub struct Reply {
    text: String,
    links: Vec<Link>,
}

/// A passage with its page.
pub type Shown<'a> = (&'a Page, &'a Passage);

impl Reply {
    /// The first passage as the answer, under its page and heading; of a table where one row answers, that row. The links:
    /// the passage itself, those in its text, and the other passages, which are near to the question too.
    #[must_use]
    pub fn answer(found: &[Shown], asked: &[AskedWord], addresses: &Addresses) -> Self {
        let (page, passage) = found[0];
        let mut reply = Self::passage(page, passage, asked, addresses);
        reply.links.extend(passage.links.iter().cloned());
        reply.add_links(&found[1..], addresses);
        reply
    }

    /// The first passage as a possible answer, and links to the others.
    #[must_use]
    pub fn offer(found: &[Shown], asked: &[AskedWord], language: Language, addresses: &Addresses) -> Self {
        let (page, passage) = found[0];
        let mut reply = Self::passage(page, passage, asked, addresses);
        let hedge = match language {
            Language::English => "Perhaps this:",
            Language::Indonesian => "Mungkin ini:",
        };
        reply.text.insert_str(0, &format!("{hedge}\n\n"));
        reply.add_links(&found[1..], addresses);
        if reply.links.is_empty() && found.len() > 1 {
            // Without addresses the other passages can only be named.
            reply.text.push_str(match language {
                Language::English => "\n\nOr:\n",
                Language::Indonesian => "\n\nAtau:\n",
            });
            for (page, passage) in &found[1..] {
                reply.text.push('\n');
                reply.text.push_str(&list_item(&full_title(page, passage), None));
            }
        }
        reply.links.extend(passage.links.iter().cloned());
        reply.limit_links();
        reply
    }

    fn passage(page: &Page, passage: &Passage, asked: &[AskedWord], addresses: &Addresses) -> Self {
        let title = full_title(page, passage);
        let mut text = String::from("**");
        escape_into(&mut text, &title);
        text.push_str("**\n\n");
        text.push_str(&tables::with_answering_rows(&passage.markdown, asked));
        let own = addresses.page(&page.path, passage.fragment.as_deref());
        Self {
            text: text.trim_end().to_owned(),
            links: own.map(|url| Link { title, url }).into_iter().collect(),
        }
    }

    fn add_links(&mut self, passages: &[Shown], addresses: &Addresses) {
        for (page, passage) in passages {
            let url = addresses.page(&page.path, passage.fragment.as_deref());
            self.links.extend(url.map(|url| Link { title: full_title(page, passage), url }));
        }
        self.limit_links();
    }

    fn limit_links(&mut self) {
        let mut seen = HashSet::new();
        self.links.retain(|link| seen.insert(link.url.clone()));
        self.links.truncate(MAX_LINKS);
    }

    /// What can be asked about: the pages of `nearest`, then others in `language`, or of any where none is.
    #[must_use]
    pub fn topics(
        pages: &[Page],
        nearest: &[usize],
        language: Language,
        reason: TopicsReason,
        addresses: &Addresses,
    ) -> Self {
        let mut text = match (language, reason) {
            (Language::English, TopicsReason::NothingFound) => {
                "I found nothing about that in my documents. I can answer questions about:"
            }
            (Language::English, TopicsReason::SmallTalk(SmallTalk::Greeting)) => {
                "Hello! I answer from my documents. You can ask me about, for example:"
            }
            (Language::English, TopicsReason::SmallTalk(SmallTalk::Thanks)) => "You are welcome!",
            (Language::English, TopicsReason::SmallTalk(SmallTalk::Other)) => {
                "I answer from my documents. You can ask me about, for example:"
            }
            (Language::Indonesian, TopicsReason::NothingFound) => {
                "Maaf, saya tidak menemukan jawabannya di dokumen saya. Saya dapat menjawab pertanyaan tentang:"
            }
            (Language::Indonesian, TopicsReason::SmallTalk(SmallTalk::Greeting)) => {
                "Halo! Saya menjawab dari dokumen yang saya punya. Silakan bertanya, misalnya tentang:"
            }
            (Language::Indonesian, TopicsReason::SmallTalk(SmallTalk::Thanks)) => "Sama-sama!",
            (Language::Indonesian, TopicsReason::SmallTalk(SmallTalk::Other)) => {
                "Saya menjawab dari dokumen yang saya punya. Silakan bertanya, misalnya tentang:"
            }
        }
        .to_owned();
        if matches!(reason, TopicsReason::SmallTalk(SmallTalk::Thanks)) {
            return Self { text, links: Vec::new() };
        }
        text.push('\n');
        let is_own = |page: &Page| page.language == Some(language);
        let any_own = pages.iter().any(is_own);
        let others = (0..pages.len()).filter(|page| !nearest.contains(page));
        let listed = nearest.iter().copied().chain(others).map(|page| &pages[page]);
        for page in listed.filter(|page| is_own(page) || !any_own).take(MAX_TOPICS) {
            let url = addresses.page(&page.path, None);
            text.push('\n');
            text.push_str(&list_item(&page.title, url.as_deref()));
        }
        Self { text, links: Vec::new() }
    }

    /// Adds the operator's line, which says where else to ask. Empty: none.
    #[must_use]
    pub fn with_fallback(mut self, fallback: &str) -> Self {
        if !fallback.is_empty() {
            self.text.push_str("\n\n");
            self.text.push_str(fallback);
        }
        self
    }

    /// The answer object. `id` is its `id` field.
    #[must_use]
    pub fn into_answer(self, bot_id: &str, id: Uuid) -> Answer {
        let links = self.links.into_iter().map(|link| SuggestLink { title: link.title, url: link.url });
        let object = AnswerObject {
            text: &self.text,
            properties: Properties {
                source: Source { id: bot_id, display_name: bot_id, source: "documents" },
                icon: "BookOpen",
                allow_markdown: true,
                state: "complete",
                text_color: "",
                background_color: "",
            },
            category: "message",
            id,
            flow_id: flow_id(bot_id),
            suggest_links: links.collect(),
        };
        Answer::object(Json::of(&object)).expect("an answer object has a text")
    }
}

/// Where a passage stands: its page and heading, or one of them where the other says no more.
fn full_title(page: &Page, passage: &Passage) -> String {
    match passage.headings.last() {
        Some(heading) if *heading != page.title => format!("{} › {heading}", page.title),
        _ => page.title.clone(),
    }
}

fn list_item(title: &str, url: Option<&str>) -> String {
    let mut shown = String::new();
    escape_into(&mut shown, title);
    match url {
        Some(url) => format!("- [{shown}]({url})"),
        None => format!("- {shown}"),
    }
}
