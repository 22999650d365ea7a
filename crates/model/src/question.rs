//! A question as a bot gets it.

use uuid::Uuid;

use crate::{Conversation, ConversationId, MessageId};

/// Where a stored question is: what every answer to it names, also an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuestionIds {
    pub session_id: Uuid,
    pub conversation_id: ConversationId,
    pub question_id: MessageId,
}

impl QuestionIds {
    #[must_use]
    pub fn new(conversation: &Conversation, question_id: MessageId) -> Self {
        Self { session_id: conversation.session_id, conversation_id: conversation.id, question_id }
    }
}

/// The author of an earlier message, as bots know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    User,
    Assistant,
}

/// An earlier message of the conversation.
#[derive(Debug, Clone)]
pub struct Turn {
    pub speaker: Speaker,
    pub text: String,
}

/// A question with its context.
#[derive(Debug, Clone)]
pub struct Question {
    /// The id of the stored question: from it the answer object of a bot that gives no id gets one.
    pub id: MessageId,
    /// The key by which the bot keeps its own memory of the conversation.
    pub session_id: Uuid,
    pub text: String,
    /// The messages before the question, oldest first; their number is the bot's `Bot::history`.
    pub history: Vec<Turn>,
}
