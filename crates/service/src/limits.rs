//! How often something may be done: limits for strangers, kept in the memory of this process and never more of it
//! than a fixed amount, however many addresses come.

use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use wicara_model::{Conversation, ConversationId, Timestamp};

use crate::{Error, Result, Service};

/// How often, a minute. 0 is no limit.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// In one conversation, whoever asks.
    pub questions: u32,
    /// From one address, by callers without a key.
    pub questions_per_address: u32,
    /// 0: nobody waits after wrong passwords either.
    pub logins_per_address: u32,
}

/// Wrong passwords for an account from one address before the next try has to wait.
const LOGIN_FAILURES: u32 = 5;
/// How long until one more is allowed.
const LOGIN_FAILURE_PAUSE: Duration = Duration::from_secs(60);

const MINUTE: Duration = Duration::from_secs(60);

/// Keys that a limiter remembers at most, in 1 MiB.
const KEYS: usize = 65_536;
/// Keys of a set: so many are looked at to find one, or a place for it.
const SLOTS: usize = 8;
const SETS: usize = KEYS / SLOTS;

pub(super) struct Limiters {
    questions: Limiter,
    questions_per_address: Limiter,
    logins_per_address: Limiter,
    /// By account and address together, so that nobody can lock an account for its owner elsewhere.
    login_failures: Limiter,
}

impl Limiters {
    pub fn new(limits: Limits) -> Self {
        Self {
            questions: Limiter::per_minute(limits.questions),
            questions_per_address: Limiter::per_minute(limits.questions_per_address),
            logins_per_address: Limiter::per_minute(limits.logins_per_address),
            login_failures: match limits.logins_per_address {
                0 => Limiter::per_minute(0),
                _ => Limiter::new(LOGIN_FAILURES, LOGIN_FAILURE_PAUSE),
            },
        }
    }
}

/// A client's address is an IPv4 address or the first of an IPv6 /64: who has one address of those has them all.
impl Service {
    /// Counts a question of a caller without a key.
    pub fn question_admit_from(&self, address: IpAddr) -> Result<()> {
        self.limiters.questions_per_address.take(address, self.clock.now())
    }

    /// Counts a question in a conversation that goes on.
    pub(super) fn question_admit_in(&self, conversation: Option<&Conversation>) -> Result<()> {
        conversation
            .map_or(Ok(()), |conversation| self.limiters.questions.take(conversation.id, self.clock.now()))
    }

    /// The question was one that is known.
    pub(super) fn question_take_back(&self, id: ConversationId) {
        self.limiters.questions.give_back(id);
    }

    /// Counts a login, whatever comes of it.
    pub fn login_admit_from(&self, address: IpAddr) -> Result<()> {
        self.limiters.logins_per_address.take(address, self.clock.now())
    }

    /// Counts a wrong password for the account, which need not exist, before it is known to be wrong: of many that
    /// are tried at once no more get through.
    pub(super) fn login_failure_add(&self, email: &str, address: IpAddr) -> Result<()> {
        self.limiters.login_failures.take((email, address), self.clock.now())
    }

    /// The password could not be looked at.
    pub(super) fn login_failure_take_back(&self, email: &str, address: IpAddr) {
        self.limiters.login_failures.give_back((email, address));
    }

    /// The password was right.
    pub(super) fn login_failure_forget(&self, email: &str, address: IpAddr) {
        self.limiters.login_failures.forget((email, address));
    }
}

/// Allows each key some uses at once, and then one again each time that a step has passed (the generic cell rate
/// algorithm).
///
/// Keys live in a table of fixed size: each has one set of slots where it may stand, chosen by a hash that nobody
/// outside can foresee. Where all are taken, a key gives way that is fresh again, or else the one that is so first.
/// So a flood of new keys drives out those that were hardly used, not those that have to wait.
struct Limiter {
    /// Microseconds for one use; with 0 every use is allowed.
    step: i64,
    /// Microseconds for all uses that may come at once.
    window: i64,
    hasher: RandomState,
    sets: Mutex<Vec<[Slot; SLOTS]>>,
}

#[derive(Clone, Copy)]
struct Slot {
    /// The key's hash: no address or e-mail is kept.
    key: u64,
    /// When all uses will be there again, in microseconds since 1970.
    fresh_at: i64,
}

impl Limiter {
    fn per_minute(uses: u32) -> Self {
        Self::new(uses, MINUTE.checked_div(uses).unwrap_or_default())
    }

    fn new(uses: u32, step: Duration) -> Self {
        let step = i64::try_from(step.as_micros()).unwrap_or(i64::MAX);
        Self {
            step,
            window: step.saturating_mul(uses.into()),
            hasher: RandomState::new(),
            sets: Mutex::new(vec![[Slot { key: 0, fresh_at: 0 }; SLOTS]; SETS]),
        }
    }

