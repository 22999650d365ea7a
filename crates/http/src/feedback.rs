//! `/api/questions/:session_id/messages/:id/feedback`: what visitors think of answers, from pages of any origin.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wicara_service::{Asker, Service};

use crate::access_log::AccessLog;
use crate::body::Body;
use crate::contract::errors::{Refused, ValidationFailure};
use crate::contract::feedback::{AnswerFeedback, FeedbackKept};
use crate::error::Failure::{self, ChatbotApi};
use crate::questions::session_id;
use crate::{Http, json_body};

pub fn routes() -> OpenApiRouter<Http> {
    OpenApiRouter::new().routes(routes!(question_feedback))
}

#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "its shape is for the OpenAPI document")]
enum FeedbackError {
    Id(Refused),
    Fields(ValidationFailure),
}

/// Tell what one thinks of an answer
///
/// On a message of a bot or of an operator. Said again it counts anew; `value` 0 takes it back.
#[utoipa::path(
    put,
    path = "/api/questions/{session_id}/messages/{id}/feedback",
    operation_id = "question_feedback",
    tag = "Chatbot API",
    params(("session_id" = String, Path, format = "uuid"), ("id" = i64, Path, minimum = 0)),
    request_body = AnswerFeedback,
    responses(
        (status = 200, description = "The message", body = FeedbackKept),
        (status = 400, description = "An id is malformed, or bad input", body = FeedbackError),
        (status = 404, description = "The session is unknown, or has no such answer", body = Refused),
        (status = 429, description = "Too many signals in this conversation", body = Refused,
            headers(("Retry-After" = u64)))
    ),
    security(())
)]
async fn question_feedback(
    State(service): State<Arc<Service>>,
    asker: Asker,
    log: AccessLog,
    path: Result<Path<(String, String)>, PathRejection>,
    body: Body,
) -> Result<Response, Failure> {
    // What is not UTF-8 is malformed too.
    let (session, id) = path.map(|Path(ids)| ids).unwrap_or_default();
    let feedback = body.parse(ChatbotApi, |input, _| AnswerFeedback::read(input))?;
    let session_id = session_id(&session)?;
    let id = id.parse().map_err(|_| Failure::MalformedId)?;
    let (conversation, message) =
        service.message_feedback(&asker, session_id, id, feedback.said()).await.map_err(ChatbotApi)?;
    log.conversation(conversation);
    Ok(json_body::ok(&FeedbackKept::new(&message, service.shows_names())))
}
