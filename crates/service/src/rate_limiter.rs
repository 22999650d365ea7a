//! Rate limits for strangers, in a fixed amount of this process' memory, whatever the number of client addresses.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use wicara_model::Timestamp;

use crate::{Error, Result};

/// Requests a minute; 0 is no limit.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// In one conversation, by all callers together.
    pub questions: u32,
    /// From one address, by callers without a key.
    pub questions_per_address: u32,
    /// From one address. 0 also lifts the limit on wrong passwords.
    pub logins_per_address: u32,
    /// Of one conversation's visitor: hand-overs, stops and marks of what it has seen.
    pub signals: u32,
}

/// Wrong passwords for one account from one address before the next attempt has to wait.
const LOGIN_FAILURES: u32 = 5;
/// How long until one more is allowed.
const LOGIN_FAILURE_PAUSE: Duration = Duration::from_secs(60);

const MINUTE: Duration = Duration::from_secs(60);

/// Keys that one limiter keeps at most, in 1 MiB.
const KEYS: usize = 65_536;
/// Slots of a set (the table is set-associative): the number of slots that a look-up compares.
const SLOTS: usize = 8;
const SETS: usize = KEYS / SLOTS;

pub(super) struct RateLimits {
    pub questions: RateLimiter,
    pub questions_per_address: RateLimiter,
    pub logins_per_address: RateLimiter,
    pub signals: RateLimiter,
    /// By account and address together: by account alone, anybody could lock the owner out from elsewhere.
    pub login_failures: RateLimiter,
}

impl RateLimits {
    pub fn new(limits: Limits) -> Self {
        Self {
            questions: RateLimiter::per_minute(limits.questions),
            questions_per_address: RateLimiter::per_minute(limits.questions_per_address),
            logins_per_address: RateLimiter::per_minute(limits.logins_per_address),
            signals: RateLimiter::per_minute(limits.signals),
            login_failures: match limits.logins_per_address {
                0 => RateLimiter::per_minute(0),
                _ => RateLimiter::new(LOGIN_FAILURES, LOGIN_FAILURE_PAUSE),
            },
        }
    }
}

/// The generic cell rate algorithm (GCRA): allows each key a burst, then one more use after each interval.
///
/// Keys live in a table of fixed size. A key may be in the slots of one set, chosen by a hash with a random seed, so
/// that nobody outside can aim at a set. Where all slots of the set are taken, the key is evicted whose burst is full
/// again, else the one whose burst is full first: a flood of new keys evicts keys with little use, and no key that has
/// to wait.
pub(super) struct RateLimiter {
    /// Microseconds that one use takes to come back; 0: no limit.
    interval: i64,
    /// Microseconds that a whole burst takes to come back.
    window: i64,
    hasher: RandomState,
    sets: Mutex<Vec<[Slot; SLOTS]>>,
}

#[derive(Clone, Copy)]
struct Slot {
    /// A hash of the key: no address or e-mail is kept.
    key_hash: u64,
    /// When the whole burst is available again, in microseconds since 1970 (GCRA's theoretical arrival time).
    full_at: i64,
}

impl RateLimiter {
    fn per_minute(uses: u32) -> Self {
        Self::new(uses, MINUTE.checked_div(uses).unwrap_or_default())
    }

    fn new(burst: u32, interval: Duration) -> Self {
        let interval = i64::try_from(interval.as_micros()).unwrap_or(i64::MAX);
        Self {
            interval,
            window: interval.saturating_mul(burst.into()),
            hasher: RandomState::new(),
            sets: Mutex::new(vec![[Slot { key_hash: 0, full_at: 0 }; SLOTS]; SETS]),
        }
    }

    /// Counts a use. `TooMany` says how long to wait; a refused use is not counted.
    pub fn take(&self, key: impl Hash, now: Timestamp) -> Result<()> {
        let now = now.0 * 1000;
        self.with_slot(key, |slot, key_hash| {
            // A time beyond the window comes from a clock that was set back since: nobody has to wait for the old time.
            let full_at =
                if slot.key_hash == key_hash { slot.full_at.clamp(now, now + self.window) } else { now };
            let wait = full_at + self.interval - (now + self.window);
            *slot = Slot { key_hash, full_at: if wait > 0 { full_at } else { full_at + self.interval } };
            match u64::try_from(wait) {
                Ok(wait @ 1..) => Err(Error::TooMany { retry_after: Duration::from_micros(wait) }),
                _ => Ok(()),
            }
        })
    }

