//! Idempotency keys: stored with the first append of a request, done with its result, and free for a retry with its
//! failure.
//!
//! `lease_until` is 0 where there is no lease: a time that is over.

use std::collections::HashSet;
use std::sync::LazyLock;
use std::time::Duration;

use wicara_model::{ConversationId, MessageId};

use crate::engine::{DatabaseClock, Executor, Result, Sql, millis};
use crate::idempotency::IdempotencyKey;

/// A new row of `idempotency`.
#[derive(Debug)]
pub(in super::super) struct KeyRecord {
    pub key: IdempotencyKey,
    pub body: [u8; 32],
    /// `None`: the append is the whole result, so that the request is done.
    pub lease: Option<Duration>,
    pub conversation_id: ConversationId,
    pub message_id: Option<MessageId>,
}

#[derive(Debug, Default)]
pub(in super::super) struct IdempotencyKeys {
    stored: Vec<KeyRecord>,
    taken: HashSet<IdempotencyKey>,
    done: Vec<(ConversationId, MessageId)>,
    free: Vec<(ConversationId, MessageId)>,
}

impl IdempotencyKeys {
    pub fn is_taken(&self, key: &IdempotencyKey) -> bool {
        self.taken.contains(key)
    }

    pub fn store(&mut self, record: KeyRecord) {
        self.taken.insert(record.key.clone());
        self.stored.push(record);
    }

    /// Marks the request of a question done: a retry gets the answers.
    pub fn done(&mut self, conversation: ConversationId, question: MessageId) {
        self.done.push((conversation, question));
    }

    /// Ends the lease of a question's request: a retry takes the question over at once.
    pub fn free(&mut self, conversation: ConversationId, question: MessageId) {
        self.free.push((conversation, question));
    }

    pub(super) async fn write(self, executor: &Executor<'_>) -> Result<()> {
        let mut stored = self.stored;
        stored.sort_by(|a, b| a.key.cmp(&b.key));
        let stored = stored.into_iter().map(|record| {
            vec![
                record.key.scope.into(),
                record.key.key.into(),
                record.body[..].into(),
                record.lease.map(millis).into(),
                record.conversation_id.into(),
                record.message_id.into(),
            ]
        });
        executor.query_many(&*STORE, stored.collect()).await?;
        for (sql, questions) in [(&*DONE, self.done), (&*FREE, self.free)] {
            let rows = questions
                .into_iter()
                .map(|(conversation, question)| vec![conversation.into(), question.into()]);
            executor.query_many(sql, rows.collect()).await?;
        }
        Ok(())
    }
}

static STORE: LazyLock<Sql> = LazyLock::new(|| {
    const INSERT: &str = "INSERT INTO idempotency (scope, key, body, lease_until, conversation_id, message_id, done, created_at)";
    const AGAIN: &str = "ON CONFLICT (scope, key) DO UPDATE SET body = excluded.body, \
         lease_until = excluded.lease_until, conversation_id = excluded.conversation_id, \
         message_id = excluded.message_id, done = excluded.done, created_at = excluded.created_at";
    let (postgres, sqlite) = (DatabaseClock::POSTGRES, DatabaseClock::SQLITE);
    Sql::per_dialect(
        format!(
            "{INSERT} SELECT scope, key, body, coalesce({postgres} + lease, 0), conversation_id, message_id, \
                 CASE WHEN lease IS NULL THEN 1 ELSE 0 END, {postgres} \
             FROM unnest(CAST($1 AS text[]), CAST($2 AS text[]), CAST($3 AS bytea[]), CAST($4 AS bigint[]), \
                 CAST($5 AS bigint[]), CAST($6 AS bigint[])) \
                 AS new (scope, key, body, lease, conversation_id, message_id) {AGAIN}"
        ),
        format!(
            "{INSERT} VALUES ($1, $2, $3, coalesce({sqlite} + $4, 0), $5, $6, \
                 CASE WHEN $4 IS NULL THEN 1 ELSE 0 END, {sqlite}) {AGAIN}"
        ),
    )
});

static DONE: LazyLock<Sql> = LazyLock::new(|| of_questions("done = 1, lease_until = 0"));
static FREE: LazyLock<Sql> = LazyLock::new(|| of_questions("lease_until = 0"));

fn of_questions(set: &str) -> Sql {
    Sql::per_dialect(
        format!(
            "UPDATE idempotency SET {set} FROM unnest(CAST($1 AS bigint[]), CAST($2 AS bigint[])) \
                 AS questions (of_conversation, of_message) \
             WHERE conversation_id = of_conversation AND message_id = of_message AND done = 0"
        ),
        format!("UPDATE idempotency SET {set} WHERE conversation_id = $1 AND message_id = $2 AND done = 0"),
    )
}
