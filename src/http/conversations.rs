//! `/api/conversation`: where two documents share their paths, the caller decides which one answers.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Http;
use super::contract::chatbot_api::{
    ChatDeleted, ChatDetail, ChatList, ChatListEntry, ChatMessage, ChatMessageDeleted, Meta,
};
use super::contract::conversation_api::{
    Conversation, ConversationCreated, ConversationDeleted, ConversationDetail, ConversationList,
    ConversationPatch, ConversationQuery, ConversationUpdated, NewConversation, Pagination,
};
use super::contract::errors::{IdInvalid, Refused, ValidationError, ValidationFailure};
use super::error::Failure::{self, ChatbotApi, RoomApi};
use super::extract::{Body, OpenDoor, PathId};
use super::query::Query;
use super::reply::{self, Envelope, PART_BYTES};
use super::share::Share;
use crate::model::{self, Api, ConversationFilter, ConversationId, List, Listing, Message};
use crate::service::{Chunk, EMBED_GROUP, Error, Missing, Reader, Service, Writer};

pub fn routes() -> OpenApiRouter<Http> {
    OpenApiRouter::new()
        .routes(routes!(conversation_create, conversation_list))
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
    body: Body,
) -> Result<Response, Failure> {
    let (new, once) = body.parse(RoomApi, |input, body| (NewConversation::read(input), body.once(input)))?;
    let NewConversation { room, integration_type, bot_id, user_id } = new;
    let conversation = service
        .conversation_create(&writer, room, integration_type, bot_id, user_id, once)
        .await
        .map_err(RoomApi)?;
    // It has no message yet: a retry gets it as it was, too.
    Ok(reply::ok(&ConversationCreated::new(Conversation::new(&conversation, None))))
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
        (status = 200, description = "A page of conversations", body = ConversationListAnswer),
        (status = 400, description = "Bad input", body = ListError),
        (status = 403, description = "No credentials, where `auth.anonymous` lets them be left out, and called by another name than the server's", body = Refused)
    )
)]
async fn conversation_list(
    State(service): State<Arc<Service>>,
    OpenDoor(reader): OpenDoor<Reader>,
    share: Share,
    mut query: Query,
) -> Result<Response, Failure> {
    let (filter, listing) = ConversationQuery::read(&mut query);
    let said_by = match reader.api() {
        Api::Conversation => RoomApi,
        Api::Chatbot => ChatbotApi,
    };
    query.finish().map_err(said_by)?;
    let list = service.conversation_list(&reader, &filter, &listing).await.map_err(said_by)?;
    match reader.api() {
        Api::Conversation => list_of_conversations(service, &share, list, &listing).await,
        Api::Chatbot => list_of_chats(service, &share, list, &filter, &listing).await,
    }
}

async fn list_of_conversations(
    service: Arc<Service>,
    share: &Share,
    list: Arc<List<model::Conversation>>,
    listing: &Listing,
) -> Result<Response, Failure> {
    let envelope = Envelope::of(&ConversationList::new(Pagination::new(&list, listing)))
        .with_state(state_bytes(&list.items));
    reply::list(share, envelope, |mut items| async move {
        for group in list.items.chunks(EMBED_GROUP) {
            items.part(text_bytes(group)).await?;
            let last = service.message_last(&ids(group), true).await.map_err(RoomApi)?;
            for (conversation, last) in group.iter().zip(last.iter()) {
                items.push(&Conversation::new(conversation, last.as_ref()));
            }
        }
        Ok(items)
    })
    .await
}

async fn list_of_chats(
    service: Arc<Service>,
    share: &Share,
    list: Arc<List<model::Conversation>>,
    filter: &ConversationFilter,
    listing: &Listing,
) -> Result<Response, Failure> {
    let envelope =
        Envelope::of(&ChatList::new(Meta::new(&list, filter, listing))).with_state(state_bytes(&list.items));
    reply::list(share, envelope, |mut items| async move {
        for group in list.items.chunks(EMBED_GROUP) {
            items.part(text_bytes(group)).await?;
            let newest = service.message_newest(group).await.map_err(ChatbotApi)?;
            for (conversation, newest) in group.iter().zip(newest.iter()) {
                items.push(&ChatListEntry::new(conversation, newest));
            }
        }
        Ok(items)
    })
    .await
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
        (status = 200, description = "The conversation", body = ConversationDetailAnswer),
        (status = 400, description = "The id is malformed; in the Conversation API also unknown", body = IdError),
        (status = 403, description = "No credentials, where `auth.anonymous` lets them be left out, and called by another name than the server's", body = Refused),
        (status = 404, description = "The id is unknown, in the Chatbot API", body = Refused)
    )
)]
async fn conversation_get(
    State(service): State<Arc<Service>>,
    OpenDoor(reader): OpenDoor<Reader>,
    share: Share,
    PathId(id): PathId,
) -> Result<Response, Failure> {
    match reader.api() {
        Api::Conversation => {
            let id = conversation_id(&id)?;
            let conversation = service.conversation_get(&reader, id).await.map_err(RoomApi)?;
            let last = last_message(&service, &conversation).await?;
            Ok(reply::ok(&ConversationDetail::new(Conversation::new(&conversation, last.as_ref()))))
        }
        Api::Chatbot => {
            let id = id.parse().map_err(|_| Failure::MalformedId)?;
            let (conversation, chunk) = service.detail_get(&reader, id).await.map_err(ChatbotApi)?;
            chat(service, &share, conversation, chunk).await
        }
    }
}

