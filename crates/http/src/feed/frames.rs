//! What the service tells a reader, as bytes. An event as it is has the same bytes for all readers of a kind: they are
//! written once, and kept with the event.

use std::sync::Arc;

use axum::body::Bytes;
use wicara_metrics::HttpMetrics;
use wicara_service::{EventKind, FeedCursor, FeedEvent, FeedItem, FeedView, Service, Shown};

use super::block::{block, position};
use super::{operator_frames, visitor_frames};
use crate::Http;
use crate::contract::feed_events::{HelloEvent, HelloKind, ResyncEvent, ResyncKind};

/// The kinds of readers whose bytes an event keeps ([`wicara_service::FeedEvent::frames`]).
const OPERATORS: usize = 0;
const VISITORS: usize = 1;

pub struct Frames {
    service: Arc<Service>,
    metrics: Arc<HttpMetrics>,
    view: FeedView,
}

impl Frames {
    #[must_use]
    pub fn new(http: &Http, view: FeedView) -> Self {
        Self { service: Arc::clone(&http.service), metrics: Arc::clone(&http.metrics), view }
    }

    /// The block of an item, counted in the metrics.
    pub fn frame(&self, item: &FeedItem) -> Bytes {
        let at = || self.service.now();
        match item {
            FeedItem::Hello { cursor, oldest } => {
                let kind = HelloKind::Hello;
                block(kind.as_str(), Some(cursor), &HelloEvent { kind, at: at(), cursor, oldest })
            }
            FeedItem::Resync { cursor, reason } => {
                let reason = reason.as_str();
                self.metrics.feed.resync(reason);
                let kind = ResyncKind::Resync;
                block(kind.as_str(), Some(cursor), &ResyncEvent { kind, at: at(), cursor, reason })
            }
            FeedItem::Heartbeat { cursor } => position(cursor),
            FeedItem::Event { cursor, event, kind, shown } => {
                self.metrics.feed.event_sent();
                let reader = if self.view.is_visitors() { VISITORS } else { OPERATORS };
                match shown {
                    Shown::AsItIs => {
                        let frame = || self.stored(cursor, event, *kind, false);
                        event.frames[reader].get_or_init(frame).clone()
                    }
                    Shown::Entered => self.stored(cursor, event, *kind, true),
                    Shown::Left => self.stored(cursor, event, *kind, false),
                }
            }
            FeedItem::Live(live) => {
                self.metrics.feed.event_sent();
                match self.view.is_visitors() {
                    false => operator_frames::live(at(), live),
                    true => visitor_frames::live(at(), live),
                }
            }
        }
    }

    fn stored(&self, cursor: &FeedCursor, event: &FeedEvent, kind: EventKind, has_entered: bool) -> Bytes {
        // A message that left the reader's view may be of a conversation that did so too.
        let conversation = event.content().conversation.as_deref();
        let conversation = conversation.filter(|found| self.view.sees_conversation(found));
        match self.view.is_visitors() {
            false => operator_frames::stored(cursor, event, kind, conversation, has_entered),
            true => {
                let service = &self.service;
                let conversation =
                    conversation.map(|found| service.visitor_conversation(&found.conversation));
                let shows_names = service.shows_names();
                visitor_frames::stored(cursor, event, kind, conversation.as_ref(), shows_names)
            }
        }
    }
}
