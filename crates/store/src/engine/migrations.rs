//! Migrations: bring the schema of either database up to date at the start, and keep an older program from a database whose
//! schema a newer one has changed.

use std::error::Error as _;
use std::path::Path;
use std::time::Duration;

use refinery::Target;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

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
    version_postgres(client, &runner).await?;
    let migrated = runner.run_async(client).await;
    migrated.map(|_| ()).map_err(|error| not_migrated(&error))
}

/// The version of a PostgreSQL database's schema; `None` before the first migration. `Setup` for a newer one than this
/// program knows.
async fn version_postgres(client: &mut Client, runner: &refinery::Runner) -> Result<Option<i32>> {
    let known = client.query_one("SELECT to_regclass('refinery_schema_history') IS NOT NULL", &[]).await;
    if !known.map_err(|error| postgres_connection::failure(&error))?.get::<_, bool>(0) {
        return Ok(None);
    }
    let applied = runner.get_last_applied_migration_async(client).await;
    let applied = applied.map_err(|error| not_migrated(&error))?;
    check_version(runner, applied.as_ref())?;
    Ok(applied.map(|migration| migration.version()))
}

/// Says of a PostgreSQL database what [`migrate_postgres`] would, and returns the version of its schema, `None` before the
/// first migration. What it tries out is rolled back.
pub async fn check_postgres(server: &Server) -> Result<Option<i32>> {
    let mut connection = server.connect().await?;
    refuse_copying(&mut connection).await?;
    let client = connection.client();
    let version = version_postgres(client, &postgres::migrations::runner()).await?;
    // Every start asks for the right to create tables.
    let created = client.batch_execute("BEGIN; CREATE TABLE wicara_check (id bigint); ROLLBACK").await;
    created.map_err(|error| refused_schema(&error))?;
    let is_newest = version == Some(newest_version());
    let refused = client.query_one(REFUSED_TABLES, &[&is_newest]).await;
    let refused = refused.map_err(|error| postgres_connection::failure(&error))?;
    match refused.get::<_, Option<String>>(0) {
        Some(tables) => Err(Error::Setup(format!("permission denied for {tables}{OWNER}"))),
        None => Ok(version),
    }
}

/// Of the schema's tables and views those that the user may not use: `$1` is whether no migration is missing, which only
/// their owner could run.
const REFUSED_TABLES: &str = "SELECT string_agg(relname, ', ' ORDER BY relname) FROM pg_class \
     WHERE relkind IN ('r', 'v') \
     AND (relnamespace, relowner) = (SELECT relnamespace, relowner FROM pg_class \
         WHERE oid = to_regclass('refinery_schema_history')) \
     AND NOT pg_has_role(relowner, 'USAGE') \
     AND NOT ($1 AND has_table_privilege(oid, 'SELECT') AND (relkind = 'v' OR has_table_privilege(oid, 'INSERT') \
         AND has_table_privilege(oid, 'UPDATE') AND has_table_privilege(oid, 'DELETE')))";

const OWNER: &str = ": the database and its tables must belong to the user of the address (CREATE DATABASE name OWNER user, \
     or ALTER DATABASE name OWNER TO user)";

/// A migration's error, as PostgreSQL says it.
fn not_migrated(error: &refinery::Error) -> Error {
    match error.source().and_then(|source| source.downcast_ref()) {
        Some(source) => refused_schema(source),
        None => Error::Setup(format!("cannot bring the database's schema up to date: {error}")),
    }
}

fn refused_schema(error: &tokio_postgres::Error) -> Error {
    let advice = match error.code() {
        Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => OWNER,
        Some(code) if *code == SqlState::INVALID_SCHEMA_NAME => {
            ": search_path names no schema that there is (options in the address, or the settings of user and database)"
        }
        Some(code) if *code == SqlState::READ_ONLY_SQL_TRANSACTION => {
            ": it is a standby, or default_transaction_read_only is on (options in the address, or the settings of user \
             and database)"
        }
        _ => "",
    };
    let reason = match error.as_db_error() {
        Some(database) => format!("{} ({})", database.message(), database.code().code()),
        None => postgres_connection::failure(error).to_string(),
    };
    Error::Setup(format!("cannot bring the database's schema up to date: {reason}{advice}"))
}

/// As [`check_postgres`], of a SQLite file that is there.
pub fn check_sqlite(path: &Path) -> Result<Option<i32>> {
    let mut connection = sqlite_connection::open_read_only(path)?;
    refuse_unfinished(&connection)?;
    version_sqlite(&mut connection, &sqlite::migrations::runner(), path)
}

fn version_sqlite(
    connection: &mut rusqlite::Connection,
    runner: &refinery::Runner,
    path: &Path,
) -> Result<Option<i32>> {
    // The first migration creates the history table.
    if !has_table(connection, "refinery_schema_history")? {
        return Ok(None);
    }
    let applied =
        runner.get_last_applied_migration(connection).map_err(|error| not_up_to_date(path, &error))?;
    check_version(runner, applied.as_ref())?;
    Ok(applied.map(|migration| migration.version()))
}

fn not_up_to_date(path: &Path, error: &refinery::Error) -> Error {
    Error::Setup(format!("cannot bring {} up to date: {error}", path.display()))
}

/// Brings the schema of a SQLite database up to date. Refuses an unfinished copy. `path` comes from
/// [`sqlite_file::resolve`].
pub fn migrate_sqlite(path: &Path) -> Result<()> {
    run_sqlite(path, Target::Latest, refuse_unfinished)
}

fn refuse_unfinished(connection: &rusqlite::Connection) -> Result<()> {
    match has_table(connection, UNFINISHED_COPY)? {
        true => Err(Error::Setup(UNFINISHED.into())),
        false => Ok(()),
    }
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
    version_sqlite(&mut connection, &runner, path)?;
    runner.run(&mut connection).map_err(|error| not_up_to_date(path, &error))?;
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
