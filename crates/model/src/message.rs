//! A message of a conversation.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::caller::{UnknownWord, string_enum};
use crate::{Answer, ConversationId, Json, MessageId, Object, Timestamp};

/// The roles with a behaviour. Any other text is stored and shown.
pub mod role {
    /// The public. In a bot's history: the user.
    pub const CLIENT: &str = "client";
    /// A bot. In a bot's history: the assistant.
    pub const BOT: &str = "bot";
    /// A human operator. In a bot's history: the assistant.
    pub const AGENT: &str = "agent";
    /// A note among operators: never shown by the Chatbot API, nor to visitors, bots or channels.
    pub const NOTE: &str = "note";
}

/// Why a question got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FailureReason {
    /// The bot did not answer within its deadline.
    Timeout,
    /// The bot could not be connected to, or the connection broke.
    Unreachable,
    /// The bot answered with an error.
    Rejected,
    /// The bot's answer could not be understood, was too large or empty.
    Unreadable,
    /// Too many questions waited for the bot.
    Busy,
    /// The bot had failed too often and was not asked.
    Suspended,
    /// The conversation's bot is not in the configuration.
    Unconfigured,
    /// The server stopped before the answer came.
    Interrupted,
    /// The visitor or an operator stopped the answer before anything of it had come.
    Stopped,
}

string_enum!(FailureReason {
    Timeout = "timeout",
    Unreachable = "unreachable",
    Rejected = "rejected",
    Unreadable = "unreadable",
    Busy = "busy",
    Suspended = "suspended",
    Unconfigured = "unconfigured",
    Interrupted = "interrupted",
    Stopped = "stopped"
});

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    pub reason: FailureReason,
    pub at: Timestamp,
}

/// What the visitor thinks of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feedback {
    /// 1 or -1.
    pub value: i64,
    pub text: Option<String>,
    pub at: Timestamp,
}

/// The kind of a message's author.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthorKind {
    /// With a cookie session.
    Person,
    /// With an API key.
    Program,
    Bot,
}

string_enum!(AuthorKind { Person = "person", Program = "program", Bot = "bot" });

/// The author of a message, by the credentials of its sender. The message's role is what the sender chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// As in a conversation's `userId`: a person's number or `key-<number>`; a bot's id.
    pub id: String,
    pub kind: AuthorKind,
    /// The display name when the message was stored.
    pub name: String,
}

impl Author {
    #[must_use]
    pub fn bot(id: &str) -> Self {
        Self { id: id.to_owned(), kind: AuthorKind::Bot, name: id.to_owned() }
    }
}

/// How long a bot took to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerTime {
    /// From the question to the first text, in milliseconds; `None` where the answer was not streamed.
    pub first_token_ms: Option<i64>,
    /// From the question to the end of the answer, in milliseconds.
    pub answer_ms: i64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    pub id: MessageId,
    pub conversation_id: ConversationId,
    /// The message's number in its conversation, from 1, assigned when it is stored. A deleted message leaves a gap.
    pub seq: i64,
    pub role: String,
    /// `text`, `image`, `voice` or any other text.
    pub kind: String,
    pub text: String,
    /// A bot's whole answer object: see [`Answer::payload`].
    pub payload: Option<Json>,
    /// The question that this answers.
    pub reply_to: Option<MessageId>,
    /// On a question that got no answer.
    pub failure: Option<Failure>,
    /// On an answer, of a bot or of an operator.
    pub feedback: Option<Feedback>,
    /// `None` for a visitor, and for messages from before authors were stored.
    pub author: Option<Author>,
    /// On a bot's answer.
    pub time: Option<AnswerTime>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Message {
    #[must_use]
    pub fn is_note(&self) -> bool {
        self.role == role::NOTE
    }

    /// Bytes of the text and the payload.
    #[must_use]
    pub fn bytes(&self) -> usize {
        bytes(&self.text, self.payload.as_ref())
    }
}

/// A message to be stored at the end of a conversation.
#[derive(Debug, Clone)]
pub struct NewMessage {
    pub role: String,
    pub kind: String,
    pub text: String,
    pub payload: Option<Json>,
    pub reply_to: Option<MessageId>,
    pub author: Option<Author>,
    pub time: Option<AnswerTime>,
}

fn bytes(text: &str, payload: Option<&Json>) -> usize {
    text.len() + payload.map_or(0, |payload| payload.as_str().len())
}

impl NewMessage {
    /// Bytes of the text and the payload.
    #[must_use]
    pub fn bytes(&self) -> usize {
        bytes(&self.text, self.payload.as_ref())
    }

    #[must_use]
    pub fn is_note(&self) -> bool {
        self.role == role::NOTE
    }

    /// Whether it is an answer object with `"handover": true`: the bot asks for people.
    #[must_use]
    pub fn asks_for_people(&self) -> bool {
        let object = self.payload.as_ref().and_then(|payload| serde_json::from_str(payload.as_str()).ok());
        object.is_some_and(|object: Object| {
            object.get("handover").is_some_and(|value| value.as_str() == "true")
        })
    }

    /// A question of the public.
    #[must_use]
    pub fn question(text: String) -> Self {
        Self {
            role: role::CLIENT.into(),
            kind: "text".into(),
            text,
            payload: None,
            reply_to: None,
            author: None,
            time: None,
        }
    }

    /// A bot's answer to a question.
    #[must_use]
    pub fn answer(answer: Answer, question: MessageId) -> Self {
        Self {
            role: role::BOT.into(),
            kind: "text".into(),
            text: answer.text,
            payload: answer.payload,
            reply_to: Some(question),
            author: None,
            time: None,
        }
    }
}

/// A change of a message; `None` leaves a field as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MessagePatch {
    /// A new text also becomes the payload's `text`.
    pub text: Option<String>,
    pub kind: Option<String>,
    pub role: Option<String>,
}

/// Which messages a walked list shows, beside [`MessageFilter`]; a field that is `None` matches all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MessageWalkFilter {
    pub role: Option<String>,
    /// The earliest and the latest time at which it was stored.
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

/// The messages of a list; `None` matches all conversations.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MessageFilter {
    pub conversation_id: Option<ConversationId>,
}
