//! The streams that wait for events, and how they are woken: by what concerns them, and by one clock for all heartbeats.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use wicara_model::{ConversationId, EventNumber};

use super::event::FeedEvent;
use super::view::FeedView;

/// Between two heartbeats of a stream.
pub const HEARTBEAT: Duration = Duration::from_secs(15);
/// Bytes of events that may wait for a reader before it is cut off.
const MAX_WAITING_BYTES: usize = 256 * 1024;

/// Ends a connection whose client does not read.
pub trait CutOff: Send + Sync {
    fn cut_off(&self);
}

/// What a stream was woken for.
pub mod signal {
    /// Live events of a conversation that it shows.
    pub const LIVE: u8 = 1;
    pub const HEARTBEAT: u8 = 2;
    /// The rights of its reader may have ended.
    pub const ACCESS: u8 = 4;
    pub const CLOSE: u8 = 8;
}

/// No event waits.
const NONE: i64 = i64::MAX;

/// A stream that follows the feed.
pub struct Waiter {
    view: FeedView,
    /// The first event since its last look that it may show.
    first: AtomicI64,
    waiting_bytes: AtomicUsize,
    /// Too much waited for it a second ago, and it has not looked since.
    is_behind: AtomicBool,
    signals: AtomicU8,
    /// Nothing is shown until the database can say again who reads.
    is_held: AtomicBool,
    waker: AtomicWaker,
    cut: Option<Arc<dyn CutOff>>,
}

impl Waiter {
    fn notify(&self, event: &FeedEvent) {
        self.first.fetch_min(event.event.number.0, Ordering::AcqRel);
        self.waiting_bytes.fetch_add(event.sent_bytes(), Ordering::Relaxed);
    }

    pub fn signal(&self, signal: u8) {
        if self.signals.fetch_or(signal, Ordering::AcqRel) & signal == 0 {
            self.waker.wake();
        }
    }

    /// Waits with these signals, and whatever comes, until [`Self::release`].
    pub fn hold(&self, signals: u8) {
        self.signals.fetch_or(signals, Ordering::AcqRel);
        self.is_held.store(true, Ordering::Release);
    }

    fn release(&self) {
        if self.is_held.swap(false, Ordering::AcqRel) {
            self.waker.wake();
        }
    }

    pub fn take_signals(&self) -> u8 {
        self.signals.swap(0, Ordering::AcqRel)
    }

    /// The first event that waits.
    pub fn take_first(&self) -> Option<EventNumber> {
        self.waiting_bytes.store(0, Ordering::Relaxed);
        self.is_behind.store(false, Ordering::Relaxed);
        let first = self.first.swap(NONE, Ordering::AcqRel);
        (first != NONE).then_some(EventNumber(first))
    }

    pub fn has_waiting(&self) -> bool {
        self.first.load(Ordering::Acquire) != NONE
    }

    /// Puts an event back that did not fit into one step.
    pub fn put_back(&self, first: EventNumber) {
        self.first.fetch_min(first.0, Ordering::AcqRel);
    }

    pub fn poll(&self, context: &Context<'_>) -> Poll<()> {
        self.waker.register(context.waker());
        let signals = self.signals.load(Ordering::Acquire);
        let is_held = self.is_held.load(Ordering::Acquire) && signals & signal::CLOSE == 0;
        let waits = !self.has_waiting() && signals == 0;
        if waits || is_held { Poll::Pending } else { Poll::Ready(()) }
    }
}

/// All streams of this node.
#[derive(Default)]
pub struct Waiters {
    /// By their number.
    streams: HashMap<u64, Arc<Waiter>>,
    by_conversation: HashMap<ConversationId, Vec<u64>>,
    /// Those that are narrowed to no conversation.
    of_all: Vec<u64>,
    next: u64,
}

impl Waiters {
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    pub fn len(&self) -> usize {
        self.streams.len()
    }

