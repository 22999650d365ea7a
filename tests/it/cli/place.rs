//! Where the program is run, and what a run left.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use tempfile::TempDir;

use crate::support::{Database, Engine};

/// A folder in which the program is run, with its configuration.
pub struct Place {
    folder: TempDir,
    _database: Option<Database>,
}

/// What a finished run left.
#[derive(Debug)]
pub struct Run {
    pub status: ExitStatus,
    pub out: String,
    pub err: String,
}

impl Run {
    /// What it printed, where it did what it should.
    #[track_caller]
    pub fn done(self) -> String {
        assert_eq!(self.status.code(), Some(0), "{self:?}");
        self.out
    }

    /// What it complained of.
    #[track_caller]
    pub fn failed(self, code: i32) -> String {
        assert_eq!((self.status.code(), self.out.as_str()), (Some(code), ""), "{self:?}");
        assert!(!self.err.contains("panicked"), "{}", self.err);
        self.err
    }
}

impl Place {
    /// With the built-in bot alone.
    pub async fn new(engine: Engine, more: &str) -> Self {
        let database = Database::new(engine).await;
        let config = format!("server.listen = \"127.0.0.1:0\"\nstore.url = \"{}\"\n{more}", database.url);
        Self { _database: Some(database), ..Self::with_config(&config) }
    }

    pub fn with_config(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("wicara.toml"), config).unwrap();
        Self { folder, _database: None }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wicara"));
        command.args(arguments).current_dir(self.path()).stdin(Stdio::null());
        for variable in ["WICARA_CONFIG", "WICARA_PASSWORD", "WICARA_KEY", "WICARA_LOG"] {
            command.env_remove(variable);
        }
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Run {
        finished(&mut self.command(arguments))
    }

    pub fn with_password(&self, arguments: &[&str], password: &str) -> Run {
        finished(self.command(arguments).env("WICARA_PASSWORD", password))
    }

    pub fn serve(&self) -> Server {
        self.serve_with(&[])
    }

    pub fn serve_with(&self, environment: &[(&str, &str)]) -> Server {
        let mut command = self.command(&[]);
        command.envs(environment.iter().copied());
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut out = BufReader::new(process.stdout.take().unwrap());
        let mut ready = String::new();
        out.read_line(&mut ready).unwrap();
        let base =
            ready.trim_end().strip_prefix("Wicara is ready at ").expect("the server starts").to_owned();
        Server { process, base, ready, out }
    }
}

pub fn finished(command: &mut Command) -> Run {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Run { status: output.status, out: text(output.stdout), err: text(output.stderr) }
}

pub struct Server {
    pub process: Child,
    pub base: String,
    pub ready: String,
    pub out: BufReader<std::process::ChildStdout>,
}

impl Server {
    /// SIGTERM; all that it printed on stdout.
    pub fn terminate(mut self) -> String {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let mut printed = std::mem::take(&mut self.ready);
        self.out.read_to_string(&mut printed).unwrap();
        assert_eq!(self.process.wait().unwrap().code(), Some(0), "a stop that was asked for is no failure");
        printed
    }

    /// The welcome up to its last line.
    pub fn welcome(&mut self) -> String {
        let mut text = self.ready.clone();
        while !text.contains("/docs") {
            assert_ne!(self.out.read_line(&mut text).unwrap(), 0, "{text}");
        }
        text
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
