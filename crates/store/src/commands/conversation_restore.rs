//! Brings a deleted conversation back.

use wicara_model::{Change, Conversation, ConversationId, Message, MessageId, Timestamp};

use super::assignee::may_have;
use super::conversation_hand_over::with_newest;
use super::conversation_release::put_into_queue;
use super::undo::{Undoable, put_back};
use crate::Store;
use crate::engine::Result;
use crate::search::search_move;
use crate::transaction::Transaction;

impl Store {
    /// Brings a conversation back that was deleted with time to undo it; returns it with its newest message. One that is
    /// there is returned as it is; `None` for one that is gone.
    pub async fn conversation_restore(
        &self,
        id: ConversationId,
        at: Timestamp,
    ) -> Result<Option<(Conversation, Option<Message>)>> {
        let restored = self.change(Some(id), move |transaction| Box::pin(restore(transaction, id, at))).await;
        // The documents of a long conversation are written in the background.
        self.search_move_notify();
        restored
    }
}

async fn restore(
    transaction: &mut Transaction<'_>,
    id: ConversationId,
    at: Timestamp,
) -> Result<Option<(Conversation, Option<Message>)>> {
    if transaction.conversation(id).await?.is_none()
        && put_back(transaction, Undoable::Conversation, id.0).await?
    {
        // It was found missing before.
        transaction.effects.conversations.forget(id);
        let Some(locked) = transaction.conversation(id).await? else { return Ok(None) };
        let conversation = locked.conversation.clone();
        transaction.effects.totals.conversation(&conversation, 1);
        transaction.effects.search.conversation_updated(&conversation);
        // What was not searchable yet when it was deleted was passed over meanwhile.
        search_move(transaction, &conversation, MessageId(i64::MAX)).await?;
        let bot_id = conversation.bot_id.clone();
        transaction.effects.events.add(Change::ConversationCreated { id, bot_id, is_restored: true });
        // Who had it may be gone, or not be allowed to have it any more.
        if let Some(assignee) = &conversation.assignee
            && !may_have(transaction, assignee, &conversation.bot_id, true).await?
        {
            put_into_queue(transaction, id, at);
        }
    }
    if transaction.conversation(id).await?.is_none() {
        return Ok(None);
    }
    with_newest(transaction, id).await.map(Some)
}
