//! Text on its way from a bot to whoever asked. A slow reader gets it in larger pieces, one that left costs nothing,
//! and neither holds the bot up.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The two ends. What waits between them is no longer than the bot's answer may be.
#[must_use]
pub fn channel() -> (Sender, Receiver) {
    let shared = Arc::new(Shared::default());
    (Sender(Arc::clone(&shared)), Receiver(shared))
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    waiting: String,
    /// One of the ends is gone.
    closed: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.state().closed = true;
        self.changed.notify_one();
    }
}

/// Where the text comes from; when it is dropped, the text is complete.
pub struct Sender(Arc<Shared>);

impl Sender {
    pub fn send(&self, text: &str) {
        let mut state = self.0.state();
        if !state.closed {
            state.waiting.push_str(text);
            drop(state);
            self.0.changed.notify_one();
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Where the text goes.
pub struct Receiver(Arc<Shared>);

impl Receiver {
    /// What has come since the last call, as soon as there is something; `None` when nothing will follow.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            let changed = self.0.changed.notified();
            if let Some(text) = self.take() {
                return Some(text).filter(|text| !text.is_empty());
            }
            changed.await;
        }
    }

    /// What waits; the empty text at the end.
    fn take(&self) -> Option<String> {
        let mut state = self.0.state();
        (state.closed || !state.waiting.is_empty()).then(|| std::mem::take(&mut state.waiting))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_slow_reader_gets_larger_pieces_and_misses_nothing() {
        let (sender, mut receiver) = channel();
        sender.send("a");
        assert_eq!(receiver.next().await.as_deref(), Some("a"));
        assert!(receiver.next().now_or_never().is_none());
        sender.send("b");
        sender.send("");
        sender.send("c");
        drop(sender);
        assert_eq!(receiver.next().await.as_deref(), Some("bc"));
        assert_eq!(receiver.next().await, None);
    }

    #[tokio::test]
    async fn a_reader_that_waits_is_woken() {
        let (sender, mut receiver) = channel();
        let reader = tokio::spawn(async move { (receiver.next().await, receiver.next().await) });
        tokio::task::yield_now().await;
        sender.send("a");
        tokio::task::yield_now().await;
        drop(sender);
        assert_eq!(reader.await.unwrap(), (Some("a".to_owned()), None));
    }

    #[test]
    fn nothing_is_kept_for_a_reader_that_left() {
        let (sender, receiver) = channel();
        drop(receiver);
        sender.send("a");
        assert!(sender.0.state().waiting.is_empty());
    }
}
