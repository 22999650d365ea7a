//! Messages.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::conversations::{self, CONVERSATION, conversation_read};
use super::engine::{Columns, Lane, Result, Row, Sql};
use super::lists::{self, Conditions, Part};
use super::totals::{Changes, Counted};
use super::{Store, questions};
use crate::model::{
    Bots, Conversation, ConversationId, Failure, Json, List, Listing, Message, MessageFilter, MessageId,
    MessagePatch, Object, Timestamp, role,
};

/// The columns that [`message_read`] reads.
pub(super) const MESSAGE: &str = "id, conversation_id, seq, role, kind, text, payload, reply_to, failure, \
     failed_at, created_at, updated_at";

/// Messages of one conversation that a list of conversations shows.
const EMBEDDED: usize = 50;
/// Bytes of text and payload that are read at once, at least one message.
const CHUNK_BYTES: i64 = 256 * 1024;
/// Messages of a conversation that is read whole.
const SHORT: usize = 256;
/// Messages whose bytes are looked at before they are read.
const SIZED: usize = 1024;

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
        created_at: Timestamp(0),
        updated_at: Timestamp(0),
    };
    let reason = columns.opt_word("failure")?;
    let at = columns.opt_int("failed_at")?;
    message.failure = reason.zip(at).map(|(reason, at)| Failure { reason, at: Timestamp(at) });
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
    /// Between these ids, at once each.
    parts: VecDeque<(MessageId, MessageId)>,
}

type ByConversation = BTreeMap<ConversationId, Vec<Message>>;

/// How much a conversation holds, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Length {
    id: ConversationId,
    messages: i64,
    notes: i64,
    bytes: i64,
}

impl Length {
    fn of(conversation: &Conversation) -> Self {
        let &Conversation { id, message_count, note_count, message_bytes, .. } = conversation;
        Self { id, messages: message_count, notes: note_count, bytes: message_bytes }
    }

    /// Whether its messages can be read all at once.
    fn is_short(&self, messages: usize) -> bool {
        self.bytes <= CHUNK_BYTES && usize::try_from(self.messages).is_ok_and(|count| count <= messages)
    }
}

/// Conversations whose newest messages somebody asks for.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct LastWanted {
    ids: Vec<ConversationId>,
    /// Whether a note counts.
    notes: bool,
}

fn ref_read(row: Row) -> Result<MessageRef> {
    let mut columns = row.columns("messages");
    Ok(MessageRef { id: MessageId(columns.int("id")?), bytes: columns.int("bytes")? })
}

/// Messages that a database was not asked to sort: with few rows in a table it might read all of it for the order.
fn in_order(messages: impl IntoIterator<Item = Result<Message>>) -> Result<Vec<Message>> {
    let mut messages = messages.into_iter().collect::<Result<Vec<_>>>()?;
    messages.sort_unstable_by_key(|message| message.id);
    Ok(messages)
}

/// A conversation and, where it is short, its messages without notes: one row each, or one without a message.
pub(super) fn detail() -> Sql {
    let columns = [("conversations", CONVERSATION), ("messages", MESSAGE)].map(|(table, columns)| {
        let columns = columns.split(", ").map(|column| format!("{table}.{column}"));
        columns.collect::<Vec<_>>().join(", ")
    });
    let columns = columns.join(", ");
    // A key that is null finds nothing in the index; a condition beside it would be looked at message by message.
    let messages = format!(
        "LEFT JOIN messages ON messages.conversation_id = CASE WHEN {} THEN conversations.id END \
             AND role <> 'note'",
        is_short_now(SHORT)
    );
    Sql::each(
        format!(
            "SELECT place, {columns} FROM unnest(CAST($1 AS bigint[]), CAST($2 AS bigint[])) AS wanted (key, place) \
             JOIN conversations ON conversations.id = key {messages}"
        ),
        format!("SELECT $2, {columns} FROM conversations {messages} WHERE conversations.id = $1"),
    )
}

/// Short they have to be when they are read: they may have grown since.
fn is_short_now(messages: usize) -> String {
    format!("message_count <= {messages} AND message_bytes <= {CHUNK_BYTES}")
}

impl Store {
    pub async fn message_get(&self, id: MessageId) -> Result<Option<Message>> {
        Ok(self.message_get_many(&[id]).await?.pop())
    }

