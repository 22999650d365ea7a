//! Questions that a bot is answering now, so that none is forgotten: each has a row in `asks` until it has its answers or
//! its failure.

use std::collections::HashSet;

use uuid::Uuid;

use super::engine::{DatabaseClock, Lane, Result, Row, Sql, Statement, Transaction, Value};
use super::nodes::DEAD_AFTER;
use super::{Store, idempotency};
use crate::model::{ConversationId, FailureReason, MessageId, Timestamp};

/// Questions that are looked at, and given up, in one step.
const INTERRUPTED_AT_ONCE: usize = 500;

/// One asking of a question. Its answers are taken while no other has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt {
    pub question: MessageId,
    pub id: Uuid,
}

/// Remembers questions as being asked: rows of message, node and attempt.
pub(super) async fn open(transaction: &Transaction<'_>, rows: Vec<Vec<Value>>) -> Result<()> {
    const INSERT: &str = "INSERT INTO asks (message_id, node, attempt, asked_at)";
    const AGAIN: &str = "ON CONFLICT (message_id) DO UPDATE SET node = excluded.node, \
         attempt = excluded.attempt, asked_at = excluded.asked_at";
    let sql = Sql::each(
        format!(
            "{INSERT} SELECT message_id, node, attempt, {} FROM unnest(CAST($1 AS bigint[]), \
                 CAST($2 AS bigint[]), CAST($3 AS uuid[])) AS new (message_id, node, attempt) {AGAIN}",
            DatabaseClock::POSTGRES
        ),
        format!("{INSERT} VALUES ($1, $2, $3, {}) {AGAIN}", DatabaseClock::SQLITE),
    );
    transaction.execute_many(sql, rows).await
}

/// Remembers that a question which was given up is asked once more; it has no failure until it fails again.
pub(super) async fn reopen(transaction: &Transaction<'_>, attempt: Attempt, node: i32) -> Result<()> {
    let sql = "UPDATE messages SET failure = NULL, failed_at = NULL WHERE id = $1 AND failure IS NOT NULL";
    transaction.query(sql, vec![attempt.question.into()]).await?;
    open(transaction, vec![vec![attempt.question.into(), i64::from(node).into(), attempt.id.into()]]).await
}

/// Ends attempts that are about to store their answers. See [`closed`].
pub(super) fn close(attempts: impl Iterator<Item = Attempt>) -> Statement {
    let sql = Sql::each(
        "DELETE FROM asks USING unnest(CAST($1 AS bigint[]), CAST($2 AS uuid[])) AS closed (of_id, of_attempt) \
         WHERE message_id = of_id AND attempt = of_attempt RETURNING message_id, attempt",
        "DELETE FROM asks WHERE message_id = $1 AND attempt = $2 RETURNING message_id, attempt",
    );
    (sql, attempts.map(|attempt| vec![attempt.question.into(), attempt.id.into()]).collect())
}

/// Which attempts of [`close`] store their answers: those that were under way, and one whose question was given up
/// meanwhile. Where the question is asked again, has its answers or is gone, they do not.
pub(super) async fn closed(
    transaction: &Transaction<'_>,
    attempts: impl Iterator<Item = Attempt>,
    rows: Vec<Row>,
) -> Result<HashSet<Attempt>> {
    let attempt = |row: Row| {
        let mut columns = row.columns("asks");
        Ok(Attempt { question: MessageId(columns.int("message_id")?), id: columns.uuid("attempt")? })
    };
    let mut closed = rows.into_iter().map(attempt).collect::<Result<HashSet<_>>>()?;
    for attempt in attempts {
        if !closed.contains(&attempt) && clear_failure(transaction, attempt.question).await? {
            closed.insert(attempt);
        }
    }
    Ok(closed)
}

/// Takes the failure of a question away that nobody asks now; whether it had one.
async fn clear_failure(transaction: &Transaction<'_>, question: MessageId) -> Result<bool> {
    let sql = "UPDATE messages SET failure = NULL, failed_at = NULL \
         WHERE id = $1 AND failure IS NOT NULL AND NOT EXISTS (SELECT 1 FROM asks WHERE message_id = $1) \
         RETURNING id";
    Ok(!transaction.query(sql, vec![question.into()]).await?.is_empty())
}

/// Ends the asking of questions that are deleted: they want no answers any more.
pub(super) async fn forget(transaction: &Transaction<'_>, questions: Vec<MessageId>) -> Result<()> {
    let sql = Sql::each(
        "DELETE FROM asks WHERE message_id = ANY(CAST($1 AS bigint[]))",
        "DELETE FROM asks WHERE message_id = $1",
    );
    transaction.execute_many(sql, questions.into_iter().map(|question| vec![question.into()]).collect()).await
}