    /// Takes one use back.
    pub fn refund(&self, key: impl Hash) {
        self.with_slot(key, |slot, key_hash| {
            if slot.key_hash == key_hash {
                slot.full_at -= self.interval;
            }
        });
    }

    /// Takes every use back.
    pub fn reset(&self, key: impl Hash) {
        self.with_slot(key, |slot, key_hash| {
            if slot.key_hash == key_hash {
                slot.full_at = 0;
            }
        });
    }

    /// Calls `access` with the key's slot, or with the one to evict where it has none, and with the key's hash.
    fn with_slot<T>(&self, key: impl Hash, access: impl FnOnce(&mut Slot, u64) -> T) -> T {
        let key_hash = self.hasher.hash_one(key);
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        let set = usize::try_from(key_hash % SETS as u64).expect("less than the sets");
        let slots = sets[set].iter_mut();
        let slot =
            slots.min_by_key(|slot| (slot.key_hash != key_hash, slot.full_at)).expect("a set has slots");
        access(slot, key_hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp(1_752_470_016_351);

    fn after(millis: u64) -> Timestamp {
        START.plus(Duration::from_millis(millis))
    }

    /// Milliseconds to wait; `None` where the use is allowed.
    fn wait(limiter: &RateLimiter, key: &str, now: Timestamp) -> Option<u128> {
        match limiter.take(key, now) {
            Err(Error::TooMany { retry_after }) => Some(retry_after.as_millis()),
            Err(error) => panic!("{error}"),
            Ok(()) => None,
        }
    }

    #[test]
    fn a_burst_is_allowed_and_then_one_use_an_interval() {
        let limiter = RateLimiter::per_minute(3);
        assert_eq!([(); 4].map(|()| wait(&limiter, "a", START)), [None, None, None, Some(20_000)]);
        assert_eq!(wait(&limiter, "b", START), None, "others are not affected");
        assert_eq!(wait(&limiter, "a", after(19_999)), Some(1));
        assert_eq!(wait(&limiter, "a", after(20_000)), None, "what was refused did not count");
        assert_eq!(wait(&limiter, "a", after(20_000)), Some(20_000));
        assert_eq!([(); 4].map(|()| wait(&limiter, "a", after(80_000))), [None, None, None, Some(20_000)]);
    }

    #[test]
    fn no_limit_and_the_highest() {
        let (none, highest) = (RateLimiter::per_minute(0), RateLimiter::per_minute(1_000_000));
        for _ in 0..10_000 {
            assert_eq!(wait(&none, "a", START), None);
            assert_eq!(wait(&highest, "a", START), None);
        }
    }

    #[test]
    fn uses_are_given_back_one_by_one_or_all() {
        let limiter = RateLimiter::per_minute(3);
        let use_up = || while wait(&limiter, "a", START).is_none() {};
        use_up();
        limiter.refund("b");
        limiter.reset("b");
        assert!(wait(&limiter, "a", START).is_some());
        limiter.refund("a");
        assert_eq!([(); 2].map(|()| wait(&limiter, "a", START)), [None, Some(20_000)]);
        limiter.reset("a");
        assert_eq!([(); 4].map(|()| wait(&limiter, "a", START)), [None, None, None, Some(20_000)]);
        limiter.reset("a");
        limiter.refund("a");
        assert_eq!([(); 4].map(|()| wait(&limiter, "a", START)), [None, None, None, Some(20_000)]);
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_nobody_waiting_for_long() {
        let limiter = RateLimiter::per_minute(3);
        while wait(&limiter, "a", after(3_600_000)).is_none() {}
        assert_eq!(wait(&limiter, "a", START), Some(20_000));
        assert_eq!(wait(&limiter, "a", after(20_000)), None);
    }

    #[test]
    fn a_million_addresses_evict_no_key_that_has_to_wait() {
        let limiter = RateLimiter::per_minute(3);
        while wait(&limiter, "a", START).is_none() {}
        for number in 0..1_000_000 {
            limiter.take(number, START).expect("a first use is allowed");
        }
        assert_eq!(wait(&limiter, "a", START), Some(20_000));
        let sets = limiter.sets.into_inner().unwrap();
        assert_eq!(sets.capacity() * SLOTS, KEYS);
    }
}
