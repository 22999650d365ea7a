//! How far people and programs have read conversations, and how much they have not.

use std::sync::LazyLock;

use wicara_model::Conversation;

use crate::Store;
use crate::engine::{Lane, Result, Sql};

/// The newest messages of a conversation among which unread ones are counted: bounds the work for a conversation that nobody
/// reads.
const COUNTED: usize = 1000;

impl Store {
    /// The number of messages of the public that a reader ([`Caller::id`](wicara_model::Caller::id)) has not read, for each
    /// conversation: those after its mark. Without a mark, those since people have the conversation, and none while the bot has
    /// it. Of the newest thousand messages at most.
    pub async fn conversation_unread(
        &self,
        reader: &str,
        conversations: &[&Conversation],
    ) -> Result<Vec<i64>> {
        let rows = conversations.iter().map(|conversation| {
            vec![conversation.id.into(), conversation.handed_over_at.into(), reader.into()]
        });
        let found = self.inner.reads.query_many(Lane::Continuation, UNREAD.clone(), rows.collect()).await?;
        let mut counts = vec![0; conversations.len()];
        for row in found {
            let mut columns = row.columns("messages");
            let (id, count) = (columns.int("conversation_id")?, columns.int("count")?);
            if let Some(place) = conversations.iter().position(|conversation| conversation.id.0 == id) {
                counts[place] = count;
            }
        }
        Ok(counts)
    }
}

/// The condition that [`Store::conversation_unread`] finds messages of a conversation, over rows with the columns
/// `conversation_id` and `handler`. The newest messages are looked at first. The mark is looked up once for each row, and again
/// only where there is a message of the public after it.
pub(super) fn has_unread(reader: &str) -> String {
    let of_mark = |columns: &str| {
        format!(
            "(SELECT {columns} FROM seen_marks WHERE seen_marks.reader = {reader} \
                 AND seen_marks.conversation_id = walked.conversation_id)"
        )
    };
    format!(
        "EXISTS (SELECT 1 FROM (SELECT role, created_at FROM messages \
             WHERE messages.conversation_id = walked.conversation_id \
                 AND messages.id > coalesce({}, CASE handler WHEN 'human' THEN 0 END) \
             ORDER BY messages.conversation_id DESC, messages.id DESC LIMIT {COUNTED}) AS newest \
             WHERE role = 'client' AND created_at >= coalesce({}, \
                 (SELECT handed_over_at FROM conversations WHERE conversations.id = walked.conversation_id)))",
        of_mark("up_to"),
        of_mark("0"),
    )
}

static UNREAD: LazyLock<Sql> = LazyLock::new(|| {
    let mark = |reader: &str, id: &str| {
        format!(
            "(SELECT up_to FROM seen_marks WHERE seen_marks.reader = {reader} AND conversation_id = {id})"
        )
    };
    // The names of the index in the order are what makes PostgreSQL use it.
    let count = format!(
        "SELECT id, (SELECT count(*) FROM (SELECT role, created_at FROM messages \
             WHERE messages.conversation_id = wanted.id AND messages.id > coalesce(mark, 0) \
             ORDER BY messages.conversation_id DESC, messages.id DESC LIMIT {COUNTED}) AS newest \
             WHERE role = 'client' AND (mark IS NOT NULL OR created_at >= since))"
    );
    let unread = "WHERE mark IS NOT NULL OR since IS NOT NULL";
    Sql::per_dialect(
        format!(
            "{count} FROM (SELECT id, since, {} AS mark FROM unnest(CAST($1 AS bigint[]), CAST($2 AS bigint[]), \
                 CAST($3 AS text[])) AS marks (id, since, reader)) AS wanted {unread}",
            mark("marks.reader", "marks.id")
        ),
        format!(
            "{count} FROM (SELECT $1 AS id, $2 AS since, {} AS mark) AS wanted {unread}",
            mark("$3", "$1")
        ),
    )
});
