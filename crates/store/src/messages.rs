//! Messages.

use std::collections::BTreeMap;

use wicara_model::{
    AnswerTime, Author, Bots, ConversationId, Failure, Json, List, Listing, Message, MessageFilter,
    MessageId, Order, Timestamp, role,
};

use crate::Store;
use crate::conversations::is_there;
use crate::effects::Counted;
use crate::engine::{Columns, Lane, Result, Row, Sql};
use crate::lists::{self, Conditions, Part, Window};
use crate::transaction::Transaction;

/// The columns that [`message_read`] reads.
pub(super) const MESSAGE: &str = "id, conversation_id, seq, role, kind, text, payload, reply_to, failure, \
     failed_at, author_id, author_kind, author_name, first_token_ms, answer_ms, created_at, updated_at";

/// Bytes of text and payload that are read at once, at least one message.
pub const CHUNK_BYTES: i64 = 256 * 1024;

pub(super) fn message_read(columns: &mut Columns) -> Result<Message> {
    let mut message = Message {
        id: MessageId(columns.int("id")?),
        conversation_id: ConversationId(columns.int("conversation_id")?),
        seq: columns.int("seq")?,
        role: columns.text("role")?,
        kind: columns.text("kind")?,
        text: columns.text("text")?,
        payload: columns.opt_json("payload")?,
        reply_to: columns.opt_int("reply_to")?.map(MessageId),
        failure: None,
        author: None,
        time: None,
        created_at: Timestamp(0),
        updated_at: Timestamp(0),
    };
    let reason = columns.opt_word("failure")?;
    let at = columns.opt_int("failed_at")?;
    message.failure = reason.zip(at).map(|(reason, at)| Failure { reason, at: Timestamp(at) });
    let author = columns.opt_text("author_id")?;
    let kind = columns.opt_word("author_kind")?;
    let name = columns.opt_text("author_name")?;
    if let (Some(id), Some(kind), Some(name)) = (author, kind, name) {
        message.author = Some(Author { id, kind, name });
    }
    let first_token_ms = columns.opt_int("first_token_ms")?;
    let answer_ms = columns.opt_int("answer_ms")?;
    message.time = answer_ms.map(|answer_ms| AnswerTime { first_token_ms, answer_ms });
    message.created_at = Timestamp(columns.int("created_at")?);
    message.updated_at = Timestamp(columns.int("updated_at")?);
    Ok(message)
}

/// What a message's text and payload take.
pub(super) fn bytes(text: &str, payload: Option<&Json>) -> i64 {
    i64::try_from(text.len() + payload.map_or(0, |payload| payload.as_str().len())).unwrap_or(i64::MAX)
}

/// What a bot is told of a conversation at most, in bytes of text.
const HISTORY_BYTES: usize = 256 * 1024;

/// A message that a list will show, before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageRef {
    pub id: MessageId,
    /// Bytes of its text and payload.
    pub bytes: i64,
}

/// A message as it is stored, with the bot of its conversation: what a right to it depends on.
#[derive(Debug, Clone, PartialEq)]
pub struct BotMessage {
    pub bot_id: String,
    pub message: Message,
}

/// Splits what a list shows into parts that are read at once.
#[must_use]
pub fn groups(messages: &[MessageRef]) -> Vec<Vec<MessageId>> {
    let mut groups: Vec<Vec<MessageId>> = Vec::new();
    let mut bytes = 0;
    for message in messages {
        bytes += message.bytes;
        match groups.last_mut() {
            Some(group) if bytes <= CHUNK_BYTES => group.push(message.id),
            _ => {
                groups.push(vec![message.id]);
                bytes = message.bytes;
            }
        }
    }
    groups
}

pub(super) fn ref_read(row: Row) -> Result<MessageRef> {
    let mut columns = row.columns("messages");
    Ok(MessageRef { id: MessageId(columns.int("id")?), bytes: columns.int("bytes")? })
}

/// The condition that a conversation is short when it is read: it may have grown since it was seen.
pub(super) fn is_short_now(messages: usize) -> String {
    format!(
        "conversation_states.message_count <= {messages} AND conversation_states.message_bytes <= {CHUNK_BYTES}"
    )
}

/// A conversation's newest message, `notes` included or not, within a transaction.
pub(super) async fn message_newest_in(
    transaction: &Transaction<'_>,
    id: ConversationId,
    notes: bool,
) -> Result<Option<Message>> {
    let role = if notes { "" } else { " AND role <> 'note'" };
    let sql = format!(
        "SELECT {MESSAGE} FROM messages WHERE conversation_id = $1{role} ORDER BY conversation_id DESC, id DESC LIMIT 1"
    );
    let rows = transaction.query(sql, vec![id.into()]).await?;
    rows.into_iter().next().map(|row| message_read(&mut row.columns("messages"))).transpose()
}

impl Store {
    pub async fn message_get(&self, id: MessageId) -> Result<Option<BotMessage>> {
        Ok(self.message_get_many(&[id]).await?.pop())
    }

