//! Single-flight of equal statements: callers with the same statement and parameters share one run of it. A run begins after
//! all its callers have asked, so that none is told what was there before. On SQLite this is for the totals that lists
//! begin with, the same for each of their pages; PostgreSQL reads those in batches (`row_batches.rs`).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::{Error, Read, ReadPermit, Reads, Result, Row};

/// Is answered once its statement has run, also where the request has ended: until then the permit counts.
pub struct Caller {
    pub reply: oneshot::Sender<Result<Arc<Vec<Row>>>>,
    pub _permit: ReadPermit,
}

/// Waits for the rows that a caller is answered with.
pub async fn rows(answer: oneshot::Receiver<Result<Arc<Vec<Row>>>>) -> Result<Vec<Row>> {
    let found = answer.await.unwrap_or_else(|_| Err(Error::Unavailable("a read ended early".into())));
    found.map(Arc::unwrap_or_clone)
}

/// Answers callers with what was found. The last one gets the rows themselves, and need not copy them.
pub fn answer(mut callers: Vec<Caller>, found: Result<Vec<Row>>) {
    let found = found.map(Arc::new);
    let last = callers.pop();
    for caller in callers {
        let _ = caller.reply.send(found.clone());
    }
    if let Some(last) = last {
        let _ = last.reply.send(found);
    }
}

/// The statements that run, and the callers of their next runs.
#[derive(Default)]
pub struct SingleFlight(Mutex<HashMap<Arc<Read>, Vec<Caller>>>);

impl SingleFlight {
    /// Whether the statement does not run yet, so that this caller has to begin.
    fn join(&self, read: &Arc<Read>, caller: Caller) -> bool {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(Arc::clone(read)) {
            Entry::Occupied(mut callers) => {
                callers.get_mut().push(caller);
                false
            }
            Entry::Vacant(entry) => {
                entry.insert(vec![caller]);
                true
            }
        }
    }

    /// The callers of the next run that are still there; none, when the statement has run for the last time.
    fn next(&self, read: &Arc<Read>) -> Vec<Caller> {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut callers = running.get_mut(read).map(std::mem::take).unwrap_or_default();
        callers.retain(|caller| !caller.reply.is_closed());
        if callers.is_empty() {
            running.remove(read);
        }
        callers
    }
}

impl Reads {
    /// Runs a statement, for all who ask for the same at once.
    pub(super) async fn run_once(self: &Arc<Self>, read: Read, permit: ReadPermit) -> Result<Vec<Row>> {
        let read = Arc::new(read);
        let (reply, answer) = oneshot::channel();
        if self.single_flight.join(&read, Caller { reply, _permit: permit }) {
            // In a task of its own: it goes on for others, and counts, even if this caller leaves.
            tokio::spawn(Arc::clone(self).run_while_asked(read));
        }
        rows(answer).await
    }

    async fn run_while_asked(self: Arc<Self>, read: Arc<Read>) {
        let mut guard = Guard { reads: &self, read: &read, ended: false };
        loop {
            // Tasks that are ready to run join this run.
            tokio::task::yield_now().await;
            let callers = self.single_flight.next(&read);
            if callers.is_empty() {
                guard.ended = true;
                return;
            }
            let found = self.run(&read).await;
            answer(callers, found);
        }
    }
}

/// Drops the callers if reading panics: their channels close, and none waits for ever.
struct Guard<'a> {
    reads: &'a Reads,
    read: &'a Arc<Read>,
    ended: bool,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.reads.single_flight.0.lock().unwrap_or_else(PoisonError::into_inner).remove(self.read);
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
    use crate::engine::{Lane, Source, sqlite, sqlite_connection};

    fn reads(path: &Path) -> Arc<Reads> {
        let source = Source::Sqlite(sqlite::Reads::open(path).unwrap());
        Arc::new(Reads::new(source, Metrics::default().store))
    }

    async fn count(reads: &Arc<Reads>) -> Result<i64> {
        let rows = reads.query(Lane::Quick, "SELECT count(*) FROM words", vec![]).await?;
        rows.into_iter().next().unwrap().int("words", "count")
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn no_caller_is_told_what_was_there_before_it_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let reads = reads(&path);
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
        sqlite_connection::open(&path).unwrap().execute_batch("CREATE TABLE words (word)").unwrap();
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
        assert!(reads.single_flight.0.lock().unwrap().is_empty());
    }
}
