//! What an operator says about a bot: one `[[bot]]` of the configuration.

use std::ops::RangeInclusive;
use std::time::Duration;

use reqwest::Url;
use serde::Deserialize;
use toml::{Table, Value};
use wicara_documents as documents;

use crate::table::{Fault, ReadError, read, within};
use crate::{Widget, http, langflow, openai, origins};

/// Characters of a bot's id.
pub const ID_CHARS: RangeInclusive<usize> = 1..=64;
pub const TIMEOUT_SECONDS: RangeInclusive<i64> = 1..=3600;
pub const CONCURRENCY: RangeInclusive<i64> = 1..=10_000;
pub const RETRIES: RangeInclusive<i64> = 0..=10;
pub const BREAKER_FAILURES: RangeInclusive<i64> = 0..=1000;
pub const BREAKER_SECONDS: RangeInclusive<i64> = 1..=3600;
pub const HANDOVER_AFTER_FAILURES: RangeInclusive<i64> = 0..=100;
/// 1 KiB to 64 MiB.
pub const MAX_ANSWER_BYTES: RangeInclusive<i64> = 1024..=67_108_864;

/// Reads a kind's own settings: what the keys common to all bots leave over.
type ReadOwn = fn(Table) -> Result<Kind, ReadError>;

const KINDS: [(&str, ReadOwn); 4] = [
    ("documents", |own| read(own).and_then(documents)),
    ("http", |own| http::Settings::from_table(own).map(Kind::Http)),
    ("langflow", |own| langflow::Settings::from_table(own).map(Kind::Langflow)),
    ("openai", |own| openai::Settings::from_table(own).map(Kind::Openai)),
];

fn documents(own: documents::Settings) -> Result<Kind, ReadError> {
    own.check().map_err(|(key, message)| ReadError::new(key, message))?;
    Ok(Kind::Documents(own))
}

/// A kind's own settings.
#[derive(Debug)]
pub enum Kind {
    Documents(documents::Settings),
    Http(http::Settings),
    Langflow(langflow::Settings),
    Openai(openai::Settings),
}

impl Kind {
    /// Where it is, unless in this program.
    fn url(&self) -> Option<&Url> {
        match self {
            Kind::Documents(_) => None,
            Kind::Http(own) => Some(own.url()),
            Kind::Langflow(own) => Some(own.url()),
            Kind::Openai(own) => Some(own.url()),
        }
    }

    /// As the configuration has it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Documents(_) => "documents",
            Kind::Http(_) => "http",
            Kind::Langflow(_) => "langflow",
            Kind::Openai(_) => "openai",
        }
    }

    /// The files of a bot's folder that it does not answer from, and why. Reads them all. The error says what is wrong
    /// with the folder.
    pub fn left_out(&self) -> Result<Vec<documents::LeftOut>, String> {
        match self {
            Kind::Documents(own) => documents::left_out(own),
            _ => Ok(Vec::new()),
        }
    }

    /// The source of the answers, for people: host and port, the folder, or the built-in guide. Without the parts of a URL
    /// that may be secret.
    #[must_use]
    pub fn endpoint(&self) -> String {
        match (self, self.url()) {
            (_, Some(url)) => wicara_outbound::host(url),
            (Kind::Documents(own), None) if !own.folder.is_empty() => own.folder.clone(),
            _ => "the built-in guide".to_owned(),
        }
    }
}

