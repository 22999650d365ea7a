//! The listener of `server.metrics_listen`, which shows the metrics without a key.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use wicara_http as http;
use wicara_metrics::{HttpMetrics, Metrics};

use crate::http_runtime::HttpRuntime;

/// Connections that it accepts at once: a few programs collect metrics.
pub const MAX_CONNECTIONS: usize = 32;

/// How long a stop waits for answers that are being sent.
const STOP_TIMEOUT: Duration = Duration::from_millis(200);

/// The running listener. It stops after everything else, so that the drain of the server can be watched.
pub struct MetricsListener {
    stop: http::listener::Stop,
    serving: JoinHandle<()>,
}

impl MetricsListener {
    pub fn start(
        (listener, address): (TcpListener, SocketAddr),
        metrics: &Metrics,
        settings: &http::Settings,
        http_runtime: &HttpRuntime,
    ) -> Self {
        let is_loopback = address.ip().to_canonical().is_loopback();
        if is_loopback {
            tracing::info!(%address, "showing the metrics without a key");
        } else {
            tracing::warn!(
                %address,
                "showing the metrics without a key to everybody who reaches this address (server.metrics_listen)"
            );
        }
        let router = http::metrics_router(metrics.clone(), settings, !is_loopback);
        let stop = http::listener::Stop::default();
        // Its connections are not clients', so the metrics of the server do not count them.
        let own_metrics = HttpMetrics::unregistered();
        let serving = http::listener::serve(listener, router, own_metrics, stop.clone(), MAX_CONNECTIONS);
        Self { stop, serving: http_runtime.spawn(serving) }
    }

    pub async fn stop(self) {
        self.stop.finish.cancel();
        if timeout(STOP_TIMEOUT, self.serving).await.is_err() {
            self.stop.cut.cancel();
        }
    }
}
