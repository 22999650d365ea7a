//! A circuit breaker: after a number of failures in a row calls are refused for a while, so that nobody waits for a server
//! that is down and it can recover. Then one call is let through as a probe, and its result closes or opens the breaker.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use wicara_metrics::BreakerMetric;

/// The `retry_after` of calls that are refused while a probe is under way.
const PROBE_RETRY_AFTER: Duration = Duration::from_secs(1);

/// The breaker is open, so the call must not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suspended {
    /// The time until a call may be let through again.
    pub retry_after: Duration,
}

/// The circuit breaker of one server.
#[derive(Debug)]
pub struct Breaker {
    /// Failures in a row that open it; 0: it never opens.
    failure_threshold: u32,
    /// How long it stays open before a probe.
    open_time: Duration,
    state: Mutex<State>,
    metric: BreakerMetric,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Calls are let through.
    Closed { failures_in_row: u32 },
    /// Calls are refused until `probe_at`; the next call after it is the probe.
    Open { probe_at: Instant },
    /// The probe is under way and other calls are refused.
    HalfOpen,
}

/// What people are shown of a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Calls are let through.
    Closed,
    /// Calls are refused.
    Open,
    /// The next call, or the one under way, decides.
    HalfOpen,
}

impl State {
    fn check(self) -> Result<(), Suspended> {
        let retry_after = match self {
            State::Closed { .. } => return Ok(()),
            State::Open { probe_at } => probe_at.saturating_duration_since(Instant::now()),
            State::HalfOpen => PROBE_RETRY_AFTER,
        };
        if retry_after.is_zero() { Ok(()) } else { Err(Suspended { retry_after }) }
    }
}

impl Breaker {
    pub fn new(failure_threshold: u32, open_time: Duration, metric: BreakerMetric) -> Self {
        let state = Mutex::new(State::Closed { failures_in_row: 0 });
        Self { failure_threshold, open_time, state, metric }
    }

    /// Whether a call would be let through now, without taking a permit: for a caller that has to wait before its call.
    pub fn check(&self) -> Result<(), Suspended> {
        self.state().check()
    }

    #[must_use]
    pub fn now(&self) -> BreakerState {
        match *self.state() {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { probe_at } if probe_at > Instant::now() => BreakerState::Open,
            State::Open { .. } | State::HalfOpen => BreakerState::HalfOpen,
        }
    }

    /// Lets one call through, as the probe if it is time for one. The caller reports the result to the permit.
    pub fn acquire(&self) -> Result<BreakerPermit<'_>, Suspended> {
        let mut state = self.state();
        state.check()?;
        let is_probe = matches!(*state, State::Open { .. });
        if is_probe {
            *state = State::HalfOpen;
        }
        Ok(BreakerPermit { breaker: self, is_probe })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A poisoned state is valid: no code that holds the lock panics between two changes of it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One call that was let through. Dropping it without a result, as a cancelled call does, leaves the next call to be the
/// probe.
#[derive(Debug)]
pub struct BreakerPermit<'a> {
    breaker: &'a Breaker,
    is_probe: bool,
}

impl BreakerPermit<'_> {
    /// Closes the breaker.
    pub fn succeeded(mut self) {
        self.is_probe = false;
        let mut state = self.breaker.state();
        *state = State::Closed { failures_in_row: 0 };
        self.breaker.metric.set(false);
    }

    /// Counts a failure, and opens the breaker at the threshold or where the probe failed.
    pub fn failed(mut self) {
        let open = State::Open { probe_at: Instant::now() + self.breaker.open_time };
        let mut state = self.breaker.state();
        match *state {
            State::Closed { failures_in_row } => {
                let failures_in_row = failures_in_row.saturating_add(1);
                let threshold = self.breaker.failure_threshold;
                let opens = threshold != 0 && failures_in_row >= threshold;
                *state = if opens { open } else { State::Closed { failures_in_row } };
                self.breaker.metric.set(opens);
            }
            State::HalfOpen if self.is_probe => *state = open,
            // The call began before the breaker opened: its failure must not prolong the pause.
            State::Open { .. } | State::HalfOpen => {}
        }
        self.is_probe = false;
    }
}

impl Drop for BreakerPermit<'_> {
    fn drop(&mut self) {
        let mut state = self.breaker.state();
        if self.is_probe && matches!(*state, State::HalfOpen) {
            *state = State::Open { probe_at: Instant::now() };
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;
    use wicara_metrics::Metrics;

    use super::*;

    const OPEN_TIME: Duration = Duration::from_secs(15);

    fn breaker(failures: u32) -> Breaker {
        Breaker::new(failures, OPEN_TIME, Metrics::default().bot("a").breaker())
    }

    fn fail(breaker: &Breaker, times: usize) {
        for _ in 0..times {
            breaker.acquire().unwrap().failed();
        }
    }

    /// The `retry_after` of a refused call; `None` if it is let through.
    fn retry_after(breaker: &Breaker) -> Option<Duration> {
        match breaker.acquire() {
            Ok(_) => None,
            Err(Suspended { retry_after }) => Some(retry_after),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_after_failures_in_a_row() {
        let breaker = breaker(3);
        fail(&breaker, 2);
        breaker.acquire().unwrap().succeeded();
        fail(&breaker, 2);
        assert_eq!(retry_after(&breaker), None);
        fail(&breaker, 1);
        advance(Duration::from_secs(5)).await;
        assert_eq!(retry_after(&breaker), Some(Duration::from_secs(10)));
    }

    #[tokio::test(start_paused = true)]
    async fn one_call_is_the_probe() {
        let breaker = breaker(1);
        fail(&breaker, 1);
        advance(OPEN_TIME).await;
        let probe = breaker.acquire().unwrap();
        assert_eq!(retry_after(&breaker), Some(PROBE_RETRY_AFTER));
        probe.failed();
        assert_eq!(retry_after(&breaker), Some(OPEN_TIME));
        advance(OPEN_TIME).await;
        breaker.acquire().unwrap().succeeded();
        assert_eq!(retry_after(&breaker), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_was_given_up_lets_the_next_call_be_one() {
        let breaker = breaker(1);
        fail(&breaker, 1);
        advance(OPEN_TIME).await;
        drop(breaker.acquire().unwrap());
        assert_eq!(retry_after(&breaker), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_without_a_result_does_not_open_a_breaker_that_closed_meanwhile() {
        let breaker = breaker(1);
        let early = breaker.acquire().unwrap();
        fail(&breaker, 1);
        advance(OPEN_TIME).await;
        let probe = breaker.acquire().unwrap();
        early.succeeded();
        drop(probe);
        let other = breaker.acquire().unwrap();
        assert!(breaker.acquire().is_ok(), "it is closed, so the permit is no probe");
        drop(other);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_from_before_it_opened_do_not_hold_it_open() {
        let breaker = breaker(1);
        let (early, late) = (breaker.acquire().unwrap(), breaker.acquire().unwrap());
        early.failed();
        advance(Duration::from_secs(10)).await;
        late.failed();
        assert_eq!(retry_after(&breaker), Some(Duration::from_secs(5)));
    }

    #[test]
    fn it_can_be_switched_off() {
        let breaker = breaker(0);
        fail(&breaker, 1000);
        assert_eq!(retry_after(&breaker), None);
    }
}
