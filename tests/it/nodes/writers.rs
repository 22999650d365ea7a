//! Writers that know what each of their changes has to become in the feed.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::fleet::Bases;
use crate::support::{Answer, Client, Dice};

/// After a change that was not acknowledged.
const PAUSE: Duration = Duration::from_millis(20);

/// Begins the texts and rooms of all writers.
pub const WRITER: &str = "writer ";

/// What an event says happened, without its content.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fact {
    pub kind: &'static str,
    /// As in `message 5`: messages and conversations have ids of their own.
    pub of: String,
}

impl Fact {
    pub fn new(kind: &'static str, id: &str) -> Self {
        let (what, _) = kind.split_once('.').unwrap();
        Self { kind, of: format!("{what} {id}") }
    }
}

/// What a writer was told, in its order.
#[derive(Debug, Default)]
pub struct Ledger {
    pub acknowledged: Vec<Fact>,
    /// Sent, and no answer came: made or not.
    pub unknown: Vec<Fact>,
    /// The same of what has no id that the writer knows of: its text or room.
    pub unknown_created: HashSet<String>,
}

/// What all writers share.
#[derive(Debug, Default)]
pub struct Progress {
    acknowledged: AtomicUsize,
    is_over: AtomicBool,
}

impl Progress {
    pub fn acknowledged(&self) -> usize {
        self.acknowledged.load(Ordering::SeqCst)
    }

    pub fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
    }
}

/// Changes one thing after the other. What it changes later is its own; its messages are in conversations of all.
pub struct Writer {
    number: usize,
    client: Client,
    bases: Bases,
    /// The servers that it goes to: to the next one where a change is not acknowledged.
    servers: Vec<usize>,
    shared: Vec<String>,
    dice: Dice,
    sent: usize,
    tries: usize,
    messages: Vec<String>,
    conversations: Vec<String>,
    ledger: Ledger,
}

impl Writer {
    pub fn new(
        number: usize,
        client: &Client,
        bases: &Bases,
        servers: &[usize],
        conversations: &[String],
    ) -> Self {
        Self {
            number,
            client: client.with("content-type", "application/json"),
            bases: bases.clone(),
            servers: servers.to_vec(),
            shared: conversations.to_vec(),
            dice: Dice::new(u64::try_from(number).unwrap()),
            sent: 0,
            tries: number,
            messages: Vec::new(),
            conversations: Vec::new(),
            ledger: Ledger::default(),
        }
    }

    /// Writes until it is over.
    pub async fn write(mut self, progress: Arc<Progress>) -> Ledger {
        while !progress.is_over.load(Ordering::SeqCst) {
            if self.change().await {
                progress.acknowledged.fetch_add(1, Ordering::SeqCst);
            } else {
                self.tries += 1;
                tokio::time::sleep(PAUSE).await;
            }
        }
        self.ledger
    }

    /// Whether the change was acknowledged.
    async fn change(&mut self) -> bool {
        self.sent += 1;
        let text = format!("{WRITER}{} change {}", self.number, self.sent);
        match self.dice.below(20) {
            0 => {
                let room = json!({"room": text, "integrationType": "website", "botId": "echo"});
                let created = self.create("conversation.created", "/api/conversation", room, text).await;
                let is_acknowledged = created.is_some();
                self.conversations.extend(created);
                is_acknowledged
            }
            1 if let Some(id) = self.conversations.last().cloned() => {
                let room = Some(json!({"room": text}));
                self.alter("conversation.updated", Method::PATCH, "conversation", id, room).await
            }
            2 if self.conversations.len() > 1 => {
                let id = self.conversations.remove(0);
                self.alter("conversation.deleted", Method::DELETE, "conversation", id, None).await
            }
            3..6 if let Some(id) = self.messages.last().cloned() => {
                let message = Some(json!({"message": text}));
                self.alter("message.updated", Method::PATCH, "message", id, message).await
            }
            6..9 if self.messages.len() > 3 => {
                let id = self.messages.remove(0);
                self.alter("message.deleted", Method::DELETE, "message", id, None).await
            }
            _ => {
                let conversation = self.dice.pick(&self.shared).unwrap();
                let message = json!({
                    "message": text, "type": "text", "role": "client", "conversationId": conversation
                });
                let created = self.create("message.created", "/api/message", message, text).await;
                let is_acknowledged = created.is_some();
                self.messages.extend(created);
                is_acknowledged
            }
        }
    }

    /// The new id, if it was acknowledged.
    async fn create(&mut self, kind: &'static str, path: &str, body: Value, text: String) -> Option<String> {
        let Some(answer) = self.send(Method::POST, path, Some(body)).await else {
            self.ledger.unknown_created.insert(text);
            return None;
        };
        let id = answer.ok()["data"]["id"].as_str().unwrap().to_owned();
        self.ledger.acknowledged.push(Fact::new(kind, &id));
        Some(id)
    }

    async fn alter(
        &mut self,
        kind: &'static str,
        method: Method,
        what: &str,
        id: String,
        body: Option<Value>,
    ) -> bool {
        let answer = self.send(method, &format!("/api/{what}/{id}"), body).await;
        let is_acknowledged = answer.is_some();
        let of = if is_acknowledged { &mut self.ledger.acknowledged } else { &mut self.ledger.unknown };
        of.push(Fact::new(kind, &id));
        is_acknowledged
    }

    /// The answer of a success; `None` where the server is away, or says that its database is.
    async fn send(&mut self, method: Method, path: &str, body: Option<Value>) -> Option<Answer> {
        let base = self.bases.get(self.servers[self.tries % self.servers.len()]);
        let body = body.map(|body| body.to_string().into_bytes());
        let answer = self.client.at(&base).try_send(method, path, body).await.ok()?;
        if answer.status == 503 {
            return None;
        }
        answer.ok();
        Some(answer)
    }
}
