//! The composition root: configuration in, running server out.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use wicara_bots as bots;
use wicara_http as http;
use wicara_metrics::{HttpMetrics, Metrics};
use wicara_platform::{Clock, Random};
use wicara_service::{self as service, People, Service};
use wicara_store::{ServerLock, Store};

use crate::config::{self, Anonymous, Config, SameSite};

/// Connections of clients open at once, if the system grants the descriptors.
const MAX_CONNECTIONS: usize = 4096;
/// Connections that wait in the system's queue, where it allows so many: a flood fills a short one, and whoever finds
/// it full tries again only a second later.
const BACKLOG: u32 = 4096;
/// Descriptors kept for the database, the logs and whatever else, beside one for each call of a bot.
const RESERVED_DESCRIPTORS: usize = 128;
/// Connections that are tried however few descriptors the system grants.
const MIN_CONNECTIONS: usize = 64;

/// After the drain, the process ends within this time, whatever the database does.
const END_TIME: Duration = Duration::from_millis(1800);
/// Of it, how long the questions that are interrupted may take to be marked, how long their callers have to be told where
/// the database does not answer, and how long a stop waits for metrics that are being sent. The rest, and what is left of
/// the drain, is for closing the database.
const MARK_TIME: Duration = Duration::from_millis(800);
const TELL_TIME: Duration = Duration::from_millis(300);
const METRICS_TIME: Duration = Duration::from_millis(200);

/// Connections open at once to the address that shows the metrics: for a few programs that collect them.
const METRICS_CONNECTIONS: usize = 32;

/// How long the body of a request may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(30);

/// Memory for what clients have not taken of their answers yet, all together. No setting: more of it makes nothing
/// faster, since it is filled by clients that read more slowly than the database does.
const ANSWER_BUDGET_BYTES: usize = 64 * 1024 * 1024;

/// What the system holds of an answer, beyond that, until the client has taken it; Linux takes twice as much for its
/// own needs. Without a limit of ours it is up to 4 MiB for each connection. It is enough for 10 Mbit/s over a round trip
/// of 100 milliseconds.
const SEND_BUFFER_BYTES: u32 = 128 * 1024;

/// A running server.
pub struct App {
    /// The address it listens on, with the port that it got.
    pub address: SocketAddr,
    /// The one that shows the metrics without a key, with the port that it got.
    pub metrics_address: Option<SocketAddr>,
    /// How others reach it, without a slash at the end.
    pub base: String,
    /// The first administrator's e-mail, if this start made one, and the password where it was generated.
    pub administrator: Option<(String, Option<String>)>,
    stop: oneshot::Sender<()>,
    running: JoinHandle<()>,
}

