//! Events of the feed as operators get them (contract, "The feed"): ids are strings, as in the Conversation API and the
//! Message API.

use serde::Serialize;
use utoipa::ToSchema;
use wicara_model::{ConversationId, MessageId, Timestamp};
use wicara_service::FeedCursor;

use super::conversation_api::Conversation;
use super::message_api::Message;
use super::shown;
use crate::list_body::ListField;

/// What an event of the feed may be. `kind` tells them apart, and is the name of the event in a stream.
#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "its shape is for the OpenAPI document")]
pub enum FeedEvent<'a> {
    Hello(HelloEvent<'a>),
    Resync(ResyncEvent<'a>),
    Conversation(ConversationEvent<'a>),
    ConversationDeleted(ConversationDeletedEvent<'a>),
    ConversationSeen(ConversationSeenEvent<'a>),
    Message(MessageEvent<'a>),
    MessageDeleted(MessageDeletedEvent<'a>),
    AnswerProgress(AnswerProgressEvent),
    AnswerDelta(AnswerDeltaEvent<'a>),
    Typing(TypingEvent),
}

/// The durable events of a page.
#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "its shape is for the OpenAPI document")]
pub enum StoredEvent<'a> {
    Conversation(ConversationEvent<'a>),
    ConversationDeleted(ConversationDeletedEvent<'a>),
    ConversationSeen(ConversationSeenEvent<'a>),
    Message(MessageEvent<'a>),
    MessageDeleted(MessageDeletedEvent<'a>),
}

/// First on every stream.
#[derive(Debug, Serialize, ToSchema)]
pub struct HelloEvent<'a> {
    #[schema(inline)]
    pub kind: HelloKind,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime, example = "2025-07-14T05:13:36.351+00:00")]
    pub at: Timestamp,
    /// The position that the stream begins at.
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, example = "9f3a51c27be0.1207")]
    pub cursor: &'a FeedCursor,
    /// The oldest position that can still be gone on from.
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, example = "9f3a51c27be0.311")]
    pub oldest: &'a FeedCursor,
}

/// The client's position cannot be gone on from: load the state again, then go on from `cursor`, as the stream does.
#[derive(Debug, Serialize, ToSchema)]
pub struct ResyncEvent<'a> {
    #[schema(inline)]
    pub kind: ResyncKind,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime, example = "2025-07-14T05:13:36.351+00:00")]
    pub at: Timestamp,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, example = "9f3a51c27be0.1207")]
    pub cursor: &'a FeedCursor,
    /// `expired`: older than what is kept. `epoch`: of another feed, or no position. `scope`: the caller's role or bots
    /// have changed since.
    #[schema(pattern = "^(expired|epoch|scope)$", example = "expired")]
    pub reason: &'static str,
}

/// A conversation was opened or changed, or came into the reader's view.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConversationEvent<'a> {
    #[schema(inline)]
    pub kind: ConversationKind,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime, example = "2025-07-14T05:13:36.351+00:00")]
    pub at: Timestamp,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, example = "9f3a51c27be0.1208")]
    pub cursor: &'a FeedCursor,
    /// Only where it is true: it came into the reader's view and may have messages, which no event tells of.
    #[serde(skip_serializing_if = "is_false")]
    #[schema(required = false)]
    pub reload: bool,
    pub conversation: Conversation<'a>,
}

/// A conversation was removed, or left the reader's view.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConversationDeletedEvent<'a> {
    #[schema(inline)]
    pub kind: ConversationDeletedKind,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime, example = "2025-07-14T05:13:36.351+00:00")]
    pub at: Timestamp,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, example = "9f3a51c27be0.1209")]
    pub cursor: &'a FeedCursor,
    pub conversation: GoneConversation,
}

/// The id of a conversation that is gone.
#[derive(Debug, Serialize, ToSchema)]
pub struct GoneConversation {
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, pattern = "^[0-9]+$", example = "5")]
    pub id: ConversationId,
}

/// The caller's own mark of what it has read moved, for instance in another tab.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConversationSeenEvent<'a> {
    #[schema(inline)]
    pub kind: ConversationSeenKind,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime, example = "2025-07-14T05:13:36.351+00:00")]
    pub at: Timestamp,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, example = "9f3a51c27be0.1210")]
    pub cursor: &'a FeedCursor,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, pattern = "^[0-9]+$", example = "5")]
    pub conversation_id: ConversationId,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, pattern = "^[0-9]+$", example = "16")]
    pub up_to: MessageId,
}

