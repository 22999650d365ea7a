//! Appends on PostgreSQL: each batch is one call of a function, which commits by itself. One connection makes the
//! calls: with two, batches are half as large and cost PostgreSQL nearly as much (BENCHMARKS.md, "One writer or two").
//!
//! What happens to a batch that fails depends on the error:
//! - The server as a whole cannot take it: it is retried, over a new connection where that may help.
//! - A conversation is locked by another session: the batch is called again and skips locked conversations; their
//!   appends are retried with the next batches for a while.
//! - The data of one append may be the cause: the batch is halved until that append fails alone.
//! - The answer got lost: the batch is in doubt and is looked up by its number (`in_doubt.rs`).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::Shared;
use super::in_doubt::{BLOCKING_LOOK_UP_TIME, IN_DOUBT_TIME, InDoubt, NUMBER_TAKEN, not_committed};
use super::queue::{Queue, QueuedAppend, conversation, locked_too_long};
use crate::commands::{CALL, CallOutcome, outcomes, params};
use crate::effects::Batch;
use crate::engine::postgres::Server;
use crate::engine::postgres_connection::{CallError, Connection};
use crate::engine::{Error, Row};

/// How often a batch is tried while the database is unavailable.
const ATTEMPTS: usize = 3;
/// No try starts later than this after the first, because the next batches wait.
const ATTEMPTS_TIME: Duration = Duration::from_secs(3);
/// How long one batch may be halved; after that its unwritten appends are refused.
const HALVING_TIME: Duration = Duration::from_secs(3);

pub(super) struct Appends {
    shared: Shared,
    server: Server,
    connection: Option<Connection>,
    /// The tasks that look up batches while the next ones are written.
    in_doubt: TaskTracker,
}

/// The result of a call.
enum Called {
    Committed(Vec<Row>),
    NotCommitted(Error),
    /// The answer got lost. `number`: of the batch.
    InDoubt {
        number: i64,
    },
}

impl Appends {
    pub fn new(shared: Shared, server: Server, in_doubt: TaskTracker) -> Self {
        Self { shared, server, connection: None, in_doubt }
    }

    pub async fn run(mut self, mut queue: Queue) -> Option<oneshot::Sender<()>> {
        let metrics = Arc::clone(&self.shared.metrics);
        while let Some(batch) = queue.next(&metrics).await {
            let locked = self.write(batch).await;
            queue.put_back(locked);
        }
        queue.closing()
    }

    /// Writes a batch and answers its appends; returns those whose conversation another session has locked.
    async fn write(&mut self, batch: Vec<QueuedAppend>) -> Vec<QueuedAppend> {
        let mut skip_locked = batch.iter().any(|queued| queued.locked_since.is_some());
        let mut locked = Vec::new();
        let mut batches = vec![batch];
        let begin = Instant::now();
        let mut attempt = 1;
        while let Some(batch) = batches.pop() {
            let mut batch = hold_back_locked(&mut locked, batch);
            if batch.is_empty() {
                continue;
            }
            let call_begin = Instant::now();
            let committed = match self.call(&batch, skip_locked).await {
                Called::Committed(rows) => Ok(rows),
                Called::NotCommitted(error) => Err(error),
                Called::InDoubt { number } => {
                    match self.in_doubt(number).look_up(BLOCKING_LOOK_UP_TIME).await {
                        Ok(Some(rows)) => Ok(rows),
                        Ok(None) => Err(not_committed()),
                        Err(_) => {
                            self.look_up_later(number, batch);
                            continue;
                        }
                    }
                }
            };
            match committed {
                Ok(rows) => {
                    self.shared.set_refused(false);
                    self.shared.committed(batch.len(), call_begin.elapsed());
                    locked.extend(answer(batch, rows));
                }
                Err(error) => {
                    self.shared.metrics.commit_failed();
                    if matches!(error, Error::Locked(_)) && !skip_locked {
                        skip_locked = true;
                        batches.push(batch);
                        continue;
                    }
                    self.shared.set_refused(error.is_passing());
                    match error {
                        Error::Unavailable(reason)
                            if attempt < ATTEMPTS && begin.elapsed() < ATTEMPTS_TIME =>
                        {
                            tracing::debug!(reason, attempt, "writing again");
                            attempt += 1;
                            batches.push(batch);
                        }
                        Error::Unavailable(_) | Error::OutcomeUnknown(_) => refuse(batch, &error),
                        error if batch.len() == 1 => refuse(batch, &error),
                        error if begin.elapsed() > HALVING_TIME => refuse(batch, &error),
                        _ => {
                            let second_half = batch.split_off(batch.len() / 2);
                            batches.push(second_half);
                            batches.push(batch);
                        }
                    }
                }
            }
        }
        locked
    }

