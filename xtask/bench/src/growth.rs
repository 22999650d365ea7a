//! Every read on the large database against the same read on a small one of the same kind.

use anyhow::{Result, ensure};

use crate::bench::{Bench, Data, get, key};
use crate::client::{Client, block_on};
use crate::data::{INTEGRATIONS, Size, session};
use crate::figure::{Figure, Measured, Target};
use crate::reads::{person, spread};
use crate::server::{Database, Engine};
use crate::times::{both_percentiles, milliseconds, now, percentile};

/// Requests of each kind, unless they take too long.
const MOST: usize = 150;
const FEWEST: usize = 5;
/// Of one kind, on both databases.
const LONGEST_MS: f64 = 2000.0;
/// Requests that only warm up, unless they take too long.
const WARM: usize = 10;
const WARM_MS: f64 = 500.0;

/// Requests of one kind: for each database the headers of who asks, and paths over all of its data.
struct Read {
    what: &'static str,
    caller: fn(&Database) -> String,
    paths: fn(Size) -> Vec<String>,
}

fn program(database: &Database) -> String {
    key(&database.key)
}

fn one_bot(database: &Database) -> String {
    key(&database.bot_key)
}

fn ids(count: i64, path: impl Fn(i64) -> String) -> Vec<String> {
    spread(count).take(100).map(path).collect()
}

fn conversations(query: &str) -> Vec<String> {
    vec![format!("/api/conversation?{query}")]
}

/// Those of conversations that a visitor opened.
fn visitors(size: Size) -> impl Iterator<Item = i64> {
    spread(size.conversations / 9)
        .take(100)
        .map(|id| id * 9)
        .filter(move |id| *id != size.long_conversation())
}

const READS: &[Read] = &[
    Read { what: "list, program", caller: program, paths: |_| conversations("page=1") },
    Read { what: "list, person", caller: person, paths: |_| conversations("page=1") },
    Read {
        what: "list before an id, program",
        caller: program,
        paths: |size| ids(size.conversations, |id| format!("/api/conversation?before={id}")),
    },
    Read {
        what: "list after an id, person",
        caller: person,
        paths: |size| ids(size.conversations, |id| format!("/api/conversation?after={id}")),
    },
    Read { what: "list of a bot, program", caller: program, paths: |_| conversations("botId=stream") },
    Read { what: "list of a bot, person", caller: person, paths: |_| conversations("botId=stream") },
    Read {
        what: "list of a bot, its middle page, person",
        caller: person,
        paths: |size| conversations(&format!("botId=stream&page={}", size.conversations / 60)),
    },
    Read { what: "list of an integration, program", caller: program, paths: |_| integrations() },
    Read { what: "list of an integration, person", caller: person, paths: |_| integrations() },
    Read {
        what: "list of an integration, its middle page, person",
        caller: person,
        paths: |size| conversations(&format!("integrationType=telegram&page={}", size.conversations / 60)),
    },
    Read { what: "list of a user, program", caller: program, paths: users },
    Read { what: "list of a user, person", caller: person, paths: users },
    Read { what: "list of a room of its own, program", caller: program, paths: own_rooms },
    Read { what: "list of a shared room, person", caller: person, paths: shared_rooms },
    Read { what: "list of one bot's key", caller: one_bot, paths: |_| conversations("page=1") },
    Read {
        what: "list of one bot's key, its middle page",
        caller: one_bot,
        paths: |size| conversations(&format!("page={}", size.conversations / 60)),
    },
    Read {
        what: "detail, program",
        caller: program,
        paths: |size| ids(size.conversations, |id| format!("/api/conversation/{id}")),
    },
    Read {
        what: "detail, person",
        caller: person,
        paths: |size| ids(size.conversations, |id| format!("/api/conversation/{id}")),
    },
    Read { what: "messages", caller: program, paths: |_| vec!["/api/message".to_owned()] },
    Read {
        what: "messages, newest first",
        caller: program,
        paths: |_| vec!["/api/message?order=desc".to_owned()],
    },
    Read {
        what: "messages, the middle page",
        caller: program,
        paths: |size| vec![format!("/api/message?page={}", size.all_messages() / 20)],
    },
    Read { what: "messages of one bot's key", caller: one_bot, paths: |_| vec!["/api/message".to_owned()] },
    Read {
        what: "messages of one bot's key, the middle page",
        caller: one_bot,
        paths: |size| vec![format!("/api/message?page={}", size.all_messages() / 60)],
    },
    Read {
        what: "messages of a conversation",
        caller: program,
        paths: |size| ids(size.conversations, |id| format!("/api/message?conversationId={id}")),
    },
    Read {
        what: "message",
        caller: program,
        paths: |size| ids(size.all_messages(), |id| format!("/api/message/{id}")),
    },
    Read {
        what: "messages of a session, visitor",
        caller: |_| String::new(),
        paths: |size| visitors(size).map(|id| format!("/api/questions/{}", session(id))).collect(),
    },
];

