//! The Conversation API: rooms, kept by people and programs.

use crate::list_body::ListField;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use wicara_model::{
    self as model, ActivityFilter, AssigneeFilter, ConversationFilter, ConversationId, Handler,
    HandoverReason, Listing, Message, MessageId, Order, Place, RangeEnd, Sort, Timestamp, Walked,
};
use wicara_search::Excerpt;

use super::author::Author;
use super::{shown, shown_or_null, wording};
use crate::input::{ASSIGNEE, BOT_ID, INTEGRATION_TYPE, Input, ROOM, USER_ID};
use crate::query::{Query, Search};

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
    /// `activity` sorts by the last activity, `updatedAt`. With it, or with any of the parameters below, totals stop at 10,000,
    /// and the list is walked by `cursor`. `relevance`, with `q` alone: the best of the newest 10,000 hits first.
    #[param(pattern = "^(activity|created|relevance)$", default = "created")]
    pub sort: Option<String>,
    /// Only what this finds, in the room, the user and the messages of a conversation: words, `"exact phrases"`, `prefix*` from
    /// three letters on, and each with `-` before it for what must not be there. Up to 200 characters and 16 of these. The
    /// newest hits first, whatever `sort` and `order` say, but for `sort=relevance`.
    #[param(max_length = 200)]
    pub q: Option<String>,
    /// Only what the bot has, or what people have.
    #[param(pattern = "^(bot|human)$")]
    pub handler: Option<String>,
    /// Only what this person or program has, by the id that `assignee` shows; `me`: what the caller has; `none`: what nobody
    /// has.
    #[param(max_length = 64)]
    pub assignee: Option<String>,
    /// Whether the public waits for an answer, and its newest question has a failure.
    #[param(pattern = "^(true|false)$")]
    pub failed: Option<String>,
    /// Whether the newest message that is no note is the public's, and no bot is answering.
    #[param(pattern = "^(true|false)$")]
    pub unanswered: Option<String>,
    /// Whether there are messages of the public that the caller has not read, in conversations that people have or that the
    /// caller has opened: see `unreadCount`.
    #[param(pattern = "^(true|false)$")]
    pub unread: Option<String>,
    /// Only what was active at this time or later: RFC 3339, or a date, from its beginning by UTC.
    #[param(
        pattern = "^[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])(T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9]))?$"
    )]
    pub since: Option<String>,
    /// Only what was last active at this time or earlier; a date: to its end.
    #[param(
        pattern = "^[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])(T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9]))?$"
    )]
    pub until: Option<String>,
    /// The `nextCursor` of the page before. `page`, `before` and `after` are not used beside it.
    #[param(pattern = "^[0-9a-f]{1,15}-[0-9a-f]{1,15}$")]
    pub cursor: Option<String>,
}

/// The parameters that make a list of conversations one that is walked, but for `cursor`.
const WALKED_BY: [&str; 9] =
    ["q", "sort", "handler", "assignee", "failed", "unanswered", "unread", "since", "until"];

