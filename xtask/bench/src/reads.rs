//! Reads under load, and deep pages.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::bench::{Bench, CONNECTIONS, Data, get, key};
use crate::client::{Client, block_on};
use crate::figure::{Figure, Measured, Target};
use crate::server::{Database, Engine};
use crate::times::{both_percentiles, milliseconds, now, percentile};
use crate::wrk::Order;

/// Connections that read the long conversation.
const LONG_CONNECTIONS: usize = 16;
/// Single requests of which a median is taken, unless they take too long.
const SINGLE: usize = 200;
const FEWEST: usize = 5;
const LONGEST_MS: f64 = 2000.0;

pub fn person(database: &Database) -> String {
    format!("Cookie: {}\r\n", database.cookie)
}

/// Ids spread over all of them.
pub fn spread(count: i64) -> impl Iterator<Item = i64> {
    (1..=1000).map(move |place| (place * 7919 * 104_729) % count + 1)
}

pub fn list_program(bench: &mut Bench, engine: Engine) -> Result<()> {
    let database = bench.database(engine, Data::Small)?;
    let caller = key(&database.key);
    list(bench, &database, "list-program", ("program", &caller), 0.12)
}

pub fn list_person(bench: &mut Bench, engine: Engine) -> Result<()> {
    let database = bench.database(engine, Data::Small)?;
    let caller = person(&database);
    list(bench, &database, "list-person", ("person", &caller), 0.2)
}

/// Pages of the whole list at random.
fn list(
    bench: &mut Bench,
    database: &Database,
    benchmark: &'static str,
    (who, caller): (&str, &str),
    least: f64,
) -> Result<()> {
    let page = |page: i64| get(&format!("/api/conversation?page={page}&limit=10"), caller);
    let pages: Vec<_> = (1..=database.size.conversations / 10).map(page).collect();
    let what = format!("GET /api/conversation, {who}");
    against_healthz(bench, database, (benchmark, &what), &pages, Target::AtLeast(least))
}

pub fn detail(bench: &mut Bench, engine: Engine) -> Result<()> {
    let database = bench.database(engine, Data::Small)?;
    let long = database.size.long_conversation();
    let ids = (1..=database.size.conversations).filter(|id| *id != long);
    let requests: Vec<_> =
        ids.map(|id| get(&format!("/api/conversation/{id}"), &key(&database.key))).collect();
    against_healthz(
        bench,
        &database,
        ("detail", "GET /api/conversation/:id, 2 messages"),
        &requests,
        Target::AtLeast(0.3),
    )
}

pub fn message(bench: &mut Bench, engine: Engine) -> Result<()> {
    let database = bench.database(engine, Data::Small)?;
    // Those of the long conversation, which are longer, have the ids above.
    let ids = 1..=database.size.conversations * database.size.messages;
    let requests: Vec<_> = ids.map(|id| get(&format!("/api/message/{id}"), &key(&database.key))).collect();
    let what = ("message-by-id", "GET /api/message/:id");
    against_healthz(bench, &database, what, &requests, Target::AtLeast(0.5))
}

