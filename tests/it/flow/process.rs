//! The server as a process of its own.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

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
        let id = self.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        assert!(self.process.wait().unwrap().success(), "a stop that was asked for is no failure");
    }

    /// SIGKILL: no handler runs, nothing is flushed.
    pub fn kill_9(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
