//! The writing side: runs statements within a transaction that the writer begins and ends.

use super::{Result, Row, Sql, Value, postgres_connection, sqlite, value};

/// A connection with an open transaction.
pub enum Executor<'a> {
    Postgres(&'a postgres_connection::Connection),
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

    /// Runs a statement for many rows of parameters; without rows it does nothing.
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
