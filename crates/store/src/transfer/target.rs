//! The database that a copy or a restore writes. The table `unfinished_copy` marks it until all of it is there and checked:
//! no server starts on it before, and a copy that was interrupted goes on where it ended.

use super::database::{Address, Database};
use super::lines::{TableSum, line, values};
use super::tables::{Table, stored_tables};
use crate::ServerLock;
use crate::engine::migrations::{
    UNFINISHED_COPY, migrate_postgres_copy, migrate_sqlite_copy, newest_version,
};
use crate::engine::{Columns, Error, Result, Value, sqlite_connection, sqlite_file};

/// What becomes of a target that an interrupted copy or restore left. No other database is ever emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfinished {
    /// It is finished, if it is one of the same source.
    GoesOn,
    /// It is emptied, whatever it is a copy of.
    StartOver,
}

pub struct Target {
    // Before the lock, since the files of the lock may be closed only after SQLite's.
    database: Database,
    lock: ServerLock,
    address: Address,
    position: Position,
    /// Whether tables are written from now on, and no longer those that an interrupted copy had finished.
    is_reached: bool,
    /// Whether all was written and compared before, and only migrations were missing.
    pub is_compared: bool,
}

/// How far a copy has come.
#[derive(Default)]
struct Position {
    /// The table that is being written; empty before the first one.
    table: String,
    rows: u64,
    /// The key of the last row, as a line.
    key: String,
}

impl Position {
    fn read(mut columns: Columns) -> Result<Self> {
        let (table, rows) = (columns.text("table_name")?, columns.int("row_count")?);
        Ok(Self { table, rows: rows.unsigned_abs(), key: columns.text("last_key")? })
    }
}

/// Where the writing of a table begins.
pub struct Start {
    /// Rows that are there already.
    pub rows: u64,
    /// The key of the last of them.
    pub after: Option<Vec<Value>>,
}

impl Target {
    /// Opens a target that is empty, or an unfinished copy of the same source, or of any where it starts over. `source`: its
    /// identity, and `version` that of the schema in which its rows are.
    pub async fn open(url: &str, source: &str, version: i32, unfinished: Unfinished) -> Result<Self> {
        let address = Address::of(url)?;
        let lock = ServerLock::take_at_rest(url)?;
        let database = match &address {
            Address::Postgres(server) => Database::postgres(server).await?,
            Address::Sqlite(path) => Database::Sqlite(sqlite_connection::open(&sqlite_file::resolve(path)?)?),
        };
        database.lock().await?;
        database.check_at_rest().await?;
        let mut target = Self {
            database,
            lock,
            address,
            position: Position::default(),
            is_reached: true,
            is_compared: false,
        };
        let found = target.database.version().await?;
        let mut is_marked = target.database.has_table(UNFINISHED_COPY).await?;
        if is_marked && unfinished == Unfinished::StartOver {
            target.clear().await?;
            is_marked = false;
        }
        if is_marked {
            target.resume(source).await?;
            target.is_compared = found > version;
        } else {
            target.check_empty().await?;
            if found > version {
                return Err(Error::Setup(format!(
                    "it has no rows, but tables of schema version {found}, and what is to be restored is of version \
                     {version}: take a database without tables"
                )));
            }
            target.migrate(version).await?;
            target.mark(source).await?;
        }
        Ok(target)
    }

    async fn resume(&mut self, source: &str) -> Result<()> {
        let read = format!("SELECT source, table_name, row_count, last_key FROM {UNFINISHED_COPY}");
        let row = self.database.query(read, vec![]).await?.into_iter().next();
        let row = row.ok_or_else(|| Error::Setup(format!("{UNFINISHED_COPY} has no row")))?;
        let mut columns = row.columns(UNFINISHED_COPY);
        if columns.text("source")? != source {
            return Err(Error::Setup(
                "it is an unfinished copy of something else: finish that one, take an empty database, or empty this one \
                 with --start-over"
                    .into(),
            ));
        }
        self.position = Position::read(columns)?;
        self.is_reached = self.position.table.is_empty();
        Ok(())
    }

    /// Deletes the rows of an unfinished copy and its mark. Sequences stay, since a copy sets them anyway.
    async fn clear(&self) -> Result<()> {
        let mut tables = Vec::new();
        for table in stored_tables().iter().filter(|table| table.has_rows_of_its_own()).rev() {
            if self.database.has_table(&table.name).await? {
                tables.push(format!("\"{}\"", table.name));
            }
        }
        let delete = match self.database {
            Database::Postgres(_) => format!("TRUNCATE {}", tables.join(", ")),
            Database::Sqlite(_) => {
                tables.iter().map(|table| format!("DELETE FROM {table}")).collect::<Vec<_>>().join("; ")
            }
        };
        self.in_transaction(async {
            self.database.execute(&delete).await?;
            self.database.execute(&format!("DROP TABLE {UNFINISHED_COPY}")).await
        })
        .await
    }

