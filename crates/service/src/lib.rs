//! The use cases, the same for every client and on either database, with a file for each area. A method that needs a
//! right takes its proof from [`access`].

pub mod access;
mod activity_index;
mod answers;
mod attempts;
mod bots;
mod caller_cache;
mod conversations;
mod cut_off;
mod entries;
pub mod error;
mod feed;
mod handover;
mod history;
mod idempotency;
mod messages;
mod password;
mod pending_answer;
mod people;
mod question_admission;
mod questions;
mod rate_limiter;
mod search_index;
mod sessions;
mod writes;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wicara_bots::Registry;
use wicara_metrics::Metrics;
use wicara_platform::{Clock, Random};
use wicara_store::Store;

pub use access::{AnonymousAccess, Asker, Credentials, Joined, Monitor, Readable, Reader, Writable, Writer};
pub use bots::{BotView, Trial, Tried, WidgetView};
pub use entries::{
    ConversationDetail, ConversationEntries, ConversationEntry, ConversationMessages, Entries, MessageEntries,
};
pub use error::{Error, Missing, NotAskable, Result};
pub use feed::{
    CutOff, EventKind, FeedConversation, FeedCursor, FeedEvent, FeedItem, FeedPage, FeedStream, FeedView,
    Interest, KindPattern, LiveEvent, ResyncReason, Shown, StreamLimits, StreamOwner, StreamPlace, TypingBy,
    UnknownKind,
};
pub use handover::{HandoverSettings, VisitorConversation};
pub use idempotency::IdempotencyRequest;
pub use pending_answer::{Answered, PendingAnswer};
pub use people::People;
pub use questions::{Description, NewQuestion, Thread};
pub use rate_limiter::Limits;
pub use sessions::Login;
pub use wicara_bots::{BreakerState, Times};
pub use wicara_store::{
    ConversationSearch, ConversationWalk, Embed, ListedConversation, MessageSearch, MessageWalk,
};

/// Between two deletions of expired sessions and idempotency keys.
const EXPIRE_INTERVAL: Duration = Duration::from_secs(15 * 60);

/// Between two heartbeats of this node.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);
/// The same after the database refused a write: `/readyz` reports that until a write succeeds.
const HEARTBEAT_RETRY: Duration = Duration::from_secs(1);

/// Between two searches for open questions that no task is answering.
const SETTLE_INTERVAL: Duration = Duration::from_secs(30);

/// Between two searches for messages of deleted conversations. A deletion by this node starts one at once.
const DELETE_REST_INTERVAL: Duration = Duration::from_secs(5 * 60);
/// The same after a failure: until these messages are gone, pages of message lists are shorter than they should be.
const DELETE_REST_RETRY: Duration = Duration::from_secs(2);

/// Between two searches for deletions that cannot be undone any more.
const UNDO_INTERVAL: Duration = Duration::from_secs(5);

#[derive(Debug, Clone)]
pub struct Settings {
    /// Whether callers without credentials may use the whole Chatbot API, and not only ask questions.
    pub chatbot_api_open: bool,
    /// Lifetime of a cookie session.
    pub session: Duration,
    pub limits: Limits,
    pub streams: StreamLimits,
    /// How long events are kept at least.
    pub keep_events: Duration,
    pub handover: HandoverSettings,
}

pub struct Service {
    store: Store,
    bots: Registry,
    clock: Clock,
    random: Random,
    metrics: Metrics,
    settings: Settings,
    passwords: password::Passwords,
    rate_limits: rate_limiter::RateLimits,
    write_permits: Arc<Semaphore>,
    /// The runtime of the questions' tasks.
    question_runtime: Handle,
    question_tasks: TaskTracker,
    attempts: Arc<attempts::Attempts>,
    feed: feed::Feed,
    callers: caller_cache::CallerCache,
    waiting_answer_bytes: AtomicUsize,
    /// Cancelled: bots are not waited for any longer.
    interrupted: CancellationToken,
    /// Cancelled: the database is not waited for any longer.
    abandoned: CancellationToken,
}

impl Service {
    /// The questions' tasks run on the runtime that calls this: connections have another one, so that a stored question
    /// does not compete with requests that are refused.
    #[must_use]
    pub fn new(
        store: Store,
        bots: Registry,
        clock: Clock,
        random: Random,
        metrics: Metrics,
        settings: Settings,
    ) -> Self {
        let rate_limits = rate_limiter::RateLimits::new(settings.limits);
        let feed = feed::Feed::new(store.clone(), settings.streams);
        Self {
            store,
            bots,
            clock,
            random,
            metrics,
            settings,
            passwords: password::Passwords::new(),
            rate_limits,
            write_permits: Arc::new(Semaphore::new(writes::MAX_CONCURRENT)),
            question_runtime: Handle::current(),
            question_tasks: TaskTracker::new(),
            attempts: Arc::default(),
            feed,
            callers: caller_cache::CallerCache::default(),
            waiting_answer_bytes: AtomicUsize::new(0),
            interrupted: CancellationToken::new(),
            abandoned: CancellationToken::new(),
        }
    }

