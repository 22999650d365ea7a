//! Keeps what a visitor thinks of an answer.

use wicara_model::{ConversationId, Feedback, Message, MessageId, role};

use crate::Store;
use crate::engine::Result;
use crate::rows::{MESSAGE, message_read};
use crate::transaction::Transaction;

impl Store {
    /// Sets the feedback on a message of a bot or an operator, or takes it back; returns the message. `None` if the
    /// conversation has no such message (any more). Neither the message nor its conversation counts as changed.
    pub async fn message_feedback(
        &self,
        conversation_id: ConversationId,
        id: MessageId,
        feedback: Option<Feedback>,
    ) -> Result<Option<Message>> {
        self.change(Some(conversation_id), move |transaction| {
            Box::pin(set(transaction, conversation_id, id, feedback.clone()))
        })
        .await
    }
}

async fn set(
    transaction: &mut Transaction<'_>,
    conversation_id: ConversationId,
    id: MessageId,
    feedback: Option<Feedback>,
) -> Result<Option<Message>> {
    let Some(locked) = transaction.conversation(conversation_id).await? else { return Ok(None) };
    let conversation = locked.conversation.clone();
    let sql = format!("SELECT {MESSAGE} FROM messages WHERE id = $1");
    let Some(row) = transaction.query(sql, vec![id.into()]).await?.into_iter().next() else {
        return Ok(None);
    };
    let mut message = message_read(&mut row.columns("messages"))?;
    if message.conversation_id != conversation_id
        || ![role::BOT, role::AGENT].contains(&message.role.as_str())
    {
        return Ok(None);
    }
    let said = |feedback: &Option<Feedback>| feedback.clone().map(|it| (it.value, it.text));
    if said(&feedback) == said(&message.feedback) {
        return Ok(Some(message));
    }
    let sql = "UPDATE messages SET feedback = $2, feedback_text = $3, feedback_at = $4 WHERE id = $1";
    let params = vec![
        id.into(),
        feedback.as_ref().map(|feedback| feedback.value).into(),
        feedback.as_ref().and_then(|feedback| feedback.text.clone()).into(),
        feedback.as_ref().map(|feedback| feedback.at).into(),
    ];
    transaction.query(sql, params).await?;
    message.feedback = feedback;
    transaction.effects.events.message_updated(&conversation, id, message.is_note());
    Ok(Some(message))
}
