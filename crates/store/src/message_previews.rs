//! What lists of conversations show of their messages.

use std::collections::BTreeMap;

use wicara_model::{Conversation, ConversationId, Message, Order};

use crate::Store;
use crate::conversations::{CONVERSATION, conversation_read, is_there};
use crate::engine::{Lane, Result, Row, Sql};
use crate::lists::direction;
use crate::messages::{CHUNK_BYTES, MESSAGE, is_short_now, message_read};

/// Messages of one conversation that a list of conversations shows.
const EMBEDDED: usize = 50;

/// What may be read of all messages of a page together with its conversations, before their sizes are known. Each
/// conversation has an equal share; messages that do not fit into it are read in a step of their own.
const PAGE_BYTES: i64 = 64 * 1024;

/// What a list shows of each conversation's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Embed {
    /// The newest, notes included.
    Last,
    /// The newest without notes, oldest first: at most 50 or 256 KiB, always at least one where there is one.
    Newest,
}

/// A conversation of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    pub conversation: Conversation,
    /// `None`: they are still to be read.
    pub messages: Option<Vec<Message>>,
}

impl Listed {
    /// As many as [`Embed`] says, oldest first; none before they were read.
    #[must_use]
    pub fn messages(&self) -> &[Message] {
        self.messages.as_deref().unwrap_or_default()
    }

    /// Memory for texts and messages.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let Conversation { room, integration_type, bot_id, user_id, .. } = &self.conversation;
        let payload =
            |message: &Message| message.payload.as_ref().map_or(0, |payload| payload.as_str().len());
        let messages = self.messages().iter().map(|message| message.text.len() + payload(message));
        let texts = [room, integration_type, bot_id].map(String::len).iter().sum::<usize>();
        texts
            + user_id.as_ref().map_or(0, String::len)
            + size_of_val(self.messages())
            + messages.sum::<usize>()
    }
}

/// A column as the view `conversation_states` has it, of a row of `conversations` that is called `page` and its newest
/// message, `newest`, which some lists show as well.
fn state(column: &str) -> String {
    match column {
        "message_count" | "note_count" | "message_bytes" => {
            format!("CASE WHEN newest.seq >= next_seq THEN newest.{column} ELSE page.{column} END")
        }
        "updated_at" => "CASE WHEN newest.seq >= next_seq AND newest.created_at > page.updated_at \
             THEN newest.created_at ELSE page.updated_at END"
            .into(),
        _ => format!("page.{column}"),
    }
}

impl Embed {
    /// A statement that reads rows of conversations, and of each what the list shows of its messages where that fits into
    /// its share: one row for each message, or one without.
    pub(super) fn with_page(self, page: &str, (order, limit): (Order, i64)) -> Sql {
        let share = PAGE_BYTES / limit.max(1);
        let mut columns: Vec<_> = CONVERSATION.split(", ").map(state).collect();
        let messages = MESSAGE.split(", ");
        let join = match self {
            Self::Last => {
                columns.extend(messages.map(|column| match column {
                    // Without an id it is no row; what is large stays where it is.
                    "id" | "text" | "payload" => {
                        format!("CASE WHEN newest.bytes <= {share} THEN newest.{column} END")
                    }
                    _ => format!("newest.{column}"),
                }));
                String::new()
            }
            Self::Newest => {
                columns.extend(messages.map(|column| format!("messages.{column}")));
                // A key that is null finds nothing in the index; a condition beside it would be looked at message by message.
                format!(
                    " LEFT JOIN messages ON messages.conversation_id = \
                         CASE WHEN {} <= {EMBEDDED} AND {} <= {share} THEN page.id END AND messages.role <> 'note'",
                    state("message_count"),
                    state("message_bytes")
                )
            }
        };
        let (columns, direction) = (columns.join(", "), direction(order));
        let statement = |newest: &str| {
            format!(
                "SELECT {columns} FROM ({page}) AS page LEFT JOIN {newest}{join} ORDER BY page.id {direction}"
            )
        };
        Sql::each(
            statement(
                "LATERAL (SELECT * FROM messages WHERE messages.conversation_id = page.id \
                 ORDER BY messages.conversation_id DESC, messages.id DESC LIMIT 1) AS newest ON true",
            ),
            statement(
                "messages AS newest ON newest.id = \
                 (SELECT max(id) FROM messages WHERE messages.conversation_id = page.id)",
            ),
        )
    }

    /// What the statement found: rows of a conversation follow each other.
    pub(super) fn read(self, rows: Vec<Row>) -> Result<Vec<Listed>> {
        let mut found: Vec<(Conversation, Vec<Message>)> = Vec::new();
        for row in rows {
            let mut columns = row.columns("conversations");
            let conversation = conversation_read(&mut columns)?;
            let message =
                columns.joined("messages").map(|mut columns| message_read(&mut columns)).transpose()?;
            match found.last_mut().filter(|(last, _)| last.id == conversation.id) {
                Some((_, messages)) => messages.extend(message),
                None => found.push((conversation, message.into_iter().collect())),
            }
        }
        let listed = |(conversation, mut messages): (Conversation, Vec<Message>)| {
            messages.sort_unstable_by_key(|message| message.id);
            let shown = match self {
                Self::Last => conversation.message_count,
                Self::Newest => conversation.message_count - conversation.note_count,
            };
            let is_read = shown == 0 || !messages.is_empty();
            Listed { conversation, messages: is_read.then_some(messages) }
        };
        Ok(found.into_iter().map(listed).collect())
    }
}

type ByConversation = BTreeMap<ConversationId, Vec<Message>>;

/// Whether a conversation's messages can be read all at once, as far as is known.
fn is_short(conversation: &Conversation, messages: usize) -> bool {
    let count = usize::try_from(conversation.message_count);
    conversation.message_bytes <= CHUNK_BYTES && count.is_ok_and(|count| count <= messages)
}

impl Store {
    /// Reads what was not read together with the conversations.
    pub async fn message_previews(&self, embed: Embed, listed: &mut [Listed]) -> Result<()> {
        let unread = listed.iter().filter(|listed| listed.messages.is_none());
        let unread: Vec<Conversation> = unread.map(|listed| listed.conversation.clone()).collect();
        let read = match embed {
            Embed::Last => {
                let ids: Vec<ConversationId> = unread.iter().map(|conversation| conversation.id).collect();
                let last = self.message_last(&ids, true).await?;
                last.into_iter().map(|last| last.into_iter().collect()).collect()
            }
            Embed::Newest => self.message_newest(&unread).await?,
        };
        let unread = listed.iter_mut().filter(|listed| listed.messages.is_none());
        for (listed, messages) in unread.zip(read) {
            listed.messages = Some(messages);
        }
        Ok(())
    }

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
