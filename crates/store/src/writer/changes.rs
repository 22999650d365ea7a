//! All commands but appends on PostgreSQL: one after the other, each in its own transaction, because they are rare. The
//! server ends a transaction whose node sends no next statement in time (`idle_in_transaction_session_timeout`). A
//! command that meets a locked conversation is set aside together with the later ones of that conversation, so that the
//! commands of other conversations do not wait.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;
use wicara_model::ConversationId;

use super::in_doubt::{IN_DOUBT_TIME, InDoubt, NUMBER_TAKEN, not_committed};
use super::queue::{LOCKED_PAUSE, LOCKED_TIME, locked_too_long};
use super::{Shared, WriteRequest};
use crate::commands::Change;
use crate::effects::{ADD_EVENTS, Batch};
use crate::engine::postgres::Server;
use crate::engine::postgres_connection::{CallError, Connection};
use crate::engine::{Error, Executor, Result, Value};
use crate::transaction::Transaction;

/// How often a command is tried while the database is unavailable.
const ATTEMPTS: usize = 3;
/// No try starts later than this after the first, because the next commands wait.
const ATTEMPTS_TIME: Duration = Duration::from_secs(2);
/// How long a retry waits for the lock of a conversation that was locked at the last try.
const RETRY_LOCK_TIMEOUT: Duration = Duration::from_millis(20);

/// Runs until the queue is closed and empty.
pub(super) async fn run(
    shared: Shared,
    server: Server,
    mut requests: mpsc::Receiver<WriteRequest>,
    in_doubt: TaskTracker,
) -> Option<oneshot::Sender<()>> {
    let mut changes = Changes { shared, server, connection: None, in_doubt };
    let (mut locked, mut closing) = (LockedChanges::default(), None);
    loop {
        let next = if locked.is_empty() {
            Ok(requests.recv().await)
        } else {
            timeout_at(locked.next_try, requests.recv()).await
        };
        match next {
            Ok(Some(WriteRequest::Change(change) | WriteRequest::ChangeInOwnTransaction(change))) => {
                changes.shared.metrics.dequeued(1);
                if let Some(change) = locked.queue_if_locked(change)
                    && let Some(change) = changes.write(change, None).await
                {
                    locked.push(change);
                }
            }
            Ok(Some(WriteRequest::Append(append))) => {
                append.answer(Err(Error::Database("an append came to the changes".into())));
            }
            Ok(Some(WriteRequest::Close(done))) => {
                requests.close();
                closing = Some(done);
            }
            // Closed and empty: the commands that still wait for a lock are refused.
            Ok(None) => {
                locked.refuse(Instant::now() + LOCKED_TIME);
                return closing;
            }
            Err(_) => {
                locked.refuse(Instant::now());
                while let Some((since, change)) = locked.next() {
                    if let Some(change) = changes.write(change, Some(RETRY_LOCK_TIMEOUT)).await {
                        locked.put_back(since, change);
                        break;
                    }
                }
                locked.next_try = Instant::now() + LOCKED_PAUSE;
            }
        }
    }
}

/// A command, with the time at which it met the lock or was queued behind a command that had.
type LockedChange = (Instant, Box<dyn Change>);

/// The commands whose conversations another session has locked. They are retried for [`LOCKED_TIME`] between other
/// commands; within a conversation they keep their order.
struct LockedChanges {
    waiting: BTreeMap<ConversationId, VecDeque<LockedChange>>,
    /// When the next retry is due.
    next_try: Instant,
    /// The conversation that was retried last.
    last_tried: ConversationId,
}

impl Default for LockedChanges {
    fn default() -> Self {
        Self { waiting: BTreeMap::new(), next_try: Instant::now(), last_tried: ConversationId(0) }
    }
}

impl LockedChanges {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Queues a command if others of its conversation wait; returns it otherwise.
    fn queue_if_locked(&mut self, change: Box<dyn Change>) -> Option<Box<dyn Change>> {
        match change.conversation().and_then(|id| self.waiting.get_mut(&id)) {
            Some(waiting) => {
                waiting.push_back((Instant::now(), change));
                None
            }
            None => Some(change),
        }
    }

    /// Queues a command that met the lock of its conversation.
    fn push(&mut self, change: Box<dyn Change>) {
        self.put_back(Instant::now(), change);
    }

    fn put_back(&mut self, since: Instant, change: Box<dyn Change>) {
        if let Some(id) = change.conversation() {
            self.waiting.entry(id).or_default().push_front((since, change));
        }
    }

