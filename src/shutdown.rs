//! The running server and its shutdown, which ends in time whatever bots, clients and the database do.
//!
//! The steps: accept no more and finish what runs (`server.drain_seconds`), interrupt questions that still wait for a bot,
//! tell callers that still wait for the database, close their connections, and close the database.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use wicara_http::listener;
use wicara_service::Service;
use wicara_store::ServerLock;

use crate::http_runtime::HttpRuntime;
use crate::metrics_listener::MetricsListener;

/// The time between the end of the drain and the end of the process, for all further steps. Closing the database gets the
/// part that the other steps, and a drain that ended early, leave.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(1800);
/// The streams of the feed are closed one after the other, so many in a second: their clients come back at once, and
/// another server should not get all of them together.
const STREAMS_PER_SECOND: f64 = 1000.0;
/// The part of the drain that this may take.
const STREAMS_PART_OF_DRAIN: f64 = 0.5;
/// How long storing the failure `interrupted` of the interrupted questions may take.
const INTERRUPT_TIMEOUT: Duration = Duration::from_millis(800);
/// How long telling the callers may take, where the database does not answer.
const ABANDON_TIMEOUT: Duration = Duration::from_millis(300);

/// All that runs and has to be stopped.
pub struct RunningServer {
    pub service: Arc<Service>,
    pub http_runtime: HttpRuntime,
    /// The task of the listener for clients.
    pub serving: JoinHandle<()>,
    pub listener_stop: listener::Stop,
    pub metrics_listener: Option<MetricsListener>,
    pub database_lock: ServerLock,
    /// How long running requests may take to finish.
    pub drain: Duration,
}

impl RunningServer {
    /// Runs until `stopped` has a message or its sender is dropped, then shuts down. So it does, with an error, where the
    /// background work has panicked: without it the server would be a dead node to the others, and tell readers nothing.
    pub async fn run_until(self, stopped: oneshot::Receiver<()>) -> Result<()> {
        let service = self.service;
        let mut maintenance = tokio::spawn({
            let service = Arc::clone(&service);
            async move { service.maintain().await }
        });
        let result = tokio::select! {
            _ = stopped => Ok(()),
            ended = &mut maintenance => ended.context("the server's background work has ended"),
        };
        let deadline = Instant::now() + self.drain + SHUTDOWN_TIMEOUT;
        drain_requests(&service, self.serving, self.listener_stop, self.drain).await;
        maintenance.abort();
        if let Some(metrics_listener) = self.metrics_listener {
            metrics_listener.stop().await;
        }
        drop(self.http_runtime);
        let closed = async {
            service.close().await;
            self.database_lock.fold().await;
        };
        if timeout_at(deadline, closed).await.is_err() {
            self.database_lock.keep();
            tracing::warn!(
                "the database did not answer in time: what it was last given may be stored or not"
            );
        }
        result
    }
}

/// Finishes the requests that run, for up to `drain`. Then it interrupts those that wait for a bot, and at last cuts all
/// connections.
async fn drain_requests(
    service: &Service,
    serving: JoinHandle<()>,
    listener_stop: listener::Stop,
    drain: Duration,
) {
    let mut finished = pin!(async {
        serving.await.expect("the listener's task neither panics nor is aborted");
        service.idle().await;
    });
    listener_stop.finish.cancel();
    let finished_by_itself = async {
        tokio::select! {
            () = &mut finished => {}
            () = close_streams(service, drain) => (&mut finished).await,
        }
    };
    if timeout(drain, finished_by_itself).await.is_ok() {
        return;
    }
    tracing::warn!("requests took too long to finish and are cut off");
    service.interrupt();
    if timeout(INTERRUPT_TIMEOUT, &mut finished).await.is_ok() {
        return;
    }
    service.abandon();
    if timeout(ABANDON_TIMEOUT, &mut finished).await.is_err() {
        listener_stop.cut.cancel();
    }
}

async fn close_streams(service: &Service, drain: Duration) {
    let time = Duration::from_secs_f64(service.stream_count() as f64 / STREAMS_PER_SECOND);
    service.streams_close(time.min(drain.mul_f64(STREAMS_PART_OF_DRAIN))).await;
}
