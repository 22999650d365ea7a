//! PostgreSQL: few connections that many requests share (statements are pipelined), each opened again when it
//! is lost.

use std::collections::HashMap;
use std::error::Error as _;
use std::future::Future;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::error::{Severity, SqlState};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{Error, Lane, Result, Row, Value};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long any one statement may take, here and on the server.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);
/// After a failed attempt to connect, requests are refused for so long without another.
const RECONNECT_PAUSE: Duration = Duration::from_millis(200);
const QUICK_CONNECTIONS: usize = 2;
/// Texts differ only by which filters a list has; this many are kept prepared.
const CACHED_STATEMENTS: usize = 512;
/// Held while migrations run, so that nodes that start at once wait for each other.
const MIGRATION_LOCK: i64 = 0x7769_6361_7261;
/// How long a write waits for a row that another session has locked. A batch of another node takes a fraction of it. It
/// is less than PostgreSQL's `deadlock_timeout`, so that batches which meet crosswise run into this one.
const LOCK_TIMEOUT: Duration = Duration::from_millis(500);
/// After so long without a statement the server ends a transaction of the writer and frees its locks: this node is
/// frozen then, or cut off, and the others must not wait for it.
const IDLE_IN_TRANSACTION_TIMEOUT: Duration = Duration::from_secs(2);
/// A peer that is gone without a word is noticed after `KEEPALIVE_IDLE` + `KEEPALIVE_PROBES` × `KEEPALIVE_INTERVAL` at
/// the latest, on both sides; on Linux the user timeout ends the connection at the first probe that is not answered.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(3);
const KEEPALIVE_PROBES: u32 = 3;

mod embedded {
    refinery::embed_migrations!("../../migrations/postgres");
}

/// How to reach the database.
#[derive(Clone)]
pub struct Server {
    config: Config,
    /// With `sslmode=require`: the server's certificate is checked against the system's.
    tls: Option<MakeRustlsConnect>,
}

impl Server {
    pub fn new(url: &str) -> Result<Self> {
        let mut config: Config =
            url.parse().map_err(|error| Error::Setup(format!("store.url is not usable: {error}")))?;
        config.connect_timeout(CONNECT_TIMEOUT).application_name("wicara");
        config.tcp_user_timeout(STATEMENT_TIMEOUT);
        config.keepalives_idle(KEEPALIVE_IDLE).keepalives_interval(KEEPALIVE_INTERVAL);
        config.keepalives_retries(KEEPALIVE_PROBES);
        let tls = if config.get_ssl_mode() == SslMode::Require {
            wicara_platform::tls::install();
            let (tls, _) = MakeRustlsConnect::with_native_certs()
                .map_err(|errors| Error::Setup(format!("the system has no CA certificates: {errors:?}")))?;
            Some(tls)
        } else if url.contains("sslmode=disable") || config.get_hosts().iter().all(is_here) {
            config.ssl_mode(SslMode::Disable);
            None
        } else {
            return Err(Error::Setup(
                "store.url names another machine: add ?sslmode=require to encrypt the connection, or \
                 ?sslmode=disable where the network between them is trusted"
                    .into(),
            ));
        };
        Ok(Self { config, tls })
    }

    pub async fn connect(&self) -> Result<Connection> {
        // The driver ends with the client, or when the server closes the connection; every statement then fails.
        let connect = async {
            Ok(match &self.tls {
                Some(tls) => {
                    let (client, driver) = self.config.connect(tls.clone()).await?;
                    tokio::spawn(driver);
                    client
                }
                None => {
                    let (client, driver) = self.config.connect(NoTls).await?;
                    tokio::spawn(driver);
                    client
                }
            })
        };
        let client = match tokio::time::timeout(CONNECT_TIMEOUT, connect).await {
            Ok(connected) => connected.map_err(|error: tokio_postgres::Error| failure(&error))?,
            Err(_) => return Err(Error::Unavailable("connecting took too long".into())),
        };
        let connection =
            Connection { client, statements: Mutex::default(), is_spoiled: AtomicBool::new(false) };
        connection
            .execute(&format!(
                "SET statement_timeout = {statement}; SET plan_cache_mode = force_generic_plan; SET jit = off; \
                 SET default_transaction_isolation = 'read committed'; SET tcp_keepalives_idle = {idle}; \
                 SET tcp_keepalives_interval = {interval}; SET tcp_keepalives_count = {KEEPALIVE_PROBES}; \
                 SET tcp_user_timeout = {statement}",
                statement = STATEMENT_TIMEOUT.as_millis(),
                idle = KEEPALIVE_IDLE.as_secs(),
                interval = KEEPALIVE_INTERVAL.as_secs(),
            ))
            .await?;
        Ok(connection)
    }