fn against_healthz(
    bench: &mut Bench,
    database: &Database,
    (benchmark, what): (&'static str, &str),
    requests: &[String],
    target: Target,
) -> Result<()> {
    let server = bench.start(database)?;
    let (load, healthz) = (bench.requests(&server, requests, Order::Random), bench.healthz(&server));
    bench.warm(&load, CONNECTIONS)?;
    let (load, reference, value) = bench.load_against(&server, &load, || bench.turn(&server, &healthz))?;
    server.stop()?;
    bench.figures.push(Figure {
        benchmark,
        what: what.to_owned(),
        engine: database.engine,
        value,
        unit: "H",
        target,
        load,
        reference: reference.rate,
        turns: Vec::new(),
        details: Vec::new(),
    });
    bench.reference("H: GET /healthz", database.engine, reference)
}

pub fn detail_long(bench: &mut Bench, engine: Engine) -> Result<()> {
    let database = bench.database(engine, Data::Small)?;
    let server = bench.start(&database)?;
    let path = format!("/api/conversation/{}", database.size.long_conversation());
    let request = get(&path, &key(&database.key));
    let body = block_on(async { Client::connect(server.port).await?.ask(&request).await })?.body;
    let what = "GET /api/conversation/:id, 2,000 messages";
    for (connections, what, target) in [
        (LONG_CONNECTIONS, format!("{what}, {LONG_CONNECTIONS} connections"), Target::AtLeast(200.0)),
        (1, format!("{what}, one connection"), Target::None),
    ] {
        let load = bench.requests(&server, std::slice::from_ref(&request), Order::InTurn);
        let load = bench.load(&server, &load, connections)?;
        bench.figures.push(Figure {
            benchmark: "detail-long",
            what,
            engine,
            value: load.rate.context("a load has a rate")?,
            unit: "/s",
            target,
            load,
            reference: None,
            turns: Vec::new(),
            details: vec![("answer", body.len() as f64 / 1024.0, "KB")],
        });
    }
    server.stop()
}

/// Pages deep in the list against its first ones, at random from a twentieth of the list each.
pub fn pages(bench: &mut Bench, engine: Engine) -> Result<()> {
    let database = bench.database(engine, Data::Small)?;
    let last = database.size.conversations;
    let list = |query: &str| get(&format!("/api/conversation?{query}&limit=10"), &key(&database.key));
    let lists = |word: &str, from: i64, count: i64| -> Vec<_> {
        (from..from + count).map(|number| list(&format!("{word}={number}"))).collect()
    };
    let pages = last / 10 / 20;
    let mut depths = vec![("the last pages".to_owned(), lists("page", 19 * pages + 1, pages), 0.9)];
    for word in ["before", "after"] {
        for tenth in [1, 5, 9] {
            let what = format!("{word} a conversation about {tenth} tenths up");
            depths.push((what, lists(word, last * tenth / 10 - last / 40, last / 20), 0.95));
        }
    }
    let server = bench.start(&database)?;
    let load = |requests: &[String]| bench.requests(&server, requests, Order::Random);
    let first = load(&lists("page", 1, pages));
    bench.warm(&first, CONNECTIONS)?;
    let mut figures = Vec::new();
    for (what, requests, least) in depths {
        let (load, reference, value) =
            bench.load_against(&server, &load(&requests), || bench.turn(&server, &first))?;
        figures.push(Figure {
            benchmark: "pages",
            what: format!("{what}, against the first pages"),
            engine,
            value,
            unit: "× first pages",
            target: Target::AtLeast(least),
            load,
            reference: reference.rate,
            turns: Vec::new(),
            details: Vec::new(),
        });
    }
    bench.figures.extend(figures);
    server.stop()
}

/// The page in the middle of the large database: quick, and the right one.
pub fn deep_page(bench: &mut Bench, engine: Engine) -> Result<()> {
    let database = bench.database(engine, Data::Large)?;
    let page = database.size.conversations / 20;
    let path = format!("/api/conversation?page={page}&limit=10");
    let server = bench.start(&database)?;
    for (who, headers) in [("program", key(&database.key)), ("person", person(&database))] {
        let request = get(&path, &headers);
        let run = || block_on(single(server.port, &request));
        let ((mut times, body), load) = bench.watch(&server, run, |(times, _)| times.len() as u64)?;
        let (p50, p99) = both_percentiles(&mut times);
        check_page(&body, &database, page)?;
        bench.figures.push(Figure {
            benchmark: "deep-page",
            what: format!("page {page} of {}, {who}", database.size.conversations),
            engine,
            value: percentile(&mut times, 0.5),
            unit: "ms",
            target: Target::AtMost(5.0),
            load: Measured { p50, p99, ..load },
            reference: None,
            turns: Vec::new(),
            details: Vec::new(),
        });
    }
    server.stop()
}

async fn single(port: u16, request: &str) -> Result<(Vec<f64>, Vec<u8>)> {
    let mut client = Client::connect(port).await?;
    let mut times = Vec::new();
    let started = now();
    loop {
        let asked = now();
        let answer = client.ask(request).await?;
        times.push(milliseconds(now() - asked));
        ensure!(answer.status == 200, "{request}{}", answer.head);
        let too_long = milliseconds(now() - started) > LONGEST_MS;
        if times.len() == SINGLE || times.len() >= FEWEST && too_long {
            return Ok((times, answer.body));
        }
    }
}

/// Whether the page holds the conversations that it must, newest first.
fn check_page(body: &[u8], database: &Database, page: i64) -> Result<()> {
    let body: Value = serde_json::from_slice(body)?;
    let data = &body["data"];
    let list = data.as_array().or_else(|| data["data"].as_array()).context("the page holds no list")?;
    let id = |item: &Value| item["id"].as_i64().or_else(|| item["id"].as_str()?.parse().ok());
    let newest = database.size.conversations - (page - 1) * 10;
    let expected: Vec<_> = (0..10).map(|place| Some(newest - place)).collect();
    let found: Vec<_> = list.iter().map(id).collect();
    ensure!(found == expected, "page {page} holds {found:?}, not {expected:?}");
    Ok(())
}
