//! A server that has little to do: the time that it adds to one question, its start, its memory.

use anyhow::{Result, ensure};
use std::time::Duration;

use crate::bench::{Bench, Data, post};
use crate::client::{Client, block_on};
use crate::figure::{Figure, Measured, Target};
use crate::process;
use crate::server::Engine;
use crate::times::{both_percentiles, milliseconds, now, percentile};
use crate::writes::{QUESTION, question_in_new_session};

/// Questions asked one after the other.
const QUESTIONS: usize = 500;
const WARM: usize = 50;

/// Each question through the server next to one to the bot itself.
pub fn added_time(bench: &mut Bench, engine: Engine) -> Result<()> {
    let database = bench.database(engine, Data::Writes)?;
    let server = bench.start(&database)?;
    let asked = question_in_new_session();
    let session = crate::data::session(1);
    let direct = post("/ask", "", &format!(r#"{{"question": "{QUESTION}", "session_id": "{session}"}}"#));
    let (server_port, bot_port) = (server.port, bench.instant.port);
    let ask = async {
        let mut clients = [Client::connect(server_port).await?, Client::connect(bot_port).await?];
        let mut times = [Vec::new(), Vec::new()];
        for place in 0..WARM + QUESTIONS {
            for (index, request) in [&asked, &direct].into_iter().enumerate() {
                let sent = now();
                let answer = clients[index].ask(request).await?;
                ensure!(answer.status == 200, "{request}\n{}", answer.head);
                if place >= WARM {
                    times[index].push(milliseconds(now() - sent));
                }
            }
        }
        Ok(times)
    };
    let ([mut through, mut direct], load) = bench.watch(&server, || block_on(ask), |_| QUESTIONS as u64)?;
    server.stop()?;
    let mut commits = bench.commit_times(bench.place.cluster.port())?;
    let (p50, p99) = both_percentiles(&mut through);
    let (direct, commit) = (percentile(&mut direct, 0.5), percentile(&mut commits, 0.5));
    let added = percentile(&mut through, 0.5) - direct;
    bench.figures.push(Figure {
        benchmark: "added-time",
        what: "time added to a question, less 2 commits, one client".to_owned(),
        engine,
        value: added - 2.0 * commit,
        unit: "ms",
        target: Target::AtMost(0.5),
        load: Measured { p50, p99, ..load },
        reference: None,
        turns: Vec::new(),
        details: vec![("added", added, "ms"), ("commit", commit, "ms"), ("the bot itself", direct, "ms")],
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
