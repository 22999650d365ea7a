//! What a round measures, and what several rounds come to.

use std::time::Duration;

use crate::process::Usage;
use crate::server::Engine;
use crate::times::{extremes, mean, median};

/// What a figure is held against.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    AtLeast(f64),
    AtMost(f64),
    /// It is there to be read beside the others.
    None,
}

/// One figure of one round.
#[derive(Debug, Clone)]
pub struct Figure {
    /// The name by which `--only` asks for it, or what is measured along with that.
    pub benchmark: &'static str,
    pub what: String,
    pub engine: Engine,
    pub value: f64,
    pub unit: &'static str,
    pub target: Target,
    pub load: Measured,
    /// Requests or transactions a second, of which the value is a multiple.
    pub reference: Option<f64>,
    /// What single turns came to, where the value is their median and taken in one round.
    pub turns: Vec<f64>,
    /// What else was seen, with its unit.
    pub details: Vec<(&'static str, f64, &'static str)>,
}

/// What a load showed besides.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    /// Requests a second.
    pub rate: Option<f64>,
    /// Milliseconds.
    pub p50: Option<f64>,
    pub p99: Option<f64>,
    pub errors: u64,
    pub cost: Option<Cost>,
    /// The most that the server had, in MB.
    pub memory: Option<f64>,
}

impl Measured {
    /// What pieces of a load come to that took equally long.
    #[must_use]
    pub fn of(pieces: &[Self]) -> Self {
        let values = |of: fn(&Self) -> Option<f64>| pieces.iter().filter_map(of).collect::<Vec<_>>();
        let middle = |of| Some(median(&values(of))).filter(|middle| !middle.is_nan());
        let costs: Vec<_> = pieces.iter().filter_map(|piece| piece.cost).collect();
        let cost = |of: fn(&Cost) -> f64| mean(&costs.iter().map(of).collect::<Vec<_>>());
        Self {
            rate: Some(mean(&values(|piece| piece.rate))),
            p50: middle(|piece| piece.p50),
            p99: middle(|piece| piece.p99),
            errors: pieces.iter().map(|piece| piece.errors).sum(),
            cost: (!costs.is_empty()).then(|| Cost {
                server: cost(|cost| cost.server),
                database: cost(|cost| cost.database),
                generator: cost(|cost| cost.generator),
                bot: cost(|cost| cost.bot),
                server_microseconds: cost(|cost| cost.server_microseconds),
                database_microseconds: cost(|cost| cost.database_microseconds),
            }),
            memory: values(|piece| piece.memory).into_iter().reduce(f64::max),
        }
    }
}

/// Who used how much of the processors, in percent of one of them, and the time for a request.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    pub server: f64,
    pub database: f64,
    pub generator: f64,
    pub bot: f64,
    pub server_microseconds: f64,
    pub database_microseconds: f64,
}

impl Cost {
    #[must_use]
    pub fn new(used: Usage, elapsed: Duration, requests: u64) -> Self {
        let percent = |time: Duration| 100.0 * time.as_secs_f64() / elapsed.as_secs_f64();
        let microseconds = |time: Duration| time.as_secs_f64() * 1e6 / requests.max(1) as f64;
        Self {
            server: percent(used.server),
            database: percent(used.database),
            generator: percent(used.generator),
            bot: percent(used.bot),
            server_microseconds: microseconds(used.server),
            database_microseconds: microseconds(used.database),
        }
    }
}

/// One figure of all rounds.
#[derive(Debug)]
pub struct Row {
    pub benchmark: &'static str,
    pub what: String,
    pub engine: Engine,
    pub unit: &'static str,
    pub target: Target,
    pub rounds: Vec<Figure>,
}

impl Row {
    /// Gathers the figures of all rounds, in the order in which they first came.
    #[must_use]
    pub fn gather(figures: Vec<Figure>) -> Vec<Self> {
        let mut rows: Vec<Self> = Vec::new();
        for figure in figures {
            let same = |row: &&mut Self| {
                (row.benchmark, &row.what, row.engine) == (figure.benchmark, &figure.what, figure.engine)
            };
            match rows.iter_mut().find(same) {
                Some(row) => row.rounds.push(figure),
                None => rows.push(Self {
                    benchmark: figure.benchmark,
                    what: figure.what.clone(),
                    engine: figure.engine,
                    unit: figure.unit,
                    target: figure.target,
                    rounds: vec![figure],
                }),
            }
        }
        rows
    }

    /// The median of what the rounds say; `None` where they say nothing.
    #[must_use]
    pub fn median(&self, of: impl Fn(&Figure) -> Option<f64>) -> Option<f64> {
        let values: Vec<f64> = self.rounds.iter().filter_map(of).collect();
        (!values.is_empty()).then(|| median(&values))
    }

    #[must_use]
    pub fn value(&self) -> f64 {
        self.median(|figure| Some(figure.value)).unwrap_or(f64::NAN)
    }

    /// The smallest and the largest value of the rounds, or of the turns of the one round.
    #[must_use]
    pub fn spread(&self) -> (f64, f64) {
        let turns: Vec<f64> = self.rounds.iter().flat_map(|figure| figure.turns.iter().copied()).collect();
        if turns.is_empty() {
            return extremes(&self.rounds.iter().map(|figure| figure.value).collect::<Vec<_>>());
        }
        extremes(&turns)
    }

    #[must_use]
    pub fn errors(&self) -> u64 {
        self.rounds.iter().map(|figure| figure.load.errors).sum()
    }

    /// How well it meets its target: 1 where it just does, 2 where it is twice as good.
    #[must_use]
    pub fn score(&self) -> Option<f64> {
        match self.target {
            Target::AtLeast(least) => Some(self.value() / least),
            // What cannot be told from nothing is not infinitely good.
            Target::AtMost(most) => Some((most / self.value().max(most / 100.0)).min(100.0)),
            Target::None => None,
        }
    }

    #[must_use]
    pub fn met(&self) -> Option<bool> {
        match self.target {
            Target::AtLeast(least) => Some(self.value() >= least),
            Target::AtMost(most) => Some(self.value() <= most),
            Target::None => None,
        }
    }
}
