//! `/api/conversation`: two documents share its paths, and the caller decides which one's response is sent.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wicara_model::{Api, ConversationId};
use wicara_service::{ConversationSearch, ConversationWalk, Embed, Error, Missing, Reader, Service, Writer};

use crate::Http;
use crate::access_log::AccessLog;
use crate::body::Body;
use crate::contract::chatbot_api::{
    ChatDeleted, ChatDetail, ChatList, ChatListEntry, ChatMessage, ChatMessageDeleted, Meta,
};
use crate::contract::conversation_api::{
    ActivityQuery, Conversation, ConversationCounts, ConversationCreated, ConversationDeleted,
    ConversationDetail, ConversationList, ConversationPatch, ConversationQuery, ConversationUpdated,
    NewConversation, Pagination,
};
use crate::contract::errors::{IdInvalid, Refused, ValidationError, ValidationFailure};
use crate::contract::handover::Claimed;
use crate::contract::message_api::UndoQuery;
use crate::error::Failure::{self, ChatbotApi, ConversationApi};
use crate::feed::with_cursor;
use crate::json_body;
use crate::list_body::{self, Envelope};
use crate::path_id::PathId;
use crate::principals::AllowAnonymous;
use crate::query::{Query, Search};
use crate::request_memory::RequestMemory;

pub fn routes() -> OpenApiRouter<Http> {
    OpenApiRouter::new()
        .routes(routes!(conversation_create, conversation_list))
        .routes(routes!(conversation_counts))
        .routes(routes!(conversation_get, conversation_update, conversation_delete))
        .routes(routes!(conversation_message_delete))
}

/// What is wrong with a new conversation: its fields, or that a retry asks for one that is gone.
#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "its shape is for the OpenAPI document")]
enum CreateError {
    Fields(ValidationError),
    Gone(IdInvalid),
}

/// Add a conversation
#[utoipa::path(
    post,
    path = "/api/conversation",
    operation_id = "conversation_create",
    tag = "Conversation API",
    params(("Idempotency-Key" = Option<String>, Header, pattern = "^[!-~]{1,255}$", description = "Makes a retry safe")),
    request_body = NewConversation,
    responses(
        (status = 200, description = "The conversation", body = ConversationCreated),
        (status = 400, description = "Bad input, or what this key made was deleted since", body = CreateError),
        (status = 409, description = "The first request with this key is still being answered", body = Refused,
            headers(("Retry-After" = u64))),
        (status = 422, description = "The key was used with another body", body = Refused)
    )
)]
async fn conversation_create(
    State(service): State<Arc<Service>>,
    writer: Writer,
    log: AccessLog,
    body: Body,
) -> Result<Response, Failure> {
    let (new, idempotency) =
        body.parse(ConversationApi, |input, body| (NewConversation::read(input), body.idempotency(input)))?;
    let NewConversation { room, integration_type, bot_id, user_id } = new;
    let (conversation, last) = service
        .conversation_create(&writer, room, integration_type, bot_id, user_id, idempotency)
        .await
        .map_err(ConversationApi)?;
    log.conversation(conversation.id);
    let unread = service
        .conversation_unread_of_changed(writer.reader(), &conversation)
        .await
        .map_err(ConversationApi)?;
    let conversation = Conversation::new(&conversation, last.as_ref(), Some(unread));
    Ok(json_body::ok(&ConversationCreated::new(conversation)))
}

