//! The numbers of a node's batches on PostgreSQL: taken when the batch is sent, and settled when it is known whether
//! the batch is committed. The totals are folded up to the number before the first unsettled one.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

#[derive(Debug, Default)]
pub(super) struct UnsettledBatches {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    last: i64,
    unsettled: BTreeSet<i64>,
}

impl UnsettledBatches {
    pub fn take(&self) -> i64 {
        let mut state = self.lock();
        state.last += 1;
        let number = state.last;
        state.unsettled.insert(number);
        number
    }

    /// To be called when it is known whether the batch is committed.
    pub fn settle(&self, number: i64) {
        self.lock().unsettled.remove(&number);
        self.changed.notify_one();
    }

    /// To be called when the batch is neither committed nor on its way to the database. Its number can be taken again,
    /// unless a later one was taken.
    pub fn give_back(&self, number: i64) {
        let mut state = self.lock();
        state.unsettled.remove(&number);
        if state.last == number {
            state.last -= 1;
        }
        drop(state);
        self.changed.notify_one();
    }

    /// The number up to which all batches are settled.
    pub fn settled(&self) -> i64 {
        let state = self.lock();
        state.unsettled.first().map_or(state.last, |first| first - 1)
    }

    /// Waits until [`UnsettledBatches::settled`] may have grown.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_settled_once_all_before_it_are() {
        let numbers = UnsettledBatches::default();
        let [first, second, third] = [numbers.take(), numbers.take(), numbers.take()];
        assert_eq!((first, second, third, numbers.settled()), (1, 2, 3, 0));
        numbers.settle(second);
        assert_eq!(numbers.settled(), 0);
        numbers.settle(first);
        assert_eq!(numbers.settled(), 2);
        numbers.give_back(third);
        assert_eq!((numbers.settled(), numbers.take()), (2, 3));
    }
}
