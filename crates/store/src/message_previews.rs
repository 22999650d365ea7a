//! The messages that lists of conversations show with each conversation. Those that fit into a share of the page's
//! memory are read with the conversations in one statement; the others follow in a step of their own.

use std::collections::BTreeMap;

use wicara_model::{Conversation, ConversationId, Message, Order};

use crate::Store;
use crate::engine::{Lane, Result, Row, Sql};
use crate::lists::direction;
use crate::message_windows::newest_within;
use crate::rows::{
    CHUNK_BYTES, CONVERSATION, MESSAGE, conversation_exists, conversation_read, is_short_now, message_read,
};

/// Messages of one conversation that [`Embed::Newest`] shows at most.
const EMBEDDED: usize = 50;

/// Bytes of all messages that may be read in the statement of the page, before their sizes are known: bounds its
/// memory. Each conversation of the page has an equal share.
const PAGE_BYTES: i64 = 64 * 1024;

/// The messages that a list shows of each conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Embed {
    /// The newest message, which may be a note.
    Last,
    /// The newest messages without notes, oldest first: at most 50 and 256 KiB, but at least one if there is one.
    Newest,
}

/// A conversation of a list, with some of its messages.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedConversation {
    pub conversation: Conversation,
    /// `None` until [`Store::message_previews`] has read them.
    pub messages: Option<Vec<Message>>,
}

impl ListedConversation {
    /// The messages that [`Embed`] says, oldest first; empty until they are read.
    #[must_use]
    pub fn messages(&self) -> &[Message] {
        self.messages.as_deref().unwrap_or_default()
    }

    /// Bytes of its texts and messages on the heap.
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

/// A column of the view `conversation_states`, as an expression over a row of `conversations` (alias `page`) and its
/// newest message (alias `newest`). Written out, so that one look-up of the newest message serves the state and the
/// list.
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
    /// Wraps the SELECT of a page of conversations, to read the messages that fit into each conversation's share too: a
    /// row for each message, or one row with nulls.
    pub(super) fn with_page(self, page: &str, (order, limit): (Order, i64)) -> Sql {
        let share = PAGE_BYTES / limit.max(1);
        let mut columns: Vec<_> = CONVERSATION.split(", ").map(state).collect();
        let messages = MESSAGE.split(", ");
        let join = match self {
            Self::Last => {
                columns.extend(messages.map(|column| match column {
                    // A null id means that the message was not read. A text over the share is not fetched.
                    "id" | "text" | "payload" => {
                        format!("CASE WHEN newest.bytes <= {share} THEN newest.{column} END")
                    }
                    _ => format!("newest.{column}"),
                }));
                String::new()
            }
            Self::Newest => {
                columns.extend(messages.map(|column| format!("messages.{column}")));
                // For a long conversation the CASE makes the join key null, and a null key finds nothing in the index
                // at once. As a second condition of the join, the size would be checked for every message.
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
        Sql::per_dialect(
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

    /// Reads the rows of the statement; those of one conversation follow each other.
    pub(super) fn read(self, rows: Vec<Row>) -> Result<Vec<ListedConversation>> {
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
            ListedConversation { conversation, messages: is_read.then_some(messages) }
        };
        Ok(found.into_iter().map(listed).collect())
    }
}

type ByConversation = BTreeMap<ConversationId, Vec<Message>>;

/// Whether a conversation was short when its row was read. The statement checks it again ([`is_short_now`]).
fn is_short(conversation: &Conversation, messages: usize) -> bool {
    let count = usize::try_from(conversation.message_count);
    conversation.message_bytes <= CHUNK_BYTES && count.is_ok_and(|count| count <= messages)
}

impl Store {
    /// Reads the messages that were not read together with the conversations.
    pub async fn message_previews(&self, embed: Embed, listed: &mut [ListedConversation]) -> Result<()> {
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

    /// Each conversation's newest messages without notes, oldest first: at most 50 and 256 KiB, but at least one.
    pub async fn message_newest(&self, conversations: &[Conversation]) -> Result<Vec<Vec<Message>>> {
        let short = conversations.iter().filter(|conversation| is_short(conversation, EMBEDDED));
        let short: Vec<_> = short.map(|conversation| conversation.id).collect();
        let mut found = self.message_all_of_short(&short).await?;
        let long = conversations.iter().filter(|conversation| {
            conversation.message_count > conversation.note_count && !found.contains_key(&conversation.id)
        });
        let long: Vec<_> = long.map(|conversation| conversation.id).collect();
        found.extend(self.message_newest_of_long(&long).await?);
        let newest =
            conversations.iter().map(|conversation| found.remove(&conversation.id).unwrap_or_default());
        Ok(newest.collect())
    }

    /// All messages without notes of those conversations that have at most 50 messages and 256 KiB.
    async fn message_all_of_short(&self, ids: &[ConversationId]) -> Result<ByConversation> {
        let short = is_short_now(EMBEDDED);
        let sql = Sql::per_dialect(
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
    async fn message_newest_of_long(&self, ids: &[ConversationId]) -> Result<ByConversation> {
        // The newest message is shown whatever its size.
        let window = (&*EMBEDDED.to_string(), &*format!("upto <= {CHUNK_BYTES} OR upto = bytes"));
        let newest = |id: &str| newest_within(MESSAGE, id, "role <> 'note'", window);
        let sql = Sql::per_dialect(
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
        for row in self.inner.reads.query_many(Lane::Continuation, sql, rows).await? {
            let message = message_read(&mut row.columns("messages"))?;
            found.entry(message.conversation_id).or_default().push(message);
        }
        Ok(found)
    }

    /// Each conversation's newest message, in the order of `ids`. `notes`: whether a note counts.
    pub async fn message_last(&self, ids: &[ConversationId], notes: bool) -> Result<Vec<Option<Message>>> {
        let role = if notes { "" } else { "AND role <> 'note' " };
        let last = |id: &str| {
            let exists = conversation_exists(id);
            format!(
                "SELECT {MESSAGE} FROM messages WHERE conversation_id = {id} {role}AND {exists} \
                 ORDER BY id DESC LIMIT 1"
            )
        };
        let sql = Sql::per_dialect(
            format!(
                "SELECT last.* FROM unnest(CAST($1 AS bigint[])) AS wanted (wanted_id) \
                 CROSS JOIN LATERAL ({}) AS last",
                last("wanted_id")
            ),
            last("$1"),
        );
        let rows = ids.iter().map(|&id| vec![id.into()]).collect();
        let mut found = BTreeMap::new();
        for row in self.inner.reads.query_many(Lane::Continuation, sql, rows).await? {
            let message = message_read(&mut row.columns("messages"))?;
            found.insert(message.conversation_id, message);
        }
        Ok(ids.iter().map(|id| found.remove(id)).collect())
    }
}
