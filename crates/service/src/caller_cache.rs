//! Who calls, remembered for a moment: a request in a row of many reads no row. An entry is believed while the feed, in which
//! every change of people, keys and logins is an event, was read to its head a moment ago.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use wicara_model::{Caller, Timestamp};

/// Entries are believed for so long after a look at the feed began that reached its head.
const VERIFIED: Duration = Duration::from_secs(1);
const MAX_AGE: Duration = Duration::from_secs(60);
const MAX_ENTRIES: usize = 10_000;

/// Whether entries are believed. `verified_at`: see [`Feed::verified_at`](crate::feed::Feed::verified_at).
pub(super) fn is_verified(at: Instant, verified_at: Option<Instant>) -> bool {
    verified_at.is_some_and(|verified_at| at.duration_since(verified_at) < VERIFIED)
}

/// The SHA-256 of a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum CredentialHash {
    Key([u8; 32]),
    Session([u8; 32]),
}

#[derive(Debug, Default)]
pub(super) struct CallerCache {
    entries: Mutex<HashMap<CredentialHash, Entry>>,
    /// Counts what was forgotten: a row that was read before is not remembered after it.
    forgotten: AtomicU64,
    /// See [`CallerCache::follow`].
    changes: AtomicU64,
}

#[derive(Debug)]
struct Entry {
    caller: Caller,
    read_at: Instant,
    /// When the login ends.
    expires_at: Option<Timestamp>,
}

/// A read of a caller that began.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReadBegun {
    forgotten: u64,
    at: Instant,
}

impl CallerCache {
    fn lock(&self) -> MutexGuard<'_, HashMap<CredentialHash, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `verified_at`: see [`Feed::verified_at`](crate::feed::Feed::verified_at).
    pub fn get(&self, hash: CredentialHash, verified_at: Option<Instant>, now: Timestamp) -> Option<Caller> {
        self.get_at(Instant::now(), hash, verified_at, now)
    }

    fn get_at(
        &self,
        at: Instant,
        hash: CredentialHash,
        verified_at: Option<Instant>,
        now: Timestamp,
    ) -> Option<Caller> {
        if !is_verified(at, verified_at) {
            return None;
        }
        let entries = self.lock();
        let entry = entries.get(&hash)?;
        let is_alive = entry.expires_at.is_none_or(|expires_at| expires_at > now);
        (is_alive && at.duration_since(entry.read_at) < MAX_AGE).then(|| entry.caller.clone())
    }

    /// Called before a row is read that is to be remembered.
    pub fn begin(&self) -> ReadBegun {
        ReadBegun { forgotten: self.forgotten.load(Ordering::SeqCst), at: Instant::now() }
    }

    pub fn insert(
        &self,
        begun: ReadBegun,
        hash: CredentialHash,
        caller: Caller,
        expires_at: Option<Timestamp>,
    ) {
        let mut entries = self.lock();
        if begun.forgotten != self.forgotten.load(Ordering::SeqCst) {
            return;
        }
        if entries.len() >= MAX_ENTRIES {
            entries.retain(|_, entry| entry.read_at.elapsed() < MAX_AGE);
        }
        if entries.len() < MAX_ENTRIES {
            entries.insert(hash, Entry { caller, read_at: begun.at, expires_at });
        }
    }

    /// Forgets all where this process has changed people, keys or logins: `changes` counts that.
    pub fn follow(&self, changes: u64) {
        if self.changes.swap(changes, Ordering::SeqCst) != changes {
            self.clear();
        }
    }

    /// Forgets a person or a program: see [`Caller::id`].
    pub fn forget(&self, reader: &str) {
        let mut entries = self.lock();
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        entries.retain(|_, entry| entry.caller.id().as_deref() != Some(reader));
    }

    pub fn clear(&self) {
        let mut entries = self.lock();
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use wicara_model::{Api, Bots, KeyId, Program, Role};

    use super::*;

    const HASH: CredentialHash = CredentialHash::Key([1; 32]);
    const NOW: Timestamp = Timestamp(1_000);

    fn program(id: i64) -> Caller {
        let (role, bots, api) = (Role::Viewer, Bots::All, Api::Chatbot);
        Caller::Program(Program { id: KeyId(id), name: "p".into(), role, bots, api })
    }

    #[test]
    fn an_entry_is_believed_while_the_feed_was_read_a_moment_ago() {
        let cache = CallerCache::default();
        let begun = cache.begin();
        cache.insert(begun, HASH, program(1), None);
        let is_known = |after: Duration, verified: Option<Duration>| {
            let verified_at = verified.map(|verified| begun.at + verified);
            cache.get_at(begun.at + after, HASH, verified_at, NOW).is_some()
        };
        let just_before = |time: Duration| time - Duration::from_millis(1);
        assert!(is_known(just_before(VERIFIED), Some(Duration::ZERO)));
        assert!(!is_known(VERIFIED, Some(Duration::ZERO)) && !is_known(Duration::ZERO, None));
        assert!(is_known(just_before(MAX_AGE), Some(just_before(MAX_AGE))));
        assert!(!is_known(MAX_AGE, Some(MAX_AGE)));
    }

    #[test]
    fn what_is_forgotten_meanwhile_is_not_remembered() {
        let cache = CallerCache::default();
        let is_known = || cache.get(HASH, Some(Instant::now()), NOW).is_some();
        let begun = cache.begin();
        cache.forget("key-1");
        cache.insert(begun, HASH, program(1), None);
        assert!(!is_known());
        cache.insert(cache.begin(), HASH, program(1), Some(Timestamp(NOW.0 + 1)));
        assert!(is_known());
        assert!(cache.get(HASH, Some(Instant::now()), Timestamp(NOW.0 + 1)).is_none());
        cache.forget("1");
        assert!(is_known());
        cache.forget("key-1");
        assert!(!is_known());
    }
}
