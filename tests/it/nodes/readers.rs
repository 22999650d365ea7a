//! Readers of the feed that come back again and again, each time by a stream or by pages, to one server or another.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

use super::fleet::Bases;
use super::writers::Fact;
use crate::support::{Client, Dice};

const EVENTS: &str = "/api/events";
/// The room of the conversation that ends a history.
pub const THE_END: &str = "the end";
const PAUSE: Duration = Duration::from_millis(20);

const KINDS: [&str; 6] = [
    "conversation.created",
    "conversation.updated",
    "conversation.deleted",
    "message.created",
    "message.updated",
    "message.deleted",
];

/// An event as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    pub number: u64,
    pub fact: Fact,
    /// The text of the message, or the room of the conversation, as it was when the event was sent.
    pub text: Option<String>,
}

impl Seen {
    fn of(event: &Value) -> Self {
        let kind = event["kind"].as_str().unwrap();
        let kind = *KINDS.iter().find(|known| **known == kind).unwrap_or_else(|| panic!("{event}"));
        let (what, text) =
            if kind.starts_with("message.") { ("message", "message") } else { ("conversation", "room") };
        let (_, number) = event["cursor"].as_str().unwrap().rsplit_once('.').unwrap();
        Self {
            number: number.parse().unwrap(),
            fact: Fact::new(kind, event[what]["id"].as_str().unwrap()),
            text: event[what][text].as_str().map(str::to_owned),
        }
    }

    fn is_the_end(&self) -> bool {
        self.fact.kind == "conversation.created" && self.text.as_deref() == Some(THE_END)
    }
}

/// The position at the feed's head, to read on from.
pub async fn head(client: &Client) -> String {
    let page = client.with("accept", "application/json").get(EVENTS).await.ok();
    page["cursor"].as_str().unwrap().to_owned()
}

pub struct Reader {
    number: usize,
    client: Client,
    bases: Bases,
    /// The servers that it goes to, at random.
    servers: Vec<usize>,
    position: String,
    dice: Dice,
    seen: Vec<Seen>,
}

impl Reader {
    pub fn new(number: usize, client: &Client, bases: &Bases, servers: &[usize], position: &str) -> Self {
        Self {
            number,
            client: client.named(&format!("reader {number}")),
            bases: bases.clone(),
            servers: servers.to_vec(),
            position: position.to_owned(),
            dice: Dice::new(u64::try_from(number).unwrap() << 32),
            seen: Vec::new(),
        }
    }

    /// Reads up to the end of the history, or up to a conversation in this room.
    pub async fn read(mut self) -> Vec<Seen> {
        while !self.has_ended() {
            let base = self.bases.get(self.dice.pick(&self.servers).unwrap());
            let client = self.client.at(&base);
            let is_served =
                if self.dice.percent(50) { self.stream(&client).await } else { self.pages(&client).await };
            if is_served.is_none() {
                tokio::time::sleep(PAUSE).await;
            }
        }
        self.seen
    }

    fn has_ended(&self) -> bool {
        self.seen.last().is_some_and(Seen::is_the_end)
    }

    fn see(&mut self, event: &Value) {
        let seen = Seen::of(event);
        if let Some(last) = self.seen.last() {
            assert!(last.number < seen.number, "reader {}: {seen:?} after {last:?}", self.number);
        }
        self.seen.push(seen);
    }

    /// Leaves after some events. `None` where the server is away, or goes.
    async fn stream(&mut self, client: &Client) -> Option<()> {
        let mut feed = client.try_follow(&format!("{EVENTS}?after={}", self.position)).await.ok()??;
        let hello = feed.try_next().await.ok()??;
        assert_eq!((&hello["kind"], &hello["cursor"]), (&"hello".into(), &self.position.as_str().into()));
        for _ in 0..=self.dice.below(400) {
            let next = feed.try_next().await;
            // A heartbeat moves it too.
            self.position = feed.position.clone().unwrap();
            self.see(&next.ok()??);
            if self.has_ended() {
                break;
            }
        }
        Some(())
    }

    async fn pages(&mut self, client: &Client) -> Option<()> {
        let client = client.with("accept", "application/json");
        for _ in 0..=self.dice.below(4) {
            let limit = 1 + self.dice.below(500);
            let path = format!("{EVENTS}?after={}&limit={limit}&wait=5", self.position);
            let answer = client.try_send(Method::GET, &path, None).await.ok()?;
            if answer.status == 503 {
                return None;
            }
            let page = answer.ok();
            assert_eq!(page["resync"], Value::Null, "{}", answer.request);
            for event in page["data"].as_array().unwrap() {
                self.see(event);
            }
            self.position = page["cursor"].as_str().unwrap().to_owned();
            if self.has_ended() {
                break;
            }
        }
        Some(())
    }
}
