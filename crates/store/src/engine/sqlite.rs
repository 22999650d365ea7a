//! SQLite: one writer connection, a few reader threads, WAL, every commit on the disk before it is answered.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, InterruptHandle, StatementStatus, ToSql};
use tokio::sync::oneshot;

use super::sqlite_connection::{failure, open};
use super::sqlite_file::{in_time, lock_schema};
use super::{Error, Lane, Read, Result, Row, Value};

const QUICK_READERS: usize = 2;
const SLOW_READERS: usize = 1;
/// How long a reader that is closed may go on with a statement before it is interrupted.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

mod embedded {
    refinery::embed_migrations!("../../migrations/sqlite");
}

/// Brings the schema of a database up to date. The path is one of [`super::sqlite_file::resolve`].
pub fn migrate(path: &Path) -> Result<()> {
    // Two processes that start at once: the second waits here until the first is through.
    let lock = lock_schema(path)?;
    let mut connection = open(path)?;
    let runner = embedded::migrations::runner();
    let failed =
        |error: refinery::Error| Error::Setup(format!("cannot bring {} up to date: {error}", path.display()));
    // The history table is there only after the first migration.
    let known: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'refinery_schema_history'", [], |row| {
            row.get(0)
        })
        .map_err(|error| failure(&error))?;
    if known > 0 {
        let applied = runner.get_last_applied_migration(&mut connection).map_err(failed)?;
        super::super::check_version(&runner, applied.as_ref())?;
    }
    runner.run(&mut connection).map_err(failed)?;
    drop(lock);
    Ok(())
}

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
        for row in rows {
            for (position, value) in (1..).zip(row) {
                statement.raw_bind_parameter(position, value)?;
            }
            let mut results = statement.raw_query();
            while let Some(result) = results.next()? {
                // A collected `Result` grows step by step, and rows are wide.
                let mut values = Vec::with_capacity(width);
                for column in 0..width {
                    values.push(read(result.get_ref(column)?));
                }
                found.push(Row(values));
            }
        }
        tracing::trace!(sql, steps = statement.reset_status(StatementStatus::VmStep));
        Ok(found)
    };
    run().map_err(|error| failure(&error))
}

fn read(value: ValueRef<'_>) -> Value {
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
            Value::Many(_) | Value::Fields(_) => {
                return Err(rusqlite::Error::ToSqlConversionFailure("an array is no value in SQLite".into()));
            }
        }))
    }
}

enum Job {
    Read(Arc<Read>, oneshot::Sender<Result<Vec<Row>>>),
    /// Ends one reader.
    Close,
}

/// Reader threads, each with a connection of its own.
pub struct Reads {
    quick: Readers,
    slow: Readers,
}

/// The readers that share a queue, which holds as many jobs as have a permit.
struct Readers {
    queue: Sender<Job>,
    each: Vec<Reader>,
}

#[derive(Clone)]
struct Reader {
    interrupt: Arc<InterruptHandle>,
    /// Disconnected once its connection is closed.
    closed: Receiver<()>,
}

impl Reads {
    pub fn open(path: &Path) -> Result<Self> {
        let closing = Arc::default();
        let open = |name, count| Readers::open(path, name, count, &closing);
        Ok(Self { quick: open("quick", QUICK_READERS)?, slow: open("slow", SLOW_READERS)? })
    }

    pub async fn query(&self, read: Arc<Read>) -> Result<Vec<Row>> {
        let readers = match read.lane {
            Lane::Quick | Lane::Rest => &self.quick,
            Lane::Slow => &self.slow,
        };
        let (reply, answer) = oneshot::channel();
        let closed = || Error::Unavailable("the store is closed".into());
        readers.queue.send(Job::Read(read, reply)).map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// Makes the reads that wait and closes the connections. A statement that takes long is interrupted.
    pub async fn close(&self) {
        let mut closing = Vec::new();
        for Readers { queue, each } in [&self.quick, &self.slow] {
            for reader in each {
                let _ = queue.send(Job::Close);
                closing.push(reader.clone());
            }
        }
        let closed = in_time(move || {
            for Reader { interrupt, closed } in closing {
                while closed.recv_timeout(CLOSE_PATIENCE) == Err(RecvTimeoutError::Timeout) {
                    interrupt.interrupt();
                }
            }
        });
        if closed.await.is_none() {
            tracing::warn!("connections to the database took too long to close");
        }
    }
}

impl Readers {
    /// One connection at a time is closed: SQLite removes the log with the last one, and of two that are closed at once
    /// each takes the other for the last.
    fn open(path: &Path, name: &str, count: usize, closing: &Arc<Mutex<()>>) -> Result<Self> {
        let (queue, jobs) = crossbeam_channel::unbounded();
        let mut each = Vec::with_capacity(count);
        for number in 0..count {
            let connection = open(path)?;
            connection
                .pragma_update(None, "query_only", true)
                .map_err(|error| Error::Setup(format!("cannot open a reader: {error}")))?;
            let (open, closed) = crossbeam_channel::bounded(0);
            each.push(Reader { interrupt: Arc::new(connection.get_interrupt_handle()), closed });
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
        Ok(Self { queue, each })
    }
}

fn run(jobs: &Receiver<Job>, connection: &Connection) {
    while let Ok(Job::Read(read, reply)) = jobs.recv() {
        let _ = reply.send(query(connection, &read.text, &read.rows));
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
        let reads = Reads::open(&path).unwrap();
        let endless =
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
        let read = |lane| Arc::new(Read { lane, text: endless.into(), rows: vec![vec![]] });
        let lanes = [Lane::Quick, Lane::Quick, Lane::Quick, Lane::Slow];
        let mut under_way: Vec<_> = lanes.map(|lane| reads.query(read(lane)).boxed()).into();
        for read in &mut under_way {
            assert!(read.as_mut().now_or_never().is_none());
        }
        reads.close().await;
        for read in under_way {
            let ended = tokio::time::timeout(Duration::from_secs(30), read).await.expect("it is interrupted");
            assert!(matches!(ended, Err(Error::Unavailable(_))), "{ended:?}");
        }
        assert!(matches!(reads.query(read(Lane::Quick)).await, Err(Error::Unavailable(_))));
        assert!(!path.with_file_name("db-wal").exists());
    }
}
