//! Who has a conversation, stops of answers, marks of what was read, and who types.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wicara_model as model;
use wicara_service::{Asker, Error, Missing, Service, Writer};

use crate::Http;
use crate::access_log::AccessLog;
use crate::body::{Body, OptionalBody};
use crate::contract::conversation_api::Conversation;
use crate::contract::errors::{IdInvalid, Refused, ValidationFailure};
use crate::contract::handover::{
    Claimed, ConversationClaim, ConversationHandled, ConversationRelease, ConversationSeen,
    ConversationTyping, QuestionHandled, QuestionSeen, QuestionTyping, Seen,
};
use crate::conversations::{UpdateError, conversation_id};
use crate::error::Failure::{self, ChatbotApi, ConversationApi};
use crate::json_body;
use crate::path_id::PathId;
use crate::principals::MarkingReader;
use crate::questions::session_id;

/// Those below `/api/conversation`.
pub fn routes() -> OpenApiRouter<Http> {
    OpenApiRouter::new()
        .routes(routes!(conversation_claim))
        .routes(routes!(conversation_release))
        .routes(routes!(conversation_answer_stop))
        .routes(routes!(conversation_seen))
        .routes(routes!(conversation_typing))
        .routes(routes!(conversation_restore))
}

/// Those below `/api/questions`, for pages of any origin.
pub fn visitors_routes() -> OpenApiRouter<Http> {
    OpenApiRouter::new()
        .routes(routes!(question_handover))
        .routes(routes!(question_answer_stop))
        .routes(routes!(question_seen))
        .routes(routes!(question_typing))
}

/// Claim a conversation
///
/// Hands it over to people, where the bot has it, and assigns it to the caller. Of several callers at once one has it; the
/// others are told who. An answer that the bot is giving ends; what had come of it is stored.
#[utoipa::path(
    post,
    path = "/api/conversation/{id}/claim",
    operation_id = "conversation_claim",
    tag = "Hand-over",
    params(("id" = i64, Path, minimum = 0)),
    request_body = ConversationClaim,
    responses(
        (status = 200, description = "The caller has it", body = ConversationHandled),
        (status = 400, description = "The id is malformed or unknown, or bad input", body = UpdateError),
        (status = 409, description = "Somebody else has it", body = Claimed)
    )
)]
async fn conversation_claim(
    State(service): State<Arc<Service>>,
    writer: Writer,
    log: AccessLog,
    PathId(id): PathId,
    OptionalBody(body): OptionalBody,
) -> Result<Response, Failure> {
    let id = conversation_id(&id)?;
    let ConversationClaim { force } =
        body.parse(ConversationApi, |input, _| ConversationClaim::read(input))?;
    let conversation = service.conversation_get_writable(&writer, id).await.map_err(ConversationApi)?;
    log.conversation(id);
    let changed = service.conversation_claim(&writer, conversation, force).await.map_err(ConversationApi)?;
    handled(&service, &writer, changed).await
}

/// Release a conversation
///
/// Gives it up: back into the queue, or to the bot. By its assignee or an admin; what nobody has, anybody gives to the bot.
#[utoipa::path(
    post,
    path = "/api/conversation/{id}/release",
    operation_id = "conversation_release",
    tag = "Hand-over",
    params(("id" = i64, Path, minimum = 0)),
    request_body = ConversationRelease,
    responses(
        (status = 200, description = "The conversation", body = ConversationHandled),
        (status = 400, description = "The id is malformed or unknown, or bad input", body = UpdateError),
        (status = 409, description = "Somebody else has it", body = Claimed)
    )
)]
async fn conversation_release(
    State(service): State<Arc<Service>>,
    writer: Writer,
    log: AccessLog,
    PathId(id): PathId,
    OptionalBody(body): OptionalBody,
) -> Result<Response, Failure> {
    let id = conversation_id(&id)?;
    let to = body.parse(ConversationApi, |input, _| ConversationRelease::read(input))?.handler();
    let conversation = service.conversation_get_writable(&writer, id).await.map_err(ConversationApi)?;
    log.conversation(id);
    let changed = service.conversation_release(&writer, conversation, to).await.map_err(ConversationApi)?;
    handled(&service, &writer, changed).await
}

/// Stop the answer that a bot is giving
///
/// What had come of it is stored, and its asker gets that. Where there is nothing to stop, nothing is done.
#[utoipa::path(
    delete,
    path = "/api/conversation/{id}/answer",
    operation_id = "conversation_answer_stop",
    tag = "Hand-over",
    params(("id" = i64, Path, minimum = 0)),
    responses(
        (status = 200, description = "The conversation", body = ConversationHandled),
        (status = 400, description = "The id is malformed or unknown", body = IdInvalid)
    )
)]
async fn conversation_answer_stop(
    State(service): State<Arc<Service>>,
    writer: Writer,
    log: AccessLog,
    PathId(id): PathId,
) -> Result<Response, Failure> {
    let id = conversation_id(&id)?;
    let conversation = service.conversation_get_writable(&writer, id).await.map_err(ConversationApi)?;
    log.conversation(id);
    service.conversation_answer_stop(&conversation).await.map_err(ConversationApi)?;
    let last = service.message_last(conversation.readable()).await.map_err(ConversationApi)?;
    handled(&service, &writer, (conversation.into_inner(), last)).await
}

