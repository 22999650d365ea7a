//! Batches of statements that differ only in a few numbers, such as the pages of a list: callers that come while such a
//! statement runs share its next run, each with its own rows of numbers. The fixed cost of a statement, half of what a
//! small page costs, is so paid once for all of them. PostgreSQL only.

use std::sync::Arc;

use futures_util::future::join_all;

use super::bound_statement::{BoundStatement, Lane, ReadPermit};
use super::read_backend::ReadBackend;
use super::shared_runs::{SharedRuns, Waiter, Waiters, reply_by_index};
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

/// The rows of numbers that a caller asks for.
type Numbers = Vec<Vec<Value>>;

/// Rows of numbers that one run reads, with the waiters of each.
type Batch = Vec<(Numbers, Vec<Waiter>)>;

pub struct RowBatches {
    backend: Arc<ReadBackend>,
    runs: Arc<SharedRuns<BatchedStatement, Numbers>>,
}

impl RowBatches {
    pub fn new(backend: Arc<ReadBackend>) -> Arc<Self> {
        Arc::new(Self { backend, runs: Arc::default() })
    }

    /// Runs a statement for rows of numbers, together with the rows of other callers of the same statement.
    pub async fn run(
        self: &Arc<Self>,
        statement: BatchedStatement,
        numbers: Numbers,
        permit: ReadPermit,
    ) -> Result<Vec<Row>> {
        let this = Arc::clone(self);
        let run = move |statement: Arc<BatchedStatement>, waiters| {
            let this = Arc::clone(&this);
            async move {
                // All at once: while the database works on one batch, the results of another are read.
                join_all(batches(waiters).into_iter().map(|batch| this.run_batch(&statement, batch))).await;
            }
        };
        self.runs.join(statement, numbers, permit, run).await
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
fn batches(waiters: Waiters<Numbers>) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    let mut count = 0;
    for (rows, waiters) in waiters {
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
