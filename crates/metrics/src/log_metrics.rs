//! The metric of the log, `wicara_log_lines_dropped`. It is a static of the process, because the log starts before a server
//! and its [`Metrics`](crate::Metrics).

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;

static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Counts lines of the log that were lost: stderr was not read fast enough, or could not be written.
pub fn log_lines_dropped(lines: u64) {
    DROPPED.fetch_add(lines, Ordering::Relaxed);
}

#[derive(Debug)]
pub(super) struct Log;

impl Collector for Log {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let dropped = ConstCounter::new(DROPPED.load(Ordering::Relaxed));
        let kind = dropped.metric_type();
        let help = "Lines of the log that were lost.";
        dropped.encode(encoder.encode_descriptor("wicara_log_lines_dropped", help, None, kind)?)
    }
}
