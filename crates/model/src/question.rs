use uuid::Uuid;

use crate::MessageId;

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

/// What a bot is asked.
#[derive(Debug, Clone)]
pub struct Question {
    /// The stored message, so that an answer can be given an id of its own.
    pub id: MessageId,
    /// The bot's own key to the conversation so far.
    pub session_id: Uuid,
    pub text: String,
    /// The messages before this one that the bot asked for by `Bot::history`, oldest first.
    pub history: Vec<Turn>,
}
