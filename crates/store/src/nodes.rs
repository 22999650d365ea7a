//! The nodes that share a database. A node lives while its row was renewed within the last minute, by the database's
//! clock; a lock that its session holds would also say so of a machine that is frozen for hours.

use std::sync::LazyLock;
use std::time::Duration;

use crate::Store;
use crate::engine::{DatabaseClock, Lane, Result, Sql};

/// A node that has not renewed its row for so long is taken for dead, and its open questions are settled.
pub(super) const DEAD_AFTER: Duration = Duration::from_secs(60);
/// Rows of dead nodes are kept so long: for those who look into what happened, and for calls of theirs that are still on
/// their way through a network.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// Folds what a node's batches up to a number add into the totals: `$1` is the node, `$2` the number.
pub(super) const FOLD: &str = "SELECT wicara_fold_1($1, $2)";

/// Makes a node of PostgreSQL known, or says that it lives. One that was forgotten goes on where it was: all that it wrote
/// before is folded.
pub(super) fn register() -> &'static str {
    static SQL: LazyLock<String> = LazyLock::new(|| {
        format!(
            // The second row is looked for after the first is there: both are forgotten together.
            "WITH living AS (INSERT INTO nodes (node, renewed_at) VALUES ($1, {}) \
                 ON CONFLICT (node) DO UPDATE SET renewed_at = excluded.renewed_at RETURNING node) \
             INSERT INTO node_folds (node, folded) SELECT node, $2 FROM living ON CONFLICT DO NOTHING",
            DatabaseClock::POSTGRES
        )
    });
    &SQL
}

impl Store {
    /// Says that this node lives. Also shows whether the database takes writes: see [`Store::ping`].
    pub async fn node_renew(&self) -> Result<()> {
        if self.is_shared() {
            return self.inner.writer.renew().await;
        }
        let node = i64::from(self.inner.node);
        self.change_in_turn(None, move |transaction| {
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

    /// Adds to the totals what dead nodes have left, and forgets those that died a day ago.
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
        let any = Sql::each(any(&postgres), any(&sqlite));
        if self.inner.reads.query(Lane::Slow, any, vec![]).await?.is_empty() {
            return Ok(());
        }
        self.change_in_turn(None, move |transaction| {
            let (postgres, sqlite) = (postgres.clone(), sqlite.clone());
            Box::pin(async move {
                let sql = Sql::each(
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

    /// Whether other nodes may work on the same database. A SQLite database has one server.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.inner.is_shared
    }
}
