//! A reader's way through the feed: from the position that it names to the head, then along with it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use wicara_model::EventNumber;
use wicara_store::EventsOf;

use super::cursor::{self, FeedCursor};
use super::event::FeedEvent;
use super::live::{LiveEvent, LiveShown};
use super::places::StreamPlace;
use super::view::{EventKind, FeedView, Shown};
use super::waiters::{CutOff, Waiter, signal};
use crate::access::Credentials;
use crate::{Result, Service};

/// Events in one step of a stream.
const STEP: usize = 256;

/// What a reader of the feed gets.
#[derive(Debug, Clone)]
pub enum FeedItem {
    /// The first of each stream.
    Hello {
        cursor: FeedCursor,
        oldest: FeedCursor,
    },
    /// The position that the reader named cannot be followed from: it has to load the state again.
    Resync {
        cursor: FeedCursor,
        reason: ResyncReason,
    },
    Event {
        cursor: FeedCursor,
        event: Arc<FeedEvent>,
        /// As this reader gets it.
        kind: EventKind,
        shown: Shown,
    },
    Live(LiveEvent),
    Heartbeat {
        cursor: FeedCursor,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResyncReason {
    /// Older than what is kept.
    Expired,
    /// Of another feed, or no position.
    Epoch,
    /// From before a change of what the reader may see.
    Scope,
}

impl ResyncReason {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Epoch => "epoch",
            Self::Scope => "scope",
        }
    }
}

/// A page of the feed, for readers who ask again and again.
#[derive(Debug)]
pub struct FeedPage {
    /// [`FeedItem::Event`] alone.
    pub items: Vec<FeedItem>,
    /// How far was looked.
    pub cursor: FeedCursor,
    pub resync: Option<(FeedCursor, ResyncReason)>,
}

/// A stream of the feed.
pub struct FeedStream {
    service: Arc<Service>,
    view: FeedView,
    /// `None`: nobody's rights can end.
    credentials: Option<Credentials>,
    /// Items that are due before any others.
    first: Vec<FeedItem>,
    /// Everything up to it was shown or is not for this reader.
    position: EventNumber,
    /// `None` until the stream has caught up with what is in memory.
    waiter: Option<(u64, Arc<Waiter>)>,
    live: LiveShown,
    has_ended: bool,
    cut: Option<Arc<dyn CutOff>>,
    _place: Option<StreamPlace>,
}

impl Drop for FeedStream {
    fn drop(&mut self) {
        if let Some((number, _)) = self.waiter {
            self.service.feed.waiters().remove(number);
        }
    }
}

/// Where a reader begins.
struct Start {
    position: EventNumber,
    resync: Option<ResyncReason>,
}

impl Service {
    /// Opens a stream. `from`: the position that the reader names; from now on without one. `credentials`: those by which
    /// the reader was known, which are looked at again when its rights change; `None` for visitors without any. `cut`: ends
    /// the connection of a reader that does not read.
    pub async fn feed_open(
        self: &Arc<Self>,
        view: FeedView,
        credentials: Option<Credentials>,
        from: Option<&str>,
        place: StreamPlace,
        cut: Option<Arc<dyn CutOff>>,
    ) -> Result<FeedStream> {
        let (start, mut stream) = self.feed_begin(view, from).await?;
        let (cursor, oldest) = (stream.cursor(), stream.oldest());
        stream.first.push(FeedItem::Hello { cursor: cursor.clone(), oldest });
        if let Some(reason) = start.resync {
            stream.first.push(FeedItem::Resync { cursor, reason });
        }
        stream.credentials = credentials;
        stream.cut = cut;
        stream._place = Some(place);
        Ok(stream)
    }

