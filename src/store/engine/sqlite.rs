//! SQLite: one writer connection, a few reader threads, WAL, every commit on the disk before it is answered.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, StatementStatus, ToSql};
use tokio::sync::oneshot;

use super::shared::Read;
use super::{Error, Lane, Result, Row, Value};

/// How long a statement waits for another process that writes, such as a command on the command line.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Pages in the log before it is folded into the database: 32 MB, against many small checkpoints under load.
const CHECKPOINT_PAGES: u32 = 8000;
const CACHED_STATEMENTS: usize = 256;
const QUICK_READERS: usize = 2;
const SLOW_READERS: usize = 1;

mod embedded {
    refinery::embed_migrations!("migrations/sqlite");
}

pub fn open(path: &Path) -> Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::default())
        .map_err(|error| Error::Setup(format!("cannot open {}: {error}", path.display())))?;
    connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    let prepare = || {
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)
    };
    prepare().map_err(|error| Error::Setup(format!("{} is not usable: {error}", path.display())))?;
    Ok(connection)
}

/// Creates the folder and the database where they are missing, and brings the schema up to date.
pub fn migrate(path: &Path) -> Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        // What people write to an organisation is for its eyes only.
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| Error::Setup(format!("cannot create {}: {error}", folder.display())))?;
    }
    // Two processes that start at once: the second waits here until the first is through.
    let lock_path = path.with_added_extension("lock");
    let lock = private(&lock_path)
        .and_then(|file| file.lock().map(|()| file))
        .map_err(|error| Error::Setup(format!("cannot lock {}: {error}", lock_path.display())))?;
    private(path).map_err(|error| Error::Setup(format!("cannot create {}: {error}", path.display())))?;
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

/// Opens a file, made readable for its owner alone where it is missing. SQLite gives its other files the same mode.
fn private(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)
}

/// Takes the place of the one server on a database, for as long as the file is open.
pub fn lock_server(path: &Path) -> Result<File> {
    let path = path.with_added_extension("server");
    let failed = |error| Error::Setup(format!("cannot lock {}: {error}", path.display()));
    let file = private(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Error::Setup("another server runs on this SQLite database: several need PostgreSQL".into()))
        }
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// Runs a statement once for each row of parameters.
pub fn query(connection: &Connection, sql: &str, rows: &[Vec<Value>]) -> Result<Vec<Row>> {
    let run = || {
        let mut statement = connection.prepare_cached(sql)?;
        let width = statement.column_count();
        // By name: SQLite numbers `$n` by first appearance. A parameter that the text does not have is an error here.
        let position = |index| {
            let name = format!("${}", index + 1);
            statement.parameter_index(&name)?.ok_or(rusqlite::Error::InvalidParameterName(name))
        };
        let positions =
            (0..rows.first().map_or(0, Vec::len)).map(position).collect::<rusqlite::Result<Vec<_>>>()?;
        let mut found = Vec::new();
        for row in rows {
            for (&position, value) in positions.iter().zip(row) {
                statement.raw_bind_parameter(position, value)?;
            }
            let mut results = statement.raw_query();
            while let Some(result) = results.next()? {
                let values = (0..width)
                    .map(|column| Ok(read(result.get_ref(column)?)))
                    .collect::<rusqlite::Result<_>>()?;
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
            Value::Many(_) => {
                return Err(rusqlite::Error::ToSqlConversionFailure("an array is no value in SQLite".into()));
            }
        }))
    }
}

/// What an error of SQLite means to a caller.
pub fn failure(error: &rusqlite::Error) -> Error {
    let code = error.sqlite_error_code();
    match code {
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::DiskFull
            | ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::OperationInterrupted
            | ErrorCode::SchemaChanged
            | ErrorCode::OutOfMemory,
        ) => Error::Unavailable(error.to_string()),
        Some(ErrorCode::ConstraintViolation) if is_of_a_trigger(error) => Error::Refused(error.to_string()),
        Some(ErrorCode::ConstraintViolation) => Error::Conflict(error.to_string()),
        _ => Error::Database(error.to_string()),
    }
}

/// An operator's trigger refuses, and not the data.
fn is_of_a_trigger(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_TRIGGER)
}

type Job = (Arc<Read>, oneshot::Sender<Result<Vec<Row>>>);

/// Reader threads, each with a connection of its own.
pub struct Reads {
    quick: Sender<Job>,
    slow: Sender<Job>,
}

impl Reads {
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self { quick: readers(path, QUICK_READERS)?, slow: readers(path, SLOW_READERS)? })
    }

    pub async fn query(&self, read: Arc<Read>) -> Result<Vec<Row>> {
        let lane = match read.lane {
            Lane::Quick | Lane::Rest => &self.quick,
            Lane::Slow => &self.slow,
        };
        let (reply, answer) = oneshot::channel();
        let closed = || Error::Unavailable("the store is closed".into());
        lane.send((read, reply)).map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }
}

/// Threads that make the reads of a lane, which holds as many as have a place.
fn readers(path: &Path, count: usize) -> Result<Sender<Job>> {
    let (sender, jobs) = crossbeam_channel::unbounded::<Job>();
    for number in 0..count {
        let connection = open(path)?;
        connection
            .pragma_update(None, "query_only", true)
            .map_err(|error| Error::Setup(format!("cannot open a reader: {error}")))?;
        let jobs = jobs.clone();
        std::thread::Builder::new()
            .name(format!("sqlite-read-{number}"))
            .spawn(move || {
                for (read, reply) in jobs {
                    let _ = reply.send(query(&connection, &read.text, &read.rows));
                }
            })
            .map_err(|error| Error::Setup(format!("cannot start a reader: {error}")))?;
    }
    Ok(sender)
}

/// The path in a `sqlite:` URL.
pub fn path(url: &str) -> Option<PathBuf> {
    url.strip_prefix("sqlite:").filter(|path| !path.is_empty()).map(PathBuf::from)
}
