//! Messages that are stored while something else is measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;
use tokio::time::interval;

use super::words::text;
use crate::bench::{key, post};
use crate::client::{Client, block_on};
use crate::server::Database;
use crate::times::{milliseconds, now};

/// 500 a second.
const PERIOD: Duration = Duration::from_millis(2);

/// One conversation of so many goes on, those with the highest ids: what is old stays so.
const RECENT: i64 = 20;

/// A message each 2 ms, whether or not those before are stored.
pub struct Writing {
    has_ended: Arc<AtomicBool>,
    started: Duration,
    thread: JoinHandle<Result<Written>>,
}

/// What became of the messages.
#[derive(Debug, Default)]
pub struct Written {
    /// Messages stored a second, and the milliseconds of each.
    pub rate: f64,
    pub times: Vec<f64>,
    /// Those that a server refused which had too much to do.
    pub refused: usize,
}

impl Writing {
    pub fn start(port: u16, database: &Database) -> Result<Self> {
        let has_ended = Arc::new(AtomicBool::new(false));
        let (size, headers) = (database.size, key(&database.key));
        let request = move |number: i64| {
            let recent = (size.conversations / RECENT).max(1);
            let conversation = size.conversations - number * 7919 * 104_729 % recent;
            let body = format!(
                r#"{{"conversationId":"{conversation}","message":"{}","type":"text","role":"client"}}"#,
                text(size.all_messages() + number)
            );
            post("/api/message", &headers, &body)
        };
        let run = {
            let has_ended = Arc::clone(&has_ended);
            move || block_on(write(port, request, has_ended))
        };
        Ok(Self {
            has_ended,
            started: now(),
            thread: thread::Builder::new().name("messages".into()).spawn(run)?,
        })
    }

    pub fn end(self) -> Result<Written> {
        self.has_ended.store(true, Ordering::Relaxed);
        let elapsed = (now() - self.started).as_secs_f64();
        let written = self.thread.join().ok().context("the thread that stores messages")??;
        Ok(Written { rate: written.times.len() as f64 / elapsed, ..written })
    }
}

async fn write(port: u16, request: impl Fn(i64) -> String, has_ended: Arc<AtomicBool>) -> Result<Written> {
    let (mut idle, mut written, mut asked) = (Vec::new(), Written::default(), JoinSet::new());
    let answered = |(client, time): (Client, Option<f64>), written: &mut Written, idle: &mut Vec<Client>| {
        idle.push(client);
        match time {
            Some(time) => written.times.push(time),
            None => written.refused += 1,
        }
    };
    let mut tick = interval(PERIOD);
    for number in 1.. {
        tick.tick().await;
        if has_ended.load(Ordering::Relaxed) {
            break;
        }
        while let Some(done) = asked.try_join_next() {
            answered(done.context("a request's task")??, &mut written, &mut idle);
        }
        asked.spawn(store(port, idle.pop(), request(number)));
    }
    while let Some(done) = asked.join_next().await {
        answered(done.context("a request's task")??, &mut written, &mut idle);
    }
    Ok(written)
}

/// The milliseconds that it took; `None` where it was refused.
async fn store(port: u16, client: Option<Client>, request: String) -> Result<(Client, Option<f64>)> {
    let sent = now();
    let mut client = match client {
        Some(client) => client,
        None => Client::connect(port).await?,
    };
    let answer = client.ask(&request).await?;
    let is_refused = answer.status == 503 && answer.header("retry-after").is_some();
    ensure!(answer.status == 200 || is_refused, "{request}\n{}", answer.head);
    Ok((client, (!is_refused).then(|| milliseconds(now() - sent))))
}
