//! Equal work, made once: those who come while it is under way share the next time it is made. Whoever looks at the
//! same list at the same time, as operators do, costs the database no more than one of them, and none is told what was
//! there before it asked.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::{Error, Lane, Place, Reads, Result, Row, Value};

/// What was found, for all who asked.
pub type Found<T> = Result<Arc<T>>;

/// Somebody who waits, whether they are still there or not, with what they hold until they are answered.
pub struct Waiting<T, P> {
    pub reply: oneshot::Sender<Found<T>>,
    pub _place: P,
}

/// Answers everybody.
pub fn answer<T, P>(waiting: Vec<Waiting<T, P>>, found: &Found<T>) {
    for Waiting { reply, _place } in waiting {
        let _ = reply.send(found.clone());
    }
}

/// Drops those who have left.
pub fn retain<T, P>(waiting: &mut Vec<Waiting<T, P>>) {
    waiting.retain(|waiting| !waiting.reply.is_closed());
}

/// Waits for what is read.
pub async fn found<T>(answer: oneshot::Receiver<Found<T>>) -> Found<T> {
    answer.await.unwrap_or_else(|_| Err(Error::Unavailable("a read ended early".into())))
}

/// The work under way, by what it is for, and who waits for the next time that it is made.
pub struct Shared<K, T, P = ()>(Mutex<UnderWay<K, T, P>>);

type UnderWay<K, T, P> = HashMap<Arc<K>, Vec<Waiting<T, P>>>;

impl<K, T, P> Default for Shared<K, T, P> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K, T, P> Shared<K, T, P>
where
    K: Eq + Hash + Send + Sync + 'static,
    T: Send + Sync + 'static,
    P: Send + 'static,
{
    /// What `make` makes for the key after this was called. `place` is held until then, whether the caller stays or
    /// leaves.
    pub async fn get<F>(
        self: &Arc<Self>,
        key: K,
        place: P,
        make: impl Fn(Arc<K>) -> F + Send + 'static,
    ) -> Found<T>
    where
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let key = Arc::new(key);
        let (reply, answer) = oneshot::channel();
        if self.join(&key, Waiting { reply, _place: place }) {
            // Others wait for it, whether this caller stays or leaves.
            tokio::spawn(Arc::clone(self).make(key, make));
        }
        found(answer).await
    }

    async fn make<F>(self: Arc<Self>, key: Arc<K>, make: impl Fn(Arc<K>) -> F)
    where
        F: Future<Output = Result<T>>,
    {
        let mut guard = Guard { shared: &self, key: &key, ended: false };
        loop {
            // Whoever is ready to ask asks first.
            tokio::task::yield_now().await;
            let waiting = self.next(&key);
            if waiting.is_empty() {
                guard.ended = true;
                return;
            }
            answer(waiting, &make(Arc::clone(&key)).await.map(Arc::new));
        }
    }

    /// Whether this is the first for its key, so that somebody has to begin.
    fn join(&self, key: &Arc<K>, waiting: Waiting<T, P>) -> bool {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(Arc::clone(key)) {
            Entry::Occupied(mut others) => {
                others.get_mut().push(waiting);
                false
            }
            Entry::Vacant(nobody) => {
                nobody.insert(vec![waiting]);
                true
            }
        }
    }

    /// Who waits still; nobody, when it was made for the last time.
    fn next(&self, key: &Arc<K>) -> Vec<Waiting<T, P>> {
        let mut under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut waiting = under_way.get_mut(key).map(std::mem::take).unwrap_or_default();
        retain(&mut waiting);
        if waiting.is_empty() {
            under_way.remove(key);
        }
        waiting
    }
}

/// Lets nobody wait for work that did not come to its end.
struct Guard<'a, K: Eq + Hash, T, P> {
    shared: &'a Shared<K, T, P>,
    key: &'a Arc<K>,
    ended: bool,
}

impl<K: Eq + Hash, T, P> Drop for Guard<'_, K, T, P> {
    fn drop(&mut self) {
        if !self.ended {
            self.shared.0.lock().unwrap_or_else(PoisonError::into_inner).remove(self.key);
        }
    }
}

/// A statement as its database gets it.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Read {
    pub lane: Lane,
    pub text: Cow<'static, str>,
    /// Each row's parameters. PostgreSQL gets one row, where need be of arrays.
    pub rows: Vec<Vec<Value>>,
}

impl Reads {
    /// Equal statements are made once too.
    pub(super) async fn share(self: &Arc<Self>, read: Read, place: Place) -> Result<Vec<Row>> {
        let reads = Arc::clone(self);
        let run = move |read| {
            let reads = Arc::clone(&reads);
            async move { reads.run(&read).await }
        };
        self.under_way.get(read, place, run).await.map(Arc::unwrap_or_clone)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use futures_util::future::join_all;
    use rusqlite::Connection;

    use super::*;
    use crate::metrics::Metrics;
    use crate::store::engine::{Source, sqlite};

    fn reads(path: &Path) -> Arc<Reads> {
        let source = Source::Sqlite(sqlite::Reads::open(path).unwrap());
        Arc::new(Reads::new(source, Metrics::default().store))
    }

    async fn count(reads: &Arc<Reads>) -> Result<i64> {
        let rows = reads.query(Lane::Quick, "SELECT count(*) FROM words", vec![]).await?;
        rows.into_iter().next().unwrap().int("words", "count")
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn nobody_is_told_what_was_there_before_it_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let reads = reads(&path);
        let words = sqlite::open(&path).unwrap();
        words.execute_batch("CREATE TABLE words (word)").unwrap();
        let words = Arc::new(Mutex::new((words, 0)));
        let write = |words: &Mutex<(Connection, i64)>| {
            let mut words = words.lock().unwrap();
            words.0.execute("INSERT INTO words VALUES ('a')", []).unwrap();
            words.1 += 1;
            words.1
        };
        let readers = (0..8).map(|_| {
            let (reads, words) = (Arc::clone(&reads), Arc::clone(&words));
            tokio::spawn(async move {
                for _ in 0..50 {
                    let written = write(&words);
                    let found = count(&reads).await.unwrap();
                    assert!(found >= written, "{found} of {written}");
                }
            })
        });
        for reader in join_all(readers).await {
            reader.unwrap();
        }
    }

    #[tokio::test]
    async fn a_read_that_fails_fails_for_all_who_wait_and_not_for_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let reads = reads(&path);
        for failed in join_all([(); 3].map(|()| count(&reads))).await {
            assert!(matches!(failed, Err(Error::Database(_))), "{failed:?}");
        }
        sqlite::open(&path).unwrap().execute_batch("CREATE TABLE words (word)").unwrap();
        assert_eq!(count(&reads).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn equal_reads_are_made_once_and_nothing_is_kept_of_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let reads = reads(&path);
        // Each time it is another number.
        let number = || reads.query(Lane::Quick, "SELECT random()", vec![]);
        let numbers = join_all([(); 3].map(|()| number())).await;
        let numbers: Vec<_> = numbers.into_iter().map(|rows| rows.unwrap().remove(0)).collect();
        assert!(numbers.iter().all(|other| *other == numbers[0]), "{numbers:?}");
        assert_ne!(number().await.unwrap()[0], numbers[0]);
        tokio::task::yield_now().await;
        assert!(reads.under_way.0.lock().unwrap().is_empty());
    }
}
