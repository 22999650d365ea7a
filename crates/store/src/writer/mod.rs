//! The writer: commits queued commands together (group commit) and answers them after the commit.
//!
//! It runs in its own thread. On SQLite one connection takes all kinds of commands from one queue (`sqlite_commit.rs`). On
//! PostgreSQL (`postgres.rs`) a batch of appends is one statement that commits by itself (`postgres_commit.rs`, fed by
//! `queue.rs`). Every other command has its own transaction on a second connection (`changes.rs`), so that no append
//! waits behind it. A third connection folds the batches into the totals (`fold.rs`). A lost answer to a commit is
//! looked up by the number of its batch (`unsettled_batches.rs`, `in_doubt.rs`).

mod changes;
mod fold;
mod in_doubt;
mod postgres;
mod postgres_commit;
mod queue;
mod sqlite_commit;
mod unsettled_batches;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use wicara_metrics::StoreMetrics;

use crate::commands::{Change, PendingAppend};
use crate::engine::postgres::Server;
use crate::engine::postgres_connection::Connection;
use crate::engine::{Error, Result, sqlite_connection};
use crate::nodes::register_sql;
use unsettled_batches::UnsettledBatches;

/// Queued commands; beyond it new ones are refused. Each holds at most the body of a request or the answer of a bot. As
/// large as one batch: with the batch that is being written, two of them wait a tenth of a second or two.
const QUEUE: usize = 512;
/// Commands in one batch, and bytes of text in it; a single larger command is a batch by itself.
const BATCH: usize = 512;
const BATCH_BYTES: usize = 8 * 1024 * 1024;

pub(super) enum WriteRequest {
    Append(PendingAppend),
    Change(Box<dyn Change>),
    /// A change that holds locks for long: never in one transaction with others.
    ChangeInOwnTransaction(Box<dyn Change>),
    Close(oneshot::Sender<()>),
}

/// The handle to the writer's thread.
pub(super) struct Writer {
    appends: mpsc::Sender<WriteRequest>,
    changes: mpsc::Sender<WriteRequest>,
    heartbeats: mpsc::Sender<HeartbeatRequest>,
    is_refused: Arc<AtomicBool>,
    committed: Arc<Committed>,
    metrics: Arc<StoreMetrics>,
}

/// A request to renew the node's row on PostgreSQL, answered with the result.
type HeartbeatRequest = oneshot::Sender<Result<()>>;

/// The database that the writer opens.
pub(super) enum WriterDatabase {
    Postgres(Server),
    Sqlite(PathBuf),
}

/// The state that the loops of the writer share.
#[derive(Clone)]
struct Shared {
    node: i64,
    /// Whether the node may have a row in the database.
    is_registered: Arc<AtomicBool>,
    is_refused: Arc<AtomicBool>,
    numbers: Arc<UnsettledBatches>,
    committed: Arc<Committed>,
    metrics: Arc<StoreMetrics>,
}

/// Tells of commits: the task that follows the feed, and the bus that tells other nodes. Each wait returns at once where
/// there was a commit since the last one returned.
#[derive(Default)]
pub(super) struct Committed {
    pub follower: Notify,
    pub bus: Notify,
}

impl Committed {
    fn notify(&self) {
        self.follower.notify_one();
        self.bus.notify_one();
    }
}

impl Shared {
    /// Records whether the database refused the last batch for a passing reason. A batch in doubt counts as refused.
    fn set_refused(&self, refused: bool) {
        self.is_refused.store(refused, Ordering::Relaxed);
    }

    /// Counts a commit, and wakes what follows the feed.
    fn committed(&self, commands: usize, time: Duration) {
        self.metrics.committed(commands, time);
        self.committed.notify();
    }

    /// Opens a connection to PostgreSQL for writing, and registers the node.
    async fn connect(&self, server: &Server) -> Result<Connection> {
        let connection = server.connect_writer().await?;
        self.register(&connection).await?;
        Ok(connection)
    }

    /// Registers the node on PostgreSQL, or sends its heartbeat.
    async fn register(&self, connection: &Connection) -> Result<()> {
        self.is_registered.store(true, Ordering::Relaxed);
        let params = [self.node.into(), self.numbers.settled().into()];
        connection.query(register_sql(), &params).await.map(|_| ())
    }
}

