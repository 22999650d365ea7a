//! What Wicara does, whoever asks for it and wherever it is stored. One file an area.

pub mod access;
mod auth;
mod conversations;
pub mod error;
mod limits;
mod messages;
mod once;
mod password;
mod people;
mod questions;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use crate::store::{Chunk, groups};
pub use access::{Asker, Door, Monitor, Reader, Writer};
pub use auth::{Credentials, Login};
pub use error::{Error, Missing, Result};
pub use limits::Limits;
pub use once::Once;
pub use people::People;
pub use questions::{Answered, Asking, NewQuestion, Thread};

use crate::bot;
use crate::metrics::Metrics;
use crate::model::{Clock, Random};
use crate::store::Store;

/// Conversations whose messages one call of [`Service::message_newest`] reads: bounds its memory.
pub const EMBED_GROUP: usize = 10;

/// Appends under way at once; beyond it, what begins is refused. More would not be faster, and each would wait for all
/// others.
const WRITES: usize = 256;

/// How often what has expired is deleted.
const EXPIRE_EVERY: Duration = Duration::from_secs(15 * 60);

/// How long a stop waits for the questions that it interrupts to be marked.
const SETTLE: Duration = Duration::from_secs(5);

/// What the service goes by.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whether callers without credentials may use the Chatbot API.
    pub chatbot_api_open: bool,
    /// How long a cookie session lasts.
    pub session: Duration,
    pub limits: Limits,
}

pub struct Service {
    store: Store,
    bots: bot::Registry,
    clock: Clock,
    random: Random,
    metrics: Metrics,
    settings: Settings,
    passwords: password::Passwords,
    limiters: limits::Limiters,
    writes: Arc<Semaphore>,
    /// Where questions are carried out.
    work: Handle,
    /// Questions being answered: they are finished even if whoever asked has left.
    asking: TaskTracker,
    /// Bots are waited for no longer.
    interrupt: CancellationToken,
}

impl Service {
    /// Questions are carried out on the runtime that this is called on, whatever the one that they come from.
    #[must_use]
    pub fn new(
        store: Store,
        bots: bot::Registry,
        clock: Clock,
        random: Random,
        metrics: Metrics,
        settings: Settings,
    ) -> Self {
        let limiters = limits::Limiters::new(settings.limits);
        Self {
            store,
            bots,
            clock,
            random,
            metrics,
            settings,
            passwords: password::Passwords::new(),
            limiters,
            writes: Arc::new(Semaphore::new(WRITES)),
            work: Handle::current(),
            asking: TaskTracker::new(),
            interrupt: CancellationToken::new(),
        }
    }

    /// Whether the database answers.
    pub async fn ready(&self) -> Result<()> {
        Ok(self.store.ping().await?)
    }

    /// What the server counts and measures, as text: see [`crate::metrics::CONTENT_TYPE`].
    #[must_use]
    pub fn metrics(&self, _: &Monitor) -> String {
        self.metrics.text()
    }

    /// `Unavailable` while too many appends are under way. Asked before anything is read for one more: a refusal has to
    /// cost little, or refusing is all that the server does.
    pub fn room_to_write(&self) -> Result<()> {
        if self.writes.available_permits() == 0 { Err(Error::Unavailable) } else { Ok(()) }
    }

    /// A place for a write that begins something, for as long as it is kept.
    fn place_to_write(&self) -> Result<OwnedSemaphorePermit> {
        Arc::clone(&self.writes).try_acquire_owned().map_err(|_| Error::Unavailable)
    }

    /// A place for what ends something that was let in before, ahead of what begins.
    async fn place_to_write_in_turn(&self) -> SemaphorePermit<'_> {
        self.writes.acquire().await.expect("nobody closes the semaphore")
    }

    /// Gives the questions that an earlier process left behind their failure.
    pub async fn recover(&self) -> Result<()> {
        let interrupted = self.store.question_interrupt(self.clock.now()).await?;
        if interrupted > 0 {
            tracing::warn!(interrupted, "questions were cut off when the server stopped");
        }
        Ok(())
    }

    /// Deletes what has expired, again and again, until it is dropped.
    pub async fn expire(&self) {
        loop {
            let now = self.clock.now();
            for expired in [self.store.session_expire(now).await, self.store.idempotency_expire(now).await] {
                if let Err(error) = expired {
                    tracing::warn!(%error, "what has expired could not be deleted");
                }
            }
            tokio::time::sleep(EXPIRE_EVERY).await;
        }
    }

    /// Waits for the questions that are being answered, then writes what waits and closes the store.
    ///
    /// What is not answered within `drain` is marked as interrupted, by the next start if the database is away.
    pub async fn close(&self, drain: Duration) {
        self.asking.close();
        if tokio::time::timeout(drain, self.asking.wait()).await.is_err() {
            tracing::warn!(questions = self.asking.len(), "stopping before every question is answered");
            self.interrupt.cancel();
            let _ = tokio::time::timeout(SETTLE, self.asking.wait()).await;
        }
        self.store.close().await;
    }
}
