//! Rows of conversations and messages: their columns, and how they are read.

use wicara_model::{
    AnswerTime, Author, Bots, Conversation, ConversationId, Failure, Feedback, Json, Message, MessageId,
    Timestamp,
};

use crate::engine::{Columns, Result, Row};

/// The columns that [`conversation_read`] reads.
pub(super) const CONVERSATION: &str = "id, session_id, by_visitor, room, integration_type, bot_id, user_id, \
     handler, assignee_id, assignee_kind, assignee_name, handed_over_at, handover_reason, unclaimed_since, \
     given_back_after, seen_by_visitor, message_count, note_count, message_bytes, created_at, updated_at";

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
        assignee: author_read(columns, ["assignee_id", "assignee_kind", "assignee_name"])?,
        handed_over_at: columns.opt_int("handed_over_at")?.map(Timestamp),
        handover_reason: columns.opt_word("handover_reason")?,
        unclaimed_since: columns.opt_int("unclaimed_since")?.map(Timestamp),
        given_back_after: MessageId(columns.int("given_back_after")?),
        seen_by_visitor: MessageId(columns.int("seen_by_visitor")?),
        message_count: columns.int("message_count")?,
        note_count: columns.int("note_count")?,
        message_bytes: columns.int("message_bytes")?,
        created_at: Timestamp(columns.int("created_at")?),
        updated_at: Timestamp(columns.int("updated_at")?),
    })
}

/// The columns of an id, a kind and a name, which are null together.
fn author_read(columns: &mut Columns, [id, kind, name]: [&'static str; 3]) -> Result<Option<Author>> {
    let id = columns.opt_text(id)?;
    let kind = columns.opt_word(kind)?;
    let name = columns.opt_text(name)?;
    Ok(match (id, kind, name) {
        (Some(id), Some(kind), Some(name)) => Some(Author { id, kind, name }),
        _ => None,
    })
}

/// Bots are stored as a JSON list of ids, all of them as null.
pub(super) fn bots_read(columns: &mut Columns) -> Result<Bots> {
    Ok(columns.opt_json("bots")?.map_or(Bots::All, Bots::Only))
}

/// The SQL condition that a conversation exists, since the messages of a deleted one are deleted later. `id` must not
/// be a column of the table that the statement reads: only then does the database check it once, and not for every row.
pub(super) fn conversation_exists(id: &str) -> String {
    format!("EXISTS (SELECT 1 FROM conversations WHERE conversations.id = {id})")
}

/// The columns that [`message_read`] reads.
pub(super) const MESSAGE: &str = "id, conversation_id, seq, role, kind, text, payload, reply_to, failure, \
     failed_at, author_id, author_kind, author_name, first_token_ms, answer_ms, feedback, feedback_text, \
     feedback_at, created_at, updated_at";

/// Bytes of text and payload in one read. A single larger message is read by itself.
pub const CHUNK_BYTES: i64 = 256 * 1024;

pub(super) fn message_read(columns: &mut Columns) -> Result<Message> {
    let mut message = Message {
        id: MessageId(columns.int("id")?),
        conversation_id: ConversationId(columns.int("conversation_id")?),
        seq: columns.int("seq")?,
        role: columns.text("role")?,
        kind: columns.text("kind")?,
        text: columns.text("text")?,
        payload: columns.opt_json("payload")?,
        reply_to: columns.opt_int("reply_to")?.map(MessageId),
        failure: None,
        feedback: None,
        author: None,
        time: None,
        created_at: Timestamp(0),
        updated_at: Timestamp(0),
    };
    let reason = columns.opt_word("failure")?;
    let at = columns.opt_int("failed_at")?;
    message.failure = reason.zip(at).map(|(reason, at)| Failure { reason, at: Timestamp(at) });
    message.author = author_read(columns, ["author_id", "author_kind", "author_name"])?;
    let first_token_ms = columns.opt_int("first_token_ms")?;
    let answer_ms = columns.opt_int("answer_ms")?;
    message.time = answer_ms.map(|answer_ms| AnswerTime { first_token_ms, answer_ms });
    let value = columns.opt_int("feedback")?;
    let text = columns.opt_text("feedback_text")?;
    let at = columns.opt_int("feedback_at")?;
    message.feedback = value.zip(at).map(|(value, at)| Feedback { value, text, at: Timestamp(at) });
    message.created_at = Timestamp(columns.int("created_at")?);
    message.updated_at = Timestamp(columns.int("updated_at")?);
    Ok(message)
}

/// Bytes of a message's text and payload.
pub(super) fn content_bytes(text: &str, payload: Option<&Json>) -> i64 {
    i64::try_from(text.len() + payload.map_or(0, |payload| payload.as_str().len())).unwrap_or(i64::MAX)
}

/// A message of a list, before its text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageRef {
    pub id: MessageId,
    /// Bytes of its text and payload.
    pub bytes: i64,
}

pub(super) fn ref_read(row: Row) -> Result<MessageRef> {
    let mut columns = row.columns("messages");
    Ok(MessageRef { id: MessageId(columns.int("id")?), bytes: columns.int("bytes")? })
}

/// The SQL condition that a conversation is short at the time of the statement: it may have grown since its row was
/// read.
pub(super) fn is_short_now(messages: usize) -> String {
    format!(
        "conversation_states.message_count <= {messages} AND conversation_states.message_bytes <= {CHUNK_BYTES}"
    )
}
