//! Error bodies in the documents' shapes.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;
use wicara_model::{Rule, Violation};

use super::shown;

/// Bad input, in the words of the Conversation API and the Message API.
#[derive(Debug, Serialize, ToSchema)]
pub struct ValidationError {
    #[schema(example = 400)]
    pub status: u16,
    #[schema(example = "Validation Error")]
    pub error: &'static str,
    pub errors: Vec<BrokenRule>,
}

/// An id that is malformed, unknown or not visible, in the words of the Conversation API and the Message API.
#[derive(Debug, Serialize, ToSchema)]
pub struct IdInvalid {
    #[schema(example = 400)]
    pub status: u16,
    #[schema(example = "ConversationId is Invalid")]
    pub error: &'static str,
}

/// Bad input, in the words of the Chatbot API and of what stands beyond the documents.
#[derive(Debug, Serialize, ToSchema)]
pub struct ValidationFailure {
    #[schema(example = 400)]
    pub status: u16,
    #[schema(example = "Validation failure")]
    pub message: &'static str,
    pub errors: Vec<BrokenRule>,
}

/// A field and the rule that it broke.
#[derive(Debug, Serialize, ToSchema)]
pub struct BrokenRule {
    /// `required`, `string`, `maxLength`, `minLength`, `uuid`, `json`, `exists`, `number`, `range` or `enum`.
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, example = "required")]
    rule: Rule,
    #[schema(example = "message")]
    field: &'static str,
    #[schema(example = "required validation failed")]
    message: String,
}

impl From<&Violation> for BrokenRule {
    fn from(&Violation { rule, field }: &Violation) -> Self {
        Self { rule, field, message: format!("{rule} validation failed") }
    }
}

/// Any other error, from every endpoint.
#[derive(Debug, Serialize, ToSchema)]
pub struct Refused {
    #[schema(example = 404)]
    pub status: u16,
    #[schema(example = "not found")]
    pub message: &'static str,
    #[schema(example = "data not found")]
    pub error: &'static str,
}

/// The bot gave no answer: the question is stored with its failure.
#[derive(Debug, Serialize, ToSchema)]
pub struct BotUnavailable {
    #[schema(example = 502)]
    pub status: u16,
    #[schema(example = "bot unavailable")]
    pub message: &'static str,
    #[schema(example = "The bot answered with an error.")]
    pub error: &'static str,
    #[schema(value_type = String, format = "uuid")]
    pub session_id: Uuid,
}
