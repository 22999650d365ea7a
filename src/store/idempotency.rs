//! Idempotency keys: written in the same transaction as what they protect.

use std::collections::HashSet;
use std::time::Duration;

use uuid::Uuid;

use super::Store;
use super::append::Appended;
use super::conversations::{CONVERSATION, conversation_read};
use super::engine::{DatabaseClock, Result, Row, Sql, Statement, Transaction, Value};
use super::messages::{MESSAGE, message_read};
use super::questions::{self, Attempt};
use crate::model::{Conversation, ConversationId, Message, MessageId};

/// How long a key is remembered.
pub const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);

/// A client's key and what it is unique in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdempotencyKey {
    /// Caller and route, in words of the service.
    pub scope: String,
    pub key: String,
}

/// A request's claim to be the one that is carried out.
#[derive(Debug, Clone)]
pub struct Claim {
    pub key: IdempotencyKey,
    /// SHA-256 of the raw body.
    pub body: [u8; 32],
    /// How long the request is taken to be running, by the database's clock; `None` where its result is stored at once.
    pub lease: Option<Duration>,
    /// The attempt at a question that takes over where an earlier one is lost.
    pub attempt: Option<Uuid>,
}

/// What a claim met that was taken before.
#[derive(Debug)]
pub enum Claimed {
    /// The first request is done: what it stored.
    Done(Appended),
    Running {
        /// Until its lease is over.
        left: Duration,
    },
    OtherBody,
    /// The first request failed or was lost: this one takes over the question it stored.
    Resumed {
        conversation: Conversation,
        question: Message,
    },
}

/// What a key is to remember.
pub(super) struct Record {
    key: IdempotencyKey,
    conversation_id: ConversationId,
    message_id: Option<MessageId>,
    result: Option<String>,
}

impl Record {
    pub fn running(
        key: &IdempotencyKey,
        conversation_id: ConversationId,
        message_id: Option<MessageId>,
    ) -> Self {
        Self { key: key.clone(), conversation_id, message_id, result: None }
    }

    pub fn result(key: &IdempotencyKey, message_id: Option<MessageId>, appended: &Appended) -> Self {
        let result = serde_json::to_string(appended).expect("plain data serialises");
        Self { key: key.clone(), conversation_id: appended.conversation.id, message_id, result: Some(result) }
    }
}

/// Takes claims that nobody has taken in the last 24 hours, by the database's clock: those of the nodes differ. See
/// [`taken`].
pub(super) fn take<'a>(claims: impl Iterator<Item = &'a Claim>) -> Statement {
    let row = |claim: &Claim| {
        vec![
            claim.key.scope.as_str().into(),
            claim.key.key.as_str().into(),
            claim.body[..].into(),
            claim.lease.map(millis).into(),
        ]
    };
    let take_again = |now| {
        format!(
            "ON CONFLICT (scope, key) DO UPDATE SET body = excluded.body, lease_until = excluded.lease_until, \
                 conversation_id = NULL, message_id = NULL, result = NULL, created_at = excluded.created_at \
             WHERE idempotency.created_at < {now} - {} RETURNING scope, key",
            millis(REMEMBERED)
        )
    };
    let (postgres, sqlite) = (DatabaseClock::POSTGRES, DatabaseClock::SQLITE);
    let sql = Sql::each(
        format!(
            "INSERT INTO idempotency (scope, key, body, lease_until, created_at) \
             SELECT scope, key, body, coalesce({postgres} + lease, 0), {postgres} \
             FROM unnest(CAST($1 AS text[]), CAST($2 AS text[]), CAST($3 AS bytea[]), CAST($4 AS bigint[])) \
                 AS new (scope, key, body, lease) ORDER BY scope, key {}",
            take_again(postgres)
        ),
        format!(
            "INSERT INTO idempotency (scope, key, body, lease_until, created_at) \
             VALUES ($1, $2, $3, coalesce({sqlite} + $4, 0), {sqlite}) {}",
            take_again(sqlite)
        ),
    );
    (sql, claims.map(row).collect())
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 2)
}