/// One bot's settings, checked. Their `Debug` shows no secret.
#[derive(Debug)]
pub struct Settings {
    pub id: String,
    /// Visitors may choose it by `botId`.
    pub public: bool,
    /// The bot of whoever names none; visitors always reach it.
    pub default: bool,
    /// For the whole answer, retries included, once the bot is asked.
    pub timeout: Duration,
    /// For the first piece of the answer, after which a retry may follow.
    pub first_token: Duration,
    /// How often a question is asked again when the bot failed before it said anything.
    pub retries: u32,
    /// Failures in a row after which the bot is left alone; 0: never.
    pub breaker_failures: u32,
    /// For how long it is left alone.
    pub breaker: Duration,
    /// Of all answers to one question together.
    pub max_answer_bytes: usize,
    /// Calls at once.
    pub concurrency: usize,
    /// It may be on this machine or in its network.
    pub private_addresses: bool,
    /// What a model thinks aloud (`<think>…</think>`) is left out of its answers.
    pub hide_thoughts: bool,
    /// Visitors may hand their conversations over to people.
    pub handover_visitors: bool,
    /// Failures in a row after which a conversation is handed over; 0: never.
    pub handover_after_failures: u32,
    /// The sites whose pages may talk with it, as browsers send their origins; none: all.
    pub origins: Vec<String>,
    pub widget: Widget,
    pub kind: Kind,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Common {
    id: String,
    kind: String,
    #[serde(default)]
    public: bool,
    #[serde(default)]
    default: bool,
    #[serde(default = "timeout_seconds")]
    timeout_seconds: i64,
    first_token_seconds: Option<i64>,
    #[serde(default = "retries")]
    retries: i64,
    #[serde(default = "breaker_failures")]
    breaker_failures: i64,
    #[serde(default = "breaker_seconds")]
    breaker_seconds: i64,
    #[serde(default = "max_answer_bytes")]
    max_answer_bytes: i64,
    #[serde(default = "concurrency")]
    concurrency: i64,
    #[serde(default = "private_addresses")]
    private_addresses: bool,
    #[serde(default = "hide_thoughts")]
    hide_thoughts: bool,
    #[serde(default = "handover_visitors")]
    handover_visitors: bool,
    #[serde(default)]
    handover_after_failures: i64,
    #[serde(default)]
    origins: Vec<String>,
    #[serde(default)]
    widget: Widget,
}

const COMMON_KEYS: [&str; 17] = [
    "id",
    "kind",
    "public",
    "default",
    "timeout_seconds",
    "first_token_seconds",
    "retries",
    "max_answer_bytes",
    "concurrency",
    "breaker_failures",
    "breaker_seconds",
    "private_addresses",
    "hide_thoughts",
    "handover_visitors",
    "handover_after_failures",
    "origins",
    "widget",
];

fn timeout_seconds() -> i64 {
    30
}

fn retries() -> i64 {
    1
}

fn breaker_failures() -> i64 {
    5
}

fn breaker_seconds() -> i64 {
    15
}

fn max_answer_bytes() -> i64 {
    1_048_576
}

fn concurrency() -> i64 {
    64
}

fn private_addresses() -> bool {
    true
}

fn hide_thoughts() -> bool {
    true
}

fn handover_visitors() -> bool {
    true
}

impl Settings {
    /// Reads one `[[bot]]`. The error begins with the key that is at fault.
    pub fn from_table(table: Table) -> Result<Self, String> {
        let (common, own): (Table, Table) =
            table.into_iter().partition(|(key, _)| COMMON_KEYS.contains(&key.as_str()));
        let common: Common = read(common).map_err(|error| error.to_string())?;
        let kind = KINDS.iter().find(|(name, _)| *name == common.kind);
        let Some((_, read_own)) = kind else {
            return Err(format!(
                "kind: there is no kind {:?}, only {}",
                common.kind,
                KINDS.map(|(name, _)| name).join(", ")
            ));
        };
        let kind = read_own(own).map_err(|error| match error.fault {
            Fault::UnknownKey { .. } => format!("{error}, or one for every bot: {}", COMMON_KEYS.join(", ")),
            _ => error.to_string(),
        })?;
        if common.id.trim().is_empty() || !ID_CHARS.contains(&common.id.chars().count()) {
            return Err(format!(
                "id: found {:?}, allowed are {} to {} characters, not only spaces",
                common.id,
                ID_CHARS.start(),
                ID_CHARS.end()
            ));
        }
        let timeout = within("timeout_seconds", common.timeout_seconds, TIMEOUT_SECONDS)?;
        let first_token = match common.first_token_seconds {
            Some(seconds) => within("first_token_seconds", seconds, 1..=common.timeout_seconds)?,
            None => timeout,
        };
        if !common.private_addresses {
            kind.url()
                .map_or(Ok(()), wicara_outbound::check_address)
                .map_err(|error| format!("url: {error}"))?;
        }
        common.widget.check()?;
        Ok(Self {
            timeout: Duration::from_secs(timeout),
            first_token: Duration::from_secs(first_token),
            retries: within("retries", common.retries, RETRIES)?,
            breaker_failures: within("breaker_failures", common.breaker_failures, BREAKER_FAILURES)?,
            breaker: Duration::from_secs(within("breaker_seconds", common.breaker_seconds, BREAKER_SECONDS)?),
            max_answer_bytes: within("max_answer_bytes", common.max_answer_bytes, MAX_ANSWER_BYTES)?,
            concurrency: within("concurrency", common.concurrency, CONCURRENCY)?,
            id: common.id,
            public: common.public,
            default: common.default,
            private_addresses: common.private_addresses,
            hide_thoughts: common.hide_thoughts,
            handover_visitors: common.handover_visitors,
            handover_after_failures: within(
                "handover_after_failures",
                common.handover_after_failures,
                HANDOVER_AFTER_FAILURES,
            )?,
            origins: origins::read(&common.origins)?,
            widget: common.widget,
            kind,
        })
    }

