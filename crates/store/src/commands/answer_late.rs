//! Late answers: those of an attempt that has ended or was superseded.

use wicara_model::{Ending, Handler, HandoverReason, MessageId};

use super::append::{Append, Ask, Attempt, Outcome, Target, stored};
use super::append_hand_over::HandOverAfter;
use super::conversation_hand_over::hand_over;
use super::message_numbers::{store_messages, terms_of};
use crate::Store;
use crate::engine::Result;
use crate::transaction::Transaction;

impl Store {
    /// Stores the answers if the question was given up and is not asked again. `Superseded` if it is asked again, has
    /// its answers or is deleted, if its answer was stopped, or if people have the conversation. `after`: what the append
    /// hands its conversation over after, if at all.
    pub(super) async fn answer_late(&self, append: Append, after: Option<HandOverAfter>) -> Result<Outcome> {
        let asks_for_people = after == Some(HandOverAfter::Answer);
        self.change_queued(append.target.conversation(), move |transaction| {
            let append = append.clone();
            Box::pin(answer_late(transaction, append, asks_for_people))
        })
        .await
    }
}

async fn answer_late(
    transaction: &mut Transaction<'_>,
    append: Append,
    asks_for_people: bool,
) -> Result<Outcome> {
    let (Target::Existing(id), Ask::Answers { attempt: Attempt { question, .. } }) =
        (append.target, append.ask)
    else {
        return Ok(Outcome::Gone);
    };
    let Some(locked) = transaction.conversation(id).await? else { return Ok(Outcome::Gone) };
    let (handler, conversation) = (locked.conversation.handler, locked.conversation.clone());
    if handler == Handler::Human || !clear_failure(transaction, question).await? {
        return Ok(Outcome::Superseded);
    }
    transaction.effects.events.message_updated(&conversation, question, false);
    let terms = terms_of(&append.messages);
    let ids_and_seqs = store_messages(transaction, id, &append.messages, &terms, append.at).await?;
    transaction.effects.keys.ended(id, question, Ending::Answered);
    if asks_for_people {
        hand_over(transaction, id, HandoverReason::Bot, None, append.at).await?;
    }
    Ok(Outcome::Stored(stored(id, handler, append.messages, ids_and_seqs, append.at)))
}

/// Clears the failure of a question that no attempt asks now; `false` if there was none, or if the answer was stopped.
async fn clear_failure(transaction: &Transaction<'_>, question: MessageId) -> Result<bool> {
    let sql = "UPDATE messages SET failure = NULL, failed_at = NULL \
         WHERE id = $1 AND failure <> 'stopped' AND NOT EXISTS (SELECT 1 FROM asks WHERE message_id = $1) \
         RETURNING id";
    Ok(!transaction.query(sql, vec![question.into()]).await?.is_empty())
}
