//! The newest events, in memory with their content: what a stream shows that follows the feed, and a stream that was away
//! for a moment.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use wicara_model::{Change, ConversationId, EventNumber};

use super::event::FeedEvent;

/// Bytes of events and their content that are kept.
const MAX_BYTES: usize = 64 * 1024 * 1024;
const MAX_AGE: Duration = Duration::from_secs(5 * 60);

/// The events after `start`, up to `head`.
#[derive(Debug)]
pub struct Recent {
    events: VecDeque<(Instant, Arc<FeedEvent>)>,
    bytes: usize,
    start: EventNumber,
    head: EventNumber,
}

impl Recent {
    pub fn empty(head: EventNumber) -> Self {
        Self { events: VecDeque::new(), bytes: 0, start: head, head }
    }

    pub fn head(&self) -> EventNumber {
        self.head
    }

    /// Adds the next events; `reached`: the number up to which they are complete.
    pub fn push(&mut self, events: &[Arc<FeedEvent>], reached: EventNumber) {
        self.forget_content(events);
        let now = Instant::now();
        for event in events {
            self.bytes += event.bytes();
            self.events.push_back((now, Arc::clone(event)));
        }
        self.head = reached;
        while let Some((at, event)) = self.events.front()
            && (self.bytes > MAX_BYTES || now.duration_since(*at) > MAX_AGE)
        {
            self.start = event.event.number;
            self.bytes = self.bytes.saturating_sub(event.bytes());
            self.events.pop_front();
        }
    }

    /// The events after a number, at most `limit`; `None` where some are not kept any more.
    pub fn after(&self, number: EventNumber) -> Option<impl Iterator<Item = &Arc<FeedEvent>>> {
        if number < self.start {
            return None;
        }
        let first = self.events.partition_point(|(_, event)| event.event.number <= number);
        Some(self.events.range(first..).map(|(_, event)| event))
    }

    /// Drops the content of earlier events whose readers may have changed, and of what was deleted: it is read again when
    /// it is shown.
    fn forget_content(&mut self, events: &[Arc<FeedEvent>]) {
        let changes_readers = |change: &Change| match change {
            Change::ConversationDeleted { .. } | Change::MessageDeleted { .. } => true,
            Change::ConversationUpdated { bot_before, bot_id, .. } => bot_before != bot_id,
            Change::MessageUpdated { .. } => true,
            _ => false,
        };
        let changes = events.iter().map(|event| &event.event.change);
        let changed: HashSet<ConversationId> =
            changes.filter(|change| changes_readers(change)).filter_map(Change::conversation).collect();
        if changed.is_empty() {
            return;
        }
        for (_, event) in &mut self.events {
            let of = event.event.change.conversation();
            if event.is_loaded() && of.is_some_and(|id| changed.contains(&id)) {
                self.bytes = self.bytes.saturating_sub(event.bytes());
                *event = FeedEvent::new(event.event.clone());
                self.bytes += event.bytes();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use wicara_model::{Event, MessageId, Timestamp};

    use super::super::event::FeedContent;
    use super::*;

    fn event(number: i64, change: Change) -> Arc<FeedEvent> {
        let event = FeedEvent::new(Event { number: EventNumber(number), at: Timestamp(0), change });
        event.load(FeedContent::default());
        event
    }

    fn created(number: i64, conversation: i64) -> Arc<FeedEvent> {
        let (id, conversation_id) = (MessageId(number), ConversationId(conversation));
        event(number, Change::MessageCreated { id, conversation_id, bot_id: "a".into(), is_shown: true })
    }

    #[test]
    fn what_is_kept_follows_a_number_without_gaps() {
        let mut recent = Recent::empty(EventNumber(4));
        recent.push(&[created(5, 1), created(7, 1)], EventNumber(8));
        let after = |number| recent.after(EventNumber(number)).map(|events| events.count());
        assert_eq!([3, 4, 5, 6, 7, 8].map(after), [None, Some(2), Some(1), Some(1), Some(0), Some(0)]);
        assert_eq!(recent.head(), EventNumber(8));
    }

    #[test]
    fn content_is_forgotten_where_its_readers_may_have_changed() {
        let mut recent = Recent::empty(EventNumber(0));
        recent.push(&[created(1, 1), created(2, 2)], EventNumber(2));
        let id = ConversationId(1);
        let moved = Change::ConversationUpdated { id, bot_before: "a".into(), bot_id: "b".into() };
        recent.push(&[event(3, moved)], EventNumber(3));
        let loaded = recent.after(EventNumber(0)).unwrap().map(|event| event.is_loaded());
        assert_eq!(loaded.collect::<Vec<_>>(), [false, true, true]);
    }
}
