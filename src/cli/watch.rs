//! `wicara watch`: follows the feed of a running server, and goes on where it was when the connection breaks.

use std::collections::VecDeque;
use std::time::Duration;

use reqwest::header::{ACCEPT, RETRY_AFTER};
use reqwest::{Client, Response, Url};
use serde_json::Value;
use tokio::time::sleep;
use wicara_model::terminal::{visible_json, visible_line};

use super::Failure;
use super::ask::{default_server, not_wicara, server_address, unreachable};
use super::output::{print, say};
use super::remote::{self, refusal};
use crate::config::Config;

pub(super) const EXAMPLES: &str = "\
Examples:
  WICARA_KEY=wicara_… wicara watch
  WICARA_KEY=wicara_… wicara watch --server https://chat.example.org
  WICARA_KEY=wicara_… wicara watch --json | jq 'select(.kind == \"message.created\") | .message'

A key for it: wicara key add watcher";

/// A stream is silent for at most 15 seconds: a connection that is silent for longer is dead.
const SILENCE: Duration = Duration::from_secs(45);
/// Until the first attempt to come back, where the server has not said otherwise, and at most.
const RETRY: Duration = Duration::from_secs(2);
const MAX_RETRY: Duration = Duration::from_secs(30);
/// A generous limit: an event holds a message with its payload.
const MAX_BLOCK_BYTES: usize = 256 * 1024 * 1024;
/// Characters of a message that are shown to people.
const SHOWN_CHARS: usize = 100;

#[derive(Debug, PartialEq, clap::Args)]
pub(super) struct Args {
    /// The server's address [default: where the configuration says that it listens]
    #[arg(long, value_name = "URL", value_parser = server_address)]
    server: Option<Url>,
    /// Print each event as a line of JSON; what would steer the terminal is escaped
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, config: impl FnOnce() -> Result<Config, Failure>) -> Result<(), Failure> {
    let server = match &args.server {
        Some(server) => server.clone(),
        None => default_server(&config()?)?,
    };
    let key = remote::key("the feed")?;
    let client = remote::client(&server, SILENCE)?;
    Watch { client, server, key, json: args.json, position: None, retry: RETRY, has_begun: false }.run().await
}

struct Watch {
    client: Client,
    server: Url,
    key: String,
    json: bool,
    /// Everything up to it was shown.
    position: Option<String>,
    /// Until the next attempt to come back.
    retry: Duration,
    /// A stream was open before: what fails from then on is tried again.
    has_begun: bool,
}

/// Why a stream could not be opened, or ended.
enum Ended {
    ForGood(Failure),
    /// To be tried again, perhaps not before some time.
    ForNow(Failure, Option<Duration>),
}

impl Watch {
    async fn run(mut self) -> Result<(), Failure> {
        let mut failures = 0_u32;
        loop {
            let ended = match self.open().await {
                Ok(response) => {
                    if failures > 0 {
                        say("Connected again.");
                    }
                    failures = 0;
                    self.has_begun = true;
                    self.follow(response).await
                }
                Err(ended) => ended,
            };
            let (failure, wait) = match ended {
                Ended::ForNow(failure, wait) if self.has_begun => (failure, wait),
                Ended::ForGood(failure) | Ended::ForNow(failure, _) => return Err(failure),
            };
            if failures == 0 {
                say(&format!("{failure}; trying again from there."));
            }
            let backoff = self.retry.saturating_mul(1 << failures.min(4)).min(MAX_RETRY);
            failures += 1;
            sleep(wait.unwrap_or(backoff)).await;
        }
    }