    async fn check_empty(&self) -> Result<()> {
        for table in stored_tables().iter().filter(|table| table.shows_use()) {
            if self.database.has_table(&table.name).await? && self.database.number(table.any()).await? > 0 {
                return Err(Error::Setup(format!(
                    "it is not empty: there are rows in {}. Take a new database (a server that was started on it once \
                     has made an administrator there)",
                    table.name
                )));
            }
        }
        Ok(())
    }

    async fn migrate(&self, version: i32) -> Result<()> {
        match &self.address {
            Address::Postgres(server) => migrate_postgres_copy(server, version).await,
            Address::Sqlite(path) => migrate_sqlite_copy(&sqlite_file::resolve(path)?, version),
        }
    }

    async fn mark(&self, source: &str) -> Result<()> {
        let create = format!(
            "CREATE TABLE {UNFINISHED_COPY} (source text NOT NULL, table_name text NOT NULL, \
                 row_count bigint NOT NULL, last_key text NOT NULL)"
        );
        let insert = format!("INSERT INTO {UNFINISHED_COPY} VALUES ($1, '', 0, '')");
        self.in_transaction(async {
            self.database.execute(&create).await?;
            self.database.query(insert, vec![source.into()]).await.map(|_| ())
        })
        .await
    }

    /// Where to begin with a table; `None` if it is written. To be asked of all tables in their order.
    pub fn start(&mut self, table: &Table) -> Result<Option<Start>> {
        if self.is_reached {
            return Ok(Some(Start { rows: 0, after: None }));
        }
        if self.position.table != table.name {
            return Ok(None);
        }
        self.is_reached = true;
        let after = values(&self.position.key, table, table.key)?;
        Ok(Some(Start { rows: self.position.rows, after: Some(after) }))
    }

    /// Writes the next rows of a table, and how far the copy has come with them.
    pub async fn write(&mut self, table: &Table, rows: Vec<Vec<Value>>) -> Result<()> {
        let Some(last) = rows.last() else { return Ok(()) };
        if self.position.table != table.name {
            self.position = Position { table: table.name.clone(), ..Position::default() };
        }
        self.position.rows += rows.len() as u64;
        self.position.key = line(&last[..table.key]);
        let count = i64::try_from(self.position.rows).unwrap_or(i64::MAX);
        let advance = format!("UPDATE {UNFINISHED_COPY} SET table_name = $1, row_count = $2, last_key = $3");
        let position = vec![table.name.as_str().into(), count.into(), self.position.key.as_str().into()];
        self.in_transaction(async {
            table.write(&self.database.executor(), rows).await?;
            self.database.query(advance, position).await.map(|_| ())
        })
        .await
    }

    async fn in_transaction(&self, work: impl Future<Output = Result<()>>) -> Result<()> {
        let begin = match self.database {
            Database::Postgres(_) => "BEGIN",
            Database::Sqlite(_) => "BEGIN IMMEDIATE",
        };
        self.database.execute(begin).await?;
        let mut done = work.await;
        if done.is_ok() {
            done = self.database.execute("COMMIT").await;
        }
        if done.is_err() {
            // Where this fails too, the connection's end rolls back.
            let _ = self.database.execute("ROLLBACK").await;
        }
        done
    }

    pub async fn sum(&self, table: &Table, seen: impl FnMut(u64)) -> Result<TableSum> {
        self.database.sum(table, seen).await
    }

    /// Takes the mark away: from now on servers may start.
    pub async fn finish(self) -> Result<()> {
        self.migrate(newest_version()).await?;
        // What lists and searches read is not carried along: the first server makes it.
        self.database
            .execute("UPDATE activity_index SET below = (SELECT coalesce(max(id) + 1, 0) FROM conversations)")
            .await?;
        self.database
            .execute(
                "UPDATE search_index SET messages_below = (SELECT coalesce(max(id) + 1, 0) FROM messages), \
                 conversations_below = (SELECT coalesce(max(id) + 1, 0) FROM conversations)",
            )
            .await?;
        if let Database::Postgres(_) = self.database {
            // PostgreSQL plans by statistics that it would gather a minute later.
            for table in stored_tables() {
                if self.database.has_table(&table.name).await? {
                    self.database.execute(&format!("ANALYZE \"{}\"", table.name)).await?;
                }
            }
        }
        // Last: where anything before it fails, the copy goes on when it is run again.
        self.database.execute(&format!("DROP TABLE {UNFINISHED_COPY}")).await?;
        drop(self.database);
        self.lock.fold().await;
        Ok(())
    }
}
