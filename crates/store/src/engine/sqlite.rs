//! SQLite: its migrations, its statements, and the reader threads. The writer's one connection is in
//! `writer/sqlite.rs`.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, InterruptHandle, StatementStatus, ToSql};
use tokio::sync::oneshot;

use super::bound_statement::{BoundStatement, Lane};
use super::sqlite_connection::{failure, open};
use super::sqlite_file::within_close_time;
use super::{Error, Result, Row, Value};

const QUICK_READERS: usize = 2;
const SLOW_READERS: usize = 1;
/// How long closing waits for a reader's statement before it is interrupted.
const INTERRUPT_AFTER: Duration = Duration::from_secs(1);

/// Runs a statement once for each row of parameters.
pub fn query(connection: &Connection, sql: &str, rows: &[Vec<Value>]) -> Result<Vec<Row>> {
    let run = || {
        let mut statement = connection.prepare_cached(sql)?;
        let width = statement.column_count();
        let (given, known) = (rows.first().map_or(0, Vec::len), statement.parameter_count());
        if given != known {
            return Err(rusqlite::Error::InvalidParameterCount(given, known));
        }
        let mut found = Vec::new();
        for params in rows {
            for (position, value) in (1..).zip(params) {
                statement.raw_bind_parameter(position, value)?;
            }
            let mut results = statement.raw_query();
            while let Some(result) = results.next()? {
                found.push(row(result, width)?);
            }
        }
        tracing::trace!(sql, steps = statement.reset_status(StatementStatus::VmStep));
        Ok(found)
    };
    run().map_err(|error| failure(&error))
}

/// The first rows of a statement's result, up to the row with which they reach `bytes`.
pub fn query_up_to(connection: &Connection, sql: &str, params: &[Value], bytes: usize) -> Result<Vec<Row>> {
    let run = || {
        let mut statement = connection.prepare_cached(sql)?;
        let width = statement.column_count();
        let mut results = statement.query(rusqlite::params_from_iter(params))?;
        let (mut found, mut size) = (Vec::new(), 0);
        while size < bytes
            && let Some(result) = results.next()?
        {
            let row = row(result, width)?;
            size += row.bytes();
            found.push(row);
        }
        Ok(found)
    };
    run().map_err(|error| failure(&error))
}

fn row(result: &rusqlite::Row<'_>, width: usize) -> rusqlite::Result<Row> {
    // A collected `Result` grows step by step, and rows are wide.
    let mut values = Vec::with_capacity(width);
    for column in 0..width {
        values.push(column_value(result.get_ref(column)?));
    }
    Ok(Row(values))
}

fn column_value(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(value) => Value::Int(value),
        // No column is declared REAL, so that STRICT tables hold none; the type is named if one appears.
        ValueRef::Real(value) => Value::Text(value.to_string()),
        ValueRef::Text(value) => Value::Text(String::from_utf8_lossy(value).into_owned()),
        ValueRef::Blob(value) => Value::Bytes(value.to_vec()),
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Value::Null => ValueRef::Null,
            Value::Int(value) => ValueRef::Integer(*value),
            Value::Text(value) => ValueRef::Text(value.as_bytes()),
            Value::Uuid(value) => ValueRef::Blob(value.as_bytes()),
            Value::Bytes(value) => ValueRef::Blob(value),
            Value::Terms(terms) => ValueRef::Text(terms.as_str().as_bytes()),
            Value::Array(_) | Value::Composite(_) => {
                return Err(rusqlite::Error::ToSqlConversionFailure("an array is no value in SQLite".into()));
            }
        }))
    }
}

enum ReaderJob {
    Run(Arc<BoundStatement>, oneshot::Sender<Result<Vec<Row>>>),
    /// Ends the one reader that takes it from the queue.
    Close,
}

/// The reader threads of both lanes, each with its own connection.
pub struct ReaderThreads {
    quick: LaneReaders,
    slow: LaneReaders,
}

/// The readers of one lane, which share a queue. It needs no bound: each job holds a read permit.
struct LaneReaders {
    queue: Sender<ReaderJob>,
    readers: Vec<Reader>,
}

