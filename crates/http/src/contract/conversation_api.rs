//! The Conversation API: rooms, kept by people and programs.

use crate::list_body::ListField;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use wicara_model::{
    self as model, ConversationFilter, ConversationId, Handler, HandoverReason, Listing, Message, MessageId,
    Order, Timestamp,
};

use super::author::Author;
use super::{shown, shown_or_null, wording};
use crate::input::{BOT_ID, INTEGRATION_TYPE, Input, ROOM, USER_ID};
use crate::query::Query;

/// `POST /api/conversation`: the request.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase", example = json!({
    "room": "client1-123 + client2-123", "integrationType": "whatsapp", "botId": "bot-123"
}))]
pub struct NewConversation {
    #[schema(max_length = 255)]
    pub room: String,
    /// `website`, `telegram`, `whatsapp` or any other word.
    #[schema(max_length = 64)]
    pub integration_type: String,
    /// Left out: the default bot. It need not name a configured one.
    #[schema(max_length = 64)]
    pub bot_id: Option<String>,
    /// Left out: the caller.
    #[schema(max_length = 64)]
    pub user_id: Option<String>,
}

impl NewConversation {
    pub fn read(input: &mut Input) -> Self {
        Self {
            room: input.required(ROOM),
            integration_type: input.required(INTEGRATION_TYPE),
            bot_id: input.optional(BOT_ID),
            user_id: input.optional(USER_ID),
        }
    }
}

/// `PATCH /api/conversation/:id`: the request. What is left out stays as it is.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase", example = json!({
    "room": "client3-123 + client4-123 updated"
}))]
pub struct ConversationPatch {
    #[schema(max_length = 255)]
    pub room: Option<String>,
    #[schema(max_length = 64)]
    pub integration_type: Option<String>,
    #[schema(max_length = 64)]
    pub bot_id: Option<String>,
    #[schema(max_length = 64)]
    pub user_id: Option<String>,
    /// `human` hands the conversation over into the queue, `bot` gives it back.
    #[schema(value_type = Option<String>, pattern = "^(bot|human)$")]
    pub handler: Option<Handler>,
}

impl ConversationPatch {
    pub fn read(input: &mut Input) -> Self {
        Self {
            room: input.patched(ROOM),
            integration_type: input.patched(INTEGRATION_TYPE),
            bot_id: input.patched(BOT_ID),
            user_id: input.patched(USER_ID),
            handler: input.one_of("handler"),
        }
    }
}

impl From<ConversationPatch> for model::ConversationPatch {
    fn from(patch: ConversationPatch) -> Self {
        let ConversationPatch { room, integration_type, bot_id, user_id, handler } = patch;
        Self { room, integration_type, bot_id, user_id, handler }
    }
}

/// `GET /api/conversation`: the query. An empty parameter counts as left out.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[allow(dead_code, reason = "its shape is for the OpenAPI document")]
pub struct ConversationQuery {
    /// From 1. Not used beside `before` or `after`.
    #[param(minimum = 1, default = 1)]
    pub page: Option<i64>,
    #[param(minimum = 1, maximum = 100, default = 10)]
    pub limit: Option<i64>,
    #[param(max_length = 64)]
    pub user_id: Option<String>,
    #[param(max_length = 64)]
    pub bot_id: Option<String>,
    #[param(max_length = 64)]
    pub integration_type: Option<String>,
    #[param(max_length = 255)]
    pub room: Option<String>,
    /// By id: `desc` has the newest first.
    #[param(pattern = "^(asc|desc)$", default = "desc")]
    pub order: Option<String>,
    /// Only conversations with ids below this one: walking without pages.
    #[param(minimum = 0)]
    pub before: Option<i64>,
    /// Only conversations with ids above this one.
    #[param(minimum = 0)]
    pub after: Option<i64>,
}

impl ConversationQuery {
    /// Reads what the parameters above ask for.
    pub fn read(query: &mut Query) -> (ConversationFilter, Listing) {
        let (page, limit) = (query.page(), query.limit());
        let filter = ConversationFilter {
            user_id: query.text(USER_ID),
            bot_id: query.text(BOT_ID),
            integration_type: query.text(INTEGRATION_TYPE),
            room: query.text(ROOM),
        };
        let order = query.order(Order::Descending);
        (filter, Listing { cursor: query.cursor(page), limit, order })
    }
}

/// A conversation.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Conversation<'a> {
    #[schema(example = "client1-123 + client2-123")]
    room: &'a str,
    #[schema(example = "whatsapp")]
    integration_type: &'a str,
    #[schema(example = "bot-123")]
    bot_id: &'a str,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, pattern = "^[0-9]+$", example = "5")]
    id: ConversationId,
    #[schema(required, example = "aidj983j93jd0ojdnvjk8")]
    user_id: Option<&'a str>,
    /// `bot`, or `human` while an operator answers.
    #[schema(value_type = String, pattern = "^(bot|human)$", example = "bot")]
    handler: Handler,
    /// Who has it; null in the queue, and while the bot answers.
    #[schema(required)]
    assignee: Option<Author<'a>>,
    /// Since when people have it; null while the bot answers.
    #[serde(serialize_with = "shown_or_null")]
    #[schema(required, value_type = Option<String>, format = DateTime, example = "2025-07-14T05:13:36.352+00:00")]
    handed_over_at: Option<Timestamp>,
    /// Why people have it.
    #[serde(serialize_with = "shown_or_null")]
    #[schema(required, value_type = Option<String>, pattern = "^(visitor|operator|bot-failed|bot)$", example = "visitor")]
    handover_reason: Option<HandoverReason>,
    /// The public's messages that the caller has not read, among the newest thousand: those after its mark; without one,
    /// those since people have the conversation. Only in answers to requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = 0)]
    unread_count: Option<i64>,
    /// The newest message that its visitor has seen.
    #[serde(serialize_with = "shown_or_null")]
    #[schema(required, value_type = Option<String>, pattern = "^[0-9]+$", example = "16")]
    seen_by_visitor_up_to: Option<MessageId>,
    /// All messages, the operators' notes included.
    #[schema(example = 2)]
    message_count: i64,
    /// The newest message, null where there is none.
    #[schema(required)]
    last_message: Option<LastMessage<'a>>,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime, example = "2025-07-14T05:13:36.351+00:00")]
    created_at: Timestamp,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime, example = "2025-07-14T05:13:36.352+00:00")]
    updated_at: Timestamp,
}