    /// The next command to retry; the conversations take turns.
    fn next(&mut self) -> Option<LockedChange> {
        let after = (Bound::Excluded(self.last_tried), Bound::Unbounded);
        let id = self.waiting.range(after).next().or_else(|| self.waiting.first_key_value());
        let id = id.map(|(id, _)| *id)?;
        let waiting = self.waiting.get_mut(&id)?;
        let next = waiting.pop_front();
        if waiting.is_empty() {
            self.waiting.remove(&id);
        }
        self.last_tried = id;
        next
    }

    /// Refuses the commands that have waited for [`LOCKED_TIME`] at this time.
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

/// Why a transaction failed.
enum CommitError {
    NotCommitted(Error),
    /// The answer to its COMMIT got lost. `number`: of the batch.
    InDoubt {
        number: i64,
    },
}

impl Changes {
    /// Writes a command and answers it; returns it where another session has locked its conversation. `lock_timeout`:
    /// instead of the connection's own.
    async fn write(
        &mut self,
        mut change: Box<dyn Change>,
        lock_timeout: Option<Duration>,
    ) -> Option<Box<dyn Change>> {
        let begin = Instant::now();
        let mut attempt = 1;
        loop {
            match self.commit(&mut *change, lock_timeout).await {
                Ok(()) => {
                    self.shared.set_refused(false);
                    self.shared.committed(1, begin.elapsed());
                    change.answer(Ok(()));
                    return None;
                }
                Err(CommitError::NotCommitted(Error::Locked(_))) if change.conversation().is_some() => {
                    self.shared.metrics.commit_failed();
                    return Some(change);
                }
                Err(CommitError::NotCommitted(error @ Error::Unavailable(_)))
                    if attempt < ATTEMPTS && begin.elapsed() < ATTEMPTS_TIME =>
                {
                    self.shared.metrics.commit_failed();
                    tracing::debug!(%error, attempt, "writing again");
                    attempt += 1;
                }
                Err(CommitError::NotCommitted(error)) => {
                    self.shared.metrics.commit_failed();
                    if !matches!(error, Error::Locked(_)) {
                        self.shared.set_refused(error.is_passing());
                    }
                    if error.is_passing() {
                        tracing::warn!(%error, "the store cannot write");
                    }
                    change.answer(Err(error));
                    return None;
                }
                Err(CommitError::InDoubt { number }) => {
                    self.shared.set_refused(true);
                    let in_doubt =
                        InDoubt { shared: self.shared.clone(), server: self.server.clone(), number };
                    self.in_doubt.spawn(async move {
                        change.answer(match in_doubt.look_up(IN_DOUBT_TIME).await {
                            Ok(Some(_)) => {
                                in_doubt.shared.committed.notify();
                                Ok(())
                            }
                            Ok(None) => Err(not_committed()),
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
        lock_timeout: Option<Duration>,
    ) -> std::result::Result<(), CommitError> {
        let connection = match self.connection.take() {
            Some(open) if !open.is_closed() => open,
            _ => self
                .shared
                .connect(&self.server)
                .await
                .map_err(|error| CommitError::NotCommitted(Error::Unavailable(error.to_string())))?,
        };
        let number = self.shared.numbers.take();
        let applied = self.apply(&connection, number, change, lock_timeout).await;
        let events = match applied {
            Ok(events) => events,
            Err(error) => {
                let is_passing = matches!(error, Error::Unavailable(_));
                if !is_passing && !connection.is_closed() && connection.execute("ROLLBACK").await.is_ok() {
                    self.shared.numbers.give_back(number);
                    self.connection = Some(connection);
                } else {
                    // Not given back: another node, which took this one for dead, may have marked the number void, or the
                    // session may still be open on the server and hold the number's row.
                    self.shared.numbers.settle(number);
                }
                return Err(CommitError::NotCommitted(error));
            }
        };
        let events = events.as_deref().map(|params| (ADD_EVENTS, params));
        let committed = connection.commit(events, NUMBER_TAKEN).await;
        match committed {
            Ok(_) => {
                self.shared.numbers.settle(number);
                self.connection = Some(connection);
                Ok(())
            }
            Err(CallError::NotCommitted(error)) => {
                self.shared.numbers.give_back(number);
                Err(CommitError::NotCommitted(error))
            }
            Err(CallError::NumberTaken) => {
                self.shared.numbers.settle(number);
                Err(CommitError::NotCommitted(Error::Unavailable("the batch was given up".into())))
            }
            Err(CallError::InDoubt) => Err(CommitError::InDoubt { number }),
        }
    }

    async fn apply(
        &self,
        connection: &Connection,
        number: i64,
        change: &mut dyn Change,
        lock_timeout: Option<Duration>,
    ) -> Result<Option<Vec<Value>>> {
        let node = self.shared.node;
        match lock_timeout {
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