    async fn call(&mut self, batch: &[QueuedAppend], skip_locked: bool) -> Called {
        let connection = match &self.connection {
            Some(open) if !open.is_closed() => open,
            _ => match self.shared.connect(&self.server).await {
                Ok(connection) => self.connection.insert(connection),
                Err(error) => return Called::NotCommitted(Error::Unavailable(error.to_string())),
            },
        };
        let Shared { node, numbers, .. } = &self.shared;
        let number = numbers.take();
        let appends: Vec<_> = batch.iter().map(|queued| &queued.pending).collect();
        let params = params(Batch { node: *node, number }, skip_locked, &appends);
        match connection.call(CALL, &params, NUMBER_TAKEN).await {
            Ok(rows) => {
                numbers.settle(number);
                Called::Committed(rows)
            }
            Err(CallError::NotCommitted(error)) => {
                numbers.give_back(number);
                Called::NotCommitted(error)
            }
            // Another node, which took this one for dead, has marked the number void: the retry has a new one.
            Err(CallError::NumberTaken) => {
                numbers.settle(number);
                Called::NotCommitted(Error::Unavailable("the batch was given up".into()))
            }
            Err(CallError::InDoubt) => Called::InDoubt { number },
        }
    }

    /// Looks a batch up in a task and answers it then, while the next batches are written.
    fn look_up_later(&self, number: i64, batch: Vec<QueuedAppend>) {
        self.shared.set_refused(true);
        let batch_in_doubt = self.in_doubt(number);
        self.in_doubt.spawn(async move {
            match batch_in_doubt.look_up(IN_DOUBT_TIME).await {
                Ok(Some(rows)) => refuse(answer(batch, rows), &locked_too_long()),
                Ok(None) => refuse(batch, &not_committed()),
                Err(error) => refuse(batch, &error),
            }
        });
    }

    fn in_doubt(&self, number: i64) -> InDoubt {
        InDoubt { shared: self.shared.clone(), server: self.server.clone(), number }
    }
}

/// Answers the appends that a call decided; returns those whose conversation another session has locked.
fn answer(batch: Vec<QueuedAppend>, rows: Vec<Row>) -> Vec<QueuedAppend> {
    let appends: Vec<_> = batch.iter().map(|queued| &queued.pending.append).collect();
    let outcomes = match outcomes(rows, &appends) {
        Ok(outcomes) => outcomes,
        Err(error) => {
            refuse(batch, &Error::OutcomeUnknown(error.to_string()));
            return Vec::new();
        }
    };
    let mut locked = Vec::new();
    for (queued, outcome) in batch.into_iter().zip(outcomes) {
        match outcome {
            CallOutcome::Decided(decision) => queued.pending.answer(Ok(decision)),
            CallOutcome::Locked => locked.push(queued),
        }
    }
    locked
}

/// Moves the appends to locked conversations from a half of a batch to `locked`, so that within a conversation no
/// append overtakes an earlier one. Returns the others.
fn hold_back_locked(locked: &mut Vec<QueuedAppend>, batch: Vec<QueuedAppend>) -> Vec<QueuedAppend> {
    if locked.is_empty() {
        return batch;
    }
    let conversations: BTreeSet<_> =
        locked.iter().filter_map(|queued| conversation(&queued.pending)).collect();
    let is_free = |queued: &QueuedAppend| {
        conversation(&queued.pending).is_none_or(|conversation| !conversations.contains(&conversation))
    };
    let (free, held_back) = batch.into_iter().partition(is_free);
    locked.extend::<Vec<_>>(held_back);
    free
}

fn refuse(batch: Vec<QueuedAppend>, error: &Error) {
    if error.is_passing() && !batch.is_empty() {
        tracing::warn!(%error, commands = batch.len(), "the store cannot write");
    }
    for queued in batch {
        queued.pending.answer(Err(error.clone()));
    }
}
