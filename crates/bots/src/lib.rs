//! Bots: what answers the public's questions.
//!
//! A kind of bot is a module here and a variant of [`Kind`]. It turns a question into an [`AnswerStream`], and sees neither
//! the store, the service nor another bot. [`ConfiguredBot`] adds the rules that hold for every kind; [`Registry`] holds all
//! bots by id.

mod answer_collector;
mod configured_bot;
mod deadlines;
mod documents;
mod failures;
mod field_name;
mod http;
mod langflow;
mod openai;
mod origins;
mod pieces;
mod question_key;
mod recent_calls;
mod registry;
mod settings;
mod shown;
mod table;
mod thoughts;
mod widget;

#[cfg(test)]
mod oddities;
#[cfg(test)]
mod replay;

#[doc(hidden)]
pub mod bench_api;
pub mod tokens;

use std::time::Duration;

use futures_util::stream::BoxStream;
use wicara_model::{Answer, FailureReason, Question};
use wicara_outbound::{self as outbound, ErrorText, NO_FRAMES, Suspended, WEB_PAGE};

pub use answer_collector::ANSWER_SEPARATOR;
pub use configured_bot::{BotStatus, ConfiguredBot};
pub use origins::origin;
pub use recent_calls::Times;
pub use registry::{Registry, check};
pub use settings::{Kind, Settings};
pub use table::{ReadError, read};
pub use wicara_outbound::BreakerState;
pub use widget::Widget;

/// One item of a bot's [`AnswerStream`].
#[derive(Debug, Clone, PartialEq)]
pub enum StreamItem {
    /// The next text of the answer under way, to be shown while the bot still writes. It is not stored.
    Token(String),
    /// A complete answer, to be stored. Its text replaces the tokens before it, also where the two differ.
    Answer(Answer),
}

/// Answers in their order, each when it is complete and after any number of its tokens. The first error ends the stream.
pub type AnswerStream = BoxStream<'static, Result<StreamItem, Error>>;

/// A bot of some kind, without limits of its own: [`ConfiguredBot`] adds them.
pub trait Bot: Send + Sync {
    /// Calls the bot once. Nothing is sent before the stream is polled, and dropping the stream abandons the call.
    fn ask(&self, question: Question) -> AnswerStream;

    /// The number of earlier messages that the bot wants with a question.
    fn history(&self) -> usize {
        0
    }
}

/// Why a bot gave no answer. The text is for the log: it may name hosts, never secrets or text of a conversation.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    #[error("the bot did not answer within {} s", .0.as_secs())]
    Timeout(Duration),
    #[error("the bot cannot be reached: {0}")]
    Unreachable(String),
    #[error("the bot answered with status {status}")]
    Rejected {
        status: u16,
        /// From the bot's `Retry-After` header.
        retry_after: Option<Duration>,
        body: ErrorText,
    },
    /// The bot answered with a success status and an error in the body.
    #[error("the bot said that it failed")]
    Failed(ErrorText),
    #[error("the bot's answer cannot be used: {0}")]
    Unreadable(String),
    /// The same, where the beginning of the answer may say more to an operator than the reason does.
    #[error("the bot's answer cannot be used: {why}")]
    NotJson { why: String, body: ErrorText },
    #[error("too many questions wait for the bot")]
    Busy,
    /// The conversation's bot is not in the configuration any more.
    #[error("the bot is not in the configuration")]
    Unconfigured,
    /// The server stops.
    #[error("the server stopped before the bot had answered")]
    Interrupted,
    /// The bot's circuit breaker is open.
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
            outbound::Error::WebPage => Error::Unreadable(WEB_PAGE.to_owned()),
            outbound::Error::NoFrames { body } => Error::NotJson { why: NO_FRAMES.to_owned(), body },
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

    /// The reason as it is stored with the question.
    #[must_use]
    pub fn reason(&self) -> FailureReason {
        match self {
            Error::Timeout(_) => FailureReason::Timeout,
            Error::Unreachable(_) => FailureReason::Unreachable,
            Error::Rejected { .. } | Error::Failed(_) => FailureReason::Rejected,
            Error::Unreadable(_) | Error::NotJson { .. } => FailureReason::Unreadable,
            Error::Busy => FailureReason::Busy,
            Error::Unconfigured => FailureReason::Unconfigured,
            Error::Interrupted => FailureReason::Interrupted,
            Error::Suspended { .. } => FailureReason::Suspended,
        }
    }

    /// The pause before a retry that the bot or its circuit breaker asks for.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Error::Rejected { retry_after, .. } => *retry_after,
            Error::Suspended { retry_after } => Some(*retry_after),
            _ => None,
        }
    }

    /// Whether a retry of the same question may succeed.
    fn is_transient(&self) -> bool {
        match self {
            Error::Timeout(_) | Error::Unreachable(_) => true,
            Error::Rejected { status, .. } => matches!(status, 408 | 425 | 429 | 502 | 503 | 504),
            _ => false,
        }
    }

    /// Whether the circuit breaker counts it: the bot as a whole fails, not only this question.
    fn counts_for_breaker(&self) -> bool {
        match self {
            Error::Rejected { status, .. } => *status >= 500 || matches!(status, 401 | 403 | 404 | 408 | 429),
            Error::Timeout(_) | Error::Unreachable(_) => true,
            // The bot works: a certain question may always get such an answer.
            Error::Failed(_) | Error::Unreadable(_) | Error::NotJson { .. } => false,
            Error::Busy | Error::Unconfigured | Error::Interrupted | Error::Suspended { .. } => false,
        }
    }
}
