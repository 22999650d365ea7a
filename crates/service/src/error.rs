//! What a caller can do about it when a call fails.

use std::time::Duration;

use uuid::Uuid;
use wicara_model::{FailureReason, Violation};
use wicara_store as store;

/// What was not found, because the answer's wording depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    Conversation,
    Message,
    /// A session id that matches no conversation which the caller may go on with.
    Session,
    User,
    Key,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Unknown, or invisible to the caller: the two are never told apart.
    #[error("not found")]
    NotFound(Missing),
    #[error("invalid input")]
    Invalid(Vec<Violation>),
    /// The idempotency key was used with another body.
    #[error("the idempotency key was used with another body")]
    KeyReused,
    /// The first request with this idempotency key is still being answered.
    #[error("the first request with this key is still being answered")]
    StillRunning { retry_after: Duration },
    /// Somebody has the e-mail, or a key the name.
    #[error("already there")]
    Exists,
    #[error("unauthenticated")]
    Unauthenticated,
    #[error("forbidden")]
    Forbidden,
    /// More than the limits allow: nothing was done.
    #[error("too many")]
    TooMany { retry_after: Duration },
    /// The question is stored with its failure.
    #[error("the bot gave no answer: {reason}")]
    BotFailed {
        session_id: Uuid,
        reason: FailureReason,
        /// When it is worth asking again, where that is known.
        retry_after: Option<Duration>,
    },
    /// The question is stored, and its answer will be once the database is back.
    #[error("the answer is delayed")]
    AnswerDelayed { session_id: Uuid },
    /// The question is stored, and the server stops before its answer is.
    #[error("the server stops")]
    Stopping { session_id: Uuid },
    /// Overloaded, the database away, or shutting down: nothing was stored.
    #[error("unavailable")]
    Unavailable,
    /// The database went away in the middle of a commit, or the server stopped: it may be stored or not.
    #[error("the outcome is not known")]
    OutcomeUnknown,
    /// Ours to mend: for the log, never for the caller.
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
