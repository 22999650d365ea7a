//! Moves the marks of how far a conversation was read: forward, never back, and to its newest message at most.

use std::sync::LazyLock;

use wicara_model::{Change, ConversationId, MessageId};

use crate::Store;
use crate::engine::{Result, Sql};
use crate::transaction::Transaction;

impl Store {
    /// Moves the mark of a reader ([`Caller::id`](wicara_model::Caller::id)); returns where it is now. `None` if there is no
    /// such conversation (any more).
    pub async fn conversation_seen(
        &self,
        id: ConversationId,
        reader: String,
        up_to: MessageId,
    ) -> Result<Option<MessageId>> {
        self.change(Some(id), move |transaction| {
            let reader = reader.clone();
            Box::pin(async move {
                let Some(locked) = transaction.conversation(id).await? else { return Ok(None) };
                let up_to = up_to.min(locked.newest);
                move_mark(transaction, id, reader, up_to).await.map(Some)
            })
        })
        .await
    }

    /// The same for the mark of the conversation's visitor, which its operators are shown.
    pub async fn conversation_seen_by_visitor(
        &self,
        id: ConversationId,
        up_to: MessageId,
    ) -> Result<Option<MessageId>> {
        self.change(Some(id), move |transaction| {
            Box::pin(async move {
                // Its visitor learns of no note.
                let rows = transaction.query(NEWEST_SHOWN, vec![id.into(), up_to.into()]).await?;
                let newest = rows.into_iter().next().map(|row| row.int("messages", "id")).transpose()?;
                let up_to = MessageId(newest.unwrap_or(0));
                let Some(locked) = transaction.conversation(id).await? else { return Ok(None) };
                if up_to > locked.conversation.seen_by_visitor {
                    locked.conversation.seen_by_visitor = up_to;
                    locked.is_changed = true;
                    let conversation = locked.conversation.clone();
                    transaction.effects.events.conversation_updated(&conversation, &conversation.bot_id);
                    return Ok(Some(up_to));
                }
                Ok(Some(locked.conversation.seen_by_visitor))
            })
        })
        .await
    }
}

const NEWEST_SHOWN: &str = "SELECT id FROM messages WHERE conversation_id = $1 AND id <= $2 AND role <> 'note' \
     ORDER BY conversation_id DESC, id DESC LIMIT 1";

async fn move_mark(
    transaction: &mut Transaction<'_>,
    id: ConversationId,
    reader: String,
    up_to: MessageId,
) -> Result<MessageId> {
    static MOVE: LazyLock<Sql> = LazyLock::new(|| {
        Sql::both(
            "INSERT INTO seen_marks (reader, conversation_id, up_to) VALUES ($1, $2, $3) \
             ON CONFLICT (reader, conversation_id) DO UPDATE SET up_to = excluded.up_to \
                 WHERE seen_marks.up_to < excluded.up_to \
             RETURNING up_to",
        )
    });
    let params = vec![reader.as_str().into(), id.into(), up_to.into()];
    if !transaction.query(&*MOVE, params).await?.is_empty() {
        let change = Change::Seen { reader, conversation_id: id, up_to };
        transaction.effects.events.add(change);
        return Ok(up_to);
    }
    let sql = "SELECT up_to FROM seen_marks WHERE reader = $1 AND conversation_id = $2";
    let rows = transaction.query(sql, vec![reader.into(), id.into()]).await?;
    rows.into_iter().next().map_or(Ok(up_to), |row| row.int("seen_marks", "up_to").map(MessageId))
}
