//! What Wicara does, whoever asks for it and wherever it is stored. One file an area.

pub mod access;
mod asking;
mod attempts;
mod auth;
mod conversations;
mod entries;
pub mod error;
mod limits;
mod messages;
mod once;
mod password;
mod people;
mod questions;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wicara_bots as bots;
use wicara_metrics::Metrics;
use wicara_platform::{Clock, Random};
use wicara_store::Store;

pub use access::{Asker, Door, Monitor, Readable, Reader, Writable, Writer};
pub use asking::{Answered, Asking};
pub use auth::{Credentials, Login};
pub use entries::{ConversationEntries, ConversationEntry, DetailEntries, Embed, Entries, MessageEntries};
pub use error::{Error, Missing, Result};
pub use limits::Limits;
pub use once::Once;
pub use people::People;
pub use questions::{NewQuestion, Thread};

/// Appends under way at once; beyond it, what begins is refused. More would not be faster, and each would wait for all
/// others.
const WRITES: usize = 256;

/// How often what has expired is deleted.
const EXPIRE_EVERY: Duration = Duration::from_secs(15 * 60);

/// How often this node says that it lives, and how soon it tries to write after the database refused something: until
/// then `/readyz` says so.
const RENEW_EVERY: Duration = Duration::from_secs(5);
const RENEW_AGAIN: Duration = Duration::from_secs(1);

/// How often questions are looked for that nobody is answering.
const SETTLE_EVERY: Duration = Duration::from_secs(30);

/// How often messages are looked for whose conversation is deleted, beside those that this node deleted itself.
const DELETE_REST_EVERY: Duration = Duration::from_secs(5 * 60);
/// The same after it failed. Until they are gone, they leave lists of messages short pages.
const DELETE_REST_AGAIN: Duration = Duration::from_secs(2);

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
    bots: bots::Registry,
    clock: Clock,
    random: Random,
    metrics: Metrics,
    settings: Settings,
    passwords: password::Passwords,
    limiters: limits::Limiters,
    writes: Arc<Semaphore>,
    /// Where questions are carried out.
    work: Handle,
    /// Questions being answered: they are finished even if the client has left.
    asking: TaskTracker,
    attempts: Arc<attempts::Attempts>,
    answers_waiting: AtomicUsize,
    /// Bots are waited for no longer.
    interrupted: CancellationToken,
    /// The database is waited for no longer.
    abandoned: CancellationToken,
}

impl Service {
    /// Questions are carried out on the runtime that this is called on, whatever the one that they come from.
    #[must_use]
    pub fn new(
        store: Store,
        bots: bots::Registry,
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
            attempts: Arc::default(),
            answers_waiting: AtomicUsize::new(0),
            interrupted: CancellationToken::new(),
            abandoned: CancellationToken::new(),
        }
    }

    /// Whether the database answers and takes what is written.
    pub async fn ready(&self) -> Result<()> {
        Ok(self.store.ping().await?)
    }

    /// What the server counts and measures, as text: see [`wicara_metrics::CONTENT_TYPE`].
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

    /// Makes this node known and settles what an earlier process left.
    pub async fn recover(&self) -> Result<()> {
        self.store.node_renew().await?;
        self.settle().await
    }

    /// Gives the questions that nobody is answering their failure.
    async fn settle(&self) -> Result<()> {
        let is_open = |attempt| self.attempts.contains(attempt);
        let interrupted = self.store.question_interrupt(self.clock.now(), is_open).await;
        if let Err(error) = self.store.node_settle().await {
            tracing::warn!(%error, "what ended servers left could not be settled");
        }
        let interrupted = interrupted?;
        if interrupted > 0 {
            tracing::warn!(
                interrupted,
                "questions were cut off, by a server that ended or a task that failed"
            );
        }
        Ok(())
    }

    /// Does again and again what nobody asks for, until it is dropped: says that this node lives, settles questions that
    /// nobody is answering, deletes what has expired.
    pub async fn maintain(&self) {
        tokio::join!(self.renew(), self.settle_repeatedly(), self.expire(), self.delete_rest());
    }

    /// A SQLite database has one server, so that nobody has to know of it: its disk is left alone unless it refused.
    async fn renew(&self) {
        let mut renewed = Instant::now();
        loop {
            tokio::time::sleep(RENEW_AGAIN).await;
            let is_due = self.store.is_shared() && renewed.elapsed() >= RENEW_EVERY;
            if is_due || self.store.is_refused() {
                // What is wrong is said by `/readyz`, and in the log by the writer.
                let _ = self.store.node_renew().await;
                renewed = Instant::now();
            }
        }
    }

    async fn settle_repeatedly(&self) {
        loop {
            tokio::time::sleep(SETTLE_EVERY).await;
            if let Err(error) = self.settle().await {
                tracing::warn!(%error, "questions that nobody is answering could not be settled");
            }
        }
    }

    /// Deletes the messages of conversations that are deleted, also those that another node or an earlier run left.
    async fn delete_rest(&self) {
        loop {
            let pause = match self.store.conversation_delete_rest().await {
                Ok(()) => DELETE_REST_EVERY,
                Err(error) => {
                    tracing::warn!(%error, "messages of deleted conversations could not be deleted");
                    DELETE_REST_AGAIN
                }
            };
            let _ = timeout(pause, self.store.conversation_deleted()).await;
        }
    }

    async fn expire(&self) {
        loop {
            let now = self.clock.now();
            for expired in [self.store.session_expire(now).await, self.store.idempotency_expire().await] {
                if let Err(error) = expired {
                    tracing::warn!(%error, "what has expired could not be deleted");
                }
            }
            tokio::time::sleep(EXPIRE_EVERY).await;
        }
    }

    /// Waits until no question is being answered any more. None may begin meanwhile.
    pub async fn idle(&self) {
        self.asking.close();
        self.asking.wait().await;
    }

    /// Waits for bots no longer: their questions get the failure `interrupted`.
    pub fn interrupt(&self) {
        if !self.asking.is_empty() {
            tracing::warn!(questions = self.asking.len(), "stopping before every question is answered");
        }
        self.interrupted.cancel();
    }

    /// Waits for the database no longer: callers are told that the server stops. What is left open then is settled by
    /// another node, or the next start.
    pub fn abandon(&self) {
        self.abandoned.cancel();
    }

    /// Is cancelled by [`Service::abandon`].
    #[must_use]
    pub fn abandoned(&self) -> CancellationToken {
        self.abandoned.clone()
    }

    /// Writes what waits and closes the store.
    pub async fn close(&self) {
        self.store.close().await;
    }
}
