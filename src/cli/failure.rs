//! Why a command did not do what it should, in a sentence that says what to do.

use std::fmt;
use std::process::ExitCode;

#[derive(Debug)]
pub(super) enum Failure {
    /// Exit code 1.
    Failed(anyhow::Error),
    /// Exit code 2: another command line would have worked.
    Usage(String),
    /// Exit code 0, and no word: stdout's reader went away and wants no more.
    Unread,
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
            Self::Unread => ExitCode::SUCCESS,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // With its causes, in one line.
            Self::Failed(error) => write!(f, "{error:#}"),
            Self::Usage(reason) => f.write_str(reason),
            Self::Unread => f.write_str("nobody reads stdout any more"),
        }
    }
}
