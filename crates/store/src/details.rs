//! A conversation with all its messages: a short one in one read, a long one part by part.

use std::collections::VecDeque;

use wicara_model::{Bots, Conversation, ConversationId, Message, MessageId};

use crate::Store;
use crate::conversations::{CONVERSATION, conversation_read, is_there};
use crate::engine::{Lane, Result, Sql};
use crate::messages::{MESSAGE, groups, is_short_now, message_read, ref_read};

/// Messages of a conversation that is read whole.
const SHORT: usize = 256;
/// Messages whose bytes are looked at before they are read.
const SIZED: usize = 1024;

/// A part of a conversation's messages without notes, by id: at most 256 KiB or one message, none where they were
/// deleted meanwhile.
#[derive(Debug, Clone)]
pub struct Chunk {
    pub messages: Vec<Message>,
    /// What is to be read after them.
    pub rest: Option<Rest>,
}

/// What is still to be read of a conversation's messages.
#[derive(Debug, Clone)]
pub struct Rest {
    /// Between these ids, at once each; none where no message was looked at yet.
    parts: VecDeque<(MessageId, MessageId)>,
    /// The last message to be read, fixed before the first is: a conversation that is written to faster than its reader
    /// reads has an end all the same.
    newest: MessageId,
}

/// A conversation and the first of its messages.
#[derive(Debug, Clone)]
pub struct Detail {
    pub conversation: Conversation,
    /// The newest message without notes, where it is not the last of the chunk.
    pub newest: Option<Message>,
    pub chunk: Chunk,
}

/// A conversation and, where it is short, its messages without notes: one row each, or one without a message.
pub(super) fn detail() -> Sql {
    let columns = [("conversation_states", CONVERSATION), ("messages", MESSAGE)].map(|(table, columns)| {
        let columns = columns.split(", ").map(|column| format!("{table}.{column}"));
        columns.collect::<Vec<_>>().join(", ")
    });
    let columns = columns.join(", ");
    // A key that is null finds nothing in the index; a condition beside it would be looked at message by message.
    let messages = format!(
        "LEFT JOIN messages ON messages.conversation_id = CASE WHEN {} THEN conversation_states.id END \
             AND role <> 'note'",
        is_short_now(SHORT)
    );
    Sql::each(
        format!(
            "SELECT place, {columns} FROM unnest(CAST($1 AS bigint[]), CAST($2 AS bigint[])) AS wanted (key, place) \
             JOIN conversation_states ON conversation_states.id = key {messages}"
        ),
        format!("SELECT $2, {columns} FROM conversation_states {messages} WHERE conversation_states.id = $1"),
    )
}

/// Messages that a database was not asked to sort: with few rows in a table it might read all of it for the order.
fn in_order(messages: impl IntoIterator<Item = Result<Message>>) -> Result<Vec<Message>> {
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
        // Before more is read: to others it is as if it were not there.
        let Some(conversation) = conversation.filter(|conversation| bots.contain(&conversation.bot_id))
        else {
            return Ok(None);
        };
        let messages = in_order(messages)?;
        let is_long = messages.is_empty() && conversation.message_count > conversation.note_count;
        let newest = if is_long { self.message_last(&[id], false).await?.pop().flatten() } else { None };
        let rest = newest.as_ref().map(|newest| Rest { parts: VecDeque::new(), newest: newest.id });
        Ok(Some(Detail { conversation, newest, chunk: Chunk { messages, rest } }))
    }

    /// What follows a chunk.
    pub async fn message_chunk(&self, id: ConversationId, mut rest: Rest) -> Result<Chunk> {
        let newest = rest.newest;
        if rest.parts.is_empty() {
            rest = self.message_rest(id, MessageId(0), newest).await?;
        }
        let Some((first, last)) = rest.parts.pop_front() else {
            return Ok(Chunk { messages: Vec::new(), rest: None });
        };
        let sql = format!(
            "SELECT {MESSAGE} FROM messages WHERE conversation_id = $1 AND id >= $2 AND id <= $3 AND role <> 'note' \
             AND {}",
            is_there("$1")
        );
        let rows =
            self.inner.reads.query(Lane::Rest, sql, vec![id.into(), first.into(), last.into()]).await?;
        let messages = rows.into_iter().map(|row| message_read(&mut row.columns("messages")));
        let messages = in_order(messages)?;
        if rest.parts.is_empty() && last < newest {
            rest = self.message_rest(id, last, newest).await?;
        }
        Ok(Chunk { messages, rest: Some(rest).filter(|rest| !rest.parts.is_empty()) })
    }

    /// What follows a message up to the newest, without notes, by how much of it can be read at once.
    async fn message_rest(&self, id: ConversationId, after: MessageId, newest: MessageId) -> Result<Rest> {
        let sql = format!(
            "SELECT id, bytes FROM messages WHERE conversation_id = $1 AND id > $2 AND id <= $3 AND role <> 'note' \
             AND {} ORDER BY id LIMIT {SIZED}",
            is_there("$1")
        );
        let params = vec![id.into(), after.into(), newest.into()];
        let rows = self.inner.reads.query(Lane::Rest, sql, params).await?;
        let messages = rows.into_iter().map(ref_read).collect::<Result<Vec<_>>>()?;
        let ends = |group: &Vec<MessageId>| Some((*group.first()?, *group.last()?));
        let mut parts: VecDeque<_> = groups(&messages).iter().filter_map(ends).collect();
        // With what follows, the last part may be larger.
        if messages.len() == SIZED && parts.len() > 1 {
            parts.pop_back();
        }
        Ok(Rest { parts, newest })
    }
}
