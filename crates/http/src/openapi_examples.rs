//! Examples of errors in the OpenAPI document: each response shows a body with its own status. The code that makes the
//! real bodies makes them too. A schema cannot hold them, since most errors share one.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::path::{HttpMethod, Operation};
use utoipa::openapi::{OpenApi, RefOr, Schema};
use uuid::Uuid;
use wicara_model::{
    Author, AuthorKind, Bounds, ConversationId, FailureReason, MessageId, QuestionIds, Rule, Violation,
};
use wicara_service::{Error, Missing, NotAskable};

use crate::error::{self, Failure};

/// The schemas that another one is any of, by its name.
pub struct Alternatives(HashMap<String, Vec<String>>);

/// An operation with a status that it may answer.
struct Place<'a> {
    method: &'a HttpMethod,
    path: &'a str,
    status: u16,
}

/// Gives an example to every response of an operation that is an error. One whose schema has alternatives gets one for
/// each.
pub fn add_error_examples(
    path: &str,
    method: &HttpMethod,
    operation: &mut Operation,
    alternatives: &Alternatives,
) {
    for (status, response) in &mut operation.responses.responses {
        let Some(status) = status.parse().ok().filter(|status| *status >= 400) else { continue };
        let place = Place { method, path, status };
        let RefOr::T(response) = response else { continue };
        let Some(RefOr::T(content)) = response.content.get_mut("application/json") else { continue };
        let Some(RefOr::Ref(schema)) = &content.schema else { continue };
        let names = alternatives.of(name_of(&schema.ref_location));
        let examples = names.into_iter().filter_map(|name| example(&name, &place).map(|body| (name, body)));
        let mut examples: Vec<_> = examples.collect();
        if examples.len() == 1 {
            content.example = examples.pop().map(|(_, body)| body);
        }
        let named =
            examples.into_iter().map(|(name, body)| (name, ExampleBuilder::new().value(Some(body)).into()));
        content.examples.extend(named);
    }
}

impl Alternatives {
    #[must_use]
    pub fn new(document: &OpenApi) -> Self {
        let schemas = document.components.iter().flat_map(|components| &components.schemas);
        let alternatives = schemas.filter_map(|(name, schema)| {
            let RefOr::T(Schema::AnyOf(any)) = schema else { return None };
            let names = any.items.iter().filter_map(|item| match item {
                RefOr::Ref(schema) => Some(name_of(&schema.ref_location).to_owned()),
                RefOr::T(_) => None,
            });
            Some((name.clone(), names.collect()))
        });
        Self(alternatives.collect())
    }

    /// Those of a schema; itself where it has none.
    fn of(&self, schema: &str) -> Vec<String> {
        self.0.get(schema).cloned().unwrap_or_else(|| vec![schema.to_owned()])
    }
}

fn name_of(reference: &str) -> &str {
    reference.rsplit('/').next().unwrap_or_default()
}

