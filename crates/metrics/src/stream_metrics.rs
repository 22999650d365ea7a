//! Metrics of the feed, its streams and what the feed keeps true: `wicara_feed_…`, `wicara_caller_cache_…`.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::GaugeGuard;

/// Histogram buckets: from the pause between two looks at the feed to a database that was away.
const LAG_BUCKETS: [f64; 11] = [0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReaderLabels {
    reader: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

const READERS: [&str; 2] = ["operator", "visitor"];
const RESYNC_REASONS: [&str; 3] = ["expired", "epoch", "scope"];

/// The metrics of one server's feed and its streams.
pub struct StreamMetrics {
    open: Family<ReaderLabels, Gauge>,
    events_sent: Counter,
    resyncs: Family<ReasonLabels, Counter>,
    cut_off: Counter,
    lag: Histogram,
    cache_hits: Counter,
    cache_misses: Counter,
}

impl StreamMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let lookups = Family::<[(&str, &str); 1], Counter>::default();
        let new = Self {
            open: Family::default(),
            events_sent: Counter::default(),
            resyncs: Family::default(),
            cut_off: Counter::default(),
            lag: Histogram::new(LAG_BUCKETS),
            cache_hits: lookups.get_or_create_owned(&[("result", "hit")]),
            cache_misses: lookups.get_or_create_owned(&[("result", "miss")]),
        };
        // A series that is there from the start is 0 until something happens, and an alert sees the first time.
        for reader in READERS {
            drop(new.open.get_or_create(&ReaderLabels { reader }));
        }
        for reason in RESYNC_REASONS {
            drop(new.resyncs.get_or_create(&ReasonLabels { reason }));
        }
        registry.register("wicara_feed_streams_open", "Open streams of the feed", new.open.clone());
        registry.register(
            "wicara_feed_events_sent",
            "Events written to streams and pages of the feed",
            new.events_sent.clone(),
        );
        registry.register(
            "wicara_feed_resyncs",
            "Readers that were told to load the state again",
            new.resyncs.clone(),
        );
        registry.register(
            "wicara_feed_readers_cut_off",
            "Streams that were closed because nobody read them",
            new.cut_off.clone(),
        );
        registry.register(
            "wicara_feed_lag_seconds",
            "Time from an event's commit until this server's streams were told of it",
            new.lag.clone(),
        );
        registry.register(
            "wicara_caller_cache_lookups",
            "Look-ups of a key or a login, by requests and by streams, by whether it was known from memory",
            lookups,
        );
        new
    }

    /// Counts an open stream until the guard is dropped. `is_visitors`: of a visitor's conversation, not of operators.
    #[must_use]
    pub fn stream(&self, is_visitors: bool) -> GaugeGuard {
        let reader = READERS[usize::from(is_visitors)];
        GaugeGuard::new(&self.open.get_or_create(&ReaderLabels { reader }))
    }

    /// Counts an event that was written.
    pub fn event_sent(&self) {
        self.events_sent.inc();
    }

    /// Counts a reader whose position cannot be followed.
    pub fn resync(&self, reason: &'static str) {
        self.resyncs.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// Counts a stream that was closed because its reader did not read.
    pub fn reader_cut_off(&self) {
        self.cut_off.inc();
    }

    /// Observes an event that streams were told of, so long after its commit.
    pub fn published(&self, lag: Duration) {
        self.lag.observe(lag.as_secs_f64());
    }

    /// Counts a caller that was looked up: `is_known`, in memory, or in the database.
    pub fn caller_looked_up(&self, is_known: bool) {
        let lookups = if is_known { &self.cache_hits } else { &self.cache_misses };
        lookups.inc();
    }
}
