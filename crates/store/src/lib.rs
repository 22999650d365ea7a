//! The store: conversations, messages, people and keys in PostgreSQL or SQLite. Each area has a file with its SQL and
//! the mapping of its rows; `commands/` has the writes, which `writer/` batches and commits, and `engine/` runs
//! statements.

mod activity_index;
mod commands;
mod conversation_walk;
mod conversation_walk_plan;
mod conversations;
mod details;
mod effects;
mod engine;
mod events;
mod idempotency;
mod keys;
mod list_walk;
mod lists;
mod message_previews;
mod message_walk;
mod message_windows;
mod messages;
mod nodes;
mod rows;
mod search;
mod seen_marks;
mod transaction;
mod transfer;
mod users;
mod walks;
mod writer;

use std::fs::File;
use std::mem::ManuallyDrop;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use wicara_metrics::Metrics;
use wicara_platform::Random;

use engine::{
    BatchLoader, Bus, Lane, ReadBackend, ReadPool, migrations, postgres, postgres_check, sqlite, sqlite_file,
};
use list_walk::StartLevel;
use writer::{Writer, WriterDatabase};

pub use activity_index::ActivityIndexed;
pub use commands::{
    Append, Ask, AskState, Attempt, HandOverAfter, Handling, Operator, Outcome, Reopened, Stored, Target,
    Undo,
};
pub use conversation_walk_plan::ConversationWalk;
pub use details::Detail;
pub use engine::{DatabaseUrl, Error, MAX_BUS_MESSAGE, Result};
pub use events::{EventPage, EventsOf};
pub use idempotency::{Claim, IdempotencyKey, PriorClaim};
pub use message_previews::{Embed, ListedConversation};
pub use message_walk::MessageWalk;
pub use message_windows::{MessageChunk, Remaining, split_by_size};
pub use messages::BotMessage;
pub use rows::{CHUNK_BYTES, MessageRef};
pub use search::{ConversationSearch, Hit, MessageSearch, SearchIndexed, Searched};
pub use transfer::{ColumnType, Progress, Table, TableSum, Unfinished, backup, copy, restore, stored_tables};
pub use users::Session;

/// The pause between two attempts to reach the database at start.
const RECONNECT_PAUSE: Duration = Duration::from_millis(500);
/// Keys in one batch of reads of single rows.
const ROWS_BATCH: usize = 256;
/// Conversations in one batch of details, each with at most 256 KiB of messages.
const DETAILS_BATCH: usize = 32;

/// The database. Clones share it.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

/// The lock that lets one server at a time open a SQLite database. Empty for PostgreSQL, which several servers may
/// share.
pub struct ServerLock(Option<(PathBuf, Vec<File>)>);

impl ServerLock {
    /// Takes the lock; must be called before the store is opened. `Setup` where another server holds it. Creates the
    /// missing folders and files of a SQLite database.
    pub fn take(url: &str) -> Result<Self> {
        Self::take_or_say(url, "another server runs on this SQLite database: several need PostgreSQL")
    }

    /// Like [`ServerLock::take`], for a copy or a restore, which keeps servers away in the same way.
    fn take_at_rest(url: &str) -> Result<Self> {
        Self::take_or_say(url, "a server, or another copy or restore, uses this database: stop it first")
    }

    /// `taken`: the sentence of the error where another process has the lock.
    fn take_or_say(url: &str, taken: &str) -> Result<Self> {
        let DatabaseUrl::Sqlite(path) = parse(url)? else { return Ok(Self(None)) };
        let path = sqlite_file::resolve(&path)?;
        let files = sqlite_file::lock_server(&path, taken)?;
        Ok(Self(Some((path, files))))
    }

    /// Folds the log of a SQLite database into its file, unless another process has it open; to be called after the
    /// store is closed. Takes at most [`sqlite_file::CLOSE_TIME`].
    pub async fn fold(&self) {
        if let Some((path, _)) = &self.0 {
            sqlite_file::fold(path.clone()).await;
        }
    }

    /// Keeps the lock until the process ends. For a store whose connections may still be open: closing the lock's files
    /// would drop SQLite's own locks too.
    pub fn keep(self) {
        let _ = ManuallyDrop::new(self);
    }
}

struct Inner {
    reads: Arc<ReadPool>,
    loaders: Loaders,
    writer: Writer,
    start_level: StartLevel,
    /// Whether all conversations are known to have their row of `conversation_activity`.
    is_activity_indexed: AtomicBool,
    /// Whether everything is known to be searchable.
    is_search_indexed: AtomicBool,
    /// Notified when a conversation moved whose documents are still to be written anew.
    search_moves: Notify,
    /// See [`Store::access_changes`].
    access_changes: AtomicU64,
    /// Notified when a conversation was deleted whose messages are still to be deleted.
    deletions: Notify,
    /// The id of this node, random, so that no other living node has it. Marks the asks of this process.
    node: i32,
    /// See [`Store::is_shared`].
    is_shared: bool,
    /// The file of a SQLite database.
    file: Option<PathBuf>,
    /// To the other nodes of a PostgreSQL.
    bus: Option<Bus>,
}

/// The batched reads: those that nearly every request begins with, and short details.
struct Loaders {
    keys: Arc<BatchLoader>,
    sessions: Arc<BatchLoader>,
    conversations: Arc<BatchLoader>,
    conversations_by_session: Arc<BatchLoader>,
    /// Conversations with their messages where they are short.
    details: Arc<BatchLoader>,
}