    /// For reading. Reads only wait for locks of whole tables; those behind them on the connection would too.
    async fn connect_reader(&self, by_key: bool) -> Result<Connection> {
        let connection = if by_key { self.connect_by_key().await? } else { self.connect().await? };
        connection.execute(&format!("SET lock_timeout = {}", LOCK_TIMEOUT.as_millis())).await?;
        Ok(connection)
    }

    /// For writing: what another session has locked is waited for a short time only.
    pub async fn connect_writer(&self) -> Result<Connection> {
        let connection = self.connect_by_key().await?;
        connection
            .execute(&format!(
                "SET lock_timeout = {}; SET idle_in_transaction_session_timeout = {}",
                LOCK_TIMEOUT.as_millis(),
                IDLE_IN_TRANSACTION_TIMEOUT.as_millis()
            ))
            .await?;
        Ok(connection)
    }

    /// For statements that find their rows by key, and lock them in the order of the keys: never with a plan that
    /// reads a whole table, whatever the planner believes of one that has just grown.
    pub async fn connect_by_key(&self) -> Result<Connection> {
        let connection = self.connect().await?;
        connection
            .execute("SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off")
            .await?;
        Ok(connection)
    }

    /// Brings the schema up to date.
    pub async fn migrate(&self) -> Result<()> {
        let mut connection = self.connect().await?;
        // Waiting for another node's migration may take longer than any other statement.
        let client = &mut connection.client;
        client.batch_execute("SET statement_timeout = 0").await.map_err(|error| failure(&error))?;
        client
            .execute("SELECT pg_advisory_lock($1)", &[&MIGRATION_LOCK])
            .await
            .map_err(|error| failure(&error))?;
        let runner = embedded::migrations::runner();
        let failed = |error: refinery::Error| {
            let cause = error.source().map(ToString::to_string).unwrap_or_default();
            Error::Setup(format!("cannot bring the database's schema up to date: {error}: {cause}"))
        };
        let known = client
            .query_one("SELECT to_regclass('refinery_schema_history') IS NOT NULL", &[])
            .await
            .map_err(|error| failure(&error))?;
        if known.get(0) {
            let applied = runner.get_last_applied_migration_async(client).await.map_err(failed)?;
            super::super::check_version(&runner, applied.as_ref())?;
        }
        runner.run_async(client).await.map_err(failed)?;
        Ok(())
    }
}

/// Whether a host is this machine, so that nothing goes over a network.
fn is_here(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        Host::Unix(_) => true,
    }
}

/// A connection with the statements it has prepared.
pub struct Connection {
    client: Client,
    statements: Mutex<HashMap<String, Statement>>,
    /// An error said that a new connection may do better: after a failover this one leads to a standby.
    is_spoiled: AtomicBool,
}

impl Connection {
    /// Whether a new connection is to be opened for what comes next.
    pub fn is_closed(&self) -> bool {
        self.client.is_closed() || self.is_spoiled.load(Ordering::Relaxed)
    }

