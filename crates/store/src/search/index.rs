//! The documents of what was stored before there were any, and of conversations that moved to another bot: written in the
//! background, newest first, in steps that are committed one by one, so that a server that stops goes on where it was.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use wicara_model::{Conversation, ConversationId, MessageId, Timestamp, role};
use wicara_search::Terms;

use crate::Store;
use crate::activity_index::MAX_TIME;
use crate::engine::{Executor, Lane, Result, Row, Sql};
use crate::rows::{CONVERSATION, conversation_read};
use crate::transaction::Transaction;
use crate::walks::{Dialect, id_list};

/// Messages or conversations in one step, and about how many bytes of text. They are locked for some milliseconds.
const BUILT_AT_ONCE: usize = 200;
const BYTES_AT_ONCE: i64 = 256 * 1024;

/// Pages of SQLite's index that one merge writes.
const MERGED_AT_ONCE: usize = 500;

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchIndexed {
    All,
    /// Messages with ids from here on are done; 0 while conversations follow.
    From(MessageId),
    /// Another server is at it.
    Elsewhere,
}

/// Where a step left off.
#[derive(Debug, Clone, Copy)]
struct Below {
    messages: i64,
    conversations: i64,
}

impl Store {
    /// Writes the next documents.
    pub async fn search_index_step(&self) -> Result<SearchIndexed> {
        let below = self.change_queued(None, |transaction| Box::pin(step(transaction))).await?;
        Ok(match below {
            None => SearchIndexed::Elsewhere,
            Some(Below { messages: 0, conversations: 0 }) => SearchIndexed::All,
            Some(Below { messages, .. }) => SearchIndexed::From(MessageId(messages)),
        })
    }

    /// Writes the next documents of a conversation that has another bot now; whether there may be more to do.
    pub async fn search_move_step(&self) -> Result<bool> {
        // A look first, so that nothing is written where nothing has moved.
        let sql = "SELECT conversation_id FROM search_moves ORDER BY conversation_id LIMIT 1";
        let rows = self.inner.reads.query(Lane::Walk, sql, vec![]).await?;
        let Some(row) = rows.into_iter().next() else { return Ok(false) };
        let id = ConversationId(row.int("search_moves", "conversation_id")?);
        self.change_queued(Some(id), move |transaction| Box::pin(move_step(transaction, id))).await?;
        Ok(true)
    }

    /// Merges a bounded part of SQLite's index where much of it is of what was deleted, so that those words do not stay in it
    /// when little is written. PostgreSQL vacuums by itself.
    pub async fn search_merge(&self) -> Result<()> {
        if self.is_shared() {
            return Ok(());
        }
        let merge = format!(
            "INSERT INTO search_documents (search_documents, rank) VALUES ('merge', {MERGED_AT_ONCE})"
        );
        self.change_queued(None, move |transaction| {
            let merge = merge.clone();
            Box::pin(async move { transaction.query(merge, vec![]).await.map(|_| ()) })
        })
        .await
    }

    /// Waits until a conversation has moved that leaves documents for [`Store::search_move_step`].
    pub async fn search_moved(&self) {
        self.inner.search_moves.notified().await;
    }

    pub(crate) fn search_move_notify(&self) {
        self.inner.search_moves.notify_one();
    }

    /// Since when everything is searchable; `None` once all is.
    pub(super) async fn search_indexed_from(&self) -> Result<Option<Timestamp>> {
        if self.inner.is_search_indexed.load(Ordering::Relaxed) {
            return Ok(None);
        }
        const READ: &str = "SELECT messages_below, conversations_below, \
             (SELECT created_at FROM messages WHERE id >= messages_below ORDER BY id LIMIT 1) FROM search_index";
        let row = self.inner.reads.query(Lane::Continuation, READ, vec![]).await?.into_iter().next();
        let Some(row) = row else { return Ok(None) };
        let mut columns = row.columns("search_index");
        let (messages, conversations) = (columns.int("messages_below")?, columns.int("conversations_below")?);
        let from = columns.opt_int("created_at")?;
        if messages == 0 && conversations == 0 {
            self.inner.is_search_indexed.store(true, Ordering::Relaxed);
            return Ok(None);
        }
        // Names come last: until they are done, the oldest conversations are not found by theirs.
        Ok(Some(Timestamp(from.unwrap_or(MAX_TIME))))
    }
}

