//! `/api/questions`: the public's questions, from pages of any origin.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;
use wicara_metrics::HttpMetrics;
use wicara_model::{Rule, Violation};
use wicara_service::{Asker, Description, Error, NewQuestion, Service};

use crate::access_log::AccessLog;
use crate::body::Body;
use crate::contract::chatbot_api::{AnswerEvent, Question, QuestionAnswered};
use crate::contract::errors::{BotUnavailable, QuestionRunning, Refused, ValidationFailure};
use crate::contract::visitor_thread::{ThreadDetail, ThreadMessage, ThreadQuery};
use crate::error::Failure::{self, ChatbotApi};
use crate::feed::with_cursor;
use crate::input;
use crate::json_body;
use crate::list_body::{self, Envelope};
use crate::path_id::PathId;
use crate::principals::AdmittedAsker;
use crate::query::Query;
use crate::request_memory::RequestMemory;
use crate::{Http, events};

pub fn routes() -> OpenApiRouter<Http> {
    OpenApiRouter::new().routes(routes!(question_ask)).routes(routes!(question_list))
}

#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "its shape is for the OpenAPI document")]
enum BusyError {
    Bot(BotUnavailable),
    Server(Refused),
}

/// Ask a question
///
/// Opens a conversation or goes on with one, and answers when the bot has answered. Nobody needs credentials; a program
/// that sends its key may say of a new conversation where it comes from. With `Accept: text/event-stream`
/// the answer is streamed: the event `session` once the question is stored, a `token` for each piece of text, then one
/// `message` (the JSON that is answered otherwise) or `error` (the JSON of the error).
#[utoipa::path(
    post,
    path = "/api/questions",
    operation_id = "question_ask",
    tag = "Chatbot API",
    params(("Idempotency-Key" = Option<String>, Header, pattern = "^[!-~]{1,255}$",
        description = "Makes a retry safe; for a visitor's first question at least 16 characters")),
    request_body = Question,
    responses(
        (status = 200, description = "The bot's answers", content(
            (QuestionAnswered = "application/json"),
            (AnswerEvent = "text/event-stream"))),
        (status = 400, description = "Bad input", body = ValidationFailure),
        (status = 404, description = "The session is unknown", body = Refused),
        (status = 409, description = "The first request with this key is still being answered",
            body = QuestionRunning, headers(("Retry-After" = u64))),
        (status = 422, description = "The key was used with another body", body = Refused),
        (status = 429, description = "Too many questions", body = Refused, headers(("Retry-After" = u64))),
        (status = 502, description = "The bot failed; the question is stored", body = BotUnavailable),
        (status = 503, description = "The bot is busy and the question is stored, or the server cannot answer",
            body = BusyError,
            headers(("Retry-After" = u64))),
        (status = 504, description = "The bot did not answer in time; the question is stored", body = BotUnavailable)
    ),
    security(())
)]
async fn question_ask(
    State(service): State<Arc<Service>>,
    State(metrics): State<Arc<HttpMetrics>>,
    AdmittedAsker(asker): AdmittedAsker,
    log: AccessLog,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let may_describe = asker.may_describe();
    let (question, idempotency) =
        body.parse(ChatbotApi, |input, body| (Question::read(input, may_describe), body.idempotency(input)))?;
    let Question { message: text, session_id, bot_id, integration_type, user_id, room } = question;
    let description = Description { integration_type, user_id, room };
    let question = NewQuestion { text, session_id, bot_id, description };
    let pending = service.question_ask(&asker, question, idempotency, &|id| log.conversation(id)).await;
    if let Err(Error::StillRunning { question: Some(first), .. }) = &pending {
        log.conversation(first.conversation_id);
    }
    let pending = pending.map_err(ChatbotApi)?;
    log.conversation(pending.question.conversation_id);
    if events::are_accepted(&headers) {
        return Ok(events::response(pending, &metrics));
    }
    let answered = pending.answered().await.map_err(ChatbotApi)?;
    Ok(json_body::ok(&QuestionAnswered::new(&answered)))
}

/// Show a conversation to its visitor
///
/// The newest 50 messages; `before` leads to older ones. Nobody needs credentials; agents' keys reach all conversations
/// of their bots.
#[utoipa::path(
    get,
    path = "/api/questions/{session_id}",
    operation_id = "question_list",
    tag = "Chatbot API",
    params(("session_id" = String, Path, format = "uuid"), ThreadQuery),
    responses(
        (status = 200, description = "The conversation", body = ThreadDetail,
            headers(("X-Wicara-Cursor" = String,
            description = "A position in the feed: everything up to it is in the answer"))),
        (status = 400, description = "Bad input", body = ValidationFailure),
        (status = 404, description = "The session is unknown", body = Refused)
    ),
    security(())
)]
async fn question_list(
    State(service): State<Arc<Service>>,
    asker: Asker,
    log: AccessLog,
    memory: RequestMemory,
    PathId(session): PathId,
    mut query: Query,
) -> Result<Response, Failure> {
    let before = ThreadQuery::read(&mut query);
    query.finish().map_err(ChatbotApi)?;
    let session_id = session_id(&session)?;
    let cursor = service.feed_cursor();
    let thread = service.question_list(&asker, session_id, before).await.map_err(ChatbotApi)?;
    log.conversation(thread.conversation.id);
    let envelope = Envelope::of(&ThreadDetail::new(&thread.conversation));
    let shows_names = thread.shows_names;
    let answer = list_body::list(&memory, envelope, thread.messages, ChatbotApi, move |items, message| {
        items.push(&ThreadMessage::new(message, shows_names));
    });
    Ok(with_cursor(answer.await?, &cursor))
}

/// The session in a path.
pub fn session_id(session: &str) -> Result<Uuid, Failure> {
    input::uuid(session).ok_or_else(|| {
        let violation = Violation::new("session_id", Rule::Uuid);
        ChatbotApi(Error::Invalid(vec![violation]))
    })
}
