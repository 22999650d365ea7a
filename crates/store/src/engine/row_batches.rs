//! Batches of statements that differ only in a few numbers, such as the pages of a list: callers that ask while such a
//! statement is under way are its next run, each with rows of numbers of its own. What a statement costs by itself,
//! which is half of a small page, is so paid once for all who wait. A run begins after its callers have asked, so that
//! none is told what was there before. PostgreSQL only.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::single_flight::{Caller, answer, rows};
use super::{Lane, Read, ReadPermit, Reads, Result, Row, Value, value};

/// Rows of numbers in one batch, but for a caller that has more.
const ROWS: usize = 16;

/// A statement, with the parameters that its callers share. Those that follow are arrays: a number of each row, and last
/// the place of the row's caller, which it returns in its last column.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Statement {
    pub lane: Lane,
    pub text: String,
    pub params: Vec<Value>,
}

/// Callers by their rows of numbers.
type Wanted = HashMap<Vec<Vec<Value>>, Vec<Caller>>;

/// The statements that run, and what their next runs are to read.
#[derive(Default)]
pub struct RowBatches(Mutex<HashMap<Arc<Statement>, Wanted>>);

impl RowBatches {
    /// Whether the statement does not run yet, so that this caller has to begin.
    fn join(&self, statement: &Arc<Statement>, rows: Vec<Vec<Value>>, caller: Caller) -> bool {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = running.entry(Arc::clone(statement));
        let begins = matches!(entry, Entry::Vacant(_));
        entry.or_default().entry(rows).or_default().push(caller);
        begins
    }

    /// What is read next, for callers that are still there; nothing, when the statement has run for the last time.
    fn next(&self, statement: &Arc<Statement>) -> Wanted {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(wanted) = running.get_mut(statement) else { return Wanted::new() };
        wanted.retain(|_, callers| {
            callers.retain(|caller| !caller.reply.is_closed());
            !callers.is_empty()
        });
        let next = std::mem::take(wanted);
        if next.is_empty() {
            running.remove(statement);
        }
        next
    }
}

impl Reads {
    /// Runs a statement for rows of numbers, together with others' rows for the same.
    pub(super) async fn run_batched(
        self: &Arc<Self>,
        statement: Statement,
        numbers: Vec<Vec<Value>>,
        permit: ReadPermit,
    ) -> Result<Vec<Row>> {
        let statement = Arc::new(statement);
        let (reply, answer) = oneshot::channel();
        if self.row_batches.join(&statement, numbers, Caller { reply, _permit: permit }) {
            // In a task of its own: other callers wait for the batch even if this one leaves.
            tokio::spawn(Arc::clone(self).run_batches(statement));
        }
        rows(answer).await
    }

    async fn run_batches(self: Arc<Self>, statement: Arc<Statement>) {
        let mut guard = Guard { reads: &self, statement: &statement, ended: false };
        loop {
            // Tasks that are ready to run join this run.
            tokio::task::yield_now().await;
            let wanted = self.row_batches.next(&statement);
            if wanted.is_empty() {
                guard.ended = true;
                return;
            }
            let mut wanted = wanted.into_iter().peekable();
            while wanted.peek().is_some() {
                let mut count = 0;
                let batch = std::iter::from_fn(|| {
                    let next = wanted.next_if(|(rows, _)| count == 0 || count + rows.len() <= ROWS)?;
                    count += next.0.len();
                    Some(next)
                });
                self.run_batch(&statement, batch.collect()).await;
            }
        }
    }

    async fn run_batch(&self, statement: &Statement, batch: Vec<(Vec<Vec<Value>>, Vec<Caller>)>) {
        let (mut numbers, mut callers) = (Vec::new(), Vec::new());
        for (place, (rows, of_rows)) in (0..).zip(batch) {
            numbers.extend(rows.into_iter().map(|row| row.into_iter().chain([Value::Int(place)]).collect()));
            callers.push(of_rows);
        }
        let params = statement.params.iter().cloned().chain(value::columns(numbers)).collect();
        let read = Read { lane: statement.lane, text: statement.text.clone().into(), rows: vec![params] };
        let found = self.run(&Arc::new(read)).await;
        let mut answers = vec![found.as_ref().map(|_| Vec::new()).map_err(Clone::clone); callers.len()];
        for Row(mut values) in found.into_iter().flatten() {
            if let Some(Value::Int(place)) = values.pop()
                && let Some(Ok(rows)) = usize::try_from(place).ok().and_then(|place| answers.get_mut(place))
            {
                rows.push(Row(values));
            }
        }
        for (callers, found) in callers.into_iter().zip(answers) {
            answer(callers, found);
        }
    }
}

/// Drops the callers if reading panics: their channels close, and none waits for ever.
struct Guard<'a> {
    reads: &'a Reads,
    statement: &'a Arc<Statement>,
    ended: bool,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let mut running = self.reads.row_batches.0.lock().unwrap_or_else(PoisonError::into_inner);
            running.remove(self.statement);
        }
    }
}
