//! Asks: a row says that a bot is being asked a question. Written with the question, deleted with its answer or
//! failure.

use std::sync::LazyLock;

use uuid::Uuid;
use wicara_model::{ConversationId, MessageId};

use crate::engine::{DatabaseClock, Executor, Result, Sql};

/// Why the answers of open asks are not wanted any more. The numbers are those of the column `stopped`, where 0 is that they
/// are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum StopMark {
    Stopped = 1,
    HandedOver = 2,
}

#[derive(Debug, Default)]
pub(in super::super) struct Asks {
    opened: Vec<(ConversationId, MessageId, i64, Uuid)>,
    ended: Vec<MessageId>,
}

impl Asks {
    /// Begins an attempt of a node. An earlier attempt at the question is superseded.
    pub fn open(&mut self, conversation: ConversationId, question: MessageId, node: i64, attempt: Uuid) {
        self.opened.push((conversation, question, node, attempt));
    }

    /// Whether an earlier command of the transaction began an attempt at the question.
    pub fn has_opened(&self, question: MessageId) -> bool {
        self.opened.iter().any(|(_, opened, ..)| *opened == question)
    }

    /// Ends the ask of a deleted question.
    pub fn end(&mut self, question: MessageId) {
        self.ended.push(question);
    }

    pub(super) async fn write(self, executor: &Executor<'_>) -> Result<()> {
        static OPEN: LazyLock<Sql> = LazyLock::new(|| {
            const INSERT: &str = "INSERT INTO asks (message_id, node, attempt, conversation_id, asked_at)";
            const AGAIN: &str = "ON CONFLICT (message_id) DO UPDATE SET node = excluded.node, \
                 attempt = excluded.attempt, asked_at = excluded.asked_at, stopped = 0";
            Sql::per_dialect(
                format!(
                    "{INSERT} SELECT message_id, node, attempt, conversation_id, {} FROM unnest(CAST($1 AS bigint[]), \
                         CAST($2 AS bigint[]), CAST($3 AS uuid[]), CAST($4 AS bigint[])) \
                         AS new (message_id, node, attempt, conversation_id) {AGAIN}",
                    DatabaseClock::POSTGRES
                ),
                format!("{INSERT} VALUES ($1, $2, $3, $4, {}) {AGAIN}", DatabaseClock::SQLITE),
            )
        });
        static END: LazyLock<Sql> = LazyLock::new(|| {
            Sql::per_dialect(
                "DELETE FROM asks WHERE message_id = ANY(CAST($1 AS bigint[]))",
                "DELETE FROM asks WHERE message_id = $1",
            )
        });
        let opened = self.opened.into_iter();
        let opened = opened.map(|(conversation, question, node, attempt)| {
            vec![question.into(), node.into(), attempt.into(), conversation.into()]
        });
        executor.query_many(&*OPEN, opened.collect()).await?;
        let ended = self.ended.into_iter().map(|question| vec![question.into()]);
        executor.query_many(&*END, ended.collect()).await?;
        Ok(())
    }
}
