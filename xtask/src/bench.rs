//! `cargo xtask bench`: builds the server and its benchmarks optimised, and runs them.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use xtask::bench_options::{BenchOptions, help};
use xtask::chromium;

use crate::setup::{self, cargo, progress};
use crate::web;

pub fn run(options: &BenchOptions) -> Result<ExitCode> {
    if options.help {
        println!("{}", help());
        return Ok(ExitCode::SUCCESS);
    }
    ensure!(
        cfg!(target_os = "linux"),
        "it reads processor times and memory from /proc, which only Linux has"
    );
    setup::postgres()?;
    setup::postgres_clients()?;
    setup::wrk()?;
    if options.wants("streams") {
        setup::nchan();
    }
    if options.wants("search") && chromium::find().is_some() {
        setup::node()?;
        web::install()?;
    }
    progress("building the server and its benchmarks");
    let build = ["build", "--release", "--locked", "--package", "wicara", "--package", "bench"];
    ensure!(cargo().args(build).status()?.success(), "it does not build");
    // In our place, so that Ctrl-C has only one program to end, and with as many connections as it may have.
    const SCRIPT: &str = r#"ulimit -n "$(ulimit -H -n)"; exec target/release/bench "$@""#;
    let failed = Command::new("sh").args(["-c", SCRIPT, "bench"]).args(env::args_os().skip(2)).exec();
    Err(failed).context("sh cannot be started")
}