/// Reads which claims [`take`] took.
pub(super) fn taken(rows: Vec<Row>) -> Result<HashSet<IdempotencyKey>> {
    let key = |row: Row| {
        let mut columns = row.columns("idempotency");
        Ok(IdempotencyKey { scope: columns.text("scope")?, key: columns.text("key")? })
    };
    rows.into_iter().map(key).collect()
}

/// What a claim that was taken before met. `None`: the question it protected was deleted since.
pub(super) async fn look_up(
    transaction: &Transaction<'_>,
    claim: &Claim,
    node: i32,
) -> Result<Option<Claimed>> {
    let key = || -> Vec<Value> { vec![claim.key.scope.as_str().into(), claim.key.key.as_str().into()] };
    let select = |now| {
        format!(
            "SELECT body, lease_until - {now}, conversation_id, message_id, result FROM idempotency \
             WHERE scope = $1 AND key = $2"
        )
    };
    let sql = Sql::each(select(DatabaseClock::POSTGRES), select(DatabaseClock::SQLITE));
    let rows = transaction.query(sql, key()).await?;
    let Some(row) = rows.into_iter().next() else { return Ok(None) };
    let mut columns = row.columns("idempotency");
    let body = columns.bytes("body")?;
    let left = columns.int("lease_until")?;
    let conversation_id = columns.opt_int("conversation_id")?;
    let message_id = columns.opt_int("message_id")?;
    if body != claim.body {
        return Ok(Some(Claimed::OtherBody));
    }
    if let Some(appended) = columns.opt_json("result")? {
        return Ok(Some(Claimed::Done(appended)));
    }
    if let Some(left) = u64::try_from(left).ok().filter(|left| *left > 0) {
        return Ok(Some(Claimed::Running { left: Duration::from_millis(left) }));
    }
    let (Some(conversation_id), Some(message_id)) = (conversation_id, message_id) else { return Ok(None) };
    let conversation = transaction
        .query(
            format!("SELECT {CONVERSATION} FROM conversations WHERE id = $1"),
            vec![conversation_id.into()],
        )
        .await?;
    let question = transaction
        .query(format!("SELECT {MESSAGE} FROM messages WHERE id = $1"), vec![message_id.into()])
        .await?;
    let (Some(conversation), Some(question)) = (conversation.into_iter().next(), question.into_iter().next())
    else {
        return Ok(None);
    };
    let mut params = key();
    params.push(claim.lease.map(millis).into());
    let extend = |now| {
        format!("UPDATE idempotency SET lease_until = coalesce({now} + $3, 0) WHERE scope = $1 AND key = $2")
    };
    let sql = Sql::each(extend(DatabaseClock::POSTGRES), extend(DatabaseClock::SQLITE));
    transaction.query(sql, params).await?;
    if let Some(id) = claim.attempt {
        questions::reopen(transaction, Attempt { question: MessageId(message_id), id }, node).await?;
    }
    Ok(Some(Claimed::Resumed {
        conversation: conversation_read(&mut conversation.columns("conversations"))?,
        question: message_read(&mut question.columns("messages"))?,
    }))
}

/// Writes down what the keys protect, and its result where it is there.
pub(super) async fn record(transaction: &Transaction<'_>, mut records: Vec<Record>) -> Result<()> {
    records.sort_by(|a, b| a.key.cmp(&b.key));
    let rows = records
        .into_iter()
        .map(|record| {
            vec![
                record.key.scope.into(),
                record.key.key.into(),
                record.conversation_id.into(),
                record.message_id.into(),
                record.result.into(),
            ]
        })
        .collect();
    let sql = Sql::each(
        "UPDATE idempotency SET conversation_id = new.conversation_id, message_id = new.message_id, \
             result = new.result \
         FROM unnest(CAST($1 AS text[]), CAST($2 AS text[]), CAST($3 AS bigint[]), CAST($4 AS bigint[]), \
             CAST($5 AS text[])) AS new (scope, key, conversation_id, message_id, result) \
         WHERE idempotency.scope = new.scope AND idempotency.key = new.key",
        "UPDATE idempotency SET conversation_id = $3, message_id = $4, result = $5 \
         WHERE scope = $1 AND key = $2",
    );
    transaction.execute_many(sql, rows).await
}

