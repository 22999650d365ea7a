//! Conversations: how they are read one by one and as lists.

use uuid::Uuid;
use wicara_model::{Bots, Conversation, ConversationFilter, ConversationId, List, Listing, Order};

use crate::Store;
use crate::effects::TotalKind;
use crate::engine::{Lane, Result, Row, Sql, Value};
use crate::lists::{self, WhereClause, Window};
use crate::message_previews::{Embed, ListedConversation};
use crate::rows::{CONVERSATION, conversation_read};

pub(super) fn by_id() -> Sql {
    by("id", "bigint")
}

pub(super) fn by_session() -> Sql {
    by("session_id", "uuid")
}

fn by(column: &str, sql_type: &str) -> Sql {
    Sql::per_dialect(
        format!(
            "SELECT key_index, {CONVERSATION} FROM unnest(CAST($1 AS {sql_type}[]), CAST($2 AS bigint[])) \
                 AS wanted (key, key_index) JOIN conversation_states ON {column} = key"
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

    /// Conversations by id, without those that do not exist.
    pub async fn conversation_get_many(&self, ids: &[ConversationId]) -> Result<Vec<Conversation>> {
        let rows = (0..).zip(ids).map(|(index, &id)| vec![id.into(), Value::Int(index)]).collect();
        let rows = self.inner.reads.query_many(Lane::Continuation, by_id(), rows).await?;
        rows.into_iter()
            .map(|row| conversation_read(&mut row.split_first().1.columns("conversations")))
            .collect()
    }

    pub async fn conversation_get_by_session(&self, session_id: Uuid) -> Result<Option<Conversation>> {
        first(self.inner.loaders.conversations_by_session.get(session_id.into()).await?)
    }

    /// One page of the conversations of some bots, by id.
    pub async fn conversation_list(
        &self,
        bots: &Bots,
        filter: &ConversationFilter,
        listing: &Listing,
        embed: Embed,
    ) -> Result<List<ListedConversation>> {
        let clause = where_clause(bots, filter);
        if filter.user_id.is_some() || filter.room.is_some() {
            return self.conversation_list_counted(clause, listing, embed).await;
        }
        let lane = if clause.is_empty() { Lane::Continuation } else { Lane::Slow };
        let order = (listing.order, listing.limit);
        let read = |windows| self.conversation_windows(lane, &clause, order, windows, embed);
        self.list(TotalKind::Conversations, clause.clone(), listing, read).await
    }

    /// A list filtered by user or room. The totals have no counts for users and rooms, so that the list is counted by
    /// an index.
    async fn conversation_list_counted(
        &self,
        clause: WhereClause,
        listing: &Listing,
        embed: Embed,
    ) -> Result<List<ListedConversation>> {
        let sql = format!("SELECT count(*) FROM conversations{}", clause.text());
        let rows = self.inner.reads.query(Lane::Slow, sql, clause.params()).await?;
        let total = rows.into_iter().next().map_or(Ok(0), |row| row.int("conversations", "count"))?;
        lists::from_the_nearer_end(listing, total, async |page| {
            let order = (page.order, page.limit);
            self.conversation_windows(Lane::Slow, &clause, order, vec![page.window()], embed).await
        })
        .await
    }

    async fn conversation_windows(
        &self,
        lane: Lane,
        clause: &WhereClause,
        order: (Order, i64),
        windows: Vec<Window>,
        embed: Embed,
    ) -> Result<Vec<ListedConversation>> {
        let statement = |page: String| embed.with_page(&page, order);
        let from = ["*", "conversations"];
        let rows = clause.read(&self.inner.reads, lane, from, order, windows, statement).await?;
        embed.read(rows)
    }
}

fn where_clause(bots: &Bots, filter: &ConversationFilter) -> WhereClause {
    let mut clause = WhereClause::default();
    let has_own_index = filter.user_id.is_some() || filter.room.is_some();
    // `column || ''` is an expression that no index has. It keeps the planner from the index of the bot or the
    // integration type, which has far more conversations than a user or a room: theirs is the index to use.
    let [bot_id, integration_type] = ["bot_id", "integration_type"]
        .map(|column| if has_own_index { format!("{column} || ''") } else { column.into() });
    clause.and_bots(&bot_id, bots);
    for (column, value) in [
        ("user_id", &filter.user_id),
        (&bot_id, &filter.bot_id),
        (&integration_type, &filter.integration_type),
        ("room", &filter.room),
    ] {
        if let Some(value) = value {
            clause.and(&format!("{column} = ?"), value.as_str());
        }
    }
    clause
}
