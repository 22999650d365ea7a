//! The activity of conversations, which lists read: when something happened in them last, whether they wait for an answer,
//! and who has them. Every conversation that a transaction has locked is looked at again at its end, so that no command can
//! leave its row behind; only what differs is written.

use std::sync::LazyLock;

use wicara_model::ConversationId;

use crate::engine::{Executor, Result, Sql, Value};

/// In ordinary talk a conversation's row changes once in so many milliseconds, and not with each message.
pub(in super::super) const MILLIS_A_MINUTE: i64 = 60_000;

/// Brings the rows of conversations up to date, after all else that the transaction writes of them.
pub(in super::super) async fn write(executor: &Executor<'_>, ids: Vec<ConversationId>) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    match executor {
        Executor::Postgres(_) => {
            let ids = ids.into_iter().map(Value::from).collect();
            executor.query("SELECT wicara_activity_1($1)", vec![Value::Array(ids)]).await.map(|_| ())
        }
        Executor::Sqlite(_) => {
            let rows = ids.into_iter().map(|id| vec![id.into()]).collect();
            executor.query_many(&*UPSERT, rows).await.map(|_| ())
        }
    }
}

/// On SQLite alone; PostgreSQL has `wicara_activity_…`, which appends call too.
static UPSERT: LazyLock<Sql> = LazyLock::new(|| {
    const COLUMNS: [&str; 6] = ["minute", "state", "bot_id", "integration_type", "handler", "assignee_id"];
    let columns = COLUMNS.join(", ");
    let set: Vec<_> = COLUMNS.iter().map(|column| format!("{column} = excluded.{column}")).collect();
    let differs: Vec<_> = COLUMNS
        .iter()
        .map(|column| format!("conversation_activity.{column} IS NOT excluded.{column}"))
        .collect();
    let said = |column: &str| {
        format!(
            "(SELECT {column} FROM messages WHERE conversation_id = $1 AND role <> 'note' \
             ORDER BY conversation_id DESC, id DESC LIMIT 1)"
        )
    };
    Sql::both(format!(
        "INSERT INTO conversation_activity (conversation_id, {columns}) \
         SELECT id, updated_at / {MILLIS_A_MINUTE}, CASE WHEN {} IS NOT 'client' THEN 0 \
             WHEN EXISTS (SELECT 1 FROM asks WHERE conversation_id = $1) THEN 0 \
             WHEN {} IS NULL THEN 1 ELSE 2 END, bot_id, integration_type, handler, assignee_id \
         FROM conversation_states WHERE id = $1 \
         ON CONFLICT (conversation_id) DO UPDATE SET {} WHERE {}",
        said("role"),
        said("failure"),
        set.join(", "),
        differs.join(" OR ")
    ))
});