/// A body of this schema, as it is answered there.
fn example(schema: &str, place: &Place) -> Option<Value> {
    use Failure::{ChatbotApi, ConversationApi};
    let failure = match (schema, place.status) {
        ("ValidationError", 400) => ConversationApi(Error::Invalid(vec![place.violation()])),
        ("ValidationFailure", 400) => ChatbotApi(Error::Invalid(vec![place.violation()])),
        ("IdInvalid", 400) => ConversationApi(Error::NotFound(place.missing())),
        ("Refused", 400) => Failure::MalformedId,
        ("Refused", 401) => ChatbotApi(Error::Unauthenticated),
        ("Refused" | "Forbidden", 403) => ChatbotApi(Error::Forbidden),
        ("Refused", 404) => ChatbotApi(Error::NotFound(place.missing())),
        ("Refused", 408) => Failure::TooSlow,
        ("Refused", 409) => ChatbotApi(still_running(None)),
        ("NotAsked", 409) => ConversationApi(Error::NotAskable(NotAskable::Answered)),
        ("Claimed", 409) => ConversationApi(Error::Claimed(assignee())),
        ("QuestionRunning", 409) => ChatbotApi(still_running(Some(QUESTION))),
        ("Refused", 413) => Failure::TooLarge,
        ("Refused", 415) => Failure::NotJson,
        ("Refused", 422) => ChatbotApi(Error::KeyReused),
        ("Refused", 429) => ChatbotApi(Error::TooMany { retry_after: Duration::ZERO }),
        ("Refused", 500) => return serde_json::from_slice(&error::internal().body).ok(),
        ("Refused", 503) => ChatbotApi(Error::Unavailable),
        ("TrialFailed", 502) => ChatbotApi(trial_failed(FailureReason::Rejected)),
        ("TrialFailed", 503) => ChatbotApi(trial_failed(FailureReason::Busy)),
        ("TrialFailed", 504) => ChatbotApi(trial_failed(FailureReason::Timeout)),
        ("BotUnavailable", 502) => ChatbotApi(bot_failed(FailureReason::Rejected)),
        ("BotUnavailable", 503) => ChatbotApi(bot_failed(FailureReason::Busy)),
        ("BotUnavailable", 504) => ChatbotApi(bot_failed(FailureReason::Timeout)),
        _ => return None,
    };
    serde_json::from_slice(&failure.error_body().body).ok()
}

impl Place<'_> {
    /// A rule that a request there may break.
    fn violation(&self) -> Violation {
        match (self.method, self.path) {
            (_, "/api/widget") => Violation::new("bot", Rule::Exists),
            (_, "/api/auth/password") => Violation::new("old", Rule::Password),
            (_, "/api/auth/logout") => Violation::new("everywhere", Rule::Boolean),
            (HttpMethod::Get, "/api/questions/{session_id}") => Violation::new("session_id", Rule::Uuid),
            (HttpMethod::Get, path) if path.ends_with("/events") => {
                Violation::new("limit", Bounds::Range { start: 1, stop: 500 })
            }
            (_, path) if path.ends_with("/feedback") => {
                Violation::new("value", Bounds::Range { start: -1, stop: 1 })
            }
            (_, path) if path.ends_with("/seen") => Violation::new("upTo", Rule::Required),
            (_, path) if path.ends_with("/claim") => Violation::new("force", Rule::Boolean),
            (_, path) if path.ends_with("/release") => {
                Violation::new("to", Bounds::Choices(&["bot", "queue"]))
            }
            (_, path) if path.starts_with("/api/questions/") => Violation::new("session_id", Rule::Uuid),
            (HttpMethod::Get, _) => Violation::new("limit", Bounds::Range { start: 1, stop: 100 }),
            (_, "/api/auth/login") => Violation::new("email", Rule::Required),
            (_, path) if path.starts_with("/api/conversation") => {
                Violation::new("room", Bounds::MaxLength(255))
            }
            _ => Violation::new("message", Rule::Required),
        }
    }

    fn missing(&self) -> Missing {
        match self.path {
            path if path.starts_with("/api/message/") => Missing::Message,
            path if path.starts_with("/api/questions") => Missing::Session,
            path if path.starts_with("/api/bot") => Missing::Bot,
            _ => Missing::Conversation,
        }
    }
}

const QUESTION: QuestionIds = QuestionIds {
    session_id: Uuid::from_u128(0x1309c142_3535_45b2_acdf_8bfbe59c3b9a),
    conversation_id: ConversationId(5),
    question_id: MessageId(15),
};

fn assignee() -> Author {
    Author { id: "5".into(), kind: AuthorKind::Person, name: "ani".into() }
}

fn still_running(question: Option<QuestionIds>) -> Error {
    Error::StillRunning { retry_after: Duration::ZERO, question }
}

fn trial_failed(reason: FailureReason) -> Error {
    Error::TrialFailed { reason, retry_after: None }
}

fn bot_failed(reason: FailureReason) -> Error {
    Error::BotFailed { question: QUESTION, reason, retry_after: None }
}
