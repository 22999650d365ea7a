//! Conversations.

use std::sync::Arc;

use uuid::Uuid;

use super::engine::{Columns, Error, Lane, Result, Row, Sql, Transaction};
use super::idempotency;
use super::lists::{self, Conditions, Part};
use super::messages::{MESSAGE, message_read};
use super::totals::{self, Changes, Counted};
use super::{Store, questions};
use crate::model::{
    Bots, Conversation, ConversationFilter, ConversationId, ConversationPatch, List, Listing, Message,
    MessageId, Timestamp, role,
};

/// The columns that [`conversation_read`] reads.
pub(super) const CONVERSATION: &str = "id, session_id, by_visitor, room, integration_type, bot_id, user_id, \
     handler, message_count, note_count, message_bytes, created_at, updated_at";

pub(super) fn conversation_read(columns: &mut Columns) -> Result<Conversation> {
    Ok(Conversation {
        id: ConversationId(columns.int("id")?),
        session_id: columns.uuid("session_id")?,
        by_visitor: columns.int("by_visitor")? != 0,
        room: columns.text("room")?,
        integration_type: columns.text("integration_type")?,
        bot_id: columns.text("bot_id")?,
        user_id: columns.opt_text("user_id")?,
        handler: columns.word("handler")?,
        message_count: columns.int("message_count")?,
        note_count: columns.int("note_count")?,
        message_bytes: columns.int("message_bytes")?,
        created_at: Timestamp(columns.int("created_at")?),
        updated_at: Timestamp(columns.int("updated_at")?),
    })
}

/// The condition that a conversation is there: messages may outlive theirs for a while. `id` is no column of the table
/// that is read, so that a database looks once and not row by row.
pub(super) fn is_there(id: &str) -> String {
    format!("EXISTS (SELECT 1 FROM conversations WHERE conversations.id = {id})")
}

/// Locks a conversation for a change.
pub(super) async fn lock(transaction: &Transaction<'_>, id: ConversationId) -> Result<Option<Conversation>> {
    let sql = Sql::each(
        format!("SELECT {CONVERSATION} FROM conversations WHERE id = $1 FOR UPDATE"),
        format!("SELECT {CONVERSATION} FROM conversations WHERE id = $1"),
    );
    first(transaction.query(sql, vec![id.into()]).await?)
}

pub(super) fn by_id() -> Sql {
    by("id", "bigint")
}

pub(super) fn by_session() -> Sql {
    by("session_id", "uuid")
}

fn by(column: &str, sql_type: &str) -> Sql {
    Sql::each(
        format!(
            "SELECT place, {CONVERSATION} FROM unnest(CAST($1 AS {sql_type}[]), CAST($2 AS bigint[])) \
                 AS wanted (key, place) JOIN conversations ON {column} = key"
        ),
        format!("SELECT $2, {CONVERSATION} FROM conversations WHERE {column} = $1"),
    )
}

fn first(rows: Vec<Row>) -> Result<Option<Conversation>> {
    rows.into_iter().next().map(|row| conversation_read(&mut row.columns("conversations"))).transpose()
}

fn first_message(rows: Vec<Row>) -> Result<Option<Message>> {
    rows.into_iter().next().map(|row| message_read(&mut row.columns("messages"))).transpose()
}

/// A list that somebody asks for.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct ListWanted {
    bots: Bots,
    filter: ConversationFilter,
    listing: Listing,
}

impl Store {
    pub async fn conversation_get(&self, id: ConversationId) -> Result<Option<Conversation>> {
        first(self.inner.gathers.conversations.get(id.into()).await?)
    }

    pub async fn conversation_get_by_session(&self, session_id: Uuid) -> Result<Option<Conversation>> {
        first(self.inner.gathers.conversations_by_session.get(session_id.into()).await?)
    }

    /// One part of the conversations of some bots, by id.
    pub async fn conversation_list(
        &self,
        bots: &Bots,
        filter: &ConversationFilter,
        listing: &Listing,
    ) -> Result<Arc<List<Conversation>>> {
        let wanted = ListWanted { bots: bots.clone(), filter: filter.clone(), listing: *listing };
        let read = |store: Self, wanted: Arc<_>| async move { store.conversation_list_read(&wanted).await };
        self.share(&self.inner.lists.conversations, wanted, read).await
    }

