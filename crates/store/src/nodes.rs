//! The nodes (servers) that share a database. A node is alive while its last heartbeat is less than a minute old, by
//! the database's clock. Not while it holds a lock: a machine that is frozen for hours keeps its locks.

use std::sync::LazyLock;
use std::time::Duration;

use crate::Store;
use crate::engine::{DatabaseClock, Lane, Result, Sql};

/// A node without a heartbeat for this long is dead: other nodes give up its open questions and fold its batches.
pub(super) const DEAD_AFTER: Duration = Duration::from_secs(60);
/// The rows of a dead node are kept this long: for an operator who investigates, and because calls of the node that are
/// delayed in the network must still find their numbers taken.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// Folds the batches of a node up to a number into the totals: `$1` is the node, `$2` the number.
pub(super) const FOLD: &str = "SELECT wicara_fold_1($1, $2)";

/// Registers a node on PostgreSQL, or sends its heartbeat: `$1` is the node, `$2` the number up to which its batches
/// are settled. A forgotten node continues from that number, since its batches were folded before it was forgotten.
pub(super) fn register_sql() -> &'static str {
    static SQL: LazyLock<String> = LazyLock::new(|| {
        format!(
            // The second INSERT reads from the first, so that it runs after it: the two rows are also deleted together.
            "WITH living AS (INSERT INTO nodes (node, renewed_at) VALUES ($1, {}) \
                 ON CONFLICT (node) DO UPDATE SET renewed_at = excluded.renewed_at RETURNING node) \
             INSERT INTO node_folds (node, folded) SELECT node, $2 FROM living ON CONFLICT DO NOTHING",
            DatabaseClock::POSTGRES
        )
    });
    &SQL
}

impl Store {
    /// Sends the heartbeat of this node. Also shows whether the database accepts writes: see [`Store::ping`].
    pub async fn node_renew(&self) -> Result<()> {
        if self.is_shared() {
            return self.inner.writer.heartbeat().await;
        }
        let node = i64::from(self.inner.node);
        self.change_queued(None, move |transaction| {
            Box::pin(async move {
                let sql = format!(
                    "INSERT INTO nodes (node, renewed_at) VALUES ($1, {}) \
                     ON CONFLICT (node) DO UPDATE SET renewed_at = excluded.renewed_at",
                    DatabaseClock::SQLITE
                );
                transaction.query(sql, vec![node.into()]).await.map(|_| ())
            })
        })
        .await
    }

    /// Folds the batches that dead nodes have left into the totals, and forgets nodes that are dead for a day.
    pub async fn node_settle(&self) -> Result<()> {
        if self.is_shared() {
            let dead = format!(
                "SELECT node, (SELECT max(number) FROM node_batches \
                     WHERE node_batches.node = nodes.node AND number > folded) \
                 FROM nodes JOIN node_folds USING (node) WHERE renewed_at < {} - {}",
                DatabaseClock::POSTGRES,
                DEAD_AFTER.as_millis()
            );
            for row in self.inner.reads.query(Lane::Slow, dead, vec![]).await? {
                let mut columns = row.columns("nodes");
                let (node, last) = (columns.int("node")?, columns.opt_int("number")?);
                if let Some(last) = last {
                    self.inner.reads.query(Lane::Slow, FOLD, vec![node.into(), last.into()]).await?;
                }
            }
        }
        let old = |now| format!("renewed_at < {now} - {}", FORGOTTEN_AFTER.as_millis());
        let (postgres, sqlite) = (old(DatabaseClock::POSTGRES), old(DatabaseClock::SQLITE));
        let any = |old: &str| format!("SELECT node FROM nodes WHERE {old} LIMIT 1");
        let any = Sql::per_dialect(any(&postgres), any(&sqlite));
        if self.inner.reads.query(Lane::Slow, any, vec![]).await?.is_empty() {
            return Ok(());
        }
        self.change_queued(None, move |transaction| {
            let (postgres, sqlite) = (postgres.clone(), sqlite.clone());
            Box::pin(async move {
                let sql = Sql::per_dialect(
                    format!(
                        "WITH forgotten AS (DELETE FROM nodes WHERE {postgres} AND NOT EXISTS (SELECT 1 \
                             FROM node_batches JOIN node_folds USING (node) \
                             WHERE node_batches.node = nodes.node AND number > folded) RETURNING node), \
                         folds AS (DELETE FROM node_folds USING forgotten WHERE node_folds.node = forgotten.node) \
                         DELETE FROM node_batches USING forgotten WHERE node_batches.node = forgotten.node"
                    ),
                    format!("DELETE FROM nodes WHERE {sqlite}"),
                );
                transaction.query(sql, vec![]).await.map(|_| ())
            })
        })
        .await
    }

    /// Whether other nodes may use the same database: always on PostgreSQL, never on SQLite.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.inner.is_shared
    }
}
