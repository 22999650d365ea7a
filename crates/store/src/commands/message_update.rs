//! Changes a message's text, kind or role.

use wicara_model::{Change, ConversationId, Json, Message, MessageId, MessagePatch, Object, Timestamp};
use wicara_search::Terms;

use crate::Store;
use crate::engine::Result;
use crate::rows::{MESSAGE, content_bytes, message_read};
use crate::transaction::Transaction;

impl Store {
    /// Changes a message; `None` if there is none (any more).
    pub async fn message_update(
        &self,
        conversation_id: ConversationId,
        id: MessageId,
        patch: MessagePatch,
        at: Timestamp,
    ) -> Result<Option<Message>> {
        self.change(Some(conversation_id), move |transaction| {
            Box::pin(update(transaction, conversation_id, id, patch.clone(), at))
        })
        .await
    }
}

async fn update(
    transaction: &mut Transaction<'_>,
    conversation_id: ConversationId,
    id: MessageId,
    patch: MessagePatch,
    at: Timestamp,
) -> Result<Option<Message>> {
    if transaction.conversation(conversation_id).await?.is_none() {
        return Ok(None);
    }
    let sql = format!("SELECT {MESSAGE} FROM messages WHERE id = $1");
    let rows = transaction.query(sql, vec![id.into()]).await?;
    let Some(row) = rows.into_iter().next() else { return Ok(None) };
    let mut message = message_read(&mut row.columns("messages"))?;
    let (was_note, had_bytes) = (message.is_note(), content_bytes(&message.text, message.payload.as_ref()));
    message.updated_at = at;
    message.kind = patch.kind.unwrap_or(message.kind);
    message.role = patch.role.unwrap_or(message.role);
    if let Some(text) = patch.text {
        message.payload = message.payload.map(|payload| with_text(payload, &text));
        message.text = text;
    }
    let has_bytes = content_bytes(&message.text, message.payload.as_ref());
    let sql = "UPDATE messages SET role = $2, kind = $3, text = $4, payload = $5, bytes = $6, updated_at = $7 \
         WHERE id = $1";
    let params = vec![
        id.into(),
        message.role.as_str().into(),
        message.kind.as_str().into(),
        message.text.as_str().into(),
        message.payload.as_ref().map(Json::as_str).into(),
        has_bytes.into(),
        at.into(),
    ];
    transaction.query(sql, params).await?;
    let locked = transaction.effects.conversations.get(conversation_id).expect("it was locked before");
    locked.conversation.note_count += i64::from(message.is_note()) - i64::from(was_note);
    locked.conversation.message_bytes += has_bytes - had_bytes;
    locked.conversation.updated_at = at;
    locked.is_changed = true;
    let conversation = locked.conversation.clone();
    let terms = Terms::of(&message.text);
    transaction.effects.search.message_updated(&conversation, id, message.is_note(), terms);
    let bot_id = conversation.bot_id;
    let (was_shown, is_shown) = (!was_note, !message.is_note());
    let change = Change::MessageUpdated { id, conversation_id, bot_id, was_shown, is_shown };
    transaction.effects.events.add(change);
    Ok(Some(message))
}

/// The payload, a bot's answer object, with a new `text`; all other fields stay as the bot sent them.
fn with_text(payload: Json, text: &str) -> Json {
    match serde_json::from_str::<Object>(payload.as_str()) {
        Ok(mut object) => {
            object.set("text", Json::of(text));
            Json::of(&object)
        }
        Err(_) => payload,
    }
}