#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "its shape is for the OpenAPI document")]
enum ConversationListAnswer<'a> {
    ConversationApi(ConversationList<'a>),
    ChatbotApi(ChatList<'a>),
}

#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "its shape is for the OpenAPI document")]
enum ListError {
    ConversationApi(ValidationError),
    ChatbotApi(ValidationFailure),
}

/// List conversations
///
/// A person gets the Conversation API's answer, a program the one that its key was made for.
#[utoipa::path(
    get,
    path = "/api/conversation",
    operation_id = "conversation_list",
    tags = ["Conversation API", "Chatbot API"],
    params(ConversationQuery),
    responses(
        (status = 200, description = "A page of conversations", body = ConversationListAnswer,
            headers(("X-Wicara-Cursor" = String,
            description = "A position in the feed: everything up to it is in the answer"))),
        (status = 400, description = "Bad input", body = ListError),
        (status = 403, description = "No credentials, where `auth.anonymous` lets them be left out, and called by another name than the server's", body = Refused)
    )
)]
async fn conversation_list(
    State(service): State<Arc<Service>>,
    AllowAnonymous(reader): AllowAnonymous<Reader>,
    memory: RequestMemory,
    mut query: Query,
) -> Result<Response, Failure> {
    let (filter, listing, activity) = ConversationQuery::read(&mut query);
    let (as_failure, embed): (fn(Error) -> Failure, _) = match reader.api() {
        Api::Conversation => (ConversationApi, Embed::Last),
        Api::Chatbot => (ChatbotApi, Embed::Newest),
    };
    query.finish().map_err(as_failure)?;
    let cursor = service.feed_cursor();
    let list = match activity.clone() {
        None => service.conversation_list(&reader, &filter, &listing, embed).await,
        Some(ActivityQuery { filter: activity, sort, search, cursor: after, .. }) => {
            let filter = filter.clone();
            let walk = ConversationWalk { filter, activity, reader: None, sort, listing, after };
            match search {
                None => service.conversation_walk(&reader, walk, embed).await,
                Some(Search { query, is_by_relevance }) => {
                    // The Chatbot API never shows notes.
                    let notes = reader.api() == Api::Conversation;
                    let search = ConversationSearch { query, is_by_relevance, notes, walk };
                    service.conversation_search(&reader, search, embed).await
                }
            }
        }
    };
    let list = list.map_err(as_failure)?;
    let answer = match reader.api() {
        Api::Conversation => {
            let pagination = Pagination::new(list.total(), &listing, list.walked());
            let envelope = Envelope::of(&ConversationList::new(pagination));
            list_body::list(&memory, envelope, list, as_failure, |items, entry| {
                let (listed, unread) = (&entry.listed, Some(entry.unread));
                let conversation = Conversation::new(&listed.conversation, listed.messages().last(), unread);
                items.push(&conversation.found(entry.excerpt.as_ref()));
            })
            .await
        }
        Api::Chatbot => {
            let walked = list.walked().zip(activity.as_ref());
            let envelope = Envelope::of(&ChatList::new(Meta::new(list.total(), &filter, &listing, walked)));
            list_body::list(&memory, envelope, list, as_failure, |items, entry| {
                let listed = &entry.listed;
                let entry_of_list = ChatListEntry::new(&listed.conversation, listed.messages());
                items.push(&entry_of_list.found(entry.excerpt.as_ref()));
            })
            .await
        }
    };
    answer.map(|answer| with_cursor(answer, &cursor))
}

/// Count what waits for the caller
#[utoipa::path(
    get,
    path = "/api/conversation/counts",
    operation_id = "conversation_counts",
    tag = "Conversation API",
    responses(
        (status = 200, description = "How many conversations wait, each up to 10,000", body = ConversationCounts,
            headers(("X-Wicara-Cursor" = String,
            description = "A position in the feed: everything up to it is in the answer")))
    )
)]
async fn conversation_counts(
    State(service): State<Arc<Service>>,
    reader: Reader,
) -> Result<Response, Failure> {
    let cursor = service.feed_cursor();
    let counts = service.conversation_counts(&reader).await.map_err(ConversationApi)?;
    Ok(with_cursor(json_body::ok(&ConversationCounts::new(counts)), &cursor))
}

