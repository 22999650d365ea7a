//! One connection to a database that is copied, backed up or restored, and the page by page reading of its tables.

use std::path::PathBuf;
use std::time::Duration;

use super::lines::{TableSum, line};
use super::tables::{Table, stored_tables};
use crate::engine::migrations::{UNFINISHED_COPY, newest_version, take_copy_lock};
use crate::engine::postgres::Server;
use crate::engine::postgres_connection::Connection;
use crate::engine::{DatabaseClock, DatabaseUrl, Error, Executor, Result, Row, Sql, Value};
use crate::engine::{postgres_check, sqlite, sqlite_connection};
use crate::nodes::DEAD_AFTER;

/// Rows of one page, and bytes after which a page ends.
pub const PAGE_ROWS: usize = 2048;
pub const PAGE_BYTES: usize = 2 * 1024 * 1024;
/// How long the end of other sessions' writes is waited for on PostgreSQL, as SQLite's `busy_timeout` does.
const FREEZE_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a database is.
pub enum Address {
    Postgres(Server),
    Sqlite(PathBuf),
}

impl Address {
    pub fn of(url: &str) -> Result<Self> {
        Ok(match DatabaseUrl::parse(url).map_err(Error::Setup)? {
            DatabaseUrl::Sqlite(path) => Self::Sqlite(path),
            DatabaseUrl::Postgres(url) => Self::Postgres(Server::new(url)?),
        })
    }
}

pub enum Database {
    Postgres(Connection),
    Sqlite(rusqlite::Connection),
}

impl Database {
    /// Opens PostgreSQL without limits of time: the session waits while pages are written elsewhere.
    pub async fn postgres(server: &Server) -> Result<Self> {
        postgres_check::check(server).await?;
        let connection = server.connect_by_key().await?;
        connection
            .execute("SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0")
            .await?;
        Ok(Self::Postgres(connection))
    }

