//! What stores something.

use anyhow::Result;

use crate::bench::{Bench, CONNECTIONS, Data, key, post};
use crate::commits::Alternations;
use crate::figure::{Figure, Measured, Target};
use crate::proxy::Proxy;
use crate::server::Engine;
use crate::times::median;
use crate::wrk::Order;

/// As long as what pgbench inserts.
pub const QUESTION: &str = "When is the office open, and what has to be brought along?";

/// Connections of the load whose batches are small.
const FEW_CONNECTIONS: usize = 16;

/// Messages for random conversations.
pub fn messages(conversations: i64, api_key: &str) -> Vec<String> {
    let body =
        |id| format!(r#"{{"conversationId":"{id}","message":"{QUESTION}","type":"text","role":"client"}}"#);
    (1..=conversations).map(|id| post("/api/message", &key(api_key), &body(id))).collect()
}

pub fn message(bench: &mut Bench, engine: Engine) -> Result<()> {
    let least = match engine {
        Engine::Postgres => 1.0,
        Engine::Sqlite => 1.3,
    };
    let database = bench.database(engine, Data::Writes)?;
    let requests = messages(database.size.conversations, &database.key);
    let write = Write {
        benchmark: "message",
        what: "POST /api/message",
        requests: &requests,
        connections: CONNECTIONS,
        target: Target::AtLeast(least),
    };
    let alternations = write.measure(bench, engine, None)?;
    if engine == Engine::Postgres {
        let Alternations { server_microseconds, database_microseconds, commit_microseconds, .. } =
            alternations;
        for (of, most, turns) in
            [("the server", 50.0, server_microseconds), ("PostgreSQL", 40.0, database_microseconds)]
        {
            bench.figures.push(Figure {
                benchmark: "message",
                what: format!("POST /api/message, processor time of {of} for one"),
                engine,
                value: median(&turns),
                unit: "µs",
                target: Target::AtMost(most),
                load: Measured::default(),
                reference: None,
                turns,
                details: vec![("PostgreSQL for a transaction of P", commit_microseconds, "µs")],
            });
        }
    }
    Ok(())
}

/// Messages with a proxy between the server and PostgreSQL, against pgbench through the same proxy.
pub fn distant(bench: &mut Bench, engine: Engine) -> Result<()> {
    let proxy = Proxy::start(bench.place.cluster.port())?;
    let database = bench.database(engine, Data::Writes)?;
    let requests = messages(database.size.conversations, &database.key);
    let write = Write {
        benchmark: "distant",
        what: "POST /api/message, PostgreSQL 1 ms away",
        requests: &requests,
        connections: CONNECTIONS,
        target: Target::AtLeast(1.0),
    };
    write.measure(bench, engine, Some(proxy.port)).map(drop)
}

pub fn question_in_new_session() -> String {
    post("/api/questions", "", &format!(r#"{{"message":"{QUESTION}"}}"#))
}

pub fn questions_new(bench: &mut Bench, engine: Engine) -> Result<()> {
    let (least, least_of_few) = match engine {
        Engine::Postgres => (0.5, 0.3),
        Engine::Sqlite => (0.65, 0.45),
    };
    let request = question_in_new_session();
    for (what, connections, least) in [
        ("POST /api/questions, new session each", CONNECTIONS, least),
        ("POST /api/questions, new session each, 16 connections", FEW_CONNECTIONS, least_of_few),
    ] {
        let write = Write {
            benchmark: "questions-new",
            what,
            requests: std::slice::from_ref(&request),
            connections,
            target: Target::AtLeast(least),
        };
        write.measure(bench, engine, None)?;
    }
    Ok(())
}

pub fn questions_session(bench: &mut Bench, engine: Engine) -> Result<()> {
    let database = bench.database(engine, Data::Writes)?;
    let body = |session| format!(r#"{{"message":"{QUESTION}","session_id":"{session}"}}"#);
    let sessions = database.size.sessions().take(CONNECTIONS);
    let requests: Vec<_> = sessions.map(|session| post("/api/questions", "", &body(session))).collect();
    let write = Write {
        benchmark: "questions-session",
        what: "POST /api/questions, one session per connection",
        requests: &requests,
        connections: CONNECTIONS,
        target: Target::None,
    };
    write.measure(bench, engine, None).map(drop)
}

/// A load that is held against P.
struct Write<'a> {
    benchmark: &'static str,
    what: &'static str,
    requests: &'a [String],
    connections: usize,
    target: Target,
}

impl Write<'_> {
    /// Server and pgbench reach PostgreSQL through the proxy that listens at this port, if there is one.
    fn measure(&self, bench: &mut Bench, engine: Engine, proxy: Option<u16>) -> Result<Alternations> {
        let database = bench.database(engine, Data::Writes)?;
        let server = match proxy {
            Some(port) => {
                let store = bench.place.cluster.url_at(port, &database.name);
                database.start_with(&bench.place.folder, &store)?
            }
            None => bench.start(&database)?,
        };
        // In turn, since of 64 sessions the one whose answer came first is then the one that is asked in next.
        let order = if self.requests.len() > CONNECTIONS { Order::Random } else { Order::InTurn };
        let load = bench.requests(&server, self.requests, order);
        let port = proxy.unwrap_or_else(|| bench.place.cluster.port());
        let alternations = bench.against_commits(&server, &load, self.connections, port)?;
        server.stop()?;
        let mut details = alternations.details();
        if proxy.is_some() {
            for (what, port) in [("commit of one client", port), ("1 ms nearer", bench.place.cluster.port())]
            {
                details.push((what, median(&bench.commit_times(port)?), "ms"));
            }
        }
        let (unit, reference) = match proxy {
            Some(_) => ("P at 1 ms", "P at 1 ms: the same, PostgreSQL 1 ms away"),
            None => ("P", "P: pgbench, one row inserted a transaction"),
        };
        bench.figures.push(Figure {
            benchmark: self.benchmark,
            what: self.what.to_owned(),
            engine,
            value: median(&alternations.ratios),
            unit,
            target: self.target,
            load: alternations.load.clone(),
            reference: alternations.reference.rate,
            turns: alternations.ratios.clone(),
            details,
        });
        bench.reference(reference, Engine::Postgres, alternations.reference.clone())?;
        Ok(alternations)
    }
}
