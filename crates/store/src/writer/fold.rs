//! Folds this node's batches into the totals. Each fold updates rows that all nodes share, so that it runs seldom;
//! readers add up the batches that are not folded yet, so that it runs before there are many. The same connection sends
//! the node's heartbeat, which so never waits behind a long queue of writes.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::{HeartbeatRequest, Shared};
use crate::engine::postgres::Server;
use crate::engine::postgres_connection::Connection;
use crate::engine::{DatabaseClock, Error, Result};
use crate::nodes::{DEAD_AFTER, FOLD};

/// A fold starts when this many batches are pending, or when fewer have waited [`FOLD_EVERY`].
const FOLD_BATCHES: i64 = 256;
const FOLD_EVERY: Duration = Duration::from_secs(1);
/// Batches in one fold at most: keeps it short after the totals were locked for long.
const MAX_FOLD_BATCHES: i64 = 4096;
/// The pause after a failed fold.
const FOLD_RETRY_PAUSE: Duration = Duration::from_secs(1);
/// The last fold, when the server ends, may take this long. Batches that are not folded by then are left to another
/// node.
const LAST_FOLD_TIME: Duration = Duration::from_millis(500);

/// Removes the row of a node whose batches are all folded. A node with a void batch (see `in_doubt.rs`) keeps its row
/// until it is forgotten, since the call of that batch may still arrive and must find its number taken.
const REMOVE: &str = "WITH removed AS (DELETE FROM node_folds WHERE node = $1 AND folded = $2 \
         AND NOT EXISTS (SELECT 1 FROM node_batches WHERE node = $1) RETURNING node) \
     DELETE FROM nodes USING removed WHERE nodes.node = removed.node";

/// Moves what waits in the list of new entries into the search index (see `V06__search.sql`).
const CLEAN_SEARCH_INDEX: &str = "SELECT gin_clean_pending_list('search_documents_by_term')";

/// Folds the node's batches up to a number.
async fn call_fold(connection: &Connection, node: i64, up_to: i64) -> Result<()> {
    let rows = connection.query(FOLD, &[node.into(), up_to.into()]).await?;
    let found = rows.into_iter().next().map(|row| row.columns("node_folds").opt_int("folded")).transpose()?;
    found.flatten().map(|_| ()).ok_or_else(|| Error::Unavailable("this node was forgotten".into()))
}

/// Folds and sends heartbeats; never returns.
pub(super) async fn run(shared: &Shared, server: &Server, mut heartbeats: mpsc::Receiver<HeartbeatRequest>) {
    let mut connection: Option<Connection> = None;
    let mut folded = 0;
    loop {
        let since = Instant::now();
        loop {
            let pending = shared.numbers.settled() - folded;
            let remaining = FOLD_EVERY.saturating_sub(since.elapsed());
            if pending >= FOLD_BATCHES || (pending > 0 && remaining.is_zero()) {
                break;
            }
            let changed = async {
                if pending > 0 {
                    let _ = timeout(remaining, shared.numbers.changed()).await;
                } else {
                    shared.numbers.changed().await;
                }
            };
            tokio::select! {
                () = changed => {}
                Some(request) = heartbeats.recv() => {
                    let sent = send_heartbeat(shared, &mut connection, server).await;
                    shared.set_refused(sent.as_ref().is_err_and(Error::is_passing));
                    if sent.is_err() {
                        connection = None;
                    }
                    let _ = request.send(sent);
                }
            }
        }
        let up_to = shared.numbers.settled().min(folded + MAX_FOLD_BATCHES);
        match fold(&mut connection, server, shared.node, up_to).await {
            Ok(()) => folded = up_to,
            Err(error) => {
                tracing::debug!(%error, "the totals are folded later");
                connection = None;
                tokio::time::sleep(FOLD_RETRY_PAUSE).await;
            }
        }
    }
}

async fn fold(connection: &mut Option<Connection>, server: &Server, node: i64, up_to: i64) -> Result<()> {
    let connection = open(connection, server).await?;
    call_fold(connection, node, up_to).await?;
    connection.query(CLEAN_SEARCH_INDEX, &[]).await.map(|_| ())
}

async fn send_heartbeat(shared: &Shared, connection: &mut Option<Connection>, server: &Server) -> Result<()> {
    shared.register(open(connection, server).await?).await
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

/// Folds the remaining batches and removes the node's row, or marks the node dead: other nodes need not wait for
/// [`DEAD_AFTER`]. A command that only reads has never registered its node.
pub(super) async fn end(shared: &Shared, server: &Server) {
    if !shared.is_registered.load(Ordering::Relaxed) {
        return;
    }
    let end = async {
        let up_to = shared.numbers.settled();
        let connection = server.connect_by_key().await?;
        call_fold(&connection, shared.node, up_to).await?;
        connection.query(REMOVE, &[shared.node.into(), up_to.into()]).await?;
        let mark_dead = format!(
            "UPDATE nodes SET renewed_at = least(renewed_at, {} - {}) WHERE node = $1",
            DatabaseClock::POSTGRES,
            DEAD_AFTER.as_millis()
        );
        connection.query(&mark_dead, &[shared.node.into()]).await
    };
    match timeout(LAST_FOLD_TIME, end).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::warn!(%error, "other nodes are not told that this one has ended"),
        Err(_) => tracing::warn!("other nodes are not told in time that this one has ended"),
    }
}
