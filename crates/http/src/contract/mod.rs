//! The three documents on the wire, each in a file that follows it, and what the server has beside them: sessions, a
//! visitor's own conversation, health.

pub mod answer_object;
pub mod author;
pub mod bots;
pub mod chatbot_api;
pub mod conversation_api;
pub mod errors;
pub mod feed_events;
pub mod feedback;
pub mod handover;
pub mod message_api;
pub mod sessions;
#[cfg(test)]
mod tests;
pub mod visitor_events;
pub mod visitor_thread;
pub mod wording;

use std::fmt::Display;

use serde::{Serialize, Serializer};
use utoipa::ToSchema;

/// Serialises a value as its `Display` text: an id of the Conversation API, a time.
fn shown<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// The same for an optional value; `None` is null.
fn shown_or_null<T: Display, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

/// An answer that says no more than that it went well.
#[derive(Debug, Serialize, ToSchema)]
pub struct Done {
    #[schema(example = 200)]
    status: u16,
    #[schema(example = "success")]
    message: &'static str,
}

impl Done {
    #[must_use]
    pub fn new() -> Self {
        Self { status: 200, message: wording::SUCCESS }
    }
}
