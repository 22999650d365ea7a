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

use futures_util::future::join;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::TaskTracker;

use super::super::commands::{CALL, Called, outcomes, params};
use super::super::effects::Batch;
use super::super::engine::postgres::{Connection, Server, Unanswered};
use super::super::engine::{Error, Result, Row};
use super::super::nodes::register;
use super::queue::{Queue, Waiting, conversation, locked_too_long};
use super::{Job, Renewal, Shared, changes, fold};

/// The constraint of `node_batches` that says that a batch's number is taken.
pub(super) const NUMBER_TAKEN: &str = "node_batches_pkey";
/// How often a batch is tried while the database cannot take it.
const ATTEMPTS: usize = 3;
/// No attempt begins later than this after the first: others wait behind it.
const ATTEMPTS_TIME: Duration = Duration::from_secs(3);
/// How long one batch may be halved; at its end the rest of it is refused.
const HALVING_TIME: Duration = Duration::from_secs(3);
/// How long a lost answer is looked up while the next batches wait. After it they are written, and it is looked up beside
/// them.
const LOOK_UP_AT_ONCE: Duration = Duration::from_secs(1);
/// How long it is looked up before its callers are told that the outcome is not known. The last look may take as long
/// again as connecting and one statement do.
pub(super) const IN_DOUBT: Duration = Duration::from_secs(20);
const IN_DOUBT_PAUSE: Duration = Duration::from_millis(200);

/// Runs until all is written and every queue is closed.
pub(super) async fn run(
    shared: Shared,
    server: Server,
    appends: mpsc::Receiver<Job>,
    changes: mpsc::Receiver<Job>,
    renewals: mpsc::Receiver<Renewal>,
) {
    let in_doubt = TaskTracker::new();
    let appending = Appends {
        shared: shared.clone(),
        server: server.clone(),
        connection: None,
        in_doubt: in_doubt.clone(),
    };
    let appending = appending.run(Queue::new(appends));
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

/// A connection for a writer, over which the node is known.
pub(super) async fn connect(shared: &Shared, server: &Server) -> Result<Connection> {
    let connection = server.connect_writer().await?;
    connection.query(register(), &[shared.node.into(), shared.numbers.settled().into()]).await?;
    Ok(connection)
}

struct Appends {
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
    async fn run(mut self, mut queue: Queue) -> Option<oneshot::Sender<()>> {
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
            _ => match connect(&self.shared, &self.server).await {
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

/// Why a batch is refused whose answer got lost, and which is known not to be committed.
pub(super) fn lost() -> Error {
    Error::Unavailable("the connection was lost".into())
}

/// A batch whose answer got lost.
pub(super) struct Doubt {
    pub shared: Shared,
    pub server: Server,
    pub number: i64,
}

/// Each with whether the batch is committed, and what it returned.
const LOOK_UP: &str =
    "SELECT o_committed, o_outcomes, o_conversations, o_messages, o_seqs FROM wicara_look_up_1($1, $2)";

impl Doubt {
    /// What the batch returned, if it is committed. `OutcomeUnknown` where that cannot be found out in time.
    pub async fn look_up(&self, time: Duration) -> Result<Option<Vec<Row>>> {
        let Self { shared, server, number } = self;
        let begin = Instant::now();
        loop {
            let found = async {
                let connection = server.connect_by_key().await?;
                connection.query(LOOK_UP, &[shared.node.into(), (*number).into()]).await
            };
            // At once, the next batches wait behind it.
            let found = match timeout(time.max(LOOK_UP_AT_ONCE), found).await {
                Ok(found) => found,
                Err(_) => Err(Error::Unavailable("the database does not answer".into())),
            };
            match found {
                Ok(rows) => {
                    shared.numbers.settle(*number);
                    let Some(row) = rows.into_iter().next() else { return Ok(None) };
                    let (committed, returned) = row.split_first();
                    return match committed.columns("node_batches").opt_int("void")? {
                        Some(0) => Ok(None),
                        Some(_) => Ok(Some(vec![returned])),
                        None => Err(Error::OutcomeUnknown("this node was forgotten".into())),
                    };
                }
                Err(error) if begin.elapsed() >= time => {
                    if time == IN_DOUBT {
                        shared.numbers.settle(*number);
                    }
                    return Err(Error::OutcomeUnknown(format!("a commit cannot be looked up: {error}")));
                }
                Err(_) => sleep(IN_DOUBT_PAUSE).await,
            }
        }
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
