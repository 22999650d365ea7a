//! Brings a deleted message back to its place.

use wicara_model::{ConversationId, Message, MessageId, Timestamp};
use wicara_search::Terms;

use super::undo::{Undo, Undoable, put_back};
use crate::Store;
use crate::engine::Result;
use crate::rows::{MESSAGE, content_bytes, message_read};
use crate::transaction::Transaction;

impl Store {
    /// A message that was deleted and may be brought back.
    pub async fn message_undo(&self, id: MessageId) -> Result<Option<Undo>> {
        self.undo_get(Undoable::Message, id.0).await
    }

    /// Brings a message back that was deleted with time to undo it. `None` where it or its conversation is gone.
    pub async fn message_restore(
        &self,
        conversation_id: ConversationId,
        id: MessageId,
        at: Timestamp,
    ) -> Result<Option<Message>> {
        self.change(Some(conversation_id), move |transaction| {
            Box::pin(restore(transaction, conversation_id, id, at))
        })
        .await
    }
}

async fn restore(
    transaction: &mut Transaction<'_>,
    conversation_id: ConversationId,
    id: MessageId,
    at: Timestamp,
) -> Result<Option<Message>> {
    if transaction.conversation(conversation_id).await?.is_none() {
        return Ok(None);
    }
    let is_back = put_back(transaction, Undoable::Message, id.0).await?;
    let sql = format!("SELECT {MESSAGE} FROM messages WHERE id = $1");
    let Some(row) = transaction.query(sql, vec![id.into()]).await?.into_iter().next() else {
        return Ok(None);
    };
    let message = message_read(&mut row.columns("messages"))?;
    if is_back {
        let locked = transaction.effects.conversations.get(conversation_id).expect("it was locked before");
        locked.newest = locked.newest.max(id);
        let conversation = &mut locked.conversation;
        conversation.message_count += 1;
        conversation.note_count += i64::from(message.is_note());
        conversation.message_bytes += content_bytes(&message.text, message.payload.as_ref());
        conversation.updated_at = conversation.updated_at.max(at);
        locked.is_changed = true;
        let conversation = conversation.clone();
        transaction.effects.totals.messages(&conversation, id, 1);
        transaction.effects.events.message_created(&conversation, id, message.is_note());
        let terms = Terms::of(&message.text);
        transaction.effects.search.message_updated(&conversation, id, message.is_note(), terms);
    }
    Ok(Some(message))
}
