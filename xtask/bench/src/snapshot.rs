//! Messages beside a transaction that keeps its snapshot open, as a backup or a report does: row versions that each
//! batch leaves behind cannot be removed until it ends.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::bench::{Bench, CONNECTIONS};
use crate::commits::CLIENTS;
use crate::data::Size;
use crate::figure::{Figure, Measured, Target};
use crate::folder::Note;
use crate::server::{Engine, Place};
use crate::times::{extremes, median};
use crate::writes::messages;
use crate::wrk::Order;

const DATABASE: &str = "snapshot";
/// The least that the second half minute after the snapshot may have of the first beside it: all, less the noise.
const RECOVERED: f64 = 0.9;

/// Another session's transaction; it ends when this is dropped.
struct Snapshot {
    psql: Child,
    _note: Note,
}

impl Snapshot {
    fn open(place: &Place) -> Result<Self> {
        const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM messages LIMIT 1;\n";
        let mut command = Command::new(&place.psql);
        command.args(["--no-psqlrc", "--quiet", "--no-align", "--tuples-only"]);
        command.args(["--dbname", &place.cluster.url(DATABASE)]);
        let mut psql = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let note = place.folder.note(&psql)?;
        psql.stdin.as_mut().context("psql has no input")?.write_all(BEGIN.as_bytes())?;
        let mut said = String::new();
        BufReader::new(psql.stdout.as_mut().context("psql has no output")?).read_line(&mut said)?;
        let snapshot = Self { psql, _note: note };
        ensure!(said == "1\n", "psql said {said:?}");
        Ok(snapshot)
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        drop(self.psql.stdin.take());
        let _ = self.psql.wait();
    }
}

/// A number of conversations that all messages go to.
struct Case {
    conversations: i64,
    /// The least that the last half minute may have of the first one's rate.
    least: f64,
    /// Whether the minute after the snapshot is measured too.
    recovers: bool,
}

pub fn snapshot(bench: &mut Bench, engine: Engine) -> Result<()> {
    beside_a_snapshot(bench, engine, &Case { conversations: 5000, least: 0.8, recovers: false })?;
    beside_a_snapshot(bench, engine, &Case { conversations: 200, least: 0.5, recovers: true })?;
    bench.place.sql("postgres", &format!("DROP DATABASE {DATABASE}")).map(drop)
}

fn beside_a_snapshot(bench: &mut Bench, engine: Engine, case: &Case) -> Result<()> {
    let Case { conversations, least, recovers } = *case;
    let database = bench.place.database(engine, DATABASE, Size { conversations, messages: 2, long: 2 })?;
    let server = bench.start(&database)?;
    let load = bench.requests(&server, &messages(conversations, &database.key), Order::Random);
    let before = bench.load(&server, &load, CONNECTIONS)?.rate.context("a load has a rate")?;
    let half_minutes = |count| -> Result<Vec<Measured>> {
        (0..count).map(|_| bench.piece(&server, &load, CONNECTIONS, bench.scale.half_minute)).collect()
    };
    let commits_before = commits(bench)?;
    let open = Snapshot::open(&bench.place)?;
    let beside = half_minutes(bench.scale.half_minutes)?;
    drop(open);
    let after = half_minutes(if recovers { 2 } else { 0 })?;
    let commits_after = commits(bench)?;
    server.stop()?;

    let rates = |pieces: &[Measured]| pieces.iter().filter_map(|piece| piece.rate).collect::<Vec<_>>();
    let rates_beside = rates(&beside);
    let first = *rates_beside.first().context("no load was measured")?;
    let (lowest, _) = extremes(&rates_beside);
    let figure = |what: &str, pieces: &[Measured], least, details| -> Result<Figure> {
        let load = pieces.last().context("no load was measured")?.clone();
        Ok(Figure {
            benchmark: "snapshot",
            what: format!("POST /api/message to {conversations} conversations, {what}"),
            engine,
            value: load.rate.context("a load has a rate")? / first,
            unit: "× its first half minute",
            target: Target::AtLeast(least),
            load,
            reference: Some(first),
            turns: Vec::new(),
            details,
        })
    };
    let mut details = vec![
        ("before the snapshot", before, "/s"),
        ("first half minute", first, "/s"),
        ("lowest", lowest, "/s"),
    ];
    details.extend([("P before", commits_before, "/s"), ("P after", commits_after, "/s")]);
    let mut figures = vec![figure("last half minute beside a snapshot", &beside, least, details)?];
    if recovers {
        let details = vec![
            ("first half minute after it", rates(&after)[0], "/s"),
            ("before the snapshot", before, "/s"),
        ];
        figures.push(figure("second half minute after the snapshot", &after, RECOVERED, details)?);
    }
    bench.figures.extend(figures);
    Ok(())
}

/// P beside the load, which tells whether the machine itself has changed its speed.
fn commits(bench: &Bench) -> Result<f64> {
    let port = bench.place.cluster.port();
    bench.commits_prepare(port)?;
    let turns = (0..bench.scale.load.as_secs()).map(|_| bench.commits(port, CLIENTS));
    Ok(median(&turns.collect::<Result<Vec<_>>>()?))
}
