//! The Chatbot API: the public's questions, and what programs read of them.

use std::fmt::Write;

use crate::list_body::ListField;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;
use wicara_model::{
    self as model, ConversationFilter, ConversationId, Cursor, Ending, Handler, Json, Listing, MessageId,
    Object, Order, QuestionIds, Timestamp, Walked, role,
};
use wicara_search::Excerpt;
use wicara_service::Answered;

use super::answer_object::{AnswerObject, answer_object};
use super::conversation_api::{ActivityQuery, NextCursor, pages};
use super::errors::{BotUnavailable, Refused};
use super::{shown, shown_or_null, wording};
use crate::input::{BOT_ID, INTEGRATION_TYPE, Input, MESSAGE, ROOM, USER_ID};
use crate::query::percent_encoded;

/// `POST /api/questions`: the request.
#[derive(Debug, ToSchema)]
#[schema(example = json!({ "message": "halo" }))]
pub struct Question {
    /// At most 64 KiB of UTF-8.
    pub message: String,
    /// Goes on with a conversation; left out: opens one.
    #[schema(value_type = Option<String>, format = "uuid")]
    pub session_id: Option<Uuid>,
    /// Which bot a new conversation is with; left out: the default bot.
    #[schema(rename = "botId", max_length = 64)]
    pub bot_id: Option<String>,
    /// From programs, for a new conversation: the channel; left out: `website`. Ignored from visitors and beside a
    /// `session_id`, as are the next two.
    #[schema(rename = "integrationType", max_length = 64)]
    pub integration_type: Option<String>,
    /// From programs, for a new conversation: who asks, by the id that the program knows them by.
    #[schema(rename = "userId", max_length = 64)]
    pub user_id: Option<String>,
    /// From programs, for a new conversation; left out: the channel and the conversation's id, such as `website-5`.
    #[schema(max_length = 255)]
    pub room: Option<String>,
}

impl Question {
    /// `may_describe`: whether the caller may say where a new conversation comes from. The fields for that are unknown
    /// ones to all others, and beside a session.
    pub fn read(input: &mut Input, may_describe: bool) -> Self {
        let describes = may_describe && !input.has("session_id");
        let described = |input: &mut Input, field| if describes { input.optional(field) } else { None };
        Self {
            message: input.required(MESSAGE),
            session_id: input.uuid("session_id"),
            bot_id: input.optional(BOT_ID),
            integration_type: described(input, INTEGRATION_TYPE),
            user_id: described(input, USER_ID),
            room: described(input, ROOM),
        }
    }
}

/// `POST /api/questions`: the answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct QuestionAnswered {
    #[schema(example = 200)]
    status: u16,
    #[schema(example = "success")]
    message: &'static str,
    #[schema(value_type = String, format = "uuid")]
    session_id: Uuid,
    #[schema(value_type = i64, example = 5)]
    conversation_id: ConversationId,
    /// The stored question.
    #[schema(value_type = i64, example = 15)]
    question_id: MessageId,
    /// The stored messages of `data`, in its order.
    #[schema(value_type = Vec<i64>, example = json!([16]))]
    message_ids: Vec<MessageId>,
    /// The bot's answers; empty while an operator answers. Of an answer that was stopped, or that people cut off, what had
    /// come until then: one object whose `properties.state` is `partial`, or none.
    #[schema(value_type = Vec<AnswerObject>)]
    data: Vec<Object>,
    /// The answer was stopped.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(value_type = Option<bool>, nullable = false, example = true)]
    stopped: bool,
    /// `human`: people have the conversation, and will answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false, pattern = "^human$", example = "human")]
    handler: Option<Handler>,
}

impl QuestionAnswered {
    #[must_use]
    pub fn new(answered: &Answered) -> Self {
        let QuestionIds { session_id, conversation_id, question_id } = answered.question;
        let message_ids = answered.answers.iter().map(|answer| answer.id).collect();
        let data = answered.answers.iter().map(|answer| answer_object(answer, &answered.bot_id)).collect();
        Self {
            status: 200,
            message: wording::SUCCESS,
            session_id,
            conversation_id,
            question_id,
            message_ids,
            data,
            stopped: answered.ending == Ending::Stopped,
            handler: (answered.ending == Ending::ForPeople).then_some(Handler::Human),
        }
    }
}

