//! The writer: takes the appends that wait, commits them together (group commit), and only then answers.
//!
//! A thread of its own. SQLite has one connection and one queue, of which a transaction takes all kinds of commands
//! (`sqlite.rs`). On PostgreSQL a batch of appends is one statement that commits by itself (`appends.rs`), and
//! each other command has a transaction of its own on a second connection (`changes.rs`), so that nobody's appends wait
//! behind it; a third connection folds what the batches add to the totals (`fold.rs`).

mod appends;
mod changes;
mod doubt;
mod fold;
mod numbers;
mod postgres;
mod queue;
mod sqlite;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{mpsc, oneshot};
use wicara_metrics::StoreMetrics;

use crate::commands::{Appending, Change};
use crate::engine::postgres::{Connection, Server};
use crate::engine::{Error, Result, sqlite_connection};
use crate::nodes::register;
use numbers::Numbers;

/// Commands that may wait; beyond it, new ones are refused. Each holds at most a request's body or a bot's answer. One
/// more batch than is being written: two of them take a tenth of a second or two.
const QUEUE: usize = 512;
/// Commands in one batch, and bytes of text in it, but for a single larger command.
const BATCH: usize = 512;
const BATCH_BYTES: usize = 8 * 1024 * 1024;

pub(super) enum Job {
    Append(Appending),
    Change(Box<dyn Change>),
    /// In a transaction of its own: it holds locks for long.
    Alone(Box<dyn Change>),
    Close(oneshot::Sender<()>),
}

/// The way to the writer.
pub(super) struct Writer {
    appends: mpsc::Sender<Job>,
    changes: mpsc::Sender<Job>,
    renewals: mpsc::Sender<Renewal>,
    is_refused: Arc<AtomicBool>,
    metrics: Arc<StoreMetrics>,
}

/// Asks for the node's row of PostgreSQL to be renewed, and waits for what becomes of it.
type Renewal = oneshot::Sender<Result<()>>;

/// What the writer writes to.
pub(super) enum Target {
    Postgres(Server),
    Sqlite(PathBuf),
}

/// What the loops of the writer share.
#[derive(Clone)]
struct Shared {
    node: i64,
    is_refused: Arc<AtomicBool>,
    numbers: Arc<Numbers>,
    metrics: Arc<StoreMetrics>,
}

impl Shared {
    /// Remembers whether the database took what was tried last, as far as is known.
    fn note(&self, refused: bool) {
        self.is_refused.store(refused, Ordering::Relaxed);
    }

    /// A connection to PostgreSQL for writing, over which the node is known.
    async fn connect(&self, server: &Server) -> Result<Connection> {
        let connection = server.connect_writer().await?;
        connection.query(register(), &[self.node.into(), self.numbers.settled().into()]).await?;
        Ok(connection)
    }
}

impl Writer {
    pub fn start(target: Target, node: i32, metrics: Arc<StoreMetrics>) -> Result<Self> {
        let shared = Shared {
            node: node.into(),
            is_refused: Arc::default(),
            numbers: Arc::default(),
            metrics: Arc::clone(&metrics),
        };
        let failed = |error| Error::Setup(format!("cannot start the writer: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let is_refused = Arc::clone(&shared.is_refused);
        let (renewals, renewing) = mpsc::channel(1);
        let thread = std::thread::Builder::new().name("store-writer".into());
        let (appends, changes) = match target {
            Target::Sqlite(path) => {
                let (queue, jobs) = mpsc::channel(QUEUE);
                let connection = sqlite_connection::open(&path)?;
                thread
                    .spawn(move || runtime.block_on(sqlite::run(shared, connection, jobs)))
                    .map_err(failed)?;
                (queue.clone(), queue)
            }
            Target::Postgres(server) => {
                let (appends, waiting) = mpsc::channel(QUEUE);
                let (changes, jobs) = mpsc::channel(QUEUE);
                thread
                    .spawn(move || runtime.block_on(postgres::run(shared, server, waiting, jobs, renewing)))
                    .map_err(failed)?;
                (appends, changes)
            }
        };
        Ok(Self { appends, changes, renewals, is_refused, metrics })
    }

    /// Hands over an append that begins something.
    pub fn append(&self, appending: Appending) {
        self.send(&self.appends, Job::Append(appending));
    }

    /// Hands over an append that ends what was let in before: it waits for a place, ahead of what begins.
    pub async fn append_in_turn(&self, appending: Appending) {
        self.send_in_turn(&self.appends, Job::Append(appending)).await;
    }

    pub fn change(&self, change: Box<dyn Change>) {
        self.send(&self.changes, Job::Change(change));
    }

    pub fn change_alone(&self, change: Box<dyn Change>) {
        self.send(&self.changes, Job::Alone(change));
    }

    pub async fn change_in_turn(&self, change: Box<dyn Change>) {
        self.send_in_turn(&self.changes, Job::Change(change)).await;
    }

    fn send(&self, queue: &mpsc::Sender<Job>, job: Job) {
        self.metrics.queued();
        let (job, reason) = match queue.try_send(job) {
            Ok(()) => return,
            Err(mpsc::error::TrySendError::Full(job)) => (job, "too many writes wait"),
            Err(mpsc::error::TrySendError::Closed(job)) => (job, "the store is closed"),
        };
        self.metrics.dequeued(1);
        job.refuse(Error::Unavailable(reason.into()));
    }

    async fn send_in_turn(&self, queue: &mpsc::Sender<Job>, job: Job) {
        self.metrics.queued();
        if let Err(mpsc::error::SendError(job)) = queue.send(job).await {
            self.metrics.dequeued(1);
            job.refuse(Error::Unavailable("the store is closed".into()));
        }
    }

    /// Whether nothing can be written any more.
    pub fn is_closed(&self) -> bool {
        self.changes.is_closed()
    }

    /// Whether the database refused what was tried last, for a reason that may pass.
    pub fn is_refused(&self) -> bool {
        self.is_refused.load(Ordering::Relaxed)
    }

    /// Says to the other nodes of a PostgreSQL that this one lives.
    pub async fn renew(&self) -> Result<()> {
        let (reply, renewed) = oneshot::channel();
        let closed = || Error::Unavailable("the store is closed".into());
        self.renewals.send(reply).await.map_err(|_| closed())?;
        renewed.await.map_err(|_| closed())?
    }

    /// Writes what waits and ends the writer.
    pub async fn close(&self) {
        let mut closed = Vec::new();
        for queue in [&self.appends, &self.changes] {
            let (done, ended) = oneshot::channel();
            if queue.send(Job::Close(done)).await.is_ok() {
                closed.push(ended);
            }
        }
        for ended in closed {
            let _ = ended.await;
        }
    }
}

impl Job {
    fn refuse(self, error: Error) {
        match self {
            Self::Append(appending) => appending.answer(Err(error)),
            Self::Change(change) | Self::Alone(change) => change.answer(Err(error)),
            Self::Close(_) => {}
        }
    }
}
