//! A limit on open connections. When it is reached, a new connection replaces the one whose client has kept the server
//! waiting for longest; connections that wait for their response are never closed. Streams of the feed do not count: they
//! have a limit of their own, in the service.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::socket::ConnectionState;

/// How long to wait for a permit before connections are scanned again for one to close.
const RESCAN_INTERVAL: Duration = Duration::from_millis(100);

pub struct ConnectionLimiter {
    limit: usize,
    permits: Arc<Semaphore>,
    /// The connections that hold a permit, and some that hold none any longer.
    connections: Vec<Weak<ConnectionState>>,
}

impl ConnectionLimiter {
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, permits: Arc::new(Semaphore::new(limit)), connections: Vec::new() }
    }

    /// Adds a connection that holds a permit to those that may be closed.
    pub fn track(&mut self, connection: &Arc<ConnectionState>) {
        if self.connections.len() >= 2 * self.limit {
            self.connections.retain(|connection| connection.upgrade().is_some_and(|it| it.holds_permit()));
        }
        self.connections.push(Arc::downgrade(connection));
    }

    /// Waits for a permit, and closes waiting connections until there is one.
    pub async fn acquire(&self) -> OwnedSemaphorePermit {
        loop {
            if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
                return permit;
            }
            self.close_longest_waiting();
            if let Ok(permit) = timeout(RESCAN_INTERVAL, Arc::clone(&self.permits).acquire_owned()).await {
                return permit.expect("nobody closes the semaphore");
            }
        }
    }

    /// Closes up to a 64th of the limit at once: finding them means a scan of all connections, which would cost too
    /// much for each new one.
    fn close_longest_waiting(&self) {
        let mut waiting: Vec<_> = self
            .connections
            .iter()
            .filter_map(|connection| {
                // To close what holds no permit would make no room.
                let connection = connection.upgrade().filter(|it| it.holds_permit())?;
                Some((connection.waiting_since()?, connection))
            })
            .collect();
        let count = self.limit.div_ceil(64).min(waiting.len());
        if count < waiting.len() {
            waiting.select_nth_unstable_by_key(count, |(since, _)| *since);
        }
        for (_, connection) in &waiting[..count] {
            connection.close();
        }
        tracing::debug!(closed = count, "there was no room for a new connection");
    }
}
