//! The attempts of this node: which questions its tasks are answering now. A question of this node that is open in the
//! database and missing here belongs to a task that panicked: `Service::settle_orphaned_questions` gives it its
//! failure.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

#[derive(Debug, Default)]
pub(super) struct Attempts(Mutex<HashSet<Uuid>>);

/// A running attempt; it ends when this is dropped, also by a panic.
#[derive(Debug)]
pub(super) struct Attempt {
    pub id: Uuid,
    attempts: Arc<Attempts>,
}

impl Attempts {
    /// Called before the question is stored: a question in the database that is missing here counts as orphaned.
    pub fn begin(self: &Arc<Self>, id: Uuid) -> Attempt {
        self.lock().insert(id);
        Attempt { id, attempts: Arc::clone(self) }
    }

    pub fn contains(&self, id: Uuid) -> bool {
        self.lock().contains(&id)
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Uuid>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.attempts.lock().remove(&self.id);
    }
}
