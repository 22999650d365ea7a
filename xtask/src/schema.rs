//! `cargo xtask schema`: holds the running server against its OpenAPI document with Schemathesis, on both databases.

use std::hash::{BuildHasher, RandomState};
use std::io::Read;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use anyhow::{Context, Result, bail, ensure};
use xtask::postgres::{Cluster, Programs};
use xtask::wicara::Wicara;

use crate::setup::{self, cargo, progress};

/// The configurations, who calls, and what has to be installed.
const FOLDER: &str = "xtask/schema";
/// What the last time left behind, to look into when it failed.
const REMAINS: &str = "target/schema";

/// The callers of `callers.json` that have a key, with the arguments that make it.
const KEYS: [(&str, &[&str]); 4] = [
    ("chatbot", &["--role", "admin", "--api", "chatbot"]),
    ("conversation", &["--role", "admin", "--api", "conversation"]),
    ("guide", &["--role", "agent", "--bots", "guide"]),
    ("other", &["--role", "agent", "--bots", "other"]),
];

/// As whom Schemathesis calls, a run each.
const CALLERS: [&str; 4] = ["chatbot", "conversation", "guide", "person"];

/// Many times what a run takes: one that hangs has failed.
const RUN_TIME: Duration = Duration::from_secs(600);

/// Of a round that nobody asked for more of: a change that passes once passes always.
const SEED: u32 = 3333;

/// What is to be tried.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SchemaOptions {
    /// Rounds are begun until so much time has passed; one where this is not set.
    time: Option<Duration>,
    /// Of the first round; each further one has the next. Not set: [`SEED`], and where there is time a fresh one.
    seed: Option<u32>,
}

impl SchemaOptions {
    /// The arguments after `schema`; `None` where they are wrong.
    pub fn parse(words: &[&str]) -> Option<Self> {
        let mut options = Self::default();
        let (pairs, rest) = words.as_chunks();
        for [name, value] in pairs {
            let number = value.parse().ok()?;
            match *name {
                "--seconds" => options.time = Some(Duration::from_secs(u64::from(number))),
                "--seed" => options.seed = Some(number),
                _ => return None,
            }
        }
        rest.is_empty().then_some(options)
    }

    fn first_seed(&self) -> u32 {
        let fresh = || RandomState::new().hash_one("schema") as u32;
        self.seed.unwrap_or_else(|| if self.time.is_some() { fresh() } else { SEED })
    }
}

pub fn run(options: &SchemaOptions) -> Result<ExitCode> {
    let postgres = setup::postgres()?;
    let requirements = Path::new(FOLDER).join("requirements.txt");
    let schemathesis = setup::python_programs("schemathesis", &requirements)?.join("schemathesis");
    progress("building the server");
    // As the tests have built it: with other features, all that it stands on would be built once more.
    let build = ["test", "--workspace", "--locked", "--no-run"];
    ensure!(cargo().args(build).status()?.success(), "it does not build");

    let started = Instant::now();
    let mut seed = options.first_seed();
    loop {
        println!("schema: seed {seed}");
        let once_more = || format!("seed {seed}; once more: cargo xtask schema --seed {seed}");
        let failed = round(seed, &postgres, &schemathesis).with_context(once_more)?;
        println!("schema: SQLite and PostgreSQL, {failed} runs failed, {} s", started.elapsed().as_secs());
        if failed > 0 {
            println!("schema: {}", once_more());
            return Ok(ExitCode::FAILURE);
        }
        if options.time.is_none_or(|time| started.elapsed() >= time) {
            return Ok(ExitCode::SUCCESS);
        }
        seed = seed.wrapping_add(1);
    }
}

