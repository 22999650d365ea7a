//! Metrics of the process, `process_…`, read from `/proc` on Linux and missing on other systems. The names are those of all
//! Prometheus clients.
//!
//! The fields: <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// The unit of times in `/proc/…/stat` (`USER_HZ`): 100 on every architecture that this program is built for.
const TICKS_PER_SECOND: f64 = 100.0;

#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let stat = Stat::read();
        let mut put = |name, help, metric: &dyn EncodeMetric| {
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
        };
        if let Some(Stat { cpu_seconds, since_boot }) = stat {
            put(
                "process_cpu_seconds",
                "Processor time, of the system too.",
                &ConstCounter::new(cpu_seconds),
            )?;
            if let Some(boot) = boot_time() {
                let start = ConstGauge::new(boot + since_boot);
                put("process_start_time_seconds", "When the process started, since 1970.", &start)?;
            }
        }
        if let Some(bytes) = resident_bytes() {
            put("process_resident_memory_bytes", "Memory in use.", &ConstGauge::new(bytes))?;
        }
        if let Some(count) = open_fds() {
            put("process_open_fds", "Open files and connections.", &ConstGauge::new(count))?;
        }
        Ok(())
    }
}

struct Stat {
    cpu_seconds: f64,
    /// From the boot of the system to the start of the process, in seconds.
    since_boot: f64,
}

impl Stat {
    fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The second field is a name in parentheses, which may hold anything.
        let (_, rest) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let seconds = |number: usize| Some(fields.get(number - 3)?.parse::<f64>().ok()? / TICKS_PER_SECOND);
        Some(Self { cpu_seconds: seconds(14)? + seconds(15)?, since_boot: seconds(22)? })
    }
}

fn boot_time() -> Option<f64> {
    fs::read_to_string("/proc/stat").ok()?.lines().find_map(|line| line.strip_prefix("btime "))?.parse().ok()
}

fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(kilobytes.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

fn open_fds() -> Option<i64> {
    i64::try_from(fs::read_dir("/proc/self/fd").ok()?.count()).ok()
}
