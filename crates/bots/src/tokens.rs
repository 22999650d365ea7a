//! A channel for a bot's text and for control messages of the task that asks the bot, in one order.
//!
//! Sending never waits. Text that waits is merged, so that a slow receiver gets fewer and longer texts, and what is sent
//! after the receiver was dropped is discarded.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Takes a bot's text as it arrives, without waiting.
pub trait Sink: Sync {
    fn send(&self, text: &str);
}

/// One received item.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<T> {
    /// All text that was sent since the previous event.
    Text(String),
    /// A message of [`Sender::send_control`].
    Control(T),
}

/// A channel without a capacity of its own: a bot's `max_answer_bytes` bounds the text that can wait in it.
#[must_use]
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared { state: Mutex::new(State::default()), changed: Notify::new() });
    (Sender(Arc::clone(&shared)), Receiver(shared))
}

struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Notify,
}

struct State<T> {
    queue: VecDeque<Event<T>>,
    /// The sender or the receiver was dropped.
    closed: bool,
}

impl<T> Default for State<T> {
    fn default() -> Self {
        Self { queue: VecDeque::new(), closed: false }
    }
}

impl<T> Shared<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        // A poisoned state is valid: no code that holds the lock panics between two changes of it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.state().closed = true;
        self.changed.notify_one();
    }
}

/// The task's end. Dropping it closes the channel: the receiver gets what is queued, then `None`.
pub struct Sender<T>(Arc<Shared<T>>);

impl<T> Sender<T> {
    /// Queues a control message behind all text that was sent before it.
    pub fn send_control(&self, message: T) {
        let mut state = self.0.state();
        if !state.closed {
            state.queue.push_back(Event::Control(message));
            drop(state);
            self.0.changed.notify_one();
        }
    }
}

impl<T: Send> Sink for Sender<T> {
    fn send(&self, text: &str) {
        let mut state = self.0.state();
        if state.closed || text.is_empty() {
            return;
        }
        match state.queue.back_mut() {
            Some(Event::Text(queued)) => queued.push_str(text),
            _ => state.queue.push_back(Event::Text(text.to_owned())),
        }
        drop(state);
        self.0.changed.notify_one();
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The reader's end. Dropping it discards what is queued and what is still sent.
pub struct Receiver<T>(Arc<Shared<T>>);

impl<T> Receiver<T> {
    /// Waits for the next event; `None` once the sender was dropped and the queue is empty.
    pub async fn next(&mut self) -> Option<Event<T>> {
        loop {
            let changed = self.0.changed.notified();
            {
                let mut state = self.0.state();
                match state.queue.pop_front() {
                    None if state.closed => return None,
                    None => {}
                    event => return event,
                }
            }
            changed.await;
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.closed = true;
        state.queue.clear();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn text<T>(text: &str) -> Option<Event<T>> {
        Some(Event::Text(text.to_owned()))
    }

    #[tokio::test]
    async fn a_slow_reader_gets_longer_texts_and_misses_nothing() {
        let (sender, mut receiver) = channel();
        sender.send("a");
        assert_eq!(receiver.next().await, text("a"));
        assert!(receiver.next().now_or_never().is_none());
        sender.send("b");
        sender.send("");
        sender.send("c");
        sender.send_control(1);
        sender.send("d");
        drop(sender);
        assert_eq!(receiver.next().await, text("bc"));
        assert_eq!(receiver.next().await, Some(Event::Control(1)));
        assert_eq!(receiver.next().await, text("d"));
        assert_eq!(receiver.next().await, None);
    }

    #[tokio::test]
    async fn a_reader_that_waits_is_woken() {
        let (sender, mut receiver) = channel::<()>();
        let reader = tokio::spawn(async move { (receiver.next().await, receiver.next().await) });
        tokio::task::yield_now().await;
        sender.send("a");
        tokio::task::yield_now().await;
        drop(sender);
        assert_eq!(reader.await.unwrap(), (text("a"), None));
    }

    #[test]
    fn nothing_is_kept_for_a_reader_that_left() {
        let (sender, receiver) = channel();
        sender.send("a");
        drop(receiver);
        sender.send("b");
        sender.send_control(1);
        assert!(sender.0.state().queue.is_empty());
    }
}
