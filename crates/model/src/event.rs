//! Events of the feed: what changed, without its content.

use crate::{ConversationId, MessageId, Timestamp};

/// The place of an event in the feed. Numbers rise by one, in the order of commits, for all servers of a database; 0 is
/// before the first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EventNumber(pub i64);

impl EventNumber {
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    #[must_use]
    pub fn before(self) -> Self {
        Self(self.0 - 1)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub number: EventNumber,
    /// By the database's clock.
    pub at: Timestamp,
    pub change: Change,
}

/// What changed. The right to see it depends on the bot that the conversation had then; whether visitors see a message,
/// on its role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    ConversationCreated {
        id: ConversationId,
        bot_id: String,
        /// It was deleted before and is back: there is more to read of it.
        is_restored: bool,
    },
    ConversationUpdated {
        id: ConversationId,
        bot_before: String,
        bot_id: String,
    },
    ConversationDeleted {
        id: ConversationId,
        bot_before: String,
    },
    MessageCreated {
        id: MessageId,
        conversation_id: ConversationId,
        bot_id: String,
        is_shown: bool,
    },
    MessageUpdated {
        id: MessageId,
        conversation_id: ConversationId,
        bot_id: String,
        was_shown: bool,
        is_shown: bool,
    },
    MessageDeleted {
        id: MessageId,
        conversation_id: ConversationId,
        bot_id: String,
        was_shown: bool,
    },
    /// How far a reader ([`Caller::id`](crate::Caller::id)) has read a conversation; for that reader alone.
    Seen {
        reader: String,
        conversation_id: ConversationId,
        up_to: MessageId,
    },
    /// The role, bots, secret or logins of a person or a program, or the end of it. For the servers, never shown.
    Access {
        reader: String,
    },
    /// The answers that a bot is giving in a conversation are not wanted any more. For the servers, never shown.
    AnswersStopped {
        conversation_id: ConversationId,
    },
}

impl Change {
    /// Whether it is for the servers themselves, and no reader of the feed is shown it.
    #[must_use]
    pub fn is_for_servers(&self) -> bool {
        matches!(self, Self::Access { .. } | Self::AnswersStopped { .. })
    }

    /// The conversation that it is about.
    #[must_use]
    pub fn conversation(&self) -> Option<ConversationId> {
        match self {
            Self::ConversationCreated { id, .. }
            | Self::ConversationUpdated { id, .. }
            | Self::ConversationDeleted { id, .. } => Some(*id),
            Self::MessageCreated { conversation_id, .. }
            | Self::MessageUpdated { conversation_id, .. }
            | Self::MessageDeleted { conversation_id, .. }
            | Self::Seen { conversation_id, .. }
            | Self::AnswersStopped { conversation_id } => Some(*conversation_id),
            Self::Access { .. } => None,
        }
    }
}
