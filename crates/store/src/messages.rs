//! Messages: how they are read one by one, as lists, and as the history that a bot gets.

use std::collections::BTreeMap;

use wicara_model::{Bots, ConversationId, List, Listing, Message, MessageFilter, MessageId, Order};

use crate::Store;
use crate::effects::TotalKind;
use crate::engine::{Lane, Result, Sql};
use crate::lists::{self, PageRange, WhereClause, Window};
use crate::message_windows::newest_within;
use crate::rows::{MESSAGE, MessageRef, conversation_exists, message_read, ref_read};
use crate::transaction::Transaction;

/// Bytes of text in the history that a bot gets with a question.
const HISTORY_BYTES: i64 = 256 * 1024;

/// A message with the bot of its conversation, on which the right to read it depends.
#[derive(Debug, Clone, PartialEq)]
pub struct BotMessage {
    pub bot_id: String,
    pub message: Message,
}

/// A conversation's newest message within a transaction. `notes`: whether a note counts.
pub(super) async fn message_newest_in(
    transaction: &Transaction<'_>,
    id: ConversationId,
    notes: bool,
) -> Result<Option<Message>> {
    let role = if notes { "" } else { " AND role <> 'note'" };
    // `ORDER BY conversation_id, id` is the order of one index, so that the planner reads a single entry of it.
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

    /// Messages by id, in the order of `ids`, without those that are deleted or whose conversation is.
    pub async fn message_get_many(&self, ids: &[MessageId]) -> Result<Vec<BotMessage>> {
        // A subquery for each message: for a join the planner might begin with all conversations.
        let message = format!(
            "SELECT {MESSAGE}, (SELECT bot_id FROM conversations WHERE conversations.id = messages.conversation_id) \
             FROM messages"
        );
        let sql = Sql::per_dialect(
            format!("{message} WHERE id = ANY(CAST($1 AS bigint[]))"),
            format!("{message} WHERE id = $1"),
        );
        let rows = ids.iter().map(|&id| vec![id.into()]).collect();
        let mut found = BTreeMap::new();
        for row in self.inner.reads.query_many(Lane::Continuation, sql, rows).await? {
            let mut columns = row.columns("messages");
            let message = message_read(&mut columns)?;
            // The messages of a deleted conversation are deleted later, in steps.
            if let Some(bot_id) = columns.opt_text("bot_id")? {
                found.insert(message.id, BotMessage { bot_id, message });
            }
        }
        Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
    }

    /// One page of the messages of some bots' conversations, by id.
    ///
    /// `conversation_messages`: the number of messages of the filter's conversation, if the filter has one.
    pub async fn message_list(
        &self,
        bots: &Bots,
        filter: &MessageFilter,
        conversation_messages: Option<i64>,
        listing: &Listing,
    ) -> Result<List<MessageRef>> {
        if let Some(id) = filter.conversation_id {
            let total = conversation_messages.unwrap_or_default();
            let mut clause = WhereClause::default();
            clause.and("conversation_id = ?", id);
            let read = async |page: PageRange| {
                let order = (page.order, page.limit);
                self.message_windows(Lane::Slow, &clause, order, vec![page.window()]).await
            };
            return lists::from_the_nearer_end(listing, total, read).await;
        }
        let (mut scope, mut clause) = (WhereClause::default(), WhereClause::default());
        scope.and_bots("bot_id", bots);
        // A subquery for each message of a few buckets: for a join the planner might begin with all of a bot's
        // conversations.
        clause.and_bots(
            "(SELECT bot_id FROM conversations WHERE conversations.id = messages.conversation_id)",
            bots,
        );
        let lane = if clause.is_empty() { Lane::Continuation } else { Lane::Slow };
        let order = (listing.order, listing.limit);
        let read = |windows| self.message_windows(lane, &clause, order, windows);
        self.list(TotalKind::Messages, scope, listing, read).await
    }

    async fn message_windows(
        &self,
        lane: Lane,
        clause: &WhereClause,
        order: (Order, i64),
        windows: Vec<Window>,
    ) -> Result<Vec<MessageRef>> {
        let from = ["id, bytes", "messages"];
        let rows = clause.read(&self.inner.reads, lane, from, order, windows, |page| page).await?;
        rows.into_iter().map(ref_read).collect()
    }

    /// The history before a message: id, role and text of the newest `limit` messages of visitors, bots and operators, at
    /// most 256 KiB of text, oldest first.
    pub async fn message_history(
        &self,
        id: ConversationId,
        before: MessageId,
        limit: i64,
    ) -> Result<Vec<(MessageId, String, String)>> {
        let said_before = "id < $2 AND role IN ('client', 'bot', 'agent')";
        let newest =
            newest_within("id, role, text", "$1", said_before, ("$3", &format!("upto <= {HISTORY_BYTES}")));
        let sql = format!("SELECT id, role, text FROM ({newest}) AS newest ORDER BY id");
        let params = vec![id.into(), before.into(), limit.into()];
        let rows = self.inner.reads.query(Lane::Continuation, sql, params).await?;
        rows.into_iter()
            .map(|row| {
                let mut columns = row.columns("messages");
                Ok((MessageId(columns.int("id")?), columns.text("role")?, columns.text("text")?))
            })
            .collect()
    }

    /// The answers to a question, by id.
    pub async fn message_answers(&self, id: ConversationId, question: MessageId) -> Result<Vec<Message>> {
        let sql = format!(
            "SELECT {MESSAGE} FROM messages WHERE conversation_id = $1 AND id > $2 AND reply_to = $2 AND role <> 'note' AND {} \
             ORDER BY id",
            conversation_exists("$1")
        );
        let rows = self.inner.reads.query(Lane::Continuation, sql, vec![id.into(), question.into()]).await?;
        rows.into_iter().map(|row| message_read(&mut row.columns("messages"))).collect()
    }
}