/// The event `session`: the first of a streamed answer, once the question is stored.
#[derive(Debug, Serialize, ToSchema)]
pub struct StreamSession {
    #[schema(value_type = String, format = "uuid")]
    session_id: Uuid,
    #[schema(value_type = i64, example = 5)]
    conversation_id: ConversationId,
    /// The stored question.
    #[schema(value_type = i64, example = 15)]
    question_id: MessageId,
}

impl StreamSession {
    #[must_use]
    pub fn new(question: QuestionIds) -> Self {
        let QuestionIds { session_id, conversation_id, question_id } = question;
        Self { session_id, conversation_id, question_id }
    }
}

/// The event `token`: a piece of the answer's text, as the bot writes it.
#[derive(Debug, Serialize, ToSchema)]
pub struct AnswerToken {
    pub text: String,
}

/// What comes as events `session`, `token` (any number), then `message` or `error`, each with one of these as its data.
#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "its shape is for the OpenAPI document")]
pub enum AnswerEvent {
    Session(StreamSession),
    Token(AnswerToken),
    Message(QuestionAnswered),
    BotUnavailable(BotUnavailable),
    Refused(Refused),
}

/// What a message says: the answer object where the bot sent one, else the text.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Payload(&'a Json),
    Text(&'a str),
}

/// A text, or the answer object that the bot sent: an `AnswerObject` without what the bot left out.
#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "its shape is for the OpenAPI document")]
pub enum MessageContent {
    Text(String),
    Answer(Object),
}

impl<'a> Content<'a> {
    fn of(message: &'a model::Message) -> Self {
        match &message.payload {
            Some(payload) => Content::Payload(payload),
            None => Content::Text(&message.text),
        }
    }
}

/// `question` is what the public said, `answer` what it was told.
fn sender_type(message: &model::Message) -> &'static str {
    if message.role == role::CLIENT { "question" } else { "answer" }
}

/// A message within a conversation.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChatMessage<'a> {
    #[schema(value_type = i64, example = 16)]
    id: MessageId,
    #[schema(pattern = "^(question|answer)$", example = "answer")]
    sender_type: &'static str,
    #[schema(value_type = MessageContent)]
    message: Content<'a>,
    #[serde(rename = "createdAt", serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime, example = "2025-07-14T05:13:36.351+00:00")]
    created_at: Timestamp,
    #[serde(rename = "updatedAt", serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime, example = "2025-07-14T05:13:36.352+00:00")]
    updated_at: Timestamp,
    #[serde(rename = "conversationId")]
    #[schema(value_type = i64, example = 5)]
    conversation_id: ConversationId,
}

impl<'a> ChatMessage<'a> {
    #[must_use]
    pub fn new(message: &'a model::Message) -> Self {
        Self {
            id: message.id,
            sender_type: sender_type(message),
            message: Content::of(message),
            created_at: message.created_at,
            updated_at: message.updated_at,
            conversation_id: message.conversation_id,
        }
    }
}

/// What this document does not show of a conversation.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct About<'a> {
    /// Without the operators' notes.
    #[schema(example = 2)]
    message_count: i64,
    #[schema(example = "website-5")]
    room: &'a str,
    #[schema(example = "website")]
    integration_type: &'a str,
    #[schema(example = "guide")]
    bot_id: &'a str,
    /// `bot`, or `human` while an operator answers.
    #[schema(value_type = String, pattern = "^(bot|human)$", example = "bot")]
    handler: Handler,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime, example = "2025-07-14T05:13:36.312+00:00")]
    created_at: Timestamp,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime, example = "2025-07-14T05:13:36.333+00:00")]
    updated_at: Timestamp,
}

impl<'a> About<'a> {
    fn new(conversation: &'a model::Conversation) -> Self {
        Self {
            message_count: conversation.message_count - conversation.note_count,
            room: &conversation.room,
            integration_type: &conversation.integration_type,
            bot_id: &conversation.bot_id,
            handler: conversation.handler,
            created_at: conversation.created_at,
            updated_at: conversation.updated_at,
        }
    }
}

/// `GET /api/conversation`: the Chatbot API's answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChatList<'a> {
    #[schema(example = 200)]
    status: u16,
    #[schema(example = "success")]
    message: &'static str,
    meta: Meta,
    #[schema(value_type = Vec<ChatListEntry<'a>>)]
    data: ListField<ChatListEntry<'a>>,
}

