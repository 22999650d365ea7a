//! How a message gets its id and its number in the conversation, `seq`, as it is inserted. For batches of appends on
//! PostgreSQL a function of the migrations (`wicara_append_…`) does the same.

use std::sync::LazyLock;

use wicara_model::{Conversation, ConversationId, Json, MessageId, NewMessage, Timestamp};
use wicara_search::Terms;

use crate::engine::{Result, Sql, Value};
use crate::rows::content_bytes;
use crate::transaction::Transaction;

/// After this many messages the state of a conversation is written to its own row too. `wicara_append_…` of PostgreSQL
/// has the same number.
const STATE_WRITTEN_EVERY: i64 = 64;

/// What the messages are searched by.
pub(super) fn terms_of(new: &[NewMessage]) -> Vec<Terms> {
    new.iter().map(|new| Terms::of(&new.text)).collect()
}

/// Puts messages at the end of a locked conversation; returns the id and `seq` of each. Each message's row carries the
/// conversation's counts with the message included, so that the conversation's own row need not be written (see
/// [`STATE_WRITTEN_EVERY`]). `terms`: one element a message.
pub(super) async fn store_messages(
    transaction: &mut Transaction<'_>,
    id: ConversationId,
    new: &[NewMessage],
    terms: &[Terms],
    at: Timestamp,
) -> Result<Vec<(MessageId, i64)>> {
    let mut ids_and_seqs = Vec::with_capacity(new.len());
    for (new, terms) in new.iter().zip(terms) {
        let message_id = transaction.message_id().await?;
        let Transaction { executor, effects, .. } = transaction;
        let locked = effects.conversations.get(id).expect("it was locked before");
        let seq = locked.next_seq;
        locked.next_seq += 1;
        locked.newest = message_id;
        locked.is_changed |= seq % STATE_WRITTEN_EVERY == 0;
        let conversation = &mut locked.conversation;
        conversation.message_count += 1;
        conversation.note_count += i64::from(new.is_note());
        conversation.message_bytes += content_bytes(&new.text, new.payload.as_ref());
        conversation.updated_at = conversation.updated_at.max(at);
        effects.totals.messages(conversation, message_id, 1);
        effects.events.message_created(conversation, message_id, new.is_note());
        effects.search.message_created(conversation, message_id, new.is_note(), terms.clone());
        executor.query(&*INSERT_MESSAGE, row(new, message_id, seq, conversation, at)).await?;
        ids_and_seqs.push((message_id, seq));
    }
    Ok(ids_and_seqs)
}

static INSERT_MESSAGE: LazyLock<Sql> = LazyLock::new(|| {
    let sql = "INSERT INTO messages (id, conversation_id, seq, role, kind, text, payload, bytes, reply_to, author_id, \
         author_kind, author_name, first_token_ms, answer_ms, message_count, note_count, message_bytes, created_at, \
         updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $18)";
    Sql::both(sql)
});

/// `conversation`: its counts include the message.
fn row(new: &NewMessage, id: MessageId, seq: i64, conversation: &Conversation, at: Timestamp) -> Vec<Value> {
    let mut row = vec![id.into(), conversation.id.into(), seq.into()];
    row.extend(content(new));
    row.extend([
        conversation.message_count.into(),
        conversation.note_count.into(),
        conversation.message_bytes.into(),
        at.into(),
    ]);
    row
}

/// The columns that come from the message alone, in the order of the table's columns and of the type
/// `wicara_message_2`.
pub(super) fn content(new: &NewMessage) -> [Value; 11] {
    let author = new.author.as_ref();
    [
        new.role.as_str().into(),
        new.kind.as_str().into(),
        new.text.as_str().into(),
        new.payload.as_ref().map(Json::as_str).into(),
        content_bytes(&new.text, new.payload.as_ref()).into(),
        new.reply_to.into(),
        author.map(|author| author.id.as_str()).into(),
        author.map(|author| author.kind.as_str()).into(),
        author.map(|author| author.name.as_str()).into(),
        new.time.and_then(|time| time.first_token_ms).into(),
        new.time.map(|time| time.answer_ms).into(),
    ]
}
