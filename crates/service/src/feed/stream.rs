//! A reader's way through the feed: from the position that it names to the head, then along with it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use wicara_model::EventNumber;

use super::cursor::{self, FeedCursor};
use super::event::FeedEvent;
use super::live::{LiveEvent, LiveShown};
use super::places::StreamPlace;
use super::view::{EventKind, FeedView, Shown};
use super::waiters::{CutOff, Waiter, signal};
use super::{LOADED_AT_ONCE, LOOK_TIME};
use crate::access::Credentials;
use crate::{Error, Result, Service};

/// Events in one step of a stream.
const STEP: usize = 256;
/// Bytes after which a step ends: what a stream holds whose client does not read.
const STEP_BYTES: usize = 256 * 1024;

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
    /// Of the feed that its position is of.
    epoch: Arc<str>,
    /// Everything up to it was shown or is not for this reader.
    position: EventNumber,
    number: u64,
    waiter: Arc<Waiter>,
    live: LiveShown,
    has_ended: bool,
    _place: Option<StreamPlace>,
}

impl Drop for FeedStream {
    fn drop(&mut self) {
        self.service.feed.waiters().remove(self.number);
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
        let (start, mut stream) = self.feed_begin(view, from, cut).await?;
        let (cursor, oldest) = (stream.cursor(), stream.oldest());
        stream.first.push(FeedItem::Hello { cursor: cursor.clone(), oldest });
        if let Some(reason) = start.resync {
            stream.first.push(FeedItem::Resync { cursor, reason });
        }
        stream.credentials = credentials;
        stream._place = Some(place);
        Ok(stream)
    }

    /// The events after a position, at most `limit`, and no more than a step of a stream has; waits up to `wait` for the first.
    /// `credentials`: as for [`Service::feed_open`]; a page whose reader's rights end while it waits is empty.
    pub async fn feed_page(
        self: &Arc<Self>,
        view: FeedView,
        credentials: Option<Credentials>,
        from: Option<&str>,
        limit: usize,
        wait: Duration,
    ) -> Result<FeedPage> {
        let end = Instant::now() + wait;
        let (start, mut stream) = self.feed_begin(view, from, None).await?;
        stream.credentials = credentials;
        let mut resync = start.resync.map(|reason| (stream.cursor(), reason));
        let mut items = Vec::new();
        while items.is_empty() && resync.is_none() {
            for item in stream.advance(limit).await? {
                match item {
                    FeedItem::Event { .. } => items.push(item),
                    FeedItem::Resync { cursor, reason } => resync = Some((cursor, reason)),
                    FeedItem::Hello { .. } | FeedItem::Live(_) | FeedItem::Heartbeat { .. } => {}
                }
            }
            // A reader of few events goes on from where was looked, however many there are in between.
            if Instant::now() > end + LOOK_TIME {
                break;
            }
            // Where there is more to look at it does not wait.
            if resync.is_none()
                && items.is_empty()
                && (stream.has_ended || timeout_at(end, stream.wait()).await.is_err())
            {
                break;
            }
        }
        Ok(FeedPage { items, cursor: stream.cursor(), resync })
    }

    async fn feed_begin(
        self: &Arc<Self>,
        view: FeedView,
        from: Option<&str>,
        cut: Option<Arc<dyn CutOff>>,
    ) -> Result<(Start, FeedStream)> {
        // What was committed before the reader asked is seen.
        let _opening = self.feed.look_now().await?;
        let (start, epoch, (number, waiter)) = {
            let state = self.feed.state();
            let head = state.recent.head();
            let start = match from.map(|from| cursor::number(&state.epoch, from)) {
                None => Start { position: head, resync: None },
                Some(Some(number)) if number > head => {
                    Start { position: head, resync: Some(ResyncReason::Epoch) }
                }
                Some(Some(number)) if number < state.dropped => {
                    Start { position: head, resync: Some(ResyncReason::Expired) }
                }
                Some(Some(number)) => Start { position: number, resync: None },
                Some(None) => Start { position: head, resync: Some(ResyncReason::Epoch) },
            };
            let first = (start.position < head).then_some(start.position.next());
            (start, Arc::clone(&state.epoch), self.feed.waiters().add(view.clone(), cut, first))
        };
        let stream = FeedStream {
            service: Arc::clone(self),
            view,
            credentials: None,
            first: Vec::new(),
            epoch,
            position: start.position,
            number,
            waiter,
            live: LiveShown::default(),
            has_ended: false,
            _place: None,
        };
        Ok((start, stream))
    }
}

impl FeedStream {
    fn cursor(&self) -> FeedCursor {
        FeedCursor::new(&self.epoch, self.position)
    }