    /// Messages by id, in the order asked for; one that is gone is left out.
    pub async fn message_get_many(&self, ids: &[MessageId]) -> Result<Vec<Message>> {
        let sql = Sql::each(
            format!("SELECT {MESSAGE} FROM messages WHERE id = ANY(CAST($1 AS bigint[]))"),
            format!("SELECT {MESSAGE} FROM messages WHERE id = $1"),
        );
        let rows = ids.iter().map(|&id| vec![id.into()]).collect();
        let mut found = BTreeMap::new();
        for row in self.inner.reads.query_many(Lane::Rest, sql, rows).await? {
            let message = message_read(&mut row.columns("messages"))?;
            found.insert(message.id, message);
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
            let read = |part| self.message_part(Lane::Slow, conditions, part);
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
        let read = |part| self.message_part(lane, conditions.clone(), part);
        self.list(Counted::Messages, scope, listing, read).await
    }

    async fn message_part(&self, lane: Lane, conditions: Conditions, part: Part) -> Result<Vec<MessageRef>> {
        let (sql, params) = conditions.part("id, bytes", "messages", part);
        let rows = self.inner.reads.query(lane, sql, params).await?;
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
                     AND role IN ('client', 'bot', 'agent') ORDER BY id DESC LIMIT $3) AS newest) AS sized \
             WHERE upto <= {HISTORY_BYTES} ORDER BY id"
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

