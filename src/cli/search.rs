//! `wicara search`: the messages of a running server that a query finds, newest first.

use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use reqwest::{Client, Url};
use serde::Deserialize;
use serde_json::value::RawValue;
use wicara_model::terminal::visible_json;

use super::Failure;
use super::ask::{default_server, not_wicara, server_address, unreachable};
use super::output::{Piece, print, print_pieces, say};
use super::remote::{self, refusal};
use crate::config::Config;

pub(super) const EXAMPLES: &str = "\
Examples:
  WICARA_KEY=wicara_… wicara search \"lost card\"
  WICARA_KEY=wicara_… wicara search '\"lost card\" renew* -bank' --limit 100
  WICARA_KEY=wicara_… wicara search halo --bot majadigi --server https://chat.example.org
  WICARA_KEY=wicara_… wicara search halo --json | jq -r .conversationId

A query has words, \"exact phrases\", beginnings (renew*, from three letters on), and each of them
with - before it for what must not be there. All of it has to be in a message.
A key for it: wicara key add searcher";

/// A page is sent when all of it was found, which takes a busy server some seconds at most.
const SILENCE: Duration = Duration::from_secs(60);
/// What one request of the API takes.
const MOST_A_PAGE: usize = 100;
/// A generous limit: a page holds messages with their payloads.
const MAX_PAGE_BYTES: usize = 256 * 1024 * 1024;

#[derive(Debug, PartialEq, clap::Args)]
pub(super) struct Args {
    /// What to look for
    #[arg(value_name = "QUERY", allow_hyphen_values = true, value_parser = NonEmptyStringValueParser::new())]
    query: String,
    /// Only in the conversations of this bot
    #[arg(long, value_name = "ID")]
    bot: Option<String>,
    /// Show so many messages at most
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = limit)]
    limit: usize,
    /// The server's address [default: where the configuration says that it listens]
    #[arg(long, value_name = "URL", value_parser = server_address)]
    server: Option<Url>,
    /// Print each message as a line of JSON; what would steer the terminal is escaped
    #[arg(long)]
    json: bool,
}

fn limit(text: &str) -> Result<usize, &'static str> {
    text.parse().ok().filter(|limit| *limit > 0).ok_or("a number from 1 on is expected")
}

pub(super) async fn run(args: Args, config: impl FnOnce() -> Result<Config, Failure>) -> Result<(), Failure> {
    let server = match &args.server {
        Some(server) => server.clone(),
        None => default_server(&config()?)?,
    };
    let key = remote::key("a search")?;
    let client = remote::client(&server, SILENCE)?;
    Search { client, server, key, args }.run().await
}

struct Search {
    client: Client,
    server: Url,
    key: String,
    args: Args,
}

/// A page of what was found.
#[derive(Deserialize)]
struct Page {
    data: Vec<Box<RawValue>>,
    pagination: Pagination,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pagination {
    total_items: u64,
    /// Not there where the server does not know that it is to search.
    total_is_exact: Option<bool>,
    next_cursor: Option<String>,
    indexed_from: Option<String>,
}

/// A message that was found.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Hit {
    conversation_id: String,
    role: String,
    created_at: String,
    #[serde(default)]
    excerpt: String,
    #[serde(default)]
    highlights: Vec<[usize; 2]>,
}

impl Search {
    async fn run(self) -> Result<(), Failure> {
        let (mut shown, mut cursor, mut found) = (0, None, None);
        loop {
            let page = self.page(self.args.limit - shown, cursor).await?;
            for hit in &page.data {
                self.show(hit)?;
            }
            shown += page.data.len();
            // Of the first page: what is stored meanwhile is not shown.
            let found = found.get_or_insert_with(|| Found::of(&page.pagination));
            cursor = page.pagination.next_cursor;
            // A page may end before it is full, and yet not be the last.
            if cursor.is_none() || shown >= self.args.limit {
                if let Some(time) = &page.pagination.indexed_from {
                    say(&format!(
                        "Messages from before {} are still being made searchable: some may be missing.",
                        day_and_time(time)
                    ));
                }
                say(&found.in_words(shown, cursor.is_some()));
                return Ok(());
            }
        }
    }

