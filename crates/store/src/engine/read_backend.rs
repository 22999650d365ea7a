//! The reading connections of either database.

use std::sync::Arc;

use super::bound_statement::{BoundStatement, Lane};
use super::{Result, Row, Sql, Value, postgres, sqlite, value};

pub enum ReadBackend {
    Postgres(postgres::ReadConnections),
    Sqlite(sqlite::ReaderThreads),
}

impl ReadBackend {
    pub fn bind_rows(&self, lane: Lane, sql: Sql, rows: Vec<Vec<Value>>) -> BoundStatement {
        match self {
            Self::Postgres(_) => {
                BoundStatement { lane, text: sql.postgres, rows: vec![value::columns(rows)] }
            }
            Self::Sqlite(_) => BoundStatement { lane, text: sql.sqlite, rows },
        }
    }

    /// Runs a statement now, without a permit of its own: its callers hold theirs.
    pub async fn run(&self, statement: &Arc<BoundStatement>) -> Result<Vec<Row>> {
        match self {
            Self::Postgres(connections) => {
                connections.query(statement.lane, &statement.text, &statement.rows[0]).await
            }
            Self::Sqlite(readers) => readers.query(Arc::clone(statement)).await,
        }
    }

    /// Closes the connections of a SQLite database after the reads under way: another process may wait for its file.
    pub async fn close(&self) {
        if let Self::Sqlite(readers) = self {
            readers.close().await;
        }
    }
}
