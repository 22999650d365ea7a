//! The nodes that share a database. A node lives while its row was renewed within the last minute, by the database's
//! clock; a lock that its session holds would also say so of a machine that is frozen for hours.

use std::time::Duration;

use super::Store;
use super::engine::{DatabaseClock, Result, Sql};

/// A node that has not renewed its row for so long is taken for dead, and its open questions are settled.
pub(super) const DEAD_AFTER: Duration = Duration::from_secs(60);
/// Rows of dead nodes are kept so long for those who look into what happened.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

impl Store {
    /// Says that this node lives. Also shows whether the database takes writes: see [`Store::ping`].
    pub async fn node_renew(&self) -> Result<()> {
        let node = i64::from(self.inner.node);
        self.change_in_turn(move |transaction| {
            Box::pin(async move {
                let renew = |now| {
                    format!(
                        "INSERT INTO nodes (node, renewed_at) VALUES ($1, {now}) \
                         ON CONFLICT (node) DO UPDATE SET renewed_at = excluded.renewed_at"
                    )
                };
                let sql = Sql::each(renew(DatabaseClock::POSTGRES), renew(DatabaseClock::SQLITE));
                transaction.query(sql, vec![node.into()]).await.map(|_| ())
            })
        })
        .await
    }

    /// Says that this node has ended, so that nobody waits for it, and forgets nodes that died a day ago.
    pub async fn node_remove(&self) -> Result<()> {
        let node = i64::from(self.inner.node);
        self.change_in_turn(move |transaction| {
            Box::pin(async move {
                let remove = |now| {
                    let kept = FORGOTTEN_AFTER.as_millis();
                    format!("DELETE FROM nodes WHERE node = $1 OR renewed_at < {now} - {kept}")
                };
                let sql = Sql::each(remove(DatabaseClock::POSTGRES), remove(DatabaseClock::SQLITE));
                transaction.query(sql, vec![node.into()]).await.map(|_| ())
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
