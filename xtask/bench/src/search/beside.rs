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

/// A message each 2 ms, whether or not those before are stored.
pub struct Writing {
    has_ended: Arc<AtomicBool>,
    started: Duration,
    thread: JoinHandle<Result<Vec<f64>>>,
}

impl Writing {
    pub fn start(port: u16, database: &Database) -> Result<Self> {
        let has_ended = Arc::new(AtomicBool::new(false));
        let (size, headers) = (database.size, key(&database.key));
        let request = move |number: i64| {
            let conversation = number * 7919 * 104_729 % size.conversations + 1;
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

    /// Messages a second, and the milliseconds of each.
    pub fn end(self) -> Result<(f64, Vec<f64>)> {
        self.has_ended.store(true, Ordering::Relaxed);
        let times = self.thread.join().ok().context("the thread that stores messages")??;
        Ok((times.len() as f64 / (now() - self.started).as_secs_f64(), times))
    }
}

async fn write(port: u16, request: impl Fn(i64) -> String, has_ended: Arc<AtomicBool>) -> Result<Vec<f64>> {
    let (mut idle, mut times, mut asked) = (Vec::new(), Vec::new(), JoinSet::new());
    let mut tick = interval(PERIOD);
    for number in 1.. {
        tick.tick().await;
        if has_ended.load(Ordering::Relaxed) {
            break;
        }
        while let Some(done) = asked.try_join_next() {
            let (client, time) = done.context("a request's task")??;
            idle.push(client);
            times.push(time);
        }
        let (client, request) = (idle.pop(), request(number));
        asked.spawn(async move {
            let sent = now();
            let mut client: Client = match client {
                Some(client) => client,
                None => Client::connect(port).await?,
            };
            let answer = client.ask(&request).await?;
            ensure!(answer.status == 200, "{request}\n{}", answer.head);
            anyhow::Ok((client, milliseconds(now() - sent)))
        });
    }
    while let Some(done) = asked.join_next().await {
        times.push(done.context("a request's task")??.1);
    }
    Ok(times)
}