impl ChatList<'_> {
    #[must_use]
    pub fn new(meta: Meta) -> Self {
        Self { status: 200, message: wording::SUCCESS, meta, data: ListField::default() }
    }
}

/// Where a page stands in its list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Meta {
    #[schema(example = 20)]
    total: i64,
    #[schema(example = 10)]
    per_page: i64,
    #[schema(example = 1)]
    current_page: i64,
    /// 1 where there is nothing.
    #[schema(example = 2)]
    last_page: i64,
    /// Null on the last page, and while walking by `before` or `after`.
    #[schema(required, example = "/api/conversation?page=2&limit=10")]
    next_page_url: Option<String>,
    #[schema(required)]
    prev_page_url: Option<String>,
    /// Only of a list that is walked: as in the Conversation API.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = true)]
    total_is_exact: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, pattern = "^[0-9a-f]{1,15}-[0-9a-f]{1,15}$", example = "1be3f80-5")]
    next_cursor: Option<NextCursor>,
    #[serde(serialize_with = "shown_or_null", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false, format = DateTime)]
    indexed_from: Option<Timestamp>,
}

impl Meta {
    /// `walked`: of a list that is walked, with the parameters that make it one.
    #[must_use]
    pub fn new(
        total: i64,
        filter: &ConversationFilter,
        listing: &Listing,
        walked: Option<(Walked, &ActivityQuery)>,
    ) -> Self {
        let last_page = pages(total, listing.limit).max(1);
        let (next, previous) = match listing.cursor {
            // Past the end the way back leads to the last page, not to another empty one.
            Cursor::Page(page) => {
                ((page < last_page).then(|| page + 1), (page > 1).then(|| (page - 1).min(last_page)))
            }
            Cursor::Between { .. } => (None, None),
        };
        let given = walked.map_or(&[][..], |(_, query)| &query.given);
        let is_by_cursor = walked.is_some_and(|(_, query)| query.cursor.is_some());
        let url = |page: Option<i64>| {
            page.filter(|_| !is_by_cursor).map(|page| page_url(page, filter, listing, given))
        };
        Self {
            total,
            per_page: listing.limit,
            current_page: listing.page(),
            last_page,
            next_page_url: url(next),
            prev_page_url: url(previous),
            total_is_exact: walked.map(|(walked, _)| walked.is_exact),
            next_cursor: walked.map(|(walked, _)| NextCursor::new(walked)),
            indexed_from: walked.and_then(|(walked, _)| walked.indexed_from),
        }
    }
}

