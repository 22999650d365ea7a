//! People's cookie sessions and `GET /api/auth/me`. The three documents do not have them.

use serde::Serialize;
use utoipa::ToSchema;
use wicara_model::{Api, Caller, KeyId, Person, Program, Role, UserId};

use super::{shown, wording};
use crate::input::{EMAIL, Input, NEW_PASSWORD, OLD_PASSWORD, PASSWORD};

/// `POST /api/auth/login`: the request.
#[derive(ToSchema)]
#[schema(as = Credentials, example = json!({ "email": "admin@localhost", "password": "…" }))]
pub struct LoginRequest {
    #[schema(max_length = 254)]
    pub email: String,
    #[schema(max_length = 1024, format = Password)]
    pub password: String,
}

impl LoginRequest {
    pub fn read(input: &mut Input) -> Self {
        Self { email: input.required(EMAIL), password: input.required(PASSWORD) }
    }
}

/// `POST /api/auth/password`: the request.
#[derive(ToSchema)]
#[schema(example = json!({ "old": "…", "new": "…" }))]
pub struct PasswordChange {
    #[schema(max_length = 1024, format = Password)]
    pub old: String,
    #[schema(min_length = 8, max_length = 1024, format = Password)]
    pub new: String,
}

impl PasswordChange {
    pub fn read(input: &mut Input) -> Self {
        Self { old: input.required(OLD_PASSWORD), new: input.required(NEW_PASSWORD) }
    }
}

/// `POST /api/auth/logout`: the request, which may be left out.
#[derive(Debug, ToSchema)]
#[schema(example = json!({}))]
pub struct Logout {
    /// Ends all of the person's sessions, and not this one alone.
    #[schema(value_type = Option<bool>)]
    pub everywhere: bool,
}

impl Logout {
    pub fn read(input: &mut Input) -> Self {
        Self { everywhere: input.flag("everywhere") }
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
    /// The display name: what stands before the @ of the e-mail, unless another was given.
    #[schema(example = "admin")]
    name: &'a str,
    /// `viewer`, `agent` or `admin`.
    #[schema(value_type = String, pattern = "^(viewer|agent|admin)$", example = "admin")]
    role: Role,
    /// The bots whose conversations it sees; null: all.
    #[schema(required)]
    bots: Option<&'a [String]>,
}

impl<'a> Account<'a> {
    fn new(person: &'a Person) -> Self {
        Self {
            id: person.id,
            email: &person.email,
            name: &person.name,
            role: person.role,
            bots: person.bots.list(),
        }
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
    /// `None` for a visitor.
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