    /// The statement, prepared now unless it was before.
    pub async fn prepare(&self, sql: &str) -> Result<Statement> {
        let prepared = self.statements.lock().unwrap_or_else(PoisonError::into_inner).get(sql).cloned();
        if let Some(statement) = prepared {
            return Ok(statement);
        }
        let statement = self.client.prepare(sql).await.map_err(|error| self.failure(&error))?;
        let mut statements = self.statements.lock().unwrap_or_else(PoisonError::into_inner);
        if statements.len() >= CACHED_STATEMENTS {
            statements.clear();
        }
        statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    pub async fn query(&self, sql: &str, params: &[Value]) -> Result<Vec<Row>> {
        self.in_time(async { self.run(&self.prepare(sql).await?, params).await }).await
    }

    /// Runs a statement that commits by itself, and says how an error left it. `given_up`: the constraint that it breaks where
    /// its number is taken.
    pub async fn call(
        &self,
        sql: &str,
        params: &[Value],
        given_up: &str,
    ) -> std::result::Result<Vec<Row>, Unanswered> {
        let statement = self.in_time(self.prepare(sql)).await.map_err(Unanswered::Refused)?;
        let called = async { Ok(self.client.query(&statement, &references(params)).await) };
        let error = match self.in_time(called).await {
            Ok(Ok(rows)) => {
                let rows = rows.iter().map(|row| self.row(row)).collect::<Result<_>>();
                return rows.map_err(|_| Unanswered::Lost);
            }
            Ok(Err(error)) => error,
            Err(_) => return Err(Unanswered::Lost),
        };
        let failure = self.failure(&error);
        // A session that the server ends may have committed before; no other error of the server's is ambiguous.
        match error.as_db_error().filter(|error| error.parsed_severity() == Some(Severity::Error)) {
            Some(error) if error.constraint() == Some(given_up) => Err(Unanswered::GivenUp),
            Some(_) => Err(Unanswered::Refused(failure)),
            None => {
                self.is_spoiled.store(true, Ordering::Relaxed);
                Err(Unanswered::Lost)
            }
        }
    }

    fn row(&self, row: &tokio_postgres::Row) -> Result<Row> {
        // A collected `Result` grows step by step, and rows are wide.
        let mut values = Vec::with_capacity(row.len());
        for column in 0..row.len() {
            values.push(row.try_get(column).map_err(|error| self.failure(&error))?);
        }
        Ok(Row(values))
    }

    async fn run(&self, statement: &Statement, params: &[Value]) -> Result<Vec<Row>> {
        if statement.params().len() != params.len() {
            return Err(Error::Database(format!(
                "{} parameters for a statement with {}",
                params.len(),
                statement.params().len()
            )));
        }
        let rows =
            self.client.query(statement, &references(params)).await.map_err(|error| self.failure(&error))?;
        rows.iter().map(|row| self.row(row)).collect()
    }

    /// Runs statements without parameters or results.
    pub async fn execute(&self, sql: &str) -> Result<()> {
        self.in_time(async { self.client.batch_execute(sql).await.map_err(|error| self.failure(&error)) })
            .await
    }

    /// Bounds how long the database is waited for. A connection that does not answer is given up.
    async fn in_time<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        // The server's own limit comes first where it still answers.
        tokio::time::timeout(STATEMENT_TIMEOUT + Duration::from_secs(1), work).await.unwrap_or_else(|_| {
            self.is_spoiled.store(true, Ordering::Relaxed);
            Err(Error::Unavailable("the database does not answer".into()))
        })
    }

    fn failure(&self, error: &tokio_postgres::Error) -> Error {
        let failure = failure(error);
        let is_of_the_transaction = error.code().is_some_and(|code| {
            code.code().starts_with("40") || *code == SqlState::IN_FAILED_SQL_TRANSACTION
        });
        // A fault within the server may be this session's alone.
        let is_internal = error.code().is_some_and(|code| code.code().starts_with("XX"));
        if is_internal || (matches!(failure, Error::Unavailable(_)) && !is_of_the_transaction) {
            self.is_spoiled.store(true, Ordering::Relaxed);
        }
        failure
    }
}

/// Why there is no answer to a statement that commits by itself.
pub enum Unanswered {
    /// It is not committed.
    Refused(Error),
    /// It is not committed, since its number was given up or is taken.
    GivenUp,
    /// It may be committed, now or later.
    Lost,
}

fn references(params: &[Value]) -> Vec<&(dyn ToSql + Sync)> {
    params.iter().map(|value| value as _).collect()
}

