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

/// How the answering of a question ended, but for a failure of the bot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ending {
    /// The bot answered.
    Answered,
    /// People have the conversation: no bot was asked, or what it had answered by then was stored.
    ForPeople,
    /// The visitor or an operator stopped the answer: what had come by then was stored.
    Stopped,
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

impl Question {
    /// An id by which a bot recognises a question that it is asked again: the same in each attempt and on each server, and
    /// another one for each question, of other installations too. It tells nothing of the session.
    #[must_use]
    pub fn key(&self) -> Uuid {
        Uuid::new_v5(&self.session_id, self.id.to_string().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_keeps_its_key_and_shares_it_with_no_other() {
        let question = |id, session| Question {
            id: MessageId(id),
            session_id: Uuid::from_u128(session),
            text: String::new(),
            history: Vec::new(),
        };
        assert_eq!(question(1, 7).key(), Question { text: "later".into(), ..question(1, 7) }.key());
        assert_ne!(question(1, 7).key(), question(2, 7).key());
        assert_ne!(question(1, 7).key(), question(1, 8).key());
    }
}
