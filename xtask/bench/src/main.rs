//! The benchmarks, which `cargo xtask bench` builds and starts.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool prints")]

mod alone;
mod bench;
mod bots;
mod chart;
mod client;
mod commits;
mod data;
mod figure;
mod folder;
mod growth;
mod json;
mod machine;
mod open_loop;
mod overload;
mod process;
mod proxy;
mod reads;
mod report;
mod search;
mod server;
mod snapshot;
mod streams;
mod table;
mod times;
mod tokens;
mod writes;
mod wrk;

use std::env;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use xtask::bench_options::{BENCHMARKS, BenchOptions, help};

use crate::bench::Bench;
use crate::figure::Row;
use crate::server::Engine;
use crate::times::now;

/// Measures something and leaves its figures with the others.
type Measure = fn(&mut Bench, Engine) -> Result<()>;

const POSTGRES: &[Engine] = &[Engine::Postgres];
const BOTH: &[Engine] = &[Engine::Postgres, Engine::Sqlite];

/// Benchmarks that the first round alone takes: those that are held against P alternate with it often enough for a
/// spread of their own, and the last three take minutes.
const ONCE: &[&str] =
    &["message", "questions-new", "questions-session", "distant", "streams", "search", "snapshot"];

/// How a benchmark is measured, and on which engines.
fn measure(name: &str) -> Option<(Measure, &'static [Engine])> {
    Some(match name {
        "message" => (writes::message as Measure, BOTH),
        "questions-new" => (writes::questions_new, BOTH),
        "questions-session" => (writes::questions_session, BOTH),
        "distant" => (writes::distant, POSTGRES),
        "list-program" => (reads::list_program, BOTH),
        "list-person" => (reads::list_person, BOTH),
        "detail" => (reads::detail, BOTH),
        "message-by-id" => (reads::message, BOTH),
        "detail-long" => (reads::detail_long, BOTH),
        "pages" => (reads::pages, BOTH),
        "deep-page" => (reads::deep_page, BOTH),
        "reads" => (growth::reads, BOTH),
        "added-time" => (alone::added_time, BOTH),
        "tokens" => (tokens::tokens, BOTH),
        "start" => (alone::start, BOTH),
        "memory" => (alone::memory, BOTH),
        "overload" => (overload::overload, BOTH),
        "streams" => (streams::streams, BOTH),
        "search" => (search::search, BOTH),
        "snapshot" => (snapshot::snapshot, POSTGRES),
        _ => return None,
    })
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let Some(options) = BenchOptions::parse(&words).filter(|options| !options.help) else {
        eprintln!("{}", help());
        return ExitCode::from(2);
    };
    run(&options).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(options: &BenchOptions) -> Result<ExitCode> {
    let mut bench = Bench::new(options)?;
    if options.wants("streams") {
        streams::check(bench.scale)?;
    }
    let steps: Vec<_> = BENCHMARKS
        .iter()
        .filter(|(name, _)| options.wants(name))
        .filter_map(|(name, _)| measure(name).map(|(measure, engines)| (name, measure, engines)))
        .flat_map(|(name, measure, engines)| engines.iter().map(move |&engine| (name, measure, engine)))
        .collect();
    let rounds = bench.scale.rounds;
    for round in 1..=rounds {
        bench.next_round();
        let steps: Vec<_> = steps.iter().filter(|(name, ..)| round == 1 || !ONCE.contains(name)).collect();
        for (place, &&(name, measure, engine)) in steps.iter().enumerate() {
            let (seconds, place, of) = (now().as_secs(), place + 1, steps.len());
            let what = format!("{name}, {}", engine.name());
            eprintln!("bench: {seconds:>4} s, round {round} of {rounds}, {place} of {of}: {what}");
            measure(&mut bench, engine).context(what)?;
        }
    }
    let figures = std::mem::take(&mut bench.figures);
    for figure in &figures {
        ensure!(figure.value.is_finite(), "{}, {}: no figure came", figure.what, figure.engine.name());
    }
    let facts = machine::facts(&bench.place.postgres_version)?;
    drop(bench);
    report::write(options, &Row::gather(figures), &facts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_can_be_asked_for_can_be_measured() {
        for (name, _) in BENCHMARKS {
            assert!(measure(name).is_some(), "{name}");
        }
        for name in ONCE {
            assert!(measure(name).is_some(), "{name}");
        }
    }
}
