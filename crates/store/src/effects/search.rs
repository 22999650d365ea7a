//! The documents that searches read: one for each message, and one for the names of each conversation. A command says which of
//! them it makes, changes or removes; appends on PostgreSQL write theirs in `wicara_append_…`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::LazyLock;

use wicara_model::{Conversation, ConversationId, MessageId};
use wicara_search::Terms;

use crate::engine::{Executor, Result, Sql, Value};

/// The documents of conversations' names have ids from here on. `wicara_name_document_1` of PostgreSQL has the same number.
pub(in super::super) const NAMES: i64 = 1 << 56;

/// The id of the document of a conversation's names.
pub(in super::super) fn name_document(id: ConversationId) -> i64 {
    NAMES + id.0
}

/// What the names of a conversation are searched by.
pub(in super::super) fn name_terms(conversation: &Conversation) -> Terms {
    Terms::of(&names(conversation))
}

/// The room and the user of a conversation, as one text.
pub(in super::super) fn names(conversation: &Conversation) -> String {
    match &conversation.user_id {
        Some(user) => format!("{} {user}", conversation.room),
        None => conversation.room.clone(),
    }
}

/// The words of `scope` on SQLite: a bot's id in hexadecimal, since the tokenizer folds and splits what is not a letter.
pub(in super::super) fn bot_word(bot_id: &str) -> String {
    bot_id.bytes().fold(String::from("b"), |mut word, byte| {
        let _ = write!(word, "{byte:02x}");
        word
    })
}

/// The word of a note.
pub(in super::super) const NOTE: &str = "note";

#[derive(Debug, Clone)]
struct Document {
    conversation: ConversationId,
    bot_id: String,
    is_note: bool,
    terms: Terms,
    /// Whether there was none with its id before.
    is_new: bool,
}

/// The documents to write by id; `None` for those that are removed.
#[derive(Debug, Default)]
pub(in super::super) struct Search {
    documents: BTreeMap<i64, Option<Document>>,
    /// Conversations with another bot, and the message below which documents still name the one before.
    moves: BTreeMap<ConversationId, MessageId>,
}

impl Search {
    pub fn message_created(&mut self, of: &Conversation, id: MessageId, is_note: bool, terms: Terms) {
        self.add(id.0, of, is_note, terms, true);
    }

    pub fn message_updated(&mut self, of: &Conversation, id: MessageId, is_note: bool, terms: Terms) {
        self.add(id.0, of, is_note, terms, false);
    }

    pub fn message_deleted(&mut self, id: MessageId) {
        self.documents.insert(id.0, None);
    }

    pub fn conversation_created(&mut self, conversation: &Conversation) {
        self.add(name_document(conversation.id), conversation, false, name_terms(conversation), true);
    }

    pub fn conversation_updated(&mut self, conversation: &Conversation) {
        self.add(name_document(conversation.id), conversation, false, name_terms(conversation), false);
    }

    pub fn conversation_deleted(&mut self, id: ConversationId) {
        self.documents.insert(name_document(id), None);
    }

    /// The messages below one of a conversation that has moved to another bot are indexed anew later:
    /// [`crate::Store::search_index_step`].
    pub fn conversation_moved(&mut self, id: ConversationId, below: MessageId) {
        self.moves.insert(id, below);
    }

    fn add(&mut self, id: i64, of: &Conversation, is_note: bool, terms: Terms, is_new: bool) {
        let (conversation, bot_id) = (of.id, of.bot_id.clone());
        // What the same transaction made or wrote before may be in the table by then.
        let is_new = is_new && !self.documents.contains_key(&id);
        self.documents.insert(id, Some(Document { conversation, bot_id, is_note, terms, is_new }));
    }

    pub(super) async fn write(self, executor: &Executor<'_>) -> Result<()> {
        let is_sqlite = matches!(executor, Executor::Sqlite(_));
        // PostgreSQL replaces a row in one statement.
        let is_deleted = |document: &Option<Document>| match document {
            None => true,
            Some(document) => is_sqlite && !document.is_new,
        };
        let deleted = self.documents.iter().filter(|(_, document)| is_deleted(document));
        let deleted = deleted.map(|(id, _)| vec![Value::from(*id)]).collect();
        executor.query_many(&*DELETE, deleted).await?;
        let written = self.documents.into_iter().filter_map(|(id, document)| {
            let Document { conversation, bot_id, is_note, terms, .. } = document?;
            let place = if is_sqlite { scope(&bot_id, is_note).into() } else { Value::from(bot_id) };
            Some(vec![id.into(), conversation.into(), terms.into(), place, is_note.into()])
        });
        executor.query_many(&*WRITE, written.collect()).await?;
        let moves = self.moves.into_iter().map(|(id, below)| vec![id.into(), below.into()]).collect();
        executor.query_many(&*MOVE, moves).await.map(|_| ())
    }
}

/// A document's `scope` on SQLite.
fn scope(bot_id: &str, is_note: bool) -> String {
    let bot = bot_word(bot_id);
    if is_note { format!("{bot} {NOTE}") } else { bot }
}

static DELETE: LazyLock<Sql> = LazyLock::new(|| {
    Sql::per_dialect(
        "DELETE FROM search_documents WHERE id = ANY(CAST($1 AS bigint[]))",
        "DELETE FROM search_documents WHERE rowid = $1",
    )
});

/// `$5` is in `$4` already on SQLite.
static WRITE: LazyLock<Sql> = LazyLock::new(|| {
    Sql::per_dialect(
        "INSERT INTO search_documents (id, conversation_id, terms, place) \
         SELECT id, conversation_id, terms, wicara_place_1(id, bot_id, is_note) \
         FROM unnest(CAST($1 AS bigint[]), CAST($2 AS bigint[]), CAST($3 AS tsvector[]), CAST($4 AS text[]), \
             CAST($5 AS bigint[])) AS documents (id, conversation_id, terms, bot_id, is_note) \
         ON CONFLICT (id) DO UPDATE SET terms = excluded.terms, place = excluded.place",
        "INSERT INTO search_documents (rowid, conversation_id, terms, scope) SELECT $1, $2, $3, $4 WHERE $5 IS NOT NULL",
    )
});

static MOVE: LazyLock<Sql> = LazyLock::new(|| {
    let upsert = "ON CONFLICT (conversation_id) DO UPDATE SET below = excluded.below";
    let insert = "INSERT INTO search_moves (conversation_id, below)";
    Sql::per_dialect(
        format!("{insert} SELECT * FROM unnest(CAST($1 AS bigint[]), CAST($2 AS bigint[])) {upsert}"),
        format!("{insert} VALUES ($1, $2) {upsert}"),
    )
});