impl Store {
    /// Opens the database at `sqlite:PATH` or `postgres://…` and brings its schema up to date.
    ///
    /// While PostgreSQL is unreachable, it is tried again for at most `wait`.
    pub async fn open(url: &str, wait: Duration, random: &Random, metrics: &Metrics) -> Result<Self> {
        let [a, b, c, d, ..] = random.bytes();
        let node = i32::from_be_bytes([a, b, c, d]);
        let (mut file, mut bus) = (None, None);
        let (backend, database) = match parse(url)? {
            DatabaseUrl::Sqlite(path) => {
                let path = sqlite_file::resolve(&path)?;
                file = Some(path.clone());
                migrations::migrate_sqlite(&path)?;
                (ReadBackend::Sqlite(sqlite::ReaderThreads::open(&path)?), WriterDatabase::Sqlite(path))
            }
            DatabaseUrl::Postgres(url) => {
                let server = postgres::Server::new(url)?;
                migrate_when_reachable(&server, wait).await?;
                bus = Some(Bus::new(server.clone(), node.into()));
                (
                    ReadBackend::Postgres(postgres::ReadConnections::new(&server)),
                    WriterDatabase::Postgres(server),
                )
            }
        };
        let is_shared = matches!(backend, ReadBackend::Postgres(_));
        let reads = Arc::new(ReadPool::new(backend, Arc::clone(&metrics.store)));
        let by_key = |sql| BatchLoader::new(&reads, Lane::Quick, sql, ROWS_BATCH);
        let loaders = Loaders {
            keys: by_key(keys::by_hash()),
            sessions: by_key(users::session_by_hash()),
            conversations: by_key(conversations::by_id()),
            conversations_by_session: by_key(conversations::by_session()),
            details: BatchLoader::new(&reads, Lane::Quick, details::detail(), DETAILS_BATCH),
        };
        let writer = Writer::start(database, node, Arc::clone(&metrics.store))?;
        let inner = Inner {
            reads,
            loaders,
            writer,
            start_level: StartLevel::default(),
            is_activity_indexed: AtomicBool::new(false),
            is_search_indexed: AtomicBool::new(false),
            search_moves: Notify::new(),
            access_changes: AtomicU64::new(0),
            deletions: Notify::new(),
            node,
            is_shared,
            file,
            bus,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Reads what a start would find in a database, and leaves nothing behind: its place and the version of its schema, for
    /// people. `Setup` and `Unavailable` as from [`Store::open`]; a SQLite database that a server or a copy uses at the
    /// moment is no error. For a process that has no store open.
    pub async fn probe(url: &str) -> Result<String> {
        let url = parse(url)?;
        let version = match &url {
            DatabaseUrl::Sqlite(path) => match sqlite_file::find(path)? {
                Some(path) => migrations::check_sqlite(&path)?,
                None => return Ok(format!("{url}, which does not exist yet: the first start creates it")),
            },
            DatabaseUrl::Postgres(config) => {
                let server = postgres::Server::new(config.clone())?;
                postgres_check::check(&server).await?;
                migrations::check_postgres(&server).await?
            }
        };
        Ok(match version {
            Some(version) => format!("{url}, schema version {version}"),
            None => format!("{url}, empty"),
        })
    }

    /// `Unavailable` where the database does not answer reads, or refused the last write. After a refused write the
    /// next successful one clears the state, at the latest the next heartbeat ([`Store::node_renew`]).
    pub async fn ping(&self) -> Result<()> {
        if self.inner.writer.is_closed() {
            return Err(Error::Unavailable("the writer has ended".into()));
        }
        if self.inner.writer.is_refused() {
            return Err(Error::Unavailable("what was written last was refused".into()));
        }
        self.inner.reads.query(Lane::Quick, "SELECT CAST(1 AS bigint)", vec![]).await.map(|_| ())
    }

    /// Whether the database refused the last write for a passing reason.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.inner.writer.is_refused()
    }

    /// Counts the changes of people, keys and logins that this process has committed: what it remembers of them is of
    /// before. Those of other processes are events of the feed.
    #[must_use]
    pub fn access_changes(&self) -> u64 {
        self.inner.access_changes.load(Ordering::SeqCst)
    }

    /// Writes the queued commands and closes the connections. Later writes, and on SQLite later reads, are refused.
    pub async fn close(&self) {
        self.inner.writer.close().await;
        self.inner.reads.close().await;
    }
}

fn parse(url: &str) -> Result<DatabaseUrl> {
    DatabaseUrl::parse(url).map_err(Error::Setup)
}

/// Checks the database and brings its schema up to date.
async fn migrate(server: &postgres::Server) -> Result<()> {
    postgres_check::check(server).await?;
    migrations::migrate_postgres(server).await
}

async fn migrate_when_reachable(server: &postgres::Server, wait: Duration) -> Result<()> {
    let deadline = tokio::time::Instant::now() + wait;
    loop {
        match migrate(server).await {
            Err(Error::Unavailable(reason)) if tokio::time::Instant::now() + RECONNECT_PAUSE < deadline => {
                tracing::info!(reason, "waiting for the database");
                tokio::time::sleep(RECONNECT_PAUSE).await;
            }
            result => return result,
        }
    }
}
