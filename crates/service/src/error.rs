//! The service's errors, in variants that say what the caller can do about them.

use std::time::Duration;

use wicara_model::{Author, FailureReason, QuestionIds, Violation};
use wicara_store as store;

/// The kind of thing that was not found: the wording of the answer depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    Conversation,
    Message,
    /// No conversation with this session id that the caller may continue.
    Session,
    User,
    Key,
    Bot,
}

/// Why the bot is not asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAskable {
    /// It is being asked.
    Running,
    /// People have the conversation.
    WithPeople,
    Answered,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Unknown, or outside the caller's scope: the answer is the same, so that nobody can probe for ids.
    #[error("not found")]
    NotFound(Missing),
    #[error("invalid input")]
    Invalid(Vec<Violation>),
    /// The idempotency key was used with another body.
    #[error("the idempotency key was used with another body")]
    KeyReused,
    /// The first request with this idempotency key is still being answered.
    #[error("the first request with this key is still being answered")]
    StillRunning {
        retry_after: Duration,
        /// The question that is being answered, for a caller that does not know its session: its key is as secret.
        question: Option<QuestionIds>,
    },
    /// The e-mail of a person, or the name of a key, is taken.
    #[error("already there")]
    Exists,
    /// Nobody could manage people afterwards.
    #[error("the last administrator")]
    LastAdministrator,
    /// The bot is not asked the stored question again: nothing was changed.
    #[error("a question cannot be asked again")]
    NotAskable(NotAskable),
    /// Somebody else has the conversation: nothing was changed.
    #[error("claimed by somebody else")]
    Claimed(Author),
    #[error("unauthenticated")]
    Unauthenticated,
    #[error("forbidden")]
    Forbidden,
    /// Beyond a rate limit: nothing was done.
    #[error("too many")]
    TooMany { retry_after: Duration },
    /// The question is stored with its failure.
    #[error("the bot gave no answer: {reason}")]
    BotFailed {
        question: QuestionIds,
        reason: FailureReason,
        /// `None`: unknown.
        retry_after: Option<Duration>,
    },
    /// A bot that was tried out failed. Nothing is stored.
    #[error("the bot that was tried out gave no answer: {reason}")]
    TrialFailed {
        reason: FailureReason,
        /// `None`: unknown.
        retry_after: Option<Duration>,
    },
    /// The question is stored. Its answer waits until the database is back.
    #[error("the answer is delayed")]
    AnswerDelayed { question: QuestionIds },
    /// The question is stored. The server stops before its answer is stored.
    #[error("the server stops")]
    Stopping { question: QuestionIds },
    /// Overloaded, the database away, or shutting down: nothing was stored.
    #[error("unavailable")]
    Unavailable,
    /// In doubt: the connection broke during a commit, or the server stopped. The write may be stored or not.
    #[error("the outcome is not known")]
    OutcomeUnknown,
    /// A fault of this program. The text is for the log, never for the caller.
    #[error("internal error: {0}")]
    Internal(String),
}

pub type Result<T> = std::result::Result<T, Error>;

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Unavailable(reason) => {
                tracing::warn!(reason, "the store is unavailable");
                Error::Unavailable
            }
            store::Error::Refused(reason) | store::Error::Locked(reason) => {
                tracing::warn!(reason, "the database refused");
                Error::Unavailable
            }
            store::Error::OutcomeUnknown(reason) => {
                tracing::warn!(reason, "the outcome of a write is not known");
                Error::OutcomeUnknown
            }
            error => Error::Internal(error.to_string()),
        }
    }
}