    /// Counts a use, or says how long to wait for it: one that has to wait is not counted.
    fn take(&self, key: impl Hash, now: Timestamp) -> Result<()> {
        let now = now.0 * 1000;
        self.look_at(key, |slot, key| {
            // A clock that was set back must not keep anybody waiting until its old time.
            let used = if slot.key == key { slot.fresh_at.clamp(now, now + self.window) } else { now };
            let wait = used + self.step - (now + self.window);
            *slot = Slot { key, fresh_at: if wait > 0 { used } else { used + self.step } };
            match u64::try_from(wait) {
                Ok(wait @ 1..) => Err(Error::TooMany { retry_after: Duration::from_micros(wait) }),
                _ => Ok(()),
            }
        })
    }

    /// Uncounts a use.
    fn give_back(&self, key: impl Hash) {
        self.look_at(key, |slot, key| {
            if slot.key == key {
                slot.fresh_at -= self.step;
            }
        });
    }

    /// Uncounts every use.
    fn forget(&self, key: impl Hash) {
        self.look_at(key, |slot, key| {
            if slot.key == key {
                slot.fresh_at = 0;
            }
        });
    }

    /// The slot of the key, or else the one that it would get, and the key's hash.
    fn look_at<T>(&self, key: impl Hash, look: impl FnOnce(&mut Slot, u64) -> T) -> T {
        let key = self.hasher.hash_one(key);
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        let set = usize::try_from(key % SETS as u64).expect("less than the sets");
        let slots = sets[set].iter_mut();
        let slot = slots.min_by_key(|slot| (slot.key != key, slot.fresh_at)).expect("a set has slots");
        look(slot, key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp(1_752_470_016_351);

    fn after(millis: u64) -> Timestamp {
        START.plus(Duration::from_millis(millis))
    }

    /// How many milliseconds to wait; none where it is allowed.
    fn wait(limiter: &Limiter, key: &str, now: Timestamp) -> Option<u128> {
        match limiter.take(key, now) {
            Err(Error::TooMany { retry_after }) => Some(retry_after.as_millis()),
            Err(error) => panic!("{error}"),
            Ok(()) => None,
        }
    }

    #[test]
    fn so_many_are_allowed_at_once_and_then_one_a_step() {
        let limiter = Limiter::per_minute(3);
        assert_eq!([(); 4].map(|()| wait(&limiter, "a", START)), [None, None, None, Some(20_000)]);
        assert_eq!(wait(&limiter, "b", START), None, "others are not affected");
        assert_eq!(wait(&limiter, "a", after(19_999)), Some(1));
        assert_eq!(wait(&limiter, "a", after(20_000)), None, "what was refused did not count");
        assert_eq!(wait(&limiter, "a", after(20_000)), Some(20_000));
        assert_eq!([(); 4].map(|()| wait(&limiter, "a", after(80_000))), [None, None, None, Some(20_000)]);
    }

    #[test]
    fn no_limit_and_the_highest() {
        let (none, highest) = (Limiter::per_minute(0), Limiter::per_minute(1_000_000));
        for _ in 0..10_000 {
            assert_eq!(wait(&none, "a", START), None);
            assert_eq!(wait(&highest, "a", START), None);
        }
    }

    #[test]
    fn uses_are_given_back_one_by_one_or_all() {
        let limiter = Limiter::per_minute(3);
        let use_up = || while wait(&limiter, "a", START).is_none() {};
        use_up();
        limiter.give_back("b");
        limiter.forget("b");
        assert!(wait(&limiter, "a", START).is_some());
        limiter.give_back("a");
        assert_eq!([(); 2].map(|()| wait(&limiter, "a", START)), [None, Some(20_000)]);
        limiter.forget("a");
        assert_eq!([(); 4].map(|()| wait(&limiter, "a", START)), [None, None, None, Some(20_000)]);
        limiter.forget("a");
        limiter.give_back("a");
        assert_eq!([(); 4].map(|()| wait(&limiter, "a", START)), [None, None, None, Some(20_000)]);
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_nobody_waiting_for_long() {
        let limiter = Limiter::per_minute(3);
        while wait(&limiter, "a", after(3_600_000)).is_none() {}
        assert_eq!(wait(&limiter, "a", START), Some(20_000));
        assert_eq!(wait(&limiter, "a", after(20_000)), None);
    }

    #[test]
    fn a_million_addresses_find_room_and_free_nobody_who_has_to_wait() {
        let limiter = Limiter::per_minute(3);
        while wait(&limiter, "a", START).is_none() {}
        for number in 0..1_000_000 {
            limiter.take(number, START).expect("a first use is allowed");
        }
        assert_eq!(wait(&limiter, "a", START), Some(20_000));
        let sets = limiter.sets.into_inner().unwrap();
        assert_eq!(sets.capacity() * SLOTS, KEYS);
    }
}
