//! Searches and the lists of an inbox in a large database: warm, cold, and beside messages that are stored; and the console.

mod beside;
mod cold;
mod console;
pub mod fill;
mod queries;
mod words;

use std::time::Duration;

use anyhow::{Result, ensure};

use self::beside::{Writing, Written};
use self::queries::{Finds, INBOX, LISTS, List, SEARCHES, Search, counts, inbox};
use crate::bench::Bench;
use crate::client::{Client, block_on};
use crate::data::{Content, Size};
use crate::figure::{Figure, Measured, Target};
use crate::server::{Database, Engine, Server};
use crate::times::{both_percentiles, milliseconds, now, percentile};

const DATABASE: &str = "search";
/// The most milliseconds of 95 in 100 requests: searches; those of one bot or an old month; any where nothing is in memory or
/// messages are stored beside; lists and counts of an inbox.
const ANYWHERE: f64 = 100.0;
const OF_A_PART: f64 = 150.0;
const DISTURBED: f64 = 200.0;
const INBOX_PAGE: f64 = 20.0;

/// Requests of each kind, unless they take longer than a load does.
const MOST: usize = 200;
const FEWEST: usize = 20;
/// Requests that only warm up.
const WARM: usize = 10;
/// Starts with nothing in memory.
const COLD_STARTS: usize = 5;

/// In which state a server is asked. The numbers of requests go on from here, so that each asks with other words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Warm = 0,
    Cold = 10_000,
    Beside = 20_000,
}

impl State {
    fn text(self) -> &'static str {
        match self {
            Self::Warm => "warm",
            Self::Cold => "cold",
            Self::Beside => "beside 500 messages a second",
        }
    }

    fn target(self, search: &Search) -> Target {
        Target::AtMost(match self {
            Self::Warm if search.is_of_a_part() => OF_A_PART,
            Self::Warm => ANYWHERE,
            Self::Cold | Self::Beside => DISTURBED,
        })
    }
}

pub fn search(bench: &mut Bench, engine: Engine) -> Result<()> {
    let size = Size { conversations: bench.scale.large, messages: 5, long: 5 };
    let started = now();
    let database = bench.place.database_of(engine, DATABASE, size, Content::Words)?;
    eprintln!(
        "bench: filled {} messages on {} in {} s",
        size.all_messages(),
        engine.name(),
        (now() - started).as_secs()
    );
    let server = bench.start(&database)?;
    searches(bench, &database, &server, State::Warm)?;
    lists(bench, &database, &server)?;
    console::console(bench, &database, &server)?;
    server.stop()?;
    cold(bench, &database)?;
    let server = bench.start(&database)?;
    let writing = Writing::start(server.port, &database)?;
    searches(bench, &database, &server, State::Beside)?;
    let Written { rate, mut times, refused } = writing.end()?;
    server.stop()?;
    let what = "POST /api/message, 500 a second beside the searches".to_owned();
    let load = Measured { rate: Some(rate), ..Measured::default() };
    let mut stored = figure(engine, what, Target::None, &mut times, load);
    stored.details.push(("refused", refused as f64, ""));
    bench.figures.push(stored);
    match engine {
        Engine::Sqlite => bench.place.folder.folder(&format!("{DATABASE}-{}", engine.name())).map(drop),
        Engine::Postgres => bench.place.sql("postgres", &format!("DROP DATABASE {DATABASE}")).map(drop),
    }
}

fn figure(engine: Engine, what: String, target: Target, times: &mut [f64], load: Measured) -> Figure {
    let (p50, p99) = both_percentiles(times);
    Figure {
        benchmark: "search",
        what,
        engine,
        value: percentile(times, 0.95),
        unit: "ms",
        target,
        load: Measured { p50, p99, ..load },
        reference: None,
        turns: Vec::new(),
        details: vec![("slowest", percentile(times, 1.0), "ms"), ("requests", times.len() as f64, "")],
    }
}

fn name(list: List, search: &Search, state: State) -> String {
    format!("GET {}?q=, {}, {}", list.path(), search.what, state.text())
}

