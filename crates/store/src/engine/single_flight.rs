//! Single-flight of equal statements: callers with the same statement and parameters share one run of it. A caller
//! never gets the result of a run that started before its call (read-your-writes): callers that come during a run wait
//! for the next one. On SQLite this is for the totals that lists begin with, the same for each of their pages;
//! PostgreSQL reads those in batches (`row_batches.rs`).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::bound_statement::{BoundStatement, ReadPermit};
use super::read_backend::ReadBackend;
use super::waiter::{Waiter, receive_rows, reply_to_all};
use super::{Result, Row};

/// The statements that are running, each with the waiters of its next run.
pub struct SingleFlight {
    backend: Arc<ReadBackend>,
    running: Mutex<HashMap<Arc<BoundStatement>, Vec<Waiter>>>,
}

impl SingleFlight {
    pub fn new(backend: Arc<ReadBackend>) -> Arc<Self> {
        Arc::new(Self { backend, running: Mutex::default() })
    }

    /// Adds a waiter to the statement's next run; whether nobody runs the statement, so that this caller has to.
    fn join(&self, statement: &Arc<BoundStatement>, waiter: Waiter) -> bool {
        match self.running.lock().unwrap_or_else(PoisonError::into_inner).entry(Arc::clone(statement)) {
            Entry::Occupied(mut waiters) => {
                waiters.get_mut().push(waiter);
                false
            }
            Entry::Vacant(entry) => {
                entry.insert(vec![waiter]);
                true
            }
        }
    }

    /// The waiters of the next run, without those whose request was dropped. Without any the statement is removed, and
    /// the next caller runs it.
    fn take_waiters(&self, statement: &Arc<BoundStatement>) -> Vec<Waiter> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let mut waiters = running.get_mut(statement).map(std::mem::take).unwrap_or_default();
        waiters.retain(Waiter::is_waiting);
        if waiters.is_empty() {
            running.remove(statement);
        }
        waiters
    }

    /// Runs a statement once for all callers that wait for the same one.
    pub async fn run(self: &Arc<Self>, statement: BoundStatement, permit: ReadPermit) -> Result<Vec<Row>> {
        let statement = Arc::new(statement);
        let (reply, rows) = oneshot::channel();
        if self.join(&statement, Waiter::new(reply, permit)) {
            // A task, because the other waiters need the run even if this caller's request is dropped.
            tokio::spawn(Arc::clone(self).run_while_awaited(statement));
        }
        receive_rows(rows).await
    }

    async fn run_while_awaited(self: Arc<Self>, statement: Arc<BoundStatement>) {
        let mut guard = Guard { flight: &self, statement: &statement, ended: false };
        loop {
            // Yields once, so that callers which are already runnable join this run.
            tokio::task::yield_now().await;
            let waiters = self.take_waiters(&statement);
            if waiters.is_empty() {
                guard.ended = true;
                return;
            }
            let found = self.backend.run(&statement).await;
            reply_to_all(waiters, found);
        }
    }
}

/// Drops the waiters if a run panics: their channels close, and no caller waits for ever.
struct Guard<'a> {
    flight: &'a SingleFlight,
    statement: &'a Arc<BoundStatement>,
    ended: bool,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let mut running = self.flight.running.lock().unwrap_or_else(PoisonError::into_inner);
            running.remove(self.statement);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use futures_util::future::join_all;
    use rusqlite::Connection;
    use wicara_metrics::Metrics;

    use super::*;
    use crate::engine::{Error, Lane, ReadPool, sqlite, sqlite_connection};

    fn pool(path: &Path) -> Arc<ReadPool> {
        let backend = ReadBackend::Sqlite(sqlite::ReaderThreads::open(path).unwrap());
        Arc::new(ReadPool::new(backend, Metrics::default().store))
    }

    async fn count(pool: &Arc<ReadPool>) -> Result<i64> {
        let rows = pool.query(Lane::Quick, "SELECT count(*) FROM words", vec![]).await?;
        rows.into_iter().next().unwrap().int("words", "count")
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn no_caller_gets_a_read_that_started_before_its_call() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let pool = pool(&path);
        let words = sqlite_connection::open(&path).unwrap();
        words.execute_batch("CREATE TABLE words (word)").unwrap();
        let words = Arc::new(Mutex::new((words, 0)));
        let write = |words: &Mutex<(Connection, i64)>| {
            let mut words = words.lock().unwrap();
            words.0.execute("INSERT INTO words VALUES ('a')", []).unwrap();
            words.1 += 1;
            words.1
        };
        let readers = (0..8).map(|_| {
            let (pool, words) = (Arc::clone(&pool), Arc::clone(&words));
            tokio::spawn(async move {
                for _ in 0..50 {
                    let written = write(&words);
                    let found = count(&pool).await.unwrap();
                    assert!(found >= written, "{found} of {written}");
                }
            })
        });
        for reader in join_all(readers).await {
            reader.unwrap();
        }
    }

    #[tokio::test]
    async fn a_failed_read_fails_for_all_its_waiters_and_not_for_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let pool = pool(&path);
        for failed in join_all([(); 3].map(|()| count(&pool))).await {
            assert!(matches!(failed, Err(Error::Database(_))), "{failed:?}");
        }
        sqlite_connection::open(&path).unwrap().execute_batch("CREATE TABLE words (word)").unwrap();
        assert_eq!(count(&pool).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn equal_reads_run_once_and_no_result_is_cached() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let pool = pool(&path);
        // Each run returns another number.
        let number = || pool.query(Lane::Quick, "SELECT random()", vec![]);
        let numbers = join_all([(); 3].map(|()| number())).await;
        let numbers: Vec<_> = numbers.into_iter().map(|rows| rows.unwrap().remove(0)).collect();
        assert!(numbers.iter().all(|other| *other == numbers[0]), "{numbers:?}");
        assert_ne!(number().await.unwrap()[0], numbers[0]);
        tokio::task::yield_now().await;
        assert!(pool.single_flight.running.lock().unwrap().is_empty());
    }
}
