//! Appends on PostgreSQL: each batch is one call of a function, which commits by itself. One connection makes them: with
//! two, batches are half as large and cost PostgreSQL nearly as much (BENCHMARKS.md, "One writer or two").
//!
//! A batch that PostgreSQL as a whole cannot take is tried again, over a new connection where that may help. One that
//! meets a locked conversation is called once more without it; what is locked is tried beside the next batches for a
//! while. One that may fail for a single command's data is halved until that command fails alone. A call whose answer
//! got lost is looked up by the number of its batch, never guessed: whichever comes first, the call or the look-up,
//! takes the number.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::Shared;
use super::doubt::{Doubt, IN_DOUBT, LOOK_UP_AT_ONCE, NUMBER_TAKEN, lost};
use super::queue::{Queue, Waiting, conversation, locked_too_long};
use crate::commands::{CALL, Called, outcomes, params};
use crate::effects::Batch;
use crate::engine::postgres::{Connection, Server, Unanswered};
use crate::engine::{Error, Row};

/// How often a batch is tried while the database cannot take it.
const ATTEMPTS: usize = 3;
/// No attempt begins later than this after the first: others wait behind it.
const ATTEMPTS_TIME: Duration = Duration::from_secs(3);
/// How long one batch may be halved; at its end the rest of it is refused.
const HALVING_TIME: Duration = Duration::from_secs(3);
pub(super) struct Appends {
    shared: Shared,
    server: Server,
    connection: Option<Connection>,
    /// The look-ups of lost answers.
    in_doubt: TaskTracker,
}

/// What became of a call.
enum Outcome {
    Done(Vec<Row>),
    /// It is not committed.
    Not(Error),
    /// Its answer got lost.
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

    /// Writes a batch and answers; returns what another session has locked.
    async fn write(&mut self, batch: Vec<Waiting>) -> Vec<Waiting> {
        let mut skip_locked = batch.iter().any(|waiting| waiting.locked_since.is_some());
        let mut locked = Vec::new();
        let mut batches = vec![batch];
        let begin = Instant::now();
        let mut attempt = 1;
        while let Some(batch) = batches.pop() {
            let mut batch = behind(&mut locked, batch);
            if batch.is_empty() {
                continue;
            }
            let called = Instant::now();
            let committed = match self.call(&batch, skip_locked).await {
                Outcome::Done(rows) => Ok(rows),
                Outcome::Not(error) => Err(error),
                Outcome::InDoubt { number } => match self.doubt(number).look_up(LOOK_UP_AT_ONCE).await {
                    Ok(Some(rows)) => Ok(rows),
                    Ok(None) => Err(lost()),
                    Err(_) => {
                        self.look_up_later(number, batch);
                        continue;
                    }
                },
            };
            match committed {
                Ok(rows) => {
                    self.shared.note(false);
                    self.shared.metrics.committed(batch.len(), called.elapsed());
                    locked.extend(answer(batch, rows));
                }
                Err(error) => {
                    self.shared.metrics.commit_failed();
                    if matches!(error, Error::Locked(_)) && !skip_locked {
                        skip_locked = true;
                        batches.push(batch);
                        continue;
                    }
                    self.shared.note(error.is_passing());
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
                            let rest = batch.split_off(batch.len() / 2);
                            batches.push(rest);
                            batches.push(batch);
                        }
                    }
                }
            }
        }
        locked
    }

    async fn call(&mut self, batch: &[Waiting], skip_locked: bool) -> Outcome {
        let connection = match &self.connection {
            Some(open) if !open.is_closed() => open,
            _ => match self.shared.connect(&self.server).await {
                Ok(connection) => self.connection.insert(connection),
                Err(error) => return Outcome::Not(Error::Unavailable(error.to_string())),
            },
        };
        let Shared { node, numbers, .. } = &self.shared;
        let number = numbers.take();
        let appends = batch.iter().map(|waiting| &waiting.appending.append);
        let params = params(Batch { node: *node, number }, skip_locked, appends);
        match connection.call(CALL, &params, NUMBER_TAKEN).await {
            Ok(rows) => {
                numbers.settle(number);
                Outcome::Done(rows)
            }
            Err(Unanswered::Refused(error)) => {
                numbers.give_back(number);
                Outcome::Not(error)
            }
            // Somebody gave it up meanwhile: another number may do.
            Err(Unanswered::GivenUp) => {
                numbers.settle(number);
                Outcome::Not(Error::Unavailable("the batch was given up".into()))
            }
            Err(Unanswered::Lost) => Outcome::InDoubt { number },
        }
    }

    /// Answers a batch once it is known what became of it, while the next ones are written.
    fn look_up_later(&self, number: i64, batch: Vec<Waiting>) {
        self.shared.note(true);
        let doubt = self.doubt(number);
        self.in_doubt.spawn(async move {
            match doubt.look_up(IN_DOUBT).await {
                Ok(Some(rows)) => refuse(answer(batch, rows), &locked_too_long()),
                Ok(None) => refuse(batch, &lost()),
                Err(error) => refuse(batch, &error),
            }
        });
    }

    fn doubt(&self, number: i64) -> Doubt {
        Doubt { shared: self.shared.clone(), server: self.server.clone(), number }
    }
}

/// Answers what a call decided; returns what another session has locked.
fn answer(batch: Vec<Waiting>, rows: Vec<Row>) -> Vec<Waiting> {
    let appends: Vec<_> = batch.iter().map(|waiting| &waiting.appending.append).collect();
    let decided = match outcomes(rows, &appends) {
        Ok(decided) => decided,
        Err(error) => {
            refuse(batch, &Error::OutcomeUnknown(error.to_string()));
            return Vec::new();
        }
    };
    let mut locked = Vec::new();
    for (waiting, called) in batch.into_iter().zip(decided) {
        match called {
            Called::Decided(decided) => waiting.appending.answer(Ok(decided)),
            Called::Locked => locked.push(waiting),
        }
    }
    locked
}

/// Of a batch that was halved, what may be tried: appends to a conversation that was locked in another part of it wait
/// behind that part's, so that none overtakes another.
fn behind(locked: &mut Vec<Waiting>, batch: Vec<Waiting>) -> Vec<Waiting> {
    if locked.is_empty() {
        return batch;
    }
    let conversations: BTreeSet<_> =
        locked.iter().filter_map(|waiting| conversation(&waiting.appending)).collect();
    let is_free = |waiting: &Waiting| {
        conversation(&waiting.appending).is_none_or(|conversation| !conversations.contains(&conversation))
    };
    let (free, waits) = batch.into_iter().partition(is_free);
    locked.extend::<Vec<_>>(waits);
    free
}

fn refuse(batch: Vec<Waiting>, error: &Error) {
    if error.is_passing() && !batch.is_empty() {
        tracing::warn!(%error, commands = batch.len(), "the store cannot write");
    }
    for waiting in batch {
        waiting.appending.answer(Err(error.clone()));
    }
}