#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "its shape is for the OpenAPI document")]
enum SeenError {
    Id(IdInvalid),
    Fields(crate::contract::errors::ValidationError),
}

/// Tell how far a conversation was read
///
/// Moves the caller's own mark, by which its unread messages are counted: forward, never back.
#[utoipa::path(
    post,
    path = "/api/conversation/{id}/seen",
    operation_id = "conversation_seen",
    tag = "Hand-over",
    params(("id" = i64, Path, minimum = 0)),
    request_body = Seen,
    responses(
        (status = 200, description = "Where the mark is now", body = ConversationSeen),
        (status = 400, description = "An id is malformed or unknown, or bad input", body = SeenError)
    )
)]
async fn conversation_seen(
    State(service): State<Arc<Service>>,
    MarkingReader(reader): MarkingReader,
    log: AccessLog,
    PathId(id): PathId,
    body: Body,
) -> Result<Response, Failure> {
    let id = conversation_id(&id)?;
    let Seen { up_to } = body.parse(ConversationApi, |input, _| Seen::read(input))?;
    let up_to = up_to.map_err(|_| ConversationApi(Error::NotFound(Missing::Message)))?;
    let conversation = service.conversation_get(&reader, id).await.map_err(ConversationApi)?;
    log.conversation(id);
    let seen = service.conversation_seen(&reader, conversation, up_to).await.map_err(ConversationApi)?;
    Ok(json_body::ok(&ConversationSeen::new(id, seen)))
}

/// Tell that an operator types
///
/// The visitor's page and the streams that name the conversation are told with `typing`, by `agent`. Nothing is stored; of
/// several calls within 3 seconds one counts.
#[utoipa::path(
    post,
    path = "/api/conversation/{id}/typing",
    operation_id = "conversation_typing",
    tag = "Hand-over",
    params(("id" = i64, Path, minimum = 0)),
    responses(
        (status = 200, description = "Told", body = ConversationTyping),
        (status = 400, description = "The id is malformed or unknown", body = IdInvalid)
    )
)]
async fn conversation_typing(
    State(service): State<Arc<Service>>,
    writer: Writer,
    log: AccessLog,
    PathId(id): PathId,
) -> Result<Response, Failure> {
    let id = conversation_id(&id)?;
    let conversation = service.conversation_get_writable(&writer, id).await.map_err(ConversationApi)?;
    log.conversation(id);
    service.conversation_typing(&conversation);
    Ok(json_body::ok(&ConversationTyping::new(id)))
}

/// Bring a deleted conversation back
///
/// With its messages, while the time that its deletion was given with `undo` lasts. One that is there stays as it is. Where
/// its assignee is gone meanwhile, it comes back into the queue.
#[utoipa::path(
    post,
    path = "/api/conversation/{id}/restore",
    operation_id = "conversation_restore",
    tag = "Conversation API",
    params(("id" = i64, Path, minimum = 0)),
    responses(
        (status = 200, description = "The conversation", body = ConversationHandled),
        (status = 400, description = "The id is malformed or unknown, or the time is over", body = IdInvalid)
    )
)]
async fn conversation_restore(
    State(service): State<Arc<Service>>,
    writer: Writer,
    log: AccessLog,
    PathId(id): PathId,
) -> Result<Response, Failure> {
    let id = conversation_id(&id)?;
    let restored = service.conversation_restore(&writer, id).await.map_err(ConversationApi)?;
    log.conversation(id);
    handled(&service, &writer, restored).await
}

/// Ask for people
///
/// Hands the conversation over into the queue of the operators. An answer that the bot is giving ends. Where people have it
/// already, nothing is done.
#[utoipa::path(
    post,
    path = "/api/questions/{session_id}/handover",
    operation_id = "question_handover",
    tag = "Hand-over",
    params(("session_id" = String, Path, format = "uuid")),
    responses(
        (status = 200, description = "People have it", body = QuestionHandled),
        (status = 400, description = "Bad input", body = ValidationFailure),
        (status = 403, description = "Visitors may not hand over the conversations of this bot", body = Refused),
        (status = 404, description = "The session is unknown", body = Refused),
        (status = 429, description = "Too many signals", body = Refused, headers(("Retry-After" = u64)))
    ),
    security(())
)]
async fn question_handover(
    State(service): State<Arc<Service>>,
    asker: Asker,
    log: AccessLog,
    PathId(session): PathId,
) -> Result<Response, Failure> {
    let session_id = session_id(&session)?;
    let conversation = service.question_handover(&asker, session_id).await.map_err(ChatbotApi)?;
    log.conversation(conversation.id);
    Ok(json_body::ok(&QuestionHandled::new(&conversation)))
}

