//! Events from before those in memory, for streams that come back from far behind. They are read by one stream at a time, for
//! all that wait.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wicara_model::EventNumber;
use wicara_store::{EventPage, EventsOf, Store};

use super::event::FeedEvent;
use crate::Result;

/// Ranges that are kept for other streams at the same place.
const MAX_RANGES: usize = 8;
/// Bytes of their events and of the content that streams have read; one range may have more.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// All events after `after`, up to `reached`.
#[derive(Debug)]
pub struct OlderRange {
    after: EventNumber,
    pub reached: EventNumber,
    events: Vec<Arc<FeedEvent>>,
}

impl OlderRange {
    fn new(after: EventNumber, page: EventPage) -> Arc<Self> {
        let events = page.events.into_iter().map(FeedEvent::new).collect();
        Arc::new(Self { after: after.max(page.dropped), reached: page.reached, events })
    }

    /// Whether no event right after the number has been dropped.
    pub fn is_complete_after(&self, number: EventNumber) -> bool {
        self.after <= number
    }

    fn holds(&self, after: EventNumber) -> bool {
        self.is_complete_after(after) && after < self.reached
    }

    pub fn after(&self, number: EventNumber) -> impl Iterator<Item = &Arc<FeedEvent>> {
        let first = self.events.partition_point(|event| event.event.number <= number);
        self.events[first..].iter()
    }

    fn bytes(&self) -> usize {
        self.events.iter().map(|event| event.bytes()).sum()
    }
}

/// The ranges that were read last.
#[derive(Debug, Default)]
pub struct Older {
    ranges: Mutex<VecDeque<Arc<OlderRange>>>,
    /// Held while a range is read: streams that wait for it find it then.
    reading: tokio::sync::Mutex<()>,
}

impl Older {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<OlderRange>>> {
        self.ranges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The range with the events after a number.
    pub async fn read(&self, store: &Store, after: EventNumber) -> Result<Arc<OlderRange>> {
        let _reading = self.reading.lock().await;
        let known = self.lock().iter().find(|range| range.holds(after)).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let range = OlderRange::new(after, store.event_list(after, EventsOf::All).await?);
        self.lock().push_back(Arc::clone(&range));
        self.trim();
        Ok(range)
    }

    /// Drops the oldest ranges while all together hold too much; content that streams have read counts.
    pub fn trim(&self) {
        let mut ranges = self.lock();
        let mut bytes: usize = ranges.iter().map(|range| range.bytes()).sum();
        while ranges.len() > 1
            && (bytes > MAX_BYTES || ranges.len() > MAX_RANGES)
            && let Some(dropped) = ranges.pop_front()
        {
            bytes -= dropped.bytes();
        }
    }

    /// Forgets what was read: its readers may have changed, or it is deleted.
    pub fn clear(&self) {
        self.lock().clear();
    }
}
