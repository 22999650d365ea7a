//! Text on its way from a bot to its reader, and what the task that asks the bot says beside it, in one order. A slow
//! reader gets the text in larger pieces, one that left costs nothing, and neither holds the bot up.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Takes a bot's text as it comes.
pub trait Sink: Sync {
    fn send(&self, text: &str);
}

/// What comes out at the other end.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<T> {
    /// All text since the event before.
    Text(String),
    Said(T),
}

/// The two ends. The text that waits between them is no longer than the bot's answer may be.
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
    waiting: VecDeque<Event<T>>,
    /// One of the ends is gone.
    closed: bool,
}

impl<T> Default for State<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), closed: false }
    }
}

impl<T> Shared<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        // Nothing in here panics half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.state().closed = true;
        self.changed.notify_one();
    }
}

/// The end of the task; when it is dropped, nothing follows.
pub struct Sender<T>(Arc<Shared<T>>);

impl<T> Sender<T> {
    pub fn say(&self, said: T) {
        let mut state = self.0.state();
        if !state.closed {
            state.waiting.push_back(Event::Said(said));
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
        match state.waiting.back_mut() {
            Some(Event::Text(waiting)) => waiting.push_str(text),
            _ => state.waiting.push_back(Event::Text(text.to_owned())),
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

/// The reader's end.
pub struct Receiver<T>(Arc<Shared<T>>);

impl<T> Receiver<T> {
    /// The next event, as soon as there is one; `None` when nothing will follow.
    pub async fn next(&mut self) -> Option<Event<T>> {
        loop {
            let changed = self.0.changed.notified();
            {
                let mut state = self.0.state();
                match state.waiting.pop_front() {
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
        state.waiting.clear();
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
    async fn a_slow_reader_gets_larger_pieces_and_misses_nothing() {
        let (sender, mut receiver) = channel();
        sender.send("a");
        assert_eq!(receiver.next().await, text("a"));
        assert!(receiver.next().now_or_never().is_none());
        sender.send("b");
        sender.send("");
        sender.send("c");
        sender.say(1);
        sender.send("d");
        drop(sender);
        assert_eq!(receiver.next().await, text("bc"));
        assert_eq!(receiver.next().await, Some(Event::Said(1)));
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
        sender.say(1);
        assert!(sender.0.state().waiting.is_empty());
    }
}
