//! Why a call failed, in texts that are safe to log.

use std::fmt;
use std::time::Duration;

/// What is said of [`Error::WebPage`].
pub const WEB_PAGE: &str = "it is not JSON but a web page: is the address right?";

/// What is said of [`Error::NoFrames`].
pub const NO_FRAMES: &str = "it is neither a JSON object nor a stream of events";

/// Why a call got no usable reply. The text is for the log: it may name addresses, never secrets or a body.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    #[error("the server cannot be reached: {0}")]
    Unreachable(String),
    #[error("the server answered with status {status}")]
    Rejected {
        status: u16,
        /// From the server's `Retry-After` header.
        retry_after: Option<Duration>,
        body: ErrorText,
    },
    /// The body is longer than the caller allowed.
    #[error("the reply is larger than {max_bytes} bytes")]
    TooLarge { max_bytes: usize },
    #[error("the reply cannot be used: {0}")]
    Unreadable(String),
    #[error("the reply cannot be used: {WEB_PAGE}")]
    WebPage,
    /// No frame came, and what came is no stream of events either.
    #[error("the reply cannot be used: {NO_FRAMES}")]
    NoFrames { body: ErrorText },
}

/// The beginning of a server's error response, or of a reply that cannot be read. Only for an operator who tries a bot out, never for logs or visitors: it may
/// repeat what was sent to the server, even a key.
#[derive(Clone, PartialEq, Eq)]
pub struct ErrorText(String);

impl ErrorText {
    const CHARS: usize = 500;
    /// Enough of a body for them, also where each has four bytes.
    pub(crate) const BYTES: usize = 4 * Self::CHARS;

    /// Keeps the first 500 characters.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.trim().chars().take(Self::CHARS).collect())
    }

    /// Both texts, each behind what says where it is from.
    #[must_use]
    pub fn joined(parts: [(&str, &Self); 2]) -> Self {
        let parts = parts.iter().filter(|(_, text)| !text.0.is_empty());
        Self(parts.map(|(from, text)| format!("{from}: {}", text.0)).collect::<Vec<_>>().join(" | "))
    }

    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// Shows only the length, so that logging an error does not log the text.
impl fmt::Debug for ErrorText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} characters", self.0.chars().count())
    }
}
