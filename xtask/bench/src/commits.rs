//! **P**, the rate at which PostgreSQL itself commits rows like messages, and loads that are held against it.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::bench::{Bench, TURN};
use crate::figure::Measured;
use crate::folder::run;
use crate::server::Server;
use crate::times::{extremes, median};
use crate::wrk::Load;

/// Clients of the pgbench that loads are held against.
pub const CLIENTS: usize = 16;
/// Clients of the pgbench that is shown beside it: as many as most loads have connections.
const MANY_CLIENTS: usize = 64;
/// A turn whose ratio is further from the median than this part of it makes the measurement one to repeat.
const WIDEST: f64 = 0.2;

/// Alternations of pgbench and a load.
#[derive(Debug)]
pub struct Alternations {
    pub load: Measured,
    pub reference: Measured,
    /// The load's rate against pgbench's in each alternation.
    pub ratios: Vec<f64>,
    /// The median of the same against pgbench with [`MANY_CLIENTS`].
    pub ratio_to_many: f64,
    /// Processor time in each turn of the load, in microseconds a request.
    pub server_microseconds: Vec<f64>,
    pub database_microseconds: Vec<f64>,
    /// The median of PostgreSQL's for a transaction of pgbench, in microseconds.
    pub commit_microseconds: f64,
    /// The ratios of the measurement that this one repeats.
    pub repeats: Option<Vec<f64>>,
}

impl Alternations {
    fn are_wide(&self) -> bool {
        let middle = median(&self.ratios);
        self.ratios.iter().any(|ratio| (ratio / middle - 1.0).abs() > WIDEST)
    }

    /// What a row shows beside the ratio.
    #[must_use]
    pub fn details(&self) -> Vec<(&'static str, f64, &'static str)> {
        let mut details = vec![("against 64 clients", self.ratio_to_many, "P")];
        if let Some(first) = &self.repeats {
            let (least, most) = extremes(first);
            details.push(("taken twice: first", median(first), "P"));
            details.push(("its least", least, "P"));
            details.push(("its most", most, "P"));
        }
        details
    }
}

impl Bench {
    /// Makes the table for rows like messages, which pgbench inserts at [`Bench::commits`], and warms up after a
    /// checkpoint. `port` is PostgreSQL's, or that of a proxy before it.
    pub fn commits_prepare(&self, port: u16) -> Result<()> {
        const TABLE: &str = include_str!("../reference.sql");
        self.place.sql("reference", TABLE)?;
        self.checkpoint()?;
        if self.scale.warm.is_zero() { Ok(()) } else { self.commits(port, CLIENTS).map(drop) }
    }

    /// Transactions a second of one row each, in one turn.
    pub fn commits(&self, port: u16, clients: usize) -> Result<f64> {
        let said = self.pgbench(port, TURN, &["--client", &clients.to_string(), "--jobs", "2"])?;
        let tps = said.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
        tps.with_context(|| format!("pgbench said {said}"))
    }

    /// One client's commits, each in milliseconds.
    pub fn commit_times(&self, port: u16) -> Result<Vec<f64>> {
        let folder = self.place.folder.folder("pgbench")?;
        let prefix = folder.join("times");
        let log = ["--log", "--log-prefix"].map(str::to_owned);
        let prefix = prefix.to_str().context("the temporary folder's name is no text")?;
        self.commits_prepare(port)?;
        self.pgbench(port, self.scale.load, &["--client", "1", &log[0], &log[1], prefix])?;
        let mut times = Vec::new();
        for entry in fs::read_dir(&folder)?.flatten() {
            for line in fs::read_to_string(entry.path())?.lines() {
                let time = line.split(' ').nth(2).and_then(|time| time.parse::<f64>().ok());
                times.push(time.context("pgbench's log is not as expected")? / 1000.0);
            }
        }
        Ok(times)
    }

    fn pgbench(&self, port: u16, duration: Duration, arguments: &[&str]) -> Result<String> {
        const INSERT: &str = include_str!("../insert.sql");
        let script = self.place.folder.write("insert.sql", INSERT)?;
        let mut pgbench = Command::new(&self.place.pgbench);
        pgbench.args(["--no-vacuum", "--protocol", "prepared"]).args(arguments);
        pgbench.args(["--time", &duration.as_secs().to_string()]).arg("--file").arg(&script);
        run(pgbench.arg(self.place.cluster.url_at(port, "reference")))
    }

    /// Gives every load on PostgreSQL the same amount of writing left to do.
    pub fn checkpoint(&self) -> Result<()> {
        self.place.sql("postgres", "CHECKPOINT").map(drop)
    }

    /// Holds a load that writes against P, both over `port`. Where the ratios differ too much it is done once more, and
    /// the second measurement counts.
    pub fn against_commits(
        &self,
        server: &Server,
        load: &Load<'_>,
        connections: usize,
        port: u16,
    ) -> Result<Alternations> {
        self.warm(load, connections)?;
        let first = self.alternate(server, load, connections, port)?;
        if !first.are_wide() {
            return Ok(first);
        }
        let mut second = self.alternate(server, load, connections, port)?;
        second.load.errors += first.load.errors;
        Ok(Alternations { repeats: Some(first.ratios), ..second })
    }

    fn alternate(
        &self,
        server: &Server,
        load: &Load<'_>,
        connections: usize,
        port: u16,
    ) -> Result<Alternations> {
        self.commits_prepare(port)?;
        let (mut loads, mut references) = (Vec::new(), Vec::new());
        let (mut ratios, mut ratios_to_many, mut commit_microseconds) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.scale.alternations {
            let run = || self.commits(port, CLIENTS);
            let (commits, watched) = self.watch(server, run, |rate| (rate * TURN.as_secs_f64()) as u64)?;
            let turn = self.piece(server, load, connections, TURN)?;
            let many_commits = self.commits(port, MANY_CLIENTS)?;
            let rate = turn.rate.context("a load has a rate")?;
            ratios.push(rate / commits);
            ratios_to_many.push(rate / many_commits);
            commit_microseconds.extend(watched.cost.map(|cost| cost.database_microseconds));
            references.push(Measured { rate: Some(commits), ..Measured::default() });
            loads.push(turn);
        }
        let costs = || loads.iter().filter_map(|turn| turn.cost);
        Ok(Alternations {
            ratios,
            ratio_to_many: median(&ratios_to_many),
            server_microseconds: costs().map(|cost| cost.server_microseconds).collect(),
            database_microseconds: costs().map(|cost| cost.database_microseconds).collect(),
            commit_microseconds: median(&commit_microseconds),
            repeats: None,
            reference: Measured::of(&references),
            load: Measured::of(&loads),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_turn_far_from_the_median_makes_a_measurement_one_to_repeat() {
        let are_wide = |ratios: &[f64]| {
            let alternations = Alternations {
                load: Measured::default(),
                reference: Measured::default(),
                ratios: ratios.to_vec(),
                ratio_to_many: 0.0,
                server_microseconds: Vec::new(),
                database_microseconds: Vec::new(),
                commit_microseconds: 0.0,
                repeats: None,
            };
            alternations.are_wide()
        };
        assert!(!are_wide(&[1.0, 0.81, 1.19]));
        assert!(are_wide(&[1.0, 0.79, 1.0]) && are_wide(&[1.0, 1.0, 1.21]));
    }
}
