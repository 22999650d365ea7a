//! Idempotency keys: stored with the first append of a request, done with its result, and free for a retry with its
//! failure.
//!
//! `lease_until` is 0 where there is no lease: a time that is over.

use std::collections::HashSet;
use std::sync::LazyLock;
use std::time::Duration;

use wicara_model::{ConversationId, Ending, MessageId};

use crate::engine::{DatabaseClock, Executor, Result, Sql, millis};
use crate::idempotency::IdempotencyKey;

/// A new row of `idempotency`.
#[derive(Debug)]
pub(in super::super) struct KeyRecord {
    pub key: IdempotencyKey,
    pub body: [u8; 32],
    /// While it lasts, later requests find this one running. `None` where it has ended.
    pub lease: Option<Duration>,
    /// Where the append is the whole result.
    pub ending: Option<Ending>,
    pub conversation_id: ConversationId,
    pub message_id: Option<MessageId>,
}

#[derive(Debug, Default)]
pub(in super::super) struct IdempotencyKeys {
    stored: Vec<KeyRecord>,
    taken: HashSet<IdempotencyKey>,
    ended: Vec<(ConversationId, MessageId, Ending)>,
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

    /// Marks the request of a question done: a retry gets the answers and how it ended.
    pub fn ended(&mut self, conversation: ConversationId, question: MessageId, ending: Ending) {
        self.ended.push((conversation, question, ending));
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
                record.ending.map_or(0, done).into(),
            ]
        });
        executor.query_many(&*STORE, stored.collect()).await?;
        let ended = self
            .ended
            .into_iter()
            .map(|(conversation, question, ending)| (conversation, question, done(ending)));
        // 0: it has not ended.
        let free = self.free.into_iter().map(|(conversation, question)| (conversation, question, 0));
        let rows = ended
            .chain(free)
            .map(|(conversation, question, done)| vec![conversation.into(), question.into(), done.into()]);
        executor.query_many(&*END, rows.collect()).await?;
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
                 done, {postgres} \
             FROM unnest(CAST($1 AS text[]), CAST($2 AS text[]), CAST($3 AS bytea[]), CAST($4 AS bigint[]), \
                 CAST($5 AS bigint[]), CAST($6 AS bigint[]), CAST($7 AS bigint[])) \
                 AS new (scope, key, body, lease, conversation_id, message_id, done) {AGAIN}"
        ),
        format!("{INSERT} VALUES ($1, $2, $3, coalesce({sqlite} + $4, 0), $5, $6, $7, {sqlite}) {AGAIN}"),
    )
});

static END: LazyLock<Sql> = LazyLock::new(|| {
    Sql::per_dialect(
        "UPDATE idempotency SET done = ended, lease_until = 0 \
         FROM unnest(CAST($1 AS bigint[]), CAST($2 AS bigint[]), CAST($3 AS bigint[])) \
             AS questions (of_conversation, of_message, ended) \
         WHERE conversation_id = of_conversation AND message_id = of_message AND done = 0",
        "UPDATE idempotency SET done = $3, lease_until = 0 WHERE conversation_id = $1 AND message_id = $2 AND done = 0",
    )
});

/// The numbers of the column `done`, where 0 is a request that has not ended. `wicara_append_…` of PostgreSQL has them too.
fn done(ending: Ending) -> i64 {
    match ending {
        Ending::Answered => 1,
        Ending::ForPeople => 2,
        Ending::Stopped => 3,
    }
}

/// `None` for a request that has not ended.
pub(in super::super) fn ending(done: i64) -> Option<Ending> {
    [Ending::Answered, Ending::ForPeople, Ending::Stopped]
        .into_iter()
        .find(|&ending| self::done(ending) == done)
}
