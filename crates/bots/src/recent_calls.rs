//! How a bot does lately, for people: the times of its newest calls, and its last failure. Figures over time are up to the
//! metrics.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wicara_model::{FailureReason, Timestamp};

/// Calls whose times are kept.
const KEPT: usize = 256;

#[derive(Debug, Default)]
pub struct RecentCalls(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    first_tokens: VecDeque<Duration>,
    answers: VecDeque<Duration>,
    last_failure: Option<(FailureReason, Timestamp)>,
}

/// Of the newest calls that were answered; `None` where there was none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    pub p50: Duration,
    pub p95: Duration,
}

impl RecentCalls {
    pub fn first_token(&self, took: Duration) {
        push(&mut self.state().first_tokens, took);
    }

    pub fn answered(&self, took: Duration) {
        push(&mut self.state().answers, took);
    }

    pub fn failed(&self, reason: FailureReason, at: Timestamp) {
        self.state().last_failure = Some((reason, at));
    }

    /// From the call to the first piece of an answer, and to its end.
    pub fn times(&self) -> (Option<Times>, Option<Times>) {
        let state = self.state();
        (Times::of(&state.first_tokens), Times::of(&state.answers))
    }

    pub fn last_failure(&self) -> Option<(FailureReason, Timestamp)> {
        self.state().last_failure
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A poisoned state is valid: no code that holds the lock panics between two changes of it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn push(times: &mut VecDeque<Duration>, took: Duration) {
    if times.len() == KEPT {
        times.pop_front();
    }
    times.push_back(took);
}

impl Times {
    fn of(times: &VecDeque<Duration>) -> Option<Self> {
        let mut sorted: Vec<Duration> = times.iter().copied().collect();
        sorted.sort_unstable();
        // Nearest rank: the smallest time that so many in a hundred do not exceed.
        let rank =
            |percent: usize| sorted.get((sorted.len() * percent).div_ceil(100).checked_sub(1)?).copied();
        Some(Self { p50: rank(50)?, p95: rank(95)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_newest_calls() {
        let calls = RecentCalls::default();
        assert_eq!(calls.times(), (None, None));
        let millis = Duration::from_millis;
        calls.answered(millis(7));
        assert_eq!(calls.times().1, Some(Times { p50: millis(7), p95: millis(7) }));
        for time in 1..=1000 {
            calls.answered(millis(time));
        }
        // Of 745 to 1000.
        assert_eq!(calls.times(), (None, Some(Times { p50: millis(872), p95: millis(988) })));
    }
}
