//! A conversation: a room on some channel, its bot, and who handles it now.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::caller::{UnknownWord, string_enum};
use crate::{Author, ConversationId, MessageId, Timestamp};

/// Who answers the questions of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Handler {
    Bot,
    /// An operator: questions are stored and not passed to the bot.
    Human,
}

string_enum!(Handler { Bot = "bot", Human = "human" });

/// Why a conversation came to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HandoverReason {
    /// Its visitor asked for people.
    Visitor,
    /// An operator took it, or put it into the queue.
    Operator,
    /// The bot failed as often in a row as its setting `handover_after_failures` says.
    BotFailed,
    /// The bot asked for it with its answer.
    Bot,
}

string_enum!(HandoverReason {
    Visitor = "visitor",
    Operator = "operator",
    BotFailed = "bot-failed",
    Bot = "bot"
});

#[derive(Debug, Clone, PartialEq)]
pub struct Conversation {
    pub id: ConversationId,
    /// The visitor's key to the conversation: never shown by the Conversation API.
    pub session_id: Uuid,
    /// Opened by a visitor at `POST /api/questions`: every caller that knows the session id may continue it.
    pub by_visitor: bool,
    pub room: String,
    /// `website`, `telegram`, `whatsapp` or any other text. No behaviour depends on it.
    pub integration_type: String,
    pub bot_id: String,
    pub user_id: Option<String>,
    pub handler: Handler,
    /// The person or program that claimed it; `None` in the queue, and while the bot has it.
    pub assignee: Option<Author>,
    /// Since when people have it, and why; `None` while the bot has it.
    pub handed_over_at: Option<Timestamp>,
    pub handover_reason: Option<HandoverReason>,
    /// Since when it waits in the queue; `None` while somebody or the bot has it.
    pub unclaimed_since: Option<Timestamp>,
    /// The newest message at the time when people last gave it back to the bot; 0 if they never did.
    pub given_back_after: MessageId,
    /// The newest message that its visitor has seen; 0 for none.
    pub seen_by_visitor: MessageId,
    /// All messages, notes included.
    pub message_count: i64,
    pub note_count: i64,
    /// Bytes of the texts and payloads of all messages.
    pub message_bytes: i64,
    pub created_at: Timestamp,
    /// When the conversation or a message of it last changed.
    pub updated_at: Timestamp,
}

/// A conversation to be opened.
#[derive(Debug, Clone)]
pub struct NewConversation {
    pub session_id: Uuid,
    pub by_visitor: bool,
    /// `None`: `<integration type>-<id>`.
    pub room: Option<String>,
    pub integration_type: String,
    pub bot_id: String,
    pub user_id: Option<String>,
}

impl NewConversation {
    /// The new conversation, without messages.
    #[must_use]
    pub fn open(&self, id: ConversationId, at: Timestamp) -> Conversation {
        Conversation {
            id,
            session_id: self.session_id,
            by_visitor: self.by_visitor,
            room: self.room.clone().unwrap_or_else(|| format!("{}-{id}", self.integration_type)),
            integration_type: self.integration_type.clone(),
            bot_id: self.bot_id.clone(),
            user_id: self.user_id.clone(),
            handler: Handler::Bot,
            assignee: None,
            handed_over_at: None,
            handover_reason: None,
            unclaimed_since: None,
            given_back_after: MessageId(0),
            seen_by_visitor: MessageId(0),
            message_count: 0,
            note_count: 0,
            message_bytes: 0,
            created_at: at,
            updated_at: at,
        }
    }
}

impl Conversation {
    /// Gives it to people: to the one that claims it, else into the queue. What people have already stays handed over
    /// since when and why it was.
    pub fn hand_over(&mut self, reason: HandoverReason, assignee: Option<Author>, at: Timestamp) {
        if self.handler == Handler::Bot {
            self.handler = Handler::Human;
            self.handed_over_at = Some(at);
            self.handover_reason = Some(reason);
        }
        self.unclaimed_since = assignee.is_none().then_some(at);
        self.assignee = assignee;
    }

    /// Gives it back to the bot. `newest`: its newest message.
    pub fn give_back(&mut self, newest: MessageId) {
        self.handler = Handler::Bot;
        self.assignee = None;
        self.handed_over_at = None;
        self.handover_reason = None;
        self.unclaimed_since = None;
        self.given_back_after = newest;
    }
}

/// A change of a conversation; `None` leaves a field as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ConversationPatch {
    pub room: Option<String>,
    pub integration_type: Option<String>,
    pub bot_id: Option<String>,
    pub user_id: Option<String>,
    pub handler: Option<Handler>,
}

/// Whose conversations a list shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AssigneeFilter {
    /// The caller's.
    Me,
    /// Those that nobody has.
    Nobody,
    Of(String),
}

/// Which conversations a walked list shows, beside [`ConversationFilter`]; a field that is `None` matches all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ActivityFilter {
    pub handler: Option<Handler>,
    pub assignee: Option<AssigneeFilter>,
    /// Whether the public waits, and its newest question has a failure.
    pub failed: Option<bool>,
    /// Whether the newest message that is no note is the public's, and no bot is answering.
    pub unanswered: Option<bool>,
    /// Whether there are messages of the public that the caller has not read, as `unread_count` counts them.
    pub unread: Option<bool>,
    /// The earliest and the latest time of the last activity.
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

/// How many conversations wait for a caller, each up to [`Walked::MAX_TOTAL`](crate::Walked::MAX_TOTAL).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConversationCounts {
    /// With people, and claimed by nobody.
    pub queue: i64,
    /// The caller's.
    pub mine: i64,
    pub unread: i64,
    pub failed: i64,
    pub unanswered: i64,
    /// See [`Walked::indexed_from`](crate::Walked::indexed_from).
    pub indexed_from: Option<Timestamp>,
}

/// The conversations of a list; a field that is `None` matches all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ConversationFilter {
    pub user_id: Option<String>,
    pub bot_id: Option<String>,
    pub integration_type: Option<String>,
    pub room: Option<String>,
}