impl Writer {
    pub fn start(database: WriterDatabase, node: i32, metrics: Arc<StoreMetrics>) -> Result<Self> {
        let shared = Shared {
            node: node.into(),
            is_registered: Arc::default(),
            is_refused: Arc::default(),
            numbers: Arc::default(),
            committed: Arc::default(),
            metrics: Arc::clone(&metrics),
        };
        let failed = |error| Error::Setup(format!("cannot start the writer: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let is_refused = Arc::clone(&shared.is_refused);
        let committed = Arc::clone(&shared.committed);
        let (heartbeats, heartbeat_requests) = mpsc::channel(1);
        let thread = std::thread::Builder::new().name("store-writer".into());
        let (appends, changes) = match database {
            WriterDatabase::Sqlite(path) => {
                let (queue, requests) = mpsc::channel(QUEUE);
                let connection = sqlite_connection::open(&path)?;
                thread
                    .spawn(move || runtime.block_on(sqlite_commit::run(shared, connection, requests)))
                    .map_err(failed)?;
                (queue.clone(), queue)
            }
            WriterDatabase::Postgres(server) => {
                let (appends, waiting) = mpsc::channel(QUEUE);
                let (changes, requests) = mpsc::channel(QUEUE);
                thread
                    .spawn(move || {
                        runtime.block_on(postgres::run(shared, server, waiting, requests, heartbeat_requests))
                    })
                    .map_err(failed)?;
                (appends, changes)
            }
        };
        Ok(Self { appends, changes, heartbeats, is_refused, committed, metrics })
    }

    /// Queues an append of a new request; refused where the queue is full.
    pub fn append(&self, append: PendingAppend) {
        self.send(&self.appends, WriteRequest::Append(append));
    }

    /// Queues an append that ends work which was admitted before, such as a bot's answer: waits for a slot in the
    /// queue, ahead of new requests.
    pub async fn append_queued(&self, append: PendingAppend) {
        self.send_queued(&self.appends, WriteRequest::Append(append)).await;
    }

    pub fn change(&self, change: Box<dyn Change>) {
        self.send(&self.changes, WriteRequest::Change(change));
    }

    pub fn change_in_own_transaction(&self, change: Box<dyn Change>) {
        self.send(&self.changes, WriteRequest::ChangeInOwnTransaction(change));
    }

    pub async fn change_queued(&self, change: Box<dyn Change>) {
        self.send_queued(&self.changes, WriteRequest::Change(change)).await;
    }

    fn send(&self, queue: &mpsc::Sender<WriteRequest>, request: WriteRequest) {
        self.metrics.queued();
        let (request, reason) = match queue.try_send(request) {
            Ok(()) => return,
            Err(mpsc::error::TrySendError::Full(request)) => (request, "too many writes wait"),
            Err(mpsc::error::TrySendError::Closed(request)) => (request, "the store is closed"),
        };
        self.metrics.dequeued(1);
        request.refuse(Error::Unavailable(reason.into()));
    }

    async fn send_queued(&self, queue: &mpsc::Sender<WriteRequest>, request: WriteRequest) {
        self.metrics.queued();
        if let Err(mpsc::error::SendError(request)) = queue.send(request).await {
            self.metrics.dequeued(1);
            request.refuse(Error::Unavailable("the store is closed".into()));
        }
    }

    /// Whether the writer has ended and refuses every command.
    pub fn is_closed(&self) -> bool {
        self.changes.is_closed()
    }

    /// Whether the database refused the last batch for a passing reason.
    pub fn is_refused(&self) -> bool {
        self.is_refused.load(Ordering::Relaxed)
    }

    #[must_use]
    pub fn committed(&self) -> &Committed {
        &self.committed
    }

    /// Sends the heartbeat of this node to PostgreSQL.
    pub async fn heartbeat(&self) -> Result<()> {
        let (reply, sent) = oneshot::channel();
        let closed = || Error::Unavailable("the store is closed".into());
        self.heartbeats.send(reply).await.map_err(|_| closed())?;
        sent.await.map_err(|_| closed())?
    }

    /// Writes the queued commands and ends the writer.
    pub async fn close(&self) {
        let mut closed = Vec::new();
        for queue in [&self.appends, &self.changes] {
            let (done, ended) = oneshot::channel();
            if queue.send(WriteRequest::Close(done)).await.is_ok() {
                closed.push(ended);
            }
        }
        for ended in closed {
            let _ = ended.await;
        }
    }
}

impl WriteRequest {
    fn refuse(self, error: Error) {
        match self {
            Self::Append(append) => append.answer(Err(error)),
            Self::Change(change) | Self::ChangeInOwnTransaction(change) => change.answer(Err(error)),
            Self::Close(_) => {}
        }
    }
}