    /// A conversation of some bots, and the first of its messages.
    pub async fn detail_get(&self, bots: &Bots, id: ConversationId) -> Result<Option<(Conversation, Chunk)>> {
        let (mut conversation, mut messages) = (None, Vec::new());
        for row in self.inner.gathers.details.get(id.into()).await? {
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
        let chunk = if messages.is_empty() && conversation.message_count > conversation.note_count {
            let rest = self.message_rest(id, MessageId(0)).await?;
            self.message_chunk(id, rest).await?
        } else {
            Chunk { messages, rest: None }
        };
        Ok(Some((conversation, chunk)))
    }

    /// What follows a chunk.
    pub async fn message_chunk(&self, id: ConversationId, mut rest: Rest) -> Result<Chunk> {
        let Some((first, last)) = rest.parts.pop_front() else {
            return Ok(Chunk { messages: Vec::new(), rest: None });
        };
        let sql = format!(
            "SELECT {MESSAGE} FROM messages WHERE conversation_id = $1 AND id >= $2 AND id <= $3 AND role <> 'note'"
        );
        let rows =
            self.inner.reads.query(Lane::Rest, sql, vec![id.into(), first.into(), last.into()]).await?;
        let messages = rows.into_iter().map(|row| message_read(&mut row.columns("messages")));
        let messages = in_order(messages)?;
        // After the last part, what has come since.
        let rest = if rest.parts.is_empty() { self.message_rest(id, last).await? } else { rest };
        Ok(Chunk { messages, rest: Some(rest).filter(|rest| !rest.parts.is_empty()) })
    }

    /// What follows a message, without notes, by how much of it can be read at once.
    async fn message_rest(&self, id: ConversationId, after: MessageId) -> Result<Rest> {
        let sql = format!(
            "SELECT id, bytes FROM messages WHERE conversation_id = $1 AND id > $2 AND role <> 'note' \
             ORDER BY id LIMIT {SIZED}"
        );
        let rows = self.inner.reads.query(Lane::Rest, sql, vec![id.into(), after.into()]).await?;
        let messages = rows.into_iter().map(ref_read).collect::<Result<Vec<_>>>()?;
        let ends = |group: &Vec<MessageId>| Some((*group.first()?, *group.last()?));
        let mut parts: VecDeque<_> = groups(&messages).iter().filter_map(ends).collect();
        // With what follows, the last part may be larger.
        if messages.len() == SIZED && parts.len() > 1 {
            parts.pop_back();
        }
        Ok(Rest { parts })
    }

    /// Each conversation's newest messages without notes, oldest first: at most 50 or 256 KiB, at least one.
    pub async fn message_newest(&self, conversations: &[Conversation]) -> Result<Arc<Vec<Vec<Message>>>> {
        let wanted = conversations.iter().map(Length::of).collect();
        let read = |store: Self, wanted: Arc<Vec<_>>| async move { store.message_newest_read(&wanted).await };
        self.share(&self.inner.lists.newest, wanted, read).await
    }

    async fn message_newest_read(&self, conversations: &[Length]) -> Result<Vec<Vec<Message>>> {
        let short = conversations.iter().filter(|conversation| conversation.is_short(EMBEDDED));
        let short: Vec<_> = short.map(|conversation| conversation.id).collect();
        let mut found = self.message_whole(&short).await?;
        let rest = conversations.iter().filter(|conversation| {
            conversation.messages > conversation.notes && !found.contains_key(&conversation.id)
        });
        let rest: Vec<_> = rest.map(|conversation| conversation.id).collect();
        found.extend(self.message_ends(&rest).await?);
        let newest =
            conversations.iter().map(|conversation| found.remove(&conversation.id).unwrap_or_default());
        Ok(newest.collect())
    }

    /// All messages without notes of those conversations that have no more than 50, and 256 KiB.
    async fn message_whole(&self, ids: &[ConversationId]) -> Result<ByConversation> {
        let short = is_short_now(EMBEDDED);
        let sql = Sql::each(
            format!(
                "SELECT {MESSAGE} FROM messages WHERE conversation_id = ANY(ARRAY(SELECT id FROM conversations \
                     WHERE id = ANY(CAST($1 AS bigint[])) AND {short})) AND role <> 'note'"
            ),
            format!(
                "SELECT {MESSAGE} FROM messages WHERE conversation_id = (SELECT id FROM conversations \
                     WHERE id = $1 AND {short}) AND role <> 'note'"
            ),
        );
        let mut found = self.message_read_many(sql, ids).await?;
        for messages in found.values_mut() {
            messages.sort_unstable_by_key(|message| message.id);
        }
        Ok(found)
    }

    /// The newest messages of conversations of any length.
    async fn message_ends(&self, ids: &[ConversationId]) -> Result<ByConversation> {
        let newest = |id: &str| {
            format!(
                "SELECT {MESSAGE} FROM (SELECT {MESSAGE}, bytes, \
                     CAST(sum(bytes) OVER (ORDER BY id DESC) AS bigint) AS upto \
                     FROM (SELECT {MESSAGE}, bytes FROM messages WHERE conversation_id = {id} \
                         AND role <> 'note' ORDER BY id DESC LIMIT {EMBEDDED}) AS page) AS sized \
                 WHERE upto <= {CHUNK_BYTES} OR upto = bytes"
            )
        };
        let sql = Sql::each(
            format!(
                "SELECT newest.* FROM unnest(CAST($1 AS bigint[])) AS wanted (wanted_id) \
                 CROSS JOIN LATERAL ({}) AS newest ORDER BY id",
                newest("wanted_id")
            ),
            format!("{} ORDER BY id", newest("$1")),
        );
        self.message_read_many(sql, ids).await
    }

    async fn message_read_many(&self, sql: Sql, ids: &[ConversationId]) -> Result<ByConversation> {
        let rows = ids.iter().map(|&id| vec![id.into()]).collect();
        let mut found = ByConversation::new();
        for row in self.inner.reads.query_many(Lane::Rest, sql, rows).await? {
            let message = message_read(&mut row.columns("messages"))?;
            found.entry(message.conversation_id).or_default().push(message);
        }
        Ok(found)
    }

    /// Each conversation's newest message; `notes`: whether a note counts.
    pub async fn message_last(
        &self,
        ids: &[ConversationId],
        notes: bool,
    ) -> Result<Arc<Vec<Option<Message>>>> {
        let wanted = LastWanted { ids: ids.to_vec(), notes };
        let read = |store: Self, wanted: Arc<_>| async move { store.message_last_read(&wanted).await };
        self.share(&self.inner.lists.last, wanted, read).await
    }

    async fn message_last_read(
        &self,
        &LastWanted { ref ids, notes }: &LastWanted,
    ) -> Result<Vec<Option<Message>>> {
        let role = if notes { "" } else { "AND role <> 'note' " };
        let last = |id: &str| {
            format!(
                "SELECT {MESSAGE} FROM messages WHERE conversation_id = {id} {role}ORDER BY id DESC LIMIT 1"
            )
        };
        let sql = Sql::each(
            format!(
                "SELECT last.* FROM unnest(CAST($1 AS bigint[])) AS wanted (wanted_id) \
                 CROSS JOIN LATERAL ({}) AS last",
                last("wanted_id")
            ),
            last("$1"),
        );
        let rows = ids.iter().map(|&id| vec![id.into()]).collect();
        let mut found = BTreeMap::new();
        for row in self.inner.reads.query_many(Lane::Rest, sql, rows).await? {
            let message = message_read(&mut row.columns("messages"))?;
            found.insert(message.conversation_id, message);
        }
        Ok(ids.iter().map(|id| found.remove(id)).collect())
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
            "SELECT {MESSAGE} FROM messages WHERE conversation_id = $1 AND id > $2 AND reply_to = $2 ORDER BY id"
        );
        let rows = self.inner.reads.query(Lane::Rest, sql, vec![id.into(), question.into()]).await?;
        rows.into_iter().map(|row| message_read(&mut row.columns("messages"))).collect()
    }

