//! The writer of SQLite: one connection and one transaction at a time, in which all kinds of commands are applied one
//! after the other. One that fails takes the transaction with it: the batch is halved until that command fails alone.

use rusqlite::ErrorCode;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{BATCH, BATCH_BYTES, Job, Shared, queue};
use crate::commands::{Appending, Change, Decided, not_applied};
use crate::engine::{Error, Executor, Result, sqlite_connection};
use crate::transaction::Transaction;

enum Command {
    Append(Appending, Option<Decided>),
    Change(Box<dyn Change>),
}

impl Command {
    fn answer(self, committed: Result<()>) {
        match self {
            Self::Append(appending, decided) => {
                appending.answer(committed.and_then(|()| decided.ok_or_else(not_applied)));
            }
            Self::Change(change) => change.answer(committed),
        }
    }
}

/// Runs until all is written and the queue is closed.
pub(super) async fn run(shared: Shared, connection: rusqlite::Connection, mut jobs: mpsc::Receiver<Job>) {
    let (mut waiting, mut closing) = (Vec::with_capacity(BATCH), None);
    while jobs.recv_many(&mut waiting, BATCH).await > 0 {
        let (mut batch, mut size) = (Vec::with_capacity(waiting.len()), 0);
        for job in waiting.drain(..) {
            match job {
                Job::Append(appending) => {
                    shared.metrics.dequeued(1);
                    size += queue::bytes(&appending);
                    if size > BATCH_BYTES {
                        size = queue::bytes(&appending);
                        write(&shared, &connection, std::mem::take(&mut batch)).await;
                    }
                    batch.push(Command::Append(appending, None));
                }
                Job::Change(change) => {
                    shared.metrics.dequeued(1);
                    batch.push(Command::Change(change));
                }
                Job::Alone(change) => {
                    shared.metrics.dequeued(1);
                    write(&shared, &connection, std::mem::take(&mut batch)).await;
                    write(&shared, &connection, vec![Command::Change(change)]).await;
                }
                Job::Close(done) => {
                    // What is in the channel already is written; no more comes.
                    jobs.close();
                    closing = Some(done);
                }
            }
        }
        write(&shared, &connection, batch).await;
    }
    drop(connection);
    if let Some(done) = closing {
        let _ = done.send(());
    }
}

async fn write(shared: &Shared, connection: &rusqlite::Connection, batch: Vec<Command>) {
    let mut batches = vec![batch];
    while let Some(mut batch) = batches.pop() {
        if batch.is_empty() {
            continue;
        }
        let begin = Instant::now();
        let committed = commit(shared, connection, &mut batch).await;
        match &committed {
            Ok(()) => shared.metrics.committed(batch.len(), begin.elapsed()),
            Err(_) => shared.metrics.commit_failed(),
        }
        shared.note(committed.as_ref().is_err_and(Error::is_passing));
        match committed {
            Ok(()) => batch.into_iter().for_each(|command| command.answer(Ok(()))),
            Err(error @ (Error::Unavailable(_) | Error::OutcomeUnknown(_))) => {
                tracing::warn!(%error, commands = batch.len(), "the store cannot write");
                batch.into_iter().for_each(|command| command.answer(Err(error.clone())));
            }
            Err(error) if batch.len() == 1 => {
                batch.into_iter().for_each(|command| command.answer(Err(error.clone())))
            }
            Err(_) => {
                let rest = batch.split_off(batch.len() / 2);
                batches.push(rest);
                batches.push(batch);
            }
        }
    }
}

async fn commit(shared: &Shared, connection: &rusqlite::Connection, batch: &mut [Command]) -> Result<()> {
    let execute = |sql| connection.execute_batch(sql).map_err(|error| sqlite_connection::failure(&error));
    // One that could not be rolled back either.
    if !connection.is_autocommit() {
        execute("ROLLBACK")?;
    }
    execute("BEGIN IMMEDIATE")?;
    let mut written = apply(shared, connection, batch).await;
    if written.is_ok() {
        written = commit_outcome(connection.execute_batch("COMMIT"));
    }
    // A COMMIT that failed, on a full disk for one, leaves the transaction open.
    if written.is_err() && !connection.is_autocommit() {
        execute("ROLLBACK")?;
    }
    written
}

async fn apply(shared: &Shared, connection: &rusqlite::Connection, batch: &mut [Command]) -> Result<()> {
    let begin = || Transaction::new(Executor::Sqlite(connection), shared.node);
    let mut transaction = begin();
    for command in batch {
        match command {
            Command::Append(appending, decided) => {
                *decided = Some(appending.append.apply(&mut transaction).await?);
            }
            // Other commands read what the effects of those before them write, such as open asks and keys.
            Command::Change(change) => {
                std::mem::replace(&mut transaction, begin()).finish(None).await?;
                change.apply(&mut transaction).await?;
                std::mem::replace(&mut transaction, begin()).finish(None).await?;
            }
        }
    }
    transaction.finish(None).await
}

/// What COMMIT did. Where the disk failed it, its frames may stand in the log all the same, with their mark, and are read
/// again by the next process that opens it.
fn commit_outcome(committed: rusqlite::Result<()>) -> Result<()> {
    committed.map_err(|error| match error.sqlite_error_code() {
        Some(ErrorCode::SystemIoFailure) => Error::OutcomeUnknown(error.to_string()),
        _ => sqlite_connection::failure(&error),
    })
}