fn searches(bench: &mut Bench, database: &Database, server: &Server, state: State) -> Result<()> {
    for list in LISTS {
        for search in SEARCHES {
            let request = |number| search.request(list, database, state as i64 + number);
            let run = || block_on(ask(server.port, request, search.finds, bench.scale.load));
            let (mut times, load) = bench.watch(server, run, |times: &Vec<f64>| times.len() as u64)?;
            // Messages beside have their part of the processors too.
            let load = if state == State::Warm { load } else { Measured { cost: None, ..load } };
            let what = name(list, search, state);
            bench.figures.push(figure(database.engine, what, state.target(search), &mut times, load));
        }
    }
    Ok(())
}

fn lists(bench: &mut Bench, database: &Database, server: &Server) -> Result<()> {
    let of_inbox = INBOX.iter().map(|(what, filter)| {
        let request = move |number| inbox(filter, database, number);
        (format!("inbox, {what}"), Box::new(request) as Box<dyn Fn(i64) -> String>, Finds::Something)
    });
    let request = move |_| counts(database);
    let of_counts = (String::from("inbox, counts"), Box::new(request) as _, Finds::Nothing);
    for (what, request, finds) in of_inbox.chain([of_counts]) {
        let run = || block_on(ask(server.port, request, finds, bench.scale.load));
        let (mut times, load) = bench.watch(server, run, |times: &Vec<f64>| times.len() as u64)?;
        let target = Target::AtMost(INBOX_PAGE);
        bench.figures.push(figure(database.engine, what, target, &mut times, load));
    }
    Ok(())
}

/// The times of requests that are sent one after the other.
async fn ask(
    port: u16,
    request: impl Fn(i64) -> String,
    finds: Finds,
    longest: Duration,
) -> Result<Vec<f64>> {
    let mut client = Client::connect(port).await?;
    let (mut times, mut found) = (Vec::new(), false);
    let started = now();
    for number in 0.. {
        let (time, has_found) = ask_once(&mut client, &request(number), finds).await?;
        found |= has_found;
        let is_warm = number >= WARM as i64;
        times.extend(is_warm.then_some(time));
        let too_long = now() - started > longest;
        if times.len() == MOST || times.len() >= FEWEST && too_long {
            break;
        }
    }
    ensure!(found || finds != Finds::Sometimes, "nothing came of any like {}", request(0));
    Ok(times)
}

/// How long it took, and whether something came.
async fn ask_once(client: &mut Client, request: &str, finds: Finds) -> Result<(f64, bool)> {
    let asked = now();
    let answer = client.ask(request).await?;
    let time = milliseconds(now() - asked);
    ensure!(answer.status == 200, "{request}{}", answer.head);
    let found = answer.body.windows(4).any(|word| word == b"\"id\"");
    let is_right = match finds {
        Finds::Something => found,
        Finds::Sometimes => true,
        Finds::Nothing => !found,
    };
    ensure!(is_right, "{} came: {request}", if found { "something" } else { "nothing" });
    Ok((time, found))
}

/// After each start one request of each kind, each time with another one first: the first has the most to read.
fn cold(bench: &mut Bench, database: &Database) -> Result<()> {
    let starts = if bench.scale.rounds > 1 { COLD_STARTS } else { 1 };
    let kinds: Vec<_> =
        LISTS.iter().flat_map(|list| SEARCHES.iter().map(move |search| (*list, search))).collect();
    let mut times = vec![Vec::new(); kinds.len()];
    for start in 0..starts {
        let server = cold::start(bench, database)?;
        let (port, first) = (server.port, start * kinds.len() / starts);
        block_on(async {
            let mut client = Client::connect(port).await?;
            for place in (first..kinds.len()).chain(0..first) {
                let (list, search) = kinds[place];
                let number = State::Cold as i64 + (start * kinds.len() + place) as i64;
                let request = search.request(list, database, number);
                times[place].push(ask_once(&mut client, &request, search.finds).await?.0);
            }
            Ok(())
        })?;
        server.stop()?;
    }
    for ((list, search), mut times) in kinds.into_iter().zip(times) {
        let what = name(list, search, State::Cold);
        let target = State::Cold.target(search);
        bench.figures.push(figure(database.engine, what, target, &mut times, Measured::default()));
    }
    Ok(())
}
