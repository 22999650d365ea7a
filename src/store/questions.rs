//! Questions that a bot is answering now, so that none is forgotten when the server stops.

use std::collections::HashSet;

use super::Store;
use super::engine::postgres::NODE_LOCK_CLASS;
use super::engine::{Result, Row, Sql, Statement, Transaction, Value};
use super::idempotency::{self, IdempotencyKey};
use crate::model::{FailureReason, MessageId, Timestamp};

/// Remembers questions as being asked: rows of message, node and time.
pub(super) async fn open(transaction: &Transaction<'_>, rows: Vec<Vec<Value>>) -> Result<()> {
    let sql = Sql::each(
        "INSERT INTO asks (message_id, node, asked_at) \
         SELECT message_id, node, asked_at FROM unnest(CAST($1 AS bigint[]), CAST($2 AS bigint[]), \
             CAST($3 AS bigint[])) AS new (message_id, node, asked_at) \
         ON CONFLICT (message_id) DO UPDATE SET node = excluded.node, asked_at = excluded.asked_at",
        "INSERT INTO asks (message_id, node, asked_at) VALUES ($1, $2, $3) \
         ON CONFLICT (message_id) DO UPDATE SET node = excluded.node, asked_at = excluded.asked_at",
    );
    transaction.execute_many(sql, rows).await
}

/// Remembers that a question which was given up is asked once more; it has no failure until it fails again.
pub(super) async fn reopen(
    transaction: &Transaction<'_>,
    question: MessageId,
    node: i32,
    at: Timestamp,
) -> Result<()> {
    forgive(transaction, question).await?;
    open(transaction, vec![vec![question.into(), i64::from(node).into(), at.into()]]).await
}

/// Ends the asking of questions that are about to get their answers. See [`closed`].
pub(super) fn close(questions: impl Iterator<Item = MessageId>) -> Statement {
    let sql = Sql::each(
        "DELETE FROM asks WHERE message_id = ANY(CAST($1 AS bigint[])) RETURNING message_id",
        "DELETE FROM asks WHERE message_id = $1 RETURNING message_id",
    );
    (sql, questions.map(|question| vec![question.into()]).collect())
}

/// Which of the questions of [`close`] still want their answers. One that was given up takes them after all; one that
/// was answered meanwhile, or is gone, does not.
pub(super) async fn closed(
    transaction: &Transaction<'_>,
    questions: impl Iterator<Item = MessageId>,
    rows: Vec<Row>,
) -> Result<HashSet<MessageId>> {
    let question = |row: Row| Ok(MessageId(row.int("asks", "message_id")?));
    let mut closed = rows.into_iter().map(question).collect::<Result<HashSet<_>>>()?;
    for question in questions {
        if !closed.contains(&question) && forgive(transaction, question).await? {
            closed.insert(question);
        }
    }
    Ok(closed)
}

/// Ends the asking of questions that are deleted: they want no answers any more.
pub(super) async fn forget(transaction: &Transaction<'_>, questions: Vec<MessageId>) -> Result<()> {
    let (sql, rows) = close(questions.into_iter());
    transaction.execute_many(sql, rows).await
}

/// Takes a question's failure away; whether it had one.
async fn forgive(transaction: &Transaction<'_>, question: MessageId) -> Result<bool> {
    let sql = "UPDATE messages SET failure = NULL, failed_at = NULL \
         WHERE id = $1 AND failure IS NOT NULL RETURNING id";
    Ok(!transaction.query(sql, vec![question.into()]).await?.is_empty())
}

/// Notes a question's failure; `false` if the question is gone.
async fn fail(
    transaction: &Transaction<'_>,
    question: MessageId,
    reason: FailureReason,
    at: Timestamp,
) -> Result<bool> {
    let params = vec![question.into(), reason.as_str().into(), at.into()];
    let sql = "UPDATE messages SET failure = $2, failed_at = $3, updated_at = $3 WHERE id = $1 RETURNING id";
    Ok(!transaction.query(sql, params).await?.is_empty())
}

impl Store {
    /// Notes why a question got no answer, and lets a retry with its key take over. `false` if it is no longer
    /// being asked: it was answered, given up or deleted meanwhile.
    pub async fn question_fail(
        &self,
        question: MessageId,
        reason: FailureReason,
        at: Timestamp,
        key: Option<IdempotencyKey>,
    ) -> Result<bool> {
        self.change_in_turn(move |transaction| {
            let key = key.clone();
            Box::pin(async move {
                let sql = "DELETE FROM asks WHERE message_id = $1 RETURNING message_id";
                if transaction.query(sql, vec![question.into()]).await?.is_empty() {
                    return Ok(false);
                }
                if !fail(transaction, question, reason, at).await? {
                    return Ok(false);
                }
                if let Some(key) = &key {
                    idempotency::give_up(transaction, key).await?;
                }
                Ok(true)
            })
        })
        .await
    }

    /// Gives the questions that a dead process left behind their failure; returns how many there were.
    pub async fn question_interrupt(&self, at: Timestamp) -> Result<usize> {
        let own = i64::from(self.inner.node);
        self.change(move |transaction| {
            Box::pin(async move {
                // With PostgreSQL a living node holds its lock; a SQLite database has one server.
                let dead = Sql::each(
                    format!(
                        "DELETE FROM asks WHERE node <> $1 AND NOT EXISTS (SELECT 1 FROM pg_locks \
                             WHERE locktype = 'advisory' AND classid = {NODE_LOCK_CLASS} \
                             AND objid = CAST(node & 4294967295 AS oid) AND objsubid = 2 \
                             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) \
                         RETURNING message_id"
                    ),
                    "DELETE FROM asks WHERE node <> $1 RETURNING message_id",
                );
                let rows = transaction.query(dead, vec![own.into()]).await?;
                let count = rows.len();
                for row in rows {
                    let question = MessageId(row.int("asks", "message_id")?);
                    fail(transaction, question, FailureReason::Interrupted, at).await?;
                }
                Ok(count)
            })
        })
        .await
    }
}
