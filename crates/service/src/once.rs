//! Idempotency keys: the same request again gets the first answer again.

use wicara_model::{Conversation, ConversationId, Message, MessageId};
use wicara_store::{Append, Claim, Claimed, IdempotencyKey, Outcome, Stored};

use crate::{Error, Missing, Reader, Result, Service};

/// An `Idempotency-Key` with the body it came with.
#[derive(Debug, Clone)]
pub struct Once {
    /// 1–255 visible ASCII characters.
    pub key: String,
    /// SHA-256 of the raw body.
    pub body: [u8; 32],
}

impl Once {
    /// A claim in a scope: caller and route.
    pub(super) fn claim(self, scope: String) -> Claim {
        Claim { key: IdempotencyKey { scope, key: self.key }, body: self.body, lease: None, attempt: None }
    }
}

/// What an earlier request with the same key and body left.
pub(super) enum Earlier {
    /// It is done. What it stored may be gone.
    Done {
        conversation_id: ConversationId,
        message_id: Option<MessageId>,
    },
    Resumed {
        conversation: Conversation,
        question: Message,
    },
}

/// The scope of a reader's keys on a route.
pub(super) fn scope(reader: &Reader, route: &str) -> String {
    format!("{} {route}", reader.caller().id().as_deref().unwrap_or("anonymous"))
}

impl Service {
    /// What a request whose claim was taken before gets, where it is no error.
    pub(super) fn claimed(&self, claimed: Claimed) -> Result<Earlier> {
        match claimed {
            Claimed::Done { conversation_id, message_id } => {
                Ok(Earlier::Done { conversation_id, message_id })
            }
            Claimed::Resumed { conversation, question } => Ok(Earlier::Resumed { conversation, question }),
            Claimed::OtherBody => Err(Error::KeyReused),
            Claimed::Running { left } => Err(Error::StillRunning { retry_after: left }),
        }
    }

    /// Carries out an append that needs nothing after its transaction.
    pub(super) async fn append(&self, append: Append) -> Result<Appended> {
        let _permit = self.place_to_write()?;
        match self.store.append(append).await? {
            Outcome::Stored(stored) => Ok(Appended::Now(stored)),
            Outcome::Gone | Outcome::Superseded | Outcome::Moved => {
                Err(Error::NotFound(Missing::Conversation))
            }
            Outcome::Claimed(claimed) => match self.claimed(claimed)? {
                Earlier::Done { conversation_id, message_id } => {
                    Ok(Appended::Before { conversation_id, message_id })
                }
                Earlier::Resumed { .. } => Err(Error::Internal("a key without a lease was resumed".into())),
            },
        }
    }
}

/// What an append stored, or an earlier one with the same key.
pub(super) enum Appended {
    Now(Stored),
    Before { conversation_id: ConversationId, message_id: Option<MessageId> },
}