#[derive(Clone)]
struct Reader {
    interrupt: Arc<InterruptHandle>,
    /// Disconnected as soon as the connection is closed.
    closed: Receiver<()>,
}

impl ReaderThreads {
    pub fn open(path: &Path) -> Result<Self> {
        let closing = Arc::default();
        let open = |name, count| LaneReaders::open(path, name, count, &closing);
        Ok(Self { quick: open("quick", QUICK_READERS)?, slow: open("slow", SLOW_READERS)? })
    }

    pub async fn query(&self, statement: Arc<BoundStatement>) -> Result<Vec<Row>> {
        let lane = match statement.lane {
            Lane::Quick | Lane::Continuation => &self.quick,
            Lane::Slow | Lane::Walk => &self.slow,
        };
        let (reply, rows) = oneshot::channel();
        let closed = || Error::Unavailable("the store is closed".into());
        lane.queue.send(ReaderJob::Run(statement, reply)).map_err(|_| closed())?;
        rows.await.map_err(|_| closed())?
    }

    /// Runs the queued reads and closes the connections. A statement that still runs after [`INTERRUPT_AFTER`] is
    /// interrupted.
    pub async fn close(&self) {
        let mut closing = Vec::new();
        for LaneReaders { queue, readers } in [&self.quick, &self.slow] {
            for reader in readers {
                let _ = queue.send(ReaderJob::Close);
                closing.push(reader.clone());
            }
        }
        let closed = within_close_time(move || {
            for Reader { interrupt, closed } in closing {
                while closed.recv_timeout(INTERRUPT_AFTER) == Err(RecvTimeoutError::Timeout) {
                    interrupt.interrupt();
                }
            }
        });
        if closed.await.is_none() {
            tracing::warn!("connections to the database took too long to close");
        }
    }
}

impl LaneReaders {
    /// `closing` is a lock under which connections are closed one after the other: SQLite removes the log with the last
    /// one, and two that close at the same time each see the other still open.
    fn open(path: &Path, name: &str, count: usize, closing: &Arc<Mutex<()>>) -> Result<Self> {
        let (queue, jobs) = crossbeam_channel::unbounded();
        let mut readers = Vec::with_capacity(count);
        for number in 0..count {
            let connection = open(path)?;
            connection
                .pragma_update(None, "query_only", true)
                .map_err(|error| Error::Setup(format!("cannot open a reader: {error}")))?;
            let (open, closed) = crossbeam_channel::bounded(0);
            readers.push(Reader { interrupt: Arc::new(connection.get_interrupt_handle()), closed });
            let (jobs, closing) = (jobs.clone(), Arc::clone(closing));
            std::thread::Builder::new()
                .name(format!("sqlite-{name}-{number}"))
                .spawn(move || {
                    run(&jobs, &connection);
                    let alone = closing.lock().unwrap_or_else(PoisonError::into_inner);
                    drop(connection);
                    drop((alone, open));
                })
                .map_err(|error| Error::Setup(format!("cannot start a reader: {error}")))?;
        }
        Ok(Self { queue, readers })
    }
}

fn run(jobs: &Receiver<ReaderJob>, connection: &Connection) {
    while let Ok(ReaderJob::Run(statement, reply)) = jobs.recv() {
        let _ = reply.send(query(connection, &statement.text, &statement.rows));
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_read_without_end_does_not_keep_the_connections_open() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let readers = ReaderThreads::open(&path).unwrap();
        let endless =
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
        let read = |lane| Arc::new(BoundStatement { lane, text: endless.into(), rows: vec![vec![]] });
        let lanes = [Lane::Quick, Lane::Quick, Lane::Quick, Lane::Slow];
        let mut under_way: Vec<_> = lanes.map(|lane| readers.query(read(lane)).boxed()).into();
        for read in &mut under_way {
            assert!(read.as_mut().now_or_never().is_none());
        }
        readers.close().await;
        for read in under_way {
            let ended = tokio::time::timeout(Duration::from_secs(30), read).await.expect("it is interrupted");
            assert!(matches!(ended, Err(Error::Unavailable(_))), "{ended:?}");
        }
        assert!(matches!(readers.query(read(Lane::Quick)).await, Err(Error::Unavailable(_))));
        assert!(!path.with_file_name("db-wal").exists());
    }
}
