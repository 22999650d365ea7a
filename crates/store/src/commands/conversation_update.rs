//! Changes a conversation's room, bot, integration type, user or handler.

use wicara_model::{ConversationId, ConversationPatch, Handler, HandoverReason, MessageId, Timestamp};

use super::assignee::may_have;
use super::conversation_hand_over::hand_over;
use super::conversation_release::{give_back, put_into_queue};
use super::handling::{Handling, Operator};
use super::totals_move::totals_move;
use crate::Store;
use crate::engine::Result;
use crate::messages::message_newest_in;
use crate::search::search_move;
use crate::transaction::Transaction;

impl Store {
    /// Changes a conversation and returns it with its newest message, read in the same transaction: a read after the
    /// commit might find it deleted. A new handler hands it over into the queue, or gives it back; what somebody else has
    /// goes back by an admin only.
    pub async fn conversation_update(
        &self,
        id: ConversationId,
        patch: ConversationPatch,
        by: Operator,
        at: Timestamp,
    ) -> Result<Handling> {
        // The totals of all its messages move to another bot or type, which may take seconds.
        let moves = patch.bot_id.is_some() || patch.integration_type.is_some();
        if moves {
            let changed = self
                .change_in_own_transaction(Some(id), move |transaction| {
                    Box::pin(update(transaction, id, patch.clone(), by.clone(), at))
                })
                .await;
            // The documents of a long conversation are written in the background.
            self.search_move_notify();
            changed
        } else {
            self.change(Some(id), move |transaction| {
                Box::pin(update(transaction, id, patch.clone(), by.clone(), at))
            })
            .await
        }
    }
}

async fn update(
    transaction: &mut Transaction<'_>,
    id: ConversationId,
    patch: ConversationPatch,
    by: Operator,
    at: Timestamp,
) -> Result<Handling> {
    let Some(locked) = transaction.conversation(id).await? else { return Ok(Handling::Gone) };
    let new_handler = patch.handler.filter(|&handler| handler != locked.conversation.handler);
    if new_handler == Some(Handler::Bot)
        && let Some(assignee) = by.is_kept_from(&locked.conversation)
    {
        return Ok(Handling::Claimed(assignee.clone()));
    }
    if new_handler.is_none()
        && (ConversationPatch { handler: None, ..patch.clone() }) == ConversationPatch::default()
    {
        let conversation = locked.conversation.clone();
        return Ok(Handling::Done(conversation, message_newest_in(transaction, id, true).await?));
    }
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
    locked.is_changed = true;
    let new = locked.conversation.clone();
    let newest = message_newest_in(transaction, id, true).await?;
    if (&old.bot_id, &old.integration_type) != (&new.bot_id, &new.integration_type) {
        totals_move(transaction, &old, &new).await?;
    }
    transaction.effects.events.conversation_updated(&old, &new.bot_id);
    if (&old.room, &old.user_id, &old.bot_id) != (&new.room, &new.user_id, &new.bot_id) {
        transaction.effects.search.conversation_updated(&new);
    }
    if old.bot_id != new.bot_id {
        search_move(transaction, &new, MessageId(i64::MAX)).await?;
    }
    match new_handler {
        Some(Handler::Human) => hand_over(transaction, id, HandoverReason::Operator, None, at).await?,
        Some(Handler::Bot) => give_back(transaction, id, at),
        None => {}
    }
    if let Some(assignee) = &new.assignee
        && old.bot_id != new.bot_id
        && !may_have(transaction, assignee, &new.bot_id, false).await?
    {
        put_into_queue(transaction, id, at);
    }
    let locked = transaction.effects.conversations.get(id).expect("it was locked before");
    Ok(Handling::Done(locked.conversation.clone(), newest))
}
