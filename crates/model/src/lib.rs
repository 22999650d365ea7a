//! The terms of the domain as plain data: conversations, messages, people, keys, JSON that keeps its text. Nothing here does
//! I/O, and nothing depends on the layers above.

pub mod account;

mod answer;
mod caller;
mod conversation;
mod event;
#[cfg(test)]
mod fuzz;
mod id;
pub mod interoperable;
mod invalid;
pub mod json;
pub mod lenient;
mod message;
mod network;
mod page;
mod question;
pub mod terminal;
mod timestamp;

pub use answer::{Answer, flow_id};
pub use caller::{Api, Bots, Caller, Key, NewKey, NewUser, Person, Program, Role, UnknownWord, User};
pub use conversation::{
    ActivityFilter, AssigneeFilter, Conversation, ConversationCounts, ConversationFilter, ConversationPatch,
    Handler, HandoverReason, NewConversation,
};
pub use event::{Change, Event, EventNumber};
pub use id::{ConversationId, KeyId, MessageId, UserId};
pub use invalid::{Bounds, Breach, Rule, Violation};
pub use json::{Json, Object};
pub use message::{
    AnswerTime, Author, AuthorKind, Failure, FailureReason, Feedback, Message, MessageFilter, MessagePatch,
    MessageWalkFilter, NewMessage, role,
};
pub use network::Network;
pub use page::{Cursor, List, Listing, Order, Place, Sort, UnknownPlace, Walked};
pub use question::{Ending, Question, QuestionIds, Speaker, Turn};
pub use timestamp::{RangeEnd, Timestamp};
