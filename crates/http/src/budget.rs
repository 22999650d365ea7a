//! A budget of memory: so many bytes are held for clients at once, however many connections there are.
//!
//! Callers without credentials get half of it, so that strangers shut nobody out who works here. And of each part a
//! quarter is kept for the first [`SMALL_BYTES`] of what is held: a few large ones that do not come to their end do not
//! shut out the many small ones, which ordinary questions are.

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};
use wicara_metrics::BudgetMetric;

/// The first bytes of a body or an answer, which find room longer than what follows them.
const SMALL_BYTES: usize = 16 * 1024;

/// On whose account memory is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Callers without credentials, those who log in too.
    Visitor,
    /// People and programs.
    Known,
}

/// Bytes that may be held at once.
pub struct Budget {
    everybody: Part,
    visitors: Part,
    metric: BudgetMetric,
}

/// How much is left, in bytes.
struct Part {
    limit: usize,
    all: Semaphore,
    /// For what goes beyond the first bytes.
    large: Semaphore,
}

impl Part {
    /// `largest`: what has to find room at once where nothing else is held.
    fn new(limit: usize, largest: usize) -> Self {
        let limit = limit.min(Semaphore::MAX_PERMITS);
        let kept = (limit / 4).min(limit.saturating_sub(largest));
        Self { limit, all: Semaphore::new(limit), large: Semaphore::new(limit - kept) }
    }
}

impl Budget {
    /// `limit`: bytes for everybody; `usize::MAX` is no limit. `largest`: the most that is held for one request.
    #[must_use]
    pub fn new(limit: usize, largest: usize, metric: BudgetMetric) -> Self {
        Self { everybody: Part::new(limit, largest), visitors: Part::new(limit / 2, largest), metric }
    }

    /// Bytes for a class at most.
    #[must_use]
    pub fn limit(&self, class: Class) -> usize {
        match class {
            Class::Visitor => self.visitors.limit,
            Class::Known => self.everybody.limit,
        }
    }

    /// Whether it is visitors who hold what so many bytes for one of them would need.
    #[must_use]
    pub fn is_held_by_visitors(&self, bytes: usize) -> bool {
        let Part { all, large, .. } = &self.visitors;
        all.available_permits() < bytes || large.available_permits() < bytes.saturating_sub(SMALL_BYTES)
    }

    /// Bytes that are left for a class, were they all for small ones.
    #[cfg(test)]
    pub fn left(&self, class: Class) -> usize {
        let all = |part: &Part| part.all.available_permits();
        match class {
            Class::Visitor => all(&self.visitors).min(all(&self.everybody)),
            Class::Known => all(&self.everybody),
        }
    }

    /// What has to have room for the bytes after those that are held already. The narrower part comes first: who waits
    /// there keeps nothing from others.
    fn shares(&self, class: Class, held: usize, bytes: usize) -> impl Iterator<Item = (&Semaphore, usize)> {
        let visitors = Some(&self.visitors).filter(|_| class == Class::Visitor);
        let beyond = (held + bytes).saturating_sub(SMALL_BYTES) - held.saturating_sub(SMALL_BYTES);
        visitors
            .into_iter()
            .chain([&self.everybody])
            .flat_map(move |part| [(&part.large, beyond), (&part.all, bytes)])
    }

