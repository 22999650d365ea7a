//! The writer on PostgreSQL: three loops, each with a connection of its own, so that none waits behind another.

use futures_util::future::join;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::appends::Appends;
use super::queue::Queue;
use super::{Job, Renewal, Shared, changes, fold};
use crate::engine::postgres::Server;

/// Runs until all is written and every queue is closed.
pub(super) async fn run(
    shared: Shared,
    server: Server,
    appends: mpsc::Receiver<Job>,
    changes: mpsc::Receiver<Job>,
    renewals: mpsc::Receiver<Renewal>,
) {
    let in_doubt = TaskTracker::new();
    let appending = Appends::new(shared.clone(), server.clone(), in_doubt.clone()).run(Queue::new(appends));
    let changing = changes::run(shared.clone(), server.clone(), changes, in_doubt.clone());
    let closing = tokio::select! {
        (appended, changed) = join(appending, changing) => [appended, changed],
        () = fold::run(&shared, &server, renewals) => unreachable!("it has no end"),
    };
    in_doubt.close();
    in_doubt.wait().await;
    fold::end(&shared, &server).await;
    for done in closing.into_iter().flatten() {
        let _ = done.send(());
    }
}
