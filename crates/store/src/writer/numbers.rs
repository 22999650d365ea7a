//! The numbers of a node's batches. Each is taken when its batch is sent and settled when it is known what became of it.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

#[derive(Debug, Default)]
pub(super) struct Numbers {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    last: i64,
    unsettled: BTreeSet<i64>,
}

impl Numbers {
    pub fn take(&self) -> i64 {
        let mut state = self.lock();
        state.last += 1;
        let number = state.last;
        state.unsettled.insert(number);
        number
    }

    /// It is known whether the batch is committed.
    pub fn settle(&self, number: i64) {
        self.lock().unsettled.remove(&number);
        self.changed.notify_one();
    }

    /// The batch is known not to be committed, nor on its way: its number is free again where no later one was taken.
    pub fn give_back(&self, number: i64) {
        let mut state = self.lock();
        state.unsettled.remove(&number);
        if state.last == number {
            state.last -= 1;
        }
        drop(state);
        self.changed.notify_one();
    }

    /// The number up to which all are settled.
    pub fn settled(&self) -> i64 {
        let state = self.lock();
        state.unsettled.first().map_or(state.last, |first| first - 1)
    }

    /// Waits until more may be settled.
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
        let numbers = Numbers::default();
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
