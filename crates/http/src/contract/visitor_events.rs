//! Events of the feed as a visitor gets them, of its own conversation (contract, "The feed"): messages are those of
//! `GET /api/questions/:session_id`, without notes, and ids are numbers.

use serde::Serialize;
use utoipa::ToSchema;
use wicara_model::{ConversationId, MessageId, Timestamp};
use wicara_service::FeedCursor;

use super::feed_events::{
    AnswerDeltaKind, AnswerProgressKind, ConversationDeletedKind, ConversationKind, ConversationSeenKind,
    HelloEvent, MessageDeletedKind, MessageKind, Resync, ResyncEvent, TypingKind,
};
use super::handover::VisitorsConversation;
use super::shown;
use super::visitor_thread::ThreadMessage;
use crate::list_body::ListField;

/// What an event of a visitor's stream may be. `kind` tells them apart, and is the name of the event in the stream.
#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "its shape is for the OpenAPI document")]
pub enum VisitorEvent<'a> {
    Hello(HelloEvent<'a>),
    Resync(ResyncEvent<'a>),
    Conversation(VisitorConversationEvent<'a>),
    ConversationDeleted(VisitorConversationDeletedEvent<'a>),
    ConversationSeen(VisitorSeenEvent<'a>),
    Message(VisitorMessageEvent<'a>),
    MessageDeleted(VisitorMessageDeletedEvent<'a>),
    AnswerProgress(VisitorAnswerProgressEvent),
    AnswerDelta(VisitorAnswerDeltaEvent<'a>),
    Typing(VisitorTypingEvent),
}

/// The durable events of a visitor's page.
#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "its shape is for the OpenAPI document")]
pub enum StoredVisitorEvent<'a> {
    Conversation(VisitorConversationEvent<'a>),
    ConversationDeleted(VisitorConversationDeletedEvent<'a>),
    ConversationSeen(VisitorSeenEvent<'a>),
    Message(VisitorMessageEvent<'a>),
    MessageDeleted(VisitorMessageDeletedEvent<'a>),
}

/// The conversation changed.
#[derive(Debug, Serialize, ToSchema)]
pub struct VisitorConversationEvent<'a> {
    #[schema(inline)]
    pub kind: ConversationKind,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime, example = "2025-07-14T05:13:36.351+00:00")]
    pub at: Timestamp,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, example = "9f3a51c27be0.1208")]
    pub cursor: &'a FeedCursor,
    pub conversation: VisitorsConversation<'a>,
}

/// The conversation was removed: the stream ends.
#[derive(Debug, Serialize, ToSchema)]
pub struct VisitorConversationDeletedEvent<'a> {
    #[schema(inline)]
    pub kind: ConversationDeletedKind,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime, example = "2025-07-14T05:13:36.351+00:00")]
    pub at: Timestamp,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, example = "9f3a51c27be0.1208")]
    pub cursor: &'a FeedCursor,
    pub conversation: GoneVisitorConversation,
}

/// The id of the conversation, which is gone.
#[derive(Debug, Serialize, ToSchema)]
pub struct GoneVisitorConversation {
    #[schema(value_type = i64, example = 5)]
    pub id: ConversationId,
}

/// The visitor's own mark of what it has read moved, for instance in another tab.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VisitorSeenEvent<'a> {
    #[schema(inline)]
    pub kind: ConversationSeenKind,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime, example = "2025-07-14T05:13:36.351+00:00")]
    pub at: Timestamp,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, example = "9f3a51c27be0.1208")]
    pub cursor: &'a FeedCursor,
    #[schema(value_type = i64, example = 5)]
    pub conversation_id: ConversationId,
    #[schema(value_type = i64, example = 16)]
    pub up_to: MessageId,
}

/// A message was stored or changed, or is one for visitors from now on.
#[derive(Debug, Serialize, ToSchema)]
pub struct VisitorMessageEvent<'a> {
    #[schema(inline)]
    pub kind: MessageKind,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime, example = "2025-07-14T05:13:36.351+00:00")]
    pub at: Timestamp,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, example = "9f3a51c27be0.1208")]
    pub cursor: &'a FeedCursor,
    pub message: ThreadMessage<'a>,
    /// As it is when this is sent.
    #[schema(required)]
    pub conversation: Option<VisitorsConversation<'a>>,
}

/// A message was removed, or is none for visitors any longer.
#[derive(Debug, Serialize, ToSchema)]
pub struct VisitorMessageDeletedEvent<'a> {
    #[schema(inline)]
    pub kind: MessageDeletedKind,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime, example = "2025-07-14T05:13:36.351+00:00")]
    pub at: Timestamp,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, example = "9f3a51c27be0.1208")]
    pub cursor: &'a FeedCursor,
    pub message: GoneVisitorMessage,
    /// As it is when this is sent; null where it is gone too.
    #[schema(required)]
    pub conversation: Option<VisitorsConversation<'a>>,
}

/// The ids of a message that is gone.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GoneVisitorMessage {
    #[schema(value_type = i64, example = 16)]
    pub id: MessageId,
    #[schema(value_type = i64, example = 5)]
    pub conversation_id: ConversationId,
}

/// A bot begins or ends an answer. Live only: what became of it is the durable event.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VisitorAnswerProgressEvent {
    #[schema(inline)]
    pub kind: AnswerProgressKind,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime, example = "2025-07-14T05:13:36.351+00:00")]
    pub at: Timestamp,
    #[schema(value_type = i64, example = 5)]
    pub conversation_id: ConversationId,
    /// The question.
    #[schema(value_type = i64, example = 15)]
    pub reply_to: MessageId,
}

/// A piece of the text of an answer, while it is being given. Live only.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VisitorAnswerDeltaEvent<'a> {
    #[schema(inline)]
    pub kind: AnswerDeltaKind,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime, example = "2025-07-14T05:13:36.351+00:00")]
    pub at: Timestamp,
    #[schema(value_type = i64, example = 5)]
    pub conversation_id: ConversationId,
    /// The question.
    #[schema(value_type = i64, example = 15)]
    pub reply_to: MessageId,
    #[schema(example = "Halo")]
    pub text: &'a str,
    /// UTF-16 units of what came before: the text goes there.
    #[schema(example = 0)]
    pub offset: u64,
}

/// An operator types, or the visitor does in another tab. Live only, and forgotten after 6 seconds.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VisitorTypingEvent {
    #[schema(inline)]
    pub kind: TypingKind,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime, example = "2025-07-14T05:13:36.351+00:00")]
    pub at: Timestamp,
    #[schema(value_type = i64, example = 5)]
    pub conversation_id: ConversationId,
    #[schema(pattern = "^(visitor|agent)$", example = "agent")]
    pub by: &'static str,
}

/// `GET /api/questions/:session_id/events` with `Accept: application/json`: a page.
#[derive(Serialize, ToSchema)]
pub struct VisitorFeedPage<'a> {
    #[schema(example = 200)]
    pub status: u16,
    #[schema(example = "success")]
    pub message: &'static str,
    #[schema(value_type = Vec<StoredVisitorEvent<'a>>)]
    pub data: ListField<StoredVisitorEvent<'a>>,
    /// How far was looked: the next page is `after` it.
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, example = "9f3a51c27be0.1212")]
    pub cursor: &'a FeedCursor,
    /// Not null: the position asked for cannot be gone on from.
    #[schema(required)]
    pub resync: Option<Resync<'a>>,
}
