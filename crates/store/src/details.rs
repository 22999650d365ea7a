//! A conversation with all its messages: a short one in one statement, a long one chunk by chunk
//! (`message_windows.rs`).

use wicara_model::{Bots, Conversation, ConversationId, Message};

use crate::Store;
use crate::engine::{Result, Sql};
use crate::message_windows::{MessageChunk, Remaining, sorted_by_id};
use crate::rows::{CONVERSATION, MESSAGE, conversation_read, is_short_now, message_read};

/// A conversation with at most this many messages is read in one statement.
const SHORT_MESSAGES: usize = 256;

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
        let remaining = newest.as_ref().map(|newest| Remaining::up_to(newest.id));
        Ok(Some(Detail { conversation, newest, chunk: MessageChunk { messages, remaining } }))
    }
}
