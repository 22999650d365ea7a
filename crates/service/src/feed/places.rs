//! Limits on how many streams are open: on the node, and for each caller.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::{Error, Result};

/// How long a caller without a place is told to wait.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Whose limit a stream counts for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum StreamOwner {
    /// A person or a program, by its id.
    Caller(String),
    /// Visitors, by their address.
    Address(IpAddr),
}

#[derive(Debug, Clone, Copy)]
pub struct StreamLimits {
    /// On this node.
    pub all: usize,
    pub per_caller: usize,
}

#[derive(Debug)]
pub(super) struct Places {
    limits: StreamLimits,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_owner: HashMap<StreamOwner, usize>,
}

/// The right to have one stream open, until it is dropped.
#[derive(Debug)]
pub struct StreamPlace {
    places: Arc<Places>,
    owner: StreamOwner,
}

impl Places {
    pub fn new(limits: StreamLimits) -> Self {
        Self { limits, taken: Mutex::default() }
    }

    /// `TooMany` where the caller has all of its places, `Unavailable` where the node has none left.
    pub fn take(self: &Arc<Self>, owner: StreamOwner) -> Result<StreamPlace> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.by_owner.get(&owner).copied().unwrap_or(0);
        if own >= self.limits.per_caller {
            return Err(Error::TooMany { retry_after: RETRY_AFTER });
        }
        if taken.all >= self.limits.all {
            return Err(Error::Unavailable);
        }
        taken.all += 1;
        taken.by_owner.insert(owner.clone(), own + 1);
        Ok(StreamPlace { places: Arc::clone(self), owner })
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        match taken.by_owner.get_mut(&self.owner) {
            Some(own) if *own > 1 => *own -= 1,
            _ => {
                taken.by_owner.remove(&self.owner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_and_come_back() {
        let places = Arc::new(Places::new(StreamLimits { all: 2, per_caller: 1 }));
        let take = |id: &str| places.take(StreamOwner::Caller(id.into()));
        let first = take("1").unwrap();
        assert!(matches!(take("1"), Err(Error::TooMany { .. })));
        let _second = take("2").unwrap();
        assert!(matches!(take("3"), Err(Error::Unavailable)));
        drop(first);
        assert!(take("3").is_ok());
        assert_eq!(places.taken.lock().unwrap().by_owner.len(), 1);
    }
}
