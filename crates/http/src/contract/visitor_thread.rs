//! A conversation as its visitor sees it. The three documents do not have it.

use crate::list_body::ListField;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;
use wicara_model::{self as model, ConversationId, Handler, Json, MessageId, Timestamp};
use wicara_service::VisitorConversation;

use super::author::AuthorName;
use super::message_api::{Failure, Feedback};
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
    /// Whether the visitor may hand it over to people.
    #[schema(example = true)]
    handover: bool,
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
    /// On an answer: the question's id.
    #[schema(required, value_type = Option<i64>, example = 15)]
    reply_to: Option<MessageId>,
    /// On a question that got no answer.
    #[schema(required)]
    failure: Option<Failure>,
    /// What the visitor thinks of an answer.
    #[schema(required)]
    feedback: Option<Feedback<'a>>,
    /// Who wrote it, where visitors are told names.
    #[schema(required)]
    author: Option<AuthorName<'a>>,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime, example = "2025-07-14T05:13:36.351+00:00")]
    created_at: Timestamp,
}

impl ThreadDetail<'_> {
    #[must_use]
    pub fn new(conversation: &VisitorConversation) -> Self {
        let data = Thread {
            session_id: conversation.session_id,
            conversation_id: conversation.id,
            handler: conversation.handler,
            handover: conversation.may_hand_over,
            messages: ListField::default(),
        };
        Self { status: 200, message: wording::SUCCESS, data }
    }
}

impl<'a> ThreadMessage<'a> {
    /// `shows_names`: whether visitors are told the names of those who answer.
    #[must_use]
    pub fn new(message: &'a model::Message, shows_names: bool) -> Self {
        let author = message.author.as_ref().filter(|_| shows_names);
        Self {
            id: message.id,
            role: &message.role,
            text: &message.text,
            payload: message.payload.as_ref(),
            reply_to: message.reply_to,
            failure: message.failure.map(Failure::from),
            feedback: message.feedback.as_ref().map(Feedback::new),
            author: author.map(|author| AuthorName { name: &author.name }),
            created_at: message.created_at,
        }
    }
}