    /// `first`: the first event that it has not seen, where there is one.
    pub fn add(
        &mut self,
        view: FeedView,
        cut: Option<Arc<dyn CutOff>>,
        first: Option<EventNumber>,
    ) -> (u64, Arc<Waiter>) {
        let number = self.next;
        self.next += 1;
        let waiter = Arc::new(Waiter {
            first: AtomicI64::new(first.map_or(NONE, |first| first.0)),
            waiting_bytes: AtomicUsize::new(0),
            is_behind: AtomicBool::new(false),
            // Nobody has told it of rights that ended before.
            signals: AtomicU8::new(signal::ACCESS | if view.wants_live() { signal::LIVE } else { 0 }),
            is_held: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            view,
            cut,
        });
        if waiter.view.conversations().is_empty() {
            self.of_all.push(number);
        }
        for &id in waiter.view.conversations() {
            self.by_conversation.entry(id).or_default().push(number);
        }
        self.streams.insert(number, Arc::clone(&waiter));
        (number, waiter)
    }

    pub fn remove(&mut self, number: u64) {
        let Some(waiter) = self.streams.remove(&number) else { return };
        if waiter.view.conversations().is_empty() {
            self.of_all.retain(|of_all| *of_all != number);
        }
        for id in waiter.view.conversations() {
            if let Some(streams) = self.by_conversation.get_mut(id) {
                streams.retain(|stream| *stream != number);
                if streams.is_empty() {
                    self.by_conversation.remove(id);
                }
            }
        }
    }

    fn interested(&self, conversation: Option<ConversationId>) -> impl Iterator<Item = &Arc<Waiter>> {
        let named = conversation.and_then(|id| self.by_conversation.get(&id));
        self.of_all.iter().chain(named.into_iter().flatten()).filter_map(|number| self.streams.get(number))
    }

    /// Whether any stream may show the event.
    pub fn any_shows(&self, event: &FeedEvent) -> bool {
        let change = &event.event.change;
        self.interested(change.conversation()).any(|waiter| waiter.view.may_show(change))
    }

    /// Tells the streams that may show the event; returns those that have to be woken.
    pub fn notify(&self, event: &FeedEvent, woken: &mut Vec<Arc<Waiter>>) {
        let change = &event.event.change;
        for waiter in self.interested(change.conversation()) {
            if waiter.view.may_show(change) {
                waiter.notify(event);
                woken.push(Arc::clone(waiter));
            }
        }
    }

    /// Tells the streams that show live events of a conversation.
    pub fn signal_live(&self, conversation: ConversationId) {
        for waiter in self.interested(Some(conversation)) {
            if waiter.view.wants_live() {
                waiter.signal(signal::LIVE);
            }
        }
    }

    /// Tells the streams of a person or a program.
    pub fn signal_access(&self, reader: &str) {
        for waiter in self.streams.values() {
            if waiter.view.reader().as_deref() == Some(reader) {
                waiter.signal(signal::ACCESS);
            }
        }
    }

    /// Sends the heartbeats of one second, and cuts readers off for whom too much has waited since the second before: much
    /// may also come at once. `second`: counts up. `is_verified`: whether it is known who reads.
    pub fn tick(&self, second: u64, is_verified: bool) -> usize {
        let mut cut = 0;
        for (number, waiter) in &self.streams {
            if is_verified {
                waiter.release();
            }
            let waits_much = waiter.waiting_bytes.load(Ordering::Relaxed) > MAX_WAITING_BYTES;
            if waits_much && waiter.is_behind.swap(true, Ordering::Relaxed) {
                cut += 1;
                waiter.signal(signal::CLOSE);
                if let Some(connection) = &waiter.cut {
                    connection.cut_off();
                }
            } else if !waits_much && (number + second).is_multiple_of(HEARTBEAT.as_secs()) {
                waiter.signal(signal::HEARTBEAT);
            }
        }
        cut
    }

    /// Ends a part of the streams: those whose number has this rest.
    pub fn close(&self, part: u64, parts: u64) {
        for (number, waiter) in &self.streams {
            if number % parts == part {
                waiter.signal(signal::CLOSE);
            }
        }
    }
}

/// Wakes streams that were told of an event.
pub fn wake(woken: Vec<Arc<Waiter>>) {
    for waiter in woken {
        waiter.waker.wake();
    }
}