/// Conversations by id, which are locked, so that nothing else writes their documents meanwhile.
async fn locked(
    transaction: &Transaction<'_>,
    ids: &[ConversationId],
) -> Result<HashMap<ConversationId, Conversation>> {
    let ids: Vec<_> = ids.iter().map(|id| id.0.to_string()).collect();
    let ids = vec![ids.join(",").into()];
    if let Executor::Postgres(_) = transaction.executor {
        let list = id_list(Dialect::Postgres, "$1");
        let lock = format!("SELECT id FROM conversations WHERE id {list} ORDER BY id FOR NO KEY UPDATE");
        transaction.query(lock, ids.clone()).await?;
    }
    // In a statement of its own, for what was committed while a lock was waited for.
    let read = |list| format!("SELECT {CONVERSATION} FROM conversation_states WHERE id {list}");
    let [postgres, sqlite] = [Dialect::Postgres, Dialect::Sqlite].map(|dialect| read(id_list(dialect, "$1")));
    let rows = transaction.query(Sql::per_dialect(postgres, sqlite), ids).await?;
    let conversation = |row: Row| {
        let conversation = conversation_read(&mut row.columns("conversations"))?;
        Ok((conversation.id, conversation))
    };
    rows.into_iter().map(conversation).collect()
}

/// `None`: another node is at it.
async fn step(transaction: &mut Transaction<'_>) -> Result<Option<Below>> {
    const READ: &str = "SELECT messages_below, conversations_below FROM search_index";
    let sql = Sql::per_dialect(format!("{READ} FOR UPDATE SKIP LOCKED"), READ);
    let Some(row) = transaction.query(sql, vec![]).await?.into_iter().next() else { return Ok(None) };
    let mut columns = row.columns("search_index");
    let mut below = Below {
        messages: columns.int("messages_below")?,
        conversations: columns.int("conversations_below")?,
    };
    if below.messages > 0 {
        below.messages = message_step(transaction, below.messages).await?;
    } else if below.conversations > 0 {
        below.conversations = name_step(transaction, below.conversations).await?;
    } else {
        return Ok(Some(below));
    }
    let sql = "UPDATE search_index SET messages_below = $1, conversations_below = $2";
    transaction.query(sql, vec![below.messages.into(), below.conversations.into()]).await?;
    Ok(Some(below))
}

async fn message_step(transaction: &mut Transaction<'_>, below: i64) -> Result<i64> {
    let sql = format!(
        "SELECT id, conversation_id, bytes FROM messages WHERE id < $1 ORDER BY id DESC LIMIT {BUILT_AT_ONCE}"
    );
    let rows = transaction.query(sql, vec![below.into()]).await?;
    let is_end = rows.len() < BUILT_AT_ONCE;
    let (read, mut ids, mut conversations, mut bytes) = (rows.len(), Vec::new(), Vec::new(), 0);
    for row in rows {
        let mut columns = row.columns("messages");
        let (id, conversation) = (columns.int("id")?, ConversationId(columns.int("conversation_id")?));
        bytes += columns.int("bytes")?;
        if !ids.is_empty() && bytes > BYTES_AT_ONCE {
            break;
        }
        ids.push(id);
        conversations.push(conversation);
    }
    conversations.sort_unstable();
    conversations.dedup();
    let of = locked(transaction, &conversations).await?;
    write_messages(transaction, &of, &ids, true).await?;
    Ok(if is_end && ids.len() == read { 0 } else { ids.last().copied().unwrap_or(0) })
}

