//! Gives a conversation up: back into the queue, or back to the bot.

use wicara_model::{ConversationId, Handler, Timestamp};

use super::conversation_hand_over::with_newest;
use super::handling::{Handling, Operator};
use crate::Store;
use crate::engine::Result;
use crate::transaction::Transaction;

impl Store {
    /// Takes a conversation from its assignee. What nobody has stays in the queue or with the bot; from the queue it may go
    /// back to the bot by anybody.
    pub async fn conversation_release(
        &self,
        id: ConversationId,
        by: Operator,
        to: Handler,
        at: Timestamp,
    ) -> Result<Handling> {
        self.change(Some(id), move |transaction| Box::pin(release(transaction, id, by.clone(), to, at))).await
    }
}

async fn release(
    transaction: &mut Transaction<'_>,
    id: ConversationId,
    by: Operator,
    to: Handler,
    at: Timestamp,
) -> Result<Handling> {
    let Some(locked) = transaction.conversation(id).await? else { return Ok(Handling::Gone) };
    if let Some(assignee) = by.is_kept_from(&locked.conversation) {
        return Ok(Handling::Claimed(assignee.clone()));
    }
    match (locked.conversation.handler, to) {
        (Handler::Bot, _) => {}
        (Handler::Human, Handler::Bot) => give_back(transaction, id, at),
        (Handler::Human, Handler::Human) => put_into_queue(transaction, id, at),
    }
    let (conversation, newest) = with_newest(transaction, id).await?;
    Ok(Handling::Done(conversation, newest))
}

/// Gives a locked conversation back to the bot.
pub(super) fn give_back(transaction: &mut Transaction<'_>, id: ConversationId, at: Timestamp) {
    let locked = transaction.effects.conversations.get(id).expect("it was locked before");
    let before = locked.conversation.clone();
    locked.conversation.give_back(locked.newest);
    locked.conversation.updated_at = at;
    locked.is_changed = true;
    transaction.effects.events.conversation_updated(&before, &before.bot_id);
}

/// Takes a locked conversation from its assignee, if it has one.
pub(super) fn put_into_queue(transaction: &mut Transaction<'_>, id: ConversationId, at: Timestamp) {
    let locked = transaction.effects.conversations.get(id).expect("it was locked before");
    let before = locked.conversation.clone();
    if locked.conversation.assignee.take().is_none() {
        return;
    }
    locked.conversation.unclaimed_since = Some(at);
    locked.conversation.updated_at = at;
    locked.is_changed = true;
    transaction.effects.events.conversation_updated(&before, &before.bot_id);
}
