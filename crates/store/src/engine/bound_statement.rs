//! A statement that is ready to be read, the lane that it takes, and the permit that it needs.

use std::borrow::Cow;

use tokio::sync::OwnedSemaphorePermit;
use wicara_metrics::GaugeGuard;

use super::Value;

/// Which reads share a queue and connections. Lanes keep slow reads from delaying quick ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Reads by key, of bounded cost. Refused when the lane is full.
    Quick,
    /// Quick reads for a response that has begun. Never refused: they wait for a permit of the quick lane, ahead of new
    /// reads, since refusing them would waste the work done for the response.
    Continuation,
    /// Lists, whose cost may grow with what is stored. Refused when the lane is full.
    Slow,
    /// Steps along an index, in its order: a bounded number of its entries. They share the slow lane's permits, and on
    /// PostgreSQL have a connection on which the planner can do nothing else.
    Walk,
}

/// A statement in the dialect of its database, with its parameters.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct BoundStatement {
    pub lane: Lane,
    pub text: Cow<'static, str>,
    /// Rows of parameters. SQLite runs the statement once for each; PostgreSQL gets exactly one row, of arrays where
    /// the statement is for many rows.
    pub rows: Vec<Vec<Value>>,
}

/// Held from before a read waits until the database has answered it, also where its caller leaves earlier: the permits
/// bound the work of the database.
pub struct ReadPermit {
    _permit: OwnedSemaphorePermit,
    _gauge: GaugeGuard,
}

impl ReadPermit {
    pub fn new(permit: OwnedSemaphorePermit, gauge: GaugeGuard) -> Self {
        Self { _permit: permit, _gauge: gauge }
    }
}
