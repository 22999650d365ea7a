//! Who calls, and with which role and bots: people, programs and visitors.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Author, AuthorKind, KeyId, Timestamp, UserId};

/// What a person or a program may do. Each role includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Also writes conversations and messages.
    Agent,
    /// Also manages people and keys.
    Admin,
}

/// The API that answers a program's key on the paths that both documents have, such as `/api/conversation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Api {
    Chatbot,
    Conversation,
}

/// A text is not one of an enum's names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is not one of {}", known.join(", "))]
pub struct UnknownWord {
    pub word: String,
    pub known: &'static [&'static str],
}

/// Gives an enum its names on the wire and in the database: `as_str`, `Display`, `FromStr` and the list `WORDS`.
macro_rules! string_enum {
    ($type:ident { $($variant:ident = $word:literal),* }) => {
        impl $type {
            pub const WORDS: &'static [&'static str] = &[$($word),*];

            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $($type::$variant => $word),* }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $type {
            type Err = UnknownWord;

            fn from_str(word: &str) -> Result<Self, UnknownWord> {
                match word {
                    $($word => Ok($type::$variant),)*
                    _ => Err(UnknownWord { word: word.to_owned(), known: Self::WORDS }),
                }
            }
        }
    };
}
pub(super) use string_enum;

string_enum!(Role { Viewer = "viewer", Agent = "agent", Admin = "admin" });
string_enum!(Api { Chatbot = "chatbot", Conversation = "conversation" });

/// The bots whose conversations a person or a program sees.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Bots {
    All,
    Only(Vec<String>),
}

impl Bots {
    #[must_use]
    pub fn contain(&self, bot_id: &str) -> bool {
        match self {
            Bots::All => true,
            Bots::Only(bots) => bots.iter().any(|bot| bot == bot_id),
        }
    }

    /// The list, or `None` for all.
    #[must_use]
    pub fn list(&self) -> Option<&[String]> {
        match self {
            Bots::All => None,
            Bots::Only(bots) => Some(bots),
        }
    }
}

/// The sender of a request, after its credentials were checked.
#[derive(Debug, Clone)]
pub enum Caller {
    /// Without credentials: asks questions, and continues conversations whose session id it knows.
    Visitor,
    Person(Person),
    Program(Program),
}

impl Caller {
    /// The id as conversations carry it in `userId`: a person's number, or `key-<number>`; none for a visitor.
    #[must_use]
    pub fn id(&self) -> Option<String> {
        match self {
            Caller::Person(person) => Some(person.id.to_string()),
            Caller::Program(program) => Some(format!("key-{}", program.id)),
            Caller::Visitor => None,
        }
    }

    /// The author of this caller's messages; none for a visitor.
    #[must_use]
    pub fn author(&self) -> Option<Author> {
        let id = self.id()?;
        Some(match self {
            Caller::Person(person) => Author { id, kind: AuthorKind::Person, name: person.name.clone() },
            Caller::Program(program) => Author { id, kind: AuthorKind::Program, name: program.name.clone() },
            Caller::Visitor => return None,
        })
    }
}

/// A person with a cookie session.
#[derive(Debug, Clone)]
pub struct Person {
    pub id: UserId,
    pub email: String,
    /// The display name.
    pub name: String,
    pub role: Role,
    pub bots: Bots,
}

/// A program with an API key.
#[derive(Debug, Clone)]
pub struct Program {
    pub id: KeyId,
    pub name: String,
    pub role: Role,
    pub bots: Bots,
    pub api: Api,
}

/// A person as stored, with the hash of the password.
#[derive(Debug, Clone)]
pub struct User {
    pub person: Person,
    /// Argon2id in PHC form.
    pub password_hash: String,
    pub created_at: Timestamp,
}

#[derive(Debug, Clone)]
pub struct NewUser {
    /// In lower case.
    pub email: String,
    pub name: String,
    pub password_hash: String,
    pub role: Role,
    pub bots: Bots,
}

/// An API key as stored: never the key itself.
#[derive(Debug, Clone)]
pub struct Key {
    pub program: Program,
    pub created_at: Timestamp,
}

#[derive(Debug, Clone)]
pub struct NewKey {
    pub name: String,
    /// SHA-256 of the key.
    pub hash: [u8; 32],
    pub role: Role,
    pub bots: Bots,
    pub api: Api,
}
