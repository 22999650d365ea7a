//! What is written, one command a file. A command applies to a [`Transaction`] and returns its outcome, which its caller
//! gets after the commit.

mod answer_late;
mod append;
mod append_call;
mod claim_look_up;
mod conversation_delete;
mod conversation_update;
mod message_delete;
mod message_update;
mod question_interrupt;
mod totals_move;

use std::future::Future;
use std::pin::Pin;

use tokio::sync::oneshot;
use wicara_model::ConversationId;

use crate::Store;
use crate::engine::{Error, Result};
use crate::idempotency::Claimed;
use crate::transaction::Transaction;

pub(super) use append::Decided;
pub use append::{Append, Ask, Attempt, Outcome, Stored, Target};
pub(super) use append_call::{CALL, Called, outcomes, params};

pub(super) type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// An append that waits to be stored, with many others in one transaction.
pub(super) struct Appending {
    pub append: Append,
    reply: oneshot::Sender<Result<(Decided, Append)>>,
}

impl Appending {
    pub fn answer(self, decided: Result<Decided>) {
        let Self { append, reply } = self;
        let _ = reply.send(decided.map(|decided| (decided, append)));
    }
}

/// Any other command, which keeps what it found out until it is committed.
pub(super) trait Change: Send {
    /// The one conversation that it locks, where it locks one.
    fn conversation(&self) -> Option<ConversationId>;
    /// Applied from the beginning again where the transaction is tried again.
    fn apply<'a>(&'a mut self, transaction: &'a mut Transaction<'_>) -> LocalFuture<'a, Result<()>>;
    fn answer(self: Box<Self>, committed: Result<()>);
}

struct Applied<F, T> {
    conversation: Option<ConversationId>,
    apply: F,
    found: Option<T>,
    reply: oneshot::Sender<Result<T>>,
}

impl<F, T> Change for Applied<F, T>
where
    F: for<'a> Fn(&'a mut Transaction<'_>) -> LocalFuture<'a, Result<T>> + Send,
    T: Send,
{
    fn conversation(&self) -> Option<ConversationId> {
        self.conversation
    }

    fn apply<'a>(&'a mut self, transaction: &'a mut Transaction<'_>) -> LocalFuture<'a, Result<()>> {
        Box::pin(async move {
            self.found = Some((self.apply)(transaction).await?);
            Ok(())
        })
    }

    fn answer(self: Box<Self>, committed: Result<()>) {
        let Self { found, reply, .. } = *self;
        let _ = reply.send(committed.and_then(|()| found.ok_or_else(not_applied)));
    }
}

pub(super) fn not_applied() -> Error {
    Error::Database("a command was committed without being applied".into())
}

impl Store {
    /// Stores messages at the end of a conversation, old or new. Returns after the commit.
    pub async fn append(&self, append: Append) -> Result<Outcome> {
        let (reply, answer) = oneshot::channel();
        let closes = append.ask.closes().is_some();
        let appending = Appending { append, reply };
        if closes {
            self.inner.writer.append_in_turn(appending).await;
        } else {
            self.inner.writer.append(appending);
        }
        let (decided, append) = answer.await.map_err(|_| abandoned())??;
        match (decided, append) {
            (Decided::Stored { conversation_id, handler, numbers }, Append { messages, at, .. }) => {
                let stored = append::stored(conversation_id, handler, messages, numbers, at);
                Ok(Outcome::Stored(stored))
            }
            (Decided::Gone, _) => Ok(Outcome::Gone),
            (Decided::Moved, _) => Ok(Outcome::Moved),
            (Decided::KeyTaken, Append { claim: Some(claim), .. }) => self.claim_look_up(claim).await,
            (Decided::KeyBusy | Decided::KeyTaken, _) => {
                Ok(Outcome::Claimed(Claimed::Running { left: append::KEY_BUSY }))
            }
            (Decided::NotOpen, append @ Append { ask: Ask::Answers { .. }, .. }) => {
                self.answer_late(append).await
            }
            (Decided::NotOpen, _) => Ok(Outcome::Superseded),
        }
    }

    /// Applies a command. `conversation`: the one that it locks, where it locks one. Returns after the commit.
    pub(super) async fn change<F, T>(&self, conversation: Option<ConversationId>, apply: F) -> Result<T>
    where
        F: for<'a> Fn(&'a mut Transaction<'_>) -> LocalFuture<'a, Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        let (applied, outcome) = applied(conversation, apply);
        self.inner.writer.change(applied);
        outcome.await.map_err(|_| abandoned())?
    }

    /// The same in a transaction of its own, for what may take seconds.
    pub(super) async fn change_alone<F, T>(&self, conversation: Option<ConversationId>, apply: F) -> Result<T>
    where
        F: for<'a> Fn(&'a mut Transaction<'_>) -> LocalFuture<'a, Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        let (applied, outcome) = applied(conversation, apply);
        self.inner.writer.change_alone(applied);
        outcome.await.map_err(|_| abandoned())?
    }

    /// The same for the end of what was let in before: it waits where too many writes do.
    pub(super) async fn change_in_turn<F, T>(
        &self,
        conversation: Option<ConversationId>,
        apply: F,
    ) -> Result<T>
    where
        F: for<'a> Fn(&'a mut Transaction<'_>) -> LocalFuture<'a, Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        let (applied, outcome) = applied(conversation, apply);
        self.inner.writer.change_in_turn(applied).await;
        outcome.await.map_err(|_| abandoned())?
    }
}

fn applied<F, T>(
    conversation: Option<ConversationId>,
    apply: F,
) -> (Box<dyn Change>, oneshot::Receiver<Result<T>>)
where
    F: for<'a> Fn(&'a mut Transaction<'_>) -> LocalFuture<'a, Result<T>> + Send + 'static,
    T: Send + 'static,
{
    let (reply, outcome) = oneshot::channel();
    (Box::new(Applied { conversation, apply, found: None, reply }), outcome)
}

/// The writer ended with the command in its hands.
fn abandoned() -> Error {
    Error::OutcomeUnknown("the store was closed meanwhile".into())
}
