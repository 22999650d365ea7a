//! Single-flight of equal statements: callers with the same statement and parameters share one run of it. On SQLite this
//! is for the totals that lists begin with, the same for each of their pages; PostgreSQL reads those in batches
//! (`row_batches.rs`).

use std::sync::Arc;

use super::bound_statement::{BoundStatement, ReadPermit};
use super::read_backend::ReadBackend;
use super::shared_runs::{SharedRuns, Waiters, reply_to_all};
use super::{Result, Row};

pub struct SingleFlight {
    backend: Arc<ReadBackend>,
    runs: Arc<SharedRuns<BoundStatement, ()>>,
}

impl SingleFlight {
    pub fn new(backend: Arc<ReadBackend>) -> Self {
        Self { backend, runs: Arc::default() }
    }

    /// Runs a statement once for all callers that wait for the same one.
    pub async fn run(&self, statement: BoundStatement, permit: ReadPermit) -> Result<Vec<Row>> {
        let backend = Arc::clone(&self.backend);
        let run = move |statement, waiters: Waiters<()>| {
            let backend = Arc::clone(&backend);
            async move {
                let found = backend.run(&statement).await;
                reply_to_all(waiters.into_values().flatten().collect(), found);
            }
        };
        self.runs.join(statement, (), permit, run).await
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Mutex;

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
        assert!(pool.single_flight.runs.is_idle());
    }
}
