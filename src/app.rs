//! The composition root: configuration in, running server out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use wicara_bots as bots;
use wicara_http as http;
use wicara_metrics::Metrics;
use wicara_platform::{Clock, Random};
use wicara_service::{self as service, People, Service};
use wicara_store::DatabaseUrl;

use crate::config::{self, Anonymous, Config, SameSite};
use crate::connection_limit;
use crate::first_start::{self, FirstAdministrator};
use crate::http_runtime::HttpRuntime;
use crate::metrics_listener::{self, MetricsListener};
use crate::open_store::{lock_for_server, open_store};
use crate::shutdown::RunningServer;
use crate::signals::Signals;

/// How long the body of a request may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Memory for the parts of answers that clients have not read yet, for all connections together. It is no setting, because
/// more of it makes nothing faster: only clients that read more slowly than the database fill it.
const ANSWER_BUDGET_BYTES: usize = 64 * 1024 * 1024;

/// A running server.
pub struct App {
    /// The address of `server.listen`, with the port that the system chose where that is 0.
    pub address: SocketAddr,
    /// The address of `server.metrics_listen`, likewise.
    pub metrics_address: Option<SocketAddr>,
    /// The URL by which clients reach the server, without a slash at the end.
    pub base: String,
    /// Where conversations are kept, for people: the full path of a file, or the host of a database.
    pub database: String,
    /// The first administrator, if this start created one.
    pub first_administrator: Option<FirstAdministrator>,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<()>>,
}

impl App {
    /// Opens the store, sets up the bots and listens. Returns when requests are being answered.
    pub async fn start(config: Config, clock: Clock, random: Random) -> Result<Self> {
        let http_runtime = HttpRuntime::start()?;
        let (listener, address) = http_runtime.listen(config.server.listen, "server.listen")?;
        let metrics_socket = match config.server.metrics_listen {
            Some(listen) => Some(http_runtime.listen(listen, "server.metrics_listen")?),
            None => None,
        };
        let metrics_address = metrics_socket.as_ref().map(|(_, address)| *address);
        let base = config.server.public_url.clone().unwrap_or_else(|| format!("http://{}", local(address)));

        let source = config.source();
        let metrics = Metrics::default();
        let bot_calls: usize = config.bots.iter().map(|bot| bot.concurrency).sum();
        let bots = bots::Registry::new(config.bots, &format!("{base}/guide"), &random, &metrics)
            .map_err(|error| anyhow::Error::msg(format!("{source}: {error}")))?;
        let database_lock = lock_for_server(&config.store, &source)?;
        let store = open_store(&config.store, &source, &random, &metrics).await?;
        let database = DatabaseUrl::parse(&config.store.url).map_err(anyhow::Error::msg)?.to_string();

        let people = People::new(store.clone(), clock.clone(), random.clone());
        let first_administrator = first_start::create_administrator(&people, &config.auth).await?;

        let metrics_connections = metrics_socket.as_ref().map_or(0, |_| metrics_listener::MAX_CONNECTIONS);
        let connection_limits = connection_limit::raise_and_compute(
            bot_calls.saturating_add(metrics_connections),
            config.limits.streams,
        );
        let settings = service_settings(
            &config.auth,
            &config.limits,
            &config.events,
            config.handover,
            connection_limits.streams,
        );
        if settings.chatbot_api_open {
            tracing::warn!(
                "the Chatbot API is open: anybody who reaches {address} reads and deletes conversations \
                 (auth.anonymous = \"chatbot-api\")"
            );
        }
        let service = Arc::new(Service::new(store, bots, clock, random, metrics.clone(), settings));
        service.recover().await.context("cannot take up what the last run left")?;

        let drain = config.server.drain;
        let settings = http_settings(config.server, &config.auth, &config.limits);
        let metrics_listener =
            metrics_socket.map(|socket| MetricsListener::start(socket, &metrics, &settings, &http_runtime));
        let router = http::router(Arc::clone(&service), Arc::clone(&metrics.http), settings);
        let listener_stop = http::listener::Stop::default();
        let serving = http_runtime.spawn(http::listener::serve(
            listener,
            router,
            metrics.http,
            listener_stop.clone(),
            connection_limits.connections,
        ));
        let server = RunningServer {
            service,
            http_runtime,
            serving,
            listener_stop,
            metrics_listener,
            database_lock,
            drain,
        };
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(server.run_until(stopped));
        tracing::info!(%address, "listening");
        Ok(Self { address, metrics_address, base, database, first_administrator, stop, running })
    }

    /// The URL by which a program on this machine finds the metrics without a key.
    #[must_use]
    pub fn metrics_url(&self) -> Option<String> {
        self.metrics_address.map(|address| format!("http://{}/metrics", local(address)))
    }

    /// Runs until SIGTERM or Ctrl-C, then stops.
    pub async fn run(mut self, mut signals: Signals) -> Result<()> {
        tokio::select! {
            () = signals.wait() => {}
            ended = &mut self.running => return ended.context("the server ended badly")?,
        }
        tracing::info!("stopping: no new requests, finishing those that run");
        let stopped = self.stop();
        tokio::select! {
            stopped = stopped => stopped,
            () = signals.wait_for_interrupt() => bail!("a second Ctrl-C: what was still running is cut off"),
        }
    }

    /// Accepts no more, finishes what runs (up to `server.drain_seconds`) and closes the database.
    pub async fn stop(self) -> Result<()> {
        let _ = self.stop.send(());
        self.running.await.context("the server ended badly")?
    }
}

/// `streams`: how many may be open at once.
fn service_settings(
    auth: &config::Auth,
    limits: &config::Limits,
    events: &config::Events,
    handover: config::Handover,
    streams: usize,
) -> service::Settings {
    service::Settings {
        chatbot_api_open: auth.anonymous == Anonymous::ChatbotApi,
        session: auth.session,
        limits: service::Limits {
            questions: limits.questions_per_minute,
            questions_per_address: limits.questions_per_minute_per_address,
            logins_per_address: limits.logins_per_minute_per_address,
            signals: limits.signals_per_minute,
        },
        handover: service::HandoverSettings {
            show_names: handover.show_names,
            return_after: handover.return_after,
            return_text: handover.return_text,
        },
        streams: service::StreamLimits { all: streams, per_caller: limits.streams_per_caller },
        keep_events: events.keep,
    }
}

fn http_settings(server: config::Server, auth: &config::Auth, limits: &config::Limits) -> http::Settings {
    http::Settings {
        public_url: server.public_url,
        allowed_origins: server.allowed_origins,
        anonymous_anywhere: auth.anonymous_anywhere,
        trusted_proxies: server.trusted_proxies,
        cookie_same_site: match auth.cookie_same_site {
            SameSite::Lax => http::CookieSameSite::Lax,
            SameSite::None => http::CookieSameSite::None,
        },
        body_bytes: limits.body_bytes,
        body_budget_bytes: limits.body_budget_bytes,
        answer_budget_bytes: ANSWER_BUDGET_BYTES,
        body_time: BODY_TIMEOUT,
    }
}

/// The address by which this machine reaches a listener: the loopback address where it listens on all addresses.
fn local(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
