//! Runs statements on PostgreSQL or SQLite: values in, rows out. Knows no table.

mod gather;
pub mod postgres;
mod shared;
pub mod sqlite;
pub mod sqlite_file;
pub mod value;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use gather::Gather;
use shared::Read;
pub use shared::Shared;
pub use value::{Columns, Row, Value};

use crate::metrics::{Held, StoreMetrics};

/// Why a statement, or everything written with it, did not happen.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Something with the same unique name is there already, or what a row refers to is gone.
    #[error("conflict: {0}")]
    Conflict(String),
    /// The database is away, read-only, full or has too much to do. Nothing was stored.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// The database refuses this for now: the statement took too long, or a trigger of the operator's says so. Others may
    /// be accepted. Nothing was stored.
    #[error("the database refuses: {0}")]
    Refused(String),
    /// Another session holds a row for longer than the lock timeout. Nothing was stored.
    #[error("a row is locked: {0}")]
    Locked(String),
    /// Whether it was stored is not known: a commit went unanswered, and could not be looked up.
    #[error("the outcome is not known: {0}")]
    OutcomeUnknown(String),
    /// A stored value is not what its column should hold.
    #[error("{table}.{column} holds {found}")]
    Corrupt { table: &'static str, column: &'static str, found: String },
    /// The schema or the configuration is not one this program can work with. Only at start.
    #[error("{0}")]
    Setup(String),
    /// A statement that this program wrote wrongly, or a fault of the database.
    #[error("database error: {0}")]
    Database(String),
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Whether the same may succeed later, without anybody changing it.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Refused(_) | Self::Locked(_) | Self::OutcomeUnknown(_))
    }
}

/// The database's own clock, in milliseconds since 1970: for what several nodes, whose clocks differ, compare. It stands
/// still within a statement, so that an index can be searched by it.
pub struct DatabaseClock;

impl DatabaseClock {
    pub const POSTGRES: &str = "CAST(extract(epoch FROM statement_timestamp()) * 1000 AS bigint)";
    pub const SQLITE: &str = "CAST(unixepoch('subsec') * 1000 AS integer)";
}

/// A span as columns hold it.
pub fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 2)
}

/// One statement in each dialect.
///
/// Parameters are `$1`, `$2`, … in both; SQLite gets them as `?1`, `?2`, …, which it numbers as they say. In a statement
/// for many rows (`query_many`) PostgreSQL gets each parameter as an array of all rows' values, and SQLite runs its text
/// once a row.
#[derive(Debug, Clone)]
pub struct Sql {
    pub postgres: Cow<'static, str>,
    pub sqlite: Cow<'static, str>,
}

impl Sql {
    /// A text that both dialects accept.
    pub fn both(text: impl Into<Cow<'static, str>>) -> Self {
        let text = text.into();
        Self { sqlite: numbered(text.clone()), postgres: text }
    }

    pub fn each(postgres: impl Into<Cow<'static, str>>, sqlite: impl Into<Cow<'static, str>>) -> Self {
        Self { postgres: postgres.into(), sqlite: numbered(sqlite.into()) }
    }
}

/// The text with `?1` for `$1`: SQLite numbers `$1` by its first appearance.
fn numbered(text: Cow<'static, str>) -> Cow<'static, str> {
    if text.contains('$') { text.replace('$', "?").into() } else { text }
}

impl From<&Sql> for Sql {
    fn from(sql: &Sql) -> Self {
        sql.clone()
    }
}

impl From<&'static str> for Sql {
    fn from(text: &'static str) -> Self {
        Self::both(text)
    }
}

impl From<String> for Sql {
    fn from(text: String) -> Self {
        Self::both(text)
    }
}

/// Quick reads under way at once; beyond it, new ones are refused. A full lane is through in a few hundredths of a
/// second.
const QUICK_READS: usize = 1024;
/// The same for slow ones, of which each takes a millisecond or two.
const SLOW_READS: usize = 128;

/// Which reads stand in line together: a slow one ahead of others would slow them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Reads by key, of bounded cost.
    Quick,
    /// Quick reads for an answer that has begun: never refused, they wait for their turn, ahead of new ones.
    Rest,
    /// Lists, whose cost may grow with what is stored.
    Slow,
}

/// The reading side of a database.
pub struct Reads {
    from: Source,
    under_way: Arc<Shared<Read, Vec<Row>, Place>>,
    quick: Arc<Semaphore>,
    slow: Arc<Semaphore>,
    metrics: Arc<StoreMetrics>,
}

pub enum Source {
    Postgres(postgres::Reads),
    Sqlite(sqlite::Reads),
}

impl Reads {
    pub fn new(from: Source, metrics: Arc<StoreMetrics>) -> Self {
        Self {
            from,
            under_way: Arc::default(),
            quick: Arc::new(Semaphore::new(QUICK_READS)),
            slow: Arc::new(Semaphore::new(SLOW_READS)),
            metrics,
        }
    }

