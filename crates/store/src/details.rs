//! A conversation with all its messages: a short one in one read, a long one chunk by chunk.

use std::collections::VecDeque;

use wicara_model::{Bots, Conversation, ConversationId, Message, MessageId};

use crate::Store;
use crate::engine::{Lane, Result, Sql};
use crate::messages::split_by_size;
use crate::rows::{
    CONVERSATION, MESSAGE, conversation_exists, conversation_read, is_short_now, message_read, ref_read,
};

/// A conversation with at most this many messages is read in one statement.
const SHORT_MESSAGES: usize = 256;
/// Messages whose sizes are read by one statement, to divide them into chunks.
const SIZES_AT_ONCE: usize = 1024;

/// Some of a conversation's messages without notes, by id: at most 256 KiB or one message. Empty where they were
/// deleted since their sizes were read.
#[derive(Debug, Clone)]
pub struct MessageChunk {
    pub messages: Vec<Message>,
    /// The messages after them; `None` after the last chunk.
    pub remaining: Option<Remaining>,
}

/// The messages of a conversation that are not read yet.
#[derive(Debug, Clone)]
pub struct Remaining {
    /// The first and last id of each next chunk; empty where no sizes were read yet.
    chunks: VecDeque<(MessageId, MessageId)>,
    /// The last message to read, fixed before the first one is read. Without it, a client that reads slower than the
    /// conversation grows would never come to an end.
    newest: MessageId,
}

/// A conversation and the first of its messages.
#[derive(Debug, Clone)]
pub struct Detail {
    pub conversation: Conversation,
    /// The newest message that is no note, where it is not the last of the chunk.
    pub newest: Option<Message>,
    pub chunk: MessageChunk,
}

/// The statement that reads a conversation and, where it is short, its messages without notes: a row for each message,
/// or one row with nulls.
pub(super) fn detail() -> Sql {
    let columns = [("conversation_states", CONVERSATION), ("messages", MESSAGE)].map(|(table, columns)| {
        let columns = columns.split(", ").map(|column| format!("{table}.{column}"));
        columns.collect::<Vec<_>>().join(", ")
    });
    let columns = columns.join(", ");
    // For a long conversation the CASE makes the join key null, and a null key finds nothing in the index at once. As a
    // second condition of the join, shortness would be checked for every message.
    let messages = format!(
        "LEFT JOIN messages ON messages.conversation_id = CASE WHEN {} THEN conversation_states.id END \
             AND role <> 'note'",
        is_short_now(SHORT_MESSAGES)
    );
    Sql::per_dialect(
        format!(
            "SELECT key_index, {columns} FROM unnest(CAST($1 AS bigint[]), CAST($2 AS bigint[])) \
                 AS wanted (key, key_index) \
             JOIN conversation_states ON conversation_states.id = key {messages}"
        ),
        format!("SELECT $2, {columns} FROM conversation_states {messages} WHERE conversation_states.id = $1"),
    )
}

/// Sorts messages by id. Not the database, which for an ORDER BY might scan a small table by its primary key.
fn sorted_by_id(messages: impl IntoIterator<Item = Result<Message>>) -> Result<Vec<Message>> {
    let mut messages = messages.into_iter().collect::<Result<Vec<_>>>()?;
    messages.sort_unstable_by_key(|message| message.id);
    Ok(messages)
}

impl Store {
    /// A conversation of some bots, and all its messages where it is short.
    pub async fn detail_get(&self, bots: &Bots, id: ConversationId) -> Result<Option<Detail>> {
        let (mut conversation, mut messages) = (None, Vec::new());
        for row in self.inner.loaders.details.get(id.into()).await? {
            let mut columns = row.columns("conversations");
            conversation = Some(conversation_read(&mut columns)?);
            messages.extend(columns.joined("messages").map(|mut columns| message_read(&mut columns)));
        }
        // Checked before more is read: a conversation of another bot looks like a missing one.
        let Some(conversation) = conversation.filter(|conversation| bots.contain(&conversation.bot_id))
        else {
            return Ok(None);
        };
        let messages = sorted_by_id(messages)?;
        let is_long = messages.is_empty() && conversation.message_count > conversation.note_count;
        let newest = if is_long { self.message_last(&[id], false).await?.pop().flatten() } else { None };
        let remaining =
            newest.as_ref().map(|newest| Remaining { chunks: VecDeque::new(), newest: newest.id });
        Ok(Some(Detail { conversation, newest, chunk: MessageChunk { messages, remaining } }))
    }

    /// The next chunk.
    pub async fn message_chunk(&self, id: ConversationId, mut remaining: Remaining) -> Result<MessageChunk> {
        let newest = remaining.newest;
        if remaining.chunks.is_empty() {
            remaining = self.message_remaining(id, MessageId(0), newest).await?;
        }
        let Some((first, last)) = remaining.chunks.pop_front() else {
            return Ok(MessageChunk { messages: Vec::new(), remaining: None });
        };
        let sql = format!(
            "SELECT {MESSAGE} FROM messages WHERE conversation_id = $1 AND id >= $2 AND id <= $3 AND role <> 'note' \
             AND {}",
            conversation_exists("$1")
        );
        let rows = self
            .inner
            .reads
            .query(Lane::Continuation, sql, vec![id.into(), first.into(), last.into()])
            .await?;
        let messages = rows.into_iter().map(|row| message_read(&mut row.columns("messages")));
        let messages = sorted_by_id(messages)?;
        if remaining.chunks.is_empty() && last < newest {
            remaining = self.message_remaining(id, last, newest).await?;
        }
        let remaining = Some(remaining).filter(|remaining| !remaining.chunks.is_empty());
        Ok(MessageChunk { messages, remaining })
    }

    /// Divides the messages after one, up to the newest, without notes, into chunks.
    async fn message_remaining(
        &self,
        id: ConversationId,
        after: MessageId,
        newest: MessageId,
    ) -> Result<Remaining> {
        let sql = format!(
            "SELECT id, bytes FROM messages WHERE conversation_id = $1 AND id > $2 AND id <= $3 AND role <> 'note' \
             AND {} ORDER BY id LIMIT {SIZES_AT_ONCE}",
            conversation_exists("$1")
        );
        let params = vec![id.into(), after.into(), newest.into()];
        let rows = self.inner.reads.query(Lane::Continuation, sql, params).await?;
        let messages = rows.into_iter().map(ref_read).collect::<Result<Vec<_>>>()?;
        let ends = |batch: &Vec<MessageId>| Some((*batch.first()?, *batch.last()?));
        let mut chunks: VecDeque<_> = split_by_size(&messages).iter().filter_map(ends).collect();
        // More messages follow, which may still fit into the last chunk: it is formed with them.
        if messages.len() == SIZES_AT_ONCE && chunks.len() > 1 {
            chunks.pop_back();
        }
        Ok(Remaining { chunks, newest })
    }
}
