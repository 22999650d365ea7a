//! The only place that turns errors into responses, in the shape and wording of the documents.

use std::time::Duration;

use axum::http::header::{HeaderMap, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use wicara_model::{FailureReason, QuestionIds, Violation};
use wicara_service::{Error, Missing, NotAskable};

use crate::contract::author::Author;
use crate::contract::errors::{
    BotUnavailable, BrokenRule, Forbidden, IdInvalid, NotAsked, QuestionRunning, Refused, TrialFailed,
    ValidationError, ValidationFailure,
};
use crate::contract::handover::Claimed;
use crate::contract::wording;
use crate::json_body;

/// `Retry-After` of a 503: the server is overloaded or its database is away.
const RETRY_AFTER_OVERLOAD: Duration = Duration::from_secs(2);

/// Why a request failed, and in which document's wording the response says so.
#[derive(Debug)]
pub enum Failure {
    /// In the wording of the Conversation API, which the Message API shares.
    ConversationApi(Error),
    /// In the wording of the Chatbot API. Endpoints that no document has use it too, since it has the more detailed
    /// errors.
    ChatbotApi(Error),
    /// A write with a person's cookie from a page of another origin. `hint`: what an operator may set whose page it is.
    ForeignPage {
        hint: Option<&'static str>,
    },
    /// An id that is no number, in the Chatbot API: it has an error of its own for that.
    MalformedId,
    /// From here on: refused before the path decides on a document.
    NoSuchPath,
    WrongMethod,
    /// The body did not arrive in time.
    TooSlow,
    TooLarge,
    NotJson,
    /// The body's transfer broke off.
    Broken,
    /// No `Host`, several, or a malformed one.
    BadHost,
    /// The bytes are no HTTP/1.1 request.
    NoRequest,
    /// The request line is too long.
    TargetTooLong,
    HeadTooLarge,
    AnotherVersion,
}

/// An error as it is sent: as a response, or as the last event of a stream.
pub struct ErrorBody {
    status: u16,
    /// JSON.
    pub body: Vec<u8>,
    /// Only for a response.
    headers: HeaderMap,
}

impl ErrorBody {
    fn new<T: Serialize>(status: u16, body: &T) -> Self {
        let body = serde_json::to_vec(body).expect("plain data serialises");
        Self { status, body, headers: HeaderMap::new() }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let ErrorBody { status, body, headers } = self.error_body();
        let mut response = json_body::json_bytes(status, body);
        response.headers_mut().extend(headers);
        response
    }
}

impl Failure {
    pub fn error_body(self) -> ErrorBody {
        match self {
            Failure::ConversationApi(error) => service_error(ErrorStyle::ConversationApi, error),
            Failure::ChatbotApi(error) => service_error(ErrorStyle::ChatbotApi, error),
            Failure::ForeignPage { hint } => forbidden(hint),
            Failure::MalformedId => refused(400, wording::VALIDATION_FAILURE, wording::INVALID_ID),
            Failure::NoSuchPath => refused(404, wording::NOT_FOUND, "There is nothing at this path."),
            Failure::WrongMethod => refused(405, "method not allowed", "The header Allow names the methods."),
            Failure::TooSlow => refused(408, "request timeout", "The body did not arrive in time."),
            Failure::TooLarge => {
                refused(413, "payload too large", "The body is larger than this server takes.")
            }
            Failure::NotJson => {
                refused(415, "unsupported media type", "The body has to be application/json.")
            }
            Failure::Broken => refused(400, "bad request", "The body could not be read."),
            Failure::BadHost => refused(400, "bad request", "The header Host has to name one host."),
            Failure::NoRequest => refused(400, "bad request", "This is no request of HTTP/1.1."),
            Failure::TargetTooLong => {
                refused(414, "uri too long", "The address is longer than this server takes.")
            }
            Failure::HeadTooLarge => refused(
                431,
                "request header fields too large",
                "The headers are more or larger than this server takes.",
            ),
            Failure::AnotherVersion => {
                refused(505, "http version not supported", "This server speaks HTTP/1.1 only.")
            }
        }
    }
}

#[derive(Clone, Copy)]
enum ErrorStyle {
    ConversationApi,
    ChatbotApi,
}

fn service_error(style: ErrorStyle, error: Error) -> ErrorBody {
    match error {
        Error::Invalid(violations) => invalid(style, &violations),
        Error::NotFound(missing) => not_found(style, missing),
        Error::Claimed(assignee) => {
            let assignee = Author::new(&assignee);
            let body = Claimed { status: 409, message: wording::CONFLICT, error: wording::CLAIMED, assignee };
            ErrorBody::new(409, &body)
        }
        Error::NotAskable(why) => {
            let error = match why {
                NotAskable::Running => "answering",
                NotAskable::WithPeople => "human",
                NotAskable::Answered => "answered",
            };
            ErrorBody::new(409, &NotAsked { status: 409, message: wording::CONFLICT, error })
        }
        Error::Exists => refused(409, "conflict", "That exists already."),
        Error::LastAdministrator => refused(409, "conflict", "The last administrator stays."),
        Error::KeyReused => {
            refused(422, "idempotency key reused", "This Idempotency-Key was used with another body before.")
        }
        Error::StillRunning { retry_after, question } => {
            let error = "The first request with this Idempotency-Key is still being answered.";
            let body = QuestionRunning::new(409, "still running", error, question);
            with_retry_after(retry_after, ErrorBody::new(409, &body))
        }
        Error::Unauthenticated => {
            let mut error = refused(401, wording::UNAUTHENTICATED, wording::UNAUTHENTICATED_ERROR);
            error.headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            error
        }
        Error::Forbidden => forbidden(None),
        Error::TooMany { retry_after } => with_retry_after(
            retry_after,
            refused(429, "too many requests", "More than the limits of this server allow. Try again later."),
        ),
        Error::BotFailed { question, reason, retry_after } => bot_unavailable(question, reason, retry_after),
        Error::TrialFailed { reason, retry_after } => {
            let (status, error) = failure_told(reason);
            let body = TrialFailed { status, message: wording::BOT_UNAVAILABLE, error, reason };
            bot_failed(status, retry_after, ErrorBody::new(status, &body))
        }
        Error::AnswerDelayed { question } => {
            let error = "The question is stored. Its answer will be, once the database is back.";
            let body = BotUnavailable::new(503, "answer delayed", error, question);
            with_retry_after(RETRY_AFTER_OVERLOAD, ErrorBody::new(503, &body))
        }
        Error::Stopping { question } => {
            let error = "The server stopped before the answer was stored.";
            let body = BotUnavailable::new(503, wording::BOT_UNAVAILABLE, error, question);
            with_retry_after(RETRY_AFTER_OVERLOAD, ErrorBody::new(503, &body))
        }
        Error::Unavailable => with_retry_after(
            RETRY_AFTER_OVERLOAD,
            refused(503, "unavailable", "The server cannot answer just now. Nothing was stored."),
        ),
        Error::OutcomeUnknown => with_retry_after(
            RETRY_AFTER_OVERLOAD,
            refused(
                503,
                "outcome unknown",
                "It is not known whether this was stored. Send it again with the same Idempotency-Key, or look \
                 before you send it again.",
            ),
        ),
        Error::Internal(cause) => {
            tracing::error!(cause, "internal error");
            internal()
        }
    }
}

/// The body of an internal error, which says nothing of its cause.
pub(super) fn internal() -> ErrorBody {
    refused(500, "internal error", "Something went wrong in the server.")
}

fn invalid(style: ErrorStyle, violations: &[Violation]) -> ErrorBody {
    let errors: Vec<_> = violations.iter().map(BrokenRule::from).collect();
    match style {
        ErrorStyle::ConversationApi => {
            ErrorBody::new(400, &ValidationError { status: 400, error: wording::VALIDATION_ERROR, errors })
        }
        ErrorStyle::ChatbotApi => ErrorBody::new(
            400,
            &ValidationFailure { status: 400, message: wording::VALIDATION_FAILURE, errors },
        ),
    }
}

fn not_found(style: ErrorStyle, missing: Missing) -> ErrorBody {
    match (style, missing) {
        (ErrorStyle::ConversationApi, Missing::Conversation) => id_invalid(wording::CONVERSATION_ID_INVALID),
        (ErrorStyle::ConversationApi, Missing::Message) => id_invalid(wording::MESSAGE_ID_INVALID),
        (_, Missing::Session) => refused(404, wording::SESSION_NOT_FOUND, wording::SESSION_NOT_FOUND_ERROR),
        (ErrorStyle::ChatbotApi, Missing::Conversation | Missing::Message)
        | (_, Missing::User | Missing::Key | Missing::Bot) => {
            refused(404, wording::NOT_FOUND, wording::NOT_FOUND_ERROR)
        }
    }
}

fn forbidden(hint: Option<&'static str>) -> ErrorBody {
    let (message, error) = (wording::FORBIDDEN, wording::FORBIDDEN_ERROR);
    ErrorBody::new(403, &Forbidden { status: 403, message, error, hint })
}

fn id_invalid(error: &'static str) -> ErrorBody {
    ErrorBody::new(400, &IdInvalid { status: 400, error })
}

/// What visitors learn of a bot's failure: never the bot's address, its error text or a secret.
fn bot_unavailable(question: QuestionIds, reason: FailureReason, retry_after: Option<Duration>) -> ErrorBody {
    let (status, error) = failure_told(reason);
    let body = BotUnavailable::new(status, wording::BOT_UNAVAILABLE, error, question);
    bot_failed(status, retry_after, ErrorBody::new(status, &body))
}

fn bot_failed(status: u16, retry_after: Option<Duration>, error: ErrorBody) -> ErrorBody {
    if status == 503 { with_retry_after(retry_after.unwrap_or(RETRY_AFTER_OVERLOAD), error) } else { error }
}

/// The status and the sentence for each reason.
fn failure_told(reason: FailureReason) -> (u16, &'static str) {
    match reason {
        FailureReason::Timeout => (504, "The bot did not answer in time."),
        FailureReason::Unreachable => (502, "The bot could not be reached."),
        FailureReason::Rejected => (502, "The bot answered with an error."),
        FailureReason::Unreadable => (502, "The bot's answer could not be understood."),
        FailureReason::Busy => (503, "Too many questions wait for the bot."),
        FailureReason::Suspended => (503, "The bot has failed too often and is left alone for a while."),
        FailureReason::Unconfigured => (502, "The bot of this conversation is not set up on this server."),
        FailureReason::Interrupted => (503, "The server stopped before the bot answered."),
        FailureReason::Stopped => (502, "The answer was stopped."),
    }
}

fn refused(status: u16, message: &'static str, error: &'static str) -> ErrorBody {
    ErrorBody::new(status, &Refused { status, message, error })
}

/// Adds `Retry-After`: whole seconds, rounded up, at least one.
fn with_retry_after(wait: Duration, mut error: ErrorBody) -> ErrorBody {
    let seconds = wait.as_millis().div_ceil(1000).max(1);
    let seconds = HeaderValue::from(u64::try_from(seconds).unwrap_or(u64::MAX));
    error.headers.insert(RETRY_AFTER, seconds);
    error
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use wicara_model::{Bounds, ConversationId, MessageId, Rule};

    use super::*;

    async fn shown(failure: Failure) -> (u16, Option<String>, String) {
        let response = failure.into_response();
        let (parts, body) = response.into_parts();
        let retry_after = parts.headers.get(RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned());
        let body = body.collect().await.unwrap().to_bytes();
        (parts.status.as_u16(), retry_after, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn each_document_says_in_its_own_words_what_is_missing() {
        use Failure::{ChatbotApi, ConversationApi};
        let conversation = || Error::NotFound(Missing::Conversation);
        let message = || Error::NotFound(Missing::Message);
        let session = || Error::NotFound(Missing::Session);
        for (failure, status, body) in [
            (ConversationApi(conversation()), 400, r#"{"status":400,"error":"ConversationId is Invalid"}"#),
            (ConversationApi(message()), 400, r#"{"status":400,"error":"MessageId is Invalid"}"#),
            (
                ChatbotApi(conversation()),
                404,
                r#"{"status":404,"message":"not found","error":"data not found"}"#,
            ),
            (ChatbotApi(message()), 404, r#"{"status":404,"message":"not found","error":"data not found"}"#),
            (
                ChatbotApi(session()),
                404,
                r#"{"status":404,"message":"Not found","error":"Conversation with your session_id is not found"}"#,
            ),
            (
                Failure::MalformedId,
                400,
                r#"{"status":400,"message":"Validation failure","error":"invalid id"}"#,
            ),
        ] {
            assert_eq!(shown(failure).await, (status, None, body.to_owned()));
        }
    }

    #[tokio::test]
    async fn each_document_lists_broken_rules_in_its_own_shape() {
        let error = || {
            Error::Invalid(vec![
                Violation::new("message", Rule::Required),
                Violation::new("limit", Bounds::Range { start: 1, stop: 100 }),
                Violation::new("botId", Bounds::MaxLength(64)),
                Violation::new("Idempotency-Key", Bounds::MinLength(16)),
                Violation::new("order", Bounds::Choices(&["asc", "desc"])),
            ])
        };
        let errors = [
            r#"{"rule":"required","field":"message","message":"required validation failed"}"#,
            r#"{"rule":"range","field":"limit","message":"range validation failed","args":{"start":1,"stop":100}}"#,
            r#"{"rule":"maxLength","field":"botId","message":"maxLength validation failed","args":{"maxLength":64}}"#,
            r#"{"rule":"minLength","field":"Idempotency-Key","message":"minLength validation failed","args":{"minLength":16}}"#,
            r#"{"rule":"enum","field":"order","message":"enum validation failed","args":{"choices":["asc","desc"]}}"#,
        ]
        .join(",");
        let (_, _, rooms) = shown(Failure::ConversationApi(error())).await;
        assert_eq!(rooms, format!(r#"{{"status":400,"error":"Validation Error","errors":[{errors}]}}"#));
        let (_, _, chatbot) = shown(Failure::ChatbotApi(error())).await;
        assert_eq!(
            chatbot,
            format!(r#"{{"status":400,"message":"Validation failure","errors":[{errors}]}}"#)
        );
    }

    #[tokio::test]
    async fn nobody_known_and_nobody_allowed() {
        let (status, _, body) = shown(Failure::ConversationApi(Error::Unauthenticated)).await;
        assert_eq!(status, 401);
        assert_eq!(body, r#"{"status":401,"message":"unauthenticated","error":"Unathorized"}"#);
        let (status, _, body) = shown(Failure::ChatbotApi(Error::Forbidden)).await;
        assert_eq!(status, 403);
        assert_eq!(body, r#"{"status":403,"message":"forbidden","error":"Forbidden"}"#);
    }

    #[tokio::test]
    async fn a_bot_that_fails_is_told_apart_by_status() {
        let question = QuestionIds {
            session_id: "1309c142-3535-45b2-acdf-8bfbe59c3b9a".parse().unwrap(),
            conversation_id: ConversationId(5),
            question_id: MessageId(15),
        };
        for (reason, retry_after, status, wait) in [
            (FailureReason::Rejected, None, 502, None),
            (FailureReason::Timeout, None, 504, None),
            (FailureReason::Busy, None, 503, Some("2")),
            (FailureReason::Suspended, Some(Duration::from_millis(14_500)), 503, Some("15")),
        ] {
            let (shown_status, retry_after, body) =
                shown(Failure::ChatbotApi(Error::BotFailed { question, reason, retry_after })).await;
            assert_eq!((shown_status, retry_after.as_deref()), (status, wait));
            assert!(
                body.starts_with(&format!(r#"{{"status":{status},"message":"bot unavailable","error":"#)),
                "{body}"
            );
            let ids = r#""session_id":"1309c142-3535-45b2-acdf-8bfbe59c3b9a","conversation_id":5,"question_id":15}"#;
            assert!(body.ends_with(ids), "{body}");
        }
    }

    #[tokio::test]
    async fn what_is_ours_to_mend_is_not_told() {
        let (status, _, body) = shown(Failure::ChatbotApi(Error::Internal("table messages".into()))).await;
        assert_eq!(status, 500);
        assert!(!body.contains("table"), "{body}");
    }

    #[tokio::test]
    async fn a_wait_is_rounded_up_to_whole_seconds() {
        for (millis, seconds) in [(0, "1"), (1, "1"), (1000, "1"), (1001, "2"), (39_500, "40")] {
            let retry_after = Duration::from_millis(millis);
            let error = Error::StillRunning { retry_after, question: None };
            assert_eq!(shown(Failure::ChatbotApi(error)).await.1.as_deref(), Some(seconds));
        }
    }
}
