//! The breaker: a bot that keeps failing is left alone for a while, so that nobody waits for it in vain and it can
//! recover. Then one question tries it out.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use wicara_metrics::BreakerMetric;

/// How long a question is told to wait while another one tries the bot out.
const TRIAL: Duration = Duration::from_secs(1);

/// The breaker is open: no call is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suspended {
    /// When a call may be let pass again.
    pub retry_after: Duration,
}

#[derive(Debug)]
pub struct Breaker {
    /// Failures in a row that open it; 0: it never opens.
    failures: u32,
    /// How long it stays open.
    pause: Duration,
    state: Mutex<State>,
    shown: BreakerMetric,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// With the failures since the last success.
    Closed(u32),
    Open(Instant),
    /// One question is on its way to find out.
    Trying,
}

impl State {
    fn check(self) -> Result<(), Suspended> {
        let retry_after = match self {
            State::Closed(_) => return Ok(()),
            State::Open(until) => until.saturating_duration_since(Instant::now()),
            State::Trying => TRIAL,
        };
        if retry_after.is_zero() { Ok(()) } else { Err(Suspended { retry_after }) }
    }
}

impl Breaker {
    pub fn new(failures: u32, pause: Duration, shown: BreakerMetric) -> Self {
        Self { failures, pause, state: Mutex::new(State::Closed(0)), shown }
    }

    /// Whether the bot may be asked now; changes nothing.
    pub fn check(&self) -> Result<(), Suspended> {
        self.state().check()
    }

    /// Lets a question pass; how it went is to be told to what this returns.
    pub fn pass(&self) -> Result<Pass<'_>, Suspended> {
        let mut state = self.state();
        state.check()?;
        let on_trial = matches!(*state, State::Open(_));
        if on_trial {
            *state = State::Trying;
        }
        Ok(Pass { breaker: self, on_trial })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question that was let pass.
#[derive(Debug)]
pub struct Pass<'a> {
    breaker: &'a Breaker,
    on_trial: bool,
}

impl Pass<'_> {
    pub fn succeeded(mut self) {
        self.on_trial = false;
        let mut state = self.breaker.state();
        *state = State::Closed(0);
        self.breaker.shown.set(false);
    }

    pub fn failed(mut self) {
        let open = State::Open(Instant::now() + self.breaker.pause);
        let mut state = self.breaker.state();
        match *state {
            State::Closed(failures) => {
                let failures = failures.saturating_add(1);
                let enough = self.breaker.failures != 0 && failures >= self.breaker.failures;
                *state = if enough { open } else { State::Closed(failures) };
                self.breaker.shown.set(enough);
            }
            State::Trying if self.on_trial => *state = open,
            // It was let pass before the breaker opened, and tells nothing new.
            State::Open(_) | State::Trying => {}
        }
        self.on_trial = false;
    }
}

/// Nothing was learned: the next question tries it out.
impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let mut state = self.breaker.state();
        if self.on_trial && matches!(*state, State::Trying) {
            *state = State::Open(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;
    use wicara_metrics::Metrics;

    use super::*;

    const PAUSE: Duration = Duration::from_secs(15);

    fn breaker(failures: u32) -> Breaker {
        Breaker::new(failures, PAUSE, Metrics::default().bot("a").breaker())
    }

    fn fail(breaker: &Breaker, times: usize) {
        for _ in 0..times {
            breaker.pass().unwrap().failed();
        }
    }

    fn is_open(breaker: &Breaker) -> Option<Duration> {
        match breaker.pass() {
            Ok(_) => None,
            Err(Suspended { retry_after }) => Some(retry_after),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_after_failures_in_a_row() {
        let breaker = breaker(3);
        fail(&breaker, 2);
        breaker.pass().unwrap().succeeded();
        fail(&breaker, 2);
        assert_eq!(is_open(&breaker), None);
        fail(&breaker, 1);
        advance(Duration::from_secs(5)).await;
        assert_eq!(is_open(&breaker), Some(Duration::from_secs(10)));
    }

    #[tokio::test(start_paused = true)]
    async fn one_question_tries_it_out() {
        let breaker = breaker(1);
        fail(&breaker, 1);
        advance(PAUSE).await;
        let trial = breaker.pass().unwrap();
        assert_eq!(is_open(&breaker), Some(TRIAL));
        trial.failed();
        assert_eq!(is_open(&breaker), Some(PAUSE));
        advance(PAUSE).await;
        breaker.pass().unwrap().succeeded();
        assert_eq!(is_open(&breaker), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_trial_that_was_given_up_leaves_room_for_the_next() {
        let breaker = breaker(1);
        fail(&breaker, 1);
        advance(PAUSE).await;
        drop(breaker.pass().unwrap());
        assert_eq!(is_open(&breaker), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_trial_that_tells_nothing_changes_nothing_that_is_known_by_then() {
        let breaker = breaker(1);
        let early = breaker.pass().unwrap();
        fail(&breaker, 1);
        advance(PAUSE).await;
        let trial = breaker.pass().unwrap();
        early.succeeded();
        drop(trial);
        let other = breaker.pass().unwrap();
        assert!(breaker.pass().is_ok(), "it is closed, and no trial");
        drop(other);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_from_before_it_opened_do_not_hold_it_open() {
        let breaker = breaker(1);
        let (early, late) = (breaker.pass().unwrap(), breaker.pass().unwrap());
        early.failed();
        advance(Duration::from_secs(10)).await;
        late.failed();
        assert_eq!(is_open(&breaker), Some(Duration::from_secs(5)));
    }

    #[test]
    fn it_can_be_switched_off() {
        let breaker = breaker(0);
        fail(&breaker, 1000);
        assert_eq!(is_open(&breaker), None);
    }
}