/// Forgets keys whose requests stored nothing.
pub(super) async fn release(transaction: &Transaction<'_>, keys: Vec<&IdempotencyKey>) -> Result<()> {
    let sql = Sql::each(
        "DELETE FROM idempotency USING unnest(CAST($1 AS text[]), CAST($2 AS text[])) AS released (of_scope, of_key) \
         WHERE scope = of_scope AND key = of_key",
        "DELETE FROM idempotency WHERE scope = $1 AND key = $2",
    );
    let rows = keys.into_iter().map(|key| vec![key.scope.as_str().into(), key.key.as_str().into()]);
    transaction.execute_many(sql, rows.collect()).await
}

/// Forgets what a deleted conversation's keys would give again: its messages are gone there too. A retry finds
/// nothing rather than doing it all once more.
pub(super) async fn forget(transaction: &Transaction<'_>, id: ConversationId) -> Result<()> {
    let sql = "UPDATE idempotency SET result = NULL, lease_until = 0 WHERE conversation_id = $1";
    transaction.query(sql, vec![id.into()]).await.map(|_| ())
}

/// Lets the next requests with the keys of these questions take over at once: nobody answers them any more.
pub(super) async fn give_up(
    transaction: &Transaction<'_>,
    questions: Vec<(ConversationId, MessageId)>,
) -> Result<()> {
    let sql = Sql::each(
        "UPDATE idempotency SET lease_until = 0 FROM unnest(CAST($1 AS bigint[]), CAST($2 AS bigint[])) \
             AS given_up (of_conversation, of_message) \
         WHERE conversation_id = of_conversation AND message_id = of_message AND result IS NULL",
        "UPDATE idempotency SET lease_until = 0 \
         WHERE conversation_id = $1 AND message_id = $2 AND result IS NULL",
    );
    let rows = questions.into_iter().map(|(conversation, message)| vec![conversation.into(), message.into()]);
    transaction.execute_many(sql, rows.collect()).await
}

/// Keys that are deleted in one go, so that nobody waits long behind it.
const EXPIRED: usize = 1000;

impl Store {
    /// Deletes keys that are older than 24 hours by the database's clock.
    pub async fn idempotency_expire(&self) -> Result<()> {
        loop {
            let deleted = self
                .change(move |transaction| {
                    Box::pin(async move {
                        let old = |now| format!("created_at < {now} - {}", millis(REMEMBERED));
                        let oldest = |row, old: &str| {
                            format!(
                                "(SELECT {row} FROM idempotency WHERE {old} ORDER BY created_at LIMIT {EXPIRED})"
                            )
                        };
                        let (postgres, sqlite) = (old(DatabaseClock::POSTGRES), old(DatabaseClock::SQLITE));
                        // By ctid: for a thousand keys the planner would choose a sequential scan. The age is asked
                        // again, since a key may have been taken again since the subquery.
                        let sql = Sql::each(
                            format!(
                                "DELETE FROM idempotency WHERE ctid = ANY(ARRAY{}) AND {postgres} \
                                 RETURNING scope",
                                oldest("ctid", &postgres)
                            ),
                            format!(
                                "DELETE FROM idempotency WHERE rowid IN {} RETURNING scope",
                                oldest("rowid", &sqlite)
                            ),
                        );
                        Ok(transaction.query(sql, vec![]).await?.len())
                    })
                })
                .await?;
            if deleted < EXPIRED {
                return Ok(());
            }
        }
    }
}