    async fn page(&self, most: usize, cursor: Option<String>) -> Result<Page, Failure> {
        let Self { client, server, key, args } = self;
        let mut address = server.clone();
        address.set_path(&format!("{}/api/message", server.path().trim_end_matches('/')));
        let mut query = address.query_pairs_mut();
        query.clear().append_pair("q", &args.query).append_pair("limit", &most.min(MOST_A_PAGE).to_string());
        if let Some(bot) = &args.bot {
            query.append_pair("botId", bot);
        }
        if let Some(cursor) = &cursor {
            query.append_pair("cursor", cursor);
        }
        drop(query);
        let mut response =
            client.get(address).bearer_auth(key).send().await.map_err(|error| unreachable(server, error))?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| unreachable(server, error))? {
            if body.len() + chunk.len() > MAX_PAGE_BYTES {
                return Err(not_wicara(server));
            }
            body.extend_from_slice(&chunk);
        }
        if status != 200 {
            return Err(refused(server, status, &body));
        }
        let page: Page = serde_json::from_slice(&body).map_err(|_| not_wicara(server))?;
        if page.pagination.total_is_exact.is_none() {
            return Err(Failure::failed(format!(
                "the server at {server} is of an earlier version, which cannot search: upgrade it"
            )));
        }
        Ok(page)
    }

    fn show(&self, hit: &RawValue) -> Result<(), Failure> {
        if self.args.json {
            // A line break in JSON that stands between its values is a space.
            return print(&format!("{}\n", visible_json(&hit.get().replace('\n', " "))));
        }
        let hit: Hit = serde_json::from_str(hit.get()).map_err(|_| not_wicara(&self.server))?;
        let mut line = vec![Piece {
            text: format!(
                "{}  conversation {}  {}: ",
                day_and_time(&hit.created_at),
                hit.conversation_id,
                hit.role
            ),
            is_bold: false,
        }];
        line.extend(marked(&hit.excerpt, &hit.highlights));
        print_pieces(&line)
    }
}

/// Why the server refuses a query.
fn refused(server: &Url, status: u16, body: &[u8]) -> Failure {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Reply {
        errors: Vec<Violation>,
    }
    #[derive(Deserialize)]
    struct Violation {
        field: String,
        rule: String,
    }
    let reply: Reply = serde_json::from_slice(body).unwrap_or_default();
    match reply.errors.first() {
        Some(Violation { field, rule }) if status == 400 => Failure::usage(match (&**field, &**rule) {
            ("q", "query") => {
                "the query has nothing but words with - before them, or more than 16 words and phrases"
                    .to_owned()
            }
            ("q", "maxLength") => "the query is too long: 200 characters are allowed".to_owned(),
            _ => format!("the server refused the search ({field}: {rule} validation failed)"),
        }),
        _ => refusal(server, status),
    }
}

/// How many messages a search finds.
struct Found {
    total: u64,
    is_exact: bool,
}

impl Found {
    fn of(pagination: &Pagination) -> Self {
        Self { total: pagination.total_items, is_exact: pagination.total_is_exact == Some(true) }
    }

    /// `has_more`: than were shown.
    fn in_words(&self, shown: usize, has_more: bool) -> String {
        let shown = shown as u64;
        // What was stored or deleted meanwhile.
        let total = self.total.max(shown);
        let messages = if total == 1 && self.is_exact { "message" } else { "messages" };
        let total_shown = grouped(total) + if self.is_exact { "" } else { " or more" };
        match (shown, has_more) {
            (0, false) => "Nothing found.".to_owned(),
            (_, false) => format!("{} {messages} found.", grouped(shown)),
            _ => {
                let more = if self.is_exact { total.max(shown + 1) } else { shown.saturating_mul(10) };
                format!(
                    "{} of {total_shown} {messages} shown, the newest. More of them: --limit {more}",
                    grouped(shown)
                )
            }
        }
    }
}

