//! Deletes a conversation. Its row goes first, which hides it from every reader; its messages are deleted in steps, so
//! that every transaction is short. The table `deletions` lists the conversations whose messages are not all deleted
//! yet.

use std::time::Duration;

use wicara_model::{Change, Conversation, ConversationId, Message, MessageId};

use super::undo::{self, Undoable};
use crate::Store;
use crate::effects::TotalKind;
use crate::engine::{Lane, Result, Row, Sql};
use crate::messages::message_newest_in;
use crate::transaction::Transaction;

/// Messages deleted in one transaction.
const DELETED_AT_ONCE: i64 = 2000;

impl Store {
    /// Deletes a conversation; returns it as it was, with its newest message that is no note. The first messages are
    /// deleted in the same transaction, those of a long one later by [`Store::conversation_delete_rest`].
    pub async fn conversation_delete(
        &self,
        id: ConversationId,
    ) -> Result<Option<(Conversation, Option<Message>)>> {
        let deleted =
            self.change(Some(id), move |transaction| Box::pin(delete(transaction, id, None))).await?;
        let Some((conversation, newest, has_more)) = deleted else { return Ok(None) };
        if has_more {
            self.inner.deletions.notify_one();
        }
        Ok(Some((conversation, newest)))
    }

    /// The same, for a conversation that may be brought back for this time: see [`Store::conversation_restore`]. Nobody sees
    /// it meanwhile; its messages are deleted afterwards.
    pub async fn conversation_delete_undoable(
        &self,
        id: ConversationId,
        undo: Duration,
    ) -> Result<Option<(Conversation, Option<Message>)>> {
        let deleted =
            self.change(Some(id), move |transaction| Box::pin(delete(transaction, id, Some(undo)))).await?;
        Ok(deleted.map(|(conversation, newest, _)| (conversation, newest)))
    }

    /// Waits until a conversation is deleted that leaves messages for [`Store::conversation_delete_rest`].
    pub async fn conversation_deleted(&self) {
        self.inner.deletions.notified().await;
    }

    /// Deletes the remaining messages of deleted conversations, step by step.
    pub async fn conversation_delete_rest(&self) -> Result<()> {
        loop {
            let sql = "SELECT conversation_id FROM deletions ORDER BY conversation_id LIMIT 1";
            let rows = self.inner.reads.query(Lane::Slow, sql, vec![]).await?;
            let Some(row) = rows.into_iter().next() else { return Ok(()) };
            let id = ConversationId(row.int("deletions", "conversation_id")?);
            self.change_queued(Some(id), move |transaction| Box::pin(delete_step(transaction, id))).await?;
        }
    }
}

async fn delete(
    transaction: &mut Transaction<'_>,
    id: ConversationId,
    undo: Option<Duration>,
) -> Result<Option<(Conversation, Option<Message>, bool)>> {
    let Some(locked) = transaction.conversation(id).await? else { return Ok(None) };
    let (conversation, locked) = (locked.conversation.clone(), locked.clone());
    if let Some(time) = undo {
        // What earlier commands of the transaction changed is written at its end otherwise.
        locked.write(&transaction.executor).await?;
        undo::keep(transaction, Undoable::Conversation, id.0, &conversation, time).await?;
    }
    let newest = message_newest_in(transaction, id, false).await?;
    transaction.query("DELETE FROM conversations WHERE id = $1", vec![id.into()]).await?;
    // Marks come back with the conversation.
    let tables: &[&str] = match undo {
        Some(_) => &["conversation_activity", "search_moves"],
        None => &["conversation_activity", "search_moves", "seen_marks"],
    };
    for table in tables {
        let sql = format!("DELETE FROM {table} WHERE conversation_id = $1");
        transaction.query(sql, vec![id.into()]).await?;
    }
    transaction.effects.conversations.insert(id, None);
    transaction.effects.totals.conversation(&conversation, -1);
    transaction.effects.search.conversation_deleted(id);
    let bot_before = conversation.bot_id.clone();
    transaction.effects.events.add(Change::ConversationDeleted { id, bot_before });
    if undo.is_some() {
        return Ok(Some((conversation, newest, false)));
    }
    let sql = "INSERT INTO deletions (conversation_id, bot_id, integration_type) VALUES ($1, $2, $3)";
    let params =
        vec![id.into(), conversation.bot_id.as_str().into(), conversation.integration_type.as_str().into()];
    transaction.query(sql, params).await?;
    let has_more = delete_step(transaction, id).await?;
    Ok(Some((conversation, newest, has_more)))
}

/// Deletes the oldest remaining messages; whether there may be more. Locks the row of `deletions`, since another node
/// may delete the same conversation's messages.
async fn delete_step(transaction: &mut Transaction<'_>, id: ConversationId) -> Result<bool> {
    const READ: &str = "SELECT bot_id, integration_type FROM deletions WHERE conversation_id = $1";
    let sql = Sql::per_dialect(format!("{READ} FOR UPDATE"), READ);
    let Some(row) = transaction.query(sql, vec![id.into()]).await?.into_iter().next() else {
        return Ok(false);
    };
    let mut columns = row.columns("deletions");
    let (bot_id, integration_type) = (columns.text("bot_id")?, columns.text("integration_type")?);
    // `ORDER BY conversation_id, id` is the order of one index. With `ORDER BY id` alone PostgreSQL's planner would
    // sort all messages of the conversation.
    let sql = Sql::per_dialect(
        format!(
            "DELETE FROM messages WHERE id = ANY(ARRAY(SELECT id FROM messages WHERE conversation_id = $1 \
                 ORDER BY conversation_id, id LIMIT {DELETED_AT_ONCE})) RETURNING id"
        ),
        format!(
            "DELETE FROM messages WHERE id IN (SELECT id FROM messages WHERE conversation_id = $1 \
                 ORDER BY id LIMIT {DELETED_AT_ONCE}) RETURNING id"
        ),
    );
    let rows = transaction.query(sql, vec![id.into()]).await?;
    let ids = rows.into_iter().map(|row: Row| Ok(MessageId(row.int("messages", "id")?)));
    let ids = ids.collect::<Result<Vec<_>>>()?;
    for &message in &ids {
        transaction.effects.asks.end(message);
        transaction.effects.search.message_deleted(message);
        let bucket = message.0 >> crate::effects::SHIFTS[0];
        transaction.effects.totals.add(TotalKind::Messages, bucket, &bot_id, &integration_type, -1);
    }
    let has_more = i64::try_from(ids.len()) == Ok(DELETED_AT_ONCE);
    if !has_more {
        transaction.query("DELETE FROM deletions WHERE conversation_id = $1", vec![id.into()]).await?;
    }
    Ok(has_more)
}
