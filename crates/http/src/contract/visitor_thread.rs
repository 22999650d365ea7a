//! A conversation as its visitor sees it. The three documents do not have it.

use crate::list_body::ListField;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;
use wicara_model::{self as model, ConversationId, Handler, Json, MessageId, Timestamp};

use super::{shown, wording};
use crate::query::Query;

/// `GET /api/questions/:session_id`: the query.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "its shape is for the OpenAPI document")]
pub struct ThreadQuery {
    /// Only messages with ids below this one.
    #[param(minimum = 0)]
    pub before: Option<i64>,
}

impl ThreadQuery {
    pub fn read(query: &mut Query) -> Option<MessageId> {
        query.id("before").map(MessageId)
    }
}

/// `GET /api/questions/:session_id`: the answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct ThreadDetail<'a> {
    #[schema(example = 200)]
    status: u16,
    #[schema(example = "success")]
    message: &'static str,
    data: Thread<'a>,
}

/// What a visitor sees of its conversation.
#[derive(Debug, Serialize, ToSchema)]
struct Thread<'a> {
    #[schema(value_type = String, format = "uuid")]
    session_id: Uuid,
    /// The id that it has in the other lists and calls.
    #[schema(value_type = i64, example = 5)]
    conversation_id: ConversationId,
    /// `bot`, or `human` while an operator answers.
    #[schema(value_type = String, pattern = "^(bot|human)$", example = "bot")]
    handler: Handler,
    /// The newest 50, oldest first.
    #[schema(value_type = Vec<ThreadMessage<'a>>)]
    messages: ListField<ThreadMessage<'a>>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ThreadMessage<'a> {
    #[schema(value_type = i64, example = 16)]
    id: MessageId,
    #[schema(example = "client")]
    role: &'a str,
    #[schema(example = "halo")]
    text: &'a str,
    /// A bot's whole answer object, exactly as it sent it but for what not every JSON reader takes.
    #[schema(required, value_type = Option<Object>)]
    payload: Option<&'a Json>,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime, example = "2025-07-14T05:13:36.351+00:00")]
    created_at: Timestamp,
}

impl ThreadDetail<'_> {
    #[must_use]
    pub fn new(session_id: Uuid, conversation_id: ConversationId, handler: Handler) -> Self {
        let data = Thread { session_id, conversation_id, handler, messages: ListField::default() };
        Self { status: 200, message: wording::SUCCESS, data }
    }
}

impl<'a> ThreadMessage<'a> {
    #[must_use]
    pub fn new(message: &'a model::Message) -> Self {
        Self {
            id: message.id,
            role: &message.role,
            text: &message.text,
            payload: message.payload.as_ref(),
            created_at: message.created_at,
        }
    }
}
