//! The three documents on the wire, each in a file that reads like it. Nothing below this layer knows of them.

pub mod answer_object;
pub mod beyond;
pub mod chatbot_api;
pub mod conversation_api;
pub mod errors;
pub mod message_api;
#[cfg(test)]
mod tests;
pub mod wording;

use std::fmt::Display;

use serde::Serializer;

/// Shows a value as the string that it prints: an id of the Conversation API, a time.
fn shown<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// The same of a value that may be missing.
fn shown_or_null<T: Display, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}
