//! Runs statements on PostgreSQL or SQLite: values in, rows out. Knows no table.

pub mod postgres;
pub mod sqlite;
pub mod value;
pub mod writer;

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

pub use value::{Columns, Row, Value};

use crate::metrics::{Held, StoreMetrics};

/// Why a statement, or everything written with it, did not happen.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Something with the same unique name is there already, or what a row refers to is gone.
    #[error("conflict: {0}")]
    Conflict(String),
    /// The database is away, full, too slow or has too much to do. Nothing was stored, but for a commit whose
    /// outcome could not be looked up.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
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

/// One statement in each dialect.
///
/// Parameters are `$1`, `$2`, … in both. In a statement for many rows (`query_many`) PostgreSQL gets each
/// parameter as an array of all rows' values, and SQLite runs its text once a row.
#[derive(Debug, Clone)]
pub struct Sql {
    pub postgres: Cow<'static, str>,
    pub sqlite: Cow<'static, str>,
}

impl Sql {
    /// A text that both dialects accept.
    pub fn both(text: impl Into<Cow<'static, str>>) -> Self {
        let text = text.into();
        Self { postgres: text.clone(), sqlite: text }
    }

    pub fn each(postgres: impl Into<Cow<'static, str>>, sqlite: impl Into<Cow<'static, str>>) -> Self {
        Self { postgres: postgres.into(), sqlite: sqlite.into() }
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

/// Which reads stand in line together: a slow one ahead of others would slow them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Reads by key, of bounded cost.
    Quick,
    /// Lists, whose cost may grow with what is stored.
    Slow,
}

/// The reading side of a database.
pub struct Reads {
    backend: Backend,
    metrics: Arc<StoreMetrics>,
}

enum Backend {
    Postgres(postgres::Reads),
    Sqlite(sqlite::Reads),
}

impl Reads {
    pub fn postgres(server: &postgres::Server, metrics: Arc<StoreMetrics>) -> Self {
        Self { backend: Backend::Postgres(postgres::Reads::new(server)), metrics }
    }

    pub fn sqlite(path: &Path, metrics: Arc<StoreMetrics>) -> Result<Self> {
        Ok(Self { backend: Backend::Sqlite(sqlite::Reads::open(path)?), metrics })
    }

    fn pending(&self, lane: Lane) -> Held {
        match lane {
            Lane::Quick => self.metrics.quick_read(),
            Lane::Slow => self.metrics.slow_read(),
        }
    }

    pub async fn query(&self, lane: Lane, sql: impl Into<Sql>, params: Vec<Value>) -> Result<Vec<Row>> {
        let sql = sql.into();
        let _pending = self.pending(lane);
        match &self.backend {
            Backend::Postgres(reads) => reads.query(lane, &sql.postgres, params).await,
            Backend::Sqlite(reads) => reads.query(lane, sql.sqlite, vec![params]).await,
        }
    }

    /// Runs a statement for many rows of parameters; the rows that come back follow each other.
    pub async fn query_many(&self, lane: Lane, sql: Sql, rows: Vec<Vec<Value>>) -> Result<Vec<Row>> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let _pending = self.pending(lane);
        match &self.backend {
            Backend::Postgres(reads) => reads.query(lane, &sql.postgres, value::columns(rows)).await,
            Backend::Sqlite(reads) => reads.query(lane, sql.sqlite, rows).await,
        }
    }
}

/// The transaction that the writer has open.
pub enum Transaction<'a> {
    Postgres(&'a postgres::Connection),
    Sqlite(&'a rusqlite::Connection),
}

impl Transaction<'_> {
    pub async fn query(&self, sql: impl Into<Sql>, params: Vec<Value>) -> Result<Vec<Row>> {
        let sql = sql.into();
        match self {
            Transaction::Postgres(connection) => connection.query(&sql.postgres, params).await,
            Transaction::Sqlite(connection) => sqlite::query(connection, &sql.sqlite, &[params]),
        }
    }

    /// See [`Reads::query_many`].
    pub async fn query_many(&self, sql: Sql, rows: Vec<Vec<Value>>) -> Result<Vec<Row>> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        match self {
            Transaction::Postgres(connection) => connection.query(&sql.postgres, value::columns(rows)).await,
            Transaction::Sqlite(connection) => sqlite::query(connection, &sql.sqlite, &rows),
        }
    }
}
