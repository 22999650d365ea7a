//! Idempotency keys: stored in the same transaction as the messages of their request, with the ids of those messages.

use std::time::Duration;

use uuid::Uuid;
use wicara_model::{Conversation, ConversationId, Ending, Message, MessageId};

use crate::Store;
use crate::engine::{DatabaseClock, Result, Sql, millis};

/// How long a key is remembered.
pub const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);

/// A client's key and the scope within which it is unique.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdempotencyKey {
    /// Caller and route, as the service writes them.
    pub scope: String,
    pub key: String,
}

/// A request's claim to its key. Only the first request with a key stores anything.
#[derive(Debug, Clone)]
pub struct Claim {
    pub key: IdempotencyKey,
    /// SHA-256 of the raw body.
    pub body: [u8; 32],
    /// For how long later requests with this key find it running, by the database's clock; `None` where the append
    /// itself is the whole result. The column `lease_until` holds 0 for no lease, which is a time that is over.
    pub lease: Option<Duration>,
    /// The attempt to begin where this request takes over the question of an earlier one.
    pub attempt: Option<Uuid>,
}

/// The state of a key that an earlier request has taken.
#[derive(Debug)]
pub enum PriorClaim {
    /// The first request is done. `message_id`: of the first message that it stored, such as the question that has its
    /// answers now; the message may be deleted since.
    Done { conversation_id: ConversationId, message_id: Option<MessageId>, ending: Ending },
    /// The first request holds its lease. `stored`: its conversation and the first message that it stored, once these
    /// are committed.
    Running { lease_left: Duration, stored: Option<(ConversationId, MessageId)> },
    /// The first request had another body: the client reuses a key.
    OtherBody,
    /// The first request failed or was lost: this one has taken over its question.
    Resumed { conversation: Conversation, question: Message },
}

/// Keys deleted in one transaction: keeps it short, so that no other command waits long.
const EXPIRED_AT_ONCE: usize = 1000;

impl Store {
    /// Deletes keys that are older than 24 hours by the database's clock.
    pub async fn idempotency_expire(&self) -> Result<()> {
        loop {
            let deleted = self
                .change(None, move |transaction| {
                    Box::pin(async move {
                        let old = |now| format!("created_at < {now} - {}", millis(REMEMBERED));
                        let oldest = |row, old: &str| {
                            format!(
                                "(SELECT {row} FROM idempotency WHERE {old} ORDER BY created_at LIMIT {EXPIRED_AT_ONCE})"
                            )
                        };
                        let (postgres, sqlite) = (old(DatabaseClock::POSTGRES), old(DatabaseClock::SQLITE));
                        // By ctid, the position of the row: for a thousand keys the planner would choose a sequential
                        // scan. The repeated condition on the age skips keys that were taken again since the
                        // subquery.
                        let sql = Sql::per_dialect(
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
            if deleted < EXPIRED_AT_ONCE {
                return Ok(());
            }
        }
    }
}
