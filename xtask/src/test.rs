//! `cargo xtask test`: sets up what the tests need, runs all of them, those of the web pages too, and sums up.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use xtask::postgres::{self, Cluster};

use crate::setup::{self, cargo, progress};
use crate::web;

/// Runs `cargo test` with these arguments, and without any the tests of the web pages. The exit code is that of the tests.
pub fn run(arguments: &[String]) -> Result<ExitCode> {
    let programs = setup::postgres()?;
    setup::pgbouncer()?;
    setup::chromium()?;
    setup::node()?;
    let version = programs.version()?;
    progress(&format!("starting PostgreSQL {version} from {}", programs.folder().display()));
    let folder = programs.folder().to_owned();
    let cluster = Cluster::start_with(programs).context("PostgreSQL cannot be started")?;

    progress(&format!("running the tests, PostgreSQL at {}", cluster.url("postgres")));
    let started = Instant::now();
    let mut cargo = cargo();
    cargo.args(["test", "--workspace", "--locked", "--no-fail-fast"]).args(arguments);
    cargo.env("WICARA_TEST_POSTGRES", cluster.url("postgres")).env(postgres::BIN, folder);
    let (count, code) = count_tests(&mut cargo)?;
    let seconds = started.elapsed().as_secs();

    progress("stopping PostgreSQL");
    drop(cluster);
    let pages = if arguments.is_empty() { Some(web::test()?) } else { None };

    println!(
        "xtask: SQLite (built in) and PostgreSQL {version}, {} test programs in {seconds} s",
        count.programs
    );
    println!("tests: {} passed, {} failed, {} skipped", count.passed, count.failed, count.skipped);
    if let Some(failed) = &pages {
        println!("web pages: {}", web::summary(failed));
    }
    ensure!(code != 0 || count.passed > 0, "no test ran: is there one by that name?");
    let pages_failed = pages.is_some_and(|failed| !failed.is_empty());
    Ok(ExitCode::from(if code == 0 && pages_failed { 1 } else { code }))
}

#[derive(Default)]
pub struct Count {
    programs: u32,
    pub passed: u32,
    failed: u32,
    skipped: u32,
}

/// Passes the output on as it comes and adds up its `test result:` lines.
pub fn count_tests(cargo: &mut Command) -> Result<(Count, u8)> {
    let mut child = cargo.stdout(Stdio::piped()).spawn().context("cargo cannot be started")?;
    let mut output = BufReader::new(child.stdout.take().context("cargo has no output")?);
    let mut count = Count::default();
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line)? > 0 {
        io::stdout().write_all(&line)?;
        count.add(&String::from_utf8_lossy(&line));
        line.clear();
    }
    // Without a code it was ended by a signal.
    let code = child.wait()?.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok((count, code))
}

impl Count {
    fn add(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else { return };
        self.programs += 1;
        for part in result.split([';', '.']) {
            match part.trim().split_once(' ') {
                Some((number, "passed")) => self.passed += number.parse().unwrap_or(0),
                Some((number, "failed")) => self.failed += number.parse().unwrap_or(0),
                Some((number, "ignored")) => self.skipped += number.parse().unwrap_or(0),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_that_of_all_test_programs() {
        let mut count = Count::default();
        for line in [
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.01s\n",
            "test names_with_passed ... ok\n",
            "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s\n",
        ] {
            count.add(line);
        }
        assert_eq!((count.programs, count.passed, count.failed, count.skipped), (2, 15, 2, 1));
    }
}
