//! Bots: what answers the public's questions.
//!
//! A kind of bot is a file here and a line in [`Kind`]. It gets a question as values and gives a stream of
//! answers; it never sees the store, the service or another bot.

mod http;
mod registry;
mod settings;

pub mod documents;

use std::time::Duration;

use futures_util::stream::BoxStream;
use uuid::Uuid;

use crate::model::{Answer, FailureReason, MessageId};

pub use http::Settings as HttpSettings;
pub use registry::{Entry, Registry, check};
pub use settings::{Kind, ReadError, Settings, read};

/// What a bot is asked.
#[derive(Debug, Clone)]
pub struct Question {
    /// The stored message, so that an answer can be given an id of its own.
    pub id: MessageId,
    /// The bot's own key to the conversation so far.
    pub session_id: Uuid,
    pub text: String,
}

/// Answers in their order, each as soon as it is complete. The first error ends the stream.
pub type Answers = BoxStream<'static, Result<Answer, Error>>;

pub trait Bot: Send + Sync {
    fn ask(&self, question: Question) -> Answers;
}

/// Why a bot gave no answer. The text is for the log: it may name addresses, never secrets.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the bot did not answer within its {} s", .0.as_secs())]
    Timeout(Duration),
    #[error("the bot cannot be reached: {0}")]
    Unreachable(String),
    #[error("the bot answered with status {status}")]
    Rejected { status: u16 },
    #[error("the bot's answer cannot be used: {0}")]
    Unreadable(String),
    #[error("too many questions wait for the bot")]
    Busy,
}

impl Error {
    fn too_large(max_answer_bytes: usize) -> Self {
        Error::Unreadable(format!("it is larger than {max_answer_bytes} bytes"))
    }

    #[must_use]
    pub fn reason(&self) -> FailureReason {
        match self {
            Error::Timeout(_) => FailureReason::Timeout,
            Error::Unreachable(_) => FailureReason::Unreachable,
            Error::Rejected { .. } => FailureReason::Rejected,
            Error::Unreadable(_) => FailureReason::Unreadable,
            Error::Busy => FailureReason::Busy,
        }
    }
}
