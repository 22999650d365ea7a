//! Stops the answers that bots are giving in a conversation: marks their asks, so that nothing that comes later is stored,
//! and tells the nodes that ask.

use std::sync::LazyLock;

use wicara_model::{Change, ConversationId, Handler};

use super::append::Attempt;
use crate::Store;
use crate::effects::StopMark;
use crate::engine::{Lane, Result, Sql};
use crate::transaction::Transaction;

/// Whether the answers of an attempt are still wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskState {
    Wanted,
    Stopped,
    /// People have the conversation, or had it since the question was asked.
    HandedOver,
    /// The attempt has ended or was superseded.
    Ended,
}

impl Store {
    /// Stops what bots are answering in a conversation; `false` if there is no such conversation (any more).
    pub async fn answers_stop(&self, id: ConversationId) -> Result<bool> {
        self.change(Some(id), move |transaction| {
            Box::pin(async move {
                let exists = transaction.conversation(id).await?.is_some();
                if exists {
                    stop_answers(transaction, id, StopMark::Stopped).await?;
                }
                Ok(exists)
            })
        })
        .await
    }

    /// Whether the answers of an attempt are still wanted, as of now.
    pub async fn ask_state(&self, conversation: ConversationId, attempt: Attempt) -> Result<AskState> {
        const READ: &str = "SELECT stopped, (SELECT handler FROM conversations WHERE id = $3) FROM asks \
             WHERE message_id = $1 AND attempt = $2";
        let params = vec![attempt.question.into(), attempt.id.into(), conversation.into()];
        let rows = self.inner.reads.query(Lane::Continuation, READ, params).await?;
        let Some(row) = rows.into_iter().next() else { return Ok(AskState::Ended) };
        let mut columns = row.columns("asks");
        let (stopped, handler) = (columns.int("stopped")?, columns.opt_word("handler")?);
        Ok(if handler == Some(Handler::Human) || stopped == StopMark::HandedOver as i64 {
            AskState::HandedOver
        } else if stopped == StopMark::Stopped as i64 {
            AskState::Stopped
        } else {
            AskState::Wanted
        })
    }
}

/// Marks the open asks of a locked conversation.
pub(super) async fn stop_answers(
    transaction: &mut Transaction<'_>,
    id: ConversationId,
    mark: StopMark,
) -> Result<()> {
    static STOP: LazyLock<Sql> = LazyLock::new(|| {
        Sql::both(
            "UPDATE asks SET stopped = $2 WHERE conversation_id = $1 AND stopped = 0 RETURNING message_id",
        )
    });
    let stopped = transaction.query(&*STOP, vec![id.into(), (mark as i64).into()]).await?;
    if !stopped.is_empty() {
        transaction.effects.events.add(Change::AnswersStopped { conversation_id: id });
    }
    Ok(())
}
