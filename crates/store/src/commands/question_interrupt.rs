//! Gives up questions that no attempt answers any more: the node that asked the bot has ended, or its task has failed.

use futures_util::future::join_all;
use uuid::Uuid;
use wicara_model::{ConversationId, Ending, FailureReason, Handler, MessageId, Timestamp};

use super::append::record_failure;
use crate::Store;
use crate::effects::StopMark;
use crate::engine::{DatabaseClock, Error, Lane, Result, Row, Sql};
use crate::nodes::DEAD_AFTER;
use crate::transaction::Transaction;

/// Asks that are read, and given up, in one step.
const ASKS_AT_ONCE: usize = 500;

/// A row of `asks` as it was read.
#[derive(Debug, Clone)]
struct AskRow {
    question: MessageId,
    conversation: ConversationId,
    node: i64,
    /// `None` in rows of a version that had no attempts yet.
    attempt: Option<Uuid>,
}

impl Store {
    /// Gives the failure `interrupted` to the questions that no attempt answers any more; returns their number. Those whose
    /// answer was stopped get the failure `stopped`, and those that came to people none.
    /// `is_open`: whether an attempt of this node is running.
    ///
    /// These are the questions of dead nodes (see [`Store::node_renew`]), and those of this node whose attempt is not
    /// running: left by a commit that succeeded after its callers got `OutcomeUnknown`, or by a task that panicked.
    pub async fn question_interrupt(
        &self,
        at: Timestamp,
        is_open: impl Fn(Uuid) -> bool + Send,
    ) -> Result<usize> {
        let own = i64::from(self.inner.node);
        let (mut count, mut after) = (0, MessageId(0));
        loop {
            let asked = self.orphan_candidates(own, after).await?;
            let Some(last) = asked.last() else { return Ok(count) };
            after = last.question;
            let is_full = asked.len() == ASKS_AT_ONCE;
            let is_orphan = |asked: &AskRow| asked.node != own || !asked.attempt.is_some_and(&is_open);
            let mut orphans: Vec<_> = asked.into_iter().filter(is_orphan).collect();
            orphans.sort_by_key(|asked| (asked.conversation, asked.question));
            count += match self.interrupt(None, orphans.clone(), at).await {
                // One of the conversations is locked: one transaction each, so that the others do not wait.
                Err(Error::Locked(_)) => {
                    let each = orphans.chunk_by(|one, next| one.conversation == next.conversation);
                    let each =
                        each.map(|asked| self.interrupt(Some(asked[0].conversation), asked.to_vec(), at));
                    let each = join_all(each).await.into_iter();
                    each.filter(|count| !matches!(count, Err(Error::Locked(_)))).sum::<Result<usize>>()?
                }
                count => count?,
            };
            if !is_full {
                return Ok(count);
            }
        }
    }

    async fn interrupt(
        &self,
        conversation: Option<ConversationId>,
        asked: Vec<AskRow>,
        at: Timestamp,
    ) -> Result<usize> {
        if asked.is_empty() {
            return Ok(0);
        }
        self.change_queued(conversation, move |transaction| {
            Box::pin(interrupt(transaction, asked.clone(), at))
        })
        .await
    }

    /// The next asks after a question, of this node or of a dead one. On SQLite every other node is dead.
    async fn orphan_candidates(&self, own: i64, after: MessageId) -> Result<Vec<AskRow>> {
        const SELECT: &str = "SELECT message_id, node, attempt, \
             (SELECT conversation_id FROM messages WHERE messages.id = message_id) \
             FROM asks WHERE message_id > $1";
        let sql = Sql::per_dialect(
            format!(
                "{SELECT} AND (node = $2 OR NOT EXISTS (SELECT 1 FROM nodes \
                     WHERE nodes.node = asks.node AND renewed_at > {} - {})) \
                 ORDER BY message_id LIMIT {ASKS_AT_ONCE}",
                DatabaseClock::POSTGRES,
                DEAD_AFTER.as_millis()
            ),
            format!("{SELECT} ORDER BY message_id LIMIT {ASKS_AT_ONCE}"),
        );
        let mut params = vec![after.into()];
        if self.is_shared() {
            params.push(own.into());
        }
        let rows = self.inner.reads.query(Lane::Slow, sql, params).await?;
        let asked = |row: Row| {
            let mut columns = row.columns("asks");
            Ok(AskRow {
                question: MessageId(columns.int("message_id")?),
                node: columns.int("node")?,
                attempt: columns.opt_uuid("attempt")?,
                // 0, which no conversation has, where the message is deleted.
                conversation: ConversationId(columns.opt_int("conversation_id")?.unwrap_or(0)),
            })
        };
        rows.into_iter().map(asked).collect()
    }
}

/// Gives up the questions whose ask is unchanged since it was read.
async fn interrupt(transaction: &mut Transaction<'_>, asked: Vec<AskRow>, at: Timestamp) -> Result<usize> {
    let close = Sql::per_dialect(
        "DELETE FROM asks WHERE message_id = $1 AND node = $2 AND attempt IS NOT DISTINCT FROM $3 RETURNING stopped",
        "DELETE FROM asks WHERE message_id = $1 AND node = $2 AND attempt IS $3 RETURNING stopped",
    );
    let mut count = 0;
    for AskRow { question, conversation, node, attempt } in asked {
        let handler = transaction.conversation(conversation).await?.map(|locked| locked.conversation.handler);
        let params = vec![question.into(), node.into(), attempt.into()];
        let closed = transaction.query(&close, params).await?.into_iter().next();
        let (Some(handler), Some(closed)) = (handler, closed) else { continue };
        let stopped = closed.int("asks", "stopped")?;
        if handler == Handler::Human || stopped == StopMark::HandedOver as i64 {
            transaction.effects.keys.ended(conversation, question, Ending::ForPeople);
        } else if stopped == StopMark::Stopped as i64 {
            record_failure(transaction, conversation, question, FailureReason::Stopped, at).await?;
            transaction.effects.keys.ended(conversation, question, Ending::Stopped);
        } else {
            record_failure(transaction, conversation, question, FailureReason::Interrupted, at).await?;
            transaction.effects.keys.free(conversation, question);
            count += 1;
        }
    }
    Ok(count)
}