/// Notes why questions got no answer, and lets a retry with their keys take over at once; returns how many there are.
async fn fail(
    transaction: &Transaction<'_>,
    questions: impl IntoIterator<Item = MessageId>,
    reason: FailureReason,
    at: Timestamp,
) -> Result<usize> {
    const SET: &str = "UPDATE messages SET failure";
    let sql = Sql::each(
        format!(
            "{SET} = reason, failed_at = at, updated_at = at FROM unnest(CAST($1 AS bigint[]), \
                 CAST($2 AS text[]), CAST($3 AS bigint[])) AS failed (of_id, reason, at) \
             WHERE id = of_id RETURNING id, conversation_id"
        ),
        format!("{SET} = $2, failed_at = $3, updated_at = $3 WHERE id = $1 RETURNING id, conversation_id"),
    );
    let rows = questions.into_iter().map(|question| vec![question.into(), reason.as_str().into(), at.into()]);
    let [failed] = transaction.query_all([(sql, rows.collect())]).await?;
    let question = |row: Row| {
        let mut columns = row.columns("messages");
        let id = MessageId(columns.int("id")?);
        Ok((ConversationId(columns.int("conversation_id")?), id))
    };
    let failed = failed.into_iter().map(question).collect::<Result<Vec<_>>>()?;
    let count = failed.len();
    idempotency::give_up(transaction, failed).await?;
    Ok(count)
}

/// A row of `asks` as it was read.
#[derive(Debug, Clone)]
struct Asked {
    question: MessageId,
    node: i64,
    /// None in a row from before there were attempts.
    attempt: Option<Uuid>,
}

impl Store {
    /// Notes why an attempt brought no answer, and lets a retry with its key take over. `false` if it is no longer
    /// under way: the question was answered, given up, asked again or deleted meanwhile.
    pub async fn question_fail(
        &self,
        attempt: Attempt,
        reason: FailureReason,
        at: Timestamp,
    ) -> Result<bool> {
        self.change_in_turn(move |transaction| {
            Box::pin(async move {
                let [closed] = transaction.query_all([close([attempt].into_iter())]).await?;
                if closed.is_empty() {
                    return Ok(false);
                }
                Ok(fail(transaction, [attempt.question], reason, at).await? > 0)
            })
        })
        .await
    }

    /// Gives the questions that nobody is answering the failure `interrupted`; returns how many there were. `is_open`:
    /// whether an attempt of this node is under way.
    ///
    /// Nobody answers those of dead nodes (see [`Store::node_renew`]), nor those of this one that have no attempt: a
    /// commit that went through after its outcome was given up, or a task that ended badly, leaves them.
    pub async fn question_interrupt(
        &self,
        at: Timestamp,
        is_open: impl Fn(Uuid) -> bool + Send,
    ) -> Result<usize> {
        let own = i64::from(self.inner.node);
        let (mut count, mut after) = (0, MessageId(0));
        loop {
            let asked = self.asked_by_no_living_node(own, after).await?;
            let Some(last) = asked.last() else { return Ok(count) };
            after = last.question;
            let whole = asked.len() == INTERRUPTED_AT_ONCE;
            let left = |asked: &Asked| asked.node != own || !asked.attempt.is_some_and(&is_open);
            let left: Vec<_> = asked.into_iter().filter(left).collect();
            if !left.is_empty() {
                count += self
                    .change_in_turn(move |transaction| Box::pin(interrupt(transaction, left.clone(), at)))
                    .await?;
            }
            if !whole {
                return Ok(count);
            }
        }
    }

    /// Questions after one that are asked by this node or by a dead one. With SQLite every other node is dead.
    async fn asked_by_no_living_node(&self, own: i64, after: MessageId) -> Result<Vec<Asked>> {
        const SELECT: &str = "SELECT message_id, node, attempt FROM asks WHERE message_id > $1";
        let sql = Sql::each(
            format!(
                "{SELECT} AND (node = $2 OR NOT EXISTS (SELECT 1 FROM nodes \
                     WHERE nodes.node = asks.node AND renewed_at > {} - {})) \
                 ORDER BY message_id LIMIT {INTERRUPTED_AT_ONCE}",
                DatabaseClock::POSTGRES,
                DEAD_AFTER.as_millis()
            ),
            format!("{SELECT} ORDER BY message_id LIMIT {INTERRUPTED_AT_ONCE}"),
        );
        let mut params = vec![after.into()];
        if self.is_shared() {
            params.push(own.into());
        }
        let rows = self.inner.reads.query(Lane::Slow, sql, params).await?;
        let asked = |row: Row| {
            let mut columns = row.columns("asks");
            Ok(Asked {
                question: MessageId(columns.int("message_id")?),
                node: columns.int("node")?,
                attempt: columns.opt_uuid("attempt")?,
            })
        };
        rows.into_iter().map(asked).collect()
    }
}

/// Gives questions up that are asked as they were when they were read.
async fn interrupt(transaction: &Transaction<'_>, asked: Vec<Asked>, at: Timestamp) -> Result<usize> {
    let sql = Sql::each(
        "DELETE FROM asks USING unnest(CAST($1 AS bigint[]), CAST($2 AS bigint[]), CAST($3 AS uuid[])) \
             AS asked (of_id, of_node, of_attempt) \
         WHERE message_id = of_id AND node = of_node AND attempt IS NOT DISTINCT FROM of_attempt \
         RETURNING message_id",
        "DELETE FROM asks WHERE message_id = $1 AND node = $2 AND attempt IS $3 RETURNING message_id",
    );
    let rows =
        asked.into_iter().map(|asked| vec![asked.question.into(), asked.node.into(), asked.attempt.into()]);
    let [deleted] = transaction.query_all([(sql, rows.collect())]).await?;
    let question = |row: Row| Ok(MessageId(row.int("asks", "message_id")?));
    let questions = deleted.into_iter().map(question).collect::<Result<Vec<_>>>()?;
    fail(transaction, questions, FailureReason::Interrupted, at).await
}
