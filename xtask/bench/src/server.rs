//! The server under test, and the databases that it runs on.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fs};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use xtask::postgres::{Cluster, Programs, free_port};
use xtask::wicara::Wicara;

use crate::bots::Bot;
use crate::data::{self, Content, Size};
use crate::folder::{Folder, Note, run};

/// Many times what a start takes: one that hangs has failed.
const START_TIME: Duration = Duration::from_secs(30);
/// Many times what a stop takes.
const STOP_TIME: Duration = Duration::from_secs(60);
const PASSWORD: &str = "correct-horse-battery";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Engine {
    Sqlite,
    Postgres,
}

impl Engine {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        }
    }
}

/// The machinery that servers are started with.
#[derive(Debug)]
pub struct Place {
    pub folder: Folder,
    pub cluster: Cluster,
    pub psql: PathBuf,
    pub pgbench: PathBuf,
    pub postgres_version: String,
    config: PathBuf,
    program: PathBuf,
}

/// A filled database, and what callers of a server on it need.
#[derive(Debug)]
pub struct Database {
    pub engine: Engine,
    /// As PostgreSQL knows it.
    pub name: String,
    pub size: Size,
    wicara: Wicara,
    /// Keys of programs: of all bots in the Chatbot API and the Conversation API, and of the instant bot alone.
    pub key: String,
    pub conversation_key: String,
    pub bot_key: String,
    /// The cookie of a person.
    pub cookie: String,
}

impl Place {
    pub fn new(instant: &Bot, streaming: &Bot) -> Result<Self> {
        let folder = Folder::new()?;
        let programs = Programs::find().context("no PostgreSQL found: run `cargo xtask bench`")?;
        let program = |name: &str| programs.other(name).with_context(|| format!("{name} is missing"));
        let (psql, pgbench) = (program("psql")?, program("pgbench")?);
        let postgres_version = programs.version()?;
        let cluster = Cluster::start_with(programs)?;
        let config = format!(
            r#"[auth]
admin_password = "{PASSWORD}"
[limits]
questions_per_minute = 0
questions_per_minute_per_address = 0
logins_per_minute_per_address = 0
streams_per_caller = 0
[[bot]]
id = "instant"
kind = "http"
url = "{}/ask"
default = true
concurrency = 256
[[bot]]
id = "stream"
kind = "openai"
url = "{}/v1"
model = "bench"
public = true
history = 0
concurrency = 256
"#,
            instant.url(),
            streaming.url()
        );
        let config = folder.write("wicara.toml", config)?;
        let program = env::current_dir()?.join("target/release/wicara");
        ensure!(program.is_file(), "{} is missing: run `cargo xtask bench`", program.display());
        Ok(Self { folder, cluster, psql, pgbench, postgres_version, config, program })
    }

    /// A new database, filled. One of this name must not be in use.
    pub fn database(&self, engine: Engine, name: &str, size: Size) -> Result<Database> {
        self.database_of(engine, name, size, Content::Talk)
    }

    /// The same with something else in it.
    pub fn database_of(&self, engine: Engine, name: &str, size: Size, content: Content) -> Result<Database> {
        let folder = self.folder.folder(&format!("{name}-{}", engine.name()))?;
        let store = match engine {
            Engine::Sqlite => format!("sqlite:{}", folder.join("wicara.db").display()),
            Engine::Postgres => {
                self.sql("postgres", &format!("DROP DATABASE IF EXISTS {name}"))?;
                self.sql("postgres", &format!("CREATE DATABASE {name}"))?;
                self.cluster.url(name)
            }
        };
        let wicara = Wicara {
            program: self.program.clone(),
            config: self.config.clone(),
            folder: folder.clone(),
            store,
        };
        let mut database = Database {
            engine,
            name: name.to_owned(),
            size,
            wicara,
            key: String::new(),
            conversation_key: String::new(),
            bot_key: String::new(),
            cookie: String::new(),
        };
        let mut server = database.start(&self.folder)?;
        database.cookie = server.log_in()?;
        server.stop()?;
        let key_add = |name, arguments: &[&str]| database.wicara.key_add(name, arguments);
        let keys = [
            key_add("program", &["--role", "admin"])?,
            key_add("conversation", &["--role", "admin", "--api", "conversation"])?,
            key_add("bot", &["--role", "viewer", "--bots", "instant"])?,
        ];
        [database.key, database.conversation_key, database.bot_key] = keys;
        match engine {
            Engine::Sqlite => data::fill_sqlite(&folder.join("wicara.db"), size, content)?,
            Engine::Postgres => {
                data::fill_postgres(&self.folder, &self.psql, &self.cluster.url(name), size, content)?;
            }
        }
        Ok(database)
    }

