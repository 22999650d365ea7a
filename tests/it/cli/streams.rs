//! stdout and stderr that take nothing: full, closed, or read by nobody.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use serde_json::{Value, json};

use super::place::{Place, finished};
use super::{PASSWORD, call_at, log_in_at};
use crate::support::Engine;
use crate::support::process::Running;
use crate::support::{PATIENCE, found};

fn full() -> Stdio {
    OpenOptions::new().write(true).open("/dev/full").unwrap().into()
}

fn closed() -> Stdio {
    let (_, writer) = std::io::pipe().unwrap();
    writer.into()
}

/// Takes nothing as long as the other end, which is returned, is not read.
fn stopped() -> (UnixStream, Stdio) {
    let (reader, mut writer) = UnixStream::pair().unwrap();
    writer.set_nonblocking(true).unwrap();
    for piece in [&[b'x'; 4096][..], b"x"] {
        while match writer.write(piece) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            written => written.is_ok_and(|bytes| bytes > 0),
        } {}
    }
    writer.set_nonblocking(false).unwrap();
    (reader, OwnedFd::from(writer).into())
}

/// A server whose log goes to a file, and whose address is only there.
struct Quiet {
    process: Running,
    base: String,
    place: Place,
}

impl Quiet {
    async fn start(stdout: Stdio, more: &str) -> Self {
        let place = Place::new(Engine::Sqlite, more).await;
        let log = File::create(place.path().join("log")).unwrap();
        let process = Running(place.command(&[]).stdout(stdout).stderr(log).spawn().unwrap());
        let mut server = Self { process, base: String::new(), place };
        server.base = found(PATIENCE, "server", async || {
            assert_eq!(server.process.try_wait().unwrap(), None, "{}", server.said());
            let lines = server.lines();
            let listening = lines.iter().find(|line| line["message"] == "listening")?;
            Some(format!("http://{}", listening["address"].as_str().unwrap()))
        })
        .await;
        assert_eq!(call_at(&server.base, "/healthz", ("accept", "*/*"), None).await.0, 200);
        server
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.place.path().join("log")).unwrap()
    }

    /// The lines of the log, without what else is said.
    fn lines(&self) -> Vec<Value> {
        self.said().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    async fn warns(&self, of: &str) {
        found(PATIENCE, of, async || {
            self.lines().iter().any(|line| line["message"].as_str().unwrap().contains(of)).then_some(())
        })
        .await;
    }

    /// SIGTERM, and the end that follows.
    async fn terminate(&mut self) {
        self.process.terminate();
        assert_eq!(self.process.end(PATIENCE).await, Some(0), "{}", self.said());
        assert!(!self.said().contains("panicked"), "{}", self.said());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_stdout_takes_nothing_starts_and_says_the_password_on_stderr() {
    for (stdout, reason) in [(full(), "No space left"), (closed(), "Broken pipe")] {
        let mut server = Quiet::start(stdout, "").await;
        server.warns("stdout cannot be written").await;
        let said =
            found(PATIENCE, "welcome", async || Some(server.said()).filter(|said| said.contains("/docs")))
                .await;
        let told = said.lines().find(|line| line.starts_with("wicara: ")).expect(&said);
        assert!(told.contains("stdout") && told.contains(reason), "{told}");
        let password = said.lines().find_map(|line| line.trim_start().strip_prefix("password  ")).unwrap();
        assert_eq!(log_in_at(&server.base, "admin@localhost", password).await.0, 200);
        server.terminate().await;
        for line in server.lines() {
            assert!(!line.to_string().contains(password), "{line}");
        }
        // The next start has nothing to lose, and says so in the log alone.
        let log = File::create(server.place.path().join("log")).unwrap();
        server.process = Running(server.place.command(&[]).stdout(full()).stderr(log).spawn().unwrap());
        server.warns("stdout cannot be written").await;
        server.terminate().await;
        assert_eq!(server.said().lines().count(), server.lines().len(), "{}", server.said());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_reader_of_stdout_holds_up_neither_the_server_nor_its_end() {
    let (reader, stdout) = stopped();
    let mut server = Quiet::start(stdout, "").await;
    let asked = call_at(&server.base, "/api/questions", ("accept", "*/*"), Some(json!({"message": "a"})));
    assert_eq!(asked.await.0, 200);
    server.warns("stdout is not read").await;
    server.terminate().await;
    drop(reader);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_can_write_nothing_at_all_serves() {
    for stream in [full as fn() -> Stdio, closed] {
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let place = Place::new(Engine::Sqlite, "").await;
        let mut command = place.command(&[]);
        command.env("WICARA_SERVER__LISTEN", address.to_string());
        let mut process = Running(command.stdout(stream()).stderr(stream()).spawn().unwrap());
        found(PATIENCE, "server", async || {
            assert_eq!(process.try_wait().unwrap(), None, "it runs");
            tokio::net::TcpStream::connect(address).await.ok()
        })
        .await;
        let base = format!("http://{address}");
        assert_eq!(call_at(&base, "/healthz", ("accept", "*/*"), None).await.0, 200);
        // What an operator can do whose password was shown nowhere.
        place.with_password(&["user", "password", "admin@localhost"], PASSWORD).done();
        assert_eq!(log_in_at(&base, "admin@localhost", PASSWORD).await.0, 200);
        process.terminate();
        assert_eq!(process.end(PATIENCE).await, Some(0));
    }
}

/// Every kind of result. In this order each of them works.
const COMMANDS: &[&[&str]] = &[
    &["ask", "What is Wicara?"],
    &["ask", "What is Wicara?", "--json"],
    &["user", "list"],
    &["user", "list", "--json"],
    &["user", "add", "ada@example.org"],
    &["user", "password", "ada@example.org"],
    &["user", "remove", "ada@example.org"],
    &["key", "list"],
    &["key", "list", "--json"],
    &["key", "add", "web"],
    &["key", "remove", "web"],
    &["bot", "list"],
    &["bot", "list", "--json"],
    &["bot", "try", "guide", "What is Wicara?"],
    &["bot", "try", "guide", "What is Wicara?", "--json"],
    &["config", "show"],
    &["config", "show", "--json"],
    &["config", "check"],
    &["--help"],
    &["--version"],
    &["key", "add", "--help"],
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_that_cannot_be_written_is_an_error_and_a_reader_that_left_is_none() {
    let place = Place::new(Engine::Sqlite, "").await;
    let server = place.serve();
    let command = |arguments: &[&str]| {
        let mut command = place.command(arguments);
        command.env("WICARA_PASSWORD", PASSWORD);
        if arguments[0] == "ask" {
            command.args(["--server", &server.base]);
        }
        command
    };
    for arguments in COMMANDS {
        let told = finished(command(arguments).stdout(full())).failed(1);
        assert!(told.contains("stdout") && told.contains("No space left"), "{arguments:?}: {told}");
        if arguments.starts_with(&["user"]) && !arguments.contains(&"list") {
            assert!(told.contains("This was done"), "{arguments:?}: {told}");
        }
    }
    for arguments in COMMANDS {
        let run = finished(command(arguments).stdout(closed()));
        assert!(!run.err.contains("panicked"), "{arguments:?}: {}", run.err);
        if !arguments.starts_with(&["key", "add", "web"]) {
            assert_eq!(run.status.code(), Some(0), "{arguments:?}: {run:?}");
            assert!(!run.err.contains("wicara: "), "quietly: {arguments:?}: {}", run.err);
        }
    }
    server.terminate();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_nobody_saw_is_an_error_and_can_be_removed() {
    let place = Place::new(Engine::Sqlite, "").await;
    place.serve().terminate();
    for stdout in [full(), closed()] {
        let told = finished(place.command(&["key", "add", "web"]).stdout(stdout)).failed(1);
        assert!(told.contains("nobody has seen it"), "{told}");
        let (_, remove) = told.split_once("`wicara ").expect(&told);
        let remove: Vec<_> =
            remove.split('`').next().unwrap().split(' ').map(|word| word.trim_matches('"')).collect();
        assert_eq!(place.run(&remove).done(), "Removed the key web.\n");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_beside_the_result_may_be_lost() {
    let place = Place::new(Engine::Sqlite, "").await;
    let server = place.serve();
    for stderr in [full as fn() -> Stdio, closed] {
        let run = |arguments: &[&str]| finished(place.command(arguments).stderr(stderr()));
        assert!(run(&["ask", "What is Wicara?", "--server", &server.base]).done().contains("Wicara"));
        assert!(run(&["bot", "try", "guide", "What is Wicara?"]).done().contains("Wicara"));
        assert_eq!(run(&["key", "add", "web", "--bots", "unknown"]).done().lines().count(), 1);
        run(&["key", "remove", "web"]).done();
        run(&["user", "remove", "nobody@example.org"]).failed(1);
        run(&["serv"]).failed(2);
        run(&["--config", "missing.toml", "serve"]).failed(1);
        let mut log = place.command(&["config", "check"]);
        finished(log.env("WICARA_LOG", "nothing").stderr(stderr())).failed(2);
    }
    server.terminate();
}

/// An end that failed does not wait for whoever should read why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_fails_ends_though_nobody_reads_why() {
    let place = Place::with_config(
        "store.url = \"sqlite:/proc/nowhere/wicara.db\"\nserver.listen = \"127.0.0.1:0\"\n",
    );
    let (reader, stderr) = stopped();
    let mut process = Running(place.command(&[]).stdout(Stdio::null()).stderr(stderr).spawn().unwrap());
    assert_eq!(process.end(PATIENCE).await, Some(1));
    drop(reader);
}
