//! All commands but appends on PostgreSQL: one after the other, each in a transaction of its own. They are rare. Their
//! transactions wait for this node between two statements, and end where it does not go on in time. One that meets a
//! locked conversation is set aside, with all that follow in that conversation, so that others do not wait for it.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;
use wicara_model::ConversationId;

use super::doubt::{Doubt, IN_DOUBT, NUMBER_TAKEN, lost};
use super::queue::{LOCKED_PAUSE, LOCKED_TIME, locked_too_long};
use super::{Job, Shared};
use crate::commands::Change;
use crate::effects::Batch;
use crate::engine::postgres::{Connection, Server, Unanswered};
use crate::engine::{Error, Executor, Result};
use crate::transaction::Transaction;

/// How often a command is tried while the database cannot take it.
const ATTEMPTS: usize = 3;
/// No attempt begins later than this after the first: others wait behind it.
const ATTEMPTS_TIME: Duration = Duration::from_secs(2);
/// How long the lock of a conversation is waited for that another session is known to have locked.
const LOCKED_TRY: Duration = Duration::from_millis(20);

/// Runs until all is written and the queue is closed.
pub(super) async fn run(
    shared: Shared,
    server: Server,
    mut jobs: mpsc::Receiver<Job>,
    in_doubt: TaskTracker,
) -> Option<oneshot::Sender<()>> {
    let mut changes = Changes { shared, server, connection: None, in_doubt };
    let (mut locked, mut closing) = (Locked::default(), None);
    loop {
        let next = if locked.is_empty() {
            Ok(jobs.recv().await)
        } else {
            timeout_at(locked.next_try, jobs.recv()).await
        };
        match next {
            Ok(Some(Job::Change(change) | Job::Alone(change))) => {
                changes.shared.metrics.dequeued(1);
                if let Some(change) = locked.behind(change)
                    && let Some(change) = changes.write(change, None).await
                {
                    locked.push(change);
                }
            }
            Ok(Some(Job::Append(appending))) => {
                appending.answer(Err(Error::Database("an append came to the changes".into())));
            }
            Ok(Some(Job::Close(done))) => {
                jobs.close();
                closing = Some(done);
            }
            // Closed and empty: nobody waits for a lock any longer.
            Ok(None) => {
                locked.refuse(Instant::now() + LOCKED_TIME);
                return closing;
            }
            Err(_) => {
                locked.refuse(Instant::now());
                while let Some((since, change)) = locked.next() {
                    if let Some(change) = changes.write(change, Some(LOCKED_TRY)).await {
                        locked.put_back(since, change);
                        break;
                    }
                }
                locked.next_try = Instant::now() + LOCKED_PAUSE;
            }
        }
    }
}

/// A command, with when it met the lock or came behind one that had.
type Waiting = (Instant, Box<dyn Change>);

/// Commands whose conversations another session has locked: they are tried again beside the others, for a while, and in one
/// conversation none overtakes another.
struct Locked {
    waiting: BTreeMap<ConversationId, VecDeque<Waiting>>,
    /// When one of them is tried.
    next_try: Instant,
    /// The conversation that was tried last.
    tried: ConversationId,
}

impl Default for Locked {
    fn default() -> Self {
        Self { waiting: BTreeMap::new(), next_try: Instant::now(), tried: ConversationId(0) }
    }
}

impl Locked {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes a command in whose conversation others wait; gives back any other.
    fn behind(&mut self, change: Box<dyn Change>) -> Option<Box<dyn Change>> {
        match change.conversation().and_then(|id| self.waiting.get_mut(&id)) {
            Some(waiting) => {
                waiting.push_back((Instant::now(), change));
                None
            }
            None => Some(change),
        }
    }

    /// Takes a command that has met the lock of its conversation.
    fn push(&mut self, change: Box<dyn Change>) {
        self.put_back(Instant::now(), change);
    }

    fn put_back(&mut self, since: Instant, change: Box<dyn Change>) {
        if let Some(id) = change.conversation() {
            self.waiting.entry(id).or_default().push_front((since, change));
        }
    }

    /// The next command to be tried: the conversations take turns.
    fn next(&mut self) -> Option<Waiting> {
        let after = (Bound::Excluded(self.tried), Bound::Unbounded);
        let id = self.waiting.range(after).next().or_else(|| self.waiting.first_key_value());
        let id = id.map(|(id, _)| *id)?;
        let waiting = self.waiting.get_mut(&id)?;
        let next = waiting.pop_front();
        if waiting.is_empty() {
            self.waiting.remove(&id);
        }
        self.tried = id;
        next
    }

    /// Refuses those that were tried for long enough by this time.
    fn refuse(&mut self, now: Instant) {
        self.waiting.retain(|_, waiting| {
            while let Some((_, change)) = waiting.pop_front_if(|(since, _)| now >= *since + LOCKED_TIME) {
                change.answer(Err(locked_too_long()));
            }
            !waiting.is_empty()
        });
    }
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
    /// Writes a command and answers it; gives it back where another session has locked its conversation, which is waited
    /// for as long as `lock_time` says or the connection does.
    async fn write(
        &mut self,
        mut change: Box<dyn Change>,
        lock_time: Option<Duration>,
    ) -> Option<Box<dyn Change>> {
        let begin = Instant::now();
        let mut attempt = 1;
        loop {
            match self.commit(&mut *change, lock_time).await {
                Ok(()) => {
                    self.shared.note(false);
                    self.shared.metrics.committed(1, begin.elapsed());
                    change.answer(Ok(()));
                    return None;
                }
                Err(Uncommitted::No(Error::Locked(_))) if change.conversation().is_some() => {
                    self.shared.metrics.commit_failed();
                    return Some(change);
                }
                Err(Uncommitted::No(error @ Error::Unavailable(_)))
                    if attempt < ATTEMPTS && begin.elapsed() < ATTEMPTS_TIME =>
                {
                    self.shared.metrics.commit_failed();
                    tracing::debug!(%error, attempt, "writing again");
                    attempt += 1;
                }
                Err(Uncommitted::No(error)) => {
                    self.shared.metrics.commit_failed();
                    if !matches!(error, Error::Locked(_)) {
                        self.shared.note(error.is_passing());
                    }
                    if error.is_passing() {
                        tracing::warn!(%error, "the store cannot write");
                    }
                    change.answer(Err(error));
                    return None;
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
                    return None;
                }
            }
        }
    }

    async fn commit(
        &mut self,
        change: &mut dyn Change,
        lock_time: Option<Duration>,
    ) -> std::result::Result<(), Uncommitted> {
        let connection = match self.connection.take() {
            Some(open) if !open.is_closed() => open,
            _ => self
                .shared
                .connect(&self.server)
                .await
                .map_err(|error| Uncommitted::No(Error::Unavailable(error.to_string())))?,
        };
        let number = self.shared.numbers.take();
        let applied = self.apply(&connection, number, change, lock_time).await;
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

    async fn apply(
        &self,
        connection: &Connection,
        number: i64,
        change: &mut dyn Change,
        lock_time: Option<Duration>,
    ) -> Result<()> {
        let node = self.shared.node;
        match lock_time {
            None => connection.execute("BEGIN").await?,
            Some(time) => {
                let begin = format!("BEGIN; SET LOCAL lock_timeout = {}", time.as_millis());
                connection.execute(&begin).await?;
            }
        }
        let mut transaction = Transaction::new(Executor::Postgres(connection), node);
        change.apply(&mut transaction).await?;
        transaction.finish(Some(Batch { node, number })).await
    }
}
