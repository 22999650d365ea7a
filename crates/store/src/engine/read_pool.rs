//! The read pool: the way of every read to its database. A read takes a permit of its lane, which bounds how many run
//! or wait, and is refused when the lane is full (load shedding). With the permit it joins others: equal statements run
//! once (`single_flight.rs`), and on PostgreSQL statements that differ in a few numbers run as one (`row_batches.rs`).

use std::sync::Arc;

use tokio::sync::Semaphore;
use wicara_metrics::StoreMetrics;

use super::bound_statement::{BoundStatement, Lane, ReadPermit};
use super::read_backend::ReadBackend;
use super::row_batches::{BatchedStatement, RowBatches};
use super::single_flight::SingleFlight;
use super::{Error, Result, Row, Sql, Value};

/// Permits of the quick lane: reads that run or wait at once. Beyond it new ones are refused. A full lane drains in a
/// few hundredths of a second.
const QUICK_PERMITS: usize = 1024;
/// Permits of the slow lane, where a read takes a millisecond or two.
const SLOW_PERMITS: usize = 128;

/// The reading side of a database.
pub struct ReadPool {
    pub(super) backend: Arc<ReadBackend>,
    pub(super) single_flight: SingleFlight,
    row_batches: Arc<RowBatches>,
    quick: Arc<Semaphore>,
    slow: Arc<Semaphore>,
    metrics: Arc<StoreMetrics>,
}

impl ReadPool {
    pub fn new(backend: ReadBackend, metrics: Arc<StoreMetrics>) -> Self {
        let backend = Arc::new(backend);
        Self {
            single_flight: SingleFlight::new(Arc::clone(&backend)),
            row_batches: RowBatches::new(Arc::clone(&backend)),
            backend,
            quick: Arc::new(Semaphore::new(QUICK_PERMITS)),
            slow: Arc::new(Semaphore::new(SLOW_PERMITS)),
            metrics,
        }
    }

    pub async fn query(&self, lane: Lane, sql: impl Into<Sql>, params: Vec<Value>) -> Result<Vec<Row>> {
        let sql = sql.into();
        let text = match &*self.backend {
            ReadBackend::Postgres(_) => sql.postgres,
            ReadBackend::Sqlite(_) => sql.sqlite,
        };
        let permit = self.permit(lane).await?;
        self.single_flight.run(BoundStatement { lane, text, rows: vec![params] }, permit).await
    }

    /// Runs a statement for many rows of parameters. The rows of the result follow each other without a mark between
    /// two rows of parameters; on PostgreSQL the statement decides their order.
    pub async fn query_many(&self, lane: Lane, sql: Sql, rows: Vec<Vec<Value>>) -> Result<Vec<Row>> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let permit = self.permit(lane).await?;
        self.single_flight.run(self.backend.bind_rows(lane, sql, rows), permit).await
    }

    /// Runs a statement once for each row of numbers, with one call of the database. The rows of the result come in no
    /// order. `statement` gets the SQL expressions that stand for a row's numbers; `params` are its other parameters,
    /// which all rows share. On PostgreSQL the rows of other callers of the same statement join the call.
    pub async fn query_each_row<const N: usize>(
        &self,
        lane: Lane,
        params: Vec<Value>,
        rows: Vec<[i64; N]>,
        statement: impl Fn([&str; N]) -> Sql,
    ) -> Result<Vec<Row>> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let permit = self.permit(lane).await?;
        let numbers: [String; N] = std::array::from_fn(|index| format!("${}", params.len() + index + 1));
        match &*self.backend {
            ReadBackend::Postgres(_) => {
                let arrays =
                    numbers.each_ref().map(|number| format!("CAST({number} AS bigint[])")).join(", ");
                let names: [String; N] = std::array::from_fn(|index| format!("number_{index}"));
                let columns = names.each_ref().map(|name| format!("each_row.{name}"));
                let statement = statement(columns.each_ref().map(String::as_str)).postgres;
                let text = format!(
                    "SELECT found.*, caller_index \
                     FROM unnest({arrays}, CAST(${} AS bigint[])) AS each_row ({}, caller_index) \
                     CROSS JOIN LATERAL ({statement}) AS found",
                    params.len() + N + 1,
                    names.join(", ")
                );
                let rows = rows.iter().map(|row| row.map(Value::Int).into()).collect();
                self.row_batches.run(BatchedStatement { lane, text, params }, rows, permit).await
            }
            ReadBackend::Sqlite(_) => {
                let text = statement(numbers.each_ref().map(String::as_str)).sqlite;
                let with = |row: &[i64; N]| params.iter().cloned().chain(row.map(Value::Int)).collect();
                let rows = rows.iter().map(with).collect();
                self.single_flight.run(BoundStatement { lane, text, rows }, permit).await
            }
        }
    }

    /// Closes the connections of a SQLite database after the reads under way: another process may wait for its file.
    pub async fn close(&self) {
        self.backend.close().await;
    }

    pub(super) async fn permit(&self, lane: Lane) -> Result<ReadPermit> {
        let (gauge, permit) = match lane {
            Lane::Quick => (self.metrics.quick_read(), Arc::clone(&self.quick).try_acquire_owned()),
            Lane::Continuation => {
                let gauge = self.metrics.quick_read();
                let permit = Arc::clone(&self.quick).acquire_owned().await;
                return Ok(ReadPermit::new(permit.expect("nobody closes the semaphore"), gauge));
            }
            Lane::Slow | Lane::Walk => (self.metrics.slow_read(), Arc::clone(&self.slow).try_acquire_owned()),
        };
        let permit = permit.map_err(|_| Error::Unavailable("too many reads wait".into()))?;
        Ok(ReadPermit::new(permit, gauge))
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use futures_util::{FutureExt, poll};
    use tempfile::TempDir;
    use wicara_metrics::Metrics;

    use super::*;
    use crate::engine::sqlite;

    fn pool() -> (TempDir, Arc<ReadPool>) {
        let folder = tempfile::tempdir().unwrap();
        let backend = ReadBackend::Sqlite(sqlite::ReaderThreads::open(&folder.path().join("db")).unwrap());
        (folder, Arc::new(ReadPool::new(backend, Metrics::default().store)))
    }

    #[tokio::test]
    async fn a_full_lane_refuses_new_reads_and_lets_continuations_wait() {
        let (_folder, pool) = pool();
        let read = |lane| pool.query(lane, "SELECT 1", vec![]);
        for (lane, size, permits) in
            [(Lane::Quick, QUICK_PERMITS, &pool.quick), (Lane::Slow, SLOW_PERMITS, &pool.slow)]
        {
            let held = permits.acquire_many(u32::try_from(size).unwrap()).await.unwrap();
            let refused = poll!(read(lane).boxed());
            assert!(matches!(refused, Poll::Ready(Err(Error::Unavailable(_)))), "{lane:?}");
            let mut continuation = read(Lane::Continuation).boxed();
            if lane == Lane::Quick {
                assert!(poll!(&mut continuation).is_pending());
                drop(held);
                assert!(!matches!(poll!(read(lane).boxed()), Poll::Ready(Err(_))));
            }
            assert_eq!(continuation.await.unwrap().len(), 1);
        }
        for lane in [Lane::Quick, Lane::Slow] {
            assert_eq!(read(lane).await.unwrap().len(), 1, "{lane:?}");
        }
    }
}
