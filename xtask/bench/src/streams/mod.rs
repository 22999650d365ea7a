//! Streams of the feed, as many as a busy server has: what they cost while nothing happens, how long an event takes to all
//! of them and to one of them, nchan beside it, and a restart.

mod crowd;
mod lines;
mod nchan;
mod restart;

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use xtask::nchan::Nchan;

use crate::bench::{Bench, Scale, get, key, post};
use crate::client::block_on;
use crate::data::Size;
use crate::figure::{Figure, Measured, Target};
use crate::open_loop::open_loop;
use crate::process;
use crate::server::{Database, Engine, Server};
use crate::table::number;
use crate::times::{both_percentiles, now, percentile};
use crate::writes::QUESTION;
use crowd::{Crowd, Streams};
use lines::Mark;

const DATABASE: &str = "streams";
/// What a server is left alone for before its memory is read, or events are sent.
const REST: Duration = Duration::from_secs(2);
/// Many times what it takes to open all streams.
const OPEN_TIME: Duration = Duration::from_secs(120);
/// An event that does not come for so long is lost.
const LOST: Duration = Duration::from_secs(10);
/// Between two events to all.
const SECOND: Duration = Duration::from_secs(1);
/// Between two events to one.
const TWENTY_MS: Duration = Duration::from_millis(20);
/// Files that the server keeps for other connections, unless it has fewer than twice as many as it needs for streams.
const CONNECTIONS: usize = 4096;
/// And more than it keeps for anything else.
const OTHER_FILES: usize = 1000;

/// What came of events. Times are milliseconds from when the request was sent, for each arrival.
struct Events {
    times: Vec<f64>,
    errors: u64,
}

/// Fails where the system does not grant so many streams.
pub fn check(scale: Scale) -> Result<()> {
    let needed = scale.streams + CONNECTIONS.min(scale.streams) + OTHER_FILES;
    let granted = process::open_files()?;
    ensure!(granted >= needed, "{granted} files may be open, and {needed} have to be: raise the hard limit");
    Ok(())
}

pub fn streams(bench: &mut Bench, engine: Engine) -> Result<()> {
    let conversations = i64::try_from(bench.scale.streams)?;
    let database = bench.place.database(engine, DATABASE, Size { conversations, messages: 2, long: 2 })?;
    idle(bench, &database)?;
    events_to_all(bench, &database)?;
    events_to_one(bench, &database)?;
    restart::restart(bench, &database)?;
    match engine {
        Engine::Postgres => bench.place.sql("postgres", &format!("DROP DATABASE {DATABASE}")).map(drop),
        Engine::Sqlite => Ok(()),
    }
}

/// The streams of an operator: of everything, or each of one conversation alone.
fn streams_of(database: &Database, server: &Server, narrowed: bool) -> Streams {
    let caller = key(&database.key);
    let request = move |place: usize, position: &str| {
        let path =
            if narrowed { format!("/api/events?conversationId={}", place + 1) } else { "/api/events".into() };
        let come_back =
            if position.is_empty() { String::new() } else { format!("Last-Event-ID: {position}\r\n") };
        get(&path, &format!("{caller}{come_back}"))
    };
    Streams { port: server.port, request: Box::new(request), open: "event: hello" }
}

/// The conversation that a numbered message goes to: any of them, scattered.
fn conversation_of(number: u32, conversations: i64) -> i64 {
    i64::from(number) * 7919 % conversations + 1
}

/// A request that makes the event of this mark.
fn message(database: &Database) -> impl Fn(Mark) -> String + Send + 'static {
    let (caller, conversations) = (key(&database.key), database.size.conversations);
    move |mark| {
        let (id, mark) = (conversation_of(mark.number, conversations), mark.text());
        let body = format!(
            r#"{{"conversationId":"{id}","message":"{mark} {QUESTION}","type":"text","role":"agent"}}"#
        );
        post("/api/message", &caller, &body)
    }
}

impl Events {
    /// One a second, each to all readers, after a rest: a worker process of nginx subscribes to a channel of another one
    /// once its own subscribers are there, and not at once.
    fn to_all(
        crowd: &mut Crowd,
        port: u16,
        scale: Scale,
        request: impl Fn(Mark) -> String + Send + 'static,
    ) -> Result<Self> {
        crowd.run(now() + REST, |_| false)?;
        let expected = scale.events_to_all * scale.streams;
        Self::send(crowd, (port, SECOND, LOST), 1..=scale.events_to_all, request, expected)
    }

    /// Sends the requests of these numbers, one each period, and reads until so many events have come; those that have
    /// not when this patience ends are lost.
    fn send(
        crowd: &mut Crowd,
        (port, period, patience): (u16, Duration, Duration),
        numbers: std::ops::RangeInclusive<usize>,
        request: impl Fn(Mark) -> String + Send + 'static,
        expected: usize,
    ) -> Result<Self> {
        let (first, count) = (*numbers.start(), numbers.count());
        let request = move |place| {
            let number = u32::try_from(first + place).unwrap_or(u32::MAX);
            request(Mark { number, sent: now() })
        };
        let run = move || block_on(open_loop(port, period, count, request));
        let sender = thread::Builder::new().name("sender".into()).spawn(run)?;
        let deadline = now() + period * u32::try_from(count)? + patience;
        crowd.run(deadline, |crowd| sender.is_finished() && crowd.arrivals.len() >= expected)?;
        sender.join().ok().context("the sender's thread")??;
        Ok(Self {
            times: crowd.arrivals.iter().map(|arrival| arrival.milliseconds).collect(),
            errors: crowd.errors + expected.saturating_sub(crowd.arrivals.len()) as u64,
        })
    }
}

