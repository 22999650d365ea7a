//! What is stored, and how it is found again. SQL stands beside its mapping, one file an area.

mod commands;
mod conversations;
mod details;
mod effects;
mod engine;
mod idempotency;
mod keys;
mod lists;
mod message_previews;
mod messages;
mod nodes;
mod totals;
mod transaction;
mod users;
mod writer;

use std::fs::File;
use std::mem::ManuallyDrop;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use wicara_metrics::Metrics;
use wicara_platform::Random;

use engine::{BatchLoader, Lane, Reads, Source, postgres, sqlite, sqlite_file};
use totals::Levels;
use writer::Writer;

pub use commands::{Append, Ask, Attempt, Outcome, Stored, Target};
pub use details::{Chunk, Detail, Rest};
pub use engine::{Error, Result};
pub use idempotency::{Claim, Claimed, IdempotencyKey};
pub use message_previews::{Embed, Listed};
pub use messages::{BotMessage, CHUNK_BYTES, MessageRef, groups};

/// How long to wait between two attempts to reach the database at start.
const OPEN_PAUSE: Duration = Duration::from_millis(500);
/// Single rows in one batch.
const ROWS_BATCH: usize = 256;
/// Details in one batch, each with at most 256 KiB of messages.
const DETAILS_BATCH: usize = 32;

/// The database. Clones share it.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

/// The place of the server on a database. PostgreSQL has room for several, SQLite for one.
pub struct ServerLock(Option<(PathBuf, Vec<File>)>);

impl ServerLock {
    /// Takes the place before the store is opened, or says that another server has it. What SQLite needs is created
    /// where it is missing.
    pub fn take(url: &str) -> Result<Self> {
        let Some(path) = sqlite_file::path(url) else { return Ok(Self(None)) };
        let path = sqlite_file::resolve(&path)?;
        let files = sqlite_file::lock_server(&path)?;
        Ok(Self(Some((path, files))))
    }

    /// Leaves all of a SQLite database in its one file once the store is closed, where no other process keeps it from
    /// that. Bounded by [`sqlite_file::CLOSE_TIME`].
    pub async fn fold(&self) {
        if let Some((path, _)) = &self.0 {
            sqlite_file::fold(path.clone()).await;
        }
    }

    /// Keeps the place until the process ends. For a store whose connections are not known to be closed: with the lock's
    /// files the locks that SQLite still holds would go too.
    pub fn keep(self) {
        let _ = ManuallyDrop::new(self);
    }
}

struct Inner {
    reads: Arc<Reads>,
    loaders: Loaders,
    writer: Writer,
    levels: Levels,
    /// A long conversation is deleted: its messages follow.
    deletions: Notify,
    /// Marks the questions that this process asks; nobody living has the same.
    node: i32,
    /// Other servers may work on the database.
    is_shared: bool,
}

/// The reads that nearly every request begins with, and those of short details.
struct Loaders {
    keys: Arc<BatchLoader>,
    sessions: Arc<BatchLoader>,
    conversations: Arc<BatchLoader>,
    conversations_by_session: Arc<BatchLoader>,
    /// With their messages, where they are short.
    details: Arc<BatchLoader>,
}

impl Store {
    /// Opens the database at `sqlite:PATH` or `postgres://…` and brings its schema up to date.
    ///
    /// A PostgreSQL that is away is tried again for as long as `wait`.
    pub async fn open(url: &str, wait: Duration, random: &Random, metrics: &Metrics) -> Result<Self> {
        let [a, b, c, d, ..] = random.bytes();
        let node = i32::from_be_bytes([a, b, c, d]);
        let (source, target) = if let Some(path) = sqlite_file::path(url) {
            let path = sqlite_file::resolve(&path)?;
            sqlite::migrate(&path)?;
            (Source::Sqlite(sqlite::Reads::open(&path)?), writer::Target::Sqlite(path))
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let server = postgres::Server::new(url)?;
            migrate_patiently(&server, wait).await?;
            (Source::Postgres(postgres::Reads::new(&server)), writer::Target::Postgres(server))
        } else {
            return Err(Error::Setup("store.url is neither sqlite:PATH nor postgres://…".into()));
        };
        let is_shared = matches!(source, Source::Postgres(_));
        let reads = Arc::new(Reads::new(source, Arc::clone(&metrics.store)));
        let by_key = |sql| BatchLoader::new(&reads, Lane::Quick, sql, ROWS_BATCH);
        let loaders = Loaders {
            keys: by_key(keys::by_hash()),
            sessions: by_key(users::session_by_hash()),
            conversations: by_key(conversations::by_id()),
            conversations_by_session: by_key(conversations::by_session()),
            details: BatchLoader::new(&reads, Lane::Quick, details::detail(), DETAILS_BATCH),
        };
        let writer = Writer::start(target, node, Arc::clone(&metrics.store))?;
        let inner = Inner {
            reads,
            loaders,
            writer,
            levels: Levels::default(),
            deletions: Notify::new(),
            node,
            is_shared,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Whether the database answers and takes what is written. After it has refused a batch, [`Store::node_renew`] is
    /// what shows that it takes them again.
    pub async fn ping(&self) -> Result<()> {
        if self.inner.writer.is_closed() {
            return Err(Error::Unavailable("the writer has ended".into()));
        }
        if self.inner.writer.is_refused() {
            return Err(Error::Unavailable("what was written last was refused".into()));
        }
        self.inner.reads.query(Lane::Quick, "SELECT CAST(1 AS bigint)", vec![]).await.map(|_| ())
    }

    /// Whether the database refused what was written last, for a reason that may pass.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.inner.writer.is_refused()
    }

    /// Writes what waits and closes the connections; everything written or, on SQLite, read afterwards is refused.
    pub async fn close(&self) {
        self.inner.writer.close().await;
        self.inner.reads.close().await;
    }
}

async fn migrate_patiently(server: &postgres::Server, wait: Duration) -> Result<()> {
    let deadline = tokio::time::Instant::now() + wait;
    loop {
        match server.migrate().await {
            Err(Error::Unavailable(reason)) if tokio::time::Instant::now() + OPEN_PAUSE < deadline => {
                tracing::info!(reason, "waiting for the database");
                tokio::time::sleep(OPEN_PAUSE).await;
            }
            result => return result,
        }
    }
}

/// Refuses a database that a newer version of this program has changed.
fn check_version(runner: &refinery::Runner, applied: Option<&refinery::Migration>) -> Result<()> {
    let known = runner.get_migrations().iter().map(refinery::Migration::version).max().unwrap_or(0);
    match applied {
        Some(applied) if applied.version() > known => Err(Error::Setup(format!(
            "the database has schema version {}, and this version of wicara knows only up to {known}: \
             start the newer wicara that changed it, or restore a backup from before",
            applied.version()
        ))),
        _ => Ok(()),
    }
}
