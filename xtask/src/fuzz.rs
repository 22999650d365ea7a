//! `cargo xtask fuzz`: runs the crates' fuzz tests for longer than `cargo test` does.

use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::setup::{cargo, progress};

/// Runs every test with `fuzz` in its name for this long, those of all crates at once.
pub fn run(seconds: &str) -> Result<ExitCode> {
    let programs = test_programs()?;
    progress(&format!("fuzzing for {seconds} s"));
    let started = Instant::now();
    let start = |program| {
        let mut tests = Command::new(program);
        tests.args(["fuzz", "--test-threads", "64"]).env("WICARA_FUZZ_SECONDS", seconds).spawn()
    };
    let running: Vec<Child> = programs.iter().map(start).collect::<Result<_, _>>()?;
    let mut failed = 0;
    for mut tests in running {
        failed += usize::from(!tests.wait()?.success());
    }
    println!("fuzz: {failed} of {} test programs failed, {} s", programs.len(), started.elapsed().as_secs());
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Builds the test programs of the crates. Cargo itself would run one after the other.
fn test_programs() -> Result<Vec<PathBuf>> {
    let mut build = cargo();
    build.args([
        "test",
        "--locked",
        "--workspace",
        "--lib",
        "--no-run",
        "--message-format",
        "json-render-diagnostics",
    ]);
    let built = build.stdout(Stdio::piped()).spawn()?.wait_with_output()?;
    ensure!(built.status.success(), "they do not build");
    let messages = built.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let messages: Vec<Value> = messages.map(serde_json::from_slice).collect::<Result<_, _>>()?;
    let programs = messages.iter().filter_map(|message| message["executable"].as_str()).map(PathBuf::from);
    let programs: Vec<PathBuf> = programs.collect();
    ensure!(!programs.is_empty(), "cargo names no test program");
    Ok(programs)
}
