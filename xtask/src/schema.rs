//! `cargo xtask schema`: holds the running server against its OpenAPI document with Schemathesis, on both databases.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use anyhow::{Context, Result, bail, ensure};
use xtask::postgres::Cluster;

use crate::setup::{self, cargo, progress};

/// The configurations, who calls, and what has to be installed.
const FOLDER: &str = "xtask/schema";
const ENVIRONMENT: &str = "target/tools/schemathesis";
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

pub fn run() -> Result<ExitCode> {
    let postgres = setup::postgres()?;
    let schemathesis = schemathesis()?;
    progress("building the server");
    ensure!(cargo().args(["build", "--locked", "--bin", "wicara"]).status()?.success(), "it does not build");
    let cluster = Cluster::start_with(postgres).context("PostgreSQL cannot be started")?;

    let started = Instant::now();
    let engines = [("sqlite", "sqlite:wicara.db".to_owned()), ("postgres", cluster.url("postgres"))];
    let failed = thread::scope(|scope| {
        let engines = engines.map(|(engine, store)| {
            let schemathesis = &schemathesis;
            scope.spawn(move || run_on(engine, &store, schemathesis).context(engine))
        });
        engines
            .into_iter()
            .map(|engine| engine.join().expect("a run returns its errors"))
            .sum::<Result<u32>>()
    })?;
    println!("schema: SQLite and PostgreSQL, {failed} runs failed, {} s", started.elapsed().as_secs());
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The program, installed if it is not there in the versions that are asked for.
fn schemathesis() -> Result<PathBuf> {
    let environment = env::current_dir()?.join(ENVIRONMENT);
    let wanted = fs::read_to_string(Path::new(FOLDER).join("requirements.txt"))?;
    // Written last, so that it tells of a whole installation.
    let installed = environment.join("installed.txt");
    if fs::read_to_string(&installed).ok().as_ref() != Some(&wanted) {
        progress("installing Schemathesis");
        let python = setup::python()?;
        let made = Command::new(python).args(["-m", "venv", "--clear"]).arg(&environment).status()?;
        ensure!(made.success(), "{python} -m venv: {made}");
        let mut pip = Command::new(environment.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]);
        let done = pip.args(["--require-hashes", "-r", "requirements.txt"]).current_dir(FOLDER).status()?;
        ensure!(done.success(), "pip install: {done}");
        fs::write(installed, wanted)?;
    }
    Ok(environment.join("bin/schemathesis"))
}

/// Runs Schemathesis as each caller; how many of the runs failed.
fn run_on(engine: &str, store: &str, schemathesis: &Path) -> Result<u32> {
    let folder = env::current_dir()?.join(REMAINS).join(engine);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let wicara = Wicara { program: env::current_dir()?.join("target/debug/wicara"), folder: &folder, store };
    let server = wicara.serve()?;
    let mut callers = fs::read_to_string(Path::new(FOLDER).join("callers.json"))?;
    for (name, arguments) in KEYS {
        callers = callers.replace(&format!("<{name}>"), &wicara.key_add(name, arguments)?);
    }
    fs::write(folder.join("callers.json"), callers)?;

    let mut failed = 0;
    for caller in CALLERS {
        let started = Instant::now();
        let (passed, said) = run_as(caller, &server.url, schemathesis, &folder)?;
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
fn run_as(caller: &str, url: &str, schemathesis: &Path, folder: &Path) -> Result<(bool, String)> {
    let configuration = env::current_dir()?.join(FOLDER);
    let mut command = Command::new(schemathesis);
    command.arg("--config-file").arg(configuration.join("schemathesis.toml"));
    command.args(["--no-color", "run", &format!("{url}/api/openapi.json"), "--checks", "all"]);
    command.args(["--auth-wfc", "callers.json", "--auth-wfc-user", caller]);
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

/// How the program is called for one database.
struct Wicara<'a> {
    program: PathBuf,
    folder: &'a Path,
    store: &'a str,
}

impl Wicara<'_> {
    fn command(&self) -> Result<Command> {
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(env::current_dir()?.join(FOLDER).join("wicara.toml"));
        command.env("WICARA_STORE__URL", self.store).current_dir(self.folder);
        Ok(command)
    }

    /// Starts the server and waits until it says where it is.
    fn serve(&self) -> Result<Server> {
        let log = fs::File::create(self.folder.join("server.log"))?;
        let mut process = self.command()?.stdout(Stdio::piped()).stderr(log).spawn()?;
        let mut output = BufReader::new(process.stdout.take().context("the server has no output")?);
        let mut server = Server { process, url: String::new(), output: None };
        let mut line = String::new();
        while output.read_line(&mut line)? > 0 {
            if let Some((_, url)) = line.trim_end().split_once(" is ready at ") {
                url.clone_into(&mut server.url);
                server.output = Some(output);
                return Ok(server);
            }
            line.clear();
        }
        bail!("the server did not start: see {}", self.folder.join("server.log").display());
    }

    /// A new key: the last line of what the command prints.
    fn key_add(&self, name: &str, arguments: &[&str]) -> Result<String> {
        let output = self.command()?.args(["key", "add", name]).args(arguments).output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let key = said.lines().last().filter(|_| output.status.success());
        Ok(key.with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?.to_owned())
    }
}

/// A running server; it ends when this is dropped.
struct Server {
    process: Child,
    url: String,
    /// Kept, since the server may go on to print.
    output: Option<BufReader<ChildStdout>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
