//! The writer on SQLite: one connection and one transaction at a time, in which all kinds of commands are applied one
//! after the other. A command that fails rolls the whole transaction back; the batch is then halved until that command
//! fails alone.

use rusqlite::ErrorCode;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{BATCH, BATCH_BYTES, Shared, WriteRequest, queue};
use crate::commands::{Change, Decision, PendingAppend, not_applied};
use crate::engine::{Error, Executor, Result, sqlite_connection};
use crate::transaction::Transaction;

enum Command {
    Append(PendingAppend, Option<Decision>),
    Change(Box<dyn Change>),
}

impl Command {
    fn answer(self, committed: Result<()>) {
        match self {
            Self::Append(append, decision) => {
                append.answer(committed.and_then(|()| decision.ok_or_else(not_applied)));
            }
            Self::Change(change) => change.answer(committed),
        }
    }
}

/// Runs until the queue is closed and empty.
pub(super) async fn run(
    shared: Shared,
    connection: rusqlite::Connection,
    mut requests: mpsc::Receiver<WriteRequest>,
) {
    let (mut received, mut closing) = (Vec::with_capacity(BATCH), None);
    while requests.recv_many(&mut received, BATCH).await > 0 {
        let (mut batch, mut size) = (Vec::with_capacity(received.len()), 0);
        for request in received.drain(..) {
            match request {
                WriteRequest::Append(append) => {
                    shared.metrics.dequeued(1);
                    size += queue::bytes(&append);
                    if size > BATCH_BYTES {
                        size = queue::bytes(&append);
                        write(&shared, &connection, std::mem::take(&mut batch)).await;
                    }
                    batch.push(Command::Append(append, None));
                }
                WriteRequest::Change(change) => {
                    shared.metrics.dequeued(1);
                    batch.push(Command::Change(change));
                }
                WriteRequest::ChangeInOwnTransaction(change) => {
                    shared.metrics.dequeued(1);
                    write(&shared, &connection, std::mem::take(&mut batch)).await;
                    write(&shared, &connection, vec![Command::Change(change)]).await;
                }
                WriteRequest::Close(done) => {
                    // Refuses new requests; those in the channel are still received and written.
                    requests.close();
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
            Ok(()) => shared.committed(batch.len(), begin.elapsed()),
            Err(_) => shared.metrics.commit_failed(),
        }
        shared.set_refused(committed.as_ref().is_err_and(Error::is_passing));
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
                let second_half = batch.split_off(batch.len() / 2);
                batches.push(second_half);
                batches.push(batch);
            }
        }
    }
}

async fn commit(shared: &Shared, connection: &rusqlite::Connection, batch: &mut [Command]) -> Result<()> {
    let execute = |sql| connection.execute_batch(sql).map_err(|error| sqlite_connection::failure(&error));
    // A transaction whose ROLLBACK failed is still open.
    if !connection.is_autocommit() {
        execute("ROLLBACK")?;
    }
    execute("BEGIN IMMEDIATE")?;
    let mut written = apply(shared, connection, batch).await;
    if written.is_ok() {
        written = commit_outcome(connection.execute_batch("COMMIT"));
    }
    // A failed COMMIT, on a full disk for example, leaves the transaction open.
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
            Command::Append(append, decision) => {
                *decision = Some(append.append.apply(&append.terms, &mut transaction).await?);
            }
            // Other commands read rows that effects write, such as asks and keys: the effects of the commands before
            // are written first.
            Command::Change(change) => {
                std::mem::replace(&mut transaction, begin()).finish(None).await?;
                change.apply(&mut transaction).await?;
                std::mem::replace(&mut transaction, begin()).finish(None).await?;
            }
        }
    }
    transaction.finish(None).await.map(|_| ())
}

/// What the result of COMMIT means. After an I/O error the frames of the transaction, its commit mark included, may be
/// in the log all the same; the next process that opens the database then reads them as committed.
fn commit_outcome(committed: rusqlite::Result<()>) -> Result<()> {
    committed.map_err(|error| match error.sqlite_error_code() {
        Some(ErrorCode::SystemIoFailure) => Error::OutcomeUnknown(error.to_string()),
        _ => sqlite_connection::failure(&error),
    })
}
