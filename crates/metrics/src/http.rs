//! Requests, connections and streams.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::{Held, UNKNOWN, Words};

/// A question takes as long as its bot: a minute and more.
const SECONDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0];

/// The methods that are told apart; any other is [`OTHER_METHOD`].
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
const OTHER_METHOD: &str = "other";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    route: Arc<str>,
    method: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BudgetOf {
    of: &'static str,
}

/// How much of a budget is used, and how often there was no room in it.
#[derive(Debug, Clone)]
pub struct BudgetMetric {
    bytes: Gauge,
    refused: Counter,
}

impl BudgetMetric {
    pub fn taken(&self, bytes: usize) {
        self.bytes.inc_by(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub fn given_back(&self, bytes: usize) {
        self.bytes.dec_by(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub fn refused(&self) {
        self.refused.inc();
    }
}

pub struct HttpMetrics {
    routes: Words,
    requests: Family<Answered, Counter>,
    durations: Family<Route, Histogram>,
    in_flight: Gauge,
    connections: Gauge,
    streams: Gauge,
    budget_bytes: Family<BudgetOf, Gauge>,
    budget_refusals: Family<BudgetOf, Counter>,
}

impl HttpMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let new = Self {
            routes: Words::default(),
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            in_flight: Gauge::default(),
            connections: Gauge::default(),
            streams: Gauge::default(),
            budget_bytes: Family::default(),
            budget_refusals: Family::default(),
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

    /// Of what does not belong to the server's traffic: nothing shows what it counts.
    #[must_use]
    pub fn unseen() -> Arc<Self> {
        Arc::new(Self::new(&mut Registry::default()))
    }

    /// `route`: the template, never the path; `None` where there is none.
    pub fn answered(&self, route: Option<&str>, method: &str, status: u16, took: Duration) {
        let route = self.routes.get_or_add(route.unwrap_or(UNKNOWN));
        let method = METHODS.into_iter().find(|known| *known == method).unwrap_or(OTHER_METHOD);
        self.durations.get_or_create(&Route { route: Arc::clone(&route) }).observe(took.as_secs_f64());
        self.requests.get_or_create(&Answered { route, method, status }).inc();
    }

    /// What was no request was refused.
    pub fn refused(&self, status: u16) {
        let route = self.routes.get_or_add(UNKNOWN);
        self.requests.get_or_create(&Answered { route, method: OTHER_METHOD, status }).inc();
    }

    /// `of`: `bodies` or `answers`.
    #[must_use]
    pub fn budget(&self, of: &'static str) -> BudgetMetric {
        let of = BudgetOf { of };
        BudgetMetric {
            bytes: self.budget_bytes.get_or_create_owned(&of),
            refused: self.budget_refusals.get_or_create_owned(&of),
        }
    }

    /// To be held while a request is answered.
    #[must_use]
    pub fn request(&self) -> Held {
        Held::new(&self.in_flight)
    }

    /// To be held while a connection is open.
    #[must_use]
    pub fn connection(&self) -> Held {
        Held::new(&self.connections)
    }

    /// To be held while an answer is streamed.
    #[must_use]
    pub fn stream(&self) -> Held {
        Held::new(&self.streams)
    }
}
