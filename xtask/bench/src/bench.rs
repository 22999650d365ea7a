//! A run: what it measures with, the references, and how a load is measured.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use xtask::bench_options::BenchOptions;

use crate::bots::{Bot, Kind};
use crate::data::Size;
use crate::figure::{Cost, Figure, Measured, Target};
use crate::process::{self, Usage};
use crate::server::{Database, Engine, Place, Server};
use crate::times::{median, now};
use crate::wrk::{Load, Order, Outcome};

/// Connections of a load, where nothing else is said.
pub const CONNECTIONS: usize = 64;
/// How long a load goes on before what it is held against has its turn, and that in turn.
pub const TURN: Duration = Duration::from_secs(1);

/// How long, how often and how much.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    pub rounds: usize,
    /// Before a load is measured.
    pub warm: Duration,
    pub load: Duration,
    /// Turns of a load and of pgbench, where a figure is held against P.
    pub alternations: usize,
    /// Of the five minutes beside a snapshot: how long each is, and how many there are.
    pub half_minute: Duration,
    pub half_minutes: usize,
    /// Streams of the feed at once.
    pub streams: usize,
    /// How long nothing happens on them.
    pub streams_idle: Duration,
    /// Events to all of them, one a second.
    pub events_to_all: usize,
    /// Events to one of them each, 50 a second.
    pub events_to_one: usize,
    /// What stands for 10,000 conversations, and for 1,000,000.
    pub small: i64,
    pub large: i64,
}

const FULL: Scale = Scale {
    rounds: 3,
    warm: Duration::from_secs(1),
    load: Duration::from_secs(3),
    alternations: 7,
    half_minute: Duration::from_secs(30),
    half_minutes: 10,
    streams: 10_000,
    streams_idle: Duration::from_secs(5 * 60),
    events_to_all: 30,
    events_to_one: 1000,
    small: 10_000,
    large: 1_000_000,
};

const QUICK: Scale = Scale {
    rounds: 1,
    warm: Duration::ZERO,
    load: Duration::from_secs(1),
    alternations: 1,
    half_minute: Duration::from_secs(1),
    half_minutes: 2,
    streams: 1000,
    streams_idle: Duration::from_secs(3),
    events_to_all: 3,
    events_to_one: 50,
    small: 2_000,
    large: 20_000,
};

/// What a database is filled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Data {
    /// To be written to; made anew in each round.
    Writes,
    /// 10,000 conversations of 2 messages.
    Small,
    /// 10,000 conversations as those of [`Data::Large`] are.
    Tenth,
    /// 1,000,000 conversations and 5,000,000 messages.
    Large,
}

#[derive(Debug)]
pub struct Bench {
    pub scale: Scale,
    pub place: Place,
    pub instant: Bot,
    pub streaming: Bot,
    databases: HashMap<(Engine, Data), Rc<Database>>,
    /// Everything measured so far.
    pub figures: Vec<Figure>,
    /// Where those of this round begin.
    pub round_start: usize,
}

impl Bench {
    pub fn new(options: &BenchOptions) -> Result<Self> {
        let instant = Bot::start(Kind::Instant)?;
        let streaming = Bot::start(Kind::Streaming)?;
        let place = Place::new(&instant, &streaming)?;
        place.sql("postgres", "CREATE DATABASE reference")?;
        Ok(Self {
            scale: if options.quick { QUICK } else { FULL },
            place,
            instant,
            streaming,
            databases: HashMap::new(),
            figures: Vec::new(),
            round_start: 0,
        })
    }

    /// A round starts with nothing of the one before but what it only reads.
    pub fn next_round(&mut self) {
        self.databases.retain(|(_, data), _| *data != Data::Writes);
        self.round_start = self.figures.len();
    }

    /// A database that is filled when it is first asked for.
    pub fn database(&mut self, engine: Engine, data: Data) -> Result<Rc<Database>> {
        if let Some(database) = self.databases.get(&(engine, data)) {
            return Ok(Rc::clone(database));
        }
        let Scale { small, large, .. } = self.scale;
        let (name, size) = match data {
            Data::Writes => ("writes", Size { conversations: 1000, messages: 2, long: 2 }),
            Data::Small => ("small", Size { conversations: small, messages: 2, long: 2000 }),
            Data::Tenth => ("tenth", Size { conversations: small, messages: 5, long: 2000 }),
            Data::Large => ("large", Size { conversations: large, messages: 5, long: 2000 }),
        };
        let started = now();
        let database = self.place.database(engine, name, size).context("a database cannot be filled")?;
        if data == Data::Large {
            let seconds = (now() - started).as_secs();
            eprintln!(
                "bench: filled {} conversations on {} in {seconds} s",
                size.conversations,
                engine.name()
            );
        }
        let database = Rc::new(database);
        self.databases.insert((engine, data), Rc::clone(&database));
        Ok(database)
    }