#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "its shape is for the OpenAPI document")]
enum ConversationDetailAnswer<'a> {
    ConversationApi(ConversationDetail<'a>),
    ChatbotApi(ChatDetail<'a>),
}

#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "its shape is for the OpenAPI document")]
enum IdError {
    ConversationApi(IdInvalid),
    ChatbotApi(Refused),
}

/// Show a conversation
///
/// A person gets the Conversation API's answer, a program the one that its key was made for.
#[utoipa::path(
    get,
    path = "/api/conversation/{id}",
    operation_id = "conversation_get",
    tags = ["Conversation API", "Chatbot API"],
    params(("id" = i64, Path, minimum = 0)),
    responses(
        (status = 200, description = "The conversation", body = ConversationDetailAnswer,
            headers(("X-Wicara-Cursor" = String,
            description = "A position in the feed: everything up to it is in the answer"))),
        (status = 400, description = "The id is malformed; in the Conversation API also unknown", body = IdError),
        (status = 403, description = "No credentials, where `auth.anonymous` lets them be left out, and called by another name than the server's", body = Refused),
        (status = 404, description = "The id is unknown, in the Chatbot API", body = Refused)
    )
)]
async fn conversation_get(
    State(service): State<Arc<Service>>,
    AllowAnonymous(reader): AllowAnonymous<Reader>,
    log: AccessLog,
    memory: RequestMemory,
    PathId(id): PathId,
) -> Result<Response, Failure> {
    let cursor = service.feed_cursor();
    let answer = match reader.api() {
        Api::Conversation => {
            let id = conversation_id(&id)?;
            let conversation = service.conversation_get(&reader, id).await.map_err(ConversationApi)?;
            log.conversation(id);
            let last = service.message_last(&conversation).await.map_err(ConversationApi)?;
            let unread =
                service.conversation_unread(&reader, &conversation).await.map_err(ConversationApi)?;
            let conversation = Conversation::new(&conversation, last.as_ref(), Some(unread));
            Ok(json_body::ok(&ConversationDetail::new(conversation)))
        }
        Api::Chatbot => {
            let id = id.parse().map_err(|_| Failure::MalformedId)?;
            let detail = service.detail_get(&reader, id).await.map_err(ChatbotApi)?;
            log.conversation(id);
            let mut envelope = Envelope::of(&ChatDetail::new(detail.conversation(), detail.newest()));
            if detail.is_long() {
                envelope = envelope.held(&memory)?;
            }
            list_body::list(&memory, envelope, detail.into_messages(), ChatbotApi, |items, message| {
                items.push(&ChatMessage::new(message));
            })
            .await
        }
    };
    answer.map(|answer| with_cursor(answer, &cursor))
}

/// Update a conversation
#[utoipa::path(
    patch,
    path = "/api/conversation/{id}",
    operation_id = "conversation_update",
    tag = "Conversation API",
    params(("id" = i64, Path, minimum = 0)),
    request_body = ConversationPatch,
    responses(
        (status = 200, description = "The conversation", body = ConversationUpdated),
        (status = 400, description = "The id is malformed or unknown, or bad input", body = UpdateError),
        (status = 409, description = "Somebody else has the conversation, which only admins give back to the bot", body = Claimed)
    )
)]
async fn conversation_update(
    State(service): State<Arc<Service>>,
    writer: Writer,
    log: AccessLog,
    PathId(id): PathId,
    body: Body,
) -> Result<Response, Failure> {
    let id = conversation_id(&id)?;
    let patch = body.parse(ConversationApi, |input, _| ConversationPatch::read(input))?;
    let conversation = service.conversation_get_writable(&writer, id).await.map_err(ConversationApi)?;
    log.conversation(id);
    let updated = service.conversation_update(&writer, conversation, patch.into()).await;
    let (conversation, last) = updated.map_err(ConversationApi)?;
    let unread = service
        .conversation_unread_of_changed(writer.reader(), &conversation)
        .await
        .map_err(ConversationApi)?;
    let conversation = Conversation::new(&conversation, last.as_ref(), Some(unread));
    Ok(json_body::ok(&ConversationUpdated::new(conversation)))
}

