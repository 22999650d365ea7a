//! A reader that knows what is stored from an old state and the feed: it loads the state once, and what an event tells it
//! to load again. It goes to any node, and comes back with its position again and again.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use super::END;
use crate::http::openapi::Schemas;
use crate::support::{Answer, Client, Dice};

/// What it reads.
#[derive(Clone)]
pub enum Reads {
    /// All that its caller may see, as an operator.
    All,
    /// The same of a caller who has this bot alone.
    OfBot(&'static str),
    /// The conversation of this session, as a visitor.
    Thread(String),
}

#[derive(Clone, Copy, Debug)]
pub enum By {
    Pages,
    Streams,
}

/// Conversations and messages by their ids, as they stand in answers.
#[derive(Default, PartialEq, Debug)]
struct Known {
    conversations: BTreeMap<String, Value>,
    messages: BTreeMap<String, Value>,
}

pub struct Reader {
    reads: Reads,
    by: By,
    /// Its caller at each node.
    clients: Vec<Client>,
    dice: Dice,
    schemas: Arc<Schemas>,
    position: String,
    known: Known,
    /// The positions of all events that it got.
    got: HashSet<String>,
    has_ended: bool,
}

/// An id as text, whatever it is in an answer.
fn id(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

impl Reader {
    pub fn new(reads: Reads, by: By, clients: Vec<Client>, dice: Dice, schemas: Arc<Schemas>) -> Self {
        let (position, known, got) = (String::new(), Known::default(), HashSet::new());
        Self { reads, by, clients, dice, schemas, position, known, got, has_ended: false }
    }

    /// Follows the feed to the end of the history.
    pub async fn follow(mut self) -> Self {
        let client = self.client();
        (self.known, self.position) = match &self.reads {
            Reads::All | Reads::OfBot(_) => all(&client).await,
            // One that is gone has no position to go on from.
            Reads::Thread(session) => thread(&client, session).await.unwrap_or_default(),
        };
        while !self.has_ended {
            match self.by {
                By::Pages => self.read_page().await,
                By::Streams => self.read_stream().await,
            }
        }
        self
    }

    /// That of a random node.
    fn client(&mut self) -> Client {
        self.dice.pick(&self.clients).unwrap()
    }

    fn template(&self) -> &'static str {
        match self.reads {
            Reads::All | Reads::OfBot(_) => "/api/events",
            Reads::Thread(_) => "/api/questions/{session_id}/events",
        }
    }

    /// Where it goes on, by a random name of the position.
    fn way(&mut self) -> (Client, String) {
        let path = match &self.reads {
            Reads::All | Reads::OfBot(_) => "/api/events".to_owned(),
            Reads::Thread(session) => format!("/api/questions/{session}/events"),
        };
        let client = self.client();
        match self.dice.below(4) {
            0 => (client.with("last-event-id", &self.position), format!("{path}?after=elsewhere")),
            number => {
                let name = ["after", "last_event_id", "lastEventId"][number - 1];
                (client, format!("{path}?{name}={}", self.position))
            }
        }
    }

    async fn read_page(&mut self) {
        let (client, path) = self.way();
        let (limit, wait) = (1 + self.dice.below(20), self.dice.below(3));
        let answer =
            client.with("accept", "application/json").get(&format!("{path}&limit={limit}&wait={wait}")).await;
        if self.is_gone(&answer) {
            return;
        }
        self.schemas.assert_describe("get", self.template(), &answer);
        let page = answer.ok();
        assert_eq!(page["resync"], Value::Null, "{}: {}", answer.request, answer.text);
        let events = page["data"].as_array().unwrap();
        assert!(events.len() <= limit);
        for event in events {
            self.apply(event).await;
        }
        self.position = id(&page["cursor"]);
    }

    async fn read_stream(&mut self) {
        let (client, path) = self.way();
        let Some(mut feed) = client.try_follow(&path).await.unwrap() else {
            let answer = client.get(&path).await;
            assert!(self.is_gone(&answer), "{}: {}", answer.request, answer.text);
            return;
        };
        assert_eq!(feed.next().await.unwrap()["kind"], "hello");
        assert_eq!(feed.position.as_ref(), Some(&self.position), "it goes on from there");
        while !self.has_ended && !self.dice.percent(15) {
            let Some(event) = feed.next().await else {
                assert!(self.known.conversations.is_empty(), "it ended before its conversation");
                break;
            };
            self.position = feed.position.clone().unwrap();
            self.apply(&event).await;
        }
    }

    /// Whether the conversation of a visitor is deleted, which its reader may have been away for.
    fn is_gone(&mut self, answer: &Answer) -> bool {
        let is_gone = matches!(self.reads, Reads::Thread(_)) && answer.status == 404;
        if is_gone {
            (self.known, self.has_ended) = (Known::default(), true);
        }
        is_gone
    }

    async fn apply(&mut self, event: &Value) {
        self.schemas.assert_describe_event(self.template(), event);
        if let Some(cursor) = event["cursor"].as_str() {
            assert!(self.got.insert(cursor.to_owned()), "it came twice: {event}");
        }
        let (conversation, message) = (&event["conversation"], &event["message"]);
        // What the reader may not see is in no event, however late it is read.
        match self.reads {
            Reads::All => {}
            Reads::OfBot(bot) => {
                assert!(conversation["botId"].is_null() || conversation["botId"] == bot, "{event}");
            }
            Reads::Thread(_) => assert_ne!(message["role"], "note", "{event}"),
        }
        match event["kind"].as_str().unwrap() {
            "conversation.created" | "conversation.updated" if event["reload"] == true => {
                self.reload(&id(&conversation["id"])).await;
            }
            "conversation.created" | "conversation.updated" => self.take(conversation),
            "conversation.deleted" => match self.reads {
                Reads::All | Reads::OfBot(_) => self.known.forget(&id(&conversation["id"])),
                Reads::Thread(_) => self.known = Known::default(),
            },
            "message.created" | "message.updated" => {
                self.known.messages.insert(id(&message["id"]), message.clone());
                self.take(conversation);
            }
            "message.deleted" => {
                self.known.messages.remove(&id(&message["id"]));
                if conversation.is_object() {
                    self.take(conversation);
                }
            }
            "answer.started" | "answer.delta" | "answer.finished" | "typing" | "conversation.seen" => {}
            kind => panic!("{kind}: {event}"),
        }
        self.has_ended |= match self.reads {
            Reads::All | Reads::OfBot(_) => conversation["room"] == END,
            Reads::Thread(_) => message["text"] == END || self.known.conversations.is_empty(),
        };
    }

    fn take(&mut self, conversation: &Value) {
        let (key, mut conversation) = match self.reads {
            Reads::All | Reads::OfBot(_) => (id(&conversation["id"]), conversation.clone()),
            Reads::Thread(_) => (id(&conversation["conversationId"]), conversation.clone()),
        };
        // A thread does not have it.
        if matches!(self.reads, Reads::Thread(_)) {
            conversation.as_object_mut().unwrap().remove("assignee").expect("visitors are told of it");
        }
        self.known.conversations.insert(key, conversation);
    }

    /// Loads one conversation with its messages.
    async fn reload(&mut self, conversation: &str) {
        self.known.forget(conversation);
        let client = self.client();
        let answer = client.get(&format!("/api/conversation/{conversation}")).await;
        if answer.status == 400 {
            // It has left again; that follows.
            return;
        }
        self.known.conversations.insert(conversation.to_owned(), shared(&answer.ok()["data"]));
        let path = format!("/api/message?conversationId={conversation}");
        self.known.messages.extend(list(&client, &path).await.0);
    }

    /// Compares with what a node answers now.
    pub async fn assert_knows_all(&self, node: usize) {
        let client = &self.clients[node];
        let (stored, _) = match &self.reads {
            Reads::All | Reads::OfBot(_) => all(client).await,
            Reads::Thread(session) => thread(client, session).await.unwrap_or_default(),
        };
        let what = match &self.reads {
            Reads::All => format!("all, by {:?}", self.by),
            Reads::OfBot(bot) => format!("all of {bot}, by {:?}", self.by),
            Reads::Thread(session) => format!("{session}, by {:?}", self.by),
        };
        for (known, stored) in
            [(&self.known.conversations, &stored.conversations), (&self.known.messages, &stored.messages)]
        {
            for (id, stored) in stored {
                assert_eq!(known.get(id), Some(stored), "{what}: {id}");
            }
            let more: Vec<_> = known.iter().filter(|(id, _)| !stored.contains_key(*id)).collect();
            assert!(more.is_empty(), "{what}: {more:?} is not stored");
        }
    }
}

impl Known {
    fn forget(&mut self, conversation: &str) {
        self.conversations.remove(conversation);
        self.messages.retain(|_, message| id(&message["conversationId"]) != conversation);
    }
}

/// A conversation without what is the caller's alone: the feed is the same for all readers.
fn shared(conversation: &Value) -> Value {
    let mut conversation = conversation.clone();
    conversation.as_object_mut().unwrap().remove("unreadCount").expect("it is in answers to requests");
    conversation
}

/// All entries of a list by their ids, and the position up to which the first page is complete.
async fn list(client: &Client, path: &str) -> (BTreeMap<String, Value>, String) {
    let (mut entries, mut cursor, mut after) = (BTreeMap::new(), None, "0".to_owned());
    let sign = if path.contains('?') { '&' } else { '?' };
    loop {
        let answer = client.get(&format!("{path}{sign}order=asc&limit=100&after={after}")).await;
        let page = answer.ok()["data"].as_array().unwrap().clone();
        cursor.get_or_insert_with(|| answer.header("x-wicara-cursor").unwrap().to_owned());
        let Some(last) = page.last() else { return (entries, cursor.unwrap()) };
        after = id(&last["id"]);
        entries.extend(page.iter().map(|entry| (id(&entry["id"]), entry.clone())));
    }
}

/// All that an operator may see.
async fn all(client: &Client) -> (Known, String) {
    let (conversations, cursor) = list(client, "/api/conversation").await;
    let conversations = conversations.into_iter().map(|(id, conversation)| (id, shared(&conversation)));
    let (messages, _) = list(client, "/api/message").await;
    (Known { conversations: conversations.collect(), messages }, cursor)
}

/// All that a visitor may see; `None`: it is deleted.
async fn thread(client: &Client, session: &str) -> Option<(Known, String)> {
    let (mut known, mut cursor, mut before) = (Known::default(), None, String::new());
    loop {
        let answer = client.get(&format!("/api/questions/{session}?before={before}")).await;
        if answer.status == 404 {
            return None;
        }
        let data = answer.ok()["data"].clone();
        let at = answer.header("x-wicara-cursor").unwrap().to_owned();
        let messages = data["messages"].as_array().unwrap();
        if cursor.is_none() {
            let conversation = serde_json::json!({
                "conversationId": data["conversation_id"],
                "session_id": data["session_id"],
                "handler": data["handler"],
                "handover": data["handover"],
            });
            known.conversations.insert(id(&data["conversation_id"]), conversation);
        }
        let cursor = cursor.get_or_insert(at);
        let Some(first) = messages.first() else { return Some((known, cursor.clone())) };
        before = id(&first["id"]);
        known.messages.extend(messages.iter().map(|message| (id(&message["id"]), message.clone())));
    }
}
