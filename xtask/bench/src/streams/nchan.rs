//! nchan with the same load: a server of its own, with the settings that Debian gives nginx where it matters.

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use xtask::nchan;
use xtask::postgres::free_port;

use super::crowd::{Crowd, Streams};
use super::lines::Mark;
use super::{Events, OPEN_TIME};
use crate::bench::{Bench, get};
use crate::folder::{Folder, Note, run};
use crate::process;
use crate::times::now;

/// What it sends first on each stream.
const OPEN: &str = ": hi";
const START_TIME: Duration = Duration::from_secs(10);
const PUBLISH: &str = "/publish";
const SUBSCRIBE: &str = "/subscribe";

struct Nginx {
    process: Child,
    port: u16,
    _notes: Vec<Note>,
}

impl Nginx {
    fn start(folder: &Folder, nchan: &nchan::Nchan) -> Result<Self> {
        let (port, place) = (free_port()?, folder.folder("nginx")?);
        let place = place.to_str().context("the folder's name is text")?;
        let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("    {name}_temp_path {place}/{name};\n"))
            .concat();
        let config = format!(
            "load_module {module};\n\
             daemon off;\nworker_processes auto;\npid {place}/pid;\nerror_log {place}/error.log;\n\
             events {{ worker_connections 16384; }}\n\
             http {{\n    access_log off;\n{paths}    server {{\n        listen 127.0.0.1:{port};\n        \
             location = {PUBLISH} {{ nchan_publisher; nchan_channel_id all; }}\n        \
             location = {SUBSCRIBE} {{ nchan_subscriber eventsource; nchan_channel_id all; \
             nchan_subscriber_first_message newest; }}\n    }}\n}}\n",
            module = nchan.module.display()
        );
        let config = folder.write("nginx.conf", config)?;
        let mut command = Command::new(&nchan.nginx);
        command.arg("-p").arg(place).arg("-e").arg(format!("{place}/error.log")).arg("-c").arg(config);
        let process = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let mut nginx = Self { process, port, _notes: Vec::new() };
        nginx._notes.push(folder.note(&nginx.process)?);
        nginx.wait(|nginx| TcpStream::connect(("127.0.0.1", nginx.port)).is_ok())?;
        for worker in process::children(nginx.process.id())? {
            nginx._notes.push(folder.note_id(worker)?);
        }
        Ok(nginx)
    }

    #[expect(clippy::disallowed_methods, reason = "nobody waits for this thread")]
    fn wait(&mut self, holds: impl Fn(&Self) -> bool) -> Result<()> {
        let started = now();
        while !holds(self) {
            ensure!(self.process.try_wait()?.is_none(), "nginx ended: is its module of the same version?");
            ensure!(now() - started < START_TIME, "nginx does not come up");
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its workers end with it where it is asked to.
        let _ = run(Command::new("kill").arg(self.process.id().to_string()));
        let _ = self.process.wait();
    }
}

/// The times of as many events to as many readers, each of this size.
pub fn events_to_all(bench: &Bench, nchan: &nchan::Nchan, size: usize) -> Result<Events> {
    let nginx = Nginx::start(&bench.place.folder, nchan)?;
    let request = Box::new(|_, _: &str| get(SUBSCRIBE, "Accept: text/event-stream\r\n"));
    let streams = Streams { port: nginx.port, request, open: OPEN };
    let mut crowd = Crowd::open(streams, bench.scale.streams, OPEN_TIME)?;
    let publish = move |mark: Mark| {
        let text = mark.text();
        let rest = "x".repeat(size.saturating_sub(text.len()));
        let length = text.len() + rest.len();
        format!(
            "POST {PUBLISH} HTTP/1.1\r\nHost: bench\r\nX-EventSource-Event: message.created\r\n\
             Content-Length: {length}\r\n\r\n{text}{rest}"
        )
    };
    Events::to_all(&mut crowd, nginx.port, bench.scale, publish)
}
