//! Idempotency keys: a retry with the same key and body gets the first request's result. The store keeps the key, in
//! the transaction that it protects.

use wicara_model::{Conversation, ConversationId, Ending, Message, MessageId};
use wicara_store::{Claim, IdempotencyKey, PriorClaim};

use crate::{Error, Reader, Result};

/// The header `Idempotency-Key` of a request, and a hash of the body it protects.
#[derive(Debug, Clone)]
pub struct IdempotencyRequest {
    /// 1–255 visible ASCII characters.
    pub key: String,
    /// SHA-256 of the raw body.
    pub body_hash: [u8; 32],
}

impl IdempotencyRequest {
    /// A claim without a lease. `scope` names caller and route, since two callers may choose the same key.
    pub(super) fn claim(self, scope: String) -> Claim {
        let key = IdempotencyKey { scope, key: self.key };
        Claim { key, body: self.body_hash, lease: None, attempt: None }
    }
}

/// What an earlier request with the same key and body left.
pub(super) enum PriorRequest {
    /// It is done. The conversation or message that it stored may have been deleted since.
    Done { conversation_id: ConversationId, message_id: Option<MessageId>, ending: Ending },
    /// Its lease ended before the question had an answer: this request takes the question over.
    Resumed { conversation: Conversation, question: Message },
}

impl PriorRequest {
    /// `KeyReused` where the key came with another body, `StillRunning` while the earlier request holds its lease.
    pub(super) fn of(prior: PriorClaim) -> Result<Self> {
        match prior {
            PriorClaim::Done { conversation_id, message_id, ending } => {
                Ok(Self::Done { conversation_id, message_id, ending })
            }
            PriorClaim::Resumed { conversation, question } => Ok(Self::Resumed { conversation, question }),
            PriorClaim::OtherBody => Err(Error::KeyReused),
            PriorClaim::Running { lease_left, .. } => {
                Err(Error::StillRunning { retry_after: lease_left, question: None })
            }
        }
    }
}

/// The scope of a reader's keys on a route.
pub(super) fn scope(reader: &Reader, route: &str) -> String {
    format!("{} {route}", reader.caller().id().as_deref().unwrap_or("anonymous"))
}
