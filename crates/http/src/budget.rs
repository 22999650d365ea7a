//! A memory budget: the bytes reserved for all clients together have a limit, whatever the number of connections.
//!
//! Visitors share half of it, so that strangers cannot lock out people and programs. A quarter of each pool is kept for
//! the first [`SMALL_BYTES`] of every reservation: a few large ones that are slow to finish cannot lock out the many
//! small ones, such as ordinary questions.

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};
use wicara_metrics::BudgetMetric;

/// The first bytes of a body or a response may use the whole pool, the bytes after them only three quarters of it.
const SMALL_BYTES: usize = 16 * 1024;

/// The group of callers that a reservation counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallerClass {
    /// Callers without credentials, and those that are logging in.
    Visitor,
    /// People and programs.
    Authenticated,
}

/// Bytes that may be reserved at once.
pub struct Budget {
    all_callers: Pool,
    visitors: Pool,
    metric: BudgetMetric,
}

/// Semaphores with a permit for each byte.
struct Pool {
    limit: usize,
    all: Semaphore,
    /// For bytes beyond the first [`SMALL_BYTES`] of a reservation, beside their permits from `all`.
    large: Semaphore,
}

impl Pool {
    /// `largest`: a reservation of this size succeeds while there is no other.
    fn new(limit: usize, largest: usize) -> Self {
        let limit = limit.min(Semaphore::MAX_PERMITS);
        let kept_for_small = (limit / 4).min(limit.saturating_sub(largest));
        Self { limit, all: Semaphore::new(limit), large: Semaphore::new(limit - kept_for_small) }
    }
}

impl Budget {
    /// `limit`: bytes for all callers; `usize::MAX` is no limit. `largest`: bytes of the largest reservation.
    #[must_use]
    pub fn new(limit: usize, largest: usize, metric: BudgetMetric) -> Self {
        Self { all_callers: Pool::new(limit, largest), visitors: Pool::new(limit / 2, largest), metric }
    }

    /// Bytes that a class may reserve at most.
    #[must_use]
    pub fn limit(&self, class: CallerClass) -> usize {
        match class {
            CallerClass::Visitor => self.visitors.limit,
            CallerClass::Authenticated => self.all_callers.limit,
        }
    }

    /// Whether the visitors' pool has too few bytes left for `bytes` more.
    #[must_use]
    pub fn is_exhausted_by_visitors(&self, bytes: usize) -> bool {
        let Pool { all, large, .. } = &self.visitors;
        all.available_permits() < bytes || large.available_permits() < bytes.saturating_sub(SMALL_BYTES)
    }

    /// Bytes that are left for a class in small reservations.
    #[cfg(test)]
    pub fn left(&self, class: CallerClass) -> usize {
        let all = |pool: &Pool| pool.all.available_permits();
        match class {
            CallerClass::Visitor => all(&self.visitors).min(all(&self.all_callers)),
            CallerClass::Authenticated => all(&self.all_callers),
        }
    }

    /// The semaphores, with the permits of each, that `bytes` more need beside `reserved` ones. The visitors' pool
    /// comes first: a visitor that waits there holds no permit of all callers.
    fn permits_for(
        &self,
        class: CallerClass,
        reserved: usize,
        bytes: usize,
    ) -> impl Iterator<Item = (&Semaphore, usize)> {
        let visitors = Some(&self.visitors).filter(|_| class == CallerClass::Visitor);
        let large = (reserved + bytes).saturating_sub(SMALL_BYTES) - reserved.saturating_sub(SMALL_BYTES);
        visitors
            .into_iter()
            .chain([&self.all_callers])
            .flat_map(move |pool| [(&pool.large, large), (&pool.all, bytes)])
    }

