//! `cargo xtask bots`: asks real servers through the bots that connect to them.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode};
use std::time::{Duration, Instant};
use std::{env, thread};

use anyhow::{Context, Result, bail, ensure};
use xtask::postgres::free_port;

use crate::setup::{self, cargo, progress};
use crate::test::count_tests;

/// What has to be installed, a file for each server, and their configurations.
const FOLDER: &str = "xtask/bots";
/// What the last time left behind, to look into when it failed.
const REMAINS: &str = "target/bots";

/// Many times what a start takes: one that hangs has failed.
const START_TIME: Duration = Duration::from_secs(300);

/// A program that is asked.
struct Program {
    /// Of its files, and of the tests that ask it.
    name: &'static str,
    /// How it is started; `<port>` stands for the port, and it runs in a folder of its own.
    command: &'static [&'static str],
    settings: &'static [(&'static str, &'static str)],
    /// What answers 200 once it is up.
    health: &'static str,
}

const LITELLM: Program = Program {
    name: "litellm",
    command: &[
        "litellm",
        "--config",
        "../../../xtask/bots/litellm.yaml",
        "--host",
        "127.0.0.1",
        "--port",
        "<port>",
    ],
    settings: &[("LITELLM_LOCAL_MODEL_COST_MAP", "True"), ("LITELLM_TELEMETRY", "False")],
    health: "/health/liveliness",
};

/// Without the program `langflow`, which starts several processes.
const LANGFLOW: &[&str] = &[
    "uvicorn",
    "--factory",
    "langflow.main:create_app",
    "--loop",
    "asyncio",
    "--host",
    "127.0.0.1",
    "--port",
    "<port>",
];

const LANGFLOW_SETTINGS: &[(&str, &str)] = &[
    ("LANGFLOW_CONFIG_DIR", "."),
    ("LANGFLOW_DATABASE_URL", "sqlite:///langflow.db"),
    // Keys count only without it. The operator is the one in tests/bots/flows.rs.
    ("LANGFLOW_AUTO_LOGIN", "false"),
    ("LANGFLOW_SUPERUSER", "operator"),
    ("LANGFLOW_SUPERUSER_PASSWORD", "correct-horse"),
    // Has the API v2.
    ("LANGFLOW_DEVELOPER_API_ENABLED", "true"),
    ("LANGFLOW_STORE", "false"),
    ("LANGFLOW_CREATE_STARTER_PROJECTS", "false"),
    ("LANGFLOW_UPDATE_STARTER_PROJECTS", "false"),
    ("LANGFLOW_MCP_SERVER_ENABLED", "false"),
    ("LANGFLOW_DO_NOT_TRACK", "true"),
    ("DO_NOT_TRACK", "true"),
    // Its coloured tracebacks of components whose libraries are missing cost minutes at the start.
    ("LANGFLOW_LOG_ENV", "container"),
];

/// `langflow-base` 0.2.0. It has the API v1 alone.
const LANGFLOW_1_2: Program =
    Program { name: "langflow_1_2", command: LANGFLOW, settings: LANGFLOW_SETTINGS, health: "/health" };

/// It has v1 and v2.
const LANGFLOW_1_13: Program = Program { name: "langflow_1_13", ..LANGFLOW_1_2 };

pub fn run() -> Result<ExitCode> {
    let started = Instant::now();
    let mut servers = Vec::new();
    for program in [LITELLM, LANGFLOW_1_2, LANGFLOW_1_13] {
        let requirements = Path::new(FOLDER).join(format!("{}.txt", program.name));
        let installed = setup::python_programs(program.name, &requirements)
            .with_context(|| format!("{} cannot be installed; it needs Python 3.11 to 3.13", program.name))?;
        servers.push(program.start(&installed)?);
    }
    progress("building the tests");
    let mut build = cargo();
    ensure!(
        build.args(["test", "--workspace", "--locked", "--test", "bots", "--no-run"]).status()?.success(),
        "they do not build"
    );
    let ready = started.elapsed().as_secs();

    let mut failed = Vec::new();
    for server in &mut servers {
        progress(&format!("waiting for {}", server.name));
        server.wait()?;
        let mut tests = cargo();
        // One at a time: Langflow keeps its runs in SQLite, where one that writes can hold up another for 30 s.
        tests.args([
            "test",
            "--workspace",
            "--locked",
            "--test",
            "bots",
            "--",
            "--test-threads=1",
            server.name,
        ]);
        tests.env("WICARA_BOTS_SERVER", &server.url).env("WICARA_BOTS_FOLDER", &server.folder);
        let (count, code) = count_tests(&mut tests)?;
        ensure!(code != 0 || count.passed > 0, "no test asks {}", server.name);
        if code != 0 {
            failed.push(server.name);
        }
    }
    let names: Vec<_> = servers.iter().map(|server| server.name).collect();
    println!(
        "bots: asked {}, failed {}; {ready} s to install and start, {} s in all; logs in {REMAINS}",
        names.join(", "),
        if failed.is_empty() { "none".to_owned() } else { failed.join(", ") },
        started.elapsed().as_secs()
    );
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A started program; it ends when this is dropped.
struct Server {
    name: &'static str,
    process: Child,
    port: u16,
    url: String,
    health: &'static str,
    folder: PathBuf,
}

impl Program {
    fn start(&self, installed: &Path) -> Result<Server> {
        let folder = env::current_dir()?.join(REMAINS).join(self.name);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        let log = File::create(folder.join("log"))?;
        let port = free_port()?;
        let [program, arguments @ ..] = self.command else { bail!("{} has no command", self.name) };
        let mut command = Command::new(installed.join(program));
        command.args(arguments.iter().map(|argument| argument.replace("<port>", &port.to_string())));
        command.envs(self.settings.iter().copied()).env("NO_PROXY", "*");
        command.current_dir(&folder).stdout(log.try_clone()?).stderr(log);
        let process = command.spawn().with_context(|| format!("{} cannot be started", self.name))?;
        let url = format!("http://127.0.0.1:{port}");
        Ok(Server { name: self.name, process, port, url, health: self.health, folder })
    }
}

impl Server {
    /// Waits until it answers.
    #[expect(clippy::disallowed_methods, reason = "nobody waits for this thread")]
    fn wait(&mut self) -> Result<()> {
        let log = self.folder.join("log");
        let started = Instant::now();
        while !self.answers().unwrap_or(false) {
            if let Some(status) = self.process.try_wait()? {
                bail!("{} ended with {status}: see {}", self.name, log.display());
            }
            ensure!(started.elapsed() < START_TIME, "{} does not come up: see {}", self.name, log.display());
            thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    fn answers(&self) -> Result<bool> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "GET {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", self.health)?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer)?;
        Ok(&answer == b"HTTP/1.1 200")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