    /// Messages by id, in the order asked for; one that is gone, or whose conversation is, is left out.
    pub async fn message_get_many(&self, ids: &[MessageId]) -> Result<Vec<BotMessage>> {
        // Looked up message by message; a join might begin with all conversations.
        let message = format!(
            "SELECT {MESSAGE}, (SELECT bot_id FROM conversations WHERE conversations.id = messages.conversation_id) \
             FROM messages"
        );
        let sql = Sql::each(
            format!("{message} WHERE id = ANY(CAST($1 AS bigint[]))"),
            format!("{message} WHERE id = $1"),
        );
        let rows = ids.iter().map(|&id| vec![id.into()]).collect();
        let mut found = BTreeMap::new();
        for row in self.inner.reads.query_many(Lane::Rest, sql, rows).await? {
            let mut columns = row.columns("messages");
            let message = message_read(&mut columns)?;
            // Messages may outlive their conversation for a while.
            if let Some(bot_id) = columns.opt_text("bot_id")? {
                found.insert(message.id, BotMessage { bot_id, message });
            }
        }
        Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
    }

    /// One part of the messages of some bots' conversations, by id.
    ///
    /// `conversation_messages`: the number of messages of the filter's conversation, where there is one.
    pub async fn message_list(
        &self,
        bots: &Bots,
        filter: &MessageFilter,
        conversation_messages: Option<i64>,
        listing: &Listing,
    ) -> Result<List<MessageRef>> {
        if let Some(id) = filter.conversation_id {
            let total = conversation_messages.unwrap_or_default();
            let mut conditions = Conditions::default();
            conditions.and("conversation_id = ?", id);
            let read = async |part: Part| {
                let order = (part.order, part.limit);
                self.message_windows(Lane::Slow, &conditions, order, vec![part.window()]).await
            };
            return lists::from_the_nearer_end(listing, total, read).await;
        }
        let (mut scope, mut conditions) = (Conditions::default(), Conditions::default());
        scope.and_bots("bot_id", bots);
        // Looked up message by message in a few buckets; a join might begin with all of a bot's conversations.
        conditions.and_bots(
            "(SELECT bot_id FROM conversations WHERE conversations.id = messages.conversation_id)",
            bots,
        );
        let lane = if conditions.is_empty() { Lane::Rest } else { Lane::Slow };
        let order = (listing.order, listing.limit);
        let read = |windows| self.message_windows(lane, &conditions, order, windows);
        self.list(Counted::Messages, scope, listing, read).await
    }

    async fn message_windows(
        &self,
        lane: Lane,
        conditions: &Conditions,
        order: (Order, i64),
        windows: Vec<Window>,
    ) -> Result<Vec<MessageRef>> {
        let from = ["id, bytes", "messages"];
        let rows = conditions.read(&self.inner.reads, lane, from, order, windows, |page| page).await?;
        rows.into_iter().map(ref_read).collect()
    }

    /// What the public and those who answer it said before a message: role and text of the newest `limit`, at most
    /// 256 KiB of them, oldest first.
    pub async fn message_history(
        &self,
        id: ConversationId,
        before: MessageId,
        limit: i64,
    ) -> Result<Vec<(String, String)>> {
        let sql = format!(
            "SELECT role, text FROM (SELECT id, role, text, \
                 CAST(sum(bytes) OVER (ORDER BY id DESC) AS bigint) AS upto \
                 FROM (SELECT id, role, text, bytes FROM messages WHERE conversation_id = $1 AND id < $2 \
                     AND role IN ('client', 'bot', 'agent') AND {} ORDER BY id DESC LIMIT $3) AS newest) AS sized \
             WHERE upto <= {HISTORY_BYTES} ORDER BY id",
            is_there("$1")
        );
        let params = vec![id.into(), before.into(), limit.into()];
        let rows = self.inner.reads.query(Lane::Rest, sql, params).await?;
        rows.into_iter()
            .map(|row| {
                let mut columns = row.columns("messages");
                Ok((columns.text("role")?, columns.text("text")?))
            })
            .collect()
    }

    /// A conversation's newest messages without notes before an id, oldest first.
    pub async fn message_thread(
        &self,
        id: ConversationId,
        before: Option<MessageId>,
        limit: i64,
    ) -> Result<Vec<MessageRef>> {
        let mut conditions = Conditions::default();
        conditions.and("conversation_id = ?", id);
        if let Some(before) = before {
            conditions.and("id < ?", before);
        }
        conditions.and("role <> ?", role::NOTE);
        conditions.and_text(is_there("$1"));
        let text = conditions.text();
        let sql = format!("SELECT id, bytes FROM messages{text} ORDER BY id DESC LIMIT {limit}");
        let rows = self.inner.reads.query(Lane::Quick, sql, conditions.params()).await?;
        let mut messages = rows.into_iter().map(ref_read).collect::<Result<Vec<_>>>()?;
        messages.reverse();
        Ok(messages)
    }

    /// The answers to a question, by id.
    pub async fn message_answers(&self, id: ConversationId, question: MessageId) -> Result<Vec<Message>> {
        let sql = format!(
            "SELECT {MESSAGE} FROM messages WHERE conversation_id = $1 AND id > $2 AND reply_to = $2 AND role <> 'note' AND {} \
             ORDER BY id",
            is_there("$1")
        );
        let rows = self.inner.reads.query(Lane::Rest, sql, vec![id.into(), question.into()]).await?;
        rows.into_iter().map(|row| message_read(&mut row.columns("messages"))).collect()
    }
}
