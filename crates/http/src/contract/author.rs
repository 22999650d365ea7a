//! Who wrote a message, or has a conversation.

use serde::Serialize;
use utoipa::ToSchema;
use wicara_model::{self as model, AuthorKind};

/// Who wrote a message, or has a conversation, by the credentials of the request.
#[derive(Debug, Serialize, ToSchema)]
pub struct Author<'a> {
    /// As in `userId`: a person's number, or `key-` and a key's; a bot's id.
    #[schema(example = "5")]
    id: &'a str,
    #[serde(serialize_with = "super::shown")]
    #[schema(value_type = String, pattern = "^(person|program|bot)$", example = "person")]
    kind: AuthorKind,
    #[schema(example = "ani")]
    name: &'a str,
}

impl<'a> Author<'a> {
    #[must_use]
    pub fn new(author: &'a model::Author) -> Self {
        Self { id: &author.id, kind: author.kind, name: &author.name }
    }
}

/// The same as visitors are told of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuthorName<'a> {
    #[schema(example = "ani")]
    pub name: &'a str,
}
