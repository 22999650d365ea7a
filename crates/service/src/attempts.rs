//! The attempts of this node: which questions it is answering now. What is open in the database and not here is left by
//! a task that ended badly, and is settled by [`Service::settle`](super::Service::settle).

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

#[derive(Debug, Default)]
pub(super) struct Attempts(Mutex<HashSet<Uuid>>);

/// An attempt that is under way for as long as this is held, also if its task panics.
#[derive(Debug)]
pub(super) struct Attempt {
    pub id: Uuid,
    all: Arc<Attempts>,
}

impl Attempts {
    /// Called before the question is stored, so that none is open in the database without being known here.
    pub fn begin(self: &Arc<Self>, id: Uuid) -> Attempt {
        self.lock().insert(id);
        Attempt { id, all: Arc::clone(self) }
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
        self.all.lock().remove(&self.id);
    }
}
