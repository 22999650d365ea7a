//! More requests than the server can take, sent whether or not it keeps up.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::interval;

use crate::bench::{Bench, CONNECTIONS, Data};
use crate::client::{Client, block_on};
use crate::figure::{Figure, Measured, Target};
use crate::server::Engine;
use crate::times::{milliseconds, now, percentile};
use crate::writes::question_in_new_session;
use crate::wrk::Order;

/// How much more than the server can take.
const TIMES: f64 = 3.0;
const OPEN_CONNECTIONS: usize = 1000;
/// After which the server is to be as before.
const REST: Duration = Duration::from_secs(5);
/// How much longer the slowest may take then.
const NORMAL: f64 = 1.5;

/// What came of an open loop. Times are milliseconds.
#[derive(Debug, Default)]
struct Open {
    /// From when a request was due, which is when a client would have sent it.
    admitted: Vec<f64>,
    /// The same from when it was sent.
    admitted_sent: Vec<f64>,
    refused: u64,
    /// Other answers, and none.
    errors: u64,
    /// They were due when every connection waited for an answer. Of them nothing can be known.
    unsent: u64,
}

/// What is due and not sent yet.
#[derive(Debug)]
struct Due {
    since: Mutex<VecDeque<Duration>>,
    /// A permit for each.
    permits: Semaphore,
    /// Connections that wait for something to send.
    idle: AtomicUsize,
}

#[expect(clippy::disallowed_methods, reason = "nobody waits for this thread")]
pub fn overload(bench: &mut Bench, engine: Engine) -> Result<()> {
    let full = bench.scale.rounds > 1;
    let duration = Duration::from_secs(if full { 10 } else { 2 });
    let database = bench.database(engine, Data::Writes)?;
    let server = bench.start(&database)?;
    let request = question_in_new_session();
    let closed_loop = bench.requests(&server, std::slice::from_ref(&request), Order::InTurn);
    let before = bench.load(&server, &closed_loop, CONNECTIONS)?;
    let capacity = before.rate.context("a load has a rate")?;

    let offered = capacity * TIMES;
    let run = || block_on(send(server.port, &request, offered, duration));
    let count = |open: &Open| open.admitted.len() as u64 + open.refused;
    let (mut open, load) = bench.watch(&server, run, count)?;
    thread::sleep(if full { REST } else { Duration::from_secs(1) });
    let after = bench.load(&server, &closed_loop, CONNECTIONS)?;
    server.stop()?;

    let a_second = |count: u64| count as f64 / duration.as_secs_f64();
    let details = vec![
        ("offered", offered, "/s"),
        ("admitted", a_second(open.admitted.len() as u64), "/s"),
        ("refused", a_second(open.refused), "/s"),
        ("not sent", a_second(open.unsent), "/s"),
        ("p99 from when it was sent", percentile(&mut open.admitted_sent, 0.99), "ms"),
    ];
    let (p50, p99) = (percentile(&mut open.admitted, 0.5), percentile(&mut open.admitted, 0.99));
    let figure = |what: &str, value, unit, most, load, details| Figure {
        benchmark: "overload",
        what: what.to_owned(),
        engine,
        value,
        unit,
        target: Target::AtMost(most),
        load,
        reference: None,
        turns: Vec::new(),
        details,
    };
    let rate = Some(a_second(open.admitted.len() as u64));
    let load = Measured { rate, p50: Some(p50), p99: Some(p99), errors: open.errors, ..load };
    let what = "overload, p99 of what is admitted at 3 × capacity";
    bench.figures.push(figure(what, p99, "ms", 200.0, load, details));
    let normal = before.p99.context("a load has a p99")?;
    let again = after.p99.context("a load has a p99")? / normal;
    let details = vec![("p99 before", normal, "ms"), ("capacity before", capacity, "/s")];
    bench.figures.push(figure("p99 5 s after, against before", again, "× before", NORMAL, after, details));
    Ok(())
}

async fn send(port: u16, request: &str, rate: f64, duration: Duration) -> Result<Open> {
    let due = Arc::new(Due {
        since: Mutex::default(),
        permits: Semaphore::new(0),
        idle: AtomicUsize::new(OPEN_CONNECTIONS),
    });
    let mut workers = JoinSet::new();
    for _ in 0..OPEN_CONNECTIONS {
        let (client, due, request) = (Client::connect(port).await?, Arc::clone(&due), request.to_owned());
        workers.spawn(async move { work(client, port, &request, &due).await });
    }
    let mut all = Open::default();
    let mut tick = interval(Duration::from_millis(1));
    let mut issued = 0;
    let started = now();
    while now() - started < duration {
        tick.tick().await;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        let wanted = ((now() - started).as_secs_f64() * rate) as usize;
        let mut since = due.since.lock().expect("nobody panics with it");
        for number in issued..wanted {
            if since.len() < due.idle.load(Ordering::Relaxed) {
                since.push_back(started + Duration::from_secs_f64(number as f64 / rate));
                due.permits.add_permits(1);
            } else {
                all.unsent += 1;
            }
        }
        issued = wanted.max(issued);
    }
    due.permits.close();
    all.unsent += due.since.lock().expect("nobody panics with it").len() as u64;
    while let Some(open) = workers.join_next().await {
        let open = open.context("a connection's task")?;
        all.admitted.extend(open.admitted);
        all.admitted_sent.extend(open.admitted_sent);
        all.refused += open.refused;
        all.errors += open.errors;
    }
    Ok(all)
}

/// Sends what is due over one connection until there is no more.
async fn work(mut client: Client, port: u16, request: &str, due: &Due) -> Open {
    let mut open = Open::default();
    while let Ok(permit) = due.permits.acquire().await {
        permit.forget();
        let since = due.since.lock().expect("nobody panics with it").pop_front();
        let since = since.expect("a permit is given for each");
        due.idle.fetch_sub(1, Ordering::Relaxed);
        let sent = now();
        let answer = client.ask(request).await;
        let again = match &answer {
            Ok(answer) if answer.status == 200 => {
                open.admitted.push(milliseconds(now().saturating_sub(since)));
                open.admitted_sent.push(milliseconds(now() - sent));
                false
            }
            Ok(answer) if matches!(answer.status, 429 | 503) && answer.header("retry-after").is_some() => {
                open.refused += 1;
                answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
            }
            _ => {
                open.errors += 1;
                true
            }
        };
        if again {
            match Client::connect(port).await {
                Ok(connected) => client = connected,
                Err(_) => return open,
            }
        }
        due.idle.fetch_add(1, Ordering::Relaxed);
    }
    open
}