    /// The events after a position, at most `limit`; waits up to `wait` for the first.
    pub async fn feed_page(
        self: &Arc<Self>,
        view: FeedView,
        from: Option<&str>,
        limit: usize,
        wait: Duration,
    ) -> Result<FeedPage> {
        let end = Instant::now() + wait;
        let (start, mut stream) = self.feed_begin(view, from).await?;
        let resync = start.resync.map(|reason| (stream.cursor(), reason));
        let mut items = Vec::new();
        while items.is_empty() && resync.is_none() {
            let has_caught_up = stream.waiter.is_some();
            let step = stream.advance(limit).await?;
            items.extend(step.into_iter().filter(|item| matches!(item, FeedItem::Event { .. })));
            if !items.is_empty() || !has_caught_up {
                continue;
            }
            if stream.has_ended || timeout_at(end, stream.wait()).await.is_err() {
                break;
            }
        }
        Ok(FeedPage { items, cursor: stream.cursor(), resync })
    }

    async fn feed_begin(self: &Arc<Self>, view: FeedView, from: Option<&str>) -> Result<(Start, FeedStream)> {
        // What was committed before the reader asked is seen.
        self.feed.look_now().await?;
        let start = {
            let state = self.feed.state();
            let head = state.recent.head();
            match from.map(|from| cursor::number(&state.epoch, from)) {
                None => Start { position: head, resync: None },
                Some(Some(number)) if number > head => {
                    Start { position: head, resync: Some(ResyncReason::Epoch) }
                }
                Some(Some(number)) if number < state.dropped => {
                    Start { position: head, resync: Some(ResyncReason::Expired) }
                }
                Some(Some(number)) => Start { position: number, resync: None },
                Some(None) => Start { position: head, resync: Some(ResyncReason::Epoch) },
            }
        };
        let stream = FeedStream {
            service: Arc::clone(self),
            view,
            credentials: None,
            first: Vec::new(),
            position: start.position,
            waiter: None,
            live: LiveShown::default(),
            has_ended: false,
            cut: None,
            _place: None,
        };
        Ok((start, stream))
    }
}

impl FeedStream {
    fn cursor(&self) -> FeedCursor {
        FeedCursor::new(&self.service.feed.state().epoch, self.position)
    }

    fn oldest(&self) -> FeedCursor {
        let state = self.service.feed.state();
        FeedCursor::new(&state.epoch, state.dropped)
    }

    /// The next items, at least one. `None`: the stream ends, since its reader's rights have, the conversation is deleted,
    /// or the server stops.
    pub async fn next(&mut self) -> Option<Vec<FeedItem>> {
        if !self.first.is_empty() {
            return Some(std::mem::take(&mut self.first));
        }
        loop {
            if self.has_ended {
                return None;
            }
            let has_caught_up = self.waiter.is_some();
            // In a box, which a stream that waits does not hold.
            match Box::pin(self.advance(STEP)).await {
                Ok(items) if !items.is_empty() => return Some(items),
                Ok(_) if has_caught_up && !self.has_ended => self.wait().await,
                Ok(_) => {}
                // The client comes back with its position.
                Err(error) => {
                    tracing::debug!(%error, "a stream of the feed ends");
                    return None;
                }
            }
        }
    }

    /// Waits until something concerns the stream.
    async fn wait(&self) {
        if let Some((_, waiter)) = &self.waiter {
            std::future::poll_fn(|context| waiter.poll(context)).await;
        }
    }

    /// Takes a step without waiting for anything to happen.
    async fn advance(&mut self, limit: usize) -> Result<Vec<FeedItem>> {
        let Some((_, waiter)) = self.waiter.clone() else {
            return self.catch_up(limit).await;
        };
        let signals = waiter.take_signals();
        if signals & signal::CLOSE != 0
            || self.service.feed.is_stopping.load(std::sync::atomic::Ordering::Relaxed)
        {
            self.has_ended = true;
            return Ok(Vec::new());
        }
        // A session may also end by its age.
        if signals & (signal::ACCESS | signal::HEARTBEAT) != 0
            && let Some(credentials) = self.credentials.clone()
        {
            let reader = self.view.reader();
            if !self.service.stream_may_go_on(reader.as_deref(), &credentials).await {
                self.has_ended = true;
                return Ok(Vec::new());
            }
        }
        let Some(mut items) = self.take_recent(&waiter, limit).await? else {
            // What it has not seen is not in memory any more.
            self.stop_following();
            return Ok(Vec::new());
        };
        if self.view.wants_live() && signals & signal::LIVE != 0 {
            items.extend(self.live_events().into_iter().map(FeedItem::Live));
        }
        if signals & signal::HEARTBEAT != 0 && items.is_empty() {
            items.push(FeedItem::Heartbeat { cursor: self.cursor() });
        }
        Ok(items)
    }