/// A message was stored or changed.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessageEvent<'a> {
    #[schema(inline)]
    pub kind: MessageKind,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime, example = "2025-07-14T05:13:36.351+00:00")]
    pub at: Timestamp,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, example = "9f3a51c27be0.1211")]
    pub cursor: &'a FeedCursor,
    pub message: Message<'a>,
    /// As it is when this is sent.
    #[schema(required)]
    pub conversation: Option<Conversation<'a>>,
}

/// A message was removed.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessageDeletedEvent<'a> {
    #[schema(inline)]
    pub kind: MessageDeletedKind,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime, example = "2025-07-14T05:13:36.351+00:00")]
    pub at: Timestamp,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, example = "9f3a51c27be0.1212")]
    pub cursor: &'a FeedCursor,
    pub message: GoneMessage,
    /// As it is when this is sent; null where it is gone too.
    #[schema(required)]
    pub conversation: Option<Conversation<'a>>,
}

/// The ids of a message that is gone.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GoneMessage {
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, pattern = "^[0-9]+$", example = "16")]
    pub id: MessageId,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, pattern = "^[0-9]+$", example = "5")]
    pub conversation_id: ConversationId,
}

/// A bot begins or ends an answer. Live only: what became of it is the durable event.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AnswerProgressEvent {
    #[schema(inline)]
    pub kind: AnswerProgressKind,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime, example = "2025-07-14T05:13:36.351+00:00")]
    pub at: Timestamp,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, pattern = "^[0-9]+$", example = "5")]
    pub conversation_id: ConversationId,
    /// The question.
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, pattern = "^[0-9]+$", example = "15")]
    pub reply_to: MessageId,
}

/// A piece of the text of an answer, while it is being given. Live only.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AnswerDeltaEvent<'a> {
    #[schema(inline)]
    pub kind: AnswerDeltaKind,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime, example = "2025-07-14T05:13:36.351+00:00")]
    pub at: Timestamp,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, pattern = "^[0-9]+$", example = "5")]
    pub conversation_id: ConversationId,
    /// The question.
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, pattern = "^[0-9]+$", example = "15")]
    pub reply_to: MessageId,
    #[schema(example = "Halo")]
    pub text: &'a str,
    /// UTF-16 units of what came before: the text goes there.
    #[schema(example = 0)]
    pub offset: u64,
}

/// Somebody types. Live only, and forgotten after 6 seconds.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TypingEvent {
    #[schema(inline)]
    pub kind: TypingKind,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime, example = "2025-07-14T05:13:36.351+00:00")]
    pub at: Timestamp,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, pattern = "^[0-9]+$", example = "5")]
    pub conversation_id: ConversationId,
    #[schema(pattern = "^(visitor|agent)$", example = "visitor")]
    pub by: &'static str,
}

/// The kinds that have one shape, by their names on the wire.
macro_rules! kinds {
    ($($type:ident { $($variant:ident = $word:tt),+ })+) => {$(
        #[derive(Debug, Clone, Copy, Serialize, ToSchema)]
        pub enum $type {
            $(#[serde(rename = $word)] $variant),+
        }

        impl $type {
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
    )+};
}

kinds! {
    HelloKind { Hello = "hello" }
    ResyncKind { Resync = "resync" }
    ConversationKind { Created = "conversation.created", Updated = "conversation.updated" }
    ConversationDeletedKind { Deleted = "conversation.deleted" }
    ConversationSeenKind { Seen = "conversation.seen" }
    MessageKind { Created = "message.created", Updated = "message.updated" }
    MessageDeletedKind { Deleted = "message.deleted" }
    AnswerProgressKind { Started = "answer.started", Finished = "answer.finished" }
    AnswerDeltaKind { Delta = "answer.delta" }
    TypingKind { Typing = "typing" }
}

pub(super) fn is_false(value: &bool) -> bool {
    !value
}

/// `GET /api/events` with `Accept: application/json`: a page.
#[derive(Serialize, ToSchema)]
pub struct FeedPage<'a> {
    #[schema(example = 200)]
    pub status: u16,
    #[schema(example = "success")]
    pub message: &'static str,
    #[schema(value_type = Vec<StoredEvent<'a>>)]
    pub data: ListField<StoredEvent<'a>>,
    /// How far was looked: the next page is `after` it.
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, example = "9f3a51c27be0.1212")]
    pub cursor: &'a FeedCursor,
    /// Not null: the position asked for cannot be gone on from.
    #[schema(required)]
    pub resync: Option<Resync<'a>>,
}

/// Why a position cannot be gone on from, and from where to go on once the state is loaded again.
#[derive(Debug, Serialize, ToSchema)]
pub struct Resync<'a> {
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, example = "9f3a51c27be0.1207")]
    pub cursor: &'a FeedCursor,
    #[schema(pattern = "^(expired|epoch|scope)$", example = "expired")]
    pub reason: &'static str,
}
