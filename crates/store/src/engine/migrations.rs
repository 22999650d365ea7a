//! Migrations: bring the schema of either database up to date at the start, and keep an older program from a database whose
//! schema a newer one has changed.

use std::error::Error as _;
use std::path::Path;
use std::time::Duration;

use refinery::Target;

use super::postgres::Server;
use super::postgres_connection::Connection;
use super::{Error, Result, postgres_connection, sqlite_connection, sqlite_file};

/// The advisory lock held while migrations run, so that nodes which start together migrate one after the other.
const MIGRATION_LOCK: i64 = 0x7769_6361_7261;
/// The advisory lock that a copy or a restore holds on a PostgreSQL database. A server that starts asks for it in shared
/// mode, so that it is refused meanwhile.
const COPY_LOCK: i64 = MIGRATION_LOCK + 1;
/// How long that lock is waited for.
const COPY_LOCK_TIMEOUT: Duration = Duration::from_secs(1);
/// The table that marks a database as an unfinished copy, which no server may use. A copy or a restore creates it before
/// its first row and drops it after its last check; no migration has it.
pub const UNFINISHED_COPY: &str = "unfinished_copy";
const UNFINISHED: &str = "this database is an unfinished copy: run the same `wicara copy` or `wicara restore` again to \
     finish it, or with --start-over to empty it and begin anew";

mod postgres {
    refinery::embed_migrations!("../../migrations/postgres");
}

mod sqlite {
    refinery::embed_migrations!("../../migrations/sqlite");
}

/// The version of the newest migration.
pub fn newest_version() -> i32 {
    newest(&sqlite::migrations::runner())
}

fn newest(runner: &refinery::Runner) -> i32 {
    runner.get_migrations().iter().map(refinery::Migration::version).max().unwrap_or(0)
}

/// Brings the schema of a PostgreSQL database up to date. Refuses an unfinished copy, and a database that is being copied.
pub async fn migrate_postgres(server: &Server) -> Result<()> {
    let mut connection = server.connect().await?;
    refuse_copying(&mut connection).await?;
    run_postgres(connection, Target::Latest).await
}

/// Brings the schema of the target of a copy or a restore to a version.
pub async fn migrate_postgres_copy(server: &Server, version: i32) -> Result<()> {
    run_postgres(server.connect().await?, Target::Version(version)).await
}

/// Takes the lock of copies by one of PostgreSQL's functions for advisory locks, until the connection ends. `Setup` with
/// the sentence `refusal` where it is held. Waits a moment, for a copy that has just ended and whose session PostgreSQL is
/// closing; later statements wait for locks without a limit.
pub async fn take_copy_lock(connection: &Connection, function: &str, refusal: &str) -> Result<()> {
    let lock = format!(
        "SET lock_timeout = {}; SELECT {function}({COPY_LOCK}); SET lock_timeout = 0",
        COPY_LOCK_TIMEOUT.as_millis()
    );
    connection.execute(&lock).await.map_err(|error| match error {
        Error::Locked(_) => Error::Setup(refusal.into()),
        other => other,
    })
}

async fn refuse_copying(connection: &mut Connection) -> Result<()> {
    let refusal = "a `wicara copy` or `wicara restore` is using this database: wait until it ends";
    take_copy_lock(connection, "pg_advisory_lock_shared", refusal).await?;
    let marked = format!("SELECT to_regclass('{UNFINISHED_COPY}') IS NOT NULL");
    let marked = connection.client().query_one(&marked, &[]).await;
    let marked = marked.map_err(|error| postgres_connection::failure(&error))?;
    if marked.get(0) { Err(Error::Setup(UNFINISHED.into())) } else { Ok(()) }
}

async fn run_postgres(mut connection: Connection, target: Target) -> Result<()> {
    // Waiting for another node's migration may take longer than the statement timeout.
    let client = connection.client();
    client
        .batch_execute("SET statement_timeout = 0")
        .await
        .map_err(|error| postgres_connection::failure(&error))?;
    client
        .execute("SELECT pg_advisory_lock($1)", &[&MIGRATION_LOCK])
        .await
        .map_err(|error| postgres_connection::failure(&error))?;
    let runner = postgres::migrations::runner().set_target(target);
    let failed = |error: refinery::Error| {
        let cause = error.source().map(ToString::to_string).unwrap_or_default();
        Error::Setup(format!("cannot bring the database's schema up to date: {error}: {cause}"))
    };
    let known = client
        .query_one("SELECT to_regclass('refinery_schema_history') IS NOT NULL", &[])
        .await
        .map_err(|error| postgres_connection::failure(&error))?;
    if known.get(0) {
        let applied = runner.get_last_applied_migration_async(client).await.map_err(failed)?;
        check_version(&runner, applied.as_ref())?;
    }
    runner.run_async(client).await.map_err(failed)?;
    Ok(())
}

