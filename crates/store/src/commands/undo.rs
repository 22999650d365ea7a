//! Deletions that may be undone: the row is taken out of its table, so that every read is without it, and kept in `undos`
//! until its time is over. Then the messages of a conversation are deleted as those of any other.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use wicara_model::{Conversation, ConversationId};

use crate::Store;
use crate::engine::{DatabaseClock, Error, Lane, Result, Sql, millis};
use crate::transaction::Transaction;
use crate::transfer::{Table, row_line, row_values, stored_tables};

/// What is over and is looked at in one read.
const ENDED_AT_ONCE: usize = 100;

/// Whose row is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Undoable {
    Conversation,
    Message,
}

impl Undoable {
    /// As the column `what` has it.
    fn word(self) -> &'static str {
        match self {
            Self::Conversation => "conversation",
            Self::Message => "message",
        }
    }

    fn table(self) -> &'static str {
        match self {
            Self::Conversation => "conversations",
            Self::Message => "messages",
        }
    }
}

/// A deletion that may be undone now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undo {
    pub conversation_id: ConversationId,
    /// The bot that the conversation had when it or the message was deleted: on it the right to undo depends.
    pub bot_id: String,
}

/// The column `content`: a row with the columns that its table had when it was kept.
#[derive(Serialize, Deserialize)]
struct Content {
    table: Table,
    row: Box<RawValue>,
}

/// Keeps a row that the caller deletes. What the transaction has changed of it must be written already.
pub(super) async fn keep(
    transaction: &Transaction<'_>,
    what: Undoable,
    id: i64,
    conversation: &Conversation,
    time: Duration,
) -> Result<()> {
    let table = stored_tables().into_iter().find(|table| table.name == what.table());
    let table = table.ok_or_else(|| broken("its table is not listed"))?;
    let columns: Vec<_> = table.columns.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    let sql = format!("SELECT {} FROM {} WHERE id = $1", columns.join(", "), table.name);
    let Some(row) = transaction.query(sql, vec![id.into()]).await?.into_iter().next() else { return Ok(()) };
    let row = RawValue::from_string(row_line(&table.typed(row)?)).map_err(|_| broken("it is no JSON"))?;
    let content = serde_json::to_string(&Content { table, row }).map_err(|_| broken("it is no JSON"))?;
    let insert = |now| {
        // What was deleted, brought back and is deleted again has no row: that went when it was brought back.
        format!(
            "INSERT INTO undos (what, id, conversation_id, bot_id, integration_type, until, content) \
             VALUES ($1, $2, $3, $4, $5, {now} + $6, $7)"
        )
    };
    let params = vec![
        what.word().into(),
        id.into(),
        conversation.id.into(),
        conversation.bot_id.as_str().into(),
        conversation.integration_type.as_str().into(),
        millis(time).into(),
        content.into(),
    ];
    let sql = Sql::per_dialect(insert(DatabaseClock::POSTGRES), insert(DatabaseClock::SQLITE));
    transaction.query(sql, params).await.map(|_| ())
}

/// Puts a kept row back into its table; `false` where there is none, or its time is over. Of two callers at once one gets
/// it.
pub(super) async fn put_back(transaction: &Transaction<'_>, what: Undoable, id: i64) -> Result<bool> {
    let take =
        |now| format!("DELETE FROM undos WHERE what = $1 AND id = $2 AND until > {now} RETURNING content");
    let sql = Sql::per_dialect(take(DatabaseClock::POSTGRES), take(DatabaseClock::SQLITE));
    let rows = transaction.query(sql, vec![what.word().into(), id.into()]).await?;
    let Some(row) = rows.into_iter().next() else { return Ok(false) };
    let content = row.columns("undos").text("content")?;
    let Content { table, row } = serde_json::from_str(&content).map_err(|_| broken("it cannot be read"))?;
    if table.name != what.table() || !table.is_sound() {
        return Err(broken("it names another table"));
    }
    let row = row_values(row.get(), &table, table.columns.len())?;
    table.write(&transaction.executor, vec![row]).await?;
    Ok(true)
}

fn broken(why: &str) -> Error {
    Error::Database(format!("a deletion that may be undone is broken: {why}"))
}

impl Store {
    /// A conversation that was deleted and may be brought back.
    pub async fn conversation_undo(&self, id: ConversationId) -> Result<Option<Undo>> {
        self.undo_get(Undoable::Conversation, id.0).await
    }

    pub(super) async fn undo_get(&self, what: Undoable, id: i64) -> Result<Option<Undo>> {
        let read = |now| {
            format!("SELECT conversation_id, bot_id FROM undos WHERE what = $1 AND id = $2 AND until > {now}")
        };
        let sql = Sql::per_dialect(read(DatabaseClock::POSTGRES), read(DatabaseClock::SQLITE));
        let rows = self.inner.reads.query(Lane::Quick, sql, vec![what.word().into(), id.into()]).await?;
        let Some(row) = rows.into_iter().next() else { return Ok(None) };
        let mut columns = row.columns("undos");
        let conversation_id = ConversationId(columns.int("conversation_id")?);
        Ok(Some(Undo { conversation_id, bot_id: columns.text("bot_id")? }))
    }

    /// Ends deletions that cannot be undone any more. The messages of their conversations are then to be deleted by
    /// [`Store::conversation_delete_rest`].
    pub async fn undo_expire(&self) -> Result<()> {
        let read = |now| format!("SELECT what, id FROM undos WHERE until <= {now} LIMIT {ENDED_AT_ONCE}");
        let sql = Sql::per_dialect(read(DatabaseClock::POSTGRES), read(DatabaseClock::SQLITE));
        loop {
            let rows = self.inner.reads.query(Lane::Slow, sql.clone(), vec![]).await?;
            let count = rows.len();
            let mut has_conversations = false;
            for row in rows {
                let mut columns = row.columns("undos");
                let (what, id) = (columns.text("what")?, columns.int("id")?);
                has_conversations |= what == Undoable::Conversation.word();
                self.change_queued(None, move |transaction| {
                    let what = what.clone();
                    Box::pin(async move { end(transaction, &what, id).await })
                })
                .await?;
            }
            if has_conversations {
                self.inner.deletions.notify_one();
            }
            if count < ENDED_AT_ONCE {
                return Ok(());
            }
        }
    }
}

async fn end(transaction: &Transaction<'_>, what: &str, id: i64) -> Result<()> {
    let sql = "DELETE FROM undos WHERE what = $1 AND id = $2 RETURNING bot_id, integration_type";
    let rows = transaction.query(sql, vec![what.into(), id.into()]).await?;
    // Another node has ended it.
    let Some(row) = rows.into_iter().next() else { return Ok(()) };
    if what == Undoable::Conversation.word() {
        let mut columns = row.columns("undos");
        let (bot_id, integration_type) = (columns.text("bot_id")?, columns.text("integration_type")?);
        transaction.query("DELETE FROM seen_marks WHERE conversation_id = $1", vec![id.into()]).await?;
        let sql = "INSERT INTO deletions (conversation_id, bot_id, integration_type) VALUES ($1, $2, $3)";
        transaction.query(sql, vec![id.into(), bot_id.into(), integration_type.into()]).await?;
    }
    Ok(())
}
