//! `/api/message`: the messages of conversations.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wicara_model::{self as model, MessageId};
use wicara_search::excerpt;
use wicara_service::{Error, MessageSearch, MessageWalk, Missing, Reader, Service, Writer};

use crate::Http;
use crate::access_log::AccessLog;
use crate::body::Body;
use crate::contract::conversation_api::Pagination;
use crate::contract::errors::{IdInvalid, NotAsked, Refused, ValidationError};
use crate::contract::message_api::{
    Message, MessageCreated, MessageDeleted, MessageDetail, MessageList, MessagePatch, MessageQuery,
    MessageShown, MessageUpdated, MessageWalkQuery, NewMessage, UndoQuery,
};
use crate::error::Failure::{self, ConversationApi};
use crate::feed::with_cursor;
use crate::json_body;
use crate::list_body::{self, Envelope};
use crate::path_id::PathId;
use crate::query::{Query, Search};
use crate::request_memory::RequestMemory;

pub fn routes() -> OpenApiRouter<Http> {
    OpenApiRouter::new()
        .routes(routes!(message_create, message_list))
        .routes(routes!(message_get, message_update, message_delete))
        .routes(routes!(message_ask))
        .routes(routes!(message_restore))
}

/// What is wrong with a message: the id in it or another field.
#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "its shape is for the OpenAPI document")]
enum MessageError {
    Id(IdInvalid),
    Fields(ValidationError),
}

/// Add a message
///
/// Stores it and no more: the bot is not asked.
#[utoipa::path(
    post,
    path = "/api/message",
    operation_id = "message_create",
    tag = "Message API",
    params(("Idempotency-Key" = Option<String>, Header, pattern = "^[!-~]{1,255}$", description = "Makes a retry safe")),
    request_body = NewMessage,
    responses(
        (status = 200, description = "The message", body = MessageCreated),
        (status = 400, description = "The conversation is unknown, or bad input", body = MessageError),
        (status = 409, description = "The first request with this key is still being answered", body = Refused,
            headers(("Retry-After" = u64))),
        (status = 422, description = "The key was used with another body", body = Refused)
    )
)]
async fn message_create(
    State(service): State<Arc<Service>>,
    writer: Writer,
    log: AccessLog,
    body: Body,
) -> Result<Response, Failure> {
    let (new, idempotency) =
        body.parse(ConversationApi, |input, body| (NewMessage::read(input), body.idempotency(input)))?;
    let NewMessage { message: text, kind, role, conversation_id } = new;
    let conversation_id =
        conversation_id.map_err(|_| ConversationApi(Error::NotFound(Missing::Conversation)))?;

    let new = model::NewMessage { role, kind, text, payload: None, reply_to: None, author: None, time: None };
    let found = |id| log.conversation(id);
    let message = service.message_create(&writer, conversation_id, new, idempotency, &found).await;
    let message = message.map_err(ConversationApi)?;
    log.conversation(message.conversation_id);
    Ok(json_body::ok(&MessageCreated::new(Message::new(&message))))
}

/// List messages
#[utoipa::path(
    get,
    path = "/api/message",
    operation_id = "message_list",
    tag = "Message API",
    params(MessageQuery),
    responses(
        (status = 200, description = "A page of messages", body = MessageList,
            headers(("X-Wicara-Cursor" = String,
            description = "A position in the feed: everything up to it is in the answer"))),
        (status = 400, description = "Bad input", body = ValidationError)
    )
)]
async fn message_list(
    State(service): State<Arc<Service>>,
    reader: Reader,
    log: AccessLog,
    memory: RequestMemory,
    mut query: Query,
) -> Result<Response, Failure> {
    let (filter, listing, walk) = MessageQuery::read(&mut query);
    query.finish().map_err(ConversationApi)?;

    let cursor = service.feed_cursor();
    let mut searched = None;
    let (total, walked, messages) = match walk {
        None => {
            let list = service.message_list(&reader, &filter, &listing).await.map_err(ConversationApi)?;
            (list.0, None, list.1)
        }
        Some(MessageWalkQuery { bot_id, filter: walked, search, cursor: after }) => {
            let conversation_id = filter.conversation_id;
            let walk = MessageWalk { conversation_id, filter: walked, listing, after };
            let found = match search {
                None => service.message_walk(&reader, bot_id.as_deref(), walk).await,
                Some(Search { query, is_by_relevance }) => {
                    searched = Some(query.clone());
                    let search = MessageSearch { query, is_by_relevance, walk };
                    service.message_search(&reader, bot_id.as_deref(), search).await
                }
            };
            found.map_err(ConversationApi)?
        }
    };
    if let Some(id) = filter.conversation_id {
        log.conversation(id);
    }
    let envelope = Envelope::of(&MessageList::new(Pagination::new(total, &listing, walked)));
    let answer = list_body::list(&memory, envelope, messages, ConversationApi, move |items, message| {
        let excerpt = searched.as_ref().map(|query| excerpt(&message.text, query));
        items.push(&Message::new(message).found(excerpt.as_ref()));
    });
    Ok(with_cursor(answer.await?, &cursor))
}

