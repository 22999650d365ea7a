//! Begins another attempt at a stored question that has no answer.

use uuid::Uuid;
use wicara_model::{Conversation, ConversationId, Handler, Message, MessageId, role};

use crate::Store;
use crate::engine::Result;
use crate::rows::{MESSAGE, message_read};
use crate::transaction::Transaction;

/// What became of it.
#[derive(Debug)]
pub enum Reopened {
    /// The attempt has begun, and the question has no failure any more.
    Opened(Box<(Conversation, Message)>),
    /// A bot is being asked already.
    Running,
    /// People have the conversation.
    WithPeople,
    Answered,
    /// It is no question, or is gone.
    Gone,
}

impl Store {
    pub async fn question_reopen(
        &self,
        conversation_id: ConversationId,
        id: MessageId,
        attempt: Uuid,
    ) -> Result<Reopened> {
        self.change(Some(conversation_id), move |transaction| {
            Box::pin(reopen(transaction, conversation_id, id, attempt))
        })
        .await
    }
}

async fn reopen(
    transaction: &mut Transaction<'_>,
    conversation_id: ConversationId,
    id: MessageId,
    attempt: Uuid,
) -> Result<Reopened> {
    let Some(locked) = transaction.conversation(conversation_id).await? else { return Ok(Reopened::Gone) };
    let conversation = locked.conversation.clone();
    let sql = format!("SELECT {MESSAGE} FROM messages WHERE id = $1");
    let Some(row) = transaction.query(sql, vec![id.into()]).await?.into_iter().next() else {
        return Ok(Reopened::Gone);
    };
    let mut question = message_read(&mut row.columns("messages"))?;
    if question.role != role::CLIENT {
        return Ok(Reopened::Gone);
    }
    if conversation.handler == Handler::Human {
        return Ok(Reopened::WithPeople);
    }
    let running = "SELECT message_id FROM asks WHERE message_id = $1";
    if transaction.effects.asks.has_opened(id)
        || !transaction.query(running, vec![id.into()]).await?.is_empty()
    {
        return Ok(Reopened::Running);
    }
    let answers = "SELECT id FROM messages WHERE conversation_id = $1 AND id > $2 AND reply_to = $2 AND role <> 'note' \
         ORDER BY conversation_id, id LIMIT 1";
    if !transaction.query(answers, vec![conversation_id.into(), id.into()]).await?.is_empty() {
        return Ok(Reopened::Answered);
    }
    let sql = "UPDATE messages SET failure = NULL, failed_at = NULL WHERE id = $1 AND failure IS NOT NULL";
    transaction.query(sql, vec![id.into()]).await?;
    if question.failure.take().is_some() {
        transaction.effects.events.message_updated(&conversation, id, false);
    }
    let node = transaction.node;
    transaction.effects.asks.open(conversation_id, id, node, attempt);
    Ok(Reopened::Opened(Box::new((conversation, question))))
}
