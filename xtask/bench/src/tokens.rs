//! Many streams at once: how long each token takes through the server.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::bench::{Bench, Data, post};
use crate::bots::{TOKEN_PAUSE, TOKENS};
use crate::client::{Client, block_on};
use crate::figure::{Figure, Measured, Target};
use crate::server::Engine;
use crate::times::{both_percentiles, milliseconds, now, percentile};
use crate::writes::QUESTION;

const STREAMS: u32 = 200;
/// Answers that each stream takes after another.
const ANSWERS: usize = 4;

/// Milliseconds from a token's being sent to its arrival.
#[derive(Debug, Default)]
struct Delays {
    first: Vec<f64>,
    next: Vec<f64>,
}

/// The tokens of the same streams with the server between, and without.
pub fn tokens(bench: &mut Bench, engine: Engine) -> Result<()> {
    let database = bench.database(engine, Data::Writes)?;
    let server = bench.start(&database)?;
    let answers = if bench.scale.rounds > 1 { ANSWERS } else { 1 };
    let body = format!(r#"{{"message":"{QUESTION}","botId":"stream"}}"#);
    let request = post("/api/questions", "Accept: text/event-stream\r\n", &body);
    let direct = post("/v1/chat/completions", "", r#"{"stream":true}"#);
    let mut without = block_on(take(bench.streaming.port, direct, answers))?;
    let run = || block_on(take(server.port, request, answers));
    let (mut through, load) =
        bench.watch(&server, run, |delays| (delays.first.len() + delays.next.len()) as u64)?;
    server.stop()?;
    for (token, through, without) in [
        ("the first token", &mut through.first, &mut without.first),
        ("each next token", &mut through.next, &mut without.next),
    ] {
        for (name, part, most) in [("p50", 0.5, 1.0), ("p99", 0.99, 10.0)] {
            let (p50, p99) = both_percentiles(through);
            let direct = percentile(without, part);
            bench.figures.push(Figure {
                benchmark: "tokens",
                what: format!("delay added to {token} of {STREAMS} streams, {name}"),
                engine,
                value: percentile(through, part) - direct,
                unit: "ms",
                target: Target::AtMost(most),
                load: Measured { p50, p99, ..load.clone() },
                reference: None,
                turns: Vec::new(),
                details: vec![("from the bot itself", direct, "ms")],
            });
        }
    }
    Ok(())
}

async fn take(port: u16, request: String, answers: usize) -> Result<Delays> {
    let mut streams = JoinSet::new();
    for place in 0..STREAMS {
        let request = request.clone();
        streams.spawn(async move {
            // All are there after an answer's time, and their tokens do not come in step.
            sleep(Duration::from_micros(271) * place + TOKEN_PAUSE * place / 10).await;
            let mut client = Client::connect(port).await?;
            let mut delays = Delays::default();
            for _ in 0..answers {
                take_one(&mut client, &request, &mut delays).await?;
            }
            anyhow::Ok(delays)
        });
    }
    let mut all = Delays::default();
    while let Some(delays) = streams.join_next().await {
        let delays = delays.context("a stream's task")??;
        all.first.extend(delays.first);
        all.next.extend(delays.next);
    }
    Ok(all)
}

async fn take_one(client: &mut Client, request: &str, delays: &mut Delays) -> Result<()> {
    let mut pending = Vec::new();
    let mut seen = 0;
    let see = |piece: &[u8]| {
        let arrived = now();
        pending.extend_from_slice(piece);
        while seen < TOKENS
            && let Some(sent) = next_token(&mut pending)
        {
            let delay = milliseconds(arrived.saturating_sub(sent));
            if seen == 0 {
                delays.first.push(delay)
            } else {
                delays.next.push(delay)
            }
            seen += 1;
        }
    };
    let status = client.ask_stream(request, see).await?;
    ensure!(status == 200 && seen == TOKENS, "a stream ended with status {status} after {seen} tokens");
    Ok(())
}

/// When the next token that is there as a whole was sent; it and what stands before it are taken.
fn next_token(pending: &mut Vec<u8>) -> Option<Duration> {
    let start = pending.iter().position(|&byte| byte == b'@')?;
    let length = pending[start + 1..].iter().position(|&byte| byte == b'@')?;
    let sent = str::from_utf8(&pending[start + 1..start + 1 + length]).ok()?.parse().ok()?;
    pending.drain(..start + length + 2);
    Some(Duration::from_nanos(sent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_found_in_whatever_pieces_they_come() {
        let mut pending = b"data: {\"text\":\"@12@ @3".to_vec();
        assert_eq!(next_token(&mut pending), Some(Duration::from_nanos(12)));
        assert_eq!(next_token(&mut pending), None);
        pending.extend_from_slice(b"4@ \"}\n\n");
        assert_eq!(next_token(&mut pending), Some(Duration::from_nanos(34)));
        assert_eq!(next_token(&mut pending), None);
    }
}
