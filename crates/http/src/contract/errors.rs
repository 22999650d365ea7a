//! Error bodies in the documents' shapes.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;
use wicara_model::{Bounds, ConversationId, FailureReason, MessageId, QuestionIds, Rule, Violation};

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
    /// `required`, `string`, `maxLength`, `minLength`, `uuid`, `json`, `exists`, `number`, `range`, `enum`, `boolean`, `date`,
    /// `cursor`, `query` or `password`.
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, example = "required")]
    rule: Rule,
    #[schema(example = "message")]
    field: &'static str,
    #[schema(example = "required validation failed")]
    message: String,
    /// What is allowed, where the rule has bounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    args: Option<RuleArgs>,
}

impl From<&Violation> for BrokenRule {
    fn from(&Violation { rule, field, bounds }: &Violation) -> Self {
        Self { rule, field, message: format!("{rule} validation failed"), args: bounds.map(RuleArgs::from) }
    }
}

/// What a broken rule allows, by the names that Adonis' validator gives it: of `range`, `maxLength`, `minLength` and
/// `enum`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum RuleArgs {
    /// Both ends are allowed.
    Range { start: i64, stop: i64 },
    /// In characters, of a message in bytes of UTF-8.
    MaxLength {
        #[serde(rename = "maxLength")]
        max_length: usize,
    },
    MinLength {
        #[serde(rename = "minLength")]
        min_length: usize,
    },
    Enum {
        #[schema(value_type = Vec<String>)]
        choices: &'static [&'static str],
    },
}

impl From<Bounds> for RuleArgs {
    fn from(bounds: Bounds) -> Self {
        match bounds {
            Bounds::Range { start, stop } => Self::Range { start, stop },
            Bounds::MaxLength(max_length) => Self::MaxLength { max_length },
            Bounds::MinLength(min_length) => Self::MinLength { min_length },
            Bounds::Choices(choices) => Self::Enum { choices },
        }
    }
}

/// Any other error, from every endpoint. Examples stand beside each response, by its status.
#[derive(Debug, Serialize, ToSchema)]
pub struct Refused {
    pub status: u16,
    pub message: &'static str,
    pub error: &'static str,
}

/// Not allowed to this caller, or from this page.
#[derive(Debug, Serialize, ToSchema)]
pub struct Forbidden {
    #[schema(example = 403)]
    pub status: u16,
    #[schema(example = "forbidden")]
    pub message: &'static str,
    #[schema(example = "Forbidden")]
    pub error: &'static str,
    /// To a page of another origin: what to set on the server if it is one of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub hint: Option<&'static str>,
}

/// The bot gave no answer: the question is stored with its failure.
#[derive(Debug, Serialize, ToSchema)]
pub struct BotUnavailable {
    status: u16,
    message: &'static str,
    error: &'static str,
    #[schema(value_type = String, format = "uuid")]
    session_id: Uuid,
    #[schema(value_type = i64, example = 5)]
    conversation_id: ConversationId,
    #[schema(value_type = i64, example = 15)]
    question_id: MessageId,
}

impl BotUnavailable {
    #[must_use]
    pub fn new(status: u16, message: &'static str, error: &'static str, question: QuestionIds) -> Self {
        let QuestionIds { session_id, conversation_id, question_id } = question;
        Self { status, message, error, session_id, conversation_id, question_id }
    }
}

/// The bot is not asked the question again: nothing was changed.
#[derive(Debug, Serialize, ToSchema)]
pub struct NotAsked {
    #[schema(example = 409)]
    pub status: u16,
    #[schema(example = "conflict")]
    pub message: &'static str,
    /// `answering`: the bot is being asked; `human`: people have the conversation; `answered`.
    #[schema(pattern = "^(answering|human|answered)$", example = "answered")]
    pub error: &'static str,
}

/// A bot that was tried out gave no answer. Nothing is stored.
#[derive(Debug, Serialize, ToSchema)]
pub struct TrialFailed {
    pub status: u16,
    #[schema(example = "bot unavailable")]
    pub message: &'static str,
    pub error: &'static str,
    /// As in a question's `failure`.
    #[schema(value_type = String, example = "timeout")]
    pub reason: FailureReason,
}

/// The first request with this key is still being answered. Where it is a first question, its session is named: the
/// client may not have got it.
#[derive(Debug, Serialize, ToSchema)]
pub struct QuestionRunning {
    status: u16,
    message: &'static str,
    error: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid", nullable = false)]
    session_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i64>, nullable = false, example = 5)]
    conversation_id: Option<ConversationId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i64>, nullable = false, example = 15)]
    question_id: Option<MessageId>,
}

impl QuestionRunning {
    #[must_use]
    pub fn new(status: u16, message: &'static str, error: &'static str, ids: Option<QuestionIds>) -> Self {
        Self {
            status,
            message,
            error,
            session_id: ids.map(|ids| ids.session_id),
            conversation_id: ids.map(|ids| ids.conversation_id),
            question_id: ids.map(|ids| ids.question_id),
        }
    }
}
