//! Equal reads, made once: those that come while one is under way are the next one, together. Whoever looks at the
//! same list at the same time, as operators do, costs the database one read, and none is told what was there before
//! it asked.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::{Error, Lane, Reads, Result, Row, Value};

/// A statement as its database gets it.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Read {
    pub lane: Lane,
    pub text: Cow<'static, str>,
    /// Each row's parameters. PostgreSQL gets one row, where need be of arrays.
    pub rows: Vec<Vec<Value>>,
}

type Reply = oneshot::Sender<Result<Vec<Row>>>;

/// The reads under way, and who waits for the next one of each.
#[derive(Default)]
pub struct UnderWay(Mutex<HashMap<Arc<Read>, Vec<Reply>>>);

impl UnderWay {
    /// Whether this is the first of its reads, so that somebody has to make them.
    fn join(&self, read: &Arc<Read>, reply: Reply) -> bool {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(Arc::clone(read)) {
            Entry::Occupied(mut waiting) => {
                waiting.get_mut().push(reply);
                false
            }
            Entry::Vacant(nobody) => {
                nobody.insert(vec![reply]);
                true
            }
        }
    }

    /// Who waits still; nobody, when it was the last of its reads.
    fn next(&self, read: &Arc<Read>) -> Vec<Reply> {
        let mut under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut waiting = under_way.get_mut(read).map(std::mem::take).unwrap_or_default();
        waiting.retain(|reply| !reply.is_closed());
        if waiting.is_empty() {
            under_way.remove(read);
        }
        waiting
    }
}

impl Reads {
    pub(super) async fn share(self: &Arc<Self>, read: Read) -> Result<Vec<Row>> {
        let read = Arc::new(read);
        let (reply, answer) = oneshot::channel();
        if self.under_way.join(&read, reply) {
            // Others wait for it, whether this caller stays or leaves.
            tokio::spawn(Arc::clone(self).make(read));
        }
        answer.await.unwrap_or_else(|_| Err(Error::Unavailable("a read ended early".into())))
    }

    async fn make(self: Arc<Self>, read: Arc<Read>) {
        let _guard = Guard(&self.under_way, &read);
        loop {
            // Whoever is ready to ask asks first.
            tokio::task::yield_now().await;
            let mut waiting = self.under_way.next(&read);
            let Some(last) = waiting.pop() else { return };
            let found = self.run(&read).await;
            for reply in waiting {
                let _ = reply.send(found.clone());
            }
            let _ = last.send(found);
        }
    }
}

/// Lets nobody wait for a read that ended in a panic.
struct Guard<'a>(&'a UnderWay, &'a Arc<Read>);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.0.lock().unwrap_or_else(PoisonError::into_inner).remove(self.1);
        }
    }
}