/// What an error of PostgreSQL means to a caller, by the classes of
/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn failure(error: &tokio_postgres::Error) -> Error {
    let Some(database) = error.as_db_error() else {
        let cause = error.source().map_or_else(String::new, |cause| format!(": {cause}"));
        return if error.is_closed() || error.source().is_some_and(|cause| cause.is::<std::io::Error>()) {
            Error::Unavailable(format!("{error}{cause}"))
        } else {
            Error::Database(format!("{error}{cause}"))
        };
    };
    let code = database.code();
    let text = format!("{} ({})", database.message(), code.code());
    match &code.code()[..2] {
        _ if *code == SqlState::UNIQUE_VIOLATION || *code == SqlState::FOREIGN_KEY_VIOLATION => {
            Error::Conflict(text)
        }
        // The command's own data: cardinality, values, constraints.
        "21" | "22" | "23" | "44" => Error::Database(text),
        // A login that the server refuses.
        "28" | "3D" => Error::Setup(text),
        // A newer version has replaced the function: this one writes nothing any more.
        "42" if *code == SqlState::UNDEFINED_FUNCTION => Error::Unavailable(text),
        // A table that is being restored, a right that was taken away; everything else of the class is a statement that
        // this program wrote wrongly.
        "42" if ![SqlState::UNDEFINED_TABLE, SqlState::INSUFFICIENT_PRIVILEGE].contains(code) => {
            Error::Database(text)
        }
        "55" if *code == SqlState::LOCK_NOT_AVAILABLE => Error::Locked(text),
        // The node was forgotten: it is registered with the next connection.
        "55" if *code == SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE => Error::Unavailable(text),
        // A statement over its time may be that of one command.
        "57" if *code == SqlState::QUERY_CANCELED => Error::Refused(text),
        // The server as a whole, for now: lost connections, a failover (0A, 25), statements that a pooler lost (26), a
        // deadlock (40), no resources (53), an operator (57), its disk (58), its configuration (F0).
        "08" | "0A" | "25" | "26" | "40" | "53" | "57" | "58" | "F0" => Error::Unavailable(text),
        // Limits such as wraparound (54), faults within (XX), and codes that triggers raise, of whatever
        // class: these may be about one command of a batch alone, and may pass.
        _ => Error::Refused(text),
    }
}

/// A place for one connection, opened when it is first needed and again when it was lost.
struct Lease {
    server: Server,
    by_key: bool,
    state: tokio::sync::Mutex<State>,
}

#[derive(Default)]
struct State {
    connection: Option<Arc<Connection>>,
    refused_until: Option<Instant>,
}

impl Lease {
    async fn get(&self) -> Result<Arc<Connection>> {
        let mut state = self.state.lock().await;
        if let Some(connection) = state.connection.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(Arc::clone(connection));
        }
        state.connection = None;
        if state.refused_until.is_some_and(|until| Instant::now() < until) {
            return Err(Error::Unavailable("the database was away a moment ago".into()));
        }
        let connected = self.server.connect_reader(self.by_key).await;
        match connected {
            Ok(connection) => {
                let connection = Arc::new(connection);
                state.connection = Some(Arc::clone(&connection));
                Ok(connection)
            }
            Err(error) => {
                state.refused_until = Some(Instant::now() + RECONNECT_PAUSE);
                // A wrong password is a fault of the setup at start, and an outage later.
                Err(Error::Unavailable(error.to_string()))
            }
        }
    }
}

/// The shared connections for reading.
pub struct Reads {
    quick: Vec<Lease>,
    slow: Lease,
    next: AtomicUsize,
}

impl Reads {
    pub fn new(server: &Server) -> Self {
        let lease = |by_key| Lease { server: server.clone(), by_key, state: Default::default() };
        let quick = (0..QUICK_CONNECTIONS).map(|_| lease(true)).collect();
        Self { quick, slow: lease(false), next: 0.into() }
    }

    pub async fn query(&self, lane: Lane, sql: &str, params: &[Value]) -> Result<Vec<Row>> {
        let lease = match lane {
            Lane::Quick | Lane::Rest => {
                let next = self.next.fetch_add(1, Ordering::Relaxed);
                &self.quick[next % self.quick.len()]
            }
            Lane::Slow => &self.slow,
        };
        lease.get().await?.query(sql, params).await
    }
}
