//! Metrics of the store's writer and reads: `wicara_store_…`.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::GaugeGuard;

/// Histogram buckets, up to the largest batch of the writer.
const BATCH_BUCKETS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];
const SECONDS_BUCKETS: [f64; 12] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 10.0];

/// The metrics of one store.
pub struct StoreMetrics {
    queue: Gauge,
    batches: Histogram,
    commits: Counter,
    durations: Histogram,
    failures: Counter,
    quick_reads: Gauge,
    slow_reads: Gauge,
}

impl StoreMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let reads = Family::<[(&str, &str); 1], Gauge>::default();
        let new = Self {
            queue: Gauge::default(),
            batches: Histogram::new(BATCH_BUCKETS),
            commits: Counter::default(),
            durations: Histogram::new(SECONDS_BUCKETS),
            failures: Counter::default(),
            quick_reads: reads.get_or_create_owned(&[("lane", "quick")]),
            slow_reads: reads.get_or_create_owned(&[("lane", "slow")]),
        };
        registry.register("wicara_store_queue_depth", "Writes that wait for the writer", new.queue.clone());
        registry.register("wicara_store_batch_size", "Writes committed together", new.batches.clone());
        registry.register("wicara_store_commits", "Transactions committed", new.commits.clone());
        registry.register(
            "wicara_store_commit_duration_seconds",
            "Time to write and commit a batch",
            new.durations.clone(),
        );
        registry.register(
            "wicara_store_commit_failures",
            "Transactions that were not committed",
            new.failures.clone(),
        );
        registry.register("wicara_store_reads_pending", "Reads that wait or run", reads);
        new
    }

    /// Counts a command that entered the writer's queue.
    pub fn queued(&self) {
        self.queue.inc();
    }

    /// Counts commands that left the queue, for a batch or without being run.
    pub fn dequeued(&self, writes: usize) {
        self.queue.dec_by(count(writes));
    }

    /// Observes a committed batch: its commands, and the time to write and commit it.
    pub fn committed(&self, writes: usize, took: Duration) {
        self.batches.observe(count(writes) as f64);
        self.commits.inc();
        self.durations.observe(took.as_secs_f64());
    }

    /// Counts a transaction that was not committed.
    pub fn commit_failed(&self) {
        self.failures.inc();
    }

    /// Counts a read of the quick lane that waits or runs, until the guard is dropped.
    #[must_use]
    pub fn quick_read(&self) -> GaugeGuard {
        GaugeGuard::new(&self.quick_reads)
    }

    /// Counts a read of the slow lane (filtered lists) that waits or runs, until the guard is dropped.
    #[must_use]
    pub fn slow_read(&self) -> GaugeGuard {
        GaugeGuard::new(&self.slow_reads)
    }
}

fn count(writes: usize) -> i64 {
    i64::try_from(writes).expect("the queue is bounded")
}