    /// Whether the database can be read and takes writes.
    pub async fn ready(&self) -> Result<()> {
        Ok(self.store.ping().await?)
    }

    /// All metrics, in the format of [`wicara_metrics::CONTENT_TYPE`].
    #[must_use]
    pub fn metrics(&self, _: &Monitor) -> String {
        self.metrics.text()
    }

    /// At start: registers this node, and settles the questions that an earlier process left open.
    pub async fn recover(&self) -> Result<()> {
        self.store.node_renew().await?;
        self.feed_recover().await?;
        self.settle_orphaned_questions().await
    }

    /// Gives open questions that no task is answering the failure `interrupted`: those of dead nodes, and those of this
    /// one whose task panicked.
    async fn settle_orphaned_questions(&self) -> Result<()> {
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

    /// Runs the periodic work until the future is dropped: heartbeats, orphaned questions, expired sessions, keys and
    /// events, messages of deleted conversations, deletions that may be undone, conversations that nobody claims, what lists and
    /// searches read of what was stored before, and what follows the feed.
    pub async fn maintain(&self) {
        tokio::join!(
            self.send_heartbeats(),
            self.settle_repeatedly(),
            self.expire(),
            self.delete_rest(),
            self.end_undos(),
            self.return_unclaimed(),
            self.activity_index(),
            self.search_index(),
            self.search_moves(),
            self.feed_follow()
        );
    }

    /// SQLite has one server and needs no heartbeat: then the row is written only after a refused write, to find out
    /// when the disk takes writes again.
    async fn send_heartbeats(&self) {
        let mut renewed = Instant::now();
        loop {
            tokio::time::sleep(HEARTBEAT_RETRY).await;
            let is_due = self.store.is_shared() && renewed.elapsed() >= HEARTBEAT_INTERVAL;
            if is_due || self.store.is_refused() {
                // `/readyz` reports a failure, and the writer logs it.
                let _ = self.store.node_renew().await;
                renewed = Instant::now();
            }
        }
    }

    async fn settle_repeatedly(&self) {
        loop {
            tokio::time::sleep(SETTLE_INTERVAL).await;
            if let Err(error) = self.settle_orphaned_questions().await {
                tracing::warn!(%error, "questions that nobody is answering could not be settled");
            }
        }
    }

    /// Deletes the messages of deleted conversations, also of those that another node or an earlier run deleted.
    async fn delete_rest(&self) {
        loop {
            let pause = match self.store.conversation_delete_rest().await {
                Ok(()) => DELETE_REST_INTERVAL,
                Err(error) => {
                    tracing::warn!(%error, "messages of deleted conversations could not be deleted");
                    DELETE_REST_RETRY
                }
            };
            let _ = timeout(pause, self.store.conversation_deleted()).await;
        }
    }

    async fn end_undos(&self) {
        loop {
            tokio::time::sleep(UNDO_INTERVAL).await;
            if let Err(error) = self.store.undo_expire().await {
                tracing::warn!(%error, "deletions whose time to undo them is over could not be ended");
            }
        }
    }

    async fn expire(&self) {
        loop {
            let now = self.clock.now();
            for expired in [
                self.store.session_expire(now).await,
                self.store.idempotency_expire().await,
                self.store.event_expire(self.settings.keep_events).await,
                self.store.search_merge().await,
            ] {
                if let Err(error) = expired {
                    tracing::warn!(%error, "what has expired could not be deleted");
                }
            }
            tokio::time::sleep(EXPIRE_INTERVAL).await;
        }
    }

    /// Waits until every question's task has ended. The caller makes sure that no new one begins.
    pub async fn idle(&self) {
        self.question_tasks.close();
        self.question_tasks.wait().await;
    }

    /// Stops waiting for bots: their questions get the failure `interrupted`.
    pub fn interrupt(&self) {
        if !self.question_tasks.is_empty() {
            tracing::warn!(
                questions = self.question_tasks.len(),
                "stopping before every question is answered"
            );
        }
        self.interrupted.cancel();
    }

    /// Stops waiting for the database: callers get [`Error::Stopping`]. Another node, or the next start, settles the
    /// questions that stay open.
    pub fn abandon(&self) {
        self.abandoned.cancel();
    }

    /// The token that [`Service::abandon`] cancels.
    #[must_use]
    pub fn abandoned(&self) -> CancellationToken {
        self.abandoned.clone()
    }

    /// Commits the queued writes and closes the store.
    pub async fn close(&self) {
        self.store.close().await;
    }
}
