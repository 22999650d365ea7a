//! Reads by key, gathered: those that come while one is under way are the next one, together. A busy server so reads
//! a handful of times what hundreds of requests ask for, and none is told what was there before it asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::{Error, Lane, Reads, Result, Row, Sql, Value};

/// One statement by key. Its parameters are the key and a number, and its first column is that number.
pub struct Gather {
    reads: Arc<Reads>,
    sql: Sql,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    under_way: bool,
    wanted: HashMap<Value, Vec<Reply>>,
}

type Reply = oneshot::Sender<Result<Vec<Row>>>;

impl Gather {
    pub fn new(reads: &Arc<Reads>, sql: Sql) -> Arc<Self> {
        Arc::new(Self { reads: Arc::clone(reads), sql, state: Mutex::default() })
    }

    /// The rows with this key, without their first column.
    pub async fn get(self: &Arc<Self>, key: Value) -> Result<Vec<Row>> {
        let _place = self.reads.place(Lane::Quick).await?;
        let (reply, answer) = oneshot::channel();
        let begins = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.wanted.entry(key).or_default().push(reply);
            !std::mem::replace(&mut state.under_way, true)
        };
        if begins {
            // Others wait for it, whether this caller stays or leaves.
            tokio::spawn(Arc::clone(self).read());
        }
        answer.await.unwrap_or_else(|_| Err(Error::Unavailable("a read ended early".into())))
    }

    async fn read(self: Arc<Self>) {
        while let Some((keys, replies)) = self.next() {
            let rows = (0..).zip(keys).map(|(place, key)| vec![key, Value::Int(place)]).collect();
            let found = self.reads.run_many(Lane::Quick, self.sql.clone(), rows).await;
            let mut answers = vec![found.as_ref().map(|_| Vec::new()).map_err(Clone::clone); replies.len()];
            for Row(values) in found.into_iter().flatten() {
                let mut values = values.into_iter();
                if let Some(Value::Int(place)) = values.next()
                    && let Some(Ok(rows)) =
                        usize::try_from(place).ok().and_then(|place| answers.get_mut(place))
                {
                    rows.push(Row(values.collect()));
                }
            }
            for (replies, answer) in replies.into_iter().zip(answers) {
                for reply in replies {
                    let _ = reply.send(answer.clone());
                }
            }
        }
    }

    /// What is to be read next.
    fn next(&self) -> Option<(Vec<Value>, Vec<Vec<Reply>>)> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.under_way = !state.wanted.is_empty();
        state.under_way.then(|| state.wanted.drain().unzip())
    }
}