impl App {
    /// Opens the store, sets up the bots and listens. Returns when requests are being answered.
    pub async fn start(config: Config, clock: Clock, random: Random) -> Result<Self> {
        let front = Front::start()?;
        let (listener, address) = front.listen(config.server.listen, "server.listen")?;
        let metrics_port = match config.server.metrics_listen {
            Some(listen) => Some(front.listen(listen, "server.metrics_listen")?),
            None => None,
        };
        let metrics_address = metrics_port.as_ref().map(|(_, address)| *address);
        let base = config.server.public_url.clone().unwrap_or_else(|| format!("http://{}", local(address)));
        let source = config.source();
        let metrics = Metrics::default();
        let calls: usize = config.bots.iter().map(|bot| bot.concurrency).sum();
        let bots = bots::Registry::new(config.bots, &format!("{base}/guide"), &random, &metrics)
            .map_err(|error| anyhow::Error::msg(format!("{source}: {error}")))?;
        let lock = ServerLock::take(&config.store.url).with_context(|| store_setting(&source))?;
        let store = open_store(&config.store, &source, &random, &metrics).await?;

        let people = People::new(store.clone(), clock.clone(), random.clone());
        let administrator = people
            .user_create_first(&config.auth.admin_email, &config.auth.admin_password)
            .await
            .context("cannot create the first administrator (auth.admin_email, auth.admin_password)")?
            .map(|(user, password)| (user.person.email, password));

        let settings = service::Settings {
            chatbot_api_open: config.auth.anonymous == Anonymous::ChatbotApi,
            session: config.auth.session,
            limits: service::Limits {
                questions: config.limits.questions_per_minute,
                questions_per_address: config.limits.questions_per_minute_per_address,
                logins_per_address: config.limits.logins_per_minute_per_address,
            },
        };
        if settings.chatbot_api_open {
            tracing::warn!(
                "the Chatbot API is open: anybody who reaches {address} reads and deletes conversations \
                 (auth.anonymous = \"chatbot-api\")"
            );
        }
        let service = Arc::new(Service::new(store, bots, clock, random, metrics.clone(), settings));
        service.recover().await.context("cannot take up what the last run left")?;

        let settings = http::Settings {
            public_url: config.server.public_url,
            allowed_origins: config.server.allowed_origins,
            anonymous_anywhere: config.auth.anonymous_anywhere,
            trusted_proxies: config.server.trusted_proxies,
            cookie_same_site: match config.auth.cookie_same_site {
                SameSite::Lax => http::CookieSameSite::Lax,
                SameSite::None => http::CookieSameSite::None,
            },
            body_bytes: config.limits.body_bytes,
            body_budget_bytes: config.limits.body_budget_bytes,
            answer_budget_bytes: ANSWER_BUDGET_BYTES,
            body_time: BODY_TIME,
        };
        let showing = metrics_port.map(|port| Showing::start(port, &metrics, &settings, &front));
        let router = http::router(Arc::clone(&service), Arc::clone(&metrics.http), settings);
        let (stop, stopped) = oneshot::channel();
        let drain = config.server.drain;
        let beside = if showing.is_some() { METRICS_CONNECTIONS } else { 0 };
        let connections = connections(calls.saturating_add(beside));
        let told = http::listener::Stop::default();
        let serving =
            front.spawn(http::listener::serve(listener, router, metrics.http, told.clone(), connections));
        let running = tokio::spawn(async move {
            let maintenance = tokio::spawn({
                let service = Arc::clone(&service);
                async move { service.maintain().await }
            });
            let _ = stopped.await;
            let deadline = Instant::now() + drain + END_TIME;
            end(&service, serving, told, drain).await;
            maintenance.abort();
            if let Some(showing) = showing {
                showing.stop().await;
            }
            drop(front);
            let closed = async {
                service.close().await;
                lock.fold().await;
            };
            if timeout_at(deadline, closed).await.is_err() {
                lock.keep();
                tracing::warn!(
                    "the database did not answer in time: what it was last given may be stored or not"
                );
            }
        });
        tracing::info!(%address, "listening");
        Ok(Self { address, metrics_address, base, administrator, stop, running })
    }

    /// Where a program on this machine finds the metrics without a key.
    #[must_use]
    pub fn metrics_url(&self) -> Option<String> {
        self.metrics_address.map(|address| format!("http://{}/metrics", local(address)))
    }

    /// Runs until SIGTERM or Ctrl-C, then stops.
    pub async fn run(self, mut signals: Signals) -> Result<()> {
        signals.wait().await;
        tracing::info!("stopping: no new requests, finishing those that run");
        let stopped = self.stop();
        tokio::select! {
            stopped = stopped => stopped,
            _ = signals.interrupt.recv() => bail!("a second Ctrl-C: what was still running is cut off"),
        }
    }

    /// Stops accepting, finishes what runs (up to `server.drain_seconds`) and commits.
    pub async fn stop(self) -> Result<()> {
        let _ = self.stop.send(());
        self.running.await.context("the server ended badly")
    }
}

/// Finishes what runs for up to `drain`. What is left then is interrupted, and at last cut off, whatever the database
/// does.
async fn end(service: &Service, serving: JoinHandle<()>, told: http::listener::Stop, drain: Duration) {
    let mut done = pin!(async {
        serving.await.expect("the listener does not panic, and nobody ends it");
        service.idle().await;
    });
    told.finish.cancel();
    if timeout(drain, &mut done).await.is_ok() {
        return;
    }
    tracing::warn!("requests took too long to finish and are cut off");
    service.interrupt();
    if timeout(MARK_TIME, &mut done).await.is_ok() {
        return;
    }
    service.abandon();
    if timeout(TELL_TIME, &mut done).await.is_err() {
        told.cut.cancel();
    }
}

