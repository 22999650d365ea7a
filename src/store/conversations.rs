//! Conversations and their exact totals.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::Store;
use super::engine::{Columns, Lane, Result, Row, Sql, Transaction, Value};
use super::idempotency;
use super::messages::{MESSAGE, message_read};
use crate::model::{
    Bots, Conversation, ConversationFilter, ConversationId, ConversationPatch, Cursor, List, Listing,
    Message, Order, Timestamp, role,
};

/// The columns that [`conversation_read`] reads.
pub(super) const CONVERSATION: &str = "id, session_id, by_visitor, room, integration_type, bot_id, user_id, \
     handler, message_count, note_count, created_at, updated_at";

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
        created_at: Timestamp(columns.int("created_at")?),
        updated_at: Timestamp(columns.int("updated_at")?),
    })
}

/// Adds to the totals, by bot and integration type: conversations and messages.
pub(super) async fn count(
    transaction: &Transaction<'_>,
    counts: BTreeMap<(String, String), (i64, i64)>,
) -> Result<()> {
    let rows = counts
        .into_iter()
        .filter(|(_, count)| *count != (0, 0))
        .map(|((bot_id, integration_type), (conversations, messages))| {
            vec![bot_id.into(), integration_type.into(), conversations.into(), messages.into()]
        })
        .collect();
    const ADD: &str = "ON CONFLICT (bot_id, integration_type) DO UPDATE SET \
         conversations = counts.conversations + excluded.conversations, \
         messages = counts.messages + excluded.messages";
    let sql = Sql::each(
        format!(
            "INSERT INTO counts (bot_id, integration_type, conversations, messages) \
             SELECT * FROM unnest(CAST($1 AS text[]), CAST($2 AS text[]), CAST($3 AS bigint[]), \
                 CAST($4 AS bigint[])) {ADD}"
        ),
        format!(
            "INSERT INTO counts (bot_id, integration_type, conversations, messages) \
             VALUES ($1, $2, $3, $4) {ADD}"
        ),
    );
    transaction.execute_many(sql, rows).await
}

/// A conversation's place in the totals.
pub(super) fn counted(conversation: &Conversation) -> (String, String) {
    (conversation.bot_id.clone(), conversation.integration_type.clone())
}

/// Locks a conversation for a change.
pub(super) async fn lock(transaction: &Transaction<'_>, id: ConversationId) -> Result<Option<Conversation>> {
    let sql = Sql::each(
        format!("SELECT {CONVERSATION} FROM conversations WHERE id = $1 FOR UPDATE"),
        format!("SELECT {CONVERSATION} FROM conversations WHERE id = $1"),
    );
    first(transaction.query(sql, vec![id.into()]).await?)
}

/// Conditions of a list, with their parameters.
#[derive(Default)]
pub(super) struct Conditions {
    texts: Vec<String>,
    params: Vec<Value>,
}

impl Conditions {
    /// Adds a condition; `?` in it stands for the value.
    pub fn and(&mut self, condition: &str, value: impl Into<Value>) {
        self.params.push(value.into());
        self.texts.push(condition.replace('?', &format!("${}", self.params.len())));
    }

    pub fn and_bots(&mut self, column: &str, bots: &Bots) {
        let Some(bots) = bots.list() else { return };
        let first = self.params.len() + 1;
        let places: Vec<_> = (first..first + bots.len()).map(|place| format!("${place}")).collect();
        self.params.extend(bots.iter().map(|bot| bot.as_str().into()));
        self.texts.push(if places.is_empty() {
            "1 = 0".into()
        } else {
            format!("{column} IN ({})", places.join(", "))
        });
    }

    /// Adds a condition in which `{}` stands for the conditions of a query inside it.
    pub fn and_select(&mut self, condition: &str, inner: Conditions) {
        assert!(self.params.is_empty(), "the inner query's parameters are numbered from 1");
        self.texts.push(condition.replace("{}", &inner.text()));
        self.params = inner.params;
    }

    pub fn and_between(&mut self, column: &str, cursor: Cursor) {
        if let Cursor::Between { after, before } = cursor {
            if let Some(after) = after {
                self.and(&format!("{column} > ?"), after);
            }
            if let Some(before) = before {
                self.and(&format!("{column} < ?"), before);
            }
        }
    }

    /// ` WHERE …`, or nothing.
    pub fn text(&self) -> String {
        if self.texts.is_empty() { String::new() } else { format!(" WHERE {}", self.texts.join(" AND ")) }
    }

    pub fn params(&self) -> Vec<Value> {
        self.params.clone()
    }

