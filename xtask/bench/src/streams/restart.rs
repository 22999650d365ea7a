//! A server that is killed and started again while all streams are open: when each has what it missed, and how long other
//! requests take until then.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

use super::crowd::{Crowd, Return};
use super::lines::Mark;
use super::{Events, OPEN_TIME, figure, message, streams_of};
use crate::bench::{Bench, get, key};
use crate::client::{Client, block_on};
use crate::figure::{Figure, Measured, Target};
use crate::open_loop::open_loop;
use crate::process;
use crate::reads::spread;
use crate::server::Database;
use crate::table::number;
use crate::times::{both_percentiles, milliseconds, now, percentile};

/// Events that are sent right before the server is killed, and as many right after it is there again.
const EVENTS: usize = 10;
/// Between two of them, and between two other requests.
const PERIOD: Duration = Duration::from_millis(10);
/// A request that takes longer has failed.
const LONGEST: Duration = Duration::from_secs(10);

/// Another request each 10 ms, whether or not those before are answered.
struct Others {
    has_ended: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<Other>>>,
}

/// When a request was sent, and how many milliseconds it took; `None` where it failed.
type Other = (Duration, Option<f64>);

impl Others {
    fn start(port: u16, requests: Vec<String>) -> Result<Self> {
        let has_ended = Arc::new(AtomicBool::new(false));
        let run = {
            let has_ended = Arc::clone(&has_ended);
            move || block_on(send(port, requests, has_ended))
        };
        Ok(Self { has_ended, thread: thread::Builder::new().name("others".into()).spawn(run)? })
    }

    fn end(self) -> Result<Vec<Other>> {
        self.has_ended.store(true, Ordering::Relaxed);
        self.thread.join().ok().context("the thread of the other requests")?
    }
}

async fn send(port: u16, requests: Vec<String>, has_ended: Arc<AtomicBool>) -> Result<Vec<Other>> {
    let (mut idle, mut others) = (Vec::new(), Vec::new());
    let mut asked = JoinSet::new();
    let mut tick = interval(PERIOD);
    for request in requests.into_iter().cycle() {
        tick.tick().await;
        while let Some(done) = asked.try_join_next() {
            let (sent, answered): (Duration, Option<(Client, f64)>) = done.context("a request's task")?;
            others.push((sent, answered.as_ref().map(|(_, time)| *time)));
            idle.extend(answered.map(|(client, _)| client));
        }
        if has_ended.load(Ordering::Relaxed) {
            break;
        }
        let client = idle.pop();
        asked.spawn(async move {
            let sent = now();
            let answered = timeout(LONGEST, ask(port, client, &request)).await.ok().and_then(Result::ok);
            (sent, answered.map(|client| (client, milliseconds(now() - sent))))
        });
    }
    while let Some(done) = asked.join_next().await {
        let (sent, answered) = done.context("a request's task")?;
        others.push((sent, answered.map(|(_, time)| time)));
    }
    Ok(others)
}

async fn ask(port: u16, idle: Option<Client>, request: &str) -> Result<Client> {
    if let Some(mut client) = idle
        && let Ok(answer) = client.ask(request).await
    {
        ensure!(answer.status == 200, "{request}\n{}", answer.head);
        return Ok(client);
    }
    // An idle connection may lead to the server that is gone, as with every client.
    let mut client = Client::connect(port).await?;
    let answer = client.ask(request).await?;
    ensure!(answer.status == 200, "{request}\n{}", answer.head);
    Ok(client)
}

pub fn restart(bench: &mut Bench, database: &Database) -> Result<()> {
    for (when, name) in
        [(Return::AtOnce, "readers back at once"), (Return::WhenTold, "readers back when told")]
    {
        restart_with(bench, database, (when, name)).context(name)?;
    }
    Ok(())
}

fn restart_with(bench: &mut Bench, database: &Database, (when, name): (Return, &str)) -> Result<()> {
    let streams = bench.scale.streams;
    let before = Duration::from_secs(if bench.scale.rounds > 1 { 10 } else { 1 });
    let server = bench.start(database)?;
    let port = server.port;
    let mut crowd = Crowd::open(streams_of(database, &server, false), streams, OPEN_TIME)?;
    crowd.come_back(when);
    let ids = spread(database.size.all_messages());
    let requests = ids.map(|id| get(&format!("/api/message/{id}"), &key(&database.key))).collect();
    let others = Others::start(port, requests)?;
    let quiet = now();
    crowd.run(quiet + before, |_| false)?;

    // Nobody reads meanwhile, so that some of the readers have some of them.
    let events = message(database);
    let numbered = |place: usize| events(Mark { number: place as u32 + 1, sent: now() });
    block_on(open_loop(port, PERIOD, EVENTS, numbered))?;
    let killed = now();
    drop(server);
    let start = || database.start_again(&bench.place.folder, port);
    let server = thread::scope(|scope| {
        let starting = scope.spawn(start);
        crowd.run(killed + OPEN_TIME, |_| starting.is_finished())?;
        starting.join().ok().context("the thread that starts the server")?
    })?;
    let up = now();
    let numbers = EVENTS + 1..=2 * EVENTS;
    let events = Events::send(
        &mut crowd,
        (port, PERIOD, OPEN_TIME),
        numbers,
        message(database),
        2 * EVENTS * streams,
    )?;
    let caught_up = now();
    let others = others.end()?;
    let memory = Some(process::memory_peak(server.id())?);
    let refused = crowd.refused as f64;
    drop(crowd);
    server.stop()?;

    let times = |from: Duration, to: Duration| -> Vec<Option<f64>> {
        others.iter().filter(|(sent, _)| (from..to).contains(sent)).map(|(_, time)| *time).collect()
    };
    let mut usual: Vec<f64> = times(quiet, quiet + before).into_iter().flatten().collect();
    let meanwhile = times(up, caught_up);
    let failed = meanwhile.iter().filter(|time| time.is_none()).count() as u64;
    let mut meanwhile: Vec<f64> = meanwhile.into_iter().flatten().collect();
    let what = format!("restart with {} streams, {name}", number(streams as f64));
    let (usual_p50, usual_p99) = (percentile(&mut usual, 0.5), percentile(&mut usual, 0.99));
    let until = (caught_up - killed).as_secs_f64();
    let all = figure(database, format!("{what}: all have caught up"), (until, "s"), 20.0);
    bench.figures.push(Figure {
        load: Measured { errors: events.errors, memory, ..Measured::default() },
        details: vec![
            ("server there after", (up - killed).as_secs_f64(), "s"),
            ("connections refused", refused, ""),
        ],
        ..all
    });
    let (p50, p99) = both_percentiles(&mut meanwhile);
    let slower = percentile(&mut meanwhile, 0.5) / usual_p50;
    let others =
        figure(database, format!("{what}: GET /api/message/:id until then"), (slower, "× before"), 2.0);
    bench.figures.push(Figure {
        // A crowd that waits for nothing takes both cores for a second or two, most of it for itself.
        target: if when == Return::WhenTold { others.target } else { Target::None },
        load: Measured { p50, p99, errors: failed, ..Measured::default() },
        details: vec![("p50 before", usual_p50, "ms"), ("p99 before", usual_p99, "ms")],
        ..others
    });
    Ok(())
}
