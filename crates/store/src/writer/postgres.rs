//! The writer on PostgreSQL: the three loops for appends, other changes and folding run side by side, each with its own
//! connection, so that none waits for another.

use futures_util::future::join;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::postgres_commit::Appends;
use super::queue::Queue;
use super::{HeartbeatRequest, Shared, WriteRequest, changes, fold};
use crate::engine::postgres::Server;

/// Runs until both queues are closed and empty.
pub(super) async fn run(
    shared: Shared,
    server: Server,
    appends: mpsc::Receiver<WriteRequest>,
    changes: mpsc::Receiver<WriteRequest>,
    heartbeats: mpsc::Receiver<HeartbeatRequest>,
) {
    let in_doubt = TaskTracker::new();
    let appending = Appends::new(shared.clone(), server.clone(), in_doubt.clone()).run(Queue::new(appends));
    let changing = changes::run(shared.clone(), server.clone(), changes, in_doubt.clone());
    let closing = tokio::select! {
        (appended, changed) = join(appending, changing) => [appended, changed],
        () = fold::run(&shared, &server, heartbeats) => unreachable!("folding has no end"),
    };
    in_doubt.close();
    in_doubt.wait().await;
    fold::end(&shared, &server).await;
    for done in closing.into_iter().flatten() {
        let _ = done.send(());
    }
}
