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

#[derive(Debug)]
struct Kept {
    since: Instant,
    event: Arc<FeedEvent>,
    /// What it counts for in the sum: its content may be read later.
    bytes: usize,
}

/// The events after `start`, up to `head`.
#[derive(Debug)]
pub struct Recent {
    events: VecDeque<Kept>,
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

    /// Adds the next events; `reached`: the number up to which they are complete. Whether content that was read before
    /// must not be shown any more.
    pub fn push(&mut self, events: &[Arc<FeedEvent>], reached: EventNumber) -> bool {
        let has_forgotten = self.forget_content(events);
        let now = Instant::now();
        for event in events {
            let kept = Kept { since: now, event: Arc::clone(event), bytes: event.bytes() };
            self.bytes += kept.bytes;
            self.events.push_back(kept);
        }
        self.head = reached;
        self.drop_old(now);
        has_forgotten
    }

    fn drop_old(&mut self, now: Instant) {
        while let Some(oldest) = self.events.front()
            && (self.bytes > MAX_BYTES || now.duration_since(oldest.since) > MAX_AGE)
        {
            self.start = oldest.event.event.number;
            self.bytes -= oldest.bytes;
            self.events.pop_front();
        }
    }

    fn first_after(&self, number: EventNumber) -> usize {
        self.events.partition_point(|kept| kept.event.event.number <= number)
    }

    /// Counts these events, whose content was read, for what they take now.
    pub fn count_again(&mut self, events: &[Arc<FeedEvent>]) {
        for event in events {
            let index = self.first_after(event.event.number.before());
            if let Some(kept) = self.events.get_mut(index)
                && Arc::ptr_eq(&kept.event, event)
            {
                self.bytes = self.bytes - kept.bytes + event.bytes();
                kept.bytes = event.bytes();
            }
        }
        self.drop_old(Instant::now());
    }

    /// The events after a number; `None` where some are not kept any more.
    pub fn after(&self, number: EventNumber) -> Option<impl Iterator<Item = &Arc<FeedEvent>>> {
        if number < self.start {
            return None;
        }
        Some(self.events.range(self.first_after(number)..).map(|kept| &kept.event))
    }

    /// Drops the content of earlier events whose readers may have changed, and of what was deleted: it is read again when
    /// it is shown. Whether there was such a change.
    fn forget_content(&mut self, events: &[Arc<FeedEvent>]) -> bool {
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
            return false;
        }
        for kept in &mut self.events {
            let of = kept.event.event.change.conversation();
            // Also where it is being read just now: that copy is not kept.
            if of.is_some_and(|id| changed.contains(&id)) {
                kept.event = FeedEvent::new(kept.event.event.clone());
                self.bytes = self.bytes - kept.bytes + kept.event.bytes();
                kept.bytes = kept.event.bytes();
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use wicara_model::{Event, Message, MessageId, Timestamp};

    use super::super::event::FeedContent;
    use super::*;

    fn event(number: i64, change: Change) -> Arc<FeedEvent> {
        let event = FeedEvent::new(Event { number: EventNumber(number), at: Timestamp(0), change });
        event.load(FeedContent::default());
        event
    }

    fn message(bytes: usize) -> Message {
        Message {
            id: MessageId(1),
            conversation_id: ConversationId(1),
            seq: 1,
            role: "user".into(),
            kind: "text".into(),
            text: "x".repeat(bytes),
            payload: None,
            reply_to: None,
            failure: None,
            feedback: None,
            author: None,
            time: None,
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
        }
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
    fn content_that_is_read_later_counts() {
        let unread = FeedEvent::new(created(1, 1).event.clone());
        let mut recent = Recent::empty(EventNumber(0));
        recent.push(&[Arc::clone(&unread), created(2, 1)], EventNumber(2));
        let before = recent.bytes;
        unread.load(FeedContent { conversation: None, message: Some(message(MAX_BYTES / 4)) });
        recent.count_again(&[Arc::clone(&unread)]);
        assert_eq!(recent.bytes, before + unread.bytes() - created(1, 1).bytes());
        let other = FeedEvent::new(created(3, 1).event.clone());
        other.load(FeedContent { conversation: None, message: Some(message(MAX_BYTES / 4)) });
        recent.push(&[other], EventNumber(3));
        assert!(recent.after(EventNumber(0)).is_none(), "the oldest is dropped");
        assert_eq!(recent.after(EventNumber(2)).unwrap().count(), 1);
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
