//! Bots: what answers the public's questions.
//!
//! A kind of bot is a folder here and a variant of [`Kind`]. It gets a question as values and gives a stream of
//! parts; it never sees the store, the service or another bot.

mod documents;
mod entry;
mod http;
mod langflow;
mod openai;
mod registry;
mod settings;
mod table;

#[cfg(test)]
mod replay;

#[doc(hidden)]
pub mod hot;
pub mod tokens;

use std::time::Duration;

use futures_util::stream::BoxStream;
use wicara_model::{Answer, FailureReason, Question};
use wicara_outbound::{self as outbound, ErrorText, Suspended};

pub use entry::Entry;
pub use registry::{Registry, check};
pub use settings::{Kind, Settings};
pub use table::{ReadError, read};

/// What comes from a bot.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// A piece of the next answer's text, as soon as the bot has written it: for whoever looks on.
    Token(String),
    /// A whole answer: what is stored. Its text is what counts, whatever the tokens said.
    Answer(Answer),
}

/// Answers in their order, each as soon as it is complete, and before each as many tokens as the bot likes. The first
/// error ends the stream.
pub type Parts = BoxStream<'static, Result<Part, Error>>;

pub trait Bot: Send + Sync {
    fn ask(&self, question: Question) -> Parts;

    /// How many earlier messages the bot wants with a question.
    fn history(&self) -> usize {
        0
    }
}

/// Why a bot gave no answer. The text is for the log: it may name addresses, never secrets or what was said.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    #[error("the bot did not answer within {} s", .0.as_secs())]
    Timeout(Duration),
    #[error("the bot cannot be reached: {0}")]
    Unreachable(String),
    #[error("the bot answered with status {status}")]
    Rejected {
        status: u16,
        /// When the bot itself wants to be asked again.
        retry_after: Option<Duration>,
        body: ErrorText,
    },
    /// An error in the place of an answer.
    #[error("the bot said that it failed")]
    Failed(ErrorText),
    #[error("the bot's answer cannot be used: {0}")]
    Unreadable(String),
    #[error("too many questions wait for the bot")]
    Busy,
    /// The conversation's bot is not in the configuration any more.
    #[error("the bot is not in the configuration")]
    Unconfigured,
    /// The server stops.
    #[error("the server stopped before the bot had answered")]
    Interrupted,
    /// Its breaker is open.
    #[error("the bot failed too often and is not asked for now")]
    Suspended { retry_after: Duration },
}

impl From<outbound::Error> for Error {
    fn from(error: outbound::Error) -> Self {
        match error {
            outbound::Error::Unreachable(why) => Error::Unreachable(why),
            outbound::Error::Rejected { status, retry_after, body } => {
                Error::Rejected { status, retry_after, body }
            }
            outbound::Error::TooLarge { max_bytes } => Error::too_large(max_bytes),
            outbound::Error::Unreadable(why) => Error::Unreadable(why),
        }
    }
}

impl From<Suspended> for Error {
    fn from(Suspended { retry_after }: Suspended) -> Self {
        Error::Suspended { retry_after }
    }
}

impl Error {
    fn too_large(max_bytes: usize) -> Self {
        Error::Unreadable(format!("it is larger than {max_bytes} bytes, as much as max_answer_bytes allows"))
    }

    #[must_use]
    pub fn reason(&self) -> FailureReason {
        match self {
            Error::Timeout(_) => FailureReason::Timeout,
            Error::Unreachable(_) => FailureReason::Unreachable,
            Error::Rejected { .. } | Error::Failed(_) => FailureReason::Rejected,
            Error::Unreadable(_) => FailureReason::Unreadable,
            Error::Busy => FailureReason::Busy,
            Error::Unconfigured => FailureReason::Unconfigured,
            Error::Interrupted => FailureReason::Interrupted,
            Error::Suspended { .. } => FailureReason::Suspended,
        }
    }

    /// When it is worth asking again, where that is known.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Error::Rejected { retry_after, .. } => *retry_after,
            Error::Suspended { retry_after } => Some(*retry_after),
            _ => None,
        }
    }

    /// Whether the same question may well be answered in a moment.
    fn is_passing(&self) -> bool {
        match self {
            Error::Timeout(_) | Error::Unreachable(_) => true,
            Error::Rejected { status, .. } => matches!(status, 408 | 425 | 429 | 502 | 503 | 504),
            _ => false,
        }
    }

    /// Whether it says something about the bot rather than about one question.
    fn is_the_bots(&self) -> bool {
        match self {
            Error::Rejected { status, .. } => *status >= 500 || matches!(status, 401 | 403 | 404 | 408 | 429),
            Error::Timeout(_) | Error::Unreachable(_) => true,
            // It did answer; with some questions that is all that anybody gets.
            Error::Failed(_) | Error::Unreadable(_) => false,
            Error::Busy | Error::Unconfigured | Error::Interrupted | Error::Suspended { .. } => false,
        }
    }
}
