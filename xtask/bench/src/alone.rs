//! A server that has little to do: the time that it adds to one question, its start, its memory.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::sleep;

use crate::bench::{Bench, Data, post};
use crate::client::block_on;
use crate::figure::{Figure, Measured, Target};
use crate::open_loop::open_loop;
use crate::process;
use crate::server::Engine;
use crate::times::{both_percentiles, median, milliseconds, percentile};
use crate::writes::{QUESTION, question_in_new_session};

/// Between two questions of one client: 50 a second, so that the server is at rest before each.
const PERIOD: Duration = Duration::from_millis(20);
const WARM: usize = 50;

/// Questions through the server and to the bot itself, each at its rate, in turn.
pub fn added_time(bench: &mut Bench, engine: Engine) -> Result<()> {
    let most = match engine {
        Engine::Postgres => 1.8,
        Engine::Sqlite => 1.2,
    };
    let questions = if bench.scale.rounds > 1 { 500 } else { 50 };
    let database = bench.database(engine, Data::Writes)?;
    let server = bench.start(&database)?;
    let asked = question_in_new_session();
    let session = crate::data::session(1);
    let direct = post("/ask", "", &format!(r#"{{"question": "{QUESTION}", "session_id": "{session}"}}"#));
    let (server_port, bot_port) = (server.port, bench.instant.port);
    let ask = async {
        let direct = tokio::spawn(async move {
            sleep(PERIOD / 2).await;
            open_loop(bot_port, PERIOD, WARM + questions, |_| direct.clone()).await
        });
        let through = open_loop(server_port, PERIOD, WARM + questions, |_| asked.clone()).await?;
        let warm = |times: Vec<f64>| times[WARM..].to_vec();
        Ok((warm(through), warm(direct.await.context("the bot's questions")??)))
    };
    let ((mut through, mut direct), load) =
        bench.watch(&server, || block_on(ask), |_| (WARM + questions) as u64)?;
    server.stop()?;
    let (p50, p99) = both_percentiles(&mut through);
    let direct = percentile(&mut direct, 0.5);
    let mut details = vec![("the bot itself", direct, "ms")];
    if engine == Engine::Postgres {
        let commit = median(&bench.commit_times(bench.place.cluster.port())?);
        details.push(("two commits", 2.0 * commit, "ms"));
    }
    bench.figures.push(Figure {
        benchmark: "added-time",
        what: "time added to a question, one client, 50 times a second".to_owned(),
        engine,
        value: percentile(&mut through, 0.5) - direct,
        unit: "ms",
        target: Target::AtMost(most),
        load: Measured { p50, p99, ..load },
        reference: None,
        turns: Vec::new(),
        details,
    });
    Ok(())
}

pub fn start(bench: &mut Bench, engine: Engine) -> Result<()> {
    const STARTS: usize = 5;
    let database = bench.database(engine, Data::Large)?;
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let server = bench.start(&database)?;
        times.push(milliseconds(server.start));
        server.stop()?;
    }
    let (p50, p99) = both_percentiles(&mut times);
    bench.figures.push(Figure {
        benchmark: "start",
        what: format!("start to the first 200, {} conversations", database.size.conversations),
        engine,
        value: percentile(&mut times, 0.5),
        unit: "ms",
        target: if engine == Engine::Sqlite { Target::AtMost(150.0) } else { Target::None },
        load: Measured { p50, p99, ..Measured::default() },
        reference: None,
        turns: Vec::new(),
        details: Vec::new(),
    });
    Ok(())
}

/// Of a server that has just started, and the most of those that were under a load in this round.
#[expect(clippy::disallowed_methods, reason = "nobody waits for this thread")]
pub fn memory(bench: &mut Bench, engine: Engine) -> Result<()> {
    const IDLE: Duration = Duration::from_secs(2);
    let database = bench.database(engine, Data::Small)?;
    let server = bench.start(&database)?;
    std::thread::sleep(IDLE);
    let idle = process::memory_now(server.id())?;
    server.stop()?;
    let loads = bench.figures[bench.round_start..].iter().filter(|figure| figure.engine == engine);
    let most = loads.filter_map(|figure| figure.load.memory).max_by(f64::total_cmp);
    let figure = |what: &str, value, most| Figure {
        benchmark: "memory",
        what: what.to_owned(),
        engine,
        value,
        unit: "MB",
        target: Target::AtMost(most),
        load: Measured { memory: Some(value), ..Measured::default() },
        reference: None,
        turns: Vec::new(),
        details: Vec::new(),
    };
    bench.figures.push(figure("memory, idle", idle, 30.0));
    // Where only this was asked for, there were no loads.
    bench.figures.extend(most.map(|most| figure("memory, the most under a load above", most, 150.0)));
    Ok(())
}
