//! Who has a conversation, and what was read of it: the requests and answers of hand-over, stops, marks and typing.

use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::schema::Schema;
use uuid::Uuid;
use wicara_model::{ConversationId, Handler, MessageId};
use wicara_service::VisitorConversation;

use super::author::{Author, AuthorName};
use super::conversation_api::Conversation;
use super::message_api::any_id;
use super::{shown, wording};
use crate::input::{Input, MalformedId};

/// `POST /api/conversation/:id/claim`: the request, which may be left out.
#[derive(Debug, ToSchema)]
#[schema(example = json!({}))]
pub struct ConversationClaim {
    /// Admins alone: takes it from who has it.
    #[schema(value_type = Option<bool>)]
    pub force: bool,
}

impl ConversationClaim {
    pub fn read(input: &mut Input) -> Self {
        Self { force: input.flag("force") }
    }
}

/// `POST /api/conversation/:id/release`: the request, which may be left out.
#[derive(Debug, ToSchema)]
#[schema(example = json!({ "to": "bot" }))]
pub struct ConversationRelease {
    /// `bot`, or `queue`; left out: `queue`.
    #[schema(value_type = Option<String>, pattern = "^(bot|queue)$")]
    pub to: Option<ReleaseTo>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseTo {
    Bot,
    Queue,
}

impl std::str::FromStr for ReleaseTo {
    type Err = wicara_model::UnknownWord;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "bot" => Ok(Self::Bot),
            "queue" => Ok(Self::Queue),
            _ => Err(wicara_model::UnknownWord { word: word.to_owned(), known: &["bot", "queue"] }),
        }
    }
}

impl ConversationRelease {
    pub fn read(input: &mut Input) -> Self {
        Self { to: input.one_of("to") }
    }

    #[must_use]
    pub fn handler(&self) -> Handler {
        if self.to == Some(ReleaseTo::Bot) { Handler::Bot } else { Handler::Human }
    }
}

/// `POST …/seen`: the request.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase", example = json!({ "upTo": "16" }))]
pub struct Seen {
    /// The newest message that was seen. The mark moves forward alone, and to the conversation's newest message at most.
    #[schema(schema_with = any_message_id)]
    pub up_to: Result<MessageId, MalformedId>,
}

fn any_message_id() -> Schema {
    any_id()
}

impl Seen {
    pub fn read(input: &mut Input) -> Self {
        Self { up_to: input.id("upTo") }
    }
}

/// What a change of who has a conversation is answered with.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConversationHandled<'a> {
    #[schema(example = 200)]
    status: u16,
    #[schema(example = "success")]
    message: &'static str,
    data: Conversation<'a>,
}

impl<'a> ConversationHandled<'a> {
    #[must_use]
    pub fn new(data: Conversation<'a>) -> Self {
        Self { status: 200, message: wording::SUCCESS, data }
    }
}

/// Somebody else has the conversation: nothing was changed.
#[derive(Debug, Serialize, ToSchema)]
pub struct Claimed<'a> {
    #[schema(example = 409)]
    pub status: u16,
    #[schema(example = "conflict")]
    pub message: &'static str,
    #[schema(example = "claimed")]
    pub error: &'static str,
    pub assignee: Author<'a>,
}

/// `POST /api/conversation/:id/seen`: the answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConversationSeen {
    #[schema(example = 200)]
    status: u16,
    #[schema(example = "success")]
    message: &'static str,
    data: SeenMark,
}

/// How far the caller has read a conversation.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SeenMark {
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, pattern = "^[0-9]+$", example = "5")]
    conversation_id: ConversationId,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, pattern = "^[0-9]+$", example = "16")]
    up_to: MessageId,
}

impl ConversationSeen {
    #[must_use]
    pub fn new(conversation_id: ConversationId, up_to: MessageId) -> Self {
        Self { status: 200, message: wording::SUCCESS, data: SeenMark { conversation_id, up_to } }
    }
}

/// `POST /api/questions/:session_id/seen`: the answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct QuestionSeen {
    #[schema(example = 200)]
    status: u16,
    #[schema(example = "success")]
    message: &'static str,
    data: VisitorSeenMark,
}

/// How far a visitor has seen its conversation.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VisitorSeenMark {
    #[schema(value_type = i64, example = 5)]
    conversation_id: ConversationId,
    #[serde(rename = "session_id")]
    #[schema(value_type = String, format = "uuid")]
    session_id: Uuid,
    #[schema(value_type = i64, example = 16)]
    up_to: MessageId,
}

impl QuestionSeen {
    #[must_use]
    pub fn new(conversation_id: ConversationId, session_id: Uuid, up_to: MessageId) -> Self {
        let data = VisitorSeenMark { conversation_id, session_id, up_to };
        Self { status: 200, message: wording::SUCCESS, data }
    }
}

/// `POST /api/conversation/:id/typing`: the answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConversationTyping {
    #[schema(example = 200)]
    status: u16,
    #[schema(example = "success")]
    message: &'static str,
    data: TypedIn,
}

/// Where the caller types.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TypedIn {
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, pattern = "^[0-9]+$", example = "5")]
    conversation_id: ConversationId,
}

impl ConversationTyping {
    #[must_use]
    pub fn new(conversation_id: ConversationId) -> Self {
        Self { status: 200, message: wording::SUCCESS, data: TypedIn { conversation_id } }
    }
}

/// `POST /api/questions/:session_id/typing`: the answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct QuestionTyping {
    #[schema(example = 200)]
    status: u16,
    #[schema(example = "success")]
    message: &'static str,
    data: VisitorTypedIn,
}

/// Where a visitor types.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VisitorTypedIn {
    #[schema(value_type = i64, example = 5)]
    conversation_id: ConversationId,
    #[serde(rename = "session_id")]
    #[schema(value_type = String, format = "uuid")]
    session_id: Uuid,
}

impl QuestionTyping {
    #[must_use]
    pub fn new(conversation_id: ConversationId, session_id: Uuid) -> Self {
        let data = VisitorTypedIn { conversation_id, session_id };
        Self { status: 200, message: wording::SUCCESS, data }
    }
}

/// What a visitor's hand-over or stop is answered with.
#[derive(Debug, Serialize, ToSchema)]
pub struct QuestionHandled<'a> {
    #[schema(example = 200)]
    status: u16,
    #[schema(example = "success")]
    message: &'static str,
    data: VisitorsConversation<'a>,
}

/// A conversation as its visitor is told of it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VisitorsConversation<'a> {
    #[schema(value_type = i64, example = 5)]
    conversation_id: ConversationId,
    #[serde(rename = "session_id")]
    #[schema(value_type = String, format = "uuid")]
    session_id: Uuid,
    /// `bot`, or `human` while people answer.
    #[schema(value_type = String, pattern = "^(bot|human)$", example = "human")]
    handler: Handler,
    /// Whether the visitor may hand it over.
    handover: bool,
    /// Who has it, where visitors are told names.
    #[schema(required)]
    assignee: Option<AuthorName<'a>>,
}

impl<'a> VisitorsConversation<'a> {
    #[must_use]
    pub fn new(conversation: &'a VisitorConversation) -> Self {
        Self {
            conversation_id: conversation.id,
            session_id: conversation.session_id,
            handler: conversation.handler,
            handover: conversation.may_hand_over,
            assignee: conversation.assignee_name.as_deref().map(|name| AuthorName { name }),
        }
    }
}

impl<'a> QuestionHandled<'a> {
    #[must_use]
    pub fn new(conversation: &'a VisitorConversation) -> Self {
        Self { status: 200, message: wording::SUCCESS, data: VisitorsConversation::new(conversation) }
    }
}
