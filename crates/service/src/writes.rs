//! Admission of appends: a bounded number is in progress at once. What begins is refused beyond that (load shedding);
//! what completes something that was admitted before waits for a permit instead.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, SemaphorePermit};
use wicara_model::{ConversationId, MessageId};
use wicara_store::{Append, Outcome, Stored};

use crate::idempotency::PriorRequest;
use crate::{Error, Missing, Result, Service};

/// Appends in progress at once. The writer commits them in groups, so that more would only wait longer, each for all
/// others.
pub(super) const MAX_CONCURRENT: usize = 256;

/// What an append stored, or what an earlier request with the same idempotency key had stored.
pub(super) enum AppendOutcome {
    Stored(Stored),
    Replayed { conversation_id: ConversationId, message_id: Option<MessageId> },
}

impl Service {
    /// `Unavailable` while all write permits are taken. Called before a request's credentials or body are read: under
    /// overload a refusal has to cost little, or the server does nothing but refuse.
    pub fn check_write_capacity(&self) -> Result<()> {
        if self.write_permits.available_permits() == 0 { Err(Error::Unavailable) } else { Ok(()) }
    }

    /// A permit for a write that begins something; `Unavailable` where all are taken.
    pub(super) fn write_permit(&self) -> Result<OwnedSemaphorePermit> {
        Arc::clone(&self.write_permits).try_acquire_owned().map_err(|_| Error::Unavailable)
    }

    /// A permit for a write that completes something, such as an answer to a stored question. It waits in the
    /// semaphore's queue, which [`Service::write_permit`] cannot overtake.
    pub(super) async fn queued_write_permit(&self) -> SemaphorePermit<'_> {
        self.write_permits.acquire().await.expect("nobody closes the semaphore")
    }

    /// Runs an append that has no work to do after its transaction: everything but a question.
    pub(super) async fn append(&self, append: Append) -> Result<AppendOutcome> {
        let _permit = self.write_permit()?;
        match self.store.append(append).await? {
            Outcome::Stored(stored) => Ok(AppendOutcome::Stored(stored)),
            Outcome::Gone | Outcome::Superseded | Outcome::Moved | Outcome::Stopped => {
                Err(Error::NotFound(Missing::Conversation))
            }
            Outcome::Claimed(claimed) => match PriorRequest::of(claimed)? {
                PriorRequest::Done { conversation_id, message_id, .. } => {
                    Ok(AppendOutcome::Replayed { conversation_id, message_id })
                }
                PriorRequest::Resumed { .. } => {
                    Err(Error::Internal("a key without a lease was resumed".into()))
                }
            },
        }
    }
}
