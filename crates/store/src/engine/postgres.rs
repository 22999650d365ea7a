//! PostgreSQL: how connections are opened and configured, and the few connections that all reads share.

use std::error::Error as _;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_postgres::config::SslMode;
use tokio_postgres::{AsyncMessage, Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::bound_statement::Lane;
use super::postgres_connection::{Connection, STATEMENT_TIMEOUT, failure};
use super::{Error, Result, Row, Value};

pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// After a failed attempt to connect, reads are refused this long without a new attempt.
const RECONNECT_PAUSE: Duration = Duration::from_millis(200);
const QUICK_CONNECTIONS: usize = 2;
/// How long a write waits for a row lock of another session; a batch of another node holds its locks for a fraction of
/// it. Less than PostgreSQL's `deadlock_timeout` (1 s), so that a deadlock between two batches ends by this timeout.
const LOCK_TIMEOUT: Duration = Duration::from_millis(500);
/// The server ends a transaction of the writer that is idle this long and frees its locks: the node is frozen or cut
/// off from the network, and other nodes must not wait for it.
const IDLE_IN_TRANSACTION_TIMEOUT: Duration = Duration::from_secs(2);
/// A peer that vanished without closing the connection is noticed after `KEEPALIVE_IDLE` + `KEEPALIVE_PROBES` ×
/// `KEEPALIVE_INTERVAL` at the latest, on both sides; on Linux the user timeout ends the connection at the first probe
/// that is not answered.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(3);
const KEEPALIVE_PROBES: u32 = 3;

/// How to connect to the database.
#[derive(Clone)]
pub struct Server {
    config: Config,
    /// With `sslmode=require`: checks the server's certificate against the CA certificates of the system.
    tls: Option<MakeRustlsConnect>,
}

impl Server {
    /// `config` comes from a [`DatabaseUrl`](super::DatabaseUrl).
    pub fn new(mut config: Config) -> Result<Self> {
        config.connect_timeout(CONNECT_TIMEOUT);
        if config.get_application_name().is_none() {
            config.application_name("wicara");
        }
        config.tcp_user_timeout(STATEMENT_TIMEOUT);
        config.keepalives_idle(KEEPALIVE_IDLE).keepalives_interval(KEEPALIVE_INTERVAL);
        config.keepalives_retries(KEEPALIVE_PROBES);
        let tls = if config.get_ssl_mode() == SslMode::Require {
            wicara_platform::tls::install();
            let (tls, _) = MakeRustlsConnect::with_native_certs()
                .map_err(|errors| Error::Setup(format!("the system has no CA certificates: {errors:?}")))?;
            Some(tls)
        } else {
            None
        };
        Ok(Self { config, tls })
    }

    /// A connection with the database's own settings, as poolers keep them for the next client.
    pub async fn connect_plain(&self) -> Result<Connection> {
        // The task of the driver ends when the client is dropped or the server closes the connection; after that every
        // statement fails.
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
        self.connected(connect).await
    }

    /// A connection that hands the messages of LISTEN on; those that `received` has no room for are dropped.
    pub async fn connect_listening(&self, received: mpsc::Sender<String>) -> Result<Connection> {
        let connect = async {
            Ok(match &self.tls {
                Some(tls) => {
                    let (client, driver) = self.config.connect(tls.clone()).await?;
                    tokio::spawn(hand_on(driver, received));
                    client
                }
                None => {
                    let (client, driver) = self.config.connect(NoTls).await?;
                    tokio::spawn(hand_on(driver, received));
                    client
                }
            })
        };
        self.connected(connect).await
    }

    async fn connected(
        &self,
        connect: impl Future<Output = std::result::Result<Client, tokio_postgres::Error>>,
    ) -> Result<Connection> {
        match tokio::time::timeout(CONNECT_TIMEOUT, connect).await {
            Ok(connected) => Ok(Connection::new(connected.map_err(|error| self.connect_failure(&error))?)),
            Err(_) => Err(Error::Unavailable("connecting took too long".into())),
        }
    }

    fn connect_failure(&self, error: &tokio_postgres::Error) -> Error {
        let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
        // What the driver calls an answer that it cannot read; errors of the network have kinds of their own.
        let is_unreadable = cause.is_some_and(|cause| {
            matches!(cause.kind(), ErrorKind::Other | ErrorKind::InvalidData | ErrorKind::InvalidInput)
                && cause.raw_os_error().is_none()
        });
        if error.as_db_error().is_none() && self.tls.is_none() && is_unreadable {
            let ports: Vec<_> = self.config.get_ports().iter().map(u16::to_string).collect();
            return Error::Setup(format!(
                "what answers there (port {}) does not speak PostgreSQL's protocol: is the port right?",
                ports.join(", ")
            ));
        }
        failure(error)
    }

    pub async fn connect(&self) -> Result<Connection> {
        let connection = self.connect_plain().await?;
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

    /// A connection for reading. A read waits only for locks of whole tables (a migration, a restore), and all
    /// statements behind it on the shared connection wait with it: the lock timeout bounds that.
    async fn connect_reader(&self, plans: Plans) -> Result<Connection> {
        let connection = match plans {
            Plans::Any => self.connect().await?,
            Plans::ByKey | Plans::InOrder => self.connect_by_key().await?,
        };
        if plans == Plans::InOrder {
            let in_order = "SET enable_bitmapscan = off; SET enable_sort = off; SET enable_incremental_sort = off; \
                 SET max_parallel_workers_per_gather = 0";
            connection.execute(in_order).await?;
        }
        connection.execute(&format!("SET lock_timeout = {}", LOCK_TIMEOUT.as_millis())).await?;
        Ok(connection)
    }

    /// A connection for writing, with short timeouts for locks of other sessions and for idle transactions.
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

    /// A connection whose statements find their rows by key, and lock them in the order of the keys. The settings
    /// forbid plans that read a whole table: with outdated statistics of a table that has just grown the planner would
    /// choose them.
    pub async fn connect_by_key(&self) -> Result<Connection> {
        let connection = self.connect().await?;
        connection
            .execute("SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off")
            .await?;
        Ok(connection)
    }
}

/// Drives a connection until it ends, and hands its notifications on.
async fn hand_on<S, T>(mut driver: tokio_postgres::Connection<S, T>, received: mpsc::Sender<String>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(Ok(message)) = std::future::poll_fn(|context| driver.poll_message(context)).await {
        if let AsyncMessage::Notification(notification) = message {
            let _ = received.try_send(notification.payload().to_owned());
        }
    }
}

/// What the settings of a connection leave to the planner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plans {
    Any,
    /// See [`Server::connect_by_key`].
    ByKey,
    /// Also no reading of many entries of an index to sort them: a step along an index ends where its limit is reached,
    /// whatever the planner takes the number of its entries for.
    InOrder,
}

/// One shared connection, opened at its first use and again after it is lost.
struct ReadConnection {
    server: Server,
    plans: Plans,
    state: tokio::sync::Mutex<ConnectionState>,
}

#[derive(Default)]
struct ConnectionState {
    connection: Option<Arc<Connection>>,
    refused_until: Option<Instant>,
}

impl ReadConnection {
    async fn get(&self) -> Result<Arc<Connection>> {
        let mut state = self.state.lock().await;
        if let Some(connection) = state.connection.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(Arc::clone(connection));
        }
        state.connection = None;
        if state.refused_until.is_some_and(|until| Instant::now() < until) {
            return Err(Error::Unavailable("the database was away a moment ago".into()));
        }
        let connected = self.server.connect_reader(self.plans).await;
        match connected {
            Ok(connection) => {
                let connection = Arc::new(connection);
                state.connection = Some(Arc::clone(&connection));
                Ok(connection)
            }
            Err(error) => {
                state.refused_until = Some(Instant::now() + RECONNECT_PAUSE);
                // While the server runs, also a refused login is an outage: the password was right at start.
                Err(Error::Unavailable(error.to_string()))
            }
        }
    }
}

/// The connections that all reads share, by lane. Quick reads take turns on theirs.
pub struct ReadConnections {
    quick: Vec<ReadConnection>,
    slow: ReadConnection,
    walk: ReadConnection,
    next: AtomicUsize,
}

impl ReadConnections {
    pub fn new(server: &Server) -> Self {
        let connection = |plans| ReadConnection { server: server.clone(), plans, state: Default::default() };
        let quick = (0..QUICK_CONNECTIONS).map(|_| connection(Plans::ByKey)).collect();
        Self { quick, slow: connection(Plans::Any), walk: connection(Plans::InOrder), next: 0.into() }
    }

    pub async fn query(&self, lane: Lane, sql: &str, params: &[Value]) -> Result<Vec<Row>> {
        let connection = match lane {
            Lane::Quick | Lane::Continuation => {
                let next = self.next.fetch_add(1, Ordering::Relaxed);
                &self.quick[next % self.quick.len()]
            }
            Lane::Slow => &self.slow,
            Lane::Walk => &self.walk,
        };
        connection.get().await?.query(sql, params).await
    }
}
