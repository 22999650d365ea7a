//! `cargo xtask fuzz`: runs the library's fuzz tests for longer than `cargo test` does.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;

use crate::setup::{cargo, progress};

/// Runs every test with `fuzz` in its name, all at once, for this long.
pub fn run(seconds: &str) -> Result<ExitCode> {
    progress(&format!("fuzzing for {seconds} s"));
    let started = Instant::now();
    let mut cargo = cargo();
    cargo.args(["test", "--locked", "--workspace", "--lib", "fuzz", "--", "--test-threads", "64"]);
    let status = cargo.env("WICARA_FUZZ_SECONDS", seconds).status()?;
    println!("fuzz: {status}, {} s", started.elapsed().as_secs());
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