/// Stop the answer that the bot is giving
///
/// What had come of it is stored, and its question is answered with that. Where there is nothing to stop, nothing is done.
#[utoipa::path(
    delete,
    path = "/api/questions/{session_id}/answer",
    operation_id = "question_answer_stop",
    tag = "Hand-over",
    params(("session_id" = String, Path, format = "uuid")),
    responses(
        (status = 200, description = "The conversation", body = QuestionHandled),
        (status = 400, description = "Bad input", body = ValidationFailure),
        (status = 404, description = "The session is unknown", body = Refused),
        (status = 429, description = "Too many signals", body = Refused, headers(("Retry-After" = u64)))
    ),
    security(())
)]
async fn question_answer_stop(
    State(service): State<Arc<Service>>,
    asker: Asker,
    log: AccessLog,
    PathId(session): PathId,
) -> Result<Response, Failure> {
    let session_id = session_id(&session)?;
    let conversation = service.question_answer_stop(&asker, session_id).await.map_err(ChatbotApi)?;
    log.conversation(conversation.id);
    Ok(json_body::ok(&QuestionHandled::new(&conversation)))
}

/// Tell what a visitor has seen
///
/// Moves the mark that operators are shown as `seenByVisitorUpTo`: forward, never back.
#[utoipa::path(
    post,
    path = "/api/questions/{session_id}/seen",
    operation_id = "question_seen",
    tag = "Hand-over",
    params(("session_id" = String, Path, format = "uuid")),
    request_body = Seen,
    responses(
        (status = 200, description = "Where the mark is now", body = QuestionSeen),
        (status = 400, description = "Bad input", body = VisitorSeenError),
        (status = 404, description = "The session is unknown", body = Refused),
        (status = 429, description = "Too many signals", body = Refused, headers(("Retry-After" = u64)))
    ),
    security(())
)]
async fn question_seen(
    State(service): State<Arc<Service>>,
    asker: Asker,
    log: AccessLog,
    PathId(session): PathId,
    body: Body,
) -> Result<Response, Failure> {
    let session_id = session_id(&session)?;
    let Seen { up_to } = body.parse(ChatbotApi, |input, _| Seen::read(input))?;
    let up_to = up_to.map_err(|_| Failure::MalformedId)?;
    let (id, seen) = service.question_seen(&asker, session_id, up_to).await.map_err(ChatbotApi)?;
    log.conversation(id);
    Ok(json_body::ok(&QuestionSeen::new(id, session_id, seen)))
}

/// Tell that the visitor types
///
/// The visitor's pages and the streams that name the conversation are told with `typing`, by `visitor`. Nothing is stored;
/// of several calls within 3 seconds one counts.
#[utoipa::path(
    post,
    path = "/api/questions/{session_id}/typing",
    operation_id = "question_typing",
    tag = "Hand-over",
    params(("session_id" = String, Path, format = "uuid")),
    responses(
        (status = 200, description = "Told", body = QuestionTyping),
        (status = 400, description = "Bad input", body = ValidationFailure),
        (status = 404, description = "The session is unknown", body = Refused),
        (status = 429, description = "Too many signals", body = Refused, headers(("Retry-After" = u64)))
    ),
    security(())
)]
async fn question_typing(
    State(service): State<Arc<Service>>,
    asker: Asker,
    log: AccessLog,
    PathId(session): PathId,
) -> Result<Response, Failure> {
    let session_id = session_id(&session)?;
    let joined = service.thread_join(&asker, session_id).await.map_err(ChatbotApi)?;
    log.conversation(joined.id);
    service.question_typing(&joined).map_err(ChatbotApi)?;
    Ok(json_body::ok(&QuestionTyping::new(joined.id, session_id)))
}

#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "its shape is for the OpenAPI document")]
enum VisitorSeenError {
    Id(Refused),
    Fields(ValidationFailure),
}

async fn handled(
    service: &Service,
    writer: &Writer,
    (conversation, last): (model::Conversation, Option<model::Message>),
) -> Result<Response, Failure> {
    let unread = service
        .conversation_unread_of_changed(writer.reader(), &conversation)
        .await
        .map_err(ConversationApi)?;
    let conversation = Conversation::new(&conversation, last.as_ref(), Some(unread));
    Ok(json_body::ok(&ConversationHandled::new(conversation)))
}
