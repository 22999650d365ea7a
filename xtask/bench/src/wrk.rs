//! Closed-loop loads: wrk, which sends the next request of a connection when the last was answered.

use std::fmt::Write;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::folder::{Folder, run};

/// The order of prepared requests.
#[derive(Debug, Clone, Copy)]
pub enum Order {
    InTurn,
    Random,
}

/// What came of a load.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    pub requests: u64,
    pub seconds: f64,
    /// Milliseconds, as the next three.
    pub p50: f64,
    pub p99: f64,
    pub mean: f64,
    /// Connections that broke, answers that did not come, and answers of 400 and above.
    pub errors: u64,
}

impl Outcome {
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.requests as f64 / self.seconds
    }

    fn parse(said: &str) -> Result<Self> {
        let line = said.lines().find(|line| line.starts_with('{'));
        let values: Value = serde_json::from_str(line.with_context(|| format!("wrk said {said:?}"))?)?;
        let number = |name: &str| values[name].as_f64().with_context(|| format!("wrk told no {name}"));
        let count = |name: &str| values[name].as_u64().with_context(|| format!("wrk told no {name}"));
        let errors = ["connect", "read", "write", "timeout", "status"].map(count);
        Ok(Self {
            requests: count("requests")?,
            seconds: number("microseconds")? / 1e6,
            p50: number("p50")? / 1000.0,
            p99: number("p99")? / 1000.0,
            mean: number("mean")? / 1000.0,
            errors: errors.into_iter().sum::<Result<u64>>()?,
        })
    }
}

/// Loads for a server.
#[derive(Debug)]
pub struct Load<'a> {
    folder: &'a Folder,
    url: String,
    /// Each with its length before it.
    requests: String,
    order: Order,
}

impl<'a> Load<'a> {
    /// `requests`: whole requests as they go to the socket.
    #[must_use]
    pub fn new(folder: &'a Folder, url: String, requests: &[String], order: Order) -> Self {
        let mut file = String::new();
        for request in requests {
            let _ = writeln!(file, "{}", request.len());
            file.push_str(request);
        }
        Self { folder, url, requests: file, order }
    }

    /// One thread of it has the whole set of requests and is faster than the server.
    pub fn run(&self, connections: usize, duration: Duration) -> Result<Outcome> {
        const SCRIPT: &str = include_str!("../load.lua");
        let script = self.folder.write("load.lua", SCRIPT)?;
        let requests = self.folder.write("requests", &self.requests)?;
        let order = match self.order {
            Order::InTurn => "in-turn",
            Order::Random => "random",
        };
        let mut wrk = Command::new("wrk");
        wrk.args(["--threads", "1", "--timeout", "10s", "--connections", &connections.to_string()]);
        // It takes whole seconds only.
        wrk.args(["--duration", &format!("{}s", duration.as_secs().max(1))]);
        wrk.arg("--script").arg(script).arg(&self.url).arg("--").arg(requests).arg(order);
        Outcome::parse(&run(&mut wrk)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wrk_prints_is_read() {
        let said = "Running 1s test @ http://127.0.0.1:1\n  Requests/sec: 2.00\n\
            {\"requests\":3000,\"microseconds\":1500000,\"p50\":1500,\"p99\":20000,\"mean\":1700.5,\
            \"connect\":1,\"read\":0,\"write\":0,\"timeout\":2,\"status\":3}\n";
        let outcome = Outcome::parse(said).unwrap();
        assert_eq!((outcome.requests, outcome.errors, outcome.p50, outcome.p99), (3000, 6, 1.5, 20.0));
        assert_eq!(outcome.rate(), 2000.0);
        assert!(Outcome::parse("unable to connect to 127.0.0.1:1 Connection refused\n").is_err());
    }
}
