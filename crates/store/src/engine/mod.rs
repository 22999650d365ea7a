//! Runs statements on PostgreSQL or SQLite: values in, rows out. Knows no table.

mod batch_loader;
pub mod postgres;
mod row_batches;
mod single_flight;
pub mod sqlite;
pub mod sqlite_connection;
pub mod sqlite_file;
pub mod value;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wicara_metrics::{GaugeGuard, StoreMetrics};

use single_flight::SingleFlight;

pub use batch_loader::BatchLoader;
use row_batches::{RowBatches, Statement};
pub use value::{Columns, Row, Value};

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
    single_flight: SingleFlight,
    row_batches: RowBatches,
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
            single_flight: SingleFlight::default(),
            row_batches: RowBatches::default(),
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
        let permit = self.permit(lane).await?;
        self.run_once(Read { lane, text, rows: vec![params] }, permit).await
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
        let permit = self.permit(lane).await?;
        self.run_once(self.many(lane, sql, rows), permit).await
    }

    /// Runs a statement once for each row of numbers, all in one go; what is found comes in no order. `statement` is told
    /// what the numbers are called in it; its other parameters are `params`, which all rows share. On PostgreSQL other
    /// callers' rows for the same statement are read along.
    pub async fn query_each<const N: usize>(
        self: &Arc<Self>,
        lane: Lane,
        params: Vec<Value>,
        rows: Vec<[i64; N]>,
        statement: impl Fn([&str; N]) -> Sql,
    ) -> Result<Vec<Row>> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let permit = self.permit(lane).await?;
        let numbers: [String; N] = std::array::from_fn(|index| format!("${}", params.len() + index + 1));
        match &self.from {
            Source::Postgres(_) => {
                let arrays =
                    numbers.each_ref().map(|number| format!("CAST({number} AS bigint[])")).join(", ");
                let names: [String; N] = std::array::from_fn(|index| format!("number_{index}"));
                let columns = names.each_ref().map(|name| format!("each_row.{name}"));
                let statement = statement(columns.each_ref().map(String::as_str)).postgres;
                let text = format!(
                    "SELECT found.*, place FROM unnest({arrays}, CAST(${} AS bigint[])) AS each_row ({}, place) \
                     CROSS JOIN LATERAL ({statement}) AS found",
                    params.len() + N + 1,
                    names.join(", ")
                );
                let rows = rows.iter().map(|row| row.map(Value::Int).into()).collect();
                self.run_batched(Statement { lane, text, params }, rows, permit).await
            }
            Source::Sqlite(_) => {
                let text = statement(numbers.each_ref().map(String::as_str)).sqlite;
                let with = |row: &[i64; N]| params.iter().cloned().chain(row.map(Value::Int)).collect();
                self.run_once(Read { lane, text, rows: rows.iter().map(with).collect() }, permit).await
            }
        }
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

    async fn permit(&self, lane: Lane) -> Result<ReadPermit> {
        let (counted, permit) = match lane {
            Lane::Quick => (self.metrics.quick_read(), Arc::clone(&self.quick).try_acquire_owned()),
            Lane::Rest => {
                let counted = self.metrics.quick_read();
                let permit = Arc::clone(&self.quick).acquire_owned().await;
                return Ok(ReadPermit {
                    _permit: permit.expect("nobody closes the semaphore"),
                    _counted: counted,
                });
            }
            Lane::Slow => (self.metrics.slow_read(), Arc::clone(&self.slow).try_acquire_owned()),
        };
        let permit = permit.map_err(|_| Error::Unavailable("too many reads wait".into()))?;
        Ok(ReadPermit { _permit: permit, _counted: counted })
    }
}

/// One of the reads under way, until its database has answered.
pub struct ReadPermit {
    _permit: OwnedSemaphorePermit,
    _counted: GaugeGuard,
}

/// A statement as its database gets it.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Read {
    pub lane: Lane,
    pub text: Cow<'static, str>,
    /// Each row's parameters. PostgreSQL gets one row, where need be of arrays.
    pub rows: Vec<Vec<Value>>,
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
    use tempfile::TempDir;
    use wicara_metrics::Metrics;

    use super::*;

    fn reads() -> (TempDir, Arc<Reads>) {
        let folder = tempfile::tempdir().unwrap();
        let source = Source::Sqlite(sqlite::Reads::open(&folder.path().join("db")).unwrap());
        (folder, Arc::new(Reads::new(source, Metrics::default().store)))
    }

    #[tokio::test]
    async fn a_full_lane_refuses_what_is_new_and_lets_wait_what_has_begun() {
        let (_folder, reads) = reads();
        let read = |lane| reads.query(lane, "SELECT 1", vec![]);
        for (lane, size, permits) in
            [(Lane::Quick, QUICK_READS, &reads.quick), (Lane::Slow, SLOW_READS, &reads.slow)]
        {
            let taken = permits.acquire_many(u32::try_from(size).unwrap()).await.unwrap();
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
