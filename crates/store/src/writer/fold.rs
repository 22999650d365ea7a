//! Folds what this node's batches add into the totals. Each fold updates rows that all nodes share, so that it is done
//! seldom; readers add up what is not folded yet, so that it is done before that is much. The same connection renews the
//! node's row: a node is alive however much waits to be written.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::{Renewal, Shared};
use crate::engine::postgres::{Connection, Server};
use crate::engine::{DatabaseClock, Error, Result};
use crate::nodes::{DEAD_AFTER, FOLD, register};

/// Batches that are folded at once under load, and after how long fewer are.
const FOLD_BATCHES: i64 = 256;
const FOLD_EVERY: Duration = Duration::from_secs(1);
/// Batches that one fold takes, so that it stays short after the totals were locked for long.
const FOLDED_AT_ONCE: i64 = 4096;
/// How long is waited after a fold that failed.
const FOLD_AGAIN: Duration = Duration::from_secs(1);
/// At the end, what is not folded by then is left to another node or the next start.
const LAST_FOLD_TIME: Duration = Duration::from_millis(500);

/// Removes a node whose batches are all folded. One that has given a batch up is only dead from now on, and stays until it
/// is forgotten: that batch's call may still be on its way.
const REMOVE: &str = "WITH removed AS (DELETE FROM node_folds WHERE node = $1 AND folded = $2 \
         AND NOT EXISTS (SELECT 1 FROM node_batches WHERE node = $1) RETURNING node) \
     DELETE FROM nodes USING removed WHERE nodes.node = removed.node";

/// Folds up to a number.
async fn fold_over(connection: &Connection, node: i64, upto: i64) -> Result<()> {
    let rows = connection.query(FOLD, &[node.into(), upto.into()]).await?;
    let found = rows.into_iter().next().map(|row| row.columns("node_folds").opt_int("folded")).transpose()?;
    found.flatten().map(|_| ()).ok_or_else(|| Error::Unavailable("this node was forgotten".into()))
}

/// Folds and renews until it is dropped.
pub(super) async fn run(shared: &Shared, server: &Server, mut renewals: mpsc::Receiver<Renewal>) {
    let mut connection: Option<Connection> = None;
    let mut folded = 0;
    loop {
        let since = Instant::now();
        loop {
            let pending = shared.numbers.settled() - folded;
            let left = FOLD_EVERY.saturating_sub(since.elapsed());
            if pending >= FOLD_BATCHES || (pending > 0 && left.is_zero()) {
                break;
            }
            let changed = async {
                if pending > 0 {
                    let _ = timeout(left, shared.numbers.changed()).await;
                } else {
                    shared.numbers.changed().await;
                }
            };
            tokio::select! {
                () = changed => {}
                Some(renewal) = renewals.recv() => {
                    let renewed = renew(shared, &mut connection, server).await;
                    shared.note(renewed.as_ref().is_err_and(Error::is_passing));
                    if renewed.is_err() {
                        connection = None;
                    }
                    let _ = renewal.send(renewed);
                }
            }
        }
        let upto = shared.numbers.settled().min(folded + FOLDED_AT_ONCE);
        match fold(&mut connection, server, shared.node, upto).await {
            Ok(()) => folded = upto,
            Err(error) => {
                tracing::debug!(%error, "the totals are folded later");
                connection = None;
                tokio::time::sleep(FOLD_AGAIN).await;
            }
        }
    }
}

async fn fold(connection: &mut Option<Connection>, server: &Server, node: i64, upto: i64) -> Result<()> {
    fold_over(open(connection, server).await?, node, upto).await
}

async fn renew(shared: &Shared, connection: &mut Option<Connection>, server: &Server) -> Result<()> {
    let params = [shared.node.into(), shared.numbers.settled().into()];
    open(connection, server).await?.query(register(), &params).await.map(|_| ())
}

async fn open<'a>(connection: &'a mut Option<Connection>, server: &Server) -> Result<&'a Connection> {
    if connection.as_ref().is_none_or(Connection::is_closed) {
        *connection = None;
    }
    match connection {
        Some(open) => Ok(open),
        none => Ok(none.insert(server.connect_by_key().await?)),
    }
}

/// Folds what is left and removes the node, so that the others need not wait until it is dead.
pub(super) async fn end(shared: &Shared, server: &Server) {
    let end = async {
        let upto = shared.numbers.settled();
        let connection = server.connect_by_key().await?;
        fold_over(&connection, shared.node, upto).await?;
        connection.query(REMOVE, &[shared.node.into(), upto.into()]).await?;
        let dead = format!(
            "UPDATE nodes SET renewed_at = least(renewed_at, {} - {}) WHERE node = $1",
            DatabaseClock::POSTGRES,
            DEAD_AFTER.as_millis()
        );
        connection.query(&dead, &[shared.node.into()]).await
    };
    match timeout(LAST_FOLD_TIME, end).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::warn!(%error, "other nodes are not told that this one has ended"),
        Err(_) => tracing::warn!("other nodes are not told in time that this one has ended"),
    }
}
