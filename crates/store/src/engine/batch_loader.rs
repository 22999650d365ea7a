//! Batches single-row reads: those by the same statement that come while one is under way are its next batch. A busy server
//! so sends a handful of statements for what hundreds of requests ask for. A batch begins after all its callers have asked,
//! so that none is told what was there before.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::single_flight::{Caller, answer, rows};
use super::{Lane, Reads, Result, Row, Sql, Value};

/// One statement by key. Its parameters are the key and a number, and its first column is that number.
pub struct BatchLoader {
    reads: Arc<Reads>,
    lane: Lane,
    sql: Sql,
    /// Keys in one batch.
    batch: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    under_way: bool,
    wanted: Wanted,
}

/// Callers by key, in batches of their own where they ask while one is under way.
type Wanted = HashMap<Value, Vec<Caller>>;

impl BatchLoader {
    pub fn new(reads: &Arc<Reads>, lane: Lane, sql: Sql, batch: usize) -> Arc<Self> {
        Arc::new(Self { reads: Arc::clone(reads), lane, sql, batch, state: Mutex::default() })
    }

    /// The rows with this key, without their first column.
    pub async fn get(self: &Arc<Self>, key: Value) -> Result<Vec<Row>> {
        let permit = self.reads.permit(self.lane).await?;
        let (reply, answer) = oneshot::channel();
        let begins = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.wanted.entry(key).or_default().push(Caller { reply, _permit: permit });
            !std::mem::replace(&mut state.under_way, true)
        };
        if begins {
            // In a task of its own: other callers wait for the batch even if this one leaves.
            tokio::spawn(Arc::clone(self).read());
        }
        rows(answer).await
    }

    async fn read(self: Arc<Self>) {
        let mut guard = Guard { loader: &self, ended: false };
        // Tasks that are ready to run join the batch.
        tokio::task::yield_now().await;
        while let Some(wanted) = self.next() {
            let mut wanted = wanted.into_iter();
            loop {
                let (keys, callers): (Vec<_>, Vec<_>) = wanted.by_ref().take(self.batch).unzip();
                if keys.is_empty() {
                    break;
                }
                self.read_batch(keys, callers).await;
            }
            tokio::task::yield_now().await;
        }
        guard.ended = true;
    }

    async fn read_batch(&self, keys: Vec<Value>, callers: Vec<Vec<Caller>>) {
        let rows = (0..).zip(keys).map(|(index, key)| vec![key, Value::Int(index)]).collect();
        let read = Arc::new(self.reads.many(self.lane, self.sql.clone(), rows));
        let found = self.reads.run(&read).await;
        let mut answers = vec![found.as_ref().map(|_| Vec::new()).map_err(Clone::clone); callers.len()];
        for Row(values) in found.into_iter().flatten() {
            let mut values = values.into_iter();
            if let Some(Value::Int(index)) = values.next()
                && let Some(Ok(rows)) = usize::try_from(index).ok().and_then(|index| answers.get_mut(index))
            {
                rows.push(Row(values.collect()));
            }
        }
        for (callers, found) in callers.into_iter().zip(answers) {
            answer(callers, found);
        }
    }

    /// The next batches, without callers that have left.
    fn next(&self) -> Option<Wanted> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.wanted.retain(|_, callers| {
            callers.retain(|caller| !caller.reply.is_closed());
            !callers.is_empty()
        });
        state.under_way = !state.wanted.is_empty();
        state.under_way.then(|| std::mem::take(&mut state.wanted))
    }
}

/// Drops the callers if reading panics: their channels close, and none waits for ever.
struct Guard<'a> {
    loader: &'a BatchLoader,
    ended: bool,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if !self.ended {
            *self.loader.state.lock().unwrap_or_else(PoisonError::into_inner) = State::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use wicara_metrics::Metrics;

    use super::*;
    use crate::engine::{Error, Source, sqlite, sqlite_connection};

    #[tokio::test]
    async fn each_caller_gets_the_rows_of_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let fill =
            "CREATE TABLE words (length, word); INSERT INTO words VALUES (1, 'a'), (2, 'an'), (2, 'to')";
        sqlite_connection::open(&path).unwrap().execute_batch(fill).unwrap();
        let source = Source::Sqlite(sqlite::Reads::open(&path).unwrap());
        let reads = Arc::new(Reads::new(source, Metrics::default().store));
        let words = BatchLoader::new(
            &reads,
            Lane::Quick,
            Sql::both("SELECT $2, word FROM words WHERE length = $1"),
            2,
        );
        // The first is under way alone; the others wait for the next read, some for the same key.
        let keys = [1, 2, 3, 2, 1];
        let found = join_all(keys.map(|key| words.get(Value::Int(key)))).await;
        let text = |word: &str| Row(vec![Value::Text(word.to_owned())]);
        let expected = [vec![text("a")], vec![text("an"), text("to")], vec![], vec![text("an"), text("to")]];
        for (found, expected) in found.into_iter().zip(expected.iter().chain([&expected[0]])) {
            assert_eq!(found.unwrap(), *expected);
        }
    }

    #[tokio::test]
    async fn a_read_that_fails_fails_for_all_of_it_and_not_for_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let source = Source::Sqlite(sqlite::Reads::open(&path).unwrap());
        let reads = Arc::new(Reads::new(source, Metrics::default().store));
        let words = BatchLoader::new(
            &reads,
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
    async fn no_caller_is_told_what_was_there_before_it_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let source = Source::Sqlite(sqlite::Reads::open(&path).unwrap());
        let reads = Arc::new(Reads::new(source, Metrics::default().store));
        let words = sqlite_connection::open(&path).unwrap();
        words.execute_batch("CREATE TABLE words (length, word)").unwrap();
        let words = Arc::new(Mutex::new((words, 0)));
        let sql = Sql::both("SELECT $2, count(*) FROM words WHERE length = $1");
        let count = BatchLoader::new(&reads, Lane::Quick, sql, 2);
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
