//! Deletes a message. Its `seq` in the conversation is not used again.

use std::time::Duration;

use wicara_model::{Change, ConversationId, Message, MessageId, Timestamp};

use super::undo::{self, Undoable};
use crate::Store;
use crate::engine::Result;
use crate::rows::{MESSAGE, content_bytes, message_read};
use crate::transaction::Transaction;

impl Store {
    /// Deletes a message; returns it as it was.
    pub async fn message_delete(
        &self,
        conversation_id: ConversationId,
        id: MessageId,
        at: Timestamp,
    ) -> Result<Option<Message>> {
        self.change(Some(conversation_id), move |transaction| {
            Box::pin(delete(transaction, conversation_id, id, None, at))
        })
        .await
    }

    /// The same, for a message that may be brought back for this time: see [`Store::message_restore`].
    pub async fn message_delete_undoable(
        &self,
        conversation_id: ConversationId,
        id: MessageId,
        undo: Duration,
        at: Timestamp,
    ) -> Result<Option<Message>> {
        self.change(Some(conversation_id), move |transaction| {
            Box::pin(delete(transaction, conversation_id, id, Some(undo), at))
        })
        .await
    }
}

async fn delete(
    transaction: &mut Transaction<'_>,
    conversation_id: ConversationId,
    id: MessageId,
    undo: Option<Duration>,
    at: Timestamp,
) -> Result<Option<Message>> {
    let Some(locked) = transaction.conversation(conversation_id).await? else { return Ok(None) };
    if let Some(time) = undo {
        let conversation = locked.conversation.clone();
        undo::keep(transaction, Undoable::Message, id.0, &conversation, time).await?;
    }
    let sql = format!("DELETE FROM messages WHERE id = $1 RETURNING {MESSAGE}");
    let rows = transaction.query(sql, vec![id.into()]).await?;
    let Some(row) = rows.into_iter().next() else { return Ok(None) };
    let message = message_read(&mut row.columns("messages"))?;
    let locked = transaction.effects.conversations.get(conversation_id).expect("it was locked before");
    let conversation = &mut locked.conversation;
    conversation.message_count -= 1;
    conversation.note_count -= i64::from(message.is_note());
    conversation.message_bytes -= content_bytes(&message.text, message.payload.as_ref());
    conversation.updated_at = at;
    locked.is_changed = true;
    let conversation = conversation.clone();
    transaction.effects.totals.messages(&conversation, id, -1);
    transaction.effects.asks.end(id);
    transaction.effects.search.message_deleted(id);
    let (bot_id, was_shown) = (conversation.bot_id, !message.is_note());
    transaction.effects.events.add(Change::MessageDeleted { id, conversation_id, bot_id, was_shown });
    Ok(Some(message))
}