    /// Adds the page's offset as a parameter; returns ` ORDER BY … LIMIT … OFFSET …`.
    pub fn page(&mut self, column: &str, listing: &Listing) -> String {
        let direction = match listing.order {
            Order::Ascending => "ASC",
            Order::Descending => "DESC",
        };
        self.params.push(listing.offset().into());
        // The limit stands in the text: a planner that does not know it expects a tenth of the table.
        let Listing { limit, .. } = listing;
        format!(" ORDER BY {column} {direction} LIMIT {limit} OFFSET ${}", self.params.len())
    }
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
    ) -> Result<List<Conversation>> {
        let total = self.conversation_total(bots, filter).await?;
        if total == 0 || listing.offset() >= total {
            return Ok(List { items: Vec::new(), total });
        }
        let mut conditions = conditions(bots, filter);
        conditions.and_between("id", listing.cursor);
        let conditions_text = conditions.text();
        let page = conditions.page("id", listing);
        let direction = if listing.order == Order::Ascending { "ASC" } else { "DESC" };
        // The page's ids first, from an index alone; then only the page's rows.
        let sql = format!(
            "SELECT {CONVERSATION} FROM conversations WHERE id IN \
             (SELECT id FROM conversations{conditions_text}{page}) ORDER BY id {direction}"
        );
        let rows = self.inner.reads.query(Lane::Slow, sql, conditions.params()).await?;
        let items = rows
            .into_iter()
            .map(|row| conversation_read(&mut row.columns("conversations")))
            .collect::<Result<_>>()?;
        Ok(List { items, total })
    }

    async fn conversation_total(&self, bots: &Bots, filter: &ConversationFilter) -> Result<i64> {
        let conditions = conditions(bots, filter);
        let counted = filter.user_id.is_none() && filter.room.is_none();
        let sql = if counted {
            format!("SELECT CAST(coalesce(sum(conversations), 0) AS bigint) FROM counts{}", conditions.text())
        } else {
            format!("SELECT count(*) FROM conversations{}", conditions.text())
        };
        let lane = if counted { Lane::Quick } else { Lane::Slow };
        let rows = self.inner.reads.query(lane, sql, conditions.params()).await?;
        rows.into_iter().next().map_or(Ok(0), |row| row.int("counts", "conversations"))
    }

    /// Changes a conversation; `None` if there is none (any more).
    pub async fn conversation_update(
        &self,
        id: ConversationId,
        patch: ConversationPatch,
        at: Timestamp,
    ) -> Result<Option<Conversation>> {
        self.change(move |transaction| {
            let patch = patch.clone();
            Box::pin(async move {
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
                if counted(&old) != counted(&new) {
                    let counts = BTreeMap::from([
                        (counted(&old), (-1, -old.message_count)),
                        (counted(&new), (1, new.message_count)),
                    ]);
                    count(transaction, counts).await?;
                }
                Ok(Some(new))
            })
        })
        .await
    }

    /// Deletes a conversation and its messages; returns it as it was, with its newest message that is no note.
    ///
    /// A long one goes piece by piece, oldest messages first, so that nobody waits long behind it.
    pub async fn conversation_delete(
        &self,
        id: ConversationId,
    ) -> Result<Option<(Conversation, Option<Message>)>> {
        let Some(before) = self.conversation_get(id).await? else { return Ok(None) };
        loop {
            let deleted = self.change(move |transaction| Box::pin(delete_piece(transaction, id))).await?;
            match deleted {
                Piece::None => return Ok(None),
                Piece::Messages => {}
                Piece::Last(mut conversation, newest) => {
                    conversation.message_count = before.message_count.max(conversation.message_count);
                    conversation.note_count = before.note_count.max(conversation.note_count);
                    return Ok(Some((conversation, newest)));
                }
            }
        }
    }
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
                 (SELECT id FROM messages WHERE conversation_id = $1 ORDER BY id LIMIT {DELETED}) RETURNING role"
        );
        let rows = transaction.query(sql, vec![id.into()]).await?;
        let messages = i64::try_from(rows.len()).unwrap_or(i64::MAX);
        let mut notes = 0;
        for row in rows {
            notes += i64::from(row.columns("messages").text("role")? == role::NOTE);
        }
        let sql = "UPDATE conversations SET message_count = message_count - $2, \
             note_count = note_count - $3 WHERE id = $1";
        transaction.query(sql, vec![id.into(), messages.into(), notes.into()]).await?;
        count(transaction, BTreeMap::from([(counted(&conversation), (0, -messages))])).await?;
        return Ok(Piece::Messages);
    }
    let newest = format!(
        "SELECT {MESSAGE} FROM messages WHERE conversation_id = $1 AND role <> 'note' ORDER BY id DESC LIMIT 1"
    );
    let rows = transaction.query(newest, vec![id.into()]).await?;
    let newest = rows.into_iter().next().map(|row| message_read(&mut row.columns("messages"))).transpose()?;
    for sql in ["DELETE FROM messages WHERE conversation_id = $1", "DELETE FROM conversations WHERE id = $1"]
    {
        transaction.query(sql, vec![id.into()]).await?;
    }
    idempotency::forget(transaction, id).await?;
    count(transaction, BTreeMap::from([(counted(&conversation), (-1, -conversation.message_count))])).await?;
    Ok(Piece::Last(conversation, newest))
}

fn conditions(bots: &Bots, filter: &ConversationFilter) -> Conditions {
    let mut conditions = Conditions::default();
    conditions.and_bots("bot_id", bots);
    for (condition, value) in [
        ("user_id = ?", &filter.user_id),
        ("bot_id = ?", &filter.bot_id),
        ("integration_type = ?", &filter.integration_type),
        ("room = ?", &filter.room),
    ] {
        if let Some(value) = value {
            conditions.and(condition, value.as_str());
        }
    }
    conditions
}