    /// The keys that every bot has besides its id and kind, as TOML has them.
    #[must_use]
    pub fn common(&self) -> [(&'static str, Value); 15] {
        let number = |number: u64| Value::Integer(i64::try_from(number).unwrap_or(i64::MAX));
        [
            ("default", Value::Boolean(self.default)),
            ("public", Value::Boolean(self.public)),
            ("timeout_seconds", number(self.timeout.as_secs())),
            ("first_token_seconds", number(self.first_token.as_secs())),
            ("retries", number(self.retries.into())),
            ("max_answer_bytes", number(self.max_answer_bytes as u64)),
            ("concurrency", number(self.concurrency as u64)),
            ("breaker_failures", number(self.breaker_failures.into())),
            ("breaker_seconds", number(self.breaker.as_secs())),
            ("private_addresses", Value::Boolean(self.private_addresses)),
            ("hide_thoughts", Value::Boolean(self.hide_thoughts)),
            ("handover_visitors", Value::Boolean(self.handover_visitors)),
            ("handover_after_failures", number(self.handover_after_failures.into())),
            ("origins", Value::Array(self.origins.iter().cloned().map(Value::String).collect())),
            ("widget", self.widget.to_toml()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Settings::from_table(text.parse().unwrap()).unwrap_err()
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let settings =
            Settings::from_table("id = 'a'\nkind = 'http'\nurl = 'http://localhost'".parse().unwrap())
                .unwrap();
        assert_eq!(
            (settings.id.as_str(), settings.public, settings.default, settings.timeout.as_secs()),
            ("a", false, false, 30)
        );
        assert_eq!((settings.max_answer_bytes, settings.concurrency), (1_048_576, 64));
    }

    #[test]
    fn an_error_names_the_key_what_was_found_and_what_is_allowed() {
        let http = "id = 'a'\nkind = 'http'\nurl = 'http://localhost'\n";
        for (text, expected) in [
            ("kind = 'http'".to_owned(), "id is missing"),
            ("id = 'a'".to_owned(), "kind is missing"),
            (
                "id = 'a'\nkind = 'telepathy'".to_owned(),
                "kind: there is no kind \"telepathy\", only documents, http, langflow, openai",
            ),
            ("id = 'a'\nkind = 'http'".to_owned(), "url is missing"),
            ("id = 5\nkind = 'http'".to_owned(), "id: found a whole number, expected a string"),
            (
                "id = ' '\nkind = 'documents'".to_owned(),
                "id: found \" \", allowed are 1 to 64 characters, not only spaces",
            ),
            (
                http.to_owned() + "timeout_seconds = '30'",
                "timeout_seconds: found a string, expected a whole number",
            ),
            (
                http.to_owned() + "timeout_seconds = 0",
                "timeout_seconds: found 0, allowed are whole numbers from 1 to 3600",
            ),
            (
                http.to_owned() + "concurrency = -1",
                "concurrency: found -1, allowed are whole numbers from 1 to 10000",
            ),
            (
                http.to_owned() + "max_answer_bytes = 67108865",
                "max_answer_bytes: found 67108865, allowed are whole numbers from 1024 to 67108864",
            ),
            (
                http.to_owned() + "first_token_seconds = 31",
                "first_token_seconds: found 31, allowed are whole numbers from 1 to 30",
            ),
            (http.to_owned() + "public = 1", "public: found a whole number, expected true or false"),
            (
                http.to_owned() + "retry = 1",
                "retry: there is no such setting; known are url, headers, body, answer, or one for every bot: \
                 id, kind, public, default, timeout_seconds, first_token_seconds, retries, max_answer_bytes, \
                 concurrency, breaker_failures, breaker_seconds, private_addresses, hide_thoughts, handover_visitors, \
                 handover_after_failures, origins, widget",
            ),
            (
                "id = 'a'\nkind = 'documents'\nlink_base = 'https://h'".to_owned(),
                "link_base: it is for the files of a folder: set folder too, or leave link_base away",
            ),
            (
                "id = 'a'\nkind = 'documents'\nfolder = 'f'\nlink_suffix = '/'".to_owned(),
                "link_suffix: without a link_base there are no links to files",
            ),
            (
                "id = 'a'\nkind = 'documents'\nfolder = 'f'\nweights = { api = -1 }".to_owned(),
                "weights: \"api\" has -1; 0 to 10 are allowed",
            ),
            (
                "id = 'a'\nkind = 'documents'\nsynonyms = 'words.txt'".to_owned(),
                "synonyms: it is for the files of a folder: set folder too, or leave synonyms away",
            ),
            (http.to_owned() + "headers = { A = 5 }", "headers.A: found a whole number, expected a string"),
        ] {
            assert_eq!(error(&text), expected, "{text}");
        }
        assert_eq!(
            error(&format!("id = '{}'\nkind = 'documents'", "x".repeat(65))).split(',').next(),
            Some(format!("id: found \"{}\"", "x".repeat(65)).as_str())
        );
    }

    #[test]
    fn a_wrong_type_does_not_show_the_value() {
        let text = "id = 'a'\nkind = 'http'\nurl = 'http://h'\nheaders = 'Bearer hush'";
        assert_eq!(error(text), "headers: found a string, expected a table");
    }
}
