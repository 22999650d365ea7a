//! The clock, passed in so that tests can stop it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use wicara_model::Timestamp;

/// A source of the current time.
#[derive(Debug, Clone)]
pub enum Clock {
    System,
    /// Stands still until it is set: milliseconds since 1970.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the only call that asks the system for the time")]
    pub fn now(&self) -> Timestamp {
        match self {
            Clock::System => Timestamp(jiff::Timestamp::now().as_millisecond()),
            Clock::Manual(millis) => Timestamp(millis.load(Ordering::Relaxed)),
        }
    }
}
