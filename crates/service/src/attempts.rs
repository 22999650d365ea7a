//! The attempts of this node: which questions its tasks are answering now, and in which conversations. A question of this
//! node that is open in the database and missing here belongs to a task that panicked:
//! `Service::settle_orphaned_questions` gives it its failure.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use uuid::Uuid;
use wicara_model::ConversationId;

#[derive(Debug, Default)]
pub(super) struct Attempts(Mutex<HashMap<Uuid, Running>>);

#[derive(Debug)]
struct Running {
    conversation: Place,
    stop: Arc<Notify>,
}

#[derive(Debug)]
enum Place {
    In(ConversationId),
    /// It opens one that has no id yet, at least not here. Others may know it before, and stop its answers: these are the
    /// conversations whose answers were stopped since.
    Unknown(HashSet<ConversationId>),
}

/// A running attempt; it ends when this is dropped, also by a panic.
#[derive(Debug)]
pub(super) struct Attempt {
    pub id: Uuid,
    attempts: Arc<Attempts>,
    stop: Arc<Notify>,
}

impl Attempts {
    /// Called before the question is stored: a question in the database that is missing here counts as orphaned.
    /// `conversation`: `None` where the question opens one.
    pub fn begin(self: &Arc<Self>, id: Uuid, conversation: Option<ConversationId>) -> Attempt {
        let stop = Arc::new(Notify::new());
        let conversation = conversation.map_or_else(|| Place::Unknown(HashSet::new()), Place::In);
        self.lock().insert(id, Running { conversation, stop: Arc::clone(&stop) });
        Attempt { id, attempts: Arc::clone(self), stop }
    }

    pub fn contains(&self, id: Uuid) -> bool {
        self.lock().contains_key(&id)
    }

    /// Tells the attempts in a conversation that their answers may not be wanted any more.
    pub fn stop(&self, conversation: ConversationId) {
        for running in self.lock().values_mut() {
            match &mut running.conversation {
                Place::In(id) if *id == conversation => running.stop.notify_one(),
                Place::In(_) => {}
                Place::Unknown(stopped) => {
                    stopped.insert(conversation);
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Running>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt {
    /// The conversation of the question, once it is stored.
    pub fn is_in(&self, conversation: ConversationId) {
        if let Some(running) = self.attempts.lock().get_mut(&self.id)
            && let Place::Unknown(stopped) =
                std::mem::replace(&mut running.conversation, Place::In(conversation))
            && stopped.contains(&conversation)
        {
            self.stop.notify_one();
        }
    }

    /// Waits until [`Attempts::stop`] is called for its conversation. The call may be about an earlier question.
    pub async fn stop_signal(&self) {
        self.stop.notified().await;
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.attempts.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn is_stopped(attempt: &Attempt) -> bool {
        attempt.stop_signal().now_or_never().is_some()
    }

    #[test]
    fn the_attempts_of_a_conversation_are_told_once() {
        let attempts = Arc::new(Attempts::default());
        let [here, there] = [1_u8, 2]
            .map(|id| attempts.begin(Uuid::from_u128(u128::from(id)), Some(ConversationId(id.into()))));
        attempts.stop(ConversationId(1));
        assert_eq!([&here, &here, &there].map(is_stopped), [true, false, false]);
    }

    #[test]
    fn a_stop_that_comes_before_the_id_is_not_missed() {
        let attempts = Arc::new(Attempts::default());
        let [first, second] = [1, 2].map(|id| attempts.begin(Uuid::from_u128(id), None));
        attempts.stop(ConversationId(5));
        first.is_in(ConversationId(5));
        second.is_in(ConversationId(6));
        assert_eq!([&first, &second].map(is_stopped), [true, false]);
        attempts.stop(ConversationId(6));
        assert!(is_stopped(&second));
    }
}
