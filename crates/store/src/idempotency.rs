//! Idempotency keys: stored in the same transaction as what they protect, with its ids.

use std::time::Duration;

use uuid::Uuid;
use wicara_model::{Conversation, ConversationId, Message, MessageId};

use crate::Store;
use crate::engine::{DatabaseClock, Result, Sql, millis};

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
    /// The first request is done: what it stored, or the question that has its answers. The message may be gone.
    Done {
        conversation_id: ConversationId,
        message_id: Option<MessageId>,
    },
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

/// Keys that are deleted in one go, so that nobody waits long behind it.
const EXPIRED: usize = 1000;

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
