//! A connection to PostgreSQL: prepared statements, a bound on every wait, and what errors mean to a caller. Several
//! tasks may share it; their statements are pipelined.

use std::collections::HashMap;
use std::error::Error as _;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::TryStreamExt;
use tokio_postgres::error::{Severity, SqlState};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, SimpleQueryMessage, Statement};

use super::{Error, Result, Row, Value};

/// How long any one statement may take, here and on the server.
pub const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);
/// Prepared statements of one connection. Their texts vary only by the filters of lists.
const CACHED_STATEMENTS: usize = 512;

/// A connection with its cache of prepared statements.
pub struct Connection {
    client: Client,
    prepared: Mutex<HashMap<String, Statement>>,
    /// An error after which a new connection may succeed where this one fails: after a failover this one leads to a
    /// standby.
    must_reconnect: AtomicBool,
}

impl Connection {
    pub fn new(client: Client) -> Self {
        Self { client, prepared: Mutex::default(), must_reconnect: AtomicBool::new(false) }
    }

    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Whether the next statement needs a new connection.
    pub fn is_closed(&self) -> bool {
        self.client.is_closed() || self.must_reconnect.load(Ordering::Relaxed)
    }

    /// The prepared statement, from the cache where it is there.
    pub async fn prepare(&self, sql: &str) -> Result<Statement> {
        let cached = self.prepared.lock().unwrap_or_else(PoisonError::into_inner).get(sql).cloned();
        if let Some(statement) = cached {
            return Ok(statement);
        }
        let statement = self.client.prepare(sql).await.map_err(|error| self.failure(&error))?;
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        if prepared.len() >= CACHED_STATEMENTS {
            prepared.clear();
        }
        prepared.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    pub async fn query(&self, sql: &str, params: &[Value]) -> Result<Vec<Row>> {
        self.within_timeout(async { self.run(&self.prepare(sql).await?, params).await }).await
    }

    /// The first rows of a statement's result, up to the row with which they reach `bytes`; the connection reads over the
    /// others. Waits for as long as the session's `statement_timeout` lets it.
    pub async fn query_up_to(&self, sql: &str, params: &[Value], bytes: usize) -> Result<Vec<Row>> {
        let statement = self.prepare(sql).await?;
        let found = self.client.query_raw(&statement, params).await.map_err(|error| self.failure(&error))?;
        let mut found = pin!(found);
        let (mut rows, mut size) = (Vec::new(), 0);
        while size < bytes
            && let Some(row) = found.try_next().await.map_err(|error| self.failure(&error))?
        {
            let row = self.row(&row)?;
            size += row.bytes();
            rows.push(row);
        }
        Ok(rows)
    }

    /// Runs a statement that commits by itself, or a COMMIT; an error says whether it may be committed. `number_taken`:
    /// the constraint that the statement violates where another transaction has taken the number of its batch.
    pub async fn call(
        &self,
        sql: &str,
        params: &[Value],
        number_taken: &str,
    ) -> std::result::Result<Vec<Row>, CallError> {
        let statement = self.within_timeout(self.prepare(sql)).await.map_err(CallError::NotCommitted)?;
        let called = async { Ok(self.client.query(&statement, &references(params)).await) };
        match self.within_timeout(called).await {
            Ok(Ok(rows)) => {
                let rows = rows.iter().map(|row| self.row(row)).collect::<Result<_>>();
                rows.map_err(|_| CallError::InDoubt)
            }
            Ok(Err(error)) => Err(self.call_error(&error, number_taken)),
            Err(_) => Err(CallError::InDoubt),
        }
    }

    /// Commits a transaction. The `last` statement is sent together with the COMMIT, so that the server waits for nothing
    /// between the two: for a statement whose locks must not outlast this program's sleep.
    pub async fn commit(
        &self,
        last: Option<(&str, &[Value])>,
        number_taken: &str,
    ) -> std::result::Result<(), CallError> {
        const COMMIT: &str = "COMMIT";
        let Some((sql, params)) = last else {
            return self.call(COMMIT, &[], number_taken).await.map(|_| ());
        };
        // Prepared before: a COMMIT would overtake a statement that is still being prepared.
        let prepared = async { Ok((self.prepare(sql).await?, self.prepare(COMMIT).await?)) };
        let (last, commit) = self.within_timeout(prepared).await.map_err(CallError::NotCommitted)?;
        let params = references(params);
        let sent = async {
            // Sent in this order: each is queued when it is first polled.
            Ok(tokio::join!(self.client.query(&last, &params), self.client.query(&commit, &[])))
        };
        match self.within_timeout(sent).await {
            Ok((Ok(_), Ok(_))) => Ok(()),
            // The COMMIT of a transaction that has failed rolls it back.
            Ok((Err(error), Ok(_))) => Err(CallError::NotCommitted(self.failure(&error))),
            Ok((_, Err(error))) => Err(self.call_error(&error, number_taken)),
            Err(_) => Err(CallError::InDoubt),
        }
    }

    fn call_error(&self, error: &tokio_postgres::Error, number_taken: &str) -> CallError {
        let failure = self.failure(error);
        // Errors of the severity ERROR roll the transaction back. With FATAL the server ends the session, which may
        // have committed before.
        match error.as_db_error().filter(|error| error.parsed_severity() == Some(Severity::Error)) {
            Some(error) if error.constraint() == Some(number_taken) => CallError::NumberTaken,
            Some(_) => CallError::NotCommitted(failure),
            None => {
                self.must_reconnect.store(true, Ordering::Relaxed);
                CallError::InDoubt
            }
        }
    }

    fn row(&self, row: &tokio_postgres::Row) -> Result<Row> {
        // A collected `Result` grows step by step, and rows are wide.
        let mut values = Vec::with_capacity(row.len());
        for column in 0..row.len() {
            values.push(row.try_get(column).map_err(|error| self.failure(&error))?);
        }
        Ok(Row(values))
    }

    async fn run(&self, statement: &Statement, params: &[Value]) -> Result<Vec<Row>> {
        if statement.params().len() != params.len() {
            return Err(Error::Database(format!(
                "{} parameters for a statement with {}",
                params.len(),
                statement.params().len()
            )));
        }
        let rows =
            self.client.query(statement, &references(params)).await.map_err(|error| self.failure(&error))?;
        rows.iter().map(|row| self.row(row)).collect()
    }

    /// The first value of a statement's result as text. The statement is not prepared: a pooler in transaction mode may
    /// lead each one to another session.
    pub async fn text(&self, sql: &str) -> Result<String> {
        let messages = self
            .within_timeout(async {
                self.client.simple_query(sql).await.map_err(|error| self.failure(&error))
            })
            .await?;
        let first = messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        Ok(first.unwrap_or_default().to_owned())
    }

    /// Runs statements without parameters or results.
    pub async fn execute(&self, sql: &str) -> Result<()> {
        self.within_timeout(async {
            self.client.batch_execute(sql).await.map_err(|error| self.failure(&error))
        })
        .await
    }

    /// As [`Connection::execute`], and waits for as long as the session's `statement_timeout` lets it.
    pub async fn execute_at_length(&self, sql: &str) -> Result<()> {
        self.client.batch_execute(sql).await.map_err(|error| self.failure(&error))
    }

    /// Bounds the wait for the database. After the timeout the connection is not used again.
    async fn within_timeout<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        // A second more than the server's own statement timeout, whose error says more than this one.
        tokio::time::timeout(STATEMENT_TIMEOUT + Duration::from_secs(1), work).await.unwrap_or_else(|_| {
            self.must_reconnect.store(true, Ordering::Relaxed);
            Err(Error::Unavailable("the database does not answer".into()))
        })
    }

