//! Batches single-row reads by key: callers of one statement that come while it runs share its next run, so that a busy
//! server sends a handful of statements for hundreds of requests.

use std::sync::Arc;

use super::shared_runs::{SharedRuns, Waiter, Waiters, reply_by_index};
use super::{Lane, ReadPool, Result, Row, Sql, Value};

/// One statement by key. Its parameters are the key and the key's index in the batch, which it returns as its first
/// column.
pub struct BatchLoader {
    pool: Arc<ReadPool>,
    lane: Lane,
    sql: Sql,
    /// Keys in one batch.
    batch: usize,
    runs: Arc<SharedRuns<(), Value>>,
}

impl BatchLoader {
    /// `batch`: keys in one batch.
    pub fn new(pool: &Arc<ReadPool>, lane: Lane, sql: Sql, batch: usize) -> Arc<Self> {
        Arc::new(Self { pool: Arc::clone(pool), lane, sql, batch, runs: Arc::default() })
    }

    /// The rows with this key, without the column of the index.
    pub async fn get(self: &Arc<Self>, key: Value) -> Result<Vec<Row>> {
        let permit = self.pool.permit(self.lane).await?;
        let this = Arc::clone(self);
        let run = move |_, waiters| {
            let this = Arc::clone(&this);
            async move { this.read_batches(waiters).await }
        };
        self.runs.join((), key, permit, run).await
    }

    async fn read_batches(&self, waiters: Waiters<Value>) {
        let mut by_key = waiters.into_iter();
        loop {
            let (keys, waiters): (Vec<_>, Vec<_>) = by_key.by_ref().take(self.batch).unzip();
            if keys.is_empty() {
                break;
            }
            self.read_batch(keys, waiters).await;
        }
    }

    /// `waiters_of`: those of each key.
    async fn read_batch(&self, keys: Vec<Value>, waiters_of: Vec<Vec<Waiter>>) {
        let rows = (0..).zip(keys).map(|(index, key)| vec![key, Value::Int(index)]).collect();
        let statement = Arc::new(self.pool.backend.bind_rows(self.lane, self.sql.clone(), rows));
        let found = self.pool.backend.run(&statement).await;
        reply_by_index(waiters_of, found, |values| (!values.is_empty()).then(|| values.remove(0)));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::future::join_all;
    use wicara_metrics::Metrics;

    use super::*;
    use crate::engine::{Error, ReadBackend, sqlite, sqlite_connection};

    #[tokio::test]
    async fn each_caller_gets_the_rows_of_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let fill =
            "CREATE TABLE words (length, word); INSERT INTO words VALUES (1, 'a'), (2, 'an'), (2, 'to')";
        sqlite_connection::open(&path).unwrap().execute_batch(fill).unwrap();
        let backend = ReadBackend::Sqlite(sqlite::ReaderThreads::open(&path).unwrap());
        let pool = Arc::new(ReadPool::new(backend, Metrics::default().store));
        let words = BatchLoader::new(
            &pool,
            Lane::Quick,
            Sql::both("SELECT $2, word FROM words WHERE length = $1"),
            2,
        );
        // The first key is read alone; the others wait for the next batches, two callers for the same key.
        let keys = [1, 2, 3, 2, 1];
        let found = join_all(keys.map(|key| words.get(Value::Int(key)))).await;
        let text = |word: &str| Row(vec![Value::Text(word.to_owned())]);
        let expected = [vec![text("a")], vec![text("an"), text("to")], vec![], vec![text("an"), text("to")]];
        for (found, expected) in found.into_iter().zip(expected.iter().chain([&expected[0]])) {
            assert_eq!(found.unwrap(), *expected);
        }
    }

    #[tokio::test]
    async fn a_failed_batch_fails_for_all_its_waiters_and_not_for_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let backend = ReadBackend::Sqlite(sqlite::ReaderThreads::open(&path).unwrap());
        let pool = Arc::new(ReadPool::new(backend, Metrics::default().store));
        let words = BatchLoader::new(
            &pool,
            Lane::Quick,
            Sql::both("SELECT $2, word FROM words WHERE length = $1"),
            2,
        );
        for failed in join_all([1, 2, 2].map(|key| words.get(Value::Int(key)))).await {
            assert!(matches!(failed, Err(Error::Database(_))), "{failed:?}");
        }
        sqlite_connection::open(&path).unwrap().execute_batch("CREATE TABLE words (length, word)").unwrap();
        assert_eq!(words.get(Value::Int(1)).await.unwrap(), []);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn no_caller_gets_a_read_that_started_before_its_call() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let backend = ReadBackend::Sqlite(sqlite::ReaderThreads::open(&path).unwrap());
        let pool = Arc::new(ReadPool::new(backend, Metrics::default().store));
        let words = sqlite_connection::open(&path).unwrap();
        words.execute_batch("CREATE TABLE words (length, word)").unwrap();
        let words = Arc::new(Mutex::new((words, 0)));
        let sql = Sql::both("SELECT $2, count(*) FROM words WHERE length = $1");
        let count = BatchLoader::new(&pool, Lane::Quick, sql, 2);
        let write = |words: &Mutex<(rusqlite::Connection, i64)>| {
            let mut words = words.lock().unwrap();
            words.0.execute("INSERT INTO words VALUES (1, 'a')", []).unwrap();
            words.1 += 1;
            words.1
        };
        let readers = (0..8).map(|_| {
            let (count, words) = (Arc::clone(&count), Arc::clone(&words));
            tokio::spawn(async move {
                for _ in 0..50 {
                    let written = write(&words);
                    let found = count.get(Value::Int(1)).await.unwrap().remove(0).int("words", "count");
                    let found = found.unwrap();
                    assert!(found >= written, "{found} of {written}");
                }
            })
        });
        for reader in join_all(readers).await {
            reader.unwrap();
        }
    }
}
