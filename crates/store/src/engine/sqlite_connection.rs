//! A connection to a SQLite database, and what its errors mean to a caller.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{Error, Result};

/// How long a statement waits for the write lock of another process, such as a command on the command line.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Pages in the log before SQLite folds it into the database. 32 MB instead of the default 4 MB: fewer checkpoints,
/// each of which syncs the database, under load.
const CHECKPOINT_PAGES: u32 = 8000;
const CACHED_STATEMENTS: usize = 256;

/// Opens a connection on which a commit is on the disk when it returns (`synchronous=FULL`).
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

/// Opens an existing file and changes nothing in it.
pub fn open_read_only(path: &Path) -> Result<Connection> {
    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(|error| Error::Setup(format!("cannot open {}: {error}", path.display())))
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
        Some(ErrorCode::ConstraintViolation) if is_from_trigger(error) => Error::Refused(error.to_string()),
        Some(ErrorCode::ConstraintViolation) => Error::Conflict(error.to_string()),
        _ => Error::Database(error.to_string()),
    }
}

/// Whether an operator's trigger raised the error (`RAISE(ABORT, …)`), and not a constraint of the schema.
fn is_from_trigger(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_TRIGGER)
}
