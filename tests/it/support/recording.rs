//! Round trips of the connections through a proxy, for tests that count them.

use std::sync::{Mutex, PoisonError};

/// What a client sends without waiting, up to where it waits for the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoundTrip {
    /// Counted from 0 in the order in which they were opened.
    pub connection: usize,
    /// None where a statement is prepared or forgotten.
    pub statements: Vec<String>,
}

/// Nothing is kept before it is started.
#[derive(Default)]
pub struct Recording(Mutex<Option<Vec<RoundTrip>>>);

impl Recording {
    /// Forgets what is recorded, and records from now on.
    pub fn start(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Vec::new());
    }

    pub fn add(&self, connection: usize, statements: Vec<String>) {
        if let Some(trips) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            trips.push(RoundTrip { connection, statements });
        }
    }

    pub fn round_trips(&self) -> Vec<RoundTrip> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join;

    use super::RoundTrip;
    use crate::support::{Database, Engine, PostgresProxy, database};

    #[tokio::test]
    async fn a_round_trip_ends_where_the_client_waits() {
        let database = Database::new(Engine::Postgres).await;
        let proxy = PostgresProxy::before(&database).await;
        let [first, second] = [database::connect(&proxy.url).await, database::connect(&proxy.url).await];
        first.batch_execute("SELECT 0").await.unwrap();
        assert_eq!(proxy.round_trips(), [], "nothing was asked for");
        proxy.record();
        let trip = |connection, statements: &[&str]| RoundTrip {
            connection,
            statements: statements.iter().map(|&sql| sql.to_owned()).collect(),
        };
        let one = first.prepare("SELECT 1").await.unwrap();
        join(first.query(&one, &[]), first.query(&one, &[])).await.0.unwrap();
        second.batch_execute("BEGIN; COMMIT").await.unwrap();
        first.query(&one, &[]).await.unwrap();
        let whole = [
            trip(0, &[]),
            trip(0, &["SELECT 1"]),
            trip(0, &["SELECT 1"]),
            trip(1, &["BEGIN; COMMIT"]),
            trip(0, &["SELECT 1"]),
        ];
        assert_eq!(proxy.round_trips(), whole, "pipelined ones are two all the same");
        proxy.record();
        second.batch_execute("SELECT 2").await.unwrap();
        assert_eq!(proxy.round_trips(), [trip(1, &["SELECT 2"])]);
    }
}
