//! Conversations.

use uuid::Uuid;
use wicara_model::{Bots, Conversation, ConversationFilter, ConversationId, List, Listing, Order, Timestamp};

use crate::Store;
use crate::effects::Counted;
use crate::engine::{Columns, Lane, Result, Row, Sql};
use crate::lists::{self, Conditions, Window};
use crate::message_previews::{Embed, Listed};

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
                 AS wanted (key, place) JOIN conversation_states ON {column} = key"
        ),
        format!("SELECT $2, {CONVERSATION} FROM conversation_states WHERE {column} = $1"),
    )
}

fn first(rows: Vec<Row>) -> Result<Option<Conversation>> {
    rows.into_iter().next().map(|row| conversation_read(&mut row.columns("conversations"))).transpose()
}

impl Store {
    pub async fn conversation_get(&self, id: ConversationId) -> Result<Option<Conversation>> {
        first(self.inner.loaders.conversations.get(id.into()).await?)
    }

    pub async fn conversation_get_by_session(&self, session_id: Uuid) -> Result<Option<Conversation>> {
        first(self.inner.loaders.conversations_by_session.get(session_id.into()).await?)
    }

    /// One part of the conversations of some bots, by id.
    pub async fn conversation_list(
        &self,
        bots: &Bots,
        filter: &ConversationFilter,
        listing: &Listing,
        embed: Embed,
    ) -> Result<List<Listed>> {
        let conditions = conditions(bots, filter);
        if filter.user_id.is_some() || filter.room.is_some() {
            return self.conversation_list_counted(conditions, listing, embed).await;
        }
        let lane = if conditions.is_empty() { Lane::Rest } else { Lane::Slow };
        let order = (listing.order, listing.limit);
        let read = |windows| self.conversation_windows(lane, &conditions, order, windows, embed);
        self.list(Counted::Conversations, conditions.clone(), listing, read).await
    }

    /// Nothing is kept of users and rooms but an index: the list is counted.
    async fn conversation_list_counted(
        &self,
        conditions: Conditions,
        listing: &Listing,
        embed: Embed,
    ) -> Result<List<Listed>> {
        let sql = format!("SELECT count(*) FROM conversations{}", conditions.text());
        let rows = self.inner.reads.query(Lane::Slow, sql, conditions.params()).await?;
        let total = rows.into_iter().next().map_or(Ok(0), |row| row.int("conversations", "count"))?;
        lists::from_the_nearer_end(listing, total, async |part| {
            let order = (part.order, part.limit);
            self.conversation_windows(Lane::Slow, &conditions, order, vec![part.window()], embed).await
        })
        .await
    }

    async fn conversation_windows(
        &self,
        lane: Lane,
        conditions: &Conditions,
        order: (Order, i64),
        windows: Vec<Window>,
        embed: Embed,
    ) -> Result<Vec<Listed>> {
        let statement = |page: String| embed.with_page(&page, order);
        let from = ["*", "conversations"];
        let rows = conditions.read(&self.inner.reads, lane, from, order, windows, statement).await?;
        embed.read(rows)
    }
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