/// SIGTERM and Ctrl-C, from now on requests to stop rather than the end of the process.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Returns when one of them comes.
    pub async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    pub fn take() -> Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("cannot wait for Ctrl-C")?,
        })
    }
}

/// Opens the store. `source` is [`Config::source`]: an error says where the store is configured.
pub async fn open_store(
    settings: &config::Store,
    source: &str,
    random: &Random,
    metrics: &Metrics,
) -> Result<Store> {
    let opened = Store::open(&settings.url, settings.wait, random, metrics).await;
    opened.with_context(|| store_setting(source))
}

fn store_setting(source: &str) -> String {
    format!("store.url ({source} or WICARA_STORE__URL)")
}

/// The runtime of the connections. Questions are carried out on the other one: however many requests come, and have to
/// be refused, what was let in does not stand in line behind them.
struct Front(Option<Runtime>);

impl Front {
    fn start() -> Result<Self> {
        let runtime = Builder::new_multi_thread().thread_name("connections").enable_all().build();
        Ok(Self(Some(runtime.context("cannot start threads for connections")?)))
    }

    fn runtime(&self) -> &Runtime {
        self.0.as_ref().expect("it is there until it is dropped")
    }

    /// Listens where the setting says, and returns with which port.
    fn listen(&self, listen: SocketAddr, setting: &str) -> Result<(TcpListener, SocketAddr)> {
        let listener = self
            .bind(listen)
            .with_context(|| format!("cannot listen on {listen} ({setting}): is another program there?"))?;
        let address = listener.local_addr().context("the listener has no address")?;
        Ok((listener, address))
    }

    fn bind(&self, listen: SocketAddr) -> io::Result<TcpListener> {
        let _here = self.runtime().enter();
        let socket = if listen.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
        socket.bind(listen)?;
        socket.listen(BACKLOG)
    }

    fn spawn<T: Send + 'static>(&self, serving: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.runtime().spawn(serving)
    }
}

impl Drop for Front {
    /// Without waiting, which a task must not.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// The address that shows the metrics without a key, from the start until everything else has stopped: what is still
/// being finished can be watched.
struct Showing {
    told: http::listener::Stop,
    serving: JoinHandle<()>,
}

impl Showing {
    fn start(
        (listener, address): (TcpListener, SocketAddr),
        metrics: &Metrics,
        settings: &http::Settings,
        front: &Front,
    ) -> Self {
        let near = address.ip().to_canonical().is_loopback();
        if near {
            tracing::info!(%address, "showing the metrics without a key");
        } else {
            tracing::warn!(
                %address,
                "showing the metrics without a key to everybody who reaches this address (server.metrics_listen)"
            );
        }
        let router = http::metrics_router(metrics.clone(), settings, !near);
        let told = http::listener::Stop::default();
        // Connections to it are no clients'.
        let unseen = HttpMetrics::unseen();
        let serving = http::listener::serve(listener, router, unseen, told.clone(), METRICS_CONNECTIONS);
        Self { told, serving: front.spawn(serving) }
    }

    async fn stop(self) {
        self.told.finish.cancel();
        if timeout(METRICS_TIME, self.serving).await.is_err() {
            self.told.cut.cancel();
        }
    }
}

/// How many clients may be connected at once, beside so many calls of bots. Takes as many descriptors as the system
/// grants: its default leaves room for about a thousand.
fn connections(calls: usize) -> usize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
    let granted = getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok());
    let left = granted.unwrap_or(usize::MAX).saturating_sub(RESERVED_DESCRIPTORS.saturating_add(calls));
    if left < MAX_CONNECTIONS {
        tracing::warn!(
            connections = left.max(MIN_CONNECTIONS),
            "the limit of open files leaves room for few clients"
        );
    }
    left.clamp(MIN_CONNECTIONS, MAX_CONNECTIONS)
}

/// The address that a program on this machine connects to.
fn local(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