    fn live_events(&mut self) -> Vec<LiveEvent> {
        let view = self.view.clone();
        let feed = &self.service.feed;
        let events =
            self.live.advance(&feed.live, view.conversations(), |id, bot_id| view.shows_live(id, bot_id));
        events.into_iter().filter(|event| view.wants(event.kind())).collect()
    }

    /// The events in memory that the stream was told of; `None` where they are not there any more.
    async fn take_recent(&mut self, waiter: &Waiter, limit: usize) -> Result<Option<Vec<FeedItem>>> {
        let (events, reached) = {
            let state = self.service.feed.state();
            let Some(first) = waiter.take_first() else {
                self.position = state.recent.head();
                return Ok(Some(Vec::new()));
            };
            let before = EventNumber(first.0 - 1);
            let Some(after) = state.recent.after(before) else {
                self.position = before;
                return Ok(None);
            };
            let mut of_view = after.filter(|event| self.view.may_show(&event.event.change));
            let events: Vec<_> = of_view.by_ref().take(limit).cloned().collect();
            let reached = match of_view.next() {
                Some(next) => {
                    waiter.put_back(next.event.number);
                    EventNumber(next.event.number.0 - 1)
                }
                None => state.recent.head(),
            };
            (events, reached)
        };
        let items = self.show(events).await?;
        self.position = reached;
        Ok(Some(items))
    }

    /// Reads a page of older events, or begins to follow where everything that is missing is in memory.
    async fn catch_up(&mut self, limit: usize) -> Result<Vec<FeedItem>> {
        if self.follow() {
            return Ok(Vec::new());
        }
        let service = Arc::clone(&self.service);
        let _permit = service.feed.older_reads.acquire().await.expect("nobody closes the semaphore");
        let page = service.feed.store.event_list(self.position, EventsOf::All).await?;
        let of_view = |event: &&wicara_model::Event| self.view.may_show(&event.change);
        let mut shown = page.events.iter().filter(of_view);
        let events: Vec<_> = shown.by_ref().take(limit).cloned().map(FeedEvent::new).collect();
        let reached = match shown.next() {
            Some(next) => EventNumber(next.number.0 - 1),
            None => page.reached,
        };
        let items = self.show(events).await?;
        self.position = reached;
        Ok(items)
    }

    /// Follows the feed from memory, if everything after the position is there.
    fn follow(&mut self) -> bool {
        let feed = &self.service.feed;
        let state = feed.state();
        if state.recent.after(self.position).is_none() {
            return false;
        }
        let first = EventNumber(self.position.0 + 1);
        self.waiter = Some(feed.waiters().add(self.view.clone(), self.cut.clone(), first));
        true
    }

    fn stop_following(&mut self) {
        if let Some((number, _)) = self.waiter.take() {
            self.service.feed.waiters().remove(number);
        }
    }

    async fn show(&mut self, events: Vec<Arc<FeedEvent>>) -> Result<Vec<FeedItem>> {
        self.service.feed.load(&events).await?;
        let epoch = Arc::clone(&self.service.feed.state().epoch);
        let mut items = Vec::new();
        for event in events {
            let Some((kind, shown)) = self.view.show(&event) else { continue };
            let cursor = FeedCursor::new(&epoch, event.event.number);
            items.push(FeedItem::Event { cursor, event, kind, shown });
            if kind == EventKind::ConversationDeleted && self.view.is_visitors() {
                self.has_ended = true;
                break;
            }
        }
        Ok(items)
    }
}