    async fn conversation_list_read(
        &self,
        ListWanted { bots, filter, listing }: &ListWanted,
    ) -> Result<List<Conversation>> {
        let conditions = conditions(bots, filter);
        if filter.user_id.is_some() || filter.room.is_some() {
            return self.conversation_list_counted(conditions, listing).await;
        }
        let lane = if conditions.is_empty() { Lane::Rest } else { Lane::Slow };
        let read = |part| self.conversation_part(lane, conditions.clone(), part);
        self.list(Counted::Conversations, conditions.clone(), listing, read).await
    }

    /// Nothing is kept of users and rooms but an index: the list is counted.
    async fn conversation_list_counted(
        &self,
        conditions: Conditions,
        listing: &Listing,
    ) -> Result<List<Conversation>> {
        let sql = format!("SELECT count(*) FROM conversations{}", conditions.text());
        let rows = self.inner.reads.query(Lane::Slow, sql, conditions.params()).await?;
        let total = rows.into_iter().next().map_or(Ok(0), |row| row.int("conversations", "count"))?;
        lists::from_the_nearer_end(listing, total, |part| {
            self.conversation_part(Lane::Slow, conditions, part)
        })
        .await
    }

    async fn conversation_part(
        &self,
        lane: Lane,
        conditions: Conditions,
        part: Part,
    ) -> Result<Vec<Conversation>> {
        let (sql, params) = conditions.part(CONVERSATION, "conversations", part);
        let rows = self.inner.reads.query(lane, sql, params).await?;
        rows.into_iter().map(|row| conversation_read(&mut row.columns("conversations"))).collect()
    }

    /// Changes a conversation and returns it with its newest message, which a read after the commit might not get;
    /// `None` if there is no such conversation (any more).
    pub async fn conversation_update(
        &self,
        id: ConversationId,
        patch: ConversationPatch,
        at: Timestamp,
    ) -> Result<Option<(Conversation, Option<Message>)>> {
        // Its messages are counted for another bot then, whatever their number.
        let moves = patch.bot_id.is_some() || patch.integration_type.is_some();
        if moves {
            self.change_alone(move |transaction| Box::pin(update(transaction, id, patch.clone(), at))).await
        } else {
            self.change(move |transaction| Box::pin(update(transaction, id, patch.clone(), at))).await
        }
    }

    /// Deletes a conversation and its messages; returns it as it was, with its newest message that is no note.
    ///
    /// A long one goes piece by piece, oldest messages first, so that nobody waits long behind it. What fails after the
    /// first piece is `OutcomeUnknown`: a part of it is gone.
    pub async fn conversation_delete(
        &self,
        id: ConversationId,
    ) -> Result<Option<(Conversation, Option<Message>)>> {
        let Some(before) = self.conversation_get(id).await? else { return Ok(None) };
        let mut begun = false;
        loop {
            let deleted = match begun {
                false => self.change(move |transaction| Box::pin(delete_piece(transaction, id))).await,
                true => self.change_in_turn(move |transaction| Box::pin(delete_piece(transaction, id))).await,
            };
            let deleted = deleted.map_err(|error| match error {
                error if begun && error.is_passing() => Error::OutcomeUnknown(error.to_string()),
                error => error,
            });
            match deleted? {
                Piece::None => return Ok(None),
                Piece::Messages => begun = true,
                Piece::Last(mut conversation, newest) => {
                    conversation.message_count = before.message_count.max(conversation.message_count);
                    conversation.note_count = before.note_count.max(conversation.note_count);
                    return Ok(Some((conversation, newest)));
                }
            }
        }
    }
}