    pub async fn query(
        self: &Arc<Self>,
        lane: Lane,
        sql: impl Into<Sql>,
        params: Vec<Value>,
    ) -> Result<Vec<Row>> {
        let sql = sql.into();
        let text = match &self.from {
            Source::Postgres(_) => sql.postgres,
            Source::Sqlite(_) => sql.sqlite,
        };
        let place = self.place(lane).await?;
        self.share(Read { lane, text, rows: vec![params] }, place).await
    }

    /// Runs a statement for many rows of parameters; the rows that come back follow each other.
    pub async fn query_many(
        self: &Arc<Self>,
        lane: Lane,
        sql: Sql,
        rows: Vec<Vec<Value>>,
    ) -> Result<Vec<Row>> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let place = self.place(lane).await?;
        self.share(self.many(lane, sql, rows), place).await
    }

    fn many(&self, lane: Lane, sql: Sql, rows: Vec<Vec<Value>>) -> Read {
        match &self.from {
            Source::Postgres(_) => Read { lane, text: sql.postgres, rows: vec![value::columns(rows)] },
            Source::Sqlite(_) => Read { lane, text: sql.sqlite, rows },
        }
    }

    async fn run(&self, read: &Arc<Read>) -> Result<Vec<Row>> {
        match &self.from {
            Source::Postgres(reads) => reads.query(read.lane, &read.text, &read.rows[0]).await,
            Source::Sqlite(reads) => reads.query(Arc::clone(read)).await,
        }
    }

    /// Closes connections that others may wait for, after the reads under way.
    pub async fn close(&self) {
        if let Source::Sqlite(reads) = &self.from {
            reads.close().await;
        }
    }

    async fn place(&self, lane: Lane) -> Result<Place> {
        let (counted, place) = match lane {
            Lane::Quick => (self.metrics.quick_read(), Arc::clone(&self.quick).try_acquire_owned()),
            Lane::Rest => {
                let counted = self.metrics.quick_read();
                let place = Arc::clone(&self.quick).acquire_owned().await;
                return Ok(Place { _permit: place.expect("nobody closes the semaphore"), _counted: counted });
            }
            Lane::Slow => (self.metrics.slow_read(), Arc::clone(&self.slow).try_acquire_owned()),
        };
        let permit = place.map_err(|_| Error::Unavailable("too many reads wait".into()))?;
        Ok(Place { _permit: permit, _counted: counted })
    }
}

/// A place among the reads under way, until the read is made: whether its caller waits for it or has left.
pub struct Place {
    _permit: OwnedSemaphorePermit,
    _counted: Held,
}

/// Runs statements within a transaction that somebody else begins and ends.
pub enum Executor<'a> {
    Postgres(&'a postgres::Connection),
    Sqlite(&'a rusqlite::Connection),
}

impl Executor<'_> {
    pub async fn query(&self, sql: impl Into<Sql>, params: Vec<Value>) -> Result<Vec<Row>> {
        let sql = sql.into();
        match self {
            Self::Postgres(connection) => connection.query(&sql.postgres, &params).await,
            Self::Sqlite(connection) => sqlite::query(connection, &sql.sqlite, &[params]),
        }
    }

    /// Runs a statement for many rows of parameters; without rows it is left out.
    pub async fn query_many(&self, sql: impl Into<Sql>, rows: Vec<Vec<Value>>) -> Result<Vec<Row>> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let sql = sql.into();
        match self {
            Self::Postgres(connection) => connection.query(&sql.postgres, &value::columns(rows)).await,
            Self::Sqlite(connection) => sqlite::query(connection, &sql.sqlite, &rows),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use futures_util::{FutureExt, poll};

    use super::*;
    use crate::metrics::Metrics;

    #[tokio::test]
    async fn a_full_lane_refuses_what_is_new_and_lets_wait_what_has_begun() {
        let folder = tempfile::tempdir().unwrap();
        let reads = Arc::new(Reads::new(
            Source::Sqlite(sqlite::Reads::open(&folder.path().join("db")).unwrap()),
            Metrics::default().store,
        ));
        let read = |lane| reads.query(lane, "SELECT 1", vec![]);
        for (lane, size, places) in
            [(Lane::Quick, QUICK_READS, &reads.quick), (Lane::Slow, SLOW_READS, &reads.slow)]
        {
            let taken = places.acquire_many(u32::try_from(size).unwrap()).await.unwrap();
            let refused = poll!(read(lane).boxed());
            assert!(matches!(refused, Poll::Ready(Err(Error::Unavailable(_)))), "{lane:?}");
            let mut rest = read(Lane::Rest).boxed();
            if lane == Lane::Quick {
                assert!(poll!(&mut rest).is_pending());
                drop(taken);
                assert!(!matches!(poll!(read(lane).boxed()), Poll::Ready(Err(_))));
            }
            assert_eq!(rest.await.unwrap().len(), 1);
        }
        for lane in [Lane::Quick, Lane::Slow] {
            assert_eq!(read(lane).await.unwrap().len(), 1, "{lane:?}");
        }
    }
}
