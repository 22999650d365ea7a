//! What follows from commands beside their own rows. A transaction collects it and writes it once, at its end.
//!
//! A new effect is a file here, a field, and its line in [`Effects::write`]. Where appends have it, also a next version of
//! the function `wicara_append_…` of PostgreSQL, which does for a batch what is written here for SQLite.

mod asks;
mod conversations;
mod keys;
mod totals;

pub(super) use asks::Asks;
pub(super) use conversations::Conversations;
pub(super) use keys::{KeyRecord, Keys};
pub(super) use totals::{Counted, Key, SHIFTS, Totals, add, at_level};

use crate::engine::{Executor, Result};

/// The name of a transaction of a node: tells whether it is committed, and orders what it adds to the totals.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch {
    pub node: i64,
    pub number: i64,
}

#[derive(Debug, Default)]
pub(super) struct Effects {
    pub conversations: Conversations,
    pub asks: Asks,
    pub keys: Keys,
    pub totals: Totals,
}

impl Effects {
    /// Rows that several conversations share, the totals, come last. Those before are a conversation's own: the command holds
    /// its lock, or its row is gone.
    pub async fn write(self, executor: &Executor<'_>, batch: Option<Batch>) -> Result<()> {
        self.conversations.write(executor).await?;
        self.asks.write(executor).await?;
        self.keys.write(executor).await?;
        self.totals.write(executor, batch).await
    }
}