async fn update(
    transaction: &Transaction<'_>,
    id: ConversationId,
    patch: ConversationPatch,
    at: Timestamp,
) -> Result<Option<(Conversation, Option<Message>)>> {
    let Some(old) = lock(transaction, id).await? else { return Ok(None) };
    let mut new = old.clone();
    new.updated_at = at;
    new.room = patch.room.unwrap_or(new.room);
    new.integration_type = patch.integration_type.unwrap_or(new.integration_type);
    new.bot_id = patch.bot_id.unwrap_or(new.bot_id);
    new.user_id = patch.user_id.or(new.user_id);
    new.handler = patch.handler.unwrap_or(new.handler);
    transaction
        .query(
            "UPDATE conversations SET room = $2, integration_type = $3, bot_id = $4, user_id = $5, \
                 handler = $6, updated_at = $7 WHERE id = $1",
            vec![
                id.into(),
                new.room.as_str().into(),
                new.integration_type.as_str().into(),
                new.bot_id.as_str().into(),
                new.user_id.clone().into(),
                new.handler.as_str().into(),
                at.into(),
            ],
        )
        .await?;
    let group = |of: &Conversation| (of.bot_id.clone(), of.integration_type.clone());
    if group(&old) != group(&new) {
        totals::move_conversation(transaction, &old, &new).await?;
    }
    let newest =
        format!("SELECT {MESSAGE} FROM messages WHERE conversation_id = $1 ORDER BY id DESC LIMIT 1");
    let newest = first_message(transaction.query(newest, vec![id.into()]).await?)?;
    Ok(Some((new, newest)))
}

/// What one step of deleting a conversation deleted.
enum Piece {
    /// It was gone.
    None,
    Messages,
    /// The conversation with its last messages.
    Last(Conversation, Option<Message>),
}

/// Messages that are deleted in one transaction.
const DELETED: i64 = 2000;

async fn delete_piece(transaction: &Transaction<'_>, id: ConversationId) -> Result<Piece> {
    let Some(conversation) = lock(transaction, id).await? else { return Ok(Piece::None) };
    if conversation.message_count > DELETED {
        let sql = format!(
            "DELETE FROM messages WHERE id IN \
                 (SELECT id FROM messages WHERE conversation_id = $1 ORDER BY id LIMIT {DELETED}) \
             RETURNING id, role, bytes"
        );
        let rows = transaction.query(sql, vec![id.into()]).await?;
        let messages = i64::try_from(rows.len()).unwrap_or(i64::MAX);
        let (mut changes, mut notes, mut bytes) = (Changes::default(), 0, 0);
        let mut ids = Vec::with_capacity(rows.len());
        for row in rows {
            let mut columns = row.columns("messages");
            let id = MessageId(columns.int("id")?);
            ids.push(id);
            changes.messages(&conversation, id, -1);
            notes += i64::from(columns.text("role")? == role::NOTE);
            bytes += columns.int("bytes")?;
        }
        let sql = "UPDATE conversations SET message_count = message_count - $2, \
             note_count = note_count - $3, message_bytes = message_bytes - $4 WHERE id = $1";
        transaction.query(sql, vec![id.into(), messages.into(), notes.into(), bytes.into()]).await?;
        questions::forget(transaction, ids).await?;
        changes.write(transaction).await?;
        return Ok(Piece::Messages);
    }
    let newest = format!(
        "SELECT {MESSAGE} FROM messages WHERE conversation_id = $1 AND role <> 'note' ORDER BY id DESC LIMIT 1"
    );
    let newest = first_message(transaction.query(newest, vec![id.into()]).await?)?;
    let mut changes = Changes::default();
    changes.conversation(&conversation, -1);
    let sql = "DELETE FROM messages WHERE conversation_id = $1 RETURNING id";
    let mut ids = Vec::new();
    for row in transaction.query(sql, vec![id.into()]).await? {
        let id = MessageId(row.int("messages", "id")?);
        ids.push(id);
        changes.messages(&conversation, id, -1);
    }
    questions::forget(transaction, ids).await?;
    transaction.query("DELETE FROM conversations WHERE id = $1", vec![id.into()]).await?;
    idempotency::forget(transaction, id).await?;
    changes.write(transaction).await?;
    Ok(Piece::Last(conversation, newest))
}

fn conditions(bots: &Bots, filter: &ConversationFilter) -> Conditions {
    let mut conditions = Conditions::default();
    let few = filter.user_id.is_some() || filter.room.is_some();
    // What a user or a room has is found by their index, and not by one that many others share.
    let [bot_id, integration_type] = ["bot_id", "integration_type"]
        .map(|column| if few { format!("{column} || ''") } else { column.into() });
    conditions.and_bots(&bot_id, bots);
    for (column, value) in [
        ("user_id", &filter.user_id),
        (&bot_id, &filter.bot_id),
        (&integration_type, &filter.integration_type),
        ("room", &filter.room),
    ] {
        if let Some(value) = value {
            conditions.and(&format!("{column} = ?"), value.as_str());
        }
    }
    conditions
}