    async fn open(&self) -> Result<Response, Ended> {
        let address = format!("{}/api/events", self.server.as_str().trim_end_matches('/'));
        let mut request = self.client.get(address).bearer_auth(&self.key).header(ACCEPT, "text/event-stream");
        if let Some(position) = &self.position {
            request = request.header("last-event-id", position);
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Err(Ended::ForNow(unreachable(&self.server, error), None)),
        };
        let status = response.status().as_u16();
        if status == 200 {
            return Ok(response);
        }
        let retry_after =
            response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let retry_after = retry_after.map(Duration::from_secs);
        Err(match status {
            429 => {
                let reason = "has as many streams open for this key as it allows (limits.streams_per_caller)";
                let server = &self.server;
                Ended::ForNow(Failure::failed(format!("the server at {server} {reason}")), retry_after)
            }
            500.. => Ended::ForNow(refusal(&self.server, status), retry_after),
            _ => Ended::ForGood(refusal(&self.server, status)),
        })
    }

    /// Shows what comes until the stream ends.
    async fn follow(&mut self, mut response: Response) -> Ended {
        let mut blocks = Blocks::default();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => blocks.push(&chunk),
                Ok(None) | Err(_) => {
                    let reason = format!("the connection to {} ended", self.server);
                    return Ended::ForNow(Failure::failed(reason), None);
                }
            }
            while let Some(block) = blocks.next() {
                if let Err(failure) = self.show(&block) {
                    return Ended::ForGood(failure);
                }
                self.position = block.id.or(self.position.take());
                self.retry = block.retry.unwrap_or(self.retry);
            }
            if blocks.rest.len() > MAX_BLOCK_BYTES {
                return Ended::ForGood(not_wicara(&self.server));
            }
        }
    }

    fn show(&self, block: &Block) -> Result<(), Failure> {
        let Some(data) = &block.data else { return Ok(()) };
        let event: Value = serde_json::from_str(data).map_err(|_| not_wicara(&self.server))?;
        if event["kind"] == "resync" {
            say(&format!(
                "Some changes were missed ({}): what follows goes on from now.",
                event["reason"].as_str().unwrap_or("unknown")
            ));
        }
        if self.json {
            return print(&format!("{}\n", visible_json(data)));
        }
        match event["kind"].as_str() {
            Some("hello") if self.position.is_none() => {
                say(&format!("Following {}. Ctrl-C ends.", self.server));
                Ok(())
            }
            Some("hello" | "resync") => Ok(()),
            _ => print(&format!("{}\n", visible_line(&line(&event)))),
        }
    }
}

/// An event for people, on one line.
fn line(event: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (conversation, message) = (&event["conversation"], &event["message"]);
    let ids = [&conversation["id"], &message["conversationId"], &event["conversationId"]];
    let id = ids.into_iter().find_map(Value::as_str).unwrap_or("?");
    let kind = text(&event["kind"]);
    let detail = match kind.as_str() {
        "conversation.created" | "conversation.updated" => {
            let [room, bot, handler] = ["room", "botId", "handler"].map(|field| text(&conversation[field]));
            format!("{room}, bot {bot}, handled by {handler}")
        }
        "message.created" | "message.updated" => {
            let failure = message["failure"]["reason"].as_str();
            let failure = failure.map(|reason| format!(" [no answer: {reason}]")).unwrap_or_default();
            format!("{}: {}{failure}", text(&message["role"]), shortened(&text(&message["message"])))
        }
        "message.deleted" => format!("message {}", text(&message["id"])),
        "conversation.seen" => format!("up to message {}", text(&event["upTo"])),
        "answer.delta" => shortened(&text(&event["text"])),
        "typing" => text(&event["by"]),
        _ => String::new(),
    };
    // The time of day, UTC.
    let at = text(&event["at"]);
    let time = at.get(11..19).unwrap_or(&at);
    format!("{time}  {kind:<20}  conversation {id}  {detail}").trim_end().to_owned()
}

