//! The commands, which are all writes of the store, one in a file. A command applies to a [`Transaction`] and returns
//! its outcome; its caller gets the outcome after the commit.

mod answer_late;
mod answers_stop;
mod append;
mod append_call;
mod append_hand_over;
mod assignee;
mod claim_look_up;
mod conversation_claim;
mod conversation_delete;
mod conversation_hand_over;
mod conversation_release;
mod conversation_restore;
mod conversation_return;
mod conversation_seen;
mod conversation_update;
mod handling;
mod message_delete;
mod message_feedback;
mod message_numbers;
mod message_restore;
mod message_update;
mod question_interrupt;
mod question_reopen;
mod totals_move;
mod undo;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;
use wicara_model::ConversationId;
use wicara_search::Terms;

use crate::Store;
use crate::engine::{Error, Result};
use crate::idempotency::PriorClaim;
use crate::transaction::Transaction;

pub use answers_stop::AskState;
pub(super) use append::Decision;
pub use append::{Append, Ask, Attempt, Outcome, Stored, Target};
pub(super) use append_call::{CALL, CallOutcome, outcomes, params};
pub use append_hand_over::HandOverAfter;

pub(super) use assignee::release_all;
pub use handling::{Handling, Operator};
use message_numbers::terms_of;
pub use question_reopen::Reopened;
pub use undo::Undo;

pub(super) type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// An append on its way to the writer, which commits many of them together.
pub(super) struct PendingAppend {
    pub append: Append,
    /// What each of its messages is searched by: made by its caller, since the writer has one thread.
    pub terms: Vec<Terms>,
    reply: oneshot::Sender<Result<(Decision, Append)>>,
}

impl PendingAppend {
    pub fn answer(self, decision: Result<Decision>) {
        let Self { append, reply, .. } = self;
        let _ = reply.send(decision.map(|decision| (decision, append)));
    }
}

/// Any other command. It keeps its outcome until it is committed.
pub(super) trait Change: Send {
    /// The conversation that it locks; `None` for none or several.
    fn conversation(&self) -> Option<ConversationId>;
    /// Called again from the beginning where the transaction is retried.
    fn apply<'a>(&'a mut self, transaction: &'a mut Transaction<'_>) -> LocalFuture<'a, Result<()>>;
    fn answer(self: Box<Self>, committed: Result<()>);
}

struct PendingChange<F, T> {
    conversation: Option<ConversationId>,
    apply: F,
    /// Set by `apply`.
    outcome: Option<T>,
    reply: oneshot::Sender<Result<T>>,
}

impl<F, T> Change for PendingChange<F, T>
where
    F: for<'a> Fn(&'a mut Transaction<'_>) -> LocalFuture<'a, Result<T>> + Send,
    T: Send,
{
    fn conversation(&self) -> Option<ConversationId> {
        self.conversation
    }

    fn apply<'a>(&'a mut self, transaction: &'a mut Transaction<'_>) -> LocalFuture<'a, Result<()>> {
        Box::pin(async move {
            self.outcome = Some((self.apply)(transaction).await?);
            Ok(())
        })
    }

    fn answer(self: Box<Self>, committed: Result<()>) {
        let Self { outcome, reply, .. } = *self;
        let _ = reply.send(committed.and_then(|()| outcome.ok_or_else(not_applied)));
    }
}

pub(super) fn not_applied() -> Error {
    Error::Database("a command was committed without being applied".into())
}

impl Store {
    /// Stores messages at the end of a conversation, old or new. Returns after the commit.
    pub async fn append(&self, append: Append) -> Result<Outcome> {
        let (reply, answer) = oneshot::channel();
        let closes_ask = append.ask.closes().is_some();
        let terms = terms_of(&append.messages);
        let pending = PendingAppend { append, terms, reply };
        if closes_ask {
            self.inner.writer.append_queued(pending).await;
        } else {
            self.inner.writer.append(pending);
        }
        let (decision, append) = answer.await.map_err(|_| abandoned())??;
        self.append_outcome(decision, append, None).await
    }

