//! Questions that nobody answers any more, whose bot was asked by a node that ended or by a task that failed.

use futures_util::future::join_all;
use uuid::Uuid;
use wicara_model::{ConversationId, FailureReason, MessageId, Timestamp};

use super::append::fail;
use crate::Store;
use crate::engine::{DatabaseClock, Error, Lane, Result, Row, Sql};
use crate::nodes::DEAD_AFTER;
use crate::transaction::Transaction;

/// Questions that are looked at, and given up, in one step.
const INTERRUPTED_AT_ONCE: usize = 500;

/// A row of `asks` as it was read.
#[derive(Debug, Clone)]
struct Asked {
    question: MessageId,
    conversation: ConversationId,
    node: i64,
    /// None in a row from before there were attempts.
    attempt: Option<Uuid>,
}

impl Store {
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
            let mut left: Vec<_> = asked.into_iter().filter(left).collect();
            left.sort_by_key(|asked| (asked.conversation, asked.question));
            count += match self.interrupt(None, left.clone(), at).await {
                // One of the conversations: the others do not wait for it.
                Err(Error::Locked(_)) => {
                    let each = left.chunk_by(|one, next| one.conversation == next.conversation);
                    let each =
                        each.map(|asked| self.interrupt(Some(asked[0].conversation), asked.to_vec(), at));
                    let each = join_all(each).await.into_iter();
                    each.filter(|count| !matches!(count, Err(Error::Locked(_)))).sum::<Result<usize>>()?
                }
                count => count?,
            };
            if !whole {
                return Ok(count);
            }
        }
    }

    async fn interrupt(
        &self,
        conversation: Option<ConversationId>,
        asked: Vec<Asked>,
        at: Timestamp,
    ) -> Result<usize> {
        if asked.is_empty() {
            return Ok(0);
        }
        self.change_in_turn(conversation, move |transaction| {
            Box::pin(interrupt(transaction, asked.clone(), at))
        })
        .await
    }

    /// Questions after one that are asked by this node or by a dead one. With SQLite every other node is dead.
    async fn asked_by_no_living_node(&self, own: i64, after: MessageId) -> Result<Vec<Asked>> {
        const SELECT: &str = "SELECT message_id, node, attempt, \
             (SELECT conversation_id FROM messages WHERE messages.id = message_id) \
             FROM asks WHERE message_id > $1";
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
                // Of one whose message is gone: no conversation has this id.
                conversation: ConversationId(columns.opt_int("conversation_id")?.unwrap_or(0)),
            })
        };
        rows.into_iter().map(asked).collect()
    }
}

/// Gives up those that are asked as they were when they were read.
async fn interrupt(transaction: &mut Transaction<'_>, asked: Vec<Asked>, at: Timestamp) -> Result<usize> {
    let close = Sql::each(
        "DELETE FROM asks WHERE message_id = $1 AND node = $2 AND attempt IS NOT DISTINCT FROM $3 RETURNING message_id",
        "DELETE FROM asks WHERE message_id = $1 AND node = $2 AND attempt IS $3 RETURNING message_id",
    );
    let mut count = 0;
    for Asked { question, conversation, node, attempt } in asked {
        let is_there = transaction.conversation(conversation).await?.is_some();
        let params = vec![question.into(), node.into(), attempt.into()];
        let was_open = !transaction.query(&close, params).await?.is_empty();
        if is_there && was_open {
            fail(transaction, conversation, question, FailureReason::Interrupted, at).await?;
            count += 1;
        }
    }
    Ok(count)
}
