//! The callers that wait for a shared run of a statement: of a single-flight, a batch of rows or a batch of keys.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::bound_statement::ReadPermit;
use super::{Error, Result, Row};

type Reply = Result<Arc<Vec<Row>>>;

/// One caller. It keeps its permit until the statement has run, also where its request was dropped: the permits bound
/// the work of the database.
pub struct Waiter {
    reply: oneshot::Sender<Reply>,
    _permit: ReadPermit,
}

impl Waiter {
    pub fn new(reply: oneshot::Sender<Reply>, permit: ReadPermit) -> Self {
        Self { reply, _permit: permit }
    }

    /// Whether its request was not dropped meanwhile.
    pub fn is_waiting(&self) -> bool {
        !self.reply.is_closed()
    }
}

/// Waits for the rows that [`reply_to_all`] sends. `Unavailable` where the task that runs the statement panicked.
pub async fn receive_rows(rows: oneshot::Receiver<Reply>) -> Result<Vec<Row>> {
    let found = rows.await.unwrap_or_else(|_| Err(Error::Unavailable("a read ended early".into())));
    found.map(Arc::unwrap_or_clone)
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