/// Tries both databases, which are new ones: what a seed leads to depends on what is stored. How many runs failed.
fn round(seed: u32, postgres: &Programs, schemathesis: &Path) -> Result<u32> {
    let cluster = Cluster::start_with(postgres.clone()).context("PostgreSQL cannot be started")?;
    let engines = [("sqlite", "sqlite:wicara.db".to_owned()), ("postgres", cluster.url("postgres"))];
    thread::scope(|scope| {
        let engines = engines.map(|(engine, store)| {
            scope.spawn(move || run_on(engine, &store, seed, schemathesis).context(engine))
        });
        engines.into_iter().map(|engine| engine.join().expect("a run returns its errors")).sum()
    })
}

/// Runs Schemathesis as each caller; how many of the runs failed.
fn run_on(engine: &str, store: &str, seed: u32, schemathesis: &Path) -> Result<u32> {
    let folder = env::current_dir()?.join(REMAINS).join(engine);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let wicara = Wicara {
        program: env::current_dir()?.join("target/debug/wicara"),
        config: env::current_dir()?.join(FOLDER).join("wicara.toml"),
        folder: folder.clone(),
        store: store.to_owned(),
    };
    let server = wicara.serve()?;
    let mut callers = fs::read_to_string(Path::new(FOLDER).join("callers.json"))?;
    for (name, arguments) in KEYS {
        callers = callers.replace(&format!("<{name}>"), &wicara.key_add(name, arguments)?);
    }
    fs::write(folder.join("callers.json"), callers)?;

    let mut failed = 0;
    for caller in CALLERS {
        let started = Instant::now();
        let (passed, said) = run_as(caller, &server.url, seed, schemathesis, &folder)?;
        let count = said.lines().find(|line| line.contains(" generated, ")).unwrap_or_default().trim();
        println!("{engine}, {caller}: {count}, {} s", started.elapsed().as_secs());
        if !passed {
            failed += 1;
            println!("{said}");
        }
    }
    Ok(failed)
}

/// Whether the run passed, and what it printed.
fn run_as(caller: &str, url: &str, seed: u32, schemathesis: &Path, folder: &Path) -> Result<(bool, String)> {
    let configuration = env::current_dir()?.join(FOLDER);
    let mut command = Command::new(schemathesis);
    command.arg("--config-file").arg(configuration.join("schemathesis.toml"));
    command.args(["--no-color", "run", &format!("{url}/api/openapi.json"), "--checks", "all"]);
    command.args(["--auth-wfc", "callers.json", "--auth-wfc-user", caller, "--seed", &seed.to_string()]);
    // Where `hooks.py` is found.
    command.env("PYTHONPATH", configuration).env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONUTF8", "1");
    command.current_dir(folder).stdout(Stdio::piped()).stderr(Stdio::inherit());

    let mut child = command.spawn().context("Schemathesis cannot be started")?;
    let mut output = child.stdout.take().context("it has no output")?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut said = Vec::new();
        let read = output.read_to_end(&mut said);
        // Nobody listens any more once the time is over.
        let _ = sender.send(read.map(|_| String::from_utf8_lossy(&said).into_owned()));
    });
    let Ok(said) = receiver.recv_timeout(RUN_TIME) else {
        child.kill()?;
        bail!("the run as {caller} did not end within {} s", RUN_TIME.as_secs());
    };
    Ok((child.wait()?.success(), said?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_has_a_fresh_seed_unless_it_is_given_one() {
        let parsed = |words: &[&str]| SchemaOptions::parse(words).unwrap();
        assert_eq!(parsed(&[]).first_seed(), SEED);
        assert_eq!(parsed(&["--seed", "7"]).first_seed(), 7);
        assert_eq!(parsed(&["--seconds", "60", "--seed", "7"]).first_seed(), 7);
        let fresh = [(); 3].map(|()| parsed(&["--seconds", "60"]).first_seed());
        assert!(fresh[0] != fresh[1] || fresh[1] != fresh[2], "{fresh:?}");
        for wrong in [&["--seed"][..], &["7"], &["--seed", "x"], &["--seconds", "-1"], &["--long", "1"]] {
            assert_eq!(SchemaOptions::parse(wrong), None, "{wrong:?}");
        }
    }
}
