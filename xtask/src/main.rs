//! `cargo xtask`: the project's own commands.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool prints")]

mod bench;
mod bots;
mod dist;
mod docs;
mod fuzz;
mod schema;
mod setup;
mod test;
mod web;

use std::env;
use std::process::ExitCode;

use schema::SchemaOptions;
use xtask::bench_options::BenchOptions;

const HELP: &str = "\
Wicara's development tasks

Usage: cargo xtask <TASK>

Tasks:
  test [-- ARGUMENTS]   set up what the tests need and run all of them, on SQLite and on PostgreSQL;
                        the arguments go to `cargo test`; without any, the tests of the web pages too
  web [types]           check and test the web pages: types, format, logic, and in the browser; with `types`, write the
                        types of the API anew, as the server's OpenAPI document has them
  schema [--seconds N] [--seed S]
                        hold the running server against its OpenAPI document, on both databases: once, or with fresh
                        seeds until N seconds have passed, or from this seed on
  bots                  ask LiteLLM, Langflow 1.2 and Langflow 1.13, which it installs and starts, through the bots
                        that connect to them
  dist                  build an archive to install from, in target/dist: program, unit for systemd, licences, checksums
  docs FOLDER QUESTIONS [--each | --text]
                        measure the bot that answers from documents: how many of the questions in the file it answers
                        from the right place; FOLDER `guide` is the built-in guide; --each shows every verdict, --text
                        every answer
  bench [OPTIONS]       measure the server against the limits of the machine; `--help` shows the options
  fuzz [--seconds N]    feed generated input to everything that reads input, for 60 seconds unless told otherwise

Examples:
  cargo xtask test
  cargo xtask test -- conversation                  tests with this in their names
  cargo xtask test -- --test layering               one test program
  cargo xtask test -- idempotency -- --nocapture    with what they print
  cargo xtask bench --only message
  cargo xtask docs guide crates/documents/questions/guide.tsv
  cargo xtask fuzz --seconds 600
  cargo xtask schema --seconds 3600

Exit codes: 0 done, 1 failed, 2 wrong usage; `test` exits as `cargo test` does.";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        [] | ["help" | "-h" | "--help"] | ["test", "-h" | "--help"] => {
            println!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        ["test"] => test::run(&[]),
        ["test", "--", ..] => test::run(&arguments[2..]),
        ["schema", rest @ ..] if let Some(options) = SchemaOptions::parse(rest) => schema::run(&options),
        ["web"] => web::run(),
        ["web", "types"] => web::write_types(),
        ["bots"] => bots::run(),
        ["docs", _, _, ..] => docs::run(&arguments[1..]),
        ["dist"] => dist::run(),
        ["fuzz"] => fuzz::run("60"),
        ["fuzz", "--seconds", seconds] if seconds.parse::<u32>().is_ok() => fuzz::run(seconds),
        ["bench", rest @ ..] if let Some(options) = BenchOptions::parse(rest) => bench::run(&options),
        wrong => {
            eprintln!("error: wrong usage: cargo xtask {}\n\n{HELP}", wrong.join(" "));
            return ExitCode::from(2);
        }
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
