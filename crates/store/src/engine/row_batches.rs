//! Batches of statements that differ only in a few numbers, such as the pages of a list: callers that come while such a
//! statement runs share its next run, each with its own rows of numbers. The fixed cost of a statement, half of what a
//! small page costs, is so paid once for all of them. A caller never gets the result of a run that started before its
//! call (read-your-writes). PostgreSQL only.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::join_all;
use tokio::sync::oneshot;

use super::bound_statement::{BoundStatement, Lane, ReadPermit};
use super::read_backend::ReadBackend;
use super::waiter::{Waiter, receive_rows, reply_by_index};
use super::{Result, Row, Value, value};

/// Rows of numbers in one batch; a single caller with more of them is a batch by itself.
const BATCH_ROWS: usize = 16;

/// A statement with the parameters that its callers share. The parameters after those are arrays, one for each number
/// of a row, and last the index of the row's caller in the batch. The statement returns that index as its last column.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct BatchedStatement {
    pub lane: Lane,
    pub text: String,
    pub params: Vec<Value>,
}

/// Waiters by the rows of numbers that they ask for: equal ones share a result.
type WaitersByRows = HashMap<Vec<Vec<Value>>, Vec<Waiter>>;

/// Rows of numbers that one run reads, with the waiters of each.
type Batch = Vec<(Vec<Vec<Value>>, Vec<Waiter>)>;

/// The statements that are running, each with the waiters of its next run.
pub struct RowBatches {
    backend: Arc<ReadBackend>,
    running: Mutex<HashMap<Arc<BatchedStatement>, WaitersByRows>>,
}

impl RowBatches {
    pub fn new(backend: Arc<ReadBackend>) -> Arc<Self> {
        Arc::new(Self { backend, running: Mutex::default() })
    }

    /// Adds a waiter to the statement's next run; whether nobody runs the statement, so that this caller has to.
    fn join(&self, statement: &Arc<BatchedStatement>, rows: Vec<Vec<Value>>, waiter: Waiter) -> bool {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = running.entry(Arc::clone(statement));
        let is_idle = matches!(entry, Entry::Vacant(_));
        entry.or_default().entry(rows).or_default().push(waiter);
        is_idle
    }

    /// The waiters of the next run, without those whose request was dropped. Without any the statement is removed, and
    /// the next caller runs it.
    fn take_waiters(&self, statement: &Arc<BatchedStatement>) -> WaitersByRows {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(by_rows) = running.get_mut(statement) else { return WaitersByRows::new() };
        by_rows.retain(|_, waiters| {
            waiters.retain(Waiter::is_waiting);
            !waiters.is_empty()
        });
        let taken = std::mem::take(by_rows);
        if taken.is_empty() {
            running.remove(statement);
        }
        taken
    }

    /// Runs a statement for rows of numbers, together with the rows of other callers of the same statement.
    pub async fn run(
        self: &Arc<Self>,
        statement: BatchedStatement,
        numbers: Vec<Vec<Value>>,
        permit: ReadPermit,
    ) -> Result<Vec<Row>> {
        let statement = Arc::new(statement);
        let (reply, rows) = oneshot::channel();
        if self.join(&statement, numbers, Waiter::new(reply, permit)) {
            // A task, because the other waiters need the run even if this caller's request is dropped.
            tokio::spawn(Arc::clone(self).run_batches(statement));
        }
        receive_rows(rows).await
    }

    async fn run_batches(self: Arc<Self>, statement: Arc<BatchedStatement>) {
        let mut guard = Guard { batches: &self, statement: &statement, ended: false };
        loop {
            // Yields once, so that callers which are already runnable join this run.
            tokio::task::yield_now().await;
            let by_rows = self.take_waiters(&statement);
            if by_rows.is_empty() {
                guard.ended = true;
                return;
            }
            // All at once: while the database works on one batch, the results of another are read.
            join_all(batches(by_rows).into_iter().map(|batch| self.run_batch(&statement, batch))).await;
        }
    }

    async fn run_batch(&self, statement: &BatchedStatement, batch: Batch) {
        let (mut numbers, mut waiters_of) = (Vec::new(), Vec::new());
        for (caller_index, (rows, waiters)) in (0..).zip(batch) {
            let index = Value::Int(caller_index);
            numbers.extend(rows.into_iter().map(|row| row.into_iter().chain([index.clone()]).collect()));
            waiters_of.push(waiters);
        }
        let params = statement.params.iter().cloned().chain(value::columns(numbers)).collect();
        let text = statement.text.clone().into();
        let bound = BoundStatement { lane: statement.lane, text, rows: vec![params] };
        let found = self.backend.run(&Arc::new(bound)).await;
        reply_by_index(waiters_of, found, Vec::pop);
    }
}

/// Splits what waits into batches of at most [`BATCH_ROWS`] rows, but for a single caller with more.
fn batches(by_rows: WaitersByRows) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    let mut count = 0;
    for (rows, waiters) in by_rows {
        count += rows.len();
        match batches.last_mut() {
            Some(batch) if count <= BATCH_ROWS => batch.push((rows, waiters)),
            _ => {
                count = rows.len();
                batches.push(vec![(rows, waiters)]);
            }
        }
    }
    batches
}

/// Drops the waiters if a run panics: their channels close, and no caller waits for ever.
struct Guard<'a> {
    batches: &'a RowBatches,
    statement: &'a Arc<BatchedStatement>,
    ended: bool,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let mut running = self.batches.running.lock().unwrap_or_else(PoisonError::into_inner);
            running.remove(self.statement);
        }
    }
}
