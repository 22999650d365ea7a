//! Exponential backoff with jitter between retries.

use std::time::Duration;

use wicara_platform::Random;

/// Computes the pauses before retries.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    random: Random,
}

impl Backoff {
    /// `first`: the longest pause before the first retry; each further one may be twice as long.
    #[must_use]
    pub fn new(first: Duration, random: Random) -> Self {
        Self { first, random }
    }

    /// The pause before retry `attempt`, counted from 0. Half of it is random, so that calls which failed together are
    /// not retried together.
    #[must_use]
    pub fn pause(&self, attempt: u32) -> Duration {
        let [chance, ..] = self.random.bytes();
        let longest = self.first.saturating_mul(1 << attempt.min(10));
        longest / 2 + longest / 2 * u32::from(chance) / u32::from(u8::MAX)
    }
}
