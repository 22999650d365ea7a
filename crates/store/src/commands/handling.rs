//! Changes of who has a conversation: who makes them, and what becomes of them.

use wicara_model::{Author, Conversation, Message};

/// The operator who changes who has a conversation.
#[derive(Debug, Clone)]
pub struct Operator {
    pub author: Author,
    /// Whether it may take what somebody else has.
    pub is_admin: bool,
}

/// What became of such a change.
#[derive(Debug, Clone, PartialEq)]
pub enum Handling {
    /// The conversation, with its newest message.
    Done(Conversation, Option<Message>),
    /// Somebody else has it: nothing was changed.
    Claimed(Author),
    /// There is no such conversation (any more), or none that the operator may have.
    Gone,
}

impl Operator {
    /// The assignee from whom the operator may not take a conversation.
    pub(super) fn is_kept_from<'a>(&self, conversation: &'a Conversation) -> Option<&'a Author> {
        conversation.assignee.as_ref().filter(|assignee| assignee.id != self.author.id && !self.is_admin)
    }
}
