//! The rows of `conversation_activity` for what was stored before there were any: made in the background, newest first, in
//! steps that are committed one by one, so that a server that stops goes on where it was. Lists say how far it has come.

use std::sync::atomic::Ordering;

use wicara_model::{ConversationId, Timestamp};

use crate::Store;
use crate::effects::activity;
use crate::engine::{Lane, Result, Row};
use crate::transaction::Transaction;

/// Conversations in one step. They are locked for some milliseconds.
const BUILT_AT_ONCE: i64 = 200;

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActivityIndexed {
    All,
    /// Conversations with ids from here on are done.
    From(ConversationId),
    /// Another server is at it.
    Elsewhere,
}

impl Store {
    /// Makes the next rows.
    pub async fn activity_index_step(&self) -> Result<ActivityIndexed> {
        let below = if self.is_shared() {
            let sql = format!("SELECT wicara_activity_build_1({BUILT_AT_ONCE})");
            let rows = self.inner.reads.query(Lane::Walk, sql, vec![]).await?;
            rows.into_iter().next().map_or(Ok(None), |row| row.columns("activity_index").opt_int("below"))?
        } else {
            self.change_queued(None, |transaction| Box::pin(step(transaction))).await.map(Some)?
        };
        Ok(match below {
            None => ActivityIndexed::Elsewhere,
            Some(0) => ActivityIndexed::All,
            Some(below) => ActivityIndexed::From(ConversationId(below)),
        })
    }

    /// Since when conversations were opened that all have their row; `None` once all have.
    pub(super) async fn activity_indexed_from(&self) -> Result<Option<Timestamp>> {
        if self.inner.is_activity_indexed.load(Ordering::Relaxed) {
            return Ok(None);
        }
        const READ: &str = "SELECT below, (SELECT created_at FROM conversations WHERE id >= below ORDER BY id LIMIT 1) \
             FROM activity_index";
        let row = self.inner.reads.query(Lane::Continuation, READ, vec![]).await?.into_iter().next();
        let Some(row) = row else { return Ok(None) };
        let mut columns = row.columns("activity_index");
        let (below, from) = (columns.int("below")?, columns.opt_int("created_at")?);
        if below == 0 {
            self.inner.is_activity_indexed.store(true, Ordering::Relaxed);
            return Ok(None);
        }
        // Nothing is done yet: not even what is newest.
        Ok(Some(Timestamp(from.unwrap_or(MAX_TIME))))
    }
}

/// The end of the year 9999, which every reader of times takes.
pub(super) const MAX_TIME: i64 = 253_402_300_799_999;

/// A step on SQLite; returns what `below` is then. The writer is the only one that writes, so that nothing is locked.
async fn step(transaction: &mut Transaction<'_>) -> Result<i64> {
    let rows = transaction.query("SELECT below FROM activity_index", vec![]).await?;
    let below = rows.into_iter().next().map_or(Ok(0), |row| row.int("activity_index", "below"))?;
    if below == 0 {
        return Ok(0);
    }
    let sql = format!("SELECT id FROM conversations WHERE id < $1 ORDER BY id DESC LIMIT {BUILT_AT_ONCE}");
    let rows = transaction.query(sql, vec![below.into()]).await?;
    let ids = rows.into_iter().map(|row: Row| Ok(ConversationId(row.int("conversations", "id")?)));
    let ids = ids.collect::<Result<Vec<_>>>()?;
    let below = ids.last().map_or(0, |id| id.0);
    activity::write(&transaction.executor, ids).await?;
    transaction.query("UPDATE activity_index SET below = $1", vec![below.into()]).await?;
    Ok(below)
}