/// The version of a PostgreSQL database's schema; `None` before the first migration. `Setup` for a newer one than this
/// program knows.
pub async fn version_postgres(server: &Server) -> Result<Option<i32>> {
    let mut connection = server.connect().await?;
    if connection.text("SELECT to_regclass('refinery_schema_history')").await?.is_empty() {
        return Ok(None);
    }
    let runner = postgres::migrations::runner();
    let applied = runner.get_last_applied_migration_async(connection.client()).await;
    let applied = applied.map_err(|error| Error::Setup(format!("the schema cannot be read: {error}")))?;
    check_version(&runner, applied.as_ref())?;
    Ok(applied.map(|migration| migration.version()))
}

/// As [`version_postgres`], of an existing SQLite file.
pub fn version_sqlite(path: &Path) -> Result<Option<i32>> {
    let mut connection = sqlite_connection::open_read_only(path)?;
    if !has_table(&connection, "refinery_schema_history")? {
        return Ok(None);
    }
    let runner = sqlite::migrations::runner();
    let applied = runner.get_last_applied_migration(&mut connection);
    let applied = applied.map_err(|error| Error::Setup(format!("the schema cannot be read: {error}")))?;
    check_version(&runner, applied.as_ref())?;
    Ok(applied.map(|migration| migration.version()))
}

/// Brings the schema of a SQLite database up to date. Refuses an unfinished copy. `path` comes from
/// [`sqlite_file::resolve`].
pub fn migrate_sqlite(path: &Path) -> Result<()> {
    run_sqlite(path, Target::Latest, |connection| match has_table(connection, UNFINISHED_COPY)? {
        true => Err(Error::Setup(UNFINISHED.into())),
        false => Ok(()),
    })
}

/// Brings the schema of the target of a copy or a restore to a version.
pub fn migrate_sqlite_copy(path: &Path, version: i32) -> Result<()> {
    run_sqlite(path, Target::Version(version), |_| Ok(()))
}

fn has_table(connection: &rusqlite::Connection, name: &str) -> Result<bool> {
    let count = "SELECT count(*) FROM sqlite_schema WHERE name = ?1";
    let found: i64 = connection
        .query_row(count, [name], |row| row.get(0))
        .map_err(|error| sqlite_connection::failure(&error))?;
    Ok(found > 0)
}

fn run_sqlite(
    path: &Path,
    target: Target,
    check: impl FnOnce(&rusqlite::Connection) -> Result<()>,
) -> Result<()> {
    // Of two processes that start together, the second waits here for the migrations of the first.
    let lock = sqlite_file::lock_schema(path)?;
    let mut connection = sqlite_connection::open(path)?;
    check(&connection)?;
    let runner = sqlite::migrations::runner().set_target(target);
    let failed =
        |error: refinery::Error| Error::Setup(format!("cannot bring {} up to date: {error}", path.display()));
    // The first migration creates the history table.
    if has_table(&connection, "refinery_schema_history")? {
        let applied = runner.get_last_applied_migration(&mut connection).map_err(failed)?;
        check_version(&runner, applied.as_ref())?;
    }
    runner.run(&mut connection).map_err(failed)?;
    drop(lock);
    Ok(())
}

/// Refuses a schema version above the newest migration that this program knows.
fn check_version(runner: &refinery::Runner, applied: Option<&refinery::Migration>) -> Result<()> {
    let known = newest(runner);
    match applied {
        Some(applied) if applied.version() > known => Err(Error::Setup(format!(
            "the database has schema version {}, and this version of wicara knows only up to {known}: \
             start the newer wicara that changed it, or restore a backup from before",
            applied.version()
        ))),
        _ => Ok(()),
    }
}
