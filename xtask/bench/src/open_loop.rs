//! Requests that are sent when they are due, whether or not those before are answered.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;
use tokio::time::interval;

use crate::client::Client;
use crate::times::{milliseconds, now};

/// Milliseconds that each request takes when one is sent each period: where no connection is idle, over a new one.
///
/// A request is made when it is sent, so that it may hold the time.
pub async fn open_loop(
    port: u16,
    period: Duration,
    count: usize,
    mut request: impl FnMut(usize) -> String,
) -> Result<Vec<f64>> {
    let (mut idle, mut times) = (vec![Client::connect(port).await?], vec![f64::NAN; count]);
    let mut asked = JoinSet::new();
    let mut tick = interval(period);
    let mut answered = |done: Result<Result<(Client, usize, f64)>, _>, idle: &mut Vec<Client>| {
        let (client, place, time) = done.context("a request's task")??;
        idle.push(client);
        times[place] = time;
        anyhow::Ok(())
    };
    for place in 0..count {
        tick.tick().await;
        while let Some(done) = asked.try_join_next() {
            answered(done, &mut idle)?;
        }
        let mut client = match idle.pop() {
            Some(client) => client,
            None => Client::connect(port).await?,
        };
        let request = request(place);
        asked.spawn(async move {
            let sent = now();
            let answer = client.ask(&request).await?;
            let time = milliseconds(now() - sent);
            ensure!((200..300).contains(&answer.status), "{request}\n{}", answer.head);
            anyhow::Ok((client, place, time))
        });
    }
    while let Some(done) = asked.join_next().await {
        answered(done, &mut idle)?;
    }
    Ok(times)
}