fn integrations() -> Vec<String> {
    INTEGRATIONS
        .iter()
        .map(|integration| format!("/api/conversation?integrationType={integration}"))
        .collect()
}

fn users(size: Size) -> Vec<String> {
    ids(size.users(), |id| format!("/api/conversation?userId=user-{}", id - 1))
}

fn shared_rooms(size: Size) -> Vec<String> {
    ids(size.shared_rooms(), |id| format!("/api/conversation?room=room-{}", id - 1))
}

fn own_rooms(size: Size) -> Vec<String> {
    visitors(size)
        .filter(|id| id % 10 != 0)
        .map(|id| format!("/api/conversation?room=website-{id}"))
        .collect()
}

pub fn reads(bench: &mut Bench, engine: Engine) -> Result<()> {
    let (small, large) = (bench.database(engine, Data::Tenth)?, bench.database(engine, Data::Large)?);
    let (small_server, large_server) = (bench.start(&small)?, bench.start(&large)?);
    for read in READS {
        let requests = |database: &Database| -> Vec<String> {
            (read.paths)(database.size).iter().map(|path| get(path, &(read.caller)(database))).collect()
        };
        let (small_requests, large_requests) = (requests(&small), requests(&large));
        let pairs = alternate((small_server.port, &small_requests), (large_server.port, &large_requests));
        let ((mut before, mut after), load) =
            bench.watch(&large_server, || block_on(pairs), |(times, _)| times.len() as u64)?;
        let (p50, p99) = both_percentiles(&mut after);
        let small_p50 = percentile(&mut before, 0.5);
        bench.figures.push(Figure {
            benchmark: "reads",
            what: read.what.to_owned(),
            engine,
            value: percentile(&mut after, 0.5) / small_p50,
            unit: "× small",
            target: Target::AtMost(1.5),
            // Of the processors, the other server has its part too.
            load: Measured { p50, p99, cost: None, ..load },
            reference: None,
            turns: Vec::new(),
            details: vec![("small p50", small_p50, "ms")],
        });
    }
    small_server.stop()?;
    large_server.stop()
}

/// The times of requests to two servers in turn, so that a noisy machine harms both alike.
async fn alternate(
    (small_port, small): (u16, &[String]),
    (large_port, large): (u16, &[String]),
) -> Result<(Vec<f64>, Vec<f64>)> {
    let mut clients = [Client::connect(small_port).await?, Client::connect(large_port).await?];
    let mut times = [Vec::new(), Vec::new()];
    let started = now();
    let elapsed = || milliseconds(now() - started);
    let mut place = 0;
    while times[0].len() < FEWEST || times[0].len() < MOST && elapsed() < LONGEST_MS {
        let warm = place >= WARM || place > 0 && elapsed() > WARM_MS;
        for (index, requests) in [small, large].into_iter().enumerate() {
            let request = &requests[place % requests.len()];
            let asked = now();
            let answer = clients[index].ask(request).await?;
            if warm {
                times[index].push(milliseconds(now() - asked));
            }
            ensure!(answer.status == 200, "{request}{}", answer.head);
            // A page of nothing would be quick.
            ensure!(answer.body.windows(4).any(|word| word == b"\"id\""), "nothing came: {request}");
        }
        place += 1;
    }
    let [small, large] = times;
    Ok((small, large))
}
