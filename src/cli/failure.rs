//! Why a command failed, in a sentence that says what to do.

use std::fmt;
use std::process::ExitCode;

#[derive(Debug)]
pub(super) enum Failure {
    /// Exit code 1.
    Failed(anyhow::Error),
    /// Exit code 2: the command line is wrong.
    Usage(String),
    /// Exit code 0 without a message: the reader of stdout closed it, as `head` does.
    OutputClosed,
}

impl Failure {
    pub(super) fn failed(reason: impl fmt::Display) -> Self {
        Self::Failed(anyhow::Error::msg(reason.to_string()))
    }

    pub(super) fn usage(reason: impl Into<String>) -> Self {
        Self::Usage(reason.into())
    }

    pub(super) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Failed(_) => ExitCode::from(1),
            Self::Usage(_) => ExitCode::from(2),
            Self::OutputClosed => ExitCode::SUCCESS,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The alternate form shows the error with its causes on one line.
            Self::Failed(error) => write!(f, "{error:#}"),
            Self::Usage(reason) => f.write_str(reason),
            Self::OutputClosed => f.write_str("nobody reads stdout any more"),
        }
    }
}
