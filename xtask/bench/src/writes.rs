//! What stores something.

use anyhow::Result;

use crate::bench::{Bench, CONNECTIONS, Data, key, post};
use crate::figure::{Figure, Measured, Target};
use crate::server::Engine;
use crate::wrk::Order;

/// As long as what pgbench inserts.
pub const QUESTION: &str = "When is the office open, and what has to be brought along?";

/// Messages for random conversations.
fn messages(conversations: i64, api_key: &str) -> Vec<String> {
    let body =
        |id| format!(r#"{{"conversationId":"{id}","message":"{QUESTION}","type":"text","role":"client"}}"#);
    (1..=conversations).map(|id| post("/api/message", &key(api_key), &body(id))).collect()
}

pub fn message(bench: &mut Bench, engine: Engine) -> Result<()> {
    let least = match engine {
        Engine::Postgres => 1.6,
        Engine::Sqlite => 1.2,
    };
    let database = bench.database(engine, Data::Writes)?;
    let requests = messages(database.size.conversations, &database.key);
    measure(bench, engine, ("message", "POST /api/message"), &requests, Target::AtLeast(least))
}

pub fn question_in_new_session() -> String {
    post("/api/questions", "", &format!(r#"{{"message":"{QUESTION}"}}"#))
}

pub fn questions_new(bench: &mut Bench, engine: Engine) -> Result<()> {
    let request = question_in_new_session();
    let what = ("questions-new", "POST /api/questions, new session each");
    measure(bench, engine, what, &[request], questions_target(engine))
}

pub fn questions_session(bench: &mut Bench, engine: Engine) -> Result<()> {
    let database = bench.database(engine, Data::Writes)?;
    let body = |session| format!(r#"{{"message":"{QUESTION}","session_id":"{session}"}}"#);
    let sessions = database.size.sessions().take(CONNECTIONS);
    let requests: Vec<_> = sessions.map(|session| post("/api/questions", "", &body(session))).collect();
    let what = ("questions-session", "POST /api/questions, one session per connection");
    measure(bench, engine, what, &requests, questions_target(engine))
}

fn questions_target(engine: Engine) -> Target {
    match engine {
        Engine::Postgres => Target::AtLeast(0.7),
        Engine::Sqlite => Target::None,
    }
}

fn measure(
    bench: &mut Bench,
    engine: Engine,
    (benchmark, what): (&'static str, &str),
    requests: &[String],
    target: Target,
) -> Result<()> {
    let database = bench.database(engine, Data::Writes)?;
    let server = bench.start(&database)?;
    // In turn, since of 64 sessions the one whose answer came first is then the one that is asked in next.
    let order = if requests.len() > CONNECTIONS { Order::Random } else { Order::InTurn };
    let load = bench.requests(&server, requests, order);
    bench.warm(&load, CONNECTIONS)?;
    bench.commits_prepare()?;
    let commits = || Ok(Measured { rate: Some(bench.commits()?), ..Measured::default() });
    let (load, reference, value) = bench.load_against(&server, &load, commits)?;
    server.stop()?;
    bench.figures.push(Figure {
        benchmark,
        what: what.to_owned(),
        engine,
        value,
        unit: "P",
        target,
        load,
        reference: reference.rate,
        details: Vec::new(),
    });
    bench.reference("P: pgbench, one row inserted a transaction", Engine::Postgres, reference)
}
