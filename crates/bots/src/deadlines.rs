//! The time-outs of a bot's calls: for the first token of each attempt, and for the whole answer with its retries.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::Error;

#[derive(Debug, Clone, Copy)]
pub struct TimeOuts {
    /// For the whole answer, retries included.
    pub answer: Duration,
    /// For the first token of one attempt.
    pub first_token: Duration,
}

/// The deadline of one call, for all its attempts.
#[derive(Debug, Clone, Copy)]
pub struct CallDeadline {
    time_outs: TimeOuts,
    at: Instant,
}

/// The deadlines of one attempt.
#[derive(Debug, Clone, Copy)]
pub struct AttemptDeadlines {
    call: CallDeadline,
    first_token: Instant,
}

impl TimeOuts {
    /// Starts a call.
    pub fn start(self) -> CallDeadline {
        CallDeadline { time_outs: self, at: Instant::now() + self.answer }
    }
}

impl CallDeadline {
    pub fn start_attempt(self) -> AttemptDeadlines {
        let first_token = Instant::now() + self.time_outs.first_token;
        AttemptDeadlines { call: self, first_token: first_token.min(self.at) }
    }

    pub fn remaining(self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }
}

impl AttemptDeadlines {
    /// Waits for the bot's next item. `has_begun`: whether the first token was there already. [`Error::Timeout`] has the
    /// time-out that passed.
    pub async fn limit<T>(self, item: impl Future<Output = T>, has_begun: bool) -> Result<T, Error> {
        let CallDeadline { time_outs, at } = self.call;
        let until = if has_begun { at } else { self.first_token };
        let passed = if until == at { time_outs.answer } else { time_outs.first_token };
        timeout_at(until, item).await.map_err(|_| Error::Timeout(passed))
    }
}
