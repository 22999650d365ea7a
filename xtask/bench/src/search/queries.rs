//! What is searched for, and the lists of an inbox.

use super::fill::FIRST_YEAR;
use super::words::{apart, common, rare, together};
use crate::bench::{get, key};
use crate::reads::person;
use crate::server::Database;

/// What is searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    Messages,
    Conversations,
}

pub const LISTS: [List; 2] = [List::Messages, List::Conversations];

impl List {
    pub fn path(self) -> &'static str {
        match self {
            Self::Messages => "/api/message",
            Self::Conversations => "/api/conversation",
        }
    }
}

/// What answers have to hold, so that an index that finds nothing is not a quick one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finds {
    Something,
    /// Something in some of many answers: what is rare may be missing in a small database.
    Sometimes,
    Nothing,
}

/// A kind of query. Each request of it has other words.
pub struct Search {
    pub what: &'static str,
    query: fn(i64) -> String,
    /// Besides the query: who asks, and for which time.
    by_one_bot: bool,
    of_a_month: bool,
    pub finds: Finds,
}

const fn search(what: &'static str, query: fn(i64) -> String, finds: Finds) -> Search {
    Search { what, query, by_one_bot: false, of_a_month: false, finds }
}

fn phrase(words: &str) -> String {
    format!("\"{words}\"")
}

pub const SEARCHES: &[Search] = &[
    search("a common word", common, Finds::Something),
    search("a rare word", rare, Finds::Sometimes),
    search("a phrase of two common words", |number| phrase(&together(number)), Finds::Something),
    search("two common words, never a phrase", |number| phrase(&apart(number)), Finds::Nothing),
    search(
        "a common and a rare word",
        |number| format!("{} {}", common(number), rare(number)),
        Finds::Sometimes,
    ),
    search(
        "the beginning of words, k10* to k99*",
        |number| format!("k{}*", 10 + number % 90),
        Finds::Something,
    ),
    search("nothing found", |number| format!("z{number}"), Finds::Nothing),
    Search {
        by_one_bot: true,
        ..search("a common word, one message in 1,000 allowed", common, Finds::Sometimes)
    },
    Search { of_a_month: true, ..search("a common word, an old month", common, Finds::Something) },
];

impl Search {
    /// Whether it is about messages that stand far apart, or far back.
    pub fn is_of_a_part(&self) -> bool {
        self.by_one_bot || self.of_a_month
    }

    pub fn request(&self, list: List, database: &Database, number: i64) -> String {
        let query = (self.query)(number).replace('"', "%22").replace(' ', "+");
        let month = 2 + number % 11;
        let month = match self.of_a_month {
            true => format!("&since={FIRST_YEAR}-{month:02}-01&until={FIRST_YEAR}-{month:02}-28"),
            false => String::new(),
        };
        let caller = if self.by_one_bot { key(&database.bot_key) } else { person(database) };
        get(&format!("{}?q={query}&limit=20{month}", list.path()), &caller)
    }
}

/// Lists of the inbox: with each filter, its first five pages in turn.
pub const INBOX: &[(&str, &str)] = &[
    ("all", ""),
    ("with people", "&handler=human"),
    ("waiting for somebody", "&handler=human&assignee=none"),
    ("of the caller", "&assignee=me"),
    ("unanswered", "&unanswered=true"),
    ("failed", "&failed=true"),
    ("unread", "&unread=true"),
    ("of a month", "&since=2024-03-01&until=2024-03-28"),
    ("of a bot, unanswered", "&unanswered=true&botId=stream"),
];

pub fn inbox(filter: &str, database: &Database, number: i64) -> String {
    let page = 1 + number % 5;
    get(&format!("/api/conversation?sort=activity{filter}&limit=20&page={page}"), &person(database))
}

pub fn counts(database: &Database) -> String {
    get("/api/conversation/counts", &person(database))
}
