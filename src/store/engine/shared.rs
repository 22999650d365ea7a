//! Equal reads, made once: those that come while one is under way are the next one, together. Whoever looks at the
//! same list at the same time, as operators do, costs the database one read, and none is told what was there before
//! it asked.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::{Error, Lane, Place, Reads, Result, Row, Value};

/// A statement as its database gets it.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Read {
    pub lane: Lane,
    pub text: Cow<'static, str>,
    /// Each row's parameters. PostgreSQL gets one row, where need be of arrays.
    pub rows: Vec<Vec<Value>>,
}

/// What was read, for all who asked.
pub type Found = Result<Arc<Vec<Row>>>;

/// Somebody who waits, whether they are still there or not, with their place among the reads.
pub struct Waiting {
    pub reply: oneshot::Sender<Found>,
    pub _place: Place,
}

/// Answers everybody. Each takes their copy as they go on.
pub fn answer(waiting: Vec<Waiting>, found: &Found) {
    for Waiting { reply, _place } in waiting {
        let _ = reply.send(found.clone());
    }
}

/// Drops those who have left.
pub fn retain(waiting: &mut Vec<Waiting>) {
    waiting.retain(|waiting| !waiting.reply.is_closed());
}

/// Waits for what is read.
pub async fn found(answer: oneshot::Receiver<Found>) -> Result<Vec<Row>> {
    let found = answer.await.unwrap_or_else(|_| Err(Error::Unavailable("a read ended early".into())));
    found.map(Arc::unwrap_or_clone)
}

/// The reads under way, and who waits for the next one of each.
#[derive(Default)]
pub struct UnderWay(Mutex<HashMap<Arc<Read>, Vec<Waiting>>>);

impl UnderWay {
    /// Whether this is the first of its reads, so that somebody has to make them.
    fn join(&self, read: &Arc<Read>, waiting: Waiting) -> bool {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(Arc::clone(read)) {
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

    /// Who waits still; nobody, when it was the last of its reads.
    fn next(&self, read: &Arc<Read>) -> Vec<Waiting> {
        let mut under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut waiting = under_way.get_mut(read).map(std::mem::take).unwrap_or_default();
        retain(&mut waiting);
        if waiting.is_empty() {
            under_way.remove(read);
        }
        waiting
    }
}

impl Reads {
    pub(super) async fn share(self: &Arc<Self>, read: Read, place: Place) -> Result<Vec<Row>> {
        let read = Arc::new(read);
        let (reply, answer) = oneshot::channel();
        if self.under_way.join(&read, Waiting { reply, _place: place }) {
            // Others wait for it, whether this caller stays or leaves.
            tokio::spawn(Arc::clone(self).make(read));
        }
        found(answer).await
    }

    async fn make(self: Arc<Self>, read: Arc<Read>) {
        let mut guard = Guard { reads: &self, read: &read, ended: false };
        loop {
            // Whoever is ready to ask asks first.
            tokio::task::yield_now().await;
            let waiting = self.under_way.next(&read);
            if waiting.is_empty() {
                guard.ended = true;
                return;
            }
            answer(waiting, &self.run(&read).await.map(Arc::new));
        }
    }
}

/// Lets nobody wait for a read that did not come to its end.
struct Guard<'a> {
    reads: &'a Reads,
    read: &'a Arc<Read>,
    ended: bool,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.reads.under_way.0.lock().unwrap_or_else(PoisonError::into_inner).remove(self.read);
        }
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