    fn failure(&self, error: &tokio_postgres::Error) -> Error {
        let failure = failure(error);
        let is_rollback = error.code().is_some_and(|code| {
            code.code().starts_with("40") || *code == SqlState::IN_FAILED_SQL_TRANSACTION
        });
        // An internal error may concern this session alone.
        let is_internal = error.code().is_some_and(|code| code.code().starts_with("XX"));
        if is_internal || (matches!(failure, Error::Unavailable(_)) && !is_rollback) {
            self.must_reconnect.store(true, Ordering::Relaxed);
        }
        failure
    }
}

/// What an error says about a statement that commits by itself.
pub enum CallError {
    /// Not committed.
    NotCommitted(Error),
    /// Not committed: a look-up or a fold has taken the number of its batch (marked it void).
    NumberTaken,
    /// The answer got lost: the statement may be committed, now or later.
    InDoubt,
}

fn references(params: &[Value]) -> Vec<&(dyn ToSql + Sync)> {
    params.iter().map(|value| value as _).collect()
}

/// What an error of PostgreSQL means to a caller, by the classes of
/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
pub fn failure(error: &tokio_postgres::Error) -> Error {
    let Some(database) = error.as_db_error() else {
        let cause = error.source().map_or_else(String::new, |cause| format!(": {cause}"));
        return if error.is_closed() || error.source().is_some_and(|cause| cause.is::<std::io::Error>()) {
            Error::Unavailable(format!("{error}{cause}"))
        } else {
            Error::Database(format!("{error}{cause}"))
        };
    };
    let code = database.code();
    let text = format!("{} ({})", database.message(), code.code());
    match &code.code()[..2] {
        _ if *code == SqlState::UNIQUE_VIOLATION || *code == SqlState::FOREIGN_KEY_VIOLATION => {
            Error::Conflict(text)
        }
        // The data of one command: cardinality, values, constraints.
        "21" | "22" | "23" | "44" => Error::Database(text),
        // A login that the server refuses.
        "28" | "3D" => Error::Setup(text),
        // A newer version of the program has replaced the function: this node cannot write any more.
        "42" if *code == SqlState::UNDEFINED_FUNCTION => Error::Unavailable(text),
        // A table that is being restored, or a privilege that was revoked, comes back. All others of the class are
        // defects of this program's SQL.
        "42" if ![SqlState::UNDEFINED_TABLE, SqlState::INSUFFICIENT_PRIVILEGE].contains(code) => {
            Error::Database(text)
        }
        "55" if *code == SqlState::LOCK_NOT_AVAILABLE => Error::Locked(text),
        // Raised by `wicara_append_…` where the node has no row: the next connection registers it.
        "55" if *code == SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE => Error::Unavailable(text),
        // The statement timeout: one command of a batch may be the cause.
        "57" if *code == SqlState::QUERY_CANCELED => Error::Refused(text),
        // The server as a whole cannot take statements for now: lost connections, a failover (0A, 25), statements that
        // a pooler lost (26), a deadlock (40), no resources (53), an operator (57), its disk (58), its configuration
        // (F0).
        "08" | "0A" | "25" | "26" | "40" | "53" | "57" | "58" | "F0" => Error::Unavailable(text),
        // Limits such as wraparound (54), internal errors (XX), and errors of any class that an operator's triggers
        // raise: these may concern one command of a batch alone, and may pass.
        _ => Error::Refused(text),
    }
}
