//! Writes the reply: a passage, suggestions, or the topics that can be asked about.

use serde::Serialize;
use uuid::Uuid;
use wicara_guide::Language;
use wicara_guide::markdown::escape_into;
use wicara_model::{Answer, Json, flow_id};

use crate::address::Addresses;
use crate::passages::{Link, Page, Passage};
use crate::subject::SmallTalk;

/// Links below an answer.
const MAX_LINKS: usize = 3;
/// Topics listed where there is no answer.
const MAX_TOPICS: usize = 20;

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

/// Why the topics are listed instead of an answer.
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

impl Reply {
    /// A passage under its heading. Its links: the passage itself, then those in its text.
    #[must_use]
    pub fn passage(page: &Page, passage: &Passage, addresses: &Addresses) -> Self {
        let heading = passage.headings.last().unwrap_or(&page.title);
        let mut text = String::from("**");
        escape_into(&mut text, heading);
        text.push_str("**\n\n");
        text.push_str(&passage.markdown);
        let title = full_title(page, passage);
        let mut links: Vec<Link> = Vec::new();
        let own = addresses.page(&page.path, passage.fragment.as_deref()).map(|url| Link { title, url });
        for link in own.into_iter().chain(passage.links.iter().cloned()) {
            if links.len() < MAX_LINKS && links.iter().all(|other| other.url != link.url) {
                links.push(link);
            }
        }
        Self { text, links }
    }

    /// Links to passages that cover a part of the question, without a claim to answer it.
    #[must_use]
    pub fn suggestions(passages: &[(&Page, &Passage)], language: Language, addresses: &Addresses) -> Self {
        let mut text = match language {
            Language::English => "I am not sure that I have an answer to that. Perhaps one of these helps:",
            Language::Indonesian => {
                "Saya tidak yakin punya jawabannya. Mungkin salah satu dari ini membantu:"
            }
        }
        .to_owned();
        text.push('\n');
        let mut links: Vec<Link> = Vec::new();
        for (page, passage) in passages {
            let title = full_title(page, passage);
            let url = addresses.page(&page.path, passage.fragment.as_deref());
            let item = list_item(&title, url.as_deref());
            // A long section has several passages with the same heading and address.
            if !text.lines().any(|line| line == item) {
                text.push('\n');
                text.push_str(&item);
                links.extend(url.map(|url| Link { title, url }));
            }
        }
        Self { text, links }
    }

    /// The titles of the pages in `language`, or of all pages where none is.
    #[must_use]
    pub fn topics(pages: &[Page], language: Language, reason: TopicsReason, addresses: &Addresses) -> Self {
        let mut text = match (language, reason) {
            (Language::English, TopicsReason::NothingFound) => {
                "I found nothing about that in my documents. I can answer questions about:"
            }
            (Language::English, TopicsReason::SmallTalk(SmallTalk::Greeting)) => {
                "Hello! I answer from my documents. You can ask me about:"
            }
            (Language::English, TopicsReason::SmallTalk(SmallTalk::Thanks)) => "You are welcome! You can also ask me about:",
            (Language::English, TopicsReason::SmallTalk(SmallTalk::Other)) => {
                "I answer from my documents. You can ask me about:"
            }
            (Language::Indonesian, TopicsReason::NothingFound) => {
                "Maaf, saya tidak menemukan jawabannya di dokumen saya. Saya dapat menjawab pertanyaan tentang:"
            }
            (Language::Indonesian, TopicsReason::SmallTalk(SmallTalk::Greeting)) => {
                "Halo! Saya menjawab dari dokumen yang saya punya. Silakan bertanya tentang:"
            }
            (Language::Indonesian, TopicsReason::SmallTalk(SmallTalk::Thanks)) => {
                "Sama-sama! Silakan bertanya lagi, misalnya tentang:"
            }
            (Language::Indonesian, TopicsReason::SmallTalk(SmallTalk::Other)) => {
                "Saya menjawab dari dokumen yang saya punya. Silakan bertanya tentang:"
            }
        }
        .to_owned();
        text.push_str("\n\n");
        let own: Vec<_> = pages.iter().filter(|page| page.language == Some(language)).collect();
        let listed = if own.is_empty() { pages.iter().collect() } else { own };
        for page in listed.iter().take(MAX_TOPICS) {
            let url = addresses.page(&page.path, None);
            text.push_str(&list_item(&page.title, url.as_deref()));
            text.push('\n');
        }
        let more = listed.len().saturating_sub(MAX_TOPICS);
        if more > 0 {
            text.push_str(&match language {
                Language::English => format!("- and {more} more\n"),
                Language::Indonesian => format!("- dan {more} lainnya\n"),
            });
        }
        Self { text: text.trim_end().to_owned(), links: Vec::new() }
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

fn full_title(page: &Page, passage: &Passage) -> String {
    match passage.headings.last() {
        Some(heading) => format!("{} › {heading}", page.title),
        None => page.title.clone(),
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