/// With a comma before every third digit.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time of the API, UTC, to the second.
fn day_and_time(time: &str) -> String {
    time.get(..19).unwrap_or(time).replace('T', " ")
}

/// A text in pieces: those that were found are bold. Places are in UTF-16 units; those that the text does not have are left
/// out.
fn marked(text: &str, highlights: &[[usize; 2]]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let (mut piece, mut unit) = (String::new(), 0);
    let is_found = |unit: usize| highlights.iter().any(|[start, end]| (*start..*end).contains(&unit));
    let mut is_bold = false;
    for character in text.chars() {
        if is_found(unit) != is_bold {
            pieces.push(Piece { text: std::mem::take(&mut piece), is_bold });
            is_bold = !is_bold;
        }
        piece.push(character);
        unit += character.len_utf16();
    }
    pieces.push(Piece { text: piece, is_bold });
    pieces.retain(|piece| !piece.text.is_empty());
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_marked_by_utf_16_units() {
        for (text, highlights, expected) in [
            ("Kartu saya", &[[0, 5]][..], "[Kartu] saya"),
            ("😀 kartu, kartu", &[[3, 8], [10, 15]], "😀 [kartu], [kartu]"),
            ("日本語", &[[1, 2]], "日[本]語"),
            ("kartu", &[], "kartu"),
            ("", &[[0, 3]], ""),
            // Of a server that counts otherwise.
            ("kartu", &[[3, 90], [7, 2]], "kar[tu]"),
        ] {
            let pieces = marked(text, highlights);
            let shown = pieces.iter().map(|Piece { text, is_bold }| match is_bold {
                true => format!("[{text}]"),
                false => text.clone(),
            });
            assert_eq!(shown.collect::<String>(), expected, "{text}");
        }
    }

    #[test]
    fn the_last_line_says_how_many_there_are_and_how_to_see_more() {
        for (total, is_exact, shown, has_more, expected) in [
            (0, true, 0, false, "Nothing found."),
            (1, true, 1, false, "1 message found."),
            (12, true, 12, false, "12 messages found."),
            (1234, true, 20, true, "20 of 1,234 messages shown, the newest. More of them: --limit 1234"),
            (
                10_000,
                false,
                20,
                true,
                "20 of 10,000 or more messages shown, the newest. More of them: --limit 200",
            ),
            // Stored, or found by later pages, since the total was counted.
            (3, false, 25, false, "25 messages found."),
            (3, true, 20, true, "20 of 20 messages shown, the newest. More of them: --limit 21"),
        ] {
            assert_eq!(Found { total, is_exact }.in_words(shown, has_more), expected);
        }
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn a_refused_query_says_what_is_wrong_with_it() {
        let server = Url::parse("http://h").unwrap();
        let said = |status, body: &str| refused(&server, status, body.as_bytes()).to_string();
        let errors = |field, rule| format!(r#"{{"errors": [{{"field": "{field}", "rule": "{rule}"}}]}}"#);
        for (status, body, expected) in [
            (400, errors("q", "query"), "the query has nothing but words with -"),
            (400, errors("q", "maxLength"), "the query is too long"),
            (400, errors("botId", "maxLength"), "the server refused the search (botId: maxLength"),
            (401, "{}".to_owned(), "the server at http://h/ does not know the key in WICARA_KEY"),
            (503, String::new(), "the server at http://h/ is busy"),
            (404, "<html>".to_owned(), "what answers at http://h/ is no Wicara server"),
        ] {
            assert!(said(status, &body).starts_with(expected), "{}", said(status, &body));
        }
    }
}