    pub fn start(&self, database: &Database) -> Result<Server> {
        database.start(&self.place.folder)
    }

    /// **H**: a load of the smallest request that there is.
    #[must_use]
    pub fn healthz(&self, server: &Server) -> Load<'_> {
        self.requests(server, &[get("/healthz", "")], Order::InTurn)
    }

    #[must_use]
    pub fn requests(&self, server: &Server, requests: &[String], order: Order) -> Load<'_> {
        Load::new(&self.place.folder, server.url(), requests, order)
    }

    /// Notes what others are held against.
    pub fn reference(&mut self, what: &str, engine: Engine, load: Measured) -> Result<()> {
        self.figures.push(Figure {
            benchmark: "reference",
            what: what.to_owned(),
            engine,
            value: load.rate.context("a reference has a rate")?,
            unit: "/s",
            target: Target::None,
            load,
            reference: None,
            turns: Vec::new(),
            details: Vec::new(),
        });
        Ok(())
    }

    /// Before a load is measured.
    pub fn warm(&self, load: &Load<'_>, connections: usize) -> Result<()> {
        if self.scale.warm.is_zero() { Ok(()) } else { load.run(connections, self.scale.warm).map(drop) }
    }

    /// Puts a server under a closed-loop load.
    pub fn load(&self, server: &Server, load: &Load<'_>, connections: usize) -> Result<Measured> {
        self.warm(load, connections)?;
        self.piece(server, load, connections, self.scale.load)
    }

    /// A load, what it is held against, and how they compare. They go on in turn: a machine that changes its speed from
    /// one second to the next harms both alike.
    pub fn load_against(
        &self,
        server: &Server,
        load: &Load<'_>,
        against: impl Fn() -> Result<Measured>,
    ) -> Result<(Measured, Measured, f64)> {
        let (mut pieces, mut others, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.scale.load.as_secs() {
            let (other, piece) = (against()?, self.turn(server, load)?);
            let (rate, of) = piece.rate.zip(other.rate).context("a load has a rate")?;
            ratios.push(rate / of);
            others.push(other);
            pieces.push(piece);
        }
        Ok((Measured::of(&pieces), Measured::of(&others), median(&ratios)))
    }

    /// One turn of a load.
    pub fn turn(&self, server: &Server, load: &Load<'_>) -> Result<Measured> {
        self.piece(server, load, CONNECTIONS, TURN)
    }

    /// A load of this length, without a warm-up.
    pub fn piece(
        &self,
        server: &Server,
        load: &Load<'_>,
        connections: usize,
        duration: Duration,
    ) -> Result<Measured> {
        let run = || load.run(connections, duration);
        let (outcome, mut measured) = self.watch(server, run, |outcome: &Outcome| outcome.requests)?;
        measured.rate = Some(outcome.rate());
        measured.p50 = Some(outcome.p50);
        measured.p99 = Some(outcome.p99);
        measured.errors = outcome.errors;
        Ok(measured)
    }

    /// Runs something and notes what it cost the processors and the server's memory.
    pub fn watch<T>(
        &self,
        server: &Server,
        run: impl FnOnce() -> Result<T>,
        requests: impl FnOnce(&T) -> u64,
    ) -> Result<(T, Measured)> {
        process::memory_peak_reset(server.id())?;
        let (started, before) = (Instant::now(), self.usage(server)?);
        let done = run()?;
        let (elapsed, used) = (started.elapsed(), self.usage(server)?.since(before));
        let measured = Measured {
            cost: Some(Cost::new(used, elapsed, requests(&done))),
            memory: Some(process::memory_peak(server.id())?),
            ..Measured::default()
        };
        Ok((done, measured))
    }

    fn usage(&self, server: &Server) -> Result<Usage> {
        let bot = process::used(&self.instant.thread)? + process::used(&self.streaming.thread)?;
        let children_gone = process::used_with_children(std::process::id())?;
        let database = process::used_with_children(self.place.cluster.process_id()?)?;
        let server = process::used(&server.id().to_string())?;
        // The server is a child of this process, and the bots are threads of it.
        let generator = children_gone.saturating_sub(server).saturating_sub(bot);
        Ok(Usage { server, database, generator, bot })
    }
}

/// A request without a body, with these further header lines.
#[must_use]
pub fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: bench\r\n{headers}\r\n")
}

/// A request with a JSON body.
#[must_use]
pub fn post(path: &str, headers: &str, body: &str) -> String {
    let mut request = format!("POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n");
    let _ = write!(request, "{headers}Content-Length: {}\r\n\r\n{body}", body.len());
    request
}

/// The header line of a program.
#[must_use]
pub fn key(key: &str) -> String {
    format!("X-API-Key: {key}\r\n")
}
