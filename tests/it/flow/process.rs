//! The server as a process of its own.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use tempfile::TempDir;
use wicara_metrics::Metrics;
use wicara_model::{Api, Bots, Role};
use wicara_platform::{Clock, Random};
use wicara_service::People;
use wicara_store::Store;

use crate::support::{Bot, Client, Database, Engine, until};

/// A server whose log is kept.
pub struct LoggedServer {
    server: Server,
    folder: TempDir,
}

impl LoggedServer {
    /// With this configuration and level of the log.
    pub fn start(config: &str, level: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("wicara.toml"), config).unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_wicara"));
        command.current_dir(folder.path()).env("WICARA_LOG", level).stderr(log);
        Self { server: Server::run(&mut command), folder }
    }

    pub fn base(&self) -> &str {
        &self.server.base
    }

    /// Everything that the server logged until it ended.
    pub fn log(self) -> String {
        self.server.terminate();
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

pub struct Server {
    process: Child,
    pub base: String,
}

impl Server {
    pub fn start(config: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wicara"));
        Self::run(command.arg("--config").arg(config).env("WICARA_LOG", "error"))
    }

    /// Runs this command, which starts the program, until it answers requests.
    pub fn run(command: &mut Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let ready = lines.next().expect("the server starts").unwrap();
        let base = ready.rsplit_once(' ').unwrap().1.to_owned();
        // The rest of what it prints has to go somewhere.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, base }
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// SIGTERM, and the end that follows.
    pub fn terminate(mut self) {
        self.signal(Signal::TERM);
        assert!(self.process.wait().unwrap().success(), "a stop that was asked for is no failure");
    }

    /// SIGTERM, and the end that follows within so long.
    pub async fn terminate_within(mut self, most: Duration) -> ExitStatus {
        self.signal(Signal::TERM);
        let process = &mut self.process;
        until(most, "the stopped server ends", async || process.try_wait().unwrap().is_some()).await;
        self.process.wait().unwrap()
    }

    /// SIGKILL: no handler runs, nothing is flushed.
    pub fn kill_9(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// SIGSTOP: it lives, and does nothing. Its threads go on until one of them takes the signal, which is waited for.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
        let stopped = waitid(WaitId::Pid(self.pid()), WaitIdOptions::STOPPED).unwrap();
        assert!(stopped.is_some_and(|status| status.stopped()), "it has stopped");
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.id().try_into().unwrap()).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What servers share: a database, the bot `echo`, and a program's key.
pub struct Site {
    pub database: Database,
    pub store: Store,
    pub key: String,
    pub bot: Bot,
    folder: TempDir,
}

impl Site {
    pub async fn new(engine: Engine) -> Self {
        let database = Database::new(engine).await;
        let store =
            Store::open(&database.url, Duration::ZERO, &Random::System, &Metrics::default()).await.unwrap();
        let people = People::new(store.clone(), Clock::System, Random::System);
        let (_, key) = people.key_create("writers", Role::Agent, Bots::All, Api::Chatbot).await.unwrap();
        let bot = Bot::start().await;
        let folder = tempfile::tempdir().unwrap();
        Self { database, store, key, bot, folder }
    }

    pub fn start(&self) -> Server {
        self.start_with(&self.database.url, "")
    }

    /// `url`: how the server reaches the database; `more`: configuration beyond that and the bot.
    pub fn start_with(&self, url: &str, more: &str) -> Server {
        let config = format!(
            "server.listen = \"127.0.0.1:0\"\nstore.url = \"{url}\"\n{more}\n\
             [[bot]]\nid = \"echo\"\nkind = \"http\"\nurl = \"{}\"\ndefault = true\ntimeout_seconds = 300\n",
            self.bot.url
        );
        let path = self.folder.path().join("wicara.toml");
        std::fs::write(&path, config).unwrap();
        Server::start(&path)
    }

    /// A visitor of a server.
    pub fn visitor(&self, server: &Server) -> Client {
        Client::new(&server.base)
    }

    pub fn program(&self, server: &Server) -> Client {
        self.visitor(server).with("x-api-key", &self.key)
    }
}
