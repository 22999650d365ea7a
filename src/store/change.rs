//! The two kinds of commands that the writer takes: appends, stored many at a time, and any other change.

use tokio::sync::oneshot;

use super::append::{Append, Ask, Outcome, append_many};
use super::engine::writer::{Command, LocalFuture};
use super::engine::{Error, Result, Transaction};
use super::{Inner, Store};

pub(super) enum Write {
    Append {
        append: Append,
        node: i32,
        outcome: Option<Outcome>,
        reply: oneshot::Sender<Result<Outcome>>,
    },
    Change(Box<dyn Change>),
    /// A change in a transaction of its own.
    LongChange(Box<dyn Change>),
}

/// A change of its own statements, which keeps what it found out until it is committed.
pub(super) trait Change: Send {
    fn run<'a>(&'a mut self, transaction: &'a Transaction<'a>) -> LocalFuture<'a, Result<()>>;
    fn answer(self: Box<Self>, committed: Result<()>);
}

struct Statements<F, T> {
    run: F,
    found: Option<T>,
    reply: oneshot::Sender<Result<T>>,
}

impl<F, T> Statements<F, T>
where
    F: for<'a> Fn(&'a Transaction<'a>) -> LocalFuture<'a, Result<T>> + Send + 'static,
    T: Send + 'static,
{
    /// The change, and where its outcome comes.
    fn command(run: F) -> (Box<dyn Change>, oneshot::Receiver<Result<T>>) {
        let (reply, outcome) = oneshot::channel();
        (Box::new(Self { run, found: None, reply }), outcome)
    }
}

impl<F, T> Change for Statements<F, T>
where
    F: for<'a> Fn(&'a Transaction<'a>) -> LocalFuture<'a, Result<T>> + Send,
    T: Send,
{
    fn run<'a>(&'a mut self, transaction: &'a Transaction<'a>) -> LocalFuture<'a, Result<()>> {
        Box::pin(async move {
            self.found = Some((self.run)(transaction).await?);
            Ok(())
        })
    }

    fn answer(self: Box<Self>, committed: Result<()>) {
        let Self { found, reply, .. } = *self;
        let _ = reply.send(committed.and_then(|()| found.ok_or_else(not_run)));
    }
}

fn not_run() -> Error {
    Error::Database("a command was committed without being run".into())
}

impl Command for Write {
    fn write<'a>(batch: &'a mut [Self], transaction: &'a Transaction<'a>) -> LocalFuture<'a, Result<()>> {
        Box::pin(async move {
            let mut appends = Vec::new();
            let mut changes = Vec::new();
            for write in batch {
                match write {
                    Write::Append { append, node, outcome, .. } => appends.push((&*append, *node, outcome)),
                    Write::Change(change) | Write::LongChange(change) => changes.push(change),
                }
            }
            append_many(transaction, &mut appends).await?;
            for change in changes {
                change.run(transaction).await?;
            }
            Ok(())
        })
    }

    fn is_long(&self) -> bool {
        matches!(self, Write::LongChange(_))
    }

    fn answer(self, committed: Result<()>) {
        match self {
            Write::Append { outcome, reply, .. } => {
                let _ = reply.send(committed.and_then(|()| outcome.ok_or_else(not_run)));
            }
            Write::Change(change) | Write::LongChange(change) => change.answer(committed),
        }
    }
}

impl Store {
    /// Stores messages at the end of a conversation, old or new. Returns after the commit.
    pub async fn append(&self, append: Append) -> Result<Outcome> {
        let (reply, answer) = oneshot::channel();
        let Inner { writer, node, .. } = &*self.inner;
        let closes = matches!(append.ask, Ask::Closes { .. });
        let write = Write::Append { append, node: *node, outcome: None, reply };
        if closes {
            writer.send_in_turn(write).await
        } else {
            writer.send(write)
        }
        answer.await.map_err(|_| abandoned())?
    }

    /// Runs statements in the writer's transaction, from the beginning again if it has to be retried.
    pub(super) async fn change<F, T>(&self, run: F) -> Result<T>
    where
        F: for<'a> Fn(&'a Transaction<'a>) -> LocalFuture<'a, Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        let (change, outcome) = Statements::command(run);
        self.inner.writer.send(Write::Change(change));
        outcome.await.map_err(|_| abandoned())?
    }

    /// The same in a transaction of its own, for what may take seconds.
    pub(super) async fn change_alone<F, T>(&self, run: F) -> Result<T>
    where
        F: for<'a> Fn(&'a Transaction<'a>) -> LocalFuture<'a, Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        let (change, outcome) = Statements::command(run);
        self.inner.writer.send(Write::LongChange(change));
        outcome.await.map_err(|_| abandoned())?
    }

    /// The same for the end of what was let in before: it waits where too many writes do.
    pub(super) async fn change_in_turn<F, T>(&self, run: F) -> Result<T>
    where
        F: for<'a> Fn(&'a Transaction<'a>) -> LocalFuture<'a, Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        let (change, outcome) = Statements::command(run);
        self.inner.writer.send_in_turn(Write::Change(change)).await;
        outcome.await.map_err(|_| abandoned())?
    }
}

/// The writer ended with the command in its hands.
fn abandoned() -> Error {
    Error::OutcomeUnknown("the store was closed meanwhile".into())
}
