//! The operators' console, opened in a browser with everything in its inbox.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;
use xtask::chromium;

use super::words::common;
use crate::bench::Bench;
use crate::figure::{Figure, Measured, Target};
use crate::folder::run;
use crate::server::{Database, Server};
use crate::times::median;

const FOLDER: &str = "web";
/// What drives the browser, and what it needs.
const SCRIPT: &str = "tests/bench/console.mjs";
const DRIVER: &str = "node_modules/playwright-core";
const OPENINGS: usize = 5;
/// The most milliseconds until a key is answered, and of a task while somebody types.
const ANSWERED: f64 = 1000.0;
const TASK: f64 = 50.0;

pub fn console(bench: &mut Bench, database: &Database, server: &Server) -> Result<()> {
    let Some(browser) = chromium::path() else {
        eprintln!("bench: goes on without the console: there is no Chromium");
        return Ok(());
    };
    if !Path::new(FOLDER).join(DRIVER).is_dir() {
        eprintln!("bench: goes on without the console: `npm ci` was not run in {FOLDER}");
        return Ok(());
    }
    let openings = if bench.scale.rounds > 1 { OPENINGS } else { 1 };
    let mut node = Command::new("node");
    node.current_dir(FOLDER).env("WICARA_CHROMIUM", browser);
    node.args([SCRIPT, &server.url(), &database.cookie, &common(0), &openings.to_string()]);
    let said = run(&mut node)?;
    let lines = said.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    let times = |name: &str| {
        let time = |line: &Value| line[name].as_f64().with_context(|| format!("{SCRIPT} told no {name}"));
        lines.iter().map(time).collect::<Result<Vec<f64>>>()
    };
    let (shown, answered, longest) = (times("shown")?, times("answered")?, times("longest")?);
    let figure = |what: &str, value, target| Figure {
        benchmark: "console",
        what: what.to_owned(),
        engine: database.engine,
        value,
        unit: "ms",
        target: Target::AtMost(target),
        load: Measured::default(),
        reference: None,
        turns: Vec::new(),
        details: Vec::new(),
    };
    let first = figure("console, 20 rows and a key answered", median(&answered), ANSWERED);
    bench.figures.push(Figure { turns: answered, details: vec![("rows", median(&shown), "ms")], ..first });
    let longest = longest.into_iter().fold(0.0, f64::max);
    bench.figures.push(figure("console, longest task beside the search box", longest, TASK));
    Ok(())
}
