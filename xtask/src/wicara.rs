//! The program itself, as an operator runs it.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};

/// How the program is called.
#[derive(Debug)]
pub struct Wicara {
    pub program: PathBuf,
    pub config: PathBuf,
    /// Where it runs, and leaves its log.
    pub folder: PathBuf,
    /// The database's URL.
    pub store: String,
}

impl Wicara {
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(&self.config);
        command.env("WICARA_STORE__URL", &self.store).current_dir(&self.folder);
        command
    }

    /// Starts the server and waits until it says where it is.
    pub fn serve(&self) -> Result<Server> {
        let log = File::create(self.log())?;
        let mut process = self.command().stdout(Stdio::piped()).stderr(log).spawn()?;
        let mut output = BufReader::new(process.stdout.take().context("the server has no output")?);
        let mut server = Server { process, url: String::new(), _output: None };
        let mut line = String::new();
        while output.read_line(&mut line)? > 0 {
            if let Some((_, url)) = line.trim_end().split_once(" is ready at ") {
                url.clone_into(&mut server.url);
                server._output = Some(output);
                return Ok(server);
            }
            line.clear();
        }
        bail!("the server did not start: see {}", self.log().display());
    }

    /// What the server logs.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.folder.join("server.log")
    }

    /// A new key: the last line of what the command prints.
    pub fn key_add(&self, name: &str, arguments: &[&str]) -> Result<String> {
        let output = self.command().args(["key", "add", name]).args(arguments).output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let key = said.lines().last().filter(|_| output.status.success());
        Ok(key.with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?.to_owned())
    }
}

/// A running server; it ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    process: Child,
    pub url: String,
    /// Kept, since the server may go on to print.
    _output: Option<BufReader<ChildStdout>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
