//! Random changes of every kind, by operators and visitors, at any node.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::FOLLOWED;
use crate::support::{Answer, Client, Dice};

/// A conversation to change.
#[derive(Clone)]
pub struct Place {
    pub id: String,
    /// Where a visitor opened it.
    pub session: Option<String>,
}

/// What writers know of what is stored, and what they have done.
#[derive(Default)]
pub struct Places {
    places: Mutex<Vec<Place>>,
    messages: Mutex<Vec<String>>,
    made: Mutex<Made>,
}

/// How often each kind of change was made, refused ones apart.
#[derive(Default, Debug)]
pub struct Made(BTreeMap<&'static str, usize>);

impl Made {
    pub fn add(&mut self, other: Self) {
        for (kind, count) in other.0 {
            *self.0.entry(kind).or_default() += count;
        }
    }

    pub fn assert_every_kind(&self) {
        let missing: Vec<_> = KINDS.iter().filter(|(_, kind)| !self.0.contains_key(kind)).collect();
        assert!(missing.is_empty(), "{missing:?} of {self:?}");
    }
}

impl Places {
    pub fn add(&self, place: Place) {
        self.places.lock().unwrap().push(place);
    }

    pub fn all(&self) -> Vec<Place> {
        self.places.lock().unwrap().clone()
    }

    pub fn made(&self) -> Made {
        std::mem::take(&mut self.made.lock().unwrap())
    }

    fn remember(&self, place: Place) {
        let mut places = self.places.lock().unwrap();
        if !places.iter().any(|known| known.id == place.id) {
            places.push(place);
        }
    }

    fn forget(&self, id: &str) {
        self.places.lock().unwrap().retain(|place| place.id != id);
    }
}

/// The kinds of changes, and how often each is tried among all of them.
const KINDS: [(usize, &str); 16] = [
    (6, "open by a question"),
    (4, "open"),
    (14, "ask"),
    (12, "end an answer"),
    (18, "say"),
    (10, "change a text"),
    (8, "change a role"),
    (6, "delete a message"),
    (6, "change a conversation"),
    (14, "move"),
    (6, "change the handler"),
    (8, "claim"),
    (5, "release"),
    (4, "ask for people"),
    (6, "see"),
    (4, "delete a conversation"),
];

/// What a visitor may ask; a question by which the bot asks for people comes last.
const QUESTIONS: [&str; 7] = [
    "halo",
    "status 500",
    "{",
    "wait 5",
    r#"say [{"text":"two","suggest_links":[{"title":"t","url":"https://example.org"}]},{"text":"more"}]"#,
    "say []",
    r#"say {"text":"One moment.","handover":true}"#,
];

pub struct Writer {
    /// An operator at each node.
    operator: Vec<Client>,
    visitor: Vec<Client>,
    places: Arc<Places>,
    dice: Dice,
}

impl Writer {
    pub fn new(operator: Vec<Client>, visitor: Vec<Client>, places: Arc<Places>, dice: Dice) -> Self {
        Self { operator, visitor, places, dice }
    }

    fn operator(&mut self) -> Client {
        self.dice.pick(&self.operator).unwrap()
    }

    fn visitor(&mut self) -> Client {
        self.dice.pick(&self.visitor).unwrap()
    }

    fn place(&mut self) -> Place {
        let places = self.places.all();
        self.one_of(&places)
    }

    /// One that a visitor opened.
    fn thread(&mut self) -> (String, String) {
        let mut places = self.places.all();
        places.retain(|place| place.session.is_some());
        let Place { id, session } = self.one_of(&places);
        (id, session.unwrap())
    }

    fn one_of(&mut self, places: &[Place]) -> Place {
        // Often one of the first, which visitors follow.
        let first = &places[..places.len().min(FOLLOWED)];
        let among = if self.dice.percent(40) { first } else { places };
        self.dice.pick(among).unwrap()
    }

    fn message(&mut self) -> Option<String> {
        let messages = self.places.messages.lock().unwrap();
        // Often one of the newest.
        let newest = &messages[messages.len().saturating_sub(10)..];
        if self.dice.percent(50) { self.dice.pick(newest) } else { self.dice.pick(&messages) }
    }

    fn bot(&mut self) -> String {
        self.dice.word(&["echo", "b"])
    }

    /// One change, which may be refused where another one came first.
    pub async fn change(&mut self) {
        let mut at = self.dice.below(KINDS.iter().map(|(often, _)| often).sum());
        let kind = KINDS.iter().find_map(|(often, kind)| {
            let is_it = at < *often;
            at = at.saturating_sub(*often);
            is_it.then_some(*kind)
        });
        let kind = kind.unwrap();
        for answer in self.make(kind).await {
            let status = answer.status.as_u16();
            let refused = [400, 403, 404, 409, 502].contains(&status);
            assert!(status == 200 || refused, "{kind}: {}: {status} {}", answer.request, answer.text);
            if status == 200 {
                *self.places.made.lock().unwrap().0.entry(kind).or_default() += 1;
            }
            self.remember(&answer);
        }
    }

    async fn make(&mut self, kind: &str) -> Vec<Answer> {
        let (operator, visitor, place) = (self.operator(), self.visitor(), self.place());
        let path = format!("/api/conversation/{}", place.id);
        let answer = match kind {
            "open by a question" => {
                let body = json!({"message": self.question(), "botId": self.bot()});
                visitor.post("/api/questions", body).await
            }
            "open" => {
                let kind = self.dice.word(&["website", "telegram", "own"]);
                let body = json!({"room": "r", "integrationType": kind, "botId": self.bot()});
                operator.post("/api/conversation", body).await
            }
            "ask" => {
                let (_, session) = self.thread();
                let body = json!({"message": self.question(), "session_id": session});
                visitor.post("/api/questions", body).await
            }
            "end an answer" => return self.end_an_answer().await,
            "say" => {
                let body = json!({
                    "message": self.text(),
                    "type": self.dice.word(&["text", "image", "voice", "own"]),
                    "role": self.role(),
                    "conversationId": place.id,
                });
                operator.post("/api/message", body).await
            }
            "change a text" => {
                let body = json!({"message": self.text()});
                self.change_a_message(&operator, body).await
            }
            "change a role" => {
                let body = json!({"role": self.role()});
                self.change_a_message(&operator, body).await
            }
            "delete a message" => {
                let id = self.message().unwrap_or_else(|| "0".into());
                let path = self.dice.word(&["/api/message", "/api/conversation/message"]);
                operator.delete(&format!("{path}/{id}")).await
            }
            "change a conversation" => {
                let body = match self.dice.below(3) {
                    0 => json!({"room": self.text(), "userId": "u1"}),
                    1 => json!({"integrationType": self.dice.word(&["website", "whatsapp"])}),
                    _ => json!({}),
                };
                operator.patch(&path, body).await
            }
            "move" => operator.patch(&path, json!({"botId": self.bot(), "room": "moved"})).await,
            "change the handler" => {
                let handler = self.dice.word(&["bot", "human"]);
                operator.patch(&path, json!({"handler": handler})).await
            }
            "claim" => {
                let body = json!({"force": self.dice.percent(20)});
                operator.post(&format!("{path}/claim"), body).await
            }
            "release" => {
                let body = json!({"to": self.dice.word(&["bot", "queue"])});
                operator.post(&format!("{path}/release"), body).await
            }
            "ask for people" => {
                let (_, session) = self.thread();
                visitor.post(&format!("/api/questions/{session}/handover"), "").await
            }
            "see" => {
                let (id, session) = self.thread();
                let body = json!({"upTo": self.message().unwrap_or_else(|| "1".into())});
                match self.dice.percent(50) {
                    true => visitor.post(&format!("/api/questions/{session}/seen"), body).await,
                    false => operator.post(&format!("/api/conversation/{id}/seen"), body).await,
                }
            }
            // Of the few at the beginning none is, so that there is always one.
            "delete a conversation" if self.places.all().len() <= 2 * FOLLOWED => return Vec::new(),
            "delete a conversation" => {
                let deleted = operator.delete(&path).await;
                if deleted.status == 200 {
                    self.places.forget(&place.id);
                }
                deleted
            }
            kind => unreachable!("{kind}"),
        };
        vec![answer]
    }

    /// Asks what takes a moment, and meanwhile does something by which the answer is not wanted any more.
    async fn end_an_answer(&mut self) -> Vec<Answer> {
        let (id, session) = self.thread();
        let body = json!({"message": "wait 20", "session_id": session});
        let (asker, visitor, operator) = (self.visitor(), self.visitor(), self.operator());
        let path = format!("/api/conversation/{id}");
        let ending = self.dice.below(6);
        let ends = async {
            // At any moment of the question: before it is stored, or while the bot thinks.
            match ending {
                0 => visitor.delete(&format!("/api/questions/{session}/answer")).await,
                1 => operator.delete(&format!("{path}/answer")).await,
                2 => visitor.post(&format!("/api/questions/{session}/handover"), "").await,
                3 => operator.post(&format!("{path}/claim"), "{}").await,
                4 => operator.patch(&path, json!({"handler": "human"})).await,
                _ => operator.patch(&path, json!({"botId": "b"})).await,
            }
        };
        let (asked, ended) = tokio::join!(asker.post("/api/questions", body), ends);
        vec![asked, ended]
    }

    async fn change_a_message(&mut self, operator: &Client, body: Value) -> Answer {
        let id = self.message().unwrap_or_else(|| "0".into());
        operator.patch(&format!("/api/message/{id}"), body).await
    }

    fn question(&mut self) -> &'static str {
        let many = if self.dice.percent(10) { QUESTIONS.len() } else { QUESTIONS.len() - 1 };
        QUESTIONS[self.dice.below(many)]
    }

    fn text(&mut self) -> String {
        let text = self.dice.word(&["x", "line 1\nline 2\r", "\u{2028}😀", "\"}\n\ndata: {"]);
        format!("{text} {}", self.dice.below(1000))
    }

    fn role(&mut self) -> String {
        self.dice.word(&["agent", "note", "note", "client", "bot", "own"])
    }

    /// What an answer tells of new conversations and messages.
    fn remember(&self, answer: &Answer) {
        let Ok(answer) = serde_json::from_str::<Value>(&answer.text) else { return };
        let mut messages = self.places.messages.lock().unwrap();
        if let Some(session) = answer["session_id"].as_str() {
            let id = answer["conversation_id"].to_string();
            self.places.remember(Place { id, session: Some(session.into()) });
            messages.extend(answer["question_id"].as_i64().map(|id| id.to_string()));
            let answers = answer["message_ids"].as_array().into_iter().flatten();
            messages.extend(answers.map(Value::to_string));
        } else if let Some(id) = answer["data"]["id"].as_str() {
            if answer["data"]["conversationId"].is_string() {
                messages.push(id.to_owned());
            } else if answer["data"]["handler"].is_string() {
                self.places.remember(Place { id: id.to_owned(), session: None });
            }
        }
    }
}
