//! A log that nobody reads, as with Ctrl-S on its terminal: the server goes on and ends, and says what was lost.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::Duration;

use reqwest::Client;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::process::Running;
use crate::support::{PATIENCE, found};

/// How long the server may take to finish what runs when it is stopped.
const DRAIN: Duration = Duration::from_secs(4);
/// How much longer it may take to end.
const END: Duration = Duration::from_secs(2);
/// Longer than any answer takes.
const ANSWER: Duration = Duration::from_secs(60);

const DROPPED: &str = "wicara_log_lines_dropped_total";

/// A server whose stderr is a pipe.
struct Stalled {
    process: Running,
    base: String,
    /// The URL of the metrics, where no key is needed.
    metrics: String,
    client: Client,
    _folder: TempDir,
}

impl Stalled {
    /// Runs until more was logged than the pipe and the server hold.
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "server.listen = \"127.0.0.1:0\"\nserver.metrics_listen = \"127.0.0.1:0\"\n\
             server.drain_seconds = {}\n",
            DRAIN.as_secs()
        );
        std::fs::write(folder.path().join("wicara.toml"), config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_wicara"));
        command.current_dir(folder.path()).env("WICARA_LOG", "trace");
        let mut process = Running(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
        let mut out = BufReader::new(process.stdout.take().unwrap());
        let mut line_with = |beginning: &str| {
            loop {
                let mut line = String::new();
                assert!(out.read_line(&mut line).unwrap() > 0, "the server starts");
                if line.starts_with(beginning) {
                    return line.trim_end().rsplit_once(' ').unwrap().1.to_owned();
                }
            }
        };
        let (base, metrics) = (line_with("Wicara is ready"), line_with("Metrics"));
        std::thread::spawn(move || out.read_to_end(&mut Vec::new()));
        wicara_platform::tls::install();
        let client = Client::builder().no_proxy().timeout(ANSWER).build().unwrap();
        let server = Self { process, base, metrics, client, _folder: folder };
        found(PATIENCE, "line that was lost", async || {
            // Each logs a line of some hundred bytes.
            let requests = (0..500).map(|_| server.health());
            futures_util::future::join_all(requests).await;
            (server.dropped().await > 0).then_some(())
        })
        .await;
        server
    }

    async fn get(&self, url: &str) -> String {
        let answer = self.client.get(url).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.text().await.unwrap()
    }

    async fn health(&self) {
        self.get(&format!("{}/healthz", self.base)).await;
    }

    async fn dropped(&self) -> u64 {
        let text = self.get(&self.metrics).await;
        let line = text.lines().find_map(|line| line.strip_prefix(DROPPED)).expect("the metric is there");
        line.trim().parse().unwrap()
    }

    async fn terminate(&mut self) {
        self.process.terminate();
        assert_eq!(self.process.end(DRAIN + END).await, Some(0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_nobody_reads_stops_neither_the_server_nor_its_end() {
    let mut server = Stalled::start().await;
    server.health().await;
    let lost = server.dropped().await;
    assert!(lost > 0);
    server.health().await;
    assert!(server.dropped().await > lost, "it goes on, and goes on counting");
    server.terminate().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_the_log_is_read_again_it_says_how_many_lines_were_lost_and_loses_no_more() {
    let mut server = Stalled::start().await;
    let mut stderr = BufReader::new(server.process.stderr.take().unwrap());
    let reading = std::thread::spawn(move || {
        let mut told = 0;
        for line in stderr.by_ref().lines() {
            let line: Value = serde_json::from_str(&line.unwrap()).expect("every line is whole");
            if line["message"].as_str().is_some_and(|message| message.contains("were dropped")) {
                assert_eq!(line["level"], "WARN");
                told += line["lines"].as_u64().unwrap();
            }
            if line["message"] == "stopping: no new requests, finishing those that run" {
                return Some(told);
            }
        }
        None
    });
    // Its end is in the log, so that all before it was written.
    let lost = found(PATIENCE, "end of the losses", async || {
        let before = server.dropped().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        (server.dropped().await == before).then_some(before)
    })
    .await;
    server.terminate().await;
    assert_eq!(
        reading.join().unwrap(),
        Some(lost),
        "every lost line is told of, and the last lines are not lost"
    );
}