fn page_url(
    page: i64,
    filter: &ConversationFilter,
    listing: &Listing,
    given: &[(&'static str, String)],
) -> String {
    let mut url = format!("/api/conversation?page={page}&limit={}", listing.limit);
    let filters = [
        ("userId", &filter.user_id),
        ("botId", &filter.bot_id),
        ("integrationType", &filter.integration_type),
        ("room", &filter.room),
    ];
    for (name, value) in filters {
        if let Some(value) = value {
            let _ = write!(url, "&{name}={}", percent_encoded(value));
        }
    }
    if listing.order == Order::Ascending {
        url.push_str("&order=asc");
    }
    for (name, value) in given {
        let _ = write!(url, "&{name}={}", percent_encoded(value));
    }
    url
}

/// A conversation in the list, with its newest messages, oldest first: at most 50 or 256 KiB.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChatListEntry<'a> {
    #[schema(value_type = i64, example = 1)]
    id: ConversationId,
    #[schema(value_type = String, format = "uuid")]
    session_id: Uuid,
    /// The newest message, null where there is none.
    #[schema(required, value_type = Option<MessageContent>)]
    last_messages: Option<Content<'a>>,
    messages: Vec<ChatMessage<'a>>,
    #[serde(flatten)]
    about: About<'a>,
    /// Only of a search: a piece of the newest message that matches, as plain text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "Kartu saya hilang, tolong dikirimkan yang baru")]
    excerpt: Option<&'a str>,
    /// Only of a search: start and end of what was found in it, in UTF-16 units.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<Vec<Vec<usize>>>, example = json!([[0, 5]]))]
    highlights: Option<&'a [[usize; 2]]>,
}

impl<'a> ChatListEntry<'a> {
    /// `newest` goes from old to new.
    #[must_use]
    pub fn new(conversation: &'a model::Conversation, newest: &'a [model::Message]) -> Self {
        Self {
            id: conversation.id,
            session_id: conversation.session_id,
            last_messages: newest.last().map(Content::of),
            messages: newest.iter().map(ChatMessage::new).collect(),
            about: About::new(conversation),
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

/// `GET /api/conversation/:id`: the Chatbot API's answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChatDetail<'a> {
    #[schema(example = 200)]
    status: u16,
    #[schema(example = "success")]
    message: &'static str,
    data: Chat<'a>,
}

/// A conversation with all its messages, oldest first.
#[derive(Debug, Serialize, ToSchema)]
struct Chat<'a> {
    #[schema(value_type = i64, example = 1)]
    id: ConversationId,
    #[schema(value_type = String, format = "uuid")]
    session_id: Uuid,
    /// The newest message, null where there is none.
    #[serde(rename = "lastMessages")]
    #[schema(required, value_type = Option<MessageContent>)]
    last_messages: Option<Content<'a>>,
    #[serde(flatten)]
    about: About<'a>,
    #[schema(value_type = Vec<ChatMessage<'a>>)]
    messages: ListField<ChatMessage<'a>>,
}

impl<'a> ChatDetail<'a> {
    #[must_use]
    pub fn new(conversation: &'a model::Conversation, last: Option<&'a model::Message>) -> Self {
        let data = Chat {
            id: conversation.id,
            session_id: conversation.session_id,
            last_messages: last.map(Content::of),
            about: About::new(conversation),
            messages: ListField::default(),
        };
        Self { status: 200, message: wording::SUCCESS, data }
    }
}

/// `DELETE /api/conversation/:id`: the Chatbot API's answer, the conversation as it was.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChatDeleted<'a> {
    #[schema(example = 200)]
    status: u16,
    #[schema(example = "success")]
    message: &'static str,
    data: DeletedChat<'a>,
}

#[derive(Debug, Serialize, ToSchema)]
struct DeletedChat<'a> {
    #[schema(value_type = i64, example = 1)]
    id: ConversationId,
    #[schema(value_type = String, format = "uuid")]
    session_id: Uuid,
    /// The newest message, null where there was none.
    #[schema(required, value_type = Option<MessageContent>)]
    last_messages: Option<Content<'a>>,
    #[serde(flatten)]
    about: About<'a>,
}

impl<'a> ChatDeleted<'a> {
    #[must_use]
    pub fn new(conversation: &'a model::Conversation, last: Option<&'a model::Message>) -> Self {
        let data = DeletedChat {
            id: conversation.id,
            session_id: conversation.session_id,
            last_messages: last.map(Content::of),
            about: About::new(conversation),
        };
        Self { status: 200, message: wording::SUCCESS, data }
    }
}

/// `DELETE /api/conversation/message/:id`: the answer, the message as it was.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChatMessageDeleted<'a> {
    #[schema(example = 200)]
    status: u16,
    #[schema(example = "success")]
    message: &'static str,
    data: DeletedMessage<'a>,
}

/// Here, and only here, the document writes these three names with underscores.
#[derive(Debug, Serialize, ToSchema)]
struct DeletedMessage<'a> {
    #[schema(value_type = i64, example = 16)]
    id: MessageId,
    #[schema(pattern = "^(question|answer)$", example = "answer")]
    sender_type: &'static str,
    #[schema(value_type = MessageContent)]
    message: Content<'a>,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime, example = "2025-07-14T05:13:36.351+00:00")]
    created_at: Timestamp,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime, example = "2025-07-14T05:13:36.352+00:00")]
    updated_at: Timestamp,
    #[schema(value_type = i64, example = 5)]
    conversation_id: ConversationId,
}

impl<'a> ChatMessageDeleted<'a> {
    #[must_use]
    pub fn new(message: &'a model::Message) -> Self {
        let data = DeletedMessage {
            id: message.id,
            sender_type: sender_type(message),
            message: Content::of(message),
            created_at: message.created_at,
            updated_at: message.updated_at,
            conversation_id: message.conversation_id,
        };
        Self { status: 200, message: wording::SUCCESS, data }
    }
}