    /// Takes all permits or none, and says whether it did. It never overtakes a queued reservation.
    fn try_reserve(&self, class: CallerClass, reserved: usize, bytes: usize) -> bool {
        let mut permits: [Option<SemaphorePermit<'_>>; 4] = [const { None }; 4];
        for (permit, (semaphore, bytes)) in permits.iter_mut().zip(self.permits_for(class, reserved, bytes)) {
            let taken = u32::try_from(bytes).ok().and_then(|bytes| semaphore.try_acquire_many(bytes).ok());
            if taken.is_none() {
                return false;
            }
            *permit = taken;
        }
        permits.into_iter().flatten().for_each(SemaphorePermit::forget);
        self.metric.taken(bytes);
        true
    }

    /// Waits in the semaphores' queues for the permits.
    async fn reserve(&self, class: CallerClass, bytes: usize) {
        let mut permits: [Option<SemaphorePermit<'_>>; 4] = [const { None }; 4];
        for (permit, (semaphore, bytes)) in permits.iter_mut().zip(self.permits_for(class, 0, bytes)) {
            let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            *permit = Some(semaphore.acquire_many(bytes).await.expect("nobody closes the semaphore"));
        }
        permits.into_iter().flatten().for_each(SemaphorePermit::forget);
        self.metric.taken(bytes);
    }

    fn release(&self, class: CallerClass, left: usize, bytes: usize) {
        self.permits_for(class, left, bytes).for_each(|(semaphore, bytes)| semaphore.add_permits(bytes));
        self.metric.given_back(bytes);
    }
}

/// The budget has too few bytes left.
#[derive(Debug)]
pub struct BudgetExceeded;

/// Reserved bytes; dropping it releases them.
pub struct Reservation {
    budget: Arc<Budget>,
    class: CallerClass,
    bytes: usize,
}

impl Reservation {
    /// Of no bytes yet.
    #[must_use]
    pub fn empty(budget: &Arc<Budget>, class: CallerClass) -> Self {
        Self { budget: Arc::clone(budget), class, bytes: 0 }
    }

    /// Waits in a queue until the bytes are available; for more bytes than the class' limit it would wait for ever.
    pub async fn queued(budget: &Arc<Budget>, class: CallerClass, bytes: usize) -> Self {
        budget.reserve(class, bytes).await;
        Self { budget: Arc::clone(budget), class, bytes }
    }

    /// Changes the reservation to `bytes` in all. Shrinking always succeeds; on an error the size stays.
    pub fn resize(&mut self, bytes: usize) -> Result<(), BudgetExceeded> {
        if bytes < self.bytes {
            self.budget.release(self.class, bytes, self.bytes - bytes);
        } else if !self.budget.try_reserve(self.class, self.bytes, bytes - self.bytes) {
            self.budget.metric.refused();
            return Err(BudgetExceeded);
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.release(self.class, 0, self.bytes);
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

    fn reserved(budget: &Arc<Budget>, class: CallerClass, bytes: usize) -> Option<Reservation> {
        let mut held = Reservation::empty(budget, class);
        held.resize(bytes).is_ok().then_some(held)
    }

    const MIB: usize = 1024 * 1024;

    #[test]
    fn visitors_get_half() {
        let budget = budget(4 * MIB, 2 * MIB);
        let visitor = reserved(&budget, CallerClass::Visitor, 2 * MIB).unwrap();
        assert!(reserved(&budget, CallerClass::Visitor, 1).is_none());
        assert!(budget.is_exhausted_by_visitors(1));
        let known = reserved(&budget, CallerClass::Authenticated, MIB).unwrap();
        let more = reserved(&budget, CallerClass::Authenticated, SMALL_BYTES).unwrap();
        drop((known, more, visitor));
        let known = reserved(&budget, CallerClass::Authenticated, 2 * MIB + SMALL_BYTES).unwrap();
        assert!(reserved(&budget, CallerClass::Visitor, 2 * MIB).is_none());
        assert!(!budget.is_exhausted_by_visitors(2 * MIB), "others hold it");
        drop(known);
        reserved(&budget, CallerClass::Visitor, 2 * MIB).unwrap();
    }

    #[test]
    fn the_largest_finds_room_where_nothing_else_is_held() {
        for (limit, largest) in [(2 * MIB, MIB), (2 * MIB, 1024), (64 * MIB, MIB), (64 * MIB, 32 * MIB)] {
            let budget = budget(limit, largest);
            for class in [CallerClass::Visitor, CallerClass::Authenticated] {
                reserved(&budget, class, largest).unwrap_or_else(|| panic!("{limit} {largest} {class:?}"));
            }
        }
    }

    #[test]
    fn small_ones_find_room_longer() {
        let budget = budget(8 * MIB, MIB);
        let large: Vec<_> =
            std::iter::from_fn(|| reserved(&budget, CallerClass::Visitor, MIB)).take(100).collect();
        assert_eq!(large.len(), 3, "a quarter of the visitors' half is kept");
        let small: Vec<_> =
            std::iter::from_fn(|| reserved(&budget, CallerClass::Visitor, SMALL_BYTES)).take(1000).collect();
        assert!(small.len() > 50, "{}", small.len());
        // A small one that grows large is refused like any large one, and keeps its size.
        let mut held = Reservation::empty(&budget, CallerClass::Authenticated);
        held.resize(SMALL_BYTES).unwrap();
        held.resize(3 * MIB).unwrap();
        assert!(held.resize(8 * MIB).is_err());
        assert_eq!(held.bytes, 3 * MIB);
    }

    #[test]
    fn no_limit_is_none() {
        let budget = budget(usize::MAX, usize::MAX);
        let held: Vec<_> =
            (0..8).map(|_| reserved(&budget, CallerClass::Visitor, u32::MAX as usize).unwrap()).collect();
        drop(held);
    }

    #[tokio::test]
    async fn who_waits_goes_before_what_is_new() {
        let budget = budget(4 * MIB, MIB);
        let mut held = reserved(&budget, CallerClass::Authenticated, 3 * MIB).unwrap();
        let mut waiting = pin!(Reservation::queued(&budget, CallerClass::Authenticated, MIB));
        assert!(waiting.as_mut().now_or_never().is_none());
        held.resize(3 * MIB - 64 * 1024).unwrap();
        assert!(
            reserved(&budget, CallerClass::Authenticated, 32 * 1024).is_none(),
            "what is free is for the one that waits"
        );
        held.resize(MIB).unwrap();
        waiting.now_or_never().expect("there is room");
        reserved(&budget, CallerClass::Authenticated, 32 * 1024).unwrap();
    }

    #[tokio::test]
    async fn who_gives_up_waiting_leaves_nothing_behind() {
        let budget = budget(4 * MIB, MIB);
        for class in [CallerClass::Visitor, CallerClass::Authenticated] {
            let held = reserved(&budget, CallerClass::Authenticated, 3 * MIB).unwrap();
            assert!(Reservation::queued(&budget, class, MIB).now_or_never().is_none());
            drop(held);
            reserved(&budget, CallerClass::Visitor, 3 * MIB / 2).unwrap();
            reserved(&budget, CallerClass::Authenticated, 3 * MIB).unwrap();
        }
    }

    #[test]
    fn fuzz_what_is_held_is_what_is_missing() {
        let class = prop_oneof![Just(CallerClass::Visitor), Just(CallerClass::Authenticated)];
        let step = (0..4usize, class, prop_oneof![0..64 * 1024usize, 0..2 * MIB]);
        fuzz("budget", vec(step, 0..40), |steps| {
            let budget = budget(4 * MIB, MIB);
            let mut all: Vec<Option<Reservation>> = (0..4).map(|_| None).collect();
            for (index, class, bytes) in steps {
                let held = all[index].get_or_insert_with(|| Reservation::empty(&budget, class));
                let before = held.bytes;
                let fits = held.resize(bytes).is_ok();
                assert_eq!(held.bytes, if fits { bytes } else { before });
                assert!(fits || bytes > before);
                if bytes == 0 {
                    all[index] = None;
                }
                let sum = |class: Option<CallerClass>| -> usize {
                    let held = all.iter().flatten();
                    held.filter(|held| class.is_none_or(|class| held.class == class))
                        .map(|held| held.bytes)
                        .sum()
                };
                assert_eq!(budget.all_callers.all.available_permits(), 4 * MIB - sum(None));
                assert_eq!(
                    budget.visitors.all.available_permits(),
                    2 * MIB - sum(Some(CallerClass::Visitor))
                );
            }
            all.clear();
            assert_eq!(budget.all_callers.large.available_permits(), 3 * MIB);
            assert_eq!(budget.visitors.large.available_permits(), 3 * MIB / 2);
        });
    }
}
