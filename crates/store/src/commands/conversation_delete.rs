//! The end of a conversation. Its row goes first, and with it the conversation for every reader; its messages follow in
//! steps, so that no step is long and nobody waits for them.

use wicara_model::{Conversation, ConversationId, Message, MessageId};

use crate::Store;
use crate::effects::Counted;
use crate::engine::{Lane, Result, Row, Sql};
use crate::messages::message_newest_in;
use crate::transaction::Transaction;

/// Messages that are deleted in one transaction.
const DELETED: i64 = 2000;

impl Store {
    /// Deletes a conversation; returns it as it was, with its newest message that is no note. Of a long one the first
    /// messages go with it, and the others with [`Store::conversation_delete_rest`].
    pub async fn conversation_delete(
        &self,
        id: ConversationId,
    ) -> Result<Option<(Conversation, Option<Message>)>> {
        let deleted = self.change(Some(id), move |transaction| Box::pin(delete(transaction, id))).await?;
        let Some((conversation, newest, rest)) = deleted else { return Ok(None) };
        if rest {
            self.inner.deletions.notify_one();
        }
        Ok(Some((conversation, newest)))
    }

    /// Waits until a long conversation is deleted.
    pub async fn conversation_deleted(&self) {
        self.inner.deletions.notified().await;
    }

    /// Deletes the messages of deleted conversations, step by step.
    pub async fn conversation_delete_rest(&self) -> Result<()> {
        loop {
            let sql = "SELECT conversation_id FROM deletions ORDER BY conversation_id LIMIT 1";
            let rows = self.inner.reads.query(Lane::Slow, sql, vec![]).await?;
            let Some(row) = rows.into_iter().next() else { return Ok(()) };
            let id = ConversationId(row.int("deletions", "conversation_id")?);
            self.change_in_turn(Some(id), move |transaction| Box::pin(step(transaction, id))).await?;
        }
    }
}

async fn delete(
    transaction: &mut Transaction<'_>,
    id: ConversationId,
) -> Result<Option<(Conversation, Option<Message>, bool)>> {
    let Some(locked) = transaction.conversation(id).await? else { return Ok(None) };
    let conversation = locked.conversation.clone();
    let newest = message_newest_in(transaction, id, false).await?;
    transaction.query("DELETE FROM conversations WHERE id = $1", vec![id.into()]).await?;
    transaction.effects.conversations.insert(id, None);
    transaction.effects.totals.conversation(&conversation, -1);
    let sql = "INSERT INTO deletions (conversation_id, bot_id, integration_type) VALUES ($1, $2, $3)";
    let params =
        vec![id.into(), conversation.bot_id.as_str().into(), conversation.integration_type.as_str().into()];
    transaction.query(sql, params).await?;
    let rest = step(transaction, id).await?;
    Ok(Some((conversation, newest, rest)))
}

/// Deletes the oldest messages that are left; whether there are more. Another node may be at it too: the row of
/// `deletions` is locked.
async fn step(transaction: &mut Transaction<'_>, id: ConversationId) -> Result<bool> {
    const READ: &str = "SELECT bot_id, integration_type FROM deletions WHERE conversation_id = $1";
    let sql = Sql::each(format!("{READ} FOR UPDATE"), READ);
    let Some(row) = transaction.query(sql, vec![id.into()]).await?.into_iter().next() else {
        return Ok(false);
    };
    let mut columns = row.columns("deletions");
    let (bot_id, integration_type) = (columns.text("bot_id")?, columns.text("integration_type")?);
    // The order of one index: PostgreSQL's planner would sort all of the conversation's messages for another.
    let sql = Sql::each(
        format!(
            "DELETE FROM messages WHERE id = ANY(ARRAY(SELECT id FROM messages WHERE conversation_id = $1 \
                 ORDER BY conversation_id, id LIMIT {DELETED})) RETURNING id"
        ),
        format!(
            "DELETE FROM messages WHERE id IN (SELECT id FROM messages WHERE conversation_id = $1 \
                 ORDER BY id LIMIT {DELETED}) RETURNING id"
        ),
    );
    let rows = transaction.query(sql, vec![id.into()]).await?;
    let ids = rows.into_iter().map(|row: Row| Ok(MessageId(row.int("messages", "id")?)));
    let ids = ids.collect::<Result<Vec<_>>>()?;
    for &message in &ids {
        transaction.effects.asks.end(message);
        let bucket = message.0 >> super::super::effects::SHIFTS[0];
        transaction.effects.totals.add(Counted::Messages, bucket, &bot_id, &integration_type, -1);
    }
    let rest = i64::try_from(ids.len()) == Ok(DELETED);
    if !rest {
        transaction.query("DELETE FROM deletions WHERE conversation_id = $1", vec![id.into()]).await?;
    }
    Ok(rest)
}