fn figure(database: &Database, what: String, (value, unit): (f64, &'static str), most: f64) -> Figure {
    Figure {
        benchmark: "streams",
        what,
        engine: database.engine,
        value,
        unit,
        target: Target::AtMost(most),
        load: Measured::default(),
        reference: None,
        turns: Vec::new(),
        details: Vec::new(),
    }
}

/// Memory, and statements that PostgreSQL is asked, while nothing happens.
#[expect(clippy::disallowed_methods, reason = "nobody waits for this thread")]
fn idle(bench: &mut Bench, database: &Database) -> Result<()> {
    let Scale { streams, streams_idle, .. } = bench.scale;
    if database.engine == Engine::Postgres {
        // Of sessions that begin from now on: PostgreSQL logs each statement, and counts transactions only.
        bench.place.sql("postgres", &format!("ALTER DATABASE {DATABASE} SET log_statement = 'all'"))?;
    }
    let server = bench.start(database)?;
    thread::sleep(REST);
    let before = process::memory_now(server.id())?;
    let opened = now();
    let mut crowd = Crowd::open(streams_of(database, &server, false), streams, OPEN_TIME)?;
    let opened = (now() - opened).as_secs_f64();
    crowd.run(now() + REST, |_| false)?;
    let statements_before = statements(bench)?;
    let run = || crowd.run(now() + streams_idle, |crowd| crowd.errors > 0);
    let (_, load) = bench.watch(&server, run, |_| streams as u64)?;
    let statements = statements(bench)? - statements_before;
    let with = process::memory_now(server.id())?;
    let load = Measured { errors: crowd.errors, ..load };
    drop(crowd);
    server.stop()?;

    let what = format!("{} idle streams", number(streams as f64));
    let each = (with - before) * 1024.0 / streams as f64;
    let memory = figure(database, format!("{what}, memory of each"), (each, "KB"), 14.0);
    let details = vec![("without them", before, "MB"), ("all open after", opened, "s")];
    bench.figures.push(Figure { load, details, ..memory });
    if database.engine == Engine::Postgres {
        bench.place.sql("postgres", &format!("ALTER DATABASE {DATABASE} RESET log_statement"))?;
        let rate = statements as f64 / streams_idle.as_secs_f64();
        bench.figures.push(figure(database, format!("{what}, statements"), (rate, "/s"), 20.0));
    }
    Ok(())
}

/// Statements that stand in PostgreSQL's log.
fn statements(bench: &Bench) -> Result<usize> {
    let log = std::fs::read_to_string(bench.place.cluster.log())?;
    let is_statement = |line: &&str| line.contains("LOG:  execute ") || line.contains("LOG:  statement: ");
    Ok(log.lines().filter(is_statement).count())
}

/// An event a second to all, and the same through nchan.
fn events_to_all(bench: &mut Bench, database: &Database) -> Result<()> {
    let scale = bench.scale;
    let server = bench.start(database)?;
    let mut crowd = Crowd::open(streams_of(database, &server, false), scale.streams, OPEN_TIME)?;
    let run = || Events::to_all(&mut crowd, server.port, scale, message(database));
    let (mut events, load) = bench.watch(&server, run, |events| events.times.len() as u64)?;
    let size = crowd.event_size();
    drop(crowd);
    server.stop()?;

    let what = format!("one event a second to {} streams", number(scale.streams as f64));
    let (p50, p99) = both_percentiles(&mut events.times);
    let ours = percentile(&mut events.times, 0.99);
    let load = Measured { p50, p99, errors: events.errors, ..load };
    let all = figure(database, format!("{what}, p99"), (ours, "ms"), 300.0);
    bench.figures.push(Figure { load, details: vec![("event", size as f64, "bytes")], ..all });

    let Some(nchan) = Nchan::find() else { return Ok(()) };
    let mut events = nchan::events_to_all(bench, &nchan, size).context("nchan")?;
    let (p50, p99) = both_percentiles(&mut events.times);
    let theirs = percentile(&mut events.times, 0.99);
    let against = figure(database, format!("{what}, p99 against nchan's"), (ours / theirs, "× nchan"), 2.0);
    // The columns are nchan's.
    let load = Measured { p50, p99, errors: events.errors, ..Measured::default() };
    bench.figures.push(Figure { load, details: vec![("ours", ours, "ms")], ..against });
    Ok(())
}

/// Events to one stream each, while all others are open.
fn events_to_one(bench: &mut Bench, database: &Database) -> Result<()> {
    let Scale { streams, events_to_one: count, .. } = bench.scale;
    let server = bench.start(database)?;
    let mut crowd = Crowd::open(streams_of(database, &server, true), streams, OPEN_TIME)?;
    let run =
        || Events::send(&mut crowd, (server.port, TWENTY_MS, LOST), 1..=count, message(database), count);
    let (mut events, load) = bench.watch(&server, run, |events| events.times.len() as u64)?;
    let to_another = crowd.arrivals.iter().filter(|arrival| {
        usize::try_from(conversation_of(arrival.number, database.size.conversations))
            != Ok(arrival.reader + 1)
    });
    let errors = events.errors + to_another.count() as u64;
    drop(crowd);
    server.stop()?;

    let what = format!("50 events a second to one of {} streams each", number(streams as f64));
    let (p50, p99) = both_percentiles(&mut events.times);
    for (name, part, most) in [("p50", 0.5, 8.0), ("p99", 0.99, 50.0)] {
        let value = percentile(&mut events.times, part);
        let load = Measured { p50, p99, errors, ..load.clone() };
        bench
            .figures
            .push(Figure { load, ..figure(database, format!("{what}, {name}"), (value, "ms"), most) });
    }
    Ok(())
}
