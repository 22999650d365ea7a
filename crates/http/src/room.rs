//! Room for connections: a bounded number, and where it is taken, newcomers before those who say nothing.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::socket::Watch;

/// How long to wait for a place before looking again for a connection that could be closed.
const PAUSE: Duration = Duration::from_millis(100);

/// The places for connections.
pub struct Room {
    size: usize,
    slots: Arc<Semaphore>,
    /// Those that are open, and some that have ended.
    open: Vec<Weak<Watch>>,
}

impl Room {
    #[must_use]
    pub fn new(size: usize) -> Self {
        Self { size, slots: Arc::new(Semaphore::new(size)), open: Vec::new() }
    }

    /// Takes note of a connection that has got its place.
    pub fn enter(&mut self, watch: &Arc<Watch>) {
        if self.open.len() >= 2 * self.size {
            self.open.retain(|watch| watch.strong_count() > 0);
        }
        self.open.push(Arc::downgrade(watch));
    }

    /// A place, as soon as there is one.
    pub async fn place(&self) -> OwnedSemaphorePermit {
        loop {
            if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
                return slot;
            }
            self.cut_longest_waiting();
            if let Ok(slot) = timeout(PAUSE, Arc::clone(&self.slots).acquire_owned()).await {
                return slot.expect("nobody closes the semaphore");
            }
        }
    }

    /// Some at once, since finding them means looking at all.
    fn cut_longest_waiting(&self) {
        let mut waiting: Vec<_> = self
            .open
            .iter()
            .filter_map(|watch| {
                let watch = watch.upgrade()?;
                Some((watch.waiting_since()?, watch))
            })
            .collect();
        let count = self.size.div_ceil(64).min(waiting.len());
        if count < waiting.len() {
            waiting.select_nth_unstable_by_key(count, |(since, _)| *since);
        }
        for (_, watch) in &waiting[..count] {
            watch.cut();
        }
        tracing::debug!(closed = count, "there was no room for a new connection");
    }
}
