//! The Message API: what is said in the rooms.

use std::time::Duration;

use crate::list_body::ListField;
use serde::Serialize;
use utoipa::openapi::schema::{AnyOfBuilder, ObjectBuilder, Schema, Type};
use utoipa::{IntoParams, ToSchema};
use wicara_model::{
    self as model, ConversationId, FailureReason, Json, Listing, MessageFilter, MessageId, MessageWalkFilter,
    Order, Place, RangeEnd, Timestamp,
};
use wicara_search::Excerpt;

use super::author::Author;
use super::conversation_api::Pagination;
use super::{shown, shown_or_null, wording};
use crate::input::{BOT_ID, Input, MESSAGE, MalformedId, ROLE, TYPE};
use crate::query::{Query, Search};

/// `POST /api/message`: the request.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase", example = json!({
    "message": "hii!!", "type": "text", "role": "bot", "conversationId": "5"
}))]
pub struct NewMessage {
    /// At most 64 KiB of UTF-8.
    pub message: String,
    /// `text`, `image`, `voice` or any other word.
    #[schema(rename = "type", max_length = 64)]
    pub kind: String,
    /// `client`, `bot`, `agent` (a human operator), `note` (among operators) or any other word.
    #[schema(max_length = 64)]
    pub role: String,
    #[schema(schema_with = any_id)]
    pub conversation_id: Result<ConversationId, MalformedId>,
}

/// An id is taken as a string or as a number.
pub(super) fn any_id() -> Schema {
    let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[0-9]{1,19}$"));
    let number = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).maximum(Some(i64::MAX));
    AnyOfBuilder::new().item(text).item(number).build().into()
}

impl NewMessage {
    pub fn read(input: &mut Input) -> Self {
        Self {
            message: input.required(MESSAGE),
            kind: input.required(TYPE),
            role: input.required(ROLE),
            conversation_id: input.id("conversationId"),
        }
    }
}

/// `PATCH /api/message/:id`: the request. What is left out stays as it is; the conversation cannot change.
#[derive(Debug, ToSchema)]
#[schema(example = json!({ "message": "hii!! updated", "type": "text updated", "role": "bot updated" }))]
pub struct MessagePatch {
    /// At most 64 KiB of UTF-8. It also becomes the `text` of the message's `payload`.
    pub message: Option<String>,
    #[schema(rename = "type", max_length = 64)]
    pub kind: Option<String>,
    #[schema(max_length = 64)]
    pub role: Option<String>,
}

impl MessagePatch {
    pub fn read(input: &mut Input) -> Self {
        Self { message: input.patched(MESSAGE), kind: input.patched(TYPE), role: input.patched(ROLE) }
    }
}

impl From<MessagePatch> for model::MessagePatch {
    fn from(MessagePatch { message, kind, role }: MessagePatch) -> Self {
        Self { text: message, kind, role }
    }
}

/// `GET /api/message`: the query. An empty parameter counts as left out.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[allow(dead_code, reason = "its shape is for the OpenAPI document")]
pub struct MessageQuery {
    /// From 1. Not used beside `before` or `after`.
    #[param(minimum = 1, default = 1)]
    pub page: Option<i64>,
    #[param(minimum = 1, maximum = 100, default = 10)]
    pub limit: Option<i64>,
    /// Left out: the messages of every conversation that the caller sees.
    #[param(minimum = 0)]
    pub conversation_id: Option<i64>,
    /// Only the messages of this bot's conversations. With it, or with any of the parameters from `q` on, totals stop at 10,000,
    /// and the list is walked by `cursor`.
    #[param(max_length = 64)]
    pub bot_id: Option<String>,
    /// By id: `asc` has the oldest first.
    #[param(pattern = "^(asc|desc)$", default = "asc")]
    pub order: Option<String>,
    /// Only messages with ids below this one: walking without pages.
    #[param(minimum = 0)]
    pub before: Option<i64>,
    /// Only messages with ids above this one.
    #[param(minimum = 0)]
    pub after: Option<i64>,
    /// Only what this finds, as in the list of conversations: the newest hits first, whatever `order` says.
    #[param(max_length = 200)]
    pub q: Option<String>,
    /// `relevance`, with `q` alone: the best of the newest 10,000 hits first.
    #[param(pattern = "^(created|relevance)$", default = "created")]
    pub sort: Option<String>,
    /// Only messages of this role.
    #[param(max_length = 64)]
    pub role: Option<String>,
    /// Only what was stored at this time or later: RFC 3339, or a date, from its beginning by UTC.
    #[param(
        pattern = "^[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])(T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9]))?$"
    )]
    pub since: Option<String>,
    /// Only what was stored at this time or earlier; a date: to its end.
    #[param(
        pattern = "^[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])(T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9]))?$"
    )]
    pub until: Option<String>,
    /// The `nextCursor` of the page before. `page`, `before` and `after` are not used beside it.
    #[param(pattern = "^[0-9a-f]{1,15}-[0-9a-f]{1,15}$")]
    pub cursor: Option<String>,
}

