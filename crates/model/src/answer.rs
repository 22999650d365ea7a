//! A bot's answer.

use uuid::Uuid;

use crate::json::{Json, Object};

/// One answer: a text, and the answer object where the bot sent one.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub text: String,
    /// The answer object with its exact JSON text, except for the changes of [`Json::portable`]; `None` where the bot sent
    /// only a string.
    pub payload: Option<Json>,
    /// Bytes of the answer object, or of the text, as the bot sent it.
    pub bytes: usize,
}

impl Answer {
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { bytes: text.len(), text: storable(text), payload: None }
    }

    /// An answer object: its `text` is the answer's text, empty where it has none or `null`.
    ///
    /// `None` if the value is no object or its `text` is anything else.
    #[must_use]
    pub fn object(sent: Json) -> Option<Self> {
        let bytes = sent.as_str().len();
        let payload = sent.portable().ok()?;
        let object: Object = serde_json::from_str(payload.as_str()).ok()?;
        let text = match object.get("text") {
            Some(text) if text.as_str() != "null" => text.string()?,
            _ => String::new(),
        };
        Some(Self { text: storable(text), payload: Some(payload), bytes })
    }
}

/// The `flow_id` of a bot that sends none: a UUID (version 5) of the bot's id, so it is the same on every server.
#[must_use]
pub fn flow_id(bot_id: &str) -> Uuid {
    const BOTS: Uuid = Uuid::from_u128(0x5f0c_7d0e_3b1a_4c57_9d54_2f6a_8e11_c0b3);
    Uuid::new_v5(&BOTS, bot_id.as_bytes())
}

/// Replaces NUL, which PostgreSQL cannot store in a text. The payload keeps it, as an escape.
fn storable(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}