/// Writes the documents of messages of locked conversations. `only_missing`: what was changed since may have one, which is
/// newer.
async fn write_messages(
    transaction: &mut Transaction<'_>,
    of: &HashMap<ConversationId, Conversation>,
    ids: &[i64],
    only_missing: bool,
) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let list: Vec<_> = ids.iter().map(ToString::to_string).collect();
    let read = |dialect| {
        let missing = match (only_missing, dialect) {
            (false, _) => "",
            (true, Dialect::Postgres) => {
                " AND NOT EXISTS (SELECT 1 FROM search_documents WHERE search_documents.id = messages.id)"
            }
            (true, Dialect::Sqlite) => {
                " AND NOT EXISTS (SELECT 1 FROM search_documents_docsize WHERE search_documents_docsize.id = messages.id)"
            }
        };
        let list = id_list(dialect, "$1");
        format!("SELECT id, conversation_id, role, text FROM messages WHERE id {list}{missing}")
    };
    let sql = Sql::per_dialect(read(Dialect::Postgres), read(Dialect::Sqlite));
    for row in transaction.query(sql, vec![list.join(",").into()]).await? {
        let mut columns = row.columns("messages");
        let (id, conversation) =
            (MessageId(columns.int("id")?), ConversationId(columns.int("conversation_id")?));
        let is_note = columns.text("role")? == role::NOTE;
        let terms = Terms::of(&columns.text("text")?);
        // The messages of a deleted conversation follow it in steps.
        let Some(conversation) = of.get(&conversation) else { continue };
        let search = &mut transaction.effects.search;
        match only_missing {
            true => search.message_created(conversation, id, is_note, terms),
            false => search.message_updated(conversation, id, is_note, terms),
        }
    }
    Ok(())
}

async fn name_step(transaction: &mut Transaction<'_>, below: i64) -> Result<i64> {
    let sql = format!("SELECT id FROM conversations WHERE id < $1 ORDER BY id DESC LIMIT {BUILT_AT_ONCE}");
    let rows = transaction.query(sql, vec![below.into()]).await?;
    let is_end = rows.len() < BUILT_AT_ONCE;
    let ids = rows.into_iter().map(|row| row.int("conversations", "id").map(ConversationId));
    let ids = ids.collect::<Result<Vec<_>>>()?;
    for conversation in locked(transaction, &ids).await?.into_values() {
        // Written as it is now, whether it has a document or not.
        transaction.effects.search.conversation_updated(&conversation);
    }
    Ok(if is_end { 0 } else { ids.last().map_or(0, |id| id.0) })
}

async fn move_step(transaction: &mut Transaction<'_>, id: ConversationId) -> Result<()> {
    let conversation = transaction.conversation(id).await?.map(|locked| locked.conversation.clone());
    let sql = "SELECT below FROM search_moves WHERE conversation_id = $1";
    let rows = transaction.query(sql, vec![id.into()]).await?;
    let Some(row) = rows.into_iter().next() else { return Ok(()) };
    let below = MessageId(row.int("search_moves", "below")?);
    match conversation {
        Some(conversation) => search_move(transaction, &conversation, below).await,
        None => {
            let sql = "DELETE FROM search_moves WHERE conversation_id = $1";
            transaction.query(sql, vec![id.into()]).await.map(|_| ())
        }
    }
}

/// Writes the documents of the next messages of a locked conversation that has another bot now, the newest first, and notes
/// where to go on.
pub(crate) async fn search_move(
    transaction: &mut Transaction<'_>,
    conversation: &Conversation,
    below: MessageId,
) -> Result<()> {
    let sql = Sql::per_dialect(
        format!(
            "SELECT id, bytes FROM messages WHERE (conversation_id, id) < ($1, $2) AND (conversation_id, id) >= ($1, 0) \
             ORDER BY conversation_id DESC, id DESC LIMIT {BUILT_AT_ONCE}"
        ),
        format!(
            "SELECT id, bytes FROM messages WHERE conversation_id = $1 AND id < $2 ORDER BY id DESC LIMIT {BUILT_AT_ONCE}"
        ),
    );
    let rows = transaction.query(sql, vec![conversation.id.into(), below.into()]).await?;
    let is_end = rows.len() < BUILT_AT_ONCE;
    let (read, mut ids, mut bytes) = (rows.len(), Vec::new(), 0);
    for row in rows {
        let mut columns = row.columns("messages");
        let id = columns.int("id")?;
        bytes += columns.int("bytes")?;
        if !ids.is_empty() && bytes > BYTES_AT_ONCE {
            break;
        }
        ids.push(id);
    }
    let of = HashMap::from([(conversation.id, conversation.clone())]);
    write_messages(transaction, &of, &ids, false).await?;
    if is_end && ids.len() == read {
        let sql = "DELETE FROM search_moves WHERE conversation_id = $1";
        transaction.query(sql, vec![conversation.id.into()]).await?;
    } else if let Some(&last) = ids.last() {
        transaction.effects.search.conversation_moved(conversation.id, MessageId(last));
    }
    Ok(())
}
