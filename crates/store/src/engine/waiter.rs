//! The callers that wait for a shared run of a statement: of a single-flight, a batch of rows or a batch of keys.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::bound_statement::ReadPermit;
use super::{Error, Result, Row, Value};

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

/// Gives the rows of a batch back to their waiters. `take_index` takes the index of the waiters that a row is for out of
/// its values. An error goes to all of them.
pub fn reply_by_index(
    waiters_of: Vec<Vec<Waiter>>,
    found: Result<Vec<Row>>,
    take_index: impl Fn(&mut Vec<Value>) -> Option<Value>,
) {
    let mut results = vec![found.as_ref().map(|_| Vec::new()).map_err(Clone::clone); waiters_of.len()];
    for Row(mut values) in found.into_iter().flatten() {
        if let Some(Value::Int(index)) = take_index(&mut values)
            && let Some(Ok(rows)) = usize::try_from(index).ok().and_then(|index| results.get_mut(index))
        {
            rows.push(Row(values));
        }
    }
    for (waiters, result) in waiters_of.into_iter().zip(results) {
        reply_to_all(waiters, result);
    }
}