    /// `hand_over`: what the append hands its conversation over after, if at all.
    async fn append_outcome(
        &self,
        decision: Decision,
        append: Append,
        hand_over: Option<HandOverAfter>,
    ) -> Result<Outcome> {
        match (decision, append) {
            (Decision::Stored { conversation_id, handler, ids_and_seqs }, Append { messages, at, .. }) => {
                let stored = append::stored(conversation_id, handler, messages, ids_and_seqs, at);
                Ok(Outcome::Stored(stored))
            }
            (Decision::Gone, _) => Ok(Outcome::Gone),
            (Decision::Moved, _) => Ok(Outcome::Moved),
            (Decision::Stopped, _) => Ok(Outcome::Stopped),
            (Decision::KeyTaken, Append { claim: Some(claim), .. }) => self.claim_look_up(claim).await,
            (Decision::KeyBusy | Decision::KeyTaken, _) => {
                let lease_left = append::KEY_BUSY;
                Ok(Outcome::Claimed(PriorClaim::Running { lease_left, stored: None }))
            }
            (Decision::NotOpen, append @ Append { ask: Ask::Answers { .. }, .. }) => {
                self.answer_late(append, hand_over).await
            }
            (Decision::NotOpen, _) => Ok(Outcome::Superseded),
        }
    }

    /// Applies a command and returns its outcome after the commit. `conversation`: see [`Change::conversation`].
    /// `Unavailable` where the queue is full.
    pub(super) async fn change<F, T>(&self, conversation: Option<ConversationId>, apply: F) -> Result<T>
    where
        F: for<'a> Fn(&'a mut Transaction<'_>) -> LocalFuture<'a, Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        let (change, outcome) = pending(conversation, apply);
        self.inner.writer.change(change);
        outcome.await.map_err(|_| abandoned())?
    }

    /// Like [`Store::change`], for people, keys and logins: counted in [`Store::access_changes`] when it is over, committed or
    /// not known to be.
    pub(super) async fn access_change<F, T>(&self, apply: F) -> Result<T>
    where
        F: for<'a> Fn(&'a mut Transaction<'_>) -> LocalFuture<'a, Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        let changed = self.change(None, apply).await;
        self.inner.access_changes.fetch_add(1, Ordering::SeqCst);
        changed
    }

    /// Like [`Store::change`], but never in one transaction with other commands: for those that may take seconds and
    /// would hold the locks of the others as long.
    pub(super) async fn change_in_own_transaction<F, T>(
        &self,
        conversation: Option<ConversationId>,
        apply: F,
    ) -> Result<T>
    where
        F: for<'a> Fn(&'a mut Transaction<'_>) -> LocalFuture<'a, Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        let (change, outcome) = pending(conversation, apply);
        self.inner.writer.change_in_own_transaction(change);
        outcome.await.map_err(|_| abandoned())?
    }

    /// Like [`Store::change`], but waits where the queue is full: for the end of work that was admitted before, and for
    /// periodic work.
    pub(super) async fn change_queued<F, T>(
        &self,
        conversation: Option<ConversationId>,
        apply: F,
    ) -> Result<T>
    where
        F: for<'a> Fn(&'a mut Transaction<'_>) -> LocalFuture<'a, Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        let (change, outcome) = pending(conversation, apply);
        self.inner.writer.change_queued(change).await;
        outcome.await.map_err(|_| abandoned())?
    }
}

fn pending<F, T>(
    conversation: Option<ConversationId>,
    apply: F,
) -> (Box<dyn Change>, oneshot::Receiver<Result<T>>)
where
    F: for<'a> Fn(&'a mut Transaction<'_>) -> LocalFuture<'a, Result<T>> + Send + 'static,
    T: Send + 'static,
{
    let (reply, outcome) = oneshot::channel();
    (Box::new(PendingChange { conversation, apply, outcome: None, reply }), outcome)
}

/// Why a command that the writer had taken has no answer: the writer ended.
fn abandoned() -> Error {
    Error::OutcomeUnknown("the store was closed meanwhile".into())
}
