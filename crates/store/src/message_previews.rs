//! What lists of conversations show of their messages.

use std::collections::BTreeMap;

use wicara_model::{Conversation, ConversationId, Message};

use crate::Store;
use crate::conversations::is_there;
use crate::engine::{Lane, Result, Sql};
use crate::messages::{CHUNK_BYTES, MESSAGE, is_short_now, message_read};

/// Messages of one conversation that a list of conversations shows.
const EMBEDDED: usize = 50;

type ByConversation = BTreeMap<ConversationId, Vec<Message>>;

/// Whether a conversation's messages can be read all at once, as far as is known.
fn is_short(conversation: &Conversation, messages: usize) -> bool {
    let count = usize::try_from(conversation.message_count);
    conversation.message_bytes <= CHUNK_BYTES && count.is_ok_and(|count| count <= messages)
}

impl Store {
    /// Each conversation's newest messages without notes, oldest first: at most 50 or 256 KiB, at least one.
    pub async fn message_newest(&self, conversations: &[Conversation]) -> Result<Vec<Vec<Message>>> {
        let short = conversations.iter().filter(|conversation| is_short(conversation, EMBEDDED));
        let short: Vec<_> = short.map(|conversation| conversation.id).collect();
        let mut found = self.message_whole(&short).await?;
        let rest = conversations.iter().filter(|conversation| {
            conversation.message_count > conversation.note_count && !found.contains_key(&conversation.id)
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
                "SELECT {MESSAGE} FROM messages WHERE conversation_id = ANY(ARRAY(SELECT id FROM conversation_states \
                     WHERE id = ANY(CAST($1 AS bigint[])) AND {short})) AND role <> 'note'"
            ),
            format!(
                "SELECT {MESSAGE} FROM messages WHERE conversation_id = (SELECT id FROM conversation_states \
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
            let is_there = is_there(id);
            format!(
                "SELECT {MESSAGE} FROM (SELECT {MESSAGE}, bytes, \
                     CAST(sum(bytes) OVER (ORDER BY id DESC) AS bigint) AS upto \
                     FROM (SELECT {MESSAGE}, bytes FROM messages WHERE conversation_id = {id} \
                         AND role <> 'note' AND {is_there} ORDER BY id DESC LIMIT {EMBEDDED}) AS page) AS sized \
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
    pub async fn message_last(&self, ids: &[ConversationId], notes: bool) -> Result<Vec<Option<Message>>> {
        let role = if notes { "" } else { "AND role <> 'note' " };
        let last = |id: &str| {
            let is_there = is_there(id);
            format!(
                "SELECT {MESSAGE} FROM messages WHERE conversation_id = {id} {role}AND {is_there} \
                 ORDER BY id DESC LIMIT 1"
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
}
