//! Changes a conversation's room, bot, integration type, user or handler.

use wicara_model::{Conversation, ConversationId, ConversationPatch, Message, Timestamp};

use super::totals_move::totals_move;
use crate::Store;
use crate::engine::Result;
use crate::messages::message_newest_in;
use crate::transaction::Transaction;

impl Store {
    /// Changes a conversation and returns it with its newest message, read in the same transaction: a read after the
    /// commit might find it deleted. `None` if there is no such conversation (any more).
    pub async fn conversation_update(
        &self,
        id: ConversationId,
        patch: ConversationPatch,
        at: Timestamp,
    ) -> Result<Option<(Conversation, Option<Message>)>> {
        // The totals of all its messages move to another bot or type, which may take seconds.
        let moves = patch.bot_id.is_some() || patch.integration_type.is_some();
        if moves {
            self.change_in_own_transaction(Some(id), move |transaction| {
                Box::pin(update(transaction, id, patch.clone(), at))
            })
            .await
        } else {
            self.change(Some(id), move |transaction| Box::pin(update(transaction, id, patch.clone(), at)))
                .await
        }
    }
}

async fn update(
    transaction: &mut Transaction<'_>,
    id: ConversationId,
    patch: ConversationPatch,
    at: Timestamp,
) -> Result<Option<(Conversation, Option<Message>)>> {
    let Some(locked) = transaction.conversation(id).await? else { return Ok(None) };
    let old = locked.conversation.clone();
    let conversation = &mut locked.conversation;
    conversation.updated_at = at;
    let fields = [
        (&mut conversation.room, patch.room),
        (&mut conversation.integration_type, patch.integration_type),
        (&mut conversation.bot_id, patch.bot_id),
    ];
    for (field, new) in fields {
        if let Some(new) = new {
            *field = new;
        }
    }
    conversation.user_id = patch.user_id.or(conversation.user_id.take());
    conversation.handler = patch.handler.unwrap_or(conversation.handler);
    locked.is_changed = true;
    let new = locked.conversation.clone();
    let newest = message_newest_in(transaction, id, true).await?;
    if (&old.bot_id, &old.integration_type) != (&new.bot_id, &new.integration_type) {
        totals_move(transaction, &old, &new).await?;
    }
    transaction.effects.events.conversation_updated(&old, &new.bot_id);
    Ok(Some((new, newest)))
}
