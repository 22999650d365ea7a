//! All commands but appends on PostgreSQL: one after the other, each in a transaction of its own. They are rare. Their
//! transactions wait for this node between two statements, and end where it does not go on in time.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::super::commands::Change;
use super::super::effects::Batch;
use super::super::engine::postgres::{Connection, Server, Unanswered};
use super::super::engine::{Error, Executor, Result};
use super::super::transaction::Transaction;
use super::postgres::{Doubt, IN_DOUBT, NUMBER_TAKEN, connect, lost};
use super::{Job, Shared};

/// How often a command is tried while the database cannot take it, or another session has locked its rows.
const ATTEMPTS: usize = 3;
/// No attempt begins later than this after the first: others wait behind it.
const ATTEMPTS_TIME: Duration = Duration::from_secs(2);

/// Runs until all is written and the queue is closed.
pub(super) async fn run(
    shared: Shared,
    server: Server,
    mut jobs: mpsc::Receiver<Job>,
    in_doubt: TaskTracker,
) -> Option<oneshot::Sender<()>> {
    let mut changes = Changes { shared, server, connection: None, in_doubt };
    let mut closing = None;
    while let Some(job) = jobs.recv().await {
        match job {
            Job::Change(change) | Job::Alone(change) => {
                changes.shared.metrics.dequeued(1);
                changes.write(change).await;
            }
            Job::Append(appending) => {
                appending.answer(Err(Error::Database("an append came to the changes".into())));
            }
            Job::Close(done) => {
                jobs.close();
                closing = Some(done);
            }
        }
    }
    closing
}

struct Changes {
    shared: Shared,
    server: Server,
    connection: Option<Connection>,
    in_doubt: TaskTracker,
}

/// Why a transaction is not known to be committed.
enum Uncommitted {
    No(Error),
    /// The answer to its COMMIT got lost.
    InDoubt {
        number: i64,
    },
}

impl Changes {
    async fn write(&mut self, mut change: Box<dyn Change>) {
        let begin = Instant::now();
        let mut attempt = 1;
        loop {
            match self.commit(&mut *change).await {
                Ok(()) => {
                    self.shared.note(false);
                    self.shared.metrics.committed(1, begin.elapsed());
                    return change.answer(Ok(()));
                }
                Err(Uncommitted::No(error @ (Error::Unavailable(_) | Error::Locked(_))))
                    if attempt < ATTEMPTS && begin.elapsed() < ATTEMPTS_TIME =>
                {
                    self.shared.metrics.commit_failed();
                    tracing::debug!(%error, attempt, "writing again");
                    attempt += 1;
                }
                Err(Uncommitted::No(error)) => {
                    self.shared.metrics.commit_failed();
                    self.shared.note(error.is_passing() && !matches!(error, Error::Locked(_)));
                    if error.is_passing() {
                        tracing::warn!(%error, "the store cannot write");
                    }
                    return change.answer(Err(error));
                }
                Err(Uncommitted::InDoubt { number }) => {
                    self.shared.note(true);
                    let doubt = Doubt { shared: self.shared.clone(), server: self.server.clone(), number };
                    self.in_doubt.spawn(async move {
                        change.answer(match doubt.look_up(IN_DOUBT).await {
                            Ok(Some(_)) => Ok(()),
                            Ok(None) => Err(lost()),
                            Err(error) => Err(error),
                        });
                    });
                    return;
                }
            }
        }
    }

    async fn commit(&mut self, change: &mut dyn Change) -> std::result::Result<(), Uncommitted> {
        let connection = match self.connection.take() {
            Some(open) if !open.is_closed() => open,
            _ => connect(&self.shared, &self.server)
                .await
                .map_err(|error| Uncommitted::No(Error::Unavailable(error.to_string())))?,
        };
        let number = self.shared.numbers.take();
        let applied = self.apply(&connection, number, change).await;
        if let Err(error) = applied {
            let is_passing = matches!(error, Error::Unavailable(_));
            if !is_passing && !connection.is_closed() && connection.execute("ROLLBACK").await.is_ok() {
                self.shared.numbers.give_back(number);
                self.connection = Some(connection);
            } else {
                // Another node may have given the number up, or this session may still hold its row for a while.
                self.shared.numbers.settle(number);
            }
            return Err(Uncommitted::No(error));
        }
        let committed = connection.call("COMMIT", &[], NUMBER_TAKEN).await;
        match committed {
            Ok(_) => {
                self.shared.numbers.settle(number);
                self.connection = Some(connection);
                Ok(())
            }
            Err(Unanswered::Refused(error)) => {
                self.shared.numbers.give_back(number);
                Err(Uncommitted::No(error))
            }
            Err(Unanswered::GivenUp) => {
                self.shared.numbers.settle(number);
                Err(Uncommitted::No(Error::Unavailable("the batch was given up".into())))
            }
            Err(Unanswered::Lost) => Err(Uncommitted::InDoubt { number }),
        }
    }

    async fn apply(&self, connection: &Connection, number: i64, change: &mut dyn Change) -> Result<()> {
        let node = self.shared.node;
        connection.execute("BEGIN").await?;
        let mut transaction = Transaction::new(Executor::Postgres(connection), node);
        change.apply(&mut transaction).await?;
        transaction.finish(Some(Batch { node, number })).await
    }
}