    /// Runs statements on a PostgreSQL database and returns what they say, a row a line.
    pub fn sql(&self, database: &str, text: &str) -> Result<String> {
        let mut psql = Command::new(&self.psql);
        psql.args(["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set", "ON_ERROR_STOP=on"]);
        run(psql.args(["--dbname", &self.cluster.url(database), "--command", text]))
    }
}

impl Database {
    /// Where the server runs; SQLite's files are in it.
    pub fn folder(&self) -> &Path {
        &self.wicara.folder
    }

    /// Starts a server on it and waits for its first 200.
    pub fn start(&self, folder: &Folder) -> Result<Server> {
        self.start_with(folder, &self.wicara.store)
    }

    /// The same where the database is reached at this URL.
    pub fn start_with(&self, folder: &Folder, store: &str) -> Result<Server> {
        self.start_at(folder, store, free_port()?)
    }

    /// The same at the port of a server that has ended.
    pub fn start_again(&self, folder: &Folder, port: u16) -> Result<Server> {
        self.start_at(folder, &self.wicara.store, port)
    }

    fn start_at(&self, folder: &Folder, store: &str, port: u16) -> Result<Server> {
        let log = File::create(self.wicara.log())?;
        let mut command = self.wicara.command();
        command.env("WICARA_SERVER__LISTEN", format!("127.0.0.1:{port}"));
        command.env("WICARA_STORE__URL", store);
        command.stdout(Stdio::piped()).stderr(log);
        let started = Instant::now();
        let mut process = command.spawn().context("the server cannot be started")?;
        let note = folder.note(&process)?;
        let output = BufReader::new(process.stdout.take().context("the server has no output")?);
        let mut server = Server { process, port, start: Duration::ZERO, output, _note: note };
        while !server.is_up() {
            ensure!(started.elapsed() < START_TIME, "the server does not come up");
            if let Some(status) = server.process.try_wait()? {
                let log = fs::read_to_string(self.wicara.log()).unwrap_or_default();
                bail!("the server ended with {status}:\n{log}");
            }
            pause();
        }
        server.start = started.elapsed();
        // Only from then on may it be stopped.
        let mut line = String::new();
        while !line.contains(" is ready at ") {
            line.clear();
            ensure!(server.output.read_line(&mut line)? > 0, "the server does not say that it is ready");
        }
        Ok(server)
    }
}

/// A running server; it ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    process: Child,
    pub port: u16,
    /// From its start to its first 200.
    pub start: Duration,
    /// Kept, since the server may go on to print.
    output: BufReader<ChildStdout>,
    _note: Note,
}

#[expect(clippy::disallowed_methods, reason = "nobody waits for this thread")]
fn pause() {
    thread::sleep(Duration::from_millis(1));
}

impl Server {
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Stops it as an operator would.
    pub fn stop(mut self) -> Result<()> {
        run(Command::new("kill").arg(self.process.id().to_string()))?;
        let asked = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait()? {
                ensure!(status.success(), "the server ended with {status}");
                return Ok(());
            }
            ensure!(asked.elapsed() < STOP_TIME, "the server does not stop");
            pause();
        }
    }

    fn is_up(&self) -> bool {
        let answer = self.exchange("GET /healthz HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n");
        answer.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }

    fn exchange(&self, request: &str) -> Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(START_TIME))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    fn log_in(&mut self) -> Result<String> {
        let body = Value::from_iter([("email", "admin@localhost"), ("password", PASSWORD)]).to_string();
        let answer = self.exchange(&format!(
            "POST /api/auth/login HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))?;
        let cookie = answer.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("set-cookie").then(|| value.split(';').next())?
        });
        Ok(cookie.with_context(|| format!("no cookie came with the login: {answer}"))?.to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
