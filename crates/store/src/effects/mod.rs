//! Effects: changes of other tables that follow from commands. A transaction collects them and writes them once, at its
//! end, in one order.
//!
//! A new effect is a file here, a field, and its line in [`Effects::write`]. If appends have it, also a new version of
//! PostgreSQL's function `wicara_append_…`, which does for a batch what is written here for SQLite.

pub(super) mod activity;
mod asks;
mod conversations;
mod events;
mod idempotency_keys;
pub(super) mod search;
mod totals;

pub(super) use asks::{Asks, StopMark};
pub(super) use conversations::Conversations;
pub(super) use events::{ADD as ADD_EVENTS, Events, FIRST_KIND_FOR_SERVERS, change_read};
pub(super) use idempotency_keys::{IdempotencyKeys, KeyRecord, ending};
pub(super) use totals::{SHIFTS, TotalKind, Totals, TotalsKey, add_statement, bucket_at_level};

use search::Search;

use crate::engine::{Executor, Result, Value};

/// The identity of a transaction on PostgreSQL, stored in `node_batches`: by it a batch in doubt is looked up, and
/// folds know how far they have come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch {
    pub node: i64,
    pub number: i64,
}

#[derive(Debug, Default)]
pub(super) struct Effects {
    pub conversations: Conversations,
    pub asks: Asks,
    pub keys: IdempotencyKeys,
    pub totals: Totals,
    pub events: Events,
    pub search: Search,
}

impl Effects {
    /// Writes the effects in the order in which rows are locked everywhere: first rows of single conversations, whose
    /// lock the transaction holds or whose row it deleted, then the totals, which all conversations share, last the feed.
    /// On PostgreSQL that is left to the COMMIT: returns the parameters of [`ADD_EVENTS`].
    pub async fn write(self, executor: &Executor<'_>, batch: Option<Batch>) -> Result<Option<Vec<Value>>> {
        let present = self.conversations.present();
        self.conversations.write(executor).await?;
        self.asks.write(executor).await?;
        self.keys.write(executor).await?;
        // After the asks: a question that a bot is answering does not wait.
        activity::write(executor, present).await?;
        self.search.write(executor).await?;
        self.totals.write(executor, batch).await?;
        match executor {
            Executor::Postgres(_) => Ok(self.events.into_params()),
            Executor::Sqlite(_) => self.events.write_sqlite(executor).await.map(|()| None),
        }
    }
}