/// A conversation's newest message, in short.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct LastMessage<'a> {
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, pattern = "^[0-9]+$", example = "16")]
    id: MessageId,
    #[schema(example = "hii!!")]
    message: &'a str,
    #[serde(rename = "type")]
    #[schema(example = "text")]
    kind: &'a str,
    #[schema(example = "client")]
    role: &'a str,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime, example = "2025-07-14T05:13:36.351+00:00")]
    created_at: Timestamp,
}

impl<'a> Conversation<'a> {
    /// `unread`: of the caller, where a request is answered.
    #[must_use]
    pub fn new(
        conversation: &'a model::Conversation,
        last: Option<&'a Message>,
        unread: Option<i64>,
    ) -> Self {
        let seen = conversation.seen_by_visitor;
        Self {
            room: &conversation.room,
            integration_type: &conversation.integration_type,
            bot_id: &conversation.bot_id,
            id: conversation.id,
            user_id: conversation.user_id.as_deref(),
            handler: conversation.handler,
            assignee: conversation.assignee.as_ref().map(Author::new),
            handed_over_at: conversation.handed_over_at,
            handover_reason: conversation.handover_reason,
            unread_count: unread,
            seen_by_visitor_up_to: (seen != MessageId(0)).then_some(seen),
            message_count: conversation.message_count,
            last_message: last.map(|message| LastMessage {
                id: message.id,
                message: &message.text,
                kind: &message.kind,
                role: &message.role,
                created_at: message.created_at,
            }),
            created_at: conversation.created_at,
            updated_at: conversation.updated_at,
        }
    }
}

/// `POST /api/conversation`: the answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConversationCreated<'a> {
    #[schema(example = 200)]
    status: u16,
    #[schema(example = "Conversation created succesfully!!")]
    message: &'static str,
    data: Conversation<'a>,
}

impl<'a> ConversationCreated<'a> {
    #[must_use]
    pub fn new(data: Conversation<'a>) -> Self {
        Self { status: 200, message: wording::CONVERSATION_CREATED, data }
    }
}

/// `GET /api/conversation`: the Conversation API's answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConversationList<'a> {
    #[schema(example = 200)]
    status: u16,
    #[schema(value_type = Vec<Conversation<'a>>)]
    data: ListField<Conversation<'a>>,
    pagination: Pagination,
}

impl ConversationList<'_> {
    #[must_use]
    pub fn new(pagination: Pagination) -> Self {
        Self { status: 200, data: ListField::default(), pagination }
    }
}

/// Where a page stands in its list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pagination {
    #[schema(example = 1)]
    page: i64,
    /// The `limit` asked for.
    #[schema(example = 2)]
    page_size: i64,
    #[schema(example = 5)]
    total_pages: i64,
    #[schema(example = 10)]
    total_items: i64,
}

impl Pagination {
    #[must_use]
    pub fn new(total: i64, listing: &Listing) -> Self {
        Self {
            page: listing.page(),
            page_size: listing.limit,
            total_pages: pages(total, listing.limit),
            total_items: total,
        }
    }
}

/// Pages of `limit` entries that `total` entries fill.
#[must_use]
pub(super) fn pages(total: i64, limit: i64) -> i64 {
    total / limit + i64::from(total % limit > 0)
}

/// `GET /api/conversation/:id`: the Conversation API's answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConversationDetail<'a> {
    #[schema(example = 200)]
    status: u16,
    data: Conversation<'a>,
}

impl<'a> ConversationDetail<'a> {
    #[must_use]
    pub fn new(data: Conversation<'a>) -> Self {
        Self { status: 200, data }
    }
}

/// `PATCH /api/conversation/:id`: the answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConversationUpdated<'a> {
    #[schema(example = 200)]
    status: u16,
    #[schema(example = "Conversation updated successufully!!")]
    message: &'static str,
    data: Conversation<'a>,
}

impl<'a> ConversationUpdated<'a> {
    #[must_use]
    pub fn new(data: Conversation<'a>) -> Self {
        Self { status: 200, message: wording::CONVERSATION_UPDATED, data }
    }
}

/// `DELETE /api/conversation/:id`: the Conversation API's answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConversationDeleted {
    #[schema(example = 200)]
    status: u16,
    #[schema(example = "Conversation deleted Successfuly")]
    message: &'static str,
}

impl ConversationDeleted {
    #[must_use]
    pub fn new() -> Self {
        Self { status: 200, message: wording::CONVERSATION_DELETED }
    }
}
