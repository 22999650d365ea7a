//! Metrics of requests, connections, streamed answers and memory budgets: `wicara_http_…`, `wicara_streams_open`.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::{GaugeGuard, LabelPool, StreamMetrics, UNKNOWN};

/// Histogram buckets: a question takes as long as its bot, a minute and more.
const SECONDS_BUCKETS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0];

/// The methods with a label of their own; any other is [`OTHER_METHOD`].
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
const OTHER_METHOD: &str = "other";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: Arc<str>,
    method: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BudgetLabels {
    of: &'static str,
}

/// The bytes in use of a memory budget, and its refusals.
#[derive(Debug, Clone)]
pub struct BudgetMetric {
    bytes: Gauge,
    refused: Counter,
}

impl BudgetMetric {
    /// Adds bytes that were reserved.
    pub fn taken(&self, bytes: usize) {
        self.bytes.inc_by(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Subtracts bytes that were released.
    pub fn given_back(&self, bytes: usize) {
        self.bytes.dec_by(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Counts a reservation that did not fit.
    pub fn refused(&self) {
        self.refused.inc();
    }
}

/// The metrics of one server's HTTP traffic.
pub struct HttpMetrics {
    routes: LabelPool,
    requests: Family<RequestLabels, Counter>,
    durations: Family<RouteLabels, Histogram>,
    in_flight: Gauge,
    connections: Gauge,
    streams: Gauge,
    budget_bytes: Family<BudgetLabels, Gauge>,
    budget_refusals: Family<BudgetLabels, Counter>,
    /// Of the streams of the feed.
    pub feed: StreamMetrics,
}

impl HttpMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let new = Self {
            routes: LabelPool::default(),
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(SECONDS_BUCKETS)),
            in_flight: Gauge::default(),
            connections: Gauge::default(),
            streams: Gauge::default(),
            budget_bytes: Family::default(),
            budget_refusals: Family::default(),
            feed: StreamMetrics::new(registry),
        };
        registry.register("wicara_http_requests", "Requests answered", new.requests.clone());
        registry.register(
            "wicara_http_request_duration_seconds",
            "Time until the head of the answer",
            new.durations.clone(),
        );
        registry.register("wicara_http_requests_in_flight", "Requests being answered", new.in_flight.clone());
        registry.register("wicara_http_connections_open", "Open connections", new.connections.clone());
        registry.register("wicara_streams_open", "Answers being streamed", new.streams.clone());
        registry.register(
            "wicara_http_budget_bytes",
            "Memory held for clients, of bodies and answers",
            new.budget_bytes.clone(),
        );
        registry.register(
            "wicara_http_budget_refusals",
            "Bodies and answers for which there was no memory",
            new.budget_refusals.clone(),
        );
        new
    }

    /// Metrics that no registry exports, for a listener whose traffic is not the server's.
    #[must_use]
    pub fn unregistered() -> Arc<Self> {
        Arc::new(Self::new(&mut Registry::default()))
    }

    /// Counts an answered request. `route`: the template, never the path; `None` where no route matched.
    pub fn answered(&self, route: Option<&str>, method: &str, status: u16, took: Duration) {
        let route = self.routes.get_or_add(route.unwrap_or(UNKNOWN));
        let method = METHODS.into_iter().find(|known| *known == method).unwrap_or(OTHER_METHOD);
        self.durations.get_or_create(&RouteLabels { route: Arc::clone(&route) }).observe(took.as_secs_f64());
        self.requests.get_or_create(&RequestLabels { route, method, status }).inc();
    }

    /// Counts a refusal of bytes that could not be parsed as a request.
    pub fn refused(&self, status: u16) {
        let route = self.routes.get_or_add(UNKNOWN);
        self.requests.get_or_create(&RequestLabels { route, method: OTHER_METHOD, status }).inc();
    }

    /// The metrics of one budget. `of`: `bodies` or `answers`.
    #[must_use]
    pub fn budget(&self, of: &'static str) -> BudgetMetric {
        let labels = BudgetLabels { of };
        BudgetMetric {
            bytes: self.budget_bytes.get_or_create_owned(&labels),
            refused: self.budget_refusals.get_or_create_owned(&labels),
        }
    }

    /// Counts a request under way until the guard is dropped.
    #[must_use]
    pub fn request(&self) -> GaugeGuard {
        GaugeGuard::new(&self.in_flight)
    }

    /// Counts an open connection until the guard is dropped.
    #[must_use]
    pub fn connection(&self) -> GaugeGuard {
        GaugeGuard::new(&self.connections)
    }

    /// Counts an answer that is being streamed until the guard is dropped.
    #[must_use]
    pub fn stream(&self) -> GaugeGuard {
        GaugeGuard::new(&self.streams)
    }
}
