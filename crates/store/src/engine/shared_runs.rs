//! Runs of statements that several callers share: callers that come while a statement runs wait for its next run. A
//! caller never gets the result of a run that started before its call (read-your-writes), and nothing is cached.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::bound_statement::ReadPermit;
use super::{Error, Result, Row, Value};

/// The statements `S` that are running, each with the waiters of its next run by what they ask it for, `K`: equal
/// callers share a result.
pub struct SharedRuns<S, K> {
    running: Mutex<HashMap<Arc<S>, Waiters<K>>>,
}

pub type Waiters<K> = HashMap<K, Vec<Waiter>>;

impl<S, K> Default for SharedRuns<S, K> {
    fn default() -> Self {
        Self { running: Mutex::default() }
    }
}

impl<S, K> SharedRuns<S, K>
where
    S: Eq + Hash + Send + Sync + 'static,
    K: Eq + Hash + Send + 'static,
{
    /// Waits for the statement's next run. `run` is called for each of them, until nobody waits any more; it must reply
    /// to all waiters.
    pub async fn join<F>(
        self: &Arc<Self>,
        statement: S,
        key: K,
        permit: ReadPermit,
        run: impl Fn(Arc<S>, Waiters<K>) -> F + Send + 'static,
    ) -> Result<Vec<Row>>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let statement = Arc::new(statement);
        let (reply, rows) = oneshot::channel();
        if self.add(&statement, key, Waiter { reply, _permit: permit }) {
            // A task, because the other waiters need the run even if this caller's request is dropped.
            tokio::spawn(Arc::clone(self).run_while_awaited(statement, run));
        }
        let found = rows.await.unwrap_or_else(|_| Err(Error::Unavailable("a read ended early".into())));
        found.map(Arc::unwrap_or_clone)
    }

    /// Adds a waiter to the statement's next run; whether nobody runs the statement, so that this caller has to.
    fn add(&self, statement: &Arc<S>, key: K, waiter: Waiter) -> bool {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = running.entry(Arc::clone(statement));
        let is_idle = matches!(entry, Entry::Vacant(_));
        entry.or_default().entry(key).or_default().push(waiter);
        is_idle
    }

    async fn run_while_awaited<F>(self: Arc<Self>, statement: Arc<S>, run: impl Fn(Arc<S>, Waiters<K>) -> F)
    where
        F: Future<Output = ()>,
    {
        let mut guard = Guard { runs: &self, statement: &statement, ended: false };
        loop {
            // Yields once, so that callers which are already runnable join this run.
            tokio::task::yield_now().await;
            let waiters = self.take_waiters(&statement);
            if waiters.is_empty() {
                guard.ended = true;
                return;
            }
            run(Arc::clone(&statement), waiters).await;
        }
    }

    /// The waiters of the next run, without those whose request was dropped. Without any the statement is removed, and
    /// the next caller runs it.
    fn take_waiters(&self, statement: &Arc<S>) -> Waiters<K> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(by_key) = running.get_mut(statement) else { return Waiters::new() };
        by_key.retain(|_, waiters| {
            waiters.retain(|waiter| !waiter.reply.is_closed());
            !waiters.is_empty()
        });
        let taken = std::mem::take(by_key);
        if taken.is_empty() {
            running.remove(statement);
        }
        taken
    }

    /// Whether no statement runs.
    #[cfg(test)]
    pub fn is_idle(&self) -> bool {
        self.running.lock().unwrap().is_empty()
    }
}

/// Drops the waiters if a run panics: their channels close, and no caller waits for ever.
struct Guard<'a, S: Eq + Hash, K> {
    runs: &'a SharedRuns<S, K>,
    statement: &'a Arc<S>,
    ended: bool,
}

impl<S: Eq + Hash, K> Drop for Guard<'_, S, K> {
    fn drop(&mut self) {
        if !self.ended {
            self.runs.running.lock().unwrap_or_else(PoisonError::into_inner).remove(self.statement);
        }
    }
}

type Reply = Result<Arc<Vec<Row>>>;

/// One caller. It keeps its permit until the statement has run, also where its request was dropped: the permits bound
/// the work of the database.
pub struct Waiter {
    reply: oneshot::Sender<Reply>,
    _permit: ReadPermit,
}

/// Sends the result to all waiters. The last one gets the rows without a copy.
pub fn reply_to_all(mut waiters: Vec<Waiter>, found: Result<Vec<Row>>) {
    let found = found.map(Arc::new);
    let last = waiters.pop();
    for waiter in waiters {
        let _ = waiter.reply.send(found.clone());
    }
    if let Some(last) = last {
        let _ = last.reply.send(found);
    }
}

/// Gives the rows of a batch back to their waiters. `take_index` takes the index of the waiters that a row is for out of
/// its values. An error goes to all of them.
pub fn reply_by_index(
    waiters_of: Vec<Vec<Waiter>>,
    found: Result<Vec<Row>>,
    take_index: impl Fn(&mut Vec<Value>) -> Option<Value>,
) {
    let mut results = vec![found.as_ref().map(|_| Vec::new()).map_err(Clone::clone); waiters_of.len()];
    for Row(mut values) in found.into_iter().flatten() {
        if let Some(Value::Int(index)) = take_index(&mut values)
            && let Some(Ok(rows)) = usize::try_from(index).ok().and_then(|index| results.get_mut(index))
        {
            rows.push(Row(values));
        }
    }
    for (waiters, result) in waiters_of.into_iter().zip(results) {
        reply_to_all(waiters, result);
    }
}
