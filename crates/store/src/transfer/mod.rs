//! Moves all that is stored: from one database to another, into a file, and from a file into a database. All three read
//! and write the same pages of rows (`tables.rs` says of which tables and columns), so that either engine can be either
//! end.
//!
//! A copy keeps everybody from writing to its source while it compares the two, so that nothing that was written is left
//! behind. A backup reads one snapshot: what it holds is what was committed at one moment. PostgreSQL keeps dead rows for as
//! long, and SQLite its log.

mod backup_file;
mod database;
mod lines;
mod tables;
mod target;

use std::path::Path;

use crate::ServerLock;
use crate::engine::migrations::newest_version;
use crate::engine::{DatabaseUrl, Error, Result, sqlite_connection, sqlite_file};
use backup_file::{BackupReader, BackupWriter};
use database::{Address, Database, Pages};
use target::Target;

pub use lines::TableSum;
pub(super) use lines::{line as row_line, values as row_values};
pub use tables::{ColumnType, Table, stored_tables};
pub use target::Unfinished;

/// How far it has come.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// `reading`, `writing`, `checking` or `comparing`.
    pub step: &'static str,
    pub table: &'a str,
    /// Rows of the table.
    pub rows: u64,
}

/// Copies a database that no server uses to an empty one, or goes on with a copy that was interrupted. Returns the tables'
/// sums, which are the same in both.
///
/// `Setup` where the source is in use or cannot be read, the target is neither empty nor an unfinished copy of the same
/// source (of any, to start over), or the two differ at the end; the target stays marked as unfinished then.
pub async fn copy(
    from: &str,
    to: &str,
    unfinished: Unfinished,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Vec<TableSum>> {
    check_different(from, to)?;
    // Dropped after the database: see `Target`.
    let lock = lock_source(from)?;
    let source = open_source(from).await.map_err(in_source)?;
    source.lock().await.map_err(in_source)?;
    source.check_at_rest().await.map_err(in_source)?;
    source.check_readable().await.map_err(in_source)?;
    source.begin_snapshot().await?;
    let identity = format!("database of {}", source.identity().await?);
    let mut target = Target::open(to, &identity, newest_version(), unfinished).await.map_err(in_target)?;
    let tables = stored_tables();
    for table in &tables {
        let Some(start) = target.start(table)? else { continue };
        let (mut pages, mut written) = (Pages::new(start.after), start.rows);
        while let Some(rows) = pages.next(&source, table).await.map_err(in_source)? {
            written += rows.len() as u64;
            target.write(table, rows).await.map_err(in_target)?;
            progress(Progress { step: "writing", table: &table.name, rows: written });
        }
    }
    // What was written to the source meanwhile is seen by the sums, and from now on nothing is.
    source.freeze().await.map_err(in_source)?;
    let mut sums = Vec::new();
    for table in &tables {
        let expected = source.sum(table, |_| {}).await.map_err(in_source)?;
        compare(&target, table, &expected, progress).await?;
        sums.push(expected);
    }
    source.check_at_rest().await.map_err(in_source)?;
    target.finish().await.map_err(in_target)?;
    drop(source);
    drop(lock);
    Ok(sums)
}

/// Writes all that is stored to a new file, also while servers run: one snapshot. Returns the tables' sums. Dropped before
/// it ends, it leaves no file.
pub async fn backup(url: &str, path: &Path, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Vec<TableSum>> {
    let source = open_source(url).await?;
    source.begin_snapshot().await?;
    source.check_readable().await?;
    let mut file = BackupWriter::create(path, newest_version())?;
    let mut sums = Vec::new();
    for table in stored_tables() {
        let (mut pages, mut sum) = (Pages::new(None), file.begin_table(&table)?);
        while let Some(rows) = pages.next(&source, &table).await? {
            file.rows(&mut sum, &rows)?;
            progress(Progress { step: "reading", table: &table.name, rows: sum.rows });
            // Pages of SQLite are read without a pause in which the caller could drop this.
            tokio::task::yield_now().await;
        }
        file.end_table(&sum)?;
        sums.push(sum);
    }
    file.finish()?;
    Ok(sums)
}

/// Restores a backup into an empty database, or goes on with a restore of the same file that was interrupted. The whole
/// file is checked before anything is written. Returns the tables' sums, which are those of the file.
pub async fn restore(
    path: &Path,
    url: &str,
    unfinished: Unfinished,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Vec<TableSum>> {
    let reader = BackupReader::open(path)?;
    let schema = reader.schema;
    let tables = reader.check(|table, rows| progress(Progress { step: "checking", table, rows }))?;
    let sums: Vec<_> = tables.iter().map(|(_, sum)| format!("{} {}", sum.rows, sum.checksum())).collect();
    let identity = format!("backup of {}", sums.join(" "));
    let mut target = Target::open(url, &identity, schema, unfinished).await.map_err(in_target)?;
    let mut reader = BackupReader::open(path)?;
    while let Some(table) = reader.next_table()? {
        let start = target.start(&table)?;
        let mut read = 0;
        while let Some(mut rows) = reader.rows()? {
            let Some(start) = &start else { continue };
            let written = start.rows.saturating_sub(read);
            read += rows.len() as u64;
            rows.drain(..rows.len().min(usize::try_from(written).unwrap_or(usize::MAX)));
            target.write(&table, rows).await.map_err(in_target)?;
            progress(Progress { step: "writing", table: &table.name, rows: read });
        }
    }
    for (table, expected) in &tables {
        if !target.is_compared {
            compare(&target, table, expected, progress).await?;
        }
    }
    target.finish().await.map_err(in_target)?;
    Ok(tables.into_iter().map(|(_, sum)| sum).collect())
}

async fn compare(
    target: &Target,
    table: &Table,
    expected: &TableSum,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<()> {
    let mut seen = |rows| progress(Progress { step: "comparing", table: &table.name, rows });
    let found = target.sum(table, &mut seen).await.map_err(in_target)?;
    if found == *expected {
        return Ok(());
    }
    Err(Error::Setup(format!(
        "the table {} has {} rows with the sum {} at the source, and {} with {} at the target: one of the two was changed \
         meanwhile. Begin anew with --start-over, or with an empty target",
        table.name,
        expected.rows,
        expected.checksum(),
        found.rows,
        found.checksum()
    )))
}

fn check_different(from: &str, to: &str) -> Result<()> {
    let path = |url| match DatabaseUrl::parse(url) {
        Ok(DatabaseUrl::Sqlite(path)) => path.canonicalize().ok(),
        _ => None,
    };
    let same_file = path(from).is_some_and(|from| Some(from) == path(to));
    if same_file || from == to {
        return Err(Error::Setup("source and target are the same database".into()));
    }
    Ok(())
}

/// Locks a SQLite file that is there against servers.
fn lock_source(url: &str) -> Result<ServerLock> {
    check_exists(url)?;
    ServerLock::take_at_rest(url).map_err(in_source)
}

async fn open_source(url: &str) -> Result<Database> {
    check_exists(url)?;
    match Address::of(url)? {
        Address::Postgres(server) => Database::postgres(&server).await,
        Address::Sqlite(path) => {
            let connection = sqlite_connection::open(&sqlite_file::resolve(&path)?)?;
            connection
                .pragma_update(None, "query_only", true)
                .map_err(|error| sqlite_connection::failure(&error))?;
            Ok(Database::Sqlite(connection))
        }
    }
}

/// A SQLite file that is missing would be created.
fn check_exists(url: &str) -> Result<()> {
    match DatabaseUrl::parse(url) {
        Ok(DatabaseUrl::Sqlite(path)) if matches!(path.try_exists(), Ok(false)) => {
            Err(Error::Setup(format!("no database at {}", DatabaseUrl::Sqlite(path))))
        }
        _ => Ok(()),
    }
}

fn in_source(error: Error) -> Error {
    at("the source", error)
}

fn in_target(error: Error) -> Error {
    at("the target", error)
}

fn at(place: &str, error: Error) -> Error {
    match error {
        Error::Setup(reason) => Error::Setup(format!("{place}: {reason}")),
        other => other,
    }
}
