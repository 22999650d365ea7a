//! `cargo xtask web`: checks and tests the pages of `web/`, with the server that is built from the same sources.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use xtask::chromium;

use crate::setup::{self, cargo, progress};

const FOLDER: &str = "web";
/// The types of the API, as TypeScript, made from the server's OpenAPI document.
const TYPES: &str = "shared/api-types.ts";
/// What is run, in this order, by npm. In the browser the widget is tried as it was built into `web/dist`.
const CHECKS: [&str; 5] = ["lint", "check", "test", "build", "test:browser"];

pub fn run() -> Result<ExitCode> {
    setup::node()?;
    setup::chromium()?;
    let failed = test()?;
    println!("web pages: {}", summary(&failed));
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[must_use]
pub fn summary(failed: &[String]) -> String {
    if failed.is_empty() { "passed".to_owned() } else { format!("failed: {}", failed.join(", ")) }
}

/// Runs all checks; those that failed.
pub fn test() -> Result<Vec<String>> {
    // As the tests have built it: with other features, all that it stands on would be built once more.
    let built = cargo().args(["test", "--workspace", "--locked", "--no-run"]).status()?;
    ensure!(built.success(), "the server does not build");
    let program = env::current_dir()?.join("target/debug/wicara");
    install()?;

    let mut failed = Vec::new();
    progress("the types of the API");
    if !types_are_current(&program)? {
        eprintln!(
            "web/{TYPES} is not what the server's OpenAPI document says: write it anew with `cargo xtask web types`"
        );
        failed.push("types".to_owned());
    }
    for check in CHECKS {
        progress(&format!("npm run {check}"));
        let mut npm = npm(&["run", check]);
        npm.env("WICARA_BIN", &program);
        if let Some(browser) = chromium::path() {
            npm.env("WICARA_CHROMIUM", browser);
        }
        if !npm.status().context("npm cannot be started")?.success() {
            failed.push(check.to_owned());
        }
    }
    Ok(failed)
}

/// Writes the types of the API anew.
pub fn write_types() -> Result<ExitCode> {
    setup::node()?;
    ensure!(cargo().args(["build", "--locked"]).status()?.success(), "the server does not build");
    install()?;
    make_types(&env::current_dir()?.join("target/debug/wicara"))?;
    Ok(ExitCode::SUCCESS)
}

/// Whether making the types anew changes nothing. Where it does, the old ones stay.
fn types_are_current(program: &Path) -> Result<bool> {
    let file = Path::new(FOLDER).join(TYPES);
    let before = fs::read(&file).unwrap_or_default();
    make_types(program)?;
    let current = fs::read(&file)? == before;
    if !current {
        fs::write(&file, before)?;
    }
    Ok(current)
}

fn make_types(program: &Path) -> Result<()> {
    let document = env::current_dir()?.join("target/openapi.json");
    let output = Command::new(program).arg("openapi").output().context("the server cannot be started")?;
    ensure!(output.status.success(), "wicara openapi: {}", String::from_utf8_lossy(&output.stderr));
    fs::write(&document, output.stdout)?;
    let made = npm(&["run", "api"]).env("WICARA_OPENAPI", &document).status()?;
    ensure!(made.success(), "npm run api: {made}");
    Ok(())
}

/// Installs what `web/package-lock.json` names, where that is not there yet.
pub fn install() -> Result<()> {
    let lock = fs::read(Path::new(FOLDER).join("package-lock.json"))?;
    // Written last, so that it tells of a whole installation.
    let installed = Path::new(FOLDER).join("node_modules/.wicara-installed");
    if fs::read(&installed).ok().as_ref() != Some(&lock) {
        progress("npm ci");
        let status = npm(&["ci", "--no-audit", "--no-fund"]).status().context("npm cannot be started")?;
        ensure!(status.success(), "npm ci: {status}");
        fs::write(installed, lock)?;
    }
    Ok(())
}

/// Where an installed package is.
pub fn package(name: &str) -> PathBuf {
    Path::new(FOLDER).join("node_modules").join(name)
}

fn npm(arguments: &[&str]) -> Command {
    let mut npm = Command::new("npm");
    npm.args(arguments).current_dir(FOLDER);
    npm
}