    fn oldest(&self) -> FeedCursor {
        FeedCursor::new(&self.epoch, self.service.feed.state().dropped)
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
            // In a box, which a stream that waits does not hold.
            match Box::pin(self.advance(STEP)).await {
                Ok(items) if !items.is_empty() => return Some(items),
                Ok(_) if self.has_ended => return None,
                Ok(_) => self.wait().await,
                // The client comes back with its position.
                Err(error) => {
                    tracing::debug!(%error, "a stream of the feed ends");
                    return None;
                }
            }
        }
    }

    /// Waits until there is something to look at.
    async fn wait(&self) {
        std::future::poll_fn(|context| self.waiter.poll(context)).await;
    }

    /// Takes a step without waiting for anything to happen.
    async fn advance(&mut self, limit: usize) -> Result<Vec<FeedItem>> {
        let signals = self.waiter.take_signals();
        if signals & signal::CLOSE != 0
            || self.service.feed.is_stopping.load(std::sync::atomic::Ordering::Relaxed)
        {
            self.has_ended = true;
            return Ok(Vec::new());
        }
        // A session may also end by its age. A node that was frozen or cut off tells of changes late.
        if signals & (signal::ACCESS | signal::HEARTBEAT) != 0 || !self.service.callers_are_verified() {
            let may_go_on = self.may_go_on().await;
            self.has_ended |= may_go_on == Some(false);
            if may_go_on.is_none() {
                self.waiter.hold(signals);
            }
            if may_go_on != Some(true) {
                return Ok(Vec::new());
            }
        }
        let mut items = self.step(limit).await?;
        if self.view.wants_live() && signals & signal::LIVE != 0 {
            if self.waiter.has_waiting() {
                // What is live refers to what is stored.
                self.waiter.signal(signal::LIVE);
            } else {
                items.extend(self.live_events().into_iter().map(FeedItem::Live));
            }
        }
        if signals & signal::HEARTBEAT != 0 && items.is_empty() {
            items.push(FeedItem::Heartbeat { cursor: self.cursor() });
        }
        Ok(items)
    }

    /// Whether its reader has its rights; `None` while the database is away.
    async fn may_go_on(&self) -> Option<bool> {
        let Some(credentials) = &self.credentials else { return Some(true) };
        match self.service.caller_get(credentials).await {
            Ok(caller) => Some(caller.id() == self.view.reader()),
            Err(Error::Unavailable) => None,
            Err(_) => Some(false),
        }
    }

    fn live_events(&mut self) -> Vec<LiveEvent> {
        let view = self.view.clone();
        let feed = &self.service.feed;
        let shows = |id, bot_id: &str| view.shows_live(id, bot_id);
        let events = self.live.advance(&feed.live, view.conversations(), feed.verified_at(), shows);
        events.into_iter().filter(|event| view.wants(event.kind())).collect()
    }

    /// Shows the next events, at most `limit`.
    async fn step(&mut self, limit: usize) -> Result<Vec<FeedItem>> {
        let (after, recent) = {
            let state = self.service.feed.state();
            let Some(first) = self.waiter.take_first() else {
                self.position = state.recent.head();
                return Ok(Vec::new());
            };
            let after = first.before().max(self.position);
            (after, state.recent.after(after).map(|events| self.pick(events, state.recent.head(), limit)))
        };
        let result = match recent {
            Some((events, reached)) => self.show(events, reached).await,
            None => self.step_older(after, limit).await,
        };
        if result.is_err() {
            self.waiter.put_back(after.next());
        }
        result
    }

    /// Shows events that are not in memory any more.
    async fn step_older(&mut self, after: EventNumber, limit: usize) -> Result<Vec<FeedItem>> {
        let service = Arc::clone(&self.service);
        let range = service.feed.older.read(&service.store, after).await?;
        if !range.is_complete_after(after) {
            self.position = service.feed.state().recent.head();
            return Ok(vec![FeedItem::Resync { cursor: self.cursor(), reason: ResyncReason::Expired }]);
        }
        let (events, reached) = self.pick(range.after(after), range.reached, limit);
        self.show(events, reached).await
    }

    /// The first of these events that the reader may see, and the number up to which there are no others; `reached`: the
    /// same for all that there are.
    fn pick<'a>(
        &self,
        events: impl Iterator<Item = &'a Arc<FeedEvent>>,
        reached: EventNumber,
        limit: usize,
    ) -> (Vec<Arc<FeedEvent>>, EventNumber) {
        let mut of_view = events.filter(|event| self.view.may_show(&event.event.change));
        let picked: Vec<_> = of_view.by_ref().take(limit).cloned().collect();
        let reached = of_view.next().map_or(reached, |next| next.event.number.before());
        (picked, reached)
    }

    /// Shows events until they are too large for one step, and moves the position.
    async fn show(&mut self, events: Vec<Arc<FeedEvent>>, reached: EventNumber) -> Result<Vec<FeedItem>> {
        let feed = &self.service.feed;
        let (mut items, mut bytes) = (Vec::new(), 0);
        let mut position = reached;
        'step: for chunk in events.chunks(LOADED_AT_ONCE) {
            feed.load_for_stream(chunk).await?;
            for event in chunk {
                let Some((kind, shown)) = self.view.show(event) else { continue };
                bytes += event.sent_bytes();
                let cursor = FeedCursor::new(&self.epoch, event.event.number);
                items.push(FeedItem::Event { cursor, event: Arc::clone(event), kind, shown });
                self.has_ended |= kind == EventKind::ConversationDeleted && self.view.is_visitors();
                if bytes > STEP_BYTES || self.has_ended {
                    position = event.event.number;
                    break 'step;
                }
            }
        }
        self.position = position;
        // What is between here and the head has not been looked at.
        if position < feed.state().recent.head() {
            self.waiter.put_back(position.next());
        }
        Ok(items)
    }
}
