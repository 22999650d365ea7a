//! `cargo xtask docs`: measures the bot that answers from documents on questions with the places that answer them.

use std::process::ExitCode;

use anyhow::{Result, ensure};

use crate::setup::cargo;

/// Runs the example that measures, built for release: the figures include times.
pub fn run(arguments: &[String]) -> Result<ExitCode> {
    let mut measure = cargo();
    measure.args(["run", "--quiet", "--locked", "--release", "--package", "wicara-documents", "--example"]);
    let status = measure.arg("measure").arg("--").args(arguments).status()?;
    ensure!(status.success(), "the documents were not measured");
    Ok(ExitCode::SUCCESS)
}