    /// Changes a message; `None` if there is none (any more).
    pub async fn message_update(
        &self,
        conversation_id: ConversationId,
        id: MessageId,
        patch: MessagePatch,
        at: Timestamp,
    ) -> Result<Option<Message>> {
        self.change(move |transaction| {
            let patch = patch.clone();
            Box::pin(async move {
                if conversations::lock(transaction, conversation_id).await?.is_none() {
                    return Ok(None);
                }
                let sql = format!("SELECT {MESSAGE} FROM messages WHERE id = $1");
                let rows = transaction.query(sql, vec![id.into()]).await?;
                let Some(row) = rows.into_iter().next() else { return Ok(None) };
                let mut message = message_read(&mut row.columns("messages"))?;
                let (was_note, had_bytes) =
                    (message.is_note(), bytes(&message.text, message.payload.as_ref()));
                message.updated_at = at;
                message.kind = patch.kind.unwrap_or(message.kind);
                message.role = patch.role.unwrap_or(message.role);
                if let Some(text) = patch.text {
                    message.payload = message.payload.map(|payload| with_text(payload, &text));
                    message.text = text;
                }
                let bytes = bytes(&message.text, message.payload.as_ref());
                transaction
                    .query(
                        "UPDATE messages SET role = $2, kind = $3, text = $4, payload = $5, bytes = $6, \
                             updated_at = $7 WHERE id = $1",
                        vec![
                            id.into(),
                            message.role.as_str().into(),
                            message.kind.as_str().into(),
                            message.text.as_str().into(),
                            message.payload.as_ref().map(Json::as_str).into(),
                            bytes.into(),
                            at.into(),
                        ],
                    )
                    .await?;
                let notes = i64::from(message.is_note()) - i64::from(was_note);
                transaction
                    .query(
                        "UPDATE conversations SET note_count = note_count + $2, \
                             message_bytes = message_bytes + $3, updated_at = $4 WHERE id = $1",
                        vec![conversation_id.into(), notes.into(), (bytes - had_bytes).into(), at.into()],
                    )
                    .await?;
                Ok(Some(message))
            })
        })
        .await
    }

    /// Deletes a message; returns it as it was.
    pub async fn message_delete(
        &self,
        conversation_id: ConversationId,
        id: MessageId,
        at: Timestamp,
    ) -> Result<Option<Message>> {
        self.change(move |transaction| {
            Box::pin(async move {
                let Some(conversation) = conversations::lock(transaction, conversation_id).await? else {
                    return Ok(None);
                };
                let sql = format!("DELETE FROM messages WHERE id = $1 RETURNING {MESSAGE}");
                let rows = transaction.query(sql, vec![id.into()]).await?;
                let Some(row) = rows.into_iter().next() else { return Ok(None) };
                let message = message_read(&mut row.columns("messages"))?;
                questions::forget(transaction, vec![id]).await?;
                transaction
                    .query(
                        "UPDATE conversations SET message_count = message_count - 1, \
                             note_count = note_count - $2, message_bytes = message_bytes - $3, \
                             updated_at = $4 WHERE id = $1",
                        vec![
                            conversation_id.into(),
                            message.is_note().into(),
                            bytes(&message.text, message.payload.as_ref()).into(),
                            at.into(),
                        ],
                    )
                    .await?;
                let mut changes = Changes::default();
                changes.messages(&conversation, id, -1);
                changes.write(transaction).await?;
                Ok(Some(message))
            })
        })
        .await
    }
}

/// The answer object with a new `text`; everything else stays as the bot sent it.
fn with_text(payload: Json, text: &str) -> Json {
    match serde_json::from_str::<Object>(payload.as_str()) {
        Ok(mut object) => {
            object.set("text", Json::of(text));
            Json::of(&object)
        }
        Err(_) => payload,
    }
}