/// What is asked for beyond the documented lists.
#[derive(Debug, Clone)]
pub struct MessageWalkQuery {
    pub bot_id: Option<String>,
    pub filter: MessageWalkFilter,
    pub search: Option<Search>,
    pub cursor: Option<Place>,
}

impl MessageQuery {
    /// Reads what the parameters above ask for; the last is `None` for a documented list.
    pub fn read(query: &mut Query) -> (MessageFilter, Listing, Option<MessageWalkQuery>) {
        let (page, limit) = (query.page(), query.limit());
        let filter = MessageFilter { conversation_id: query.id("conversationId").map(ConversationId) };
        let order = query.order(Order::Ascending);
        let listing = Listing { cursor: query.cursor(page), limit, order };
        let walked = MessageWalkFilter {
            role: query.text(ROLE),
            since: query.time("since", RangeEnd::Since),
            until: query.time("until", RangeEnd::Until),
        };
        let (bot_id, search, cursor) = (query.text(BOT_ID), query.search(), query.place());
        query.sort(false);
        let is_filtered = walked != MessageWalkFilter::default() || bot_id.is_some();
        let is_walked = is_filtered || search.is_some() || cursor.is_some();
        (filter, listing, is_walked.then_some(MessageWalkQuery { bot_id, filter: walked, search, cursor }))
    }
}

/// A message.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Message<'a> {
    #[schema(example = "hii!!")]
    message: &'a str,
    #[serde(rename = "type")]
    #[schema(example = "text")]
    kind: &'a str,
    #[schema(example = "bot")]
    role: &'a str,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, pattern = "^[0-9]+$", example = "5")]
    conversation_id: ConversationId,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, pattern = "^[0-9]+$", example = "16")]
    id: MessageId,
    /// On an answer: the question's id.
    #[serde(serialize_with = "shown_or_null")]
    #[schema(required, value_type = Option<String>, pattern = "^[0-9]+$", example = "15")]
    reply_to: Option<MessageId>,
    /// A bot's whole answer object, exactly as it sent it but for what not every JSON reader takes.
    #[schema(required, value_type = Option<Object>)]
    payload: Option<&'a Json>,
    /// On a question that got no answer.
    #[schema(required)]
    failure: Option<Failure>,
    /// What the visitor thinks of an answer.
    #[schema(required)]
    feedback: Option<Feedback<'a>>,
    /// Who wrote it; null for a visitor, and where it is not known.
    #[schema(required)]
    author: Option<Author<'a>>,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime, example = "2025-07-14T05:13:36.351+00:00")]
    created_at: Timestamp,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime, example = "2025-07-14T05:13:36.352+00:00")]
    updated_at: Timestamp,
    /// Only of a search: the piece of the message that matches, as plain text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "Kartu saya hilang, tolong dikirimkan yang baru")]
    excerpt: Option<&'a str>,
    /// Only of a search: start and end of what was found in it, in UTF-16 units.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<Vec<Vec<usize>>>, example = json!([[0, 5]]))]
    highlights: Option<&'a [[usize; 2]]>,
}

/// Why a question got no answer, and when that was known.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Failure {
    /// `timeout`, `unreachable`, `rejected`, `unreadable`, `busy`, `suspended`, `unconfigured`, `interrupted` or `stopped`.
    #[schema(value_type = String, example = "timeout")]
    reason: FailureReason,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime, example = "2025-07-14T05:13:36.352+00:00")]
    at: Timestamp,
}

impl From<model::Failure> for Failure {
    fn from(model::Failure { reason, at }: model::Failure) -> Self {
        Self { reason, at }
    }
}