/// Show a message
#[utoipa::path(
    get,
    path = "/api/message/{id}",
    operation_id = "message_get",
    tag = "Message API",
    params(("id" = i64, Path, minimum = 0)),
    responses(
        (status = 200, description = "The message", body = MessageDetail,
            headers(("X-Wicara-Cursor" = String,
            description = "A position in the feed: everything up to it is in the answer"))),
        (status = 400, description = "The id is malformed or unknown", body = IdInvalid)
    )
)]
async fn message_get(
    State(service): State<Arc<Service>>,
    reader: Reader,
    log: AccessLog,
    PathId(id): PathId,
) -> Result<Response, Failure> {
    let cursor = service.feed_cursor();
    let message = service.message_get(&reader, message_id(&id)?).await.map_err(ConversationApi)?;
    log.conversation(message.conversation_id);
    Ok(with_cursor(json_body::ok(&MessageDetail::new(Message::new(&message))), &cursor))
}

/// Update a message
#[utoipa::path(
    patch,
    path = "/api/message/{id}",
    operation_id = "message_update",
    tag = "Message API",
    params(("id" = i64, Path, minimum = 0)),
    request_body = MessagePatch,
    responses(
        (status = 200, description = "The message", body = MessageUpdated),
        (status = 400, description = "The id is malformed or unknown, or bad input", body = MessageError)
    )
)]
async fn message_update(
    State(service): State<Arc<Service>>,
    writer: Writer,
    log: AccessLog,
    PathId(id): PathId,
    body: Body,
) -> Result<Response, Failure> {
    let id = message_id(&id)?;
    let patch = body.parse(ConversationApi, |input, _| MessagePatch::read(input))?;
    let message = service.message_get_writable(&writer, id).await.map_err(ConversationApi)?;
    log.conversation(message.conversation_id);
    let message = service.message_update(message, patch.into()).await.map_err(ConversationApi)?;
    Ok(json_body::ok(&MessageUpdated::new(Message::new(&message))))
}

/// Delete a message
#[utoipa::path(
    delete,
    path = "/api/message/{id}",
    operation_id = "message_delete",
    tag = "Message API",
    params(("id" = i64, Path, minimum = 0), UndoQuery),
    responses(
        (status = 200, description = "It is deleted", body = MessageDeleted),
        (status = 400, description = "The id is malformed or unknown, or bad input", body = MessageError)
    )
)]
async fn message_delete(
    State(service): State<Arc<Service>>,
    writer: Writer,
    log: AccessLog,
    PathId(id): PathId,
    mut query: Query,
) -> Result<Response, Failure> {
    let undo = UndoQuery::read(&mut query);
    query.finish().map_err(ConversationApi)?;
    let message = service.message_get_writable(&writer, message_id(&id)?).await.map_err(ConversationApi)?;
    log.conversation(message.conversation_id);
    service.message_delete(message, true, undo).await.map_err(ConversationApi)?;
    Ok(json_body::ok(&MessageDeleted::new()))
}

/// Bring a deleted message back
///
/// While the time that its deletion was given with `undo` lasts. One that is there stays as it is.
#[utoipa::path(
    post,
    path = "/api/message/{id}/restore",
    operation_id = "message_restore",
    tag = "Message API",
    params(("id" = i64, Path, minimum = 0)),
    responses(
        (status = 200, description = "The message", body = MessageShown),
        (status = 400, description = "The id is malformed or unknown, or the time is over", body = IdInvalid)
    )
)]
async fn message_restore(
    State(service): State<Arc<Service>>,
    writer: Writer,
    log: AccessLog,
    PathId(id): PathId,
) -> Result<Response, Failure> {
    let message = service.message_restore(&writer, message_id(&id)?).await.map_err(ConversationApi)?;
    log.conversation(message.conversation_id);
    Ok(json_body::ok(&MessageShown::new(Message::new(&message))))
}

/// Ask the bot again
///
/// For a question of the public that has no answer. Answered at once with the question, without its failure; the bot's answer
/// comes by the feed.
#[utoipa::path(
    post,
    path = "/api/message/{id}/ask",
    operation_id = "message_ask",
    tag = "Message API",
    params(("id" = i64, Path, minimum = 0)),
    responses(
        (status = 200, description = "The question", body = MessageShown),
        (status = 400, description = "The id is malformed or unknown, or is no question's", body = IdInvalid),
        (status = 409, description = "The bot is being asked, people have the conversation, or it was answered",
            body = NotAsked)
    )
)]
async fn message_ask(
    State(service): State<Arc<Service>>,
    writer: Writer,
    log: AccessLog,
    PathId(id): PathId,
) -> Result<Response, Failure> {
    let message = service.message_get_writable(&writer, message_id(&id)?).await.map_err(ConversationApi)?;
    log.conversation(message.conversation_id);
    let question = service.message_ask(message).await.map_err(ConversationApi)?;
    Ok(json_body::ok(&MessageShown::new(Message::new(&question))))
}

/// The Message API has one error for a malformed id and for an unknown one.
fn message_id(id: &str) -> Result<MessageId, Failure> {
    id.parse().map_err(|_| ConversationApi(Error::NotFound(Missing::Message)))
}
