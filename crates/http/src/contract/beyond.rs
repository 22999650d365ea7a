//! What stands beyond the three documents: a visitor's own conversation, people's sessions, health.

use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;
use wicara_model::{
    self as model, Api, Caller, Handler, Json, KeyId, MessageId, Person, Program, Role, Timestamp, UserId,
};

use super::{shown, wording};
use crate::input::{EMAIL, Input, PASSWORD};
use crate::query::Query;

/// `GET /api/questions/:session_id`: the query.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "its shape is for the OpenAPI document")]
pub struct ThreadQuery {
    /// Only messages with ids below this one.
    #[param(minimum = 0)]
    pub before: Option<i64>,
}

impl ThreadQuery {
    pub fn read(query: &mut Query) -> Option<MessageId> {
        query.id("before").map(MessageId)
    }
}

/// `GET /api/questions/:session_id`: the answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct ThreadDetail<'a> {
    #[schema(example = 200)]
    status: u16,
    #[schema(example = "success")]
    message: &'static str,
    data: Thread<'a>,
}

/// What a visitor sees of its conversation.
#[derive(Debug, Serialize, ToSchema)]
struct Thread<'a> {
    #[schema(value_type = String, format = "uuid")]
    session_id: Uuid,
    /// `bot`, or `human` while an operator answers.
    #[schema(value_type = String, pattern = "^(bot|human)$", example = "bot")]
    handler: Handler,
    /// The newest 50, oldest first.
    messages: Vec<ThreadMessage<'a>>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ThreadMessage<'a> {
    #[schema(value_type = i64, example = 16)]
    id: MessageId,
    #[schema(example = "client")]
    role: &'a str,
    #[schema(example = "halo")]
    text: &'a str,
    /// A bot's whole answer object, exactly as it sent it but for what not every JSON reader takes.
    #[schema(required, value_type = Option<Object>)]
    payload: Option<&'a Json>,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime, example = "2025-07-14T05:13:36.351+00:00")]
    created_at: Timestamp,
}

impl ThreadDetail<'_> {
    #[must_use]
    pub fn new(session_id: Uuid, handler: Handler) -> Self {
        let data = Thread { session_id, handler, messages: Vec::new() };
        Self { status: 200, message: wording::SUCCESS, data }
    }
}

impl<'a> ThreadMessage<'a> {
    #[must_use]
    pub fn new(message: &'a model::Message) -> Self {
        Self {
            id: message.id,
            role: &message.role,
            text: &message.text,
            payload: message.payload.as_ref(),
            created_at: message.created_at,
        }
    }
}

/// `POST /api/auth/login`: the request.
#[derive(ToSchema)]
#[schema(example = json!({ "email": "admin@localhost", "password": "…" }))]
pub struct Credentials {
    #[schema(max_length = 254)]
    pub email: String,
    #[schema(max_length = 1024, format = Password)]
    pub password: String,
}

impl Credentials {
    pub fn read(input: &mut Input) -> Self {
        Self { email: input.required(EMAIL), password: input.required(PASSWORD) }
    }
}

/// `POST /api/auth/login`: the answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct LoggedIn<'a> {
    #[schema(example = 200)]
    status: u16,
    #[schema(example = "success")]
    message: &'static str,
    data: Account<'a>,
}

impl<'a> LoggedIn<'a> {
    #[must_use]
    pub fn new(person: &'a Person) -> Self {
        Self { status: 200, message: wording::SUCCESS, data: Account::new(person) }
    }
}

/// A person.
#[derive(Debug, Serialize, ToSchema)]
struct Account<'a> {
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, pattern = "^[0-9]+$", example = "1")]
    id: UserId,
    #[schema(example = "admin@localhost")]
    email: &'a str,
    /// `viewer`, `agent` or `admin`.
    #[schema(value_type = String, pattern = "^(viewer|agent|admin)$", example = "admin")]
    role: Role,
    /// The bots whose conversations it sees; null: all.
    #[schema(required)]
    bots: Option<&'a [String]>,
}

impl<'a> Account<'a> {
    fn new(person: &'a Person) -> Self {
        Self { id: person.id, email: &person.email, role: person.role, bots: person.bots.list() }
    }
}

/// A program.
#[derive(Debug, Serialize, ToSchema)]
struct KeyHolder<'a> {
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, pattern = "^[0-9]+$", example = "1")]
    id: KeyId,
    #[schema(example = "dashboard")]
    name: &'a str,
    /// `viewer`, `agent` or `admin`.
    #[schema(value_type = String, pattern = "^(viewer|agent|admin)$", example = "viewer")]
    role: Role,
    /// The bots whose conversations it sees; null: all.
    #[schema(required)]
    bots: Option<&'a [String]>,
    /// Which document answers it on the shared paths: `chatbot` or `conversation`.
    #[schema(value_type = String, pattern = "^(chatbot|conversation)$", example = "chatbot")]
    api: Api,
}

impl<'a> KeyHolder<'a> {
    fn new(program: &'a Program) -> Self {
        Self {
            id: program.id,
            name: &program.name,
            role: program.role,
            bots: program.bots.list(),
            api: program.api,
        }
    }
}

/// `GET /api/auth/me`: the answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct Me<'a> {
    #[schema(example = 200)]
    status: u16,
    #[schema(example = "success")]
    message: &'static str,
    data: Known<'a>,
}

/// Whoever called.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum Known<'a> {
    Person(Account<'a>),
    Program(KeyHolder<'a>),
}

impl<'a> Me<'a> {
    /// `None` for a visitor, who is nobody known.
    #[must_use]
    pub fn new(caller: &'a Caller) -> Option<Self> {
        let data = match caller {
            Caller::Visitor => return None,
            Caller::Person(person) => Known::Person(Account::new(person)),
            Caller::Program(program) => Known::Program(KeyHolder::new(program)),
        };
        Some(Self { status: 200, message: wording::SUCCESS, data })
    }
}

/// An answer that says no more than that it went well.
#[derive(Debug, Serialize, ToSchema)]
pub struct Done {
    #[schema(example = 200)]
    status: u16,
    #[schema(example = "success")]
    message: &'static str,
}

impl Done {
    #[must_use]
    pub fn new() -> Self {
        Self { status: 200, message: wording::SUCCESS }
    }
}