/// What a visitor thinks of an answer.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Feedback<'a> {
    /// 1: it helped; -1: it did not.
    #[schema(minimum = -1, maximum = 1, example = 1)]
    value: i64,
    #[schema(required, example = "Clear, thank you")]
    text: Option<&'a str>,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime, example = "2025-07-14T05:14:02.101+00:00")]
    at: Timestamp,
}

impl<'a> Feedback<'a> {
    pub fn new(model::Feedback { value, text, at }: &'a model::Feedback) -> Self {
        Self { value: *value, text: text.as_deref(), at: *at }
    }
}

impl<'a> Message<'a> {
    #[must_use]
    pub fn new(message: &'a model::Message) -> Self {
        Self {
            message: &message.text,
            kind: &message.kind,
            role: &message.role,
            conversation_id: message.conversation_id,
            id: message.id,
            reply_to: message.reply_to,
            payload: message.payload.as_ref(),
            failure: message.failure.map(Failure::from),
            feedback: message.feedback.as_ref().map(Feedback::new),
            author: message.author.as_ref().map(Author::new),
            created_at: message.created_at,
            updated_at: message.updated_at,
            excerpt: None,
            highlights: None,
        }
    }

    /// With what a search finds in it.
    #[must_use]
    pub fn found(self, excerpt: Option<&'a Excerpt>) -> Self {
        let highlights = excerpt.map(|excerpt| &excerpt.highlights[..]);
        Self { excerpt: excerpt.map(|excerpt| excerpt.text.as_str()), highlights, ..self }
    }
}

/// `POST /api/message`: the answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessageCreated<'a> {
    #[schema(example = 200)]
    status: u16,
    #[schema(example = "Message created succesfully!!")]
    message: &'static str,
    data: Message<'a>,
}

impl<'a> MessageCreated<'a> {
    #[must_use]
    pub fn new(data: Message<'a>) -> Self {
        Self { status: 200, message: wording::MESSAGE_CREATED, data }
    }
}

/// `GET /api/message`: the answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessageList<'a> {
    #[schema(example = 200)]
    status: u16,
    #[schema(value_type = Vec<Message<'a>>)]
    data: ListField<Message<'a>>,
    pagination: Pagination,
}

impl MessageList<'_> {
    #[must_use]
    pub fn new(pagination: Pagination) -> Self {
        Self { status: 200, data: ListField::default(), pagination }
    }
}

/// `GET /api/message/:id`: the answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessageDetail<'a> {
    #[schema(example = 200)]
    status: u16,
    data: Message<'a>,
}

impl<'a> MessageDetail<'a> {
    #[must_use]
    pub fn new(data: Message<'a>) -> Self {
        Self { status: 200, data }
    }
}

/// `POST /api/message/:id/ask` and `…/restore`: the answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessageShown<'a> {
    #[schema(example = 200)]
    status: u16,
    #[schema(example = "success")]
    message: &'static str,
    data: Message<'a>,
}

impl<'a> MessageShown<'a> {
    #[must_use]
    pub fn new(data: Message<'a>) -> Self {
        Self { status: 200, message: wording::SUCCESS, data }
    }
}

/// `DELETE /api/conversation/:id` and `DELETE /api/message/:id`: the query.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "its shape is for the OpenAPI document")]
pub struct UndoQuery {
    /// For so many seconds it may be brought back by `restore`. Nobody sees it meanwhile.
    #[param(minimum = 1, maximum = 300)]
    pub undo: Option<i64>,
}

impl UndoQuery {
    pub fn read(query: &mut Query) -> Option<Duration> {
        query.number("undo", 1, 300).map(|seconds| Duration::from_secs(seconds.unsigned_abs()))
    }
}

/// `PATCH /api/message/:id`: the answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessageUpdated<'a> {
    #[schema(example = 200)]
    status: u16,
    #[schema(example = "Message updated successufully!!")]
    message: &'static str,
    data: Message<'a>,
}

impl<'a> MessageUpdated<'a> {
    #[must_use]
    pub fn new(data: Message<'a>) -> Self {
        Self { status: 200, message: wording::MESSAGE_UPDATED, data }
    }
}

/// `DELETE /api/message/:id`: the answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessageDeleted {
    #[schema(example = 200)]
    status: u16,
    #[schema(example = "Message deleted Successfuly")]
    message: &'static str,
}

impl MessageDeleted {
    #[must_use]
    pub fn new() -> Self {
        Self { status: 200, message: wording::MESSAGE_DELETED }
    }
}