/// What is asked for beyond the documented lists.
#[derive(Debug, Clone)]
pub struct ActivityQuery {
    pub filter: ActivityFilter,
    pub sort: Sort,
    pub search: Option<Search>,
    pub cursor: Option<Place>,
    /// The parameters as they were sent, for the addresses of other pages.
    pub given: Vec<(&'static str, String)>,
}

impl ConversationQuery {
    /// Reads what the parameters above ask for; the last is `None` for a documented list.
    pub fn read(query: &mut Query) -> (ConversationFilter, Listing, Option<ActivityQuery>) {
        let (page, limit) = (query.page(), query.limit());
        let filter = ConversationFilter {
            user_id: query.text(USER_ID),
            bot_id: query.text(BOT_ID),
            integration_type: query.text(INTEGRATION_TYPE),
            room: query.text(ROOM),
        };
        let order = query.order(Order::Descending);
        let listing = Listing { cursor: query.cursor(page), limit, order };
        let assignee = query.text(ASSIGNEE).map(|assignee| match assignee.as_str() {
            "me" => AssigneeFilter::Me,
            "none" => AssigneeFilter::Nobody,
            _ => AssigneeFilter::Of(assignee),
        });
        let sort = query.sort(true).unwrap_or_default();
        let activity = ActivityFilter {
            handler: query.word("handler", &["bot", "human"]),
            assignee,
            failed: query.flag("failed"),
            unanswered: query.flag("unanswered"),
            unread: query.flag("unread"),
            since: query.time("since", RangeEnd::Since),
            until: query.time("until", RangeEnd::Until),
        };
        let (search, cursor) = (query.search(), query.place());
        let is_walked = sort == Sort::Activity
            || activity != ActivityFilter::default()
            || search.is_some()
            || cursor.is_some();
        let given = query.given(&WALKED_BY);
        let walked = ActivityQuery { filter: activity, sort, search, cursor, given };
        (filter, listing, is_walked.then_some(walked))
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
    /// Only of a search: a piece of the newest message that matches, as plain text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "Kartu saya hilang, tolong dikirimkan yang baru")]
    excerpt: Option<&'a str>,
    /// Only of a search: start and end of what was found in it, in UTF-16 units.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<Vec<Vec<usize>>>, example = json!([[0, 5]]))]
    highlights: Option<&'a [[usize; 2]]>,
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
    /// Only of a list that is walked (`sort=activity`, a filter beside it, or a `cursor`): whether the total is exact. It stops
    /// at 10,000; where few of many entries match it may stop before, and there are so many at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = true)]
    total_is_exact: Option<bool>,
    /// The same: the `cursor` of the next page; null after the last one. A page that has one may have fewer entries than were
    /// asked for, or none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, pattern = "^[0-9a-f]{1,15}-[0-9a-f]{1,15}$", example = "1be3f80-5")]
    next_cursor: Option<NextCursor>,
    /// The same, while the server still makes its index of what was stored by an earlier version: what was opened before this
    /// time may be missing.
    #[serde(serialize_with = "shown_or_null", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false, format = DateTime)]
    indexed_from: Option<Timestamp>,
}

/// A place or null.
#[derive(Debug, Serialize)]
pub struct NextCursor(#[serde(serialize_with = "shown_or_null")] Option<Place>);

impl NextCursor {
    #[must_use]
    pub fn new(walked: Walked) -> Self {
        Self(walked.next)
    }
}

impl Pagination {
    #[must_use]
    pub fn new(total: i64, listing: &Listing, walked: Option<Walked>) -> Self {
        Self {
            page: listing.page(),
            page_size: listing.limit,
            total_pages: pages(total, listing.limit),
            total_items: total,
            total_is_exact: walked.map(|walked| walked.is_exact),
            next_cursor: walked.map(NextCursor::new),
            indexed_from: walked.and_then(|walked| walked.indexed_from),
        }
    }
}

/// `GET /api/conversation/counts`: the answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConversationCounts {
    #[schema(example = 200)]
    status: u16,
    #[schema(example = "success")]
    message: &'static str,
    data: Counts,
}

/// How many conversations wait for the caller, each up to 10,000.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Counts {
    /// With people, and claimed by nobody.
    #[schema(minimum = 0, maximum = 10000, example = 3)]
    queue: i64,
    /// The caller's.
    #[schema(minimum = 0, maximum = 10000, example = 1)]
    mine: i64,
    #[schema(minimum = 0, maximum = 10000, example = 2)]
    unread: i64,
    #[schema(minimum = 0, maximum = 10000, example = 0)]
    failed: i64,
    #[schema(minimum = 0, maximum = 10000, example = 4)]
    unanswered: i64,
    /// As in lists.
    #[serde(serialize_with = "shown_or_null", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false, format = DateTime)]
    indexed_from: Option<Timestamp>,
}

impl ConversationCounts {
    #[must_use]
    pub fn new(counts: model::ConversationCounts) -> Self {
        let model::ConversationCounts { queue, mine, unread, failed, unanswered, indexed_from } = counts;
        let data = Counts { queue, mine, unread, failed, unanswered, indexed_from };
        Self { status: 200, message: wording::SUCCESS, data }
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