    /// Takes all or nothing; whether there was room. Those who wait for some go first.
    fn try_take(&self, class: Class, held: usize, bytes: usize) -> bool {
        let mut permits: [Option<SemaphorePermit<'_>>; 4] = [const { None }; 4];
        for (permit, (part, bytes)) in permits.iter_mut().zip(self.shares(class, held, bytes)) {
            let taken = u32::try_from(bytes).ok().and_then(|bytes| part.try_acquire_many(bytes).ok());
            if taken.is_none() {
                return false;
            }
            *permit = taken;
        }
        permits.into_iter().flatten().for_each(SemaphorePermit::forget);
        self.metric.taken(bytes);
        true
    }

    /// Takes bytes in turn, as soon as there is room.
    async fn take(&self, class: Class, bytes: usize) {
        let mut permits: [Option<SemaphorePermit<'_>>; 4] = [const { None }; 4];
        for (permit, (part, bytes)) in permits.iter_mut().zip(self.shares(class, 0, bytes)) {
            let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            *permit = Some(part.acquire_many(bytes).await.expect("nobody closes the semaphore"));
        }
        permits.into_iter().flatten().for_each(SemaphorePermit::forget);
        self.metric.taken(bytes);
    }

    fn give_back(&self, class: Class, left: usize, bytes: usize) {
        self.shares(class, left, bytes).for_each(|(part, bytes)| part.add_permits(bytes));
        self.metric.given_back(bytes);
    }
}

/// There is no room in the budget.
#[derive(Debug)]
pub struct Full;

/// Bytes that count until this is dropped.
pub struct Held {
    budget: Arc<Budget>,
    class: Class,
    bytes: usize,
}

impl Held {
    /// Nothing yet.
    #[must_use]
    pub fn nothing(budget: &Arc<Budget>, class: Class) -> Self {
        Self { budget: Arc::clone(budget), class, bytes: 0 }
    }

    /// Waits until there is room; `bytes` may be no more than a part of the class's limit that is free at some time.
    pub async fn in_turn(budget: &Arc<Budget>, class: Class, bytes: usize) -> Self {
        budget.take(class, bytes).await;
        Self { budget: Arc::clone(budget), class, bytes }
    }

    /// Counts so many bytes in all: less at once, more if there is room for them.
    pub fn resize(&mut self, bytes: usize) -> Result<(), Full> {
        if bytes < self.bytes {
            self.budget.give_back(self.class, bytes, self.bytes - bytes);
        } else if !self.budget.try_take(self.class, self.bytes, bytes - self.bytes) {
            self.budget.metric.refused();
            return Err(Full);
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.give_back(self.class, 0, self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use wicara_fuzz::fuzz;
    use wicara_metrics::Metrics;

    use super::*;

    fn budget(limit: usize, largest: usize) -> Arc<Budget> {
        Arc::new(Budget::new(limit, largest, Metrics::default().http.budget("bodies")))
    }

    fn hold(budget: &Arc<Budget>, class: Class, bytes: usize) -> Option<Held> {
        let mut held = Held::nothing(budget, class);
        held.resize(bytes).is_ok().then_some(held)
    }

    const MIB: usize = 1024 * 1024;

    #[test]
    fn visitors_get_half() {
        let budget = budget(4 * MIB, 2 * MIB);
        let visitor = hold(&budget, Class::Visitor, 2 * MIB).unwrap();
        assert!(hold(&budget, Class::Visitor, 1).is_none());
        assert!(budget.is_held_by_visitors(1));
        let known = hold(&budget, Class::Known, MIB).unwrap();
        let more = hold(&budget, Class::Known, SMALL_BYTES).unwrap();
        drop((known, more, visitor));
        let known = hold(&budget, Class::Known, 2 * MIB + SMALL_BYTES).unwrap();
        assert!(hold(&budget, Class::Visitor, 2 * MIB).is_none());
        assert!(!budget.is_held_by_visitors(2 * MIB), "others hold it");
        drop(known);
        hold(&budget, Class::Visitor, 2 * MIB).unwrap();
    }

    #[test]
    fn the_largest_finds_room_where_nothing_else_is_held() {
        for (limit, largest) in [(2 * MIB, MIB), (2 * MIB, 1024), (64 * MIB, MIB), (64 * MIB, 32 * MIB)] {
            let budget = budget(limit, largest);
            for class in [Class::Visitor, Class::Known] {
                hold(&budget, class, largest).unwrap_or_else(|| panic!("{limit} {largest} {class:?}"));
            }
        }
    }

    #[test]
    fn small_ones_find_room_longer() {
        let budget = budget(8 * MIB, MIB);
        let large: Vec<_> = std::iter::from_fn(|| hold(&budget, Class::Visitor, MIB)).take(100).collect();
        assert_eq!(large.len(), 3, "a quarter of the visitors' half is kept");
        let small: Vec<_> =
            std::iter::from_fn(|| hold(&budget, Class::Visitor, SMALL_BYTES)).take(1000).collect();
        assert!(small.len() > 50, "{}", small.len());
        // One that grows beyond is refused like any large one, and keeps what it has.
        let mut held = Held::nothing(&budget, Class::Known);
        held.resize(SMALL_BYTES).unwrap();
        held.resize(3 * MIB).unwrap();
        assert!(held.resize(8 * MIB).is_err());
        assert_eq!(held.bytes, 3 * MIB);
    }

    #[test]
    fn no_limit_is_none() {
        let budget = budget(usize::MAX, usize::MAX);
        let held: Vec<_> =
            (0..8).map(|_| hold(&budget, Class::Visitor, u32::MAX as usize).unwrap()).collect();
        drop(held);
    }

    #[tokio::test]
    async fn who_waits_goes_before_what_is_new() {
        let budget = budget(4 * MIB, MIB);
        let mut held = hold(&budget, Class::Known, 3 * MIB).unwrap();
        let mut waiting = pin!(Held::in_turn(&budget, Class::Known, MIB));
        assert!(waiting.as_mut().now_or_never().is_none());
        held.resize(3 * MIB - 64 * 1024).unwrap();
        assert!(hold(&budget, Class::Known, 32 * 1024).is_none(), "what is free is for the one that waits");
        held.resize(MIB).unwrap();
        waiting.now_or_never().expect("there is room");
        hold(&budget, Class::Known, 32 * 1024).unwrap();
    }

    #[tokio::test]
    async fn who_gives_up_waiting_leaves_nothing_behind() {
        let budget = budget(4 * MIB, MIB);
        for class in [Class::Visitor, Class::Known] {
            let held = hold(&budget, Class::Known, 3 * MIB).unwrap();
            assert!(Held::in_turn(&budget, class, MIB).now_or_never().is_none());
            drop(held);
            hold(&budget, Class::Visitor, 3 * MIB / 2).unwrap();
            hold(&budget, Class::Known, 3 * MIB).unwrap();
        }
    }

    #[test]
    fn fuzz_what_is_held_is_what_is_missing() {
        let class = prop_oneof![Just(Class::Visitor), Just(Class::Known)];
        let step = (0..4usize, class, prop_oneof![0..64 * 1024usize, 0..2 * MIB]);
        fuzz("budget", vec(step, 0..40), |steps| {
            let budget = budget(4 * MIB, MIB);
            let mut all: Vec<Option<Held>> = (0..4).map(|_| None).collect();
            for (place, class, bytes) in steps {
                let held = all[place].get_or_insert_with(|| Held::nothing(&budget, class));
                let before = held.bytes;
                let fits = held.resize(bytes).is_ok();
                assert_eq!(held.bytes, if fits { bytes } else { before });
                assert!(fits || bytes > before);
                if bytes == 0 {
                    all[place] = None;
                }
                let sum = |class: Option<Class>| -> usize {
                    let held = all.iter().flatten();
                    held.filter(|held| class.is_none_or(|class| held.class == class))
                        .map(|held| held.bytes)
                        .sum()
                };
                assert_eq!(budget.everybody.all.available_permits(), 4 * MIB - sum(None));
                assert_eq!(budget.visitors.all.available_permits(), 2 * MIB - sum(Some(Class::Visitor)));
            }
            all.clear();
            assert_eq!(budget.everybody.large.available_permits(), 3 * MIB);
            assert_eq!(budget.visitors.large.available_permits(), 3 * MIB / 2);
        });
    }
}