    pub fn executor(&self) -> Executor<'_> {
        match self {
            Self::Postgres(connection) => Executor::Postgres(connection),
            Self::Sqlite(connection) => Executor::Sqlite(connection),
        }
    }

    pub async fn query(&self, sql: impl Into<Sql>, params: Vec<Value>) -> Result<Vec<Row>> {
        self.executor().query(sql, params).await
    }

    pub async fn number(&self, sql: impl Into<Sql>) -> Result<i64> {
        let row = self.query(sql, vec![]).await?.into_iter().next();
        Ok(row.map(|row| row.columns("result").opt_int("number")).transpose()?.flatten().unwrap_or(0))
    }

    /// Runs statements without parameters.
    pub async fn execute(&self, sql: &str) -> Result<()> {
        match self {
            Self::Postgres(connection) => connection.execute_at_length(sql).await,
            Self::Sqlite(connection) => {
                connection.execute_batch(sql).map_err(|error| sqlite_connection::failure(&error))
            }
        }
    }

    /// Begins a snapshot: until the next one, all pages show what was committed when it began.
    pub async fn begin_snapshot(&self) -> Result<()> {
        self.end_transaction().await?;
        match self {
            Self::Postgres(_) => self.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?,
            Self::Sqlite(_) => self.execute("BEGIN").await?,
        }
        // The first statement takes the snapshot.
        self.version().await.map(|_| ())
    }

    /// Keeps everybody from writing what is stored until the connection ends; reading goes on. PostgreSQL's `nodes` is
    /// left out, so that a server which comes or revives meanwhile is seen by [`Database::check_at_rest`]: its
    /// transaction is READ COMMITTED, in which each statement sees what is committed by then.
    pub async fn freeze(&self) -> Result<()> {
        self.end_transaction().await?;
        let frozen = match self {
            Self::Postgres(_) => {
                let tables = stored_tables();
                let names =
                    tables.iter().filter(|table| table.has_rows_of_its_own()).map(|table| &*table.name);
                let lock = format!(
                    "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; SET LOCAL lock_timeout = {}; \
                     LOCK TABLE {} IN SHARE MODE; SET LOCAL lock_timeout = 0",
                    FREEZE_TIMEOUT.as_millis(),
                    names.collect::<Vec<_>>().join(", ")
                );
                self.execute(&lock).await
            }
            // `query_only` refuses the lock of writers too.
            Self::Sqlite(_) => {
                self.execute("PRAGMA query_only = 0; BEGIN IMMEDIATE; PRAGMA query_only = 1").await
            }
        };
        frozen.map_err(|error| match (self, error) {
            (Self::Postgres(_), Error::Locked(reason)) | (Self::Sqlite(_), Error::Unavailable(reason)) => {
                Error::Setup(format!("another program is writing to it: run the command again ({reason})"))
            }
            (_, other) => other,
        })
    }

    async fn end_transaction(&self) -> Result<()> {
        match self {
            Self::Sqlite(connection) if connection.is_autocommit() => Ok(()),
            _ => self.execute("ROLLBACK").await,
        }
    }

    /// The version of the schema, 0 where there is none.
    pub async fn version(&self) -> Result<i32> {
        if !self.has_table("refinery_schema_history").await? {
            return Ok(0);
        }
        let newest = "SELECT CAST(max(version) AS bigint) FROM refinery_schema_history";
        Ok(i32::try_from(self.number(newest).await?).unwrap_or(0))
    }

    pub async fn has_table(&self, name: &str) -> Result<bool> {
        let found = Sql::per_dialect(
            format!("SELECT CASE WHEN to_regclass('{name}') IS NULL THEN CAST(0 AS bigint) ELSE 1 END"),
            format!("SELECT count(*) FROM sqlite_schema WHERE name = '{name}'"),
        );
        Ok(self.number(found).await? > 0)
    }

    /// Tells this database from others, wherever it is: when its first table was made.
    pub async fn identity(&self) -> Result<String> {
        let first = "SELECT CAST(applied_on AS text) FROM refinery_schema_history ORDER BY version LIMIT 1";
        let row = self.query(first, vec![]).await?.into_iter().next();
        row.map_or(Ok(String::new()), |row| row.columns("refinery_schema_history").text("applied_on"))
    }

    /// Checks that this program can read all that is stored.
    pub async fn check_readable(&self) -> Result<()> {
        let (found, known) = (self.version().await?, newest_version());
        if found == 0 {
            return Err(Error::Setup("there are no tables of wicara in this database".into()));
        }
        if self.has_table(UNFINISHED_COPY).await? {
            return Err(Error::Setup("this database is an unfinished copy itself: finish it first".into()));
        }
        if found != known {
            return Err(Error::Setup(format!(
                "the database has schema version {found}, and this version of wicara reads version {known}: use the \
                 wicara that its server is, or start a server of this version on it first"
            )));
        }
        Ok(())
    }

    /// Keeps servers from starting on PostgreSQL for as long as this connection is open.
    pub async fn lock(&self) -> Result<()> {
        let Self::Postgres(connection) = self else { return Ok(()) };
        let refusal = "another copy or restore uses this database, or a server is just starting on it";
        take_copy_lock(connection, "pg_advisory_lock", refusal).await
    }

    /// Refuses a PostgreSQL database that a server uses.
    pub async fn check_at_rest(&self) -> Result<()> {
        let Self::Postgres(_) = self else { return Ok(()) };
        if !self.has_table("nodes").await? {
            return Ok(());
        }
        let living = format!(
            "SELECT count(*) FROM nodes WHERE renewed_at > {} - {}",
            DatabaseClock::POSTGRES,
            DEAD_AFTER.as_millis()
        );
        match self.number(living).await? {
            0 => Ok(()),
            count => {
                let users = match count {
                    1 => "a server or a command uses this database: stop it first".to_owned(),
                    _ => format!("{count} servers or commands use this database: stop them first"),
                };
                Err(Error::Setup(format!("{users} (one that was killed counts for a minute more)")))
            }
        }
    }

    /// The rows of a table, summed up.
    pub async fn sum(&self, table: &Table, mut seen: impl FnMut(u64)) -> Result<TableSum> {
        let (mut pages, mut sum) = (Pages::new(None), TableSum::new(&table.name));
        while let Some(rows) = pages.next(self, table).await? {
            rows.iter().for_each(|row| sum.add(&line(row)));
            seen(sum.rows);
        }
        Ok(sum)
    }
}

/// Reads a table by its key, page by page. A page ends early where its rows are long.
pub struct Pages {
    after: Option<Vec<Value>>,
    rows: usize,
}

impl Pages {
    /// `after`: the key of the row before the first one to be read.
    pub fn new(after: Option<Vec<Value>>) -> Self {
        Self { after, rows: PAGE_ROWS / 8 }
    }

    /// The next page; `None` after the last one.
    pub async fn next(&mut self, database: &Database, table: &Table) -> Result<Option<Vec<Vec<Value>>>> {
        let sql = table.page(self.after.is_some(), self.rows);
        let after = self.after.take().unwrap_or_default();
        let found = match database {
            Database::Postgres(connection) => connection.query_up_to(&sql.postgres, &after, PAGE_BYTES).await,
            Database::Sqlite(connection) => sqlite::query_up_to(connection, &sql.sqlite, &after, PAGE_BYTES),
        };
        let rows = found?.into_iter().map(|row| table.typed(row)).collect::<Result<Vec<_>>>()?;
        let Some(last) = rows.last() else { return Ok(None) };
        self.after = Some(last[..table.key].to_vec());
        // Powers of two, so that there are few statements; PostgreSQL reads on to the page's end in vain.
        self.rows = if rows.len() < self.rows {
            rows.len().next_power_of_two()
        } else {
            (self.rows * 2).min(PAGE_ROWS)
        };
        Ok(Some(rows))
    }
}
