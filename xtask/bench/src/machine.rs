//! What the figures were taken on.

use std::fs;
use std::process::Command;
use std::thread::available_parallelism;

use anyhow::{Context, Result};
use xtask::nchan::Nchan;

use crate::folder::run;

/// What the figures depend on, with its names.
pub type Facts = Vec<(&'static str, String)>;

/// Holds nothing that names this machine or a place on it.
pub fn facts(postgres_version: &str) -> Result<Facts> {
    let first_line = |command: &mut Command| run(command).map(|said| said.trim().to_owned());
    Ok(vec![
        ("date", first_line(Command::new("date").args(["-u", "+%Y-%m-%d"]))?),
        ("processor", field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned())),
        ("cores", available_parallelism()?.to_string()),
        ("memory", memory()?),
        ("kernel", first_line(Command::new("uname").args(["-s", "-r", "-m"]))?),
        ("PostgreSQL", postgres_version.to_owned()),
        ("wrk", wrk_version()?),
        ("nchan", Nchan::find().map_or_else(|| "not installed".to_owned(), |nchan| nchan.version)),
        ("rustc", first_line(Command::new("rustc").arg("--version"))?.replacen("rustc ", "", 1)),
    ])
}

fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| {
        let (known, value) = line.split_once(':')?;
        (known.trim() == name).then(|| value.trim().to_owned())
    })
}

fn memory() -> Result<String> {
    let total = field("/proc/meminfo", "MemTotal").context("/proc tells no memory")?;
    let kilobytes: f64 = total.trim_end_matches(" kB").parse()?;
    Ok(format!("{:.0} GB", kilobytes / 1024.0 / 1024.0))
}

/// Asked for its version, it gives it, says how it is used, and fails.
fn wrk_version() -> Result<String> {
    let output = Command::new("wrk").arg("-v").output().context("wrk cannot be started")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = said.strip_prefix("wrk ").and_then(|rest| rest.split(' ').next());
    Ok(version.with_context(|| format!("wrk -v said {said:?}"))?.to_owned())
}
