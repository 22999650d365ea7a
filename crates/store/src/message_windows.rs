//! Windows of one conversation's messages, read within a budget of bytes, so that long messages do not add up in memory:
//! the newest ones in one statement, or any number of them chunk by chunk.

use std::collections::VecDeque;

use wicara_model::{ConversationId, Message, MessageId};

use crate::Store;
use crate::engine::{Lane, Result};
use crate::rows::{CHUNK_BYTES, MESSAGE, MessageRef, conversation_exists, message_read, ref_read};

/// Messages whose sizes are read by one statement, to divide them into chunks.
const SIZES_AT_ONCE: i64 = 1024;

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
    /// The next chunks; empty where no sizes were read yet.
    chunks: VecDeque<ChunkBounds>,
    /// The last message to read, fixed before the first one is read. Without it, a client that reads slower than the
    /// conversation grows would never come to an end.
    newest: MessageId,
}

#[derive(Debug, Clone, Copy)]
struct ChunkBounds {
    first: MessageId,
    last: MessageId,
    bytes: i64,
}

impl Remaining {
    /// All messages up to one; their sizes are not read yet.
    pub(super) fn up_to(newest: MessageId) -> Self {
        Self { chunks: VecDeque::new(), newest }
    }

    /// Some messages whose sizes are known, oldest first. `None` for no messages.
    fn of(messages: &[MessageRef]) -> Option<Self> {
        let newest = messages.last()?.id;
        Some(Self { chunks: chunks(messages), newest })
    }

    /// Bytes of text and payload in the next chunk at most, unless it is one message, as far as its size is known.
    #[must_use]
    pub fn next_bytes(&self) -> i64 {
        self.chunks.front().map_or(CHUNK_BYTES, |chunk| chunk.bytes)
    }
}

fn chunks(messages: &[MessageRef]) -> VecDeque<ChunkBounds> {
    let bounds = |chunk: &[MessageRef]| {
        let (first, last) = (chunk.first()?.id, chunk.last()?.id);
        Some(ChunkBounds { first, last, bytes: chunk.iter().map(|message| message.bytes).sum() })
    };
    split_by_size(messages).filter_map(bounds).collect()
}

/// Splits the messages of a list into chunks of at most [`CHUNK_BYTES`], in order; a larger message is a chunk by
/// itself.
pub fn split_by_size(messages: &[MessageRef]) -> impl Iterator<Item = &[MessageRef]> {
    let mut bytes = 0;
    messages.chunk_by(move |before, message| {
        bytes += before.bytes;
        let fits = bytes + message.bytes <= CHUNK_BYTES;
        if !fits {
            bytes = 0;
        }
        fits
    })
}

/// SELECT of a conversation's newest messages that meet a condition: at most `limit` of them, and those of which `fits`
/// is true. It is a condition over a message's `bytes` and `upto`, the bytes of the message and all newer ones.
pub(super) fn newest_within(
    columns: &str,
    conversation_id: &str,
    condition: &str,
    (limit, fits): (&str, &str),
) -> String {
    let exists = conversation_exists(conversation_id);
    format!(
        "SELECT {columns} FROM (SELECT {columns}, bytes, CAST(sum(bytes) OVER (ORDER BY id DESC) AS bigint) AS upto \
             FROM (SELECT {columns}, bytes FROM messages WHERE conversation_id = {conversation_id} AND {condition} \
                 AND {exists} ORDER BY id DESC LIMIT {limit}) AS page) AS sized \
         WHERE {fits}"
    )
}

/// Sorts messages by id. Not the database, which for an ORDER BY might scan a small table by its primary key.
pub(super) fn sorted_by_id(messages: impl IntoIterator<Item = Result<Message>>) -> Result<Vec<Message>> {
    let mut messages = messages.into_iter().collect::<Result<Vec<_>>>()?;
    messages.sort_unstable_by_key(|message| message.id);
    Ok(messages)
}

impl Store {
    /// A conversation's newest messages without notes before an id. `None` for no messages.
    pub async fn message_thread(
        &self,
        id: ConversationId,
        before: Option<MessageId>,
        limit: i64,
    ) -> Result<Option<Remaining>> {
        let before = MessageId(before.map_or(i64::MAX, |before| before.0.saturating_sub(1)));
        let mut messages =
            self.message_sizes(Lane::Quick, id, (MessageId(0), before), ("DESC", limit)).await?;
        messages.reverse();
        Ok(Remaining::of(&messages))
    }

    /// The next chunk.
    pub async fn message_chunk(&self, id: ConversationId, mut remaining: Remaining) -> Result<MessageChunk> {
        let newest = remaining.newest;
        if remaining.chunks.is_empty() {
            remaining = self.message_remaining(id, MessageId(0), newest).await?;
        }
        let Some(ChunkBounds { first, last, .. }) = remaining.chunks.pop_front() else {
            return Ok(MessageChunk { messages: Vec::new(), remaining: None });
        };
        let sql = format!(
            "SELECT {MESSAGE} FROM messages WHERE conversation_id = $1 AND id >= $2 AND id <= $3 AND role <> 'note' \
             AND {}",
            conversation_exists("$1")
        );
        let params = vec![id.into(), first.into(), last.into()];
        let rows = self.inner.reads.query(Lane::Continuation, sql, params).await?;
        let messages = sorted_by_id(rows.into_iter().map(|row| message_read(&mut row.columns("messages"))))?;
        if remaining.chunks.is_empty() && last < newest {
            remaining = self.message_remaining(id, last, newest).await?;
        }
        let remaining = Some(remaining).filter(|remaining| !remaining.chunks.is_empty());
        Ok(MessageChunk { messages, remaining })
    }

    /// Divides the messages after one, up to the newest, into chunks.
    async fn message_remaining(
        &self,
        id: ConversationId,
        after: MessageId,
        newest: MessageId,
    ) -> Result<Remaining> {
        let messages =
            self.message_sizes(Lane::Continuation, id, (after, newest), ("ASC", SIZES_AT_ONCE)).await?;
        let mut chunks = chunks(&messages);
        // More messages follow, which may still fit into the last chunk: it is formed with them.
        if messages.len() as i64 == SIZES_AT_ONCE && chunks.len() > 1 {
            chunks.pop_back();
        }
        Ok(Remaining { chunks, newest })
    }

    /// The sizes of messages without notes after one id, up to another one.
    async fn message_sizes(
        &self,
        lane: Lane,
        id: ConversationId,
        (after, last): (MessageId, MessageId),
        (direction, limit): (&str, i64),
    ) -> Result<Vec<MessageRef>> {
        let sql = format!(
            "SELECT id, bytes FROM messages WHERE conversation_id = $1 AND id > $2 AND id <= $3 AND role <> 'note' \
             AND {} ORDER BY id {direction} LIMIT {limit}",
            conversation_exists("$1")
        );
        let params = vec![id.into(), after.into(), last.into()];
        let rows = self.inner.reads.query(lane, sql, params).await?;
        rows.into_iter().map(ref_read).collect()
    }
}
