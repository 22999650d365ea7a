//! The server's metrics, for Prometheus. A metric is registered, with its name, in the file of its area: `http_metrics.rs`,
//! `bot_metrics.rs` and so on. The guide lists all names: `knowledge/en/14-metrics.md`.
//!
//! The number of time series is bounded: values of labels are route templates, ids of configured bots and constants, never
//! text of clients.

mod bot_metrics;
mod http_metrics;
mod log_metrics;
mod process_metrics;
mod store_metrics;
mod stream_metrics;

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

pub use bot_metrics::{ANSWERED, BotMetrics, BreakerMetric, HUMAN};
pub use http_metrics::{BudgetMetric, HttpMetrics};
pub use log_metrics::log_lines_dropped;
pub use store_metrics::StoreMetrics;
pub use stream_metrics::StreamMetrics;

/// The media type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The label of a request without a route, and of a bot that is not in the configuration.
const UNKNOWN: &str = "-";

/// The metrics of one server. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    pub http: Arc<HttpMetrics>,
    pub store: Arc<StoreMetrics>,
    bots: Arc<bot_metrics::Bots>,
    registry: Arc<Registry>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let http = Arc::new(HttpMetrics::new(&mut registry));
        let bots = Arc::new(bot_metrics::Bots::new(&mut registry));
        let store = Arc::new(StoreMetrics::new(&mut registry));
        registry.register_collector(Box::new(log_metrics::Log));
        registry.register_collector(Box::new(process_metrics::Process));
        Self { http, store, bots, registry: Arc::new(registry) }
    }
}

impl Metrics {
    /// The metrics of a configured bot.
    #[must_use]
    pub fn bot(&self, id: &str) -> BotMetrics {
        self.bots.configured(id)
    }

    /// Counts a question that has ended. `outcome`: [`ANSWERED`], [`HUMAN`] or the name of a failure's reason.
    pub fn question_count(&self, bot_id: &str, outcome: &'static str) {
        self.bots.question_count(bot_id, outcome);
    }

    /// All metrics in the OpenMetrics text format.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)
            .expect("writing to a string cannot fail");
        text
    }
}

/// Adds one to a gauge until it is dropped.
#[derive(Debug)]
pub struct GaugeGuard(Gauge);

impl GaugeGuard {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The values of a label, each allocated once (interned), so that counting allocates nothing.
#[derive(Default)]
struct LabelPool(RwLock<HashSet<Arc<str>>>);

impl LabelPool {
    fn get(&self, value: &str) -> Option<Arc<str>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(value).cloned()
    }

    fn get_or_add(&self, value: &str) -> Arc<str> {
        if let Some(value) = self.get(value) {
            return value;
        }
        let value: Arc<str> = value.into();
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(Arc::clone(&value));
        value
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn odd_ids_stay_in_their_quotes() {
        let metrics = Metrics::default();
        let id = "a\"b\n\\";
        metrics.bot(id).breaker().set(true);
        metrics.question_count(id, ANSWERED);
        let text = metrics.text();
        for line in [
            r#"wicara_bot_breaker_open{bot="a\"b\n\\"} 1"#,
            r#"wicara_questions_total{bot="a\"b\n\\",outcome="answered"} 1"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    #[test]
    fn text_of_clients_makes_no_new_time_series() {
        let metrics = Metrics::default();
        for number in 0..100 {
            metrics.question_count(&format!("gone-{number}"), HUMAN);
            metrics.http.answered(None, &format!("M{number}"), 404, Duration::ZERO);
        }
        let text = metrics.text();
        for line in [
            r#"wicara_questions_total{bot="-",outcome="human"} 100"#,
            r#"wicara_http_requests_total{route="-",method="other",status="404"} 100"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert_eq!(text.matches("wicara_questions_total{").count(), 1);
        assert_eq!(text.matches("wicara_http_requests_total{").count(), 1);
    }

    #[test]
    fn a_gauge_is_raised_until_its_guard_is_dropped() {
        let metrics = Metrics::default();
        let open = |count: u8| {
            let line = format!("wicara_streams_open {count}");
            assert!(metrics.text().lines().any(|found| found == line), "{line}");
        };
        let streams = (metrics.http.stream(), metrics.clone().http.stream());
        open(2);
        drop(streams.0);
        open(1);
        drop(streams.1);
        open(0);
    }

    #[test]
    fn the_process_is_measured() {
        let text = Metrics::default().text();
        for name in ["resident_memory_bytes", "open_fds", "start_time_seconds"] {
            let name = format!("process_{name} ");
            let value: f64 = text.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap();
            assert!(value > 0.0, "{name} {value}");
        }
        assert!(text.contains("\nprocess_cpu_seconds_total "), "{text}");
    }
}
