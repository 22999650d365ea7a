//! Reads by key, gathered: those that come while one is under way are the next one, together. A busy server so reads
//! a handful of times what hundreds of requests ask for, and none is told what was there before it asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::shared::{Waiting, answer, found, retain};
use super::{Lane, Place, Reads, Result, Row, Sql, Value};

/// One statement by key. Its parameters are the key and a number, and its first column is that number.
pub struct Gather {
    reads: Arc<Reads>,
    lane: Lane,
    sql: Sql,
    /// Keys that are read at once.
    most: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    under_way: bool,
    wanted: Wanted,
}

type Wanted = HashMap<Value, Vec<Waiting<Vec<Row>, Place>>>;

impl Gather {
    pub fn new(reads: &Arc<Reads>, lane: Lane, sql: Sql, most: usize) -> Arc<Self> {
        Arc::new(Self { reads: Arc::clone(reads), lane, sql, most, state: Mutex::default() })
    }

    /// The rows with this key, without their first column.
    pub async fn get(self: &Arc<Self>, key: Value) -> Result<Vec<Row>> {
        let place = self.reads.place(self.lane).await?;
        let (reply, answer) = oneshot::channel();
        let begins = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.wanted.entry(key).or_default().push(Waiting { reply, _place: place });
            !std::mem::replace(&mut state.under_way, true)
        };
        if begins {
            // Others wait for it, whether this caller stays or leaves.
            tokio::spawn(Arc::clone(self).read());
        }
        found(answer).await.map(Arc::unwrap_or_clone)
    }

    async fn read(self: Arc<Self>) {
        let mut guard = Guard { gather: &self, ended: false };
        // Whoever is ready to ask asks first.
        tokio::task::yield_now().await;
        while let Some(wanted) = self.next() {
            let mut wanted = wanted.into_iter();
            loop {
                let (keys, waiting): (Vec<_>, Vec<_>) = wanted.by_ref().take(self.most).unzip();
                if keys.is_empty() {
                    break;
                }
                self.read_once(keys, waiting).await;
            }
            tokio::task::yield_now().await;
        }
        guard.ended = true;
    }

    async fn read_once(&self, keys: Vec<Value>, waiting: Vec<Vec<Waiting<Vec<Row>, Place>>>) {
        let rows = (0..).zip(keys).map(|(place, key)| vec![key, Value::Int(place)]).collect();
        let read = Arc::new(self.reads.many(self.lane, self.sql.clone(), rows));
        let found = self.reads.run(&read).await;
        let mut answers = vec![found.as_ref().map(|_| Vec::new()).map_err(Clone::clone); waiting.len()];
        for Row(values) in found.into_iter().flatten() {
            let mut values = values.into_iter();
            if let Some(Value::Int(place)) = values.next()
                && let Some(Ok(rows)) = usize::try_from(place).ok().and_then(|place| answers.get_mut(place))
            {
                rows.push(Row(values.collect()));
            }
        }
        for (waiting, found) in waiting.into_iter().zip(answers) {
            answer(waiting, &found.map(Arc::new));
        }
    }

    /// What is to be read next, for those who still wait.
    fn next(&self) -> Option<Wanted> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.wanted.retain(|_, waiting| {
            retain(waiting);
            !waiting.is_empty()
        });
        state.under_way = !state.wanted.is_empty();
        state.under_way.then(|| std::mem::take(&mut state.wanted))
    }
}

/// Lets nobody wait for reads that did not come to their end.
struct Guard<'a> {
    gather: &'a Gather,
    ended: bool,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if !self.ended {
            *self.gather.state.lock().unwrap_or_else(PoisonError::into_inner) = State::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;
    use crate::metrics::Metrics;
    use crate::store::engine::{Error, Source, sqlite};

    #[tokio::test]
    async fn everybody_gets_the_rows_of_their_own_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let fill =
            "CREATE TABLE words (length, word); INSERT INTO words VALUES (1, 'a'), (2, 'an'), (2, 'to')";
        sqlite::open(&path).unwrap().execute_batch(fill).unwrap();
        let source = Source::Sqlite(sqlite::Reads::open(&path).unwrap());
        let reads = Arc::new(Reads::new(source, Metrics::default().store));
        let words =
            Gather::new(&reads, Lane::Quick, Sql::both("SELECT $2, word FROM words WHERE length = $1"), 2);
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
        let words =
            Gather::new(&reads, Lane::Quick, Sql::both("SELECT $2, word FROM words WHERE length = $1"), 2);
        for failed in join_all([1, 2, 2].map(|key| words.get(Value::Int(key)))).await {
            assert!(matches!(failed, Err(Error::Database(_))), "{failed:?}");
        }
        sqlite::open(&path).unwrap().execute_batch("CREATE TABLE words (length, word)").unwrap();
        assert_eq!(words.get(Value::Int(1)).await.unwrap(), []);
    }
}
