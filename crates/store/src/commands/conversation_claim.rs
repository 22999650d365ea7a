//! Claims a conversation: hands it over, where the bot has it, and assigns it to one operator.

use wicara_model::{ConversationId, HandoverReason, Timestamp};

use super::assignee::may_have;
use super::conversation_hand_over::{hand_over, with_newest};
use super::handling::{Handling, Operator};
use crate::Store;
use crate::engine::Result;
use crate::transaction::Transaction;

impl Store {
    /// Assigns a conversation to an operator. Of several that claim it at once the first one has it: it is decided under the
    /// conversation's lock. `force`: even if somebody else has it.
    pub async fn conversation_claim(
        &self,
        id: ConversationId,
        by: Operator,
        force: bool,
        at: Timestamp,
    ) -> Result<Handling> {
        self.change(Some(id), move |transaction| Box::pin(claim(transaction, id, by.clone(), force, at)))
            .await
    }
}

async fn claim(
    transaction: &mut Transaction<'_>,
    id: ConversationId,
    by: Operator,
    force: bool,
    at: Timestamp,
) -> Result<Handling> {
    let Some(locked) = transaction.conversation(id).await? else { return Ok(Handling::Gone) };
    let bot_id = locked.conversation.bot_id.clone();
    let has_it = match &locked.conversation.assignee {
        Some(assignee) if assignee.id == by.author.id => true,
        Some(assignee) if !force => return Ok(Handling::Claimed(assignee.clone())),
        _ => false,
    };
    if !has_it {
        // The rights that the request had may be gone: they are read again before somebody gets a conversation, so that
        // none is left with somebody who was removed meanwhile.
        if !may_have(transaction, &by.author, &bot_id, true).await? {
            return Ok(Handling::Gone);
        }
        hand_over(transaction, id, HandoverReason::Operator, Some(by.author), at).await?;
    }
    let (conversation, newest) = with_newest(transaction, id).await?;
    Ok(Handling::Done(conversation, newest))
}