/// The beginning of a text, in one line.
fn shortened(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    let text = words.join(" ");
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// A block of server-sent events. Unlike with bots, whose streams [`wicara_outbound::sse`] reads, its id counts.
#[derive(Debug, Default, PartialEq)]
struct Block {
    id: Option<String>,
    data: Option<String>,
    retry: Option<Duration>,
}

/// Splits a stream into blocks, in chunks of any size.
#[derive(Default)]
struct Blocks {
    rest: Vec<u8>,
    /// Up to here no block ends.
    searched: usize,
    read: VecDeque<Block>,
}

impl Blocks {
    fn push(&mut self, chunk: &[u8]) {
        self.rest.extend_from_slice(chunk);
        let mut start = 0;
        let mut from = self.searched;
        while let Some(at) = self.rest[from..].windows(2).position(|bytes| bytes == b"\n\n") {
            let end = from + at;
            let text = String::from_utf8_lossy(&self.rest[start..end]).into_owned();
            self.read.push_back(Block::parse(&text));
            start = end + 2;
            from = start;
        }
        self.rest.drain(..start);
        self.searched = self.rest.len().saturating_sub(1);
    }

    fn next(&mut self) -> Option<Block> {
        self.read.pop_front()
    }
}

impl Block {
    fn parse(text: &str) -> Self {
        let mut block = Self::default();
        for line in text.lines() {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "id" => block.id = Some(value.to_owned()),
                "data" => block.data = Some(value.to_owned()),
                "retry" => block.retry = value.parse().ok().map(Duration::from_millis),
                _ => {}
            }
        }
        block
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn blocks_are_read_from_chunks_of_any_size() {
        let text = "retry: 1500\nevent: hello\nid: e.1\ndata: {\"a\":1}\n\nid: e.2\n\n: comment\n\ndata: é\n\nid: e.";
        let block = |id: Option<&str>, data: Option<&str>, retry: Option<u64>| Block {
            id: id.map(str::to_owned),
            data: data.map(str::to_owned),
            retry: retry.map(Duration::from_millis),
        };
        let expected = [
            block(Some("e.1"), Some("{\"a\":1}"), Some(1500)),
            block(Some("e.2"), None, None),
            block(None, None, None),
            block(None, Some("é"), None),
        ];
        for size in 1..text.len() {
            let mut blocks = Blocks::default();
            text.as_bytes().chunks(size).for_each(|chunk| blocks.push(chunk));
            assert_eq!(blocks.read, expected, "{size}");
        }
    }

    #[test]
    fn an_event_is_one_line() {
        let at = "2026-11-30T10:20:30.456+00:00";
        let long = "word ".repeat(50);
        for (event, expected) in [
            (
                json!({"kind": "message.created", "at": at, "message": {"role": "client", "message": "Halo\n  you"},
                    "conversation": {"id": "5"}}),
                "10:20:30  message.created       conversation 5  client: Halo you",
            ),
            (
                json!({"kind": "message.updated", "at": at, "conversation": {"id": "5"},
                    "message": {"role": "client", "message": "a", "failure": {"reason": "timeout"}}}),
                "10:20:30  message.updated       conversation 5  client: a [no answer: timeout]",
            ),
            (
                json!({"kind": "conversation.updated", "at": at,
                    "conversation": {"id": "5", "room": "r", "botId": "b", "handler": "human"}}),
                "10:20:30  conversation.updated  conversation 5  r, bot b, handled by human",
            ),
            (
                json!({"kind": "message.deleted", "at": at, "message": {"id": "7", "conversationId": "5"},
                    "conversation": null}),
                "10:20:30  message.deleted       conversation 5  message 7",
            ),
            (
                json!({"kind": "conversation.deleted", "at": at, "conversation": {"id": "5"}}),
                "10:20:30  conversation.deleted  conversation 5",
            ),
            (
                json!({"kind": "typing", "at": at, "conversationId": "5", "by": "agent"}),
                "10:20:30  typing                conversation 5  agent",
            ),
            (json!({"kind": "something", "at": "x"}), "x  something             conversation ?"),
        ] {
            assert_eq!(line(&event), expected);
        }
        assert_eq!(shortened(&long).chars().count(), SHOWN_CHARS + 1);
    }
}