/// What is known of the messages that are still to be read of a detail: where each part of a thousand begins and ends.
const REST_BYTES: usize = 16 * 1024;

/// The conversation with all its messages, read and sent chunk by chunk.
async fn chat(
    service: Arc<Service>,
    share: &Share,
    conversation: model::Conversation,
    mut chunk: Chunk,
) -> Result<Response, Failure> {
    let mut held = None;
    let later = match &chunk.rest {
        Some(rest) => {
            share.take(&mut held, chunk.messages.iter().map(Message::bytes).sum())?;
            service.message_get_many(&[rest.newest()]).await.map_err(ChatbotApi)?.pop()
        }
        None => None,
    };
    let last = later.as_ref().or(chunk.messages.last());
    let envelope = Envelope::of(&ChatDetail::new(&conversation, last)).with_state(REST_BYTES).with_held(held);
    reply::list(share, envelope, |mut items| async move {
        loop {
            for message in std::mem::take(&mut chunk.messages) {
                items.push(&ChatMessage::new(&message));
            }
            let Some(rest) = chunk.rest else { return Ok(items) };
            items.part(PART_BYTES).await?;
            chunk = service.message_chunk(conversation.id, rest).await.map_err(ChatbotApi)?;
        }
    })
    .await
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
        (status = 400, description = "The id is malformed or unknown, or bad input", body = UpdateError)
    )
)]
async fn conversation_update(
    State(service): State<Arc<Service>>,
    writer: Writer,
    PathId(id): PathId,
    body: Body,
) -> Result<Response, Failure> {
    let id = conversation_id(&id)?;
    let patch = body.parse(RoomApi, |input, _| ConversationPatch::read(input))?;
    let (conversation, last) =
        service.conversation_update(&writer, id, patch.into()).await.map_err(RoomApi)?;
    Ok(reply::ok(&ConversationUpdated::new(Conversation::new(&conversation, last.as_ref()))))
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

/// Delete a conversation and its messages
///
/// A person gets the Conversation API's answer, a program the one that its key was made for.
#[utoipa::path(
    delete,
    path = "/api/conversation/{id}",
    operation_id = "conversation_delete",
    tags = ["Conversation API", "Chatbot API"],
    params(("id" = i64, Path, minimum = 0)),
    responses(
        (status = 200, description = "It is deleted", body = ConversationDeleteAnswer),
        (status = 400, description = "The id is malformed; in the Conversation API also unknown", body = IdError),
        (status = 404, description = "The id is unknown, in the Chatbot API", body = Refused)
    )
)]
async fn conversation_delete(
    State(service): State<Arc<Service>>,
    OpenDoor(writer): OpenDoor<Writer>,
    PathId(id): PathId,
) -> Result<Response, Failure> {
    match writer.api() {
        Api::Conversation => {
            let id = conversation_id(&id)?;
            service.conversation_delete(&writer, id).await.map_err(RoomApi)?;
            Ok(reply::ok(&ConversationDeleted::new()))
        }
        Api::Chatbot => {
            let id = id.parse().map_err(|_| Failure::MalformedId)?;
            let (conversation, last) = service.conversation_delete(&writer, id).await.map_err(ChatbotApi)?;
            Ok(reply::ok(&ChatDeleted::new(&conversation, last.as_ref())))
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
    OpenDoor(writer): OpenDoor<Writer>,
    PathId(id): PathId,
) -> Result<Response, Failure> {
    let id = id.parse().map_err(|_| Failure::MalformedId)?;
    let message = service.message_delete(&writer, id, false).await.map_err(ChatbotApi)?;
    Ok(reply::ok(&ChatMessageDeleted::new(&message)))
}

/// The Conversation API says the same of a malformed id as of an unknown one.
fn conversation_id(id: &str) -> Result<ConversationId, Failure> {
    id.parse().map_err(|_| RoomApi(Error::NotFound(Missing::Conversation)))
}

/// The newest message, notes included.
async fn last_message(
    service: &Service,
    conversation: &model::Conversation,
) -> Result<Option<Message>, Failure> {
    if conversation.message_count == 0 {
        return Ok(None);
    }
    let last = service.message_last(&[conversation.id], true).await.map_err(RoomApi)?;
    Ok(Arc::unwrap_or_clone(last).pop().flatten())
}

/// Memory of a list that is sent part by part.
fn state_bytes(conversations: &[model::Conversation]) -> usize {
    let texts = conversations.iter().map(|conversation| {
        let model::Conversation { room, integration_type, bot_id, user_id, .. } = conversation;
        room.len() + integration_type.len() + bot_id.len() + user_id.as_ref().map_or(0, String::len)
    });
    size_of_val(conversations) + texts.sum::<usize>()
}

/// What may be read at once of these conversations' messages.
fn text_bytes(conversations: &[model::Conversation]) -> usize {
    let bytes = |conversation: &model::Conversation| usize::try_from(conversation.message_bytes).unwrap_or(0);
    conversations.iter().map(|conversation| bytes(conversation).min(PART_BYTES)).sum()
}

fn ids(conversations: &[model::Conversation]) -> Vec<ConversationId> {
    conversations.iter().map(|conversation| conversation.id).collect()
}
