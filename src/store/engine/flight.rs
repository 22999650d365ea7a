//! A transaction of PostgreSQL whose statements travel together: what needs no other's result is sent without waiting
//! for it, so that a batch takes two or three round trips, whatever the number of its statements.

use std::borrow::Cow;
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::{join, join_all};
use futures_util::poll;

use super::postgres::Connection;
use super::{Error, Result, Row, Value};

pub struct Flight {
    connection: Arc<Connection>,
    /// Statements on their way, in their order.
    sent: RefCell<Vec<Sent>>,
}

type Sent = Pin<Box<dyn Future<Output = Result<()>>>>;

/// How long a transaction waits for rows that others have locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockWait {
    /// As long as the session does.
    Long,
    /// [`SHORT_LOCK_WAIT`]: it is being found out which command of a batch meets such a row.
    Short,
}

const SHORT_LOCK_WAIT: Duration = Duration::from_millis(50);

/// Why a transaction is not known to be committed.
pub enum Uncommitted {
    /// It is rolled back.
    No(Error),
    /// The connection was lost after COMMIT was sent.
    InDoubt,
}

impl Flight {
    /// Sends BEGIN without waiting for it. Should it fail alone, what follows is outside of a transaction, and the
    /// writer's session, which is read-only by itself, refuses it.
    pub async fn begin(connection: Arc<Connection>, lock_wait: LockWait) -> Result<Self> {
        let flight = Self { connection, sent: RefCell::default() };
        let begin = match lock_wait {
            LockWait::Long => Cow::Borrowed("BEGIN READ WRITE"),
            LockWait::Short => {
                format!("BEGIN READ WRITE; SET LOCAL lock_timeout = {}", SHORT_LOCK_WAIT.as_millis()).into()
            }
        };
        flight.command(begin).await?;
        Ok(flight)
    }

    /// Runs statements in their order, sent together.
    pub async fn query_all(&self, statements: Vec<(Cow<'static, str>, Vec<Value>)>) -> Result<Vec<Vec<Row>>> {
        let found = self.connection.in_time(self.connection.run_all(statements));
        self.while_settling(found).await
    }

    /// Sends a statement that is waited for at the commit, or at the next query.
    pub async fn execute(&self, sql: &str, params: Vec<Value>) -> Result<()> {
        let sent = async {
            let statement = match self.connection.prepared(sql) {
                Some(statement) => statement,
                None => {
                    let prepared = self.connection.in_time(self.connection.prepare(sql));
                    self.while_settling(prepared).await?
                }
            };
            let connection = Arc::clone(&self.connection);
            self.send(async move { connection.run(&statement, &params).await.map(|_| ()) }).await
        };
        match sent.await {
            Ok(()) => Ok(()),
            Err(error) => self.settle().await.and(Err(error)),
        }
    }

    pub async fn commit(self) -> std::result::Result<(), Uncommitted> {
        if let Err(error) = self.command("COMMIT".into()).await {
            return Err(Uncommitted::No(error));
        }
        let sent = self.sent.take();
        let mut outcomes =
            self.connection.in_time(async { Ok(join_all(sent).await) }).await.unwrap_or_default();
        let committed = outcomes.pop();
        let written = outcomes.into_iter().collect::<Result<()>>();
        match committed {
            // After a statement that failed, the server takes COMMIT for ROLLBACK.
            Some(Ok(())) => written.map_err(Uncommitted::No),
            None | Some(Err(Error::Unavailable(_))) => Err(Uncommitted::InDoubt),
            Some(Err(error)) => Err(Uncommitted::No(written.err().unwrap_or(error))),
        }
    }

    /// Whether the connection can be used again.
    pub async fn roll_back(self) -> bool {
        if self.connection.is_closed() {
            return false;
        }
        let _ = self.settle().await;
        !self.connection.is_closed() && self.connection.execute("ROLLBACK").await.is_ok()
    }

    async fn command(&self, sql: Cow<'static, str>) -> Result<()> {
        let connection = Arc::clone(&self.connection);
        self.send(async move { connection.execute(&sql).await }).await
    }

    /// The first poll of a statement sends it. An error is one that the server never saw.
    async fn send(&self, statement: impl Future<Output = Result<()>> + 'static) -> Result<()> {
        let mut statement: Sent = Box::pin(statement);
        match poll!(&mut statement) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => {
                self.sent.borrow_mut().push(statement);
                Ok(())
            }
        }
    }

    /// Waits for work together with what was sent before it: the driver holds a few pieces of an answer that nobody reads,
    /// and then reads no other. Where one failed that was sent before, that is why this one did.
    async fn while_settling<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let (settled, done) = join(self.settle(), work).await;
        settled.and(done)
    }

    async fn settle(&self) -> Result<()> {
        let sent = self.sent.take();
        self.connection.in_time(async { join_all(sent).await.into_iter().collect() }).await
    }
}
