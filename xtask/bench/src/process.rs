//! What processes cost: processor time and memory, from `/proc`.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// Linux counts processor time for programs in these, on every architecture.
const TICK: Duration = Duration::from_millis(10);

/// The processor time of everything that takes part, since it started.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    pub server: Duration,
    pub database: Duration,
    pub generator: Duration,
    pub bot: Duration,
}

impl Usage {
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            server: self.server.saturating_sub(before.server),
            database: self.database.saturating_sub(before.database),
            generator: self.generator.saturating_sub(before.generator),
            bot: self.bot.saturating_sub(before.bot),
        }
    }
}

/// The fields of a `stat` file after the name in parentheses: the state first.
fn stat(path: &str) -> Result<Vec<String>> {
    let text = fs::read_to_string(path).with_context(|| path.to_owned())?;
    let (_, fields) = text.rsplit_once(')').with_context(|| format!("{path} is not as expected"))?;
    Ok(fields.split_whitespace().map(str::to_owned).collect())
}

const PARENT: usize = 1;
const USER_TIME: usize = 11;
const CHILDREN_TIME: usize = 13;

fn ticks(fields: &[String], first: usize) -> Duration {
    let count = |field: &String| field.parse().unwrap_or(0);
    TICK * fields.iter().skip(first).take(2).map(count).sum::<u32>()
}

/// Of one process or thread, named by its place in `/proc`.
pub fn used(place: &str) -> Result<Duration> {
    Ok(ticks(&stat(&format!("/proc/{place}/stat"))?, USER_TIME))
}

/// Of a process and all its children, also those that have ended.
pub fn used_with_children(process: u32) -> Result<Duration> {
    let own = stat(&format!("/proc/{process}/stat"))?;
    let mut sum = ticks(&own, USER_TIME) + ticks(&own, CHILDREN_TIME);
    for child in children(process)? {
        // One may end while we look.
        sum += used(&child.to_string()).unwrap_or_default();
    }
    Ok(sum)
}

/// The processes that it started and that run.
pub fn children(process: u32) -> Result<Vec<u32>> {
    let processes = fs::read_dir("/proc")?.flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let parent = |child: &u32| stat(&format!("/proc/{child}/stat")).ok()?.get(PARENT)?.parse().ok();
    Ok(numbers.filter(|child| parent(child) == Some(process)).collect())
}

/// The place of the calling thread in `/proc`.
pub fn this_thread() -> Result<String> {
    let place = fs::read_link("/proc/thread-self")?;
    Ok(place.to_str().context("/proc/thread-self leads nowhere")?.to_owned())
}

/// Forgets the most memory that a process has had.
pub fn memory_peak_reset(process: u32) -> Result<()> {
    Ok(fs::write(format!("/proc/{process}/clear_refs"), "5")?)
}

/// The most memory that a process has had, in MB.
pub fn memory_peak(process: u32) -> Result<f64> {
    memory(process, "VmHWM:")
}

/// The memory that a process has now, in MB.
pub fn memory_now(process: u32) -> Result<f64> {
    memory(process, "VmRSS:")
}

fn memory(process: u32, what: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(what));
    let kilobytes = line.and_then(|rest| rest.trim().strip_suffix(" kB")).and_then(|n| n.parse::<f64>().ok());
    Ok(kilobytes.with_context(|| format!("/proc tells no {what}"))? / 1024.0)
}

/// How many files a process may have open that this one starts.
pub fn open_files() -> Result<usize> {
    let limits = fs::read_to_string("/proc/self/limits")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next());
    // "unlimited" is no number.
    Ok(soft.context("/proc tells no limit of open files")?.parse().unwrap_or(usize::MAX))
}
