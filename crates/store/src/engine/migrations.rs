//! Migrations: bring the schema of either database up to date at the start, and keep an older program from a database whose
//! schema a newer one has changed.

use std::error::Error as _;
use std::path::Path;

use super::postgres::Server;
use super::{Error, Result, postgres_connection, sqlite_connection, sqlite_file};

/// The advisory lock held while migrations run, so that nodes which start together migrate one after the other.
const MIGRATION_LOCK: i64 = 0x7769_6361_7261;

mod postgres {
    refinery::embed_migrations!("../../migrations/postgres");
}

mod sqlite {
    refinery::embed_migrations!("../../migrations/sqlite");
}

/// Brings the schema of a PostgreSQL database up to date.
pub async fn migrate_postgres(server: &Server) -> Result<()> {
    let mut connection = server.connect().await?;
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
    let runner = postgres::migrations::runner();
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
    if !is_migrated(&connection)? {
        return Ok(None);
    }
    let runner = sqlite::migrations::runner();
    let applied = runner.get_last_applied_migration(&mut connection);
    let applied = applied.map_err(|error| Error::Setup(format!("the schema cannot be read: {error}")))?;
    check_version(&runner, applied.as_ref())?;
    Ok(applied.map(|migration| migration.version()))
}

/// Whether the first migration has created the history table.
fn is_migrated(connection: &rusqlite::Connection) -> Result<bool> {
    let sql = "SELECT count(*) FROM sqlite_schema WHERE name = 'refinery_schema_history'";
    let found: i64 = connection
        .query_row(sql, [], |row| row.get(0))
        .map_err(|error| sqlite_connection::failure(&error))?;
    Ok(found > 0)
}

/// Brings the schema of a SQLite database up to date. `path` comes from [`sqlite_file::resolve`].
pub fn migrate_sqlite(path: &Path) -> Result<()> {
    // Of two processes that start together, the second waits here for the migrations of the first.
    let lock = sqlite_file::lock_schema(path)?;
    let mut connection = sqlite_connection::open(path)?;
    let runner = sqlite::migrations::runner();
    let failed =
        |error: refinery::Error| Error::Setup(format!("cannot bring {} up to date: {error}", path.display()));
    if is_migrated(&connection)? {
        let applied = runner.get_last_applied_migration(&mut connection).map_err(failed)?;
        check_version(&runner, applied.as_ref())?;
    }
    runner.run(&mut connection).map_err(failed)?;
    drop(lock);
    Ok(())
}

/// Refuses a schema version above the newest migration that this program knows.
fn check_version(runner: &refinery::Runner, applied: Option<&refinery::Migration>) -> Result<()> {
    let known = runner.get_migrations().iter().map(refinery::Migration::version).max().unwrap_or(0);
    match applied {
        Some(applied) if applied.version() > known => Err(Error::Setup(format!(
            "the database has schema version {}, and this version of wicara knows only up to {known}: \
             start the newer wicara that changed it, or restore a backup from before",
            applied.version()
        ))),
        _ => Ok(()),
    }
}