/// What is wrong with a change: its id or its fields.
#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "its shape is for the OpenAPI document")]
pub(super) enum UpdateError {
    Id(IdInvalid),
    Fields(ValidationError),
}

#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "its shape is for the OpenAPI document")]
enum ConversationDeleteAnswer<'a> {
    ConversationApi(ConversationDeleted),
    ChatbotApi(ChatDeleted<'a>),
}

#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "its shape is for the OpenAPI document")]
enum DeleteError {
    ConversationApi(IdInvalid),
    ConversationApiFields(ValidationError),
    ChatbotApi(Refused),
    ChatbotApiFields(ValidationFailure),
}

/// Delete a conversation and its messages
///
/// A person gets the Conversation API's answer, a program the one that its key was made for.
#[utoipa::path(
    delete,
    path = "/api/conversation/{id}",
    operation_id = "conversation_delete",
    tags = ["Conversation API", "Chatbot API"],
    params(("id" = i64, Path, minimum = 0), UndoQuery),
    responses(
        (status = 200, description = "It is deleted", body = ConversationDeleteAnswer),
        (status = 400, description = "The id is malformed, in the Conversation API also unknown, or bad input",
            body = DeleteError),
        (status = 404, description = "The id is unknown, in the Chatbot API", body = Refused)
    )
)]
async fn conversation_delete(
    State(service): State<Arc<Service>>,
    AllowAnonymous(writer): AllowAnonymous<Writer>,
    log: AccessLog,
    PathId(id): PathId,
    mut query: Query,
) -> Result<Response, Failure> {
    let undo = UndoQuery::read(&mut query);
    match writer.reader().api() {
        Api::Conversation => {
            query.finish().map_err(ConversationApi)?;
            let id = conversation_id(&id)?;
            let conversation =
                service.conversation_get_writable(&writer, id).await.map_err(ConversationApi)?;
            log.conversation(id);
            service.conversation_delete(conversation, undo).await.map_err(ConversationApi)?;
            Ok(json_body::ok(&ConversationDeleted::new()))
        }
        Api::Chatbot => {
            query.finish().map_err(ChatbotApi)?;
            let id = id.parse().map_err(|_| Failure::MalformedId)?;
            let conversation = service.conversation_get_writable(&writer, id).await.map_err(ChatbotApi)?;
            log.conversation(id);
            let deleted = service.conversation_delete(conversation, undo).await;
            let (conversation, last) = deleted.map_err(ChatbotApi)?;
            Ok(json_body::ok(&ChatDeleted::new(&conversation, last.as_ref())))
        }
    }
}

/// Delete a message
///
/// Whoever calls, the Chatbot API answers. The operators' notes are unknown to it.
#[utoipa::path(
    delete,
    path = "/api/conversation/message/{id}",
    operation_id = "conversation_message_delete",
    tag = "Chatbot API",
    params(("id" = i64, Path, minimum = 0)),
    responses(
        (status = 200, description = "It is deleted", body = ChatMessageDeleted),
        (status = 400, description = "The id is malformed", body = Refused),
        (status = 404, description = "The id is unknown", body = Refused)
    )
)]
async fn conversation_message_delete(
    State(service): State<Arc<Service>>,
    AllowAnonymous(writer): AllowAnonymous<Writer>,
    log: AccessLog,
    PathId(id): PathId,
) -> Result<Response, Failure> {
    let id = id.parse().map_err(|_| Failure::MalformedId)?;
    let message = service.message_get_writable(&writer, id).await.map_err(ChatbotApi)?;
    log.conversation(message.conversation_id);
    let message = service.message_delete(message, false, None).await.map_err(ChatbotApi)?;
    Ok(json_body::ok(&ChatMessageDeleted::new(&message)))
}

/// The Conversation API has one error for a malformed id and for an unknown one.
pub(super) fn conversation_id(id: &str) -> Result<ConversationId, Failure> {
    id.parse().map_err(|_| ConversationApi(Error::NotFound(Missing::Conversation)))
}
