//! The one task that reads the feed: it publishes what was committed to this node's streams, and follows what concerns the
//! servers themselves.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use wicara_model::{Change, EventNumber};
use wicara_store::{EventPage, EventsOf};

use super::event::FeedEvent;
use super::recent::Recent;
use super::{Feed, LOADED_AT_ONCE, State, cursor, waiters};
use crate::{Result, Service};

/// Between two looks at the feed while nothing tells of a commit: how late a change of another node may be seen.
const POLL: Duration = Duration::from_millis(250);
/// The least time between two looks: what is committed meanwhile is read together.
const MIN_PAUSE: Duration = Duration::from_millis(4);
/// The pause after a look that failed.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// Events from before its first reader that the node reads, so that readers who were away for a moment find them.
const READ_BACK: i64 = 2048;
/// Between two looks at the feed's name, which a failover or a restore changes.
const EPOCH_INTERVAL: Duration = Duration::from_secs(60);

impl Feed {
    /// Takes new events over, and tells the streams that may show them. `reached`: the number up to which the feed is
    /// complete with these events.
    async fn publish(&self, events: &[Arc<FeedEvent>], reached: EventNumber) -> Result<()> {
        let shown: Vec<_> = {
            let waiters = self.waiters();
            events.iter().filter(|event| waiters.any_shows(event)).cloned().collect()
        };
        self.load(&shown).await?;
        let mut woken = Vec::new();
        {
            // Streams that read the new head have been told of the events before it: the same lock covers both.
            let mut state = self.state();
            if state.recent.push(events, reached) {
                self.older.clear();
            }
            let waiters = self.waiters();
            for event in events {
                waiters.notify(event, &mut woken);
            }
        }
        waiters::wake(woken);
        Ok(())
    }

    /// Begins anew at the head, or some events before it.
    async fn restart(&self, of: EventsOf) -> Result<()> {
        let epoch = cursor::epoch(&self.store.event_epoch().await?);
        let head = self.store.event_list(EventNumber(i64::MAX), of).await?;
        let back = if of == EventsOf::All { READ_BACK } else { 0 };
        let mut state = self.state();
        let handled = if *epoch == *state.epoch { state.handled.min(head.head) } else { head.head };
        // Events for the servers that are not followed yet, as after an outage, are not left out.
        let start = (head.head.0 - back).min(handled.0).max(head.dropped.0).min(head.head.0);
        let start = EventNumber(start);
        if *epoch != *state.epoch || head.head < state.recent.head() {
            // Positions of streams are of another database, or of one that has become an older one: their clients come
            // back with them and are told.
            self.waiters().close(0, 1);
        }
        *state = State { epoch, recent: Recent::empty(start), dropped: head.dropped, handled };
        self.older.clear();
        Ok(())
    }

    /// Tells streams of answers whose questions they have been told of by a look that began then.
    fn show_answers(&self, looked: Instant) {
        let conversations = self.live.take_shown(looked);
        let waiters = self.waiters();
        conversations.into_iter().for_each(|id| waiters.signal_live(id));
    }
}

impl Service {
    /// At start: finds the head, so that the first answers say where they are in the feed.
    pub(crate) async fn feed_recover(&self) -> Result<()> {
        self.feed.restart(EventsOf::Servers).await
    }

    /// Follows the feed until the future is dropped.
    pub(crate) async fn feed_follow(&self) {
        tokio::join!(self.feed_look(), self.feed_tick(), self.feed_bus());
    }

    async fn feed_look(&self) {
        let feed = &self.feed;
        let mut following: Option<EventsOf> = None;
        // `None`: it has to be read, since a look has failed.
        let mut epoch_read: Option<Instant> = None;
        loop {
            let began = Instant::now();
            let knows_epoch = epoch_read.is_some_and(|read| began.duration_since(read) < EPOCH_INTERVAL);
            let has_streams = feed.opening.load(Ordering::SeqCst) > 0 || !feed.waiters().is_empty();
            // Once all are followed, they are for a while: pages follow each other.
            let of = match following {
                Some(EventsOf::All) if knows_epoch => EventsOf::All,
                _ if has_streams => EventsOf::All,
                _ => EventsOf::Servers,
            };
            let look = async {
                if following != Some(of) || !knows_epoch {
                    self.feed_restart(following, of).await?;
                    epoch_read = Some(began);
                }
                self.feed_read(of).await
            };
            match look.await {
                Ok(()) => {
                    following = Some(of);
                    feed.looked.send_replace(Some(began));
                    feed.show_answers(began);
                }
                Err(error) => {
                    epoch_read = None;
                    tracing::debug!(%error, "the feed is read later");
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
            let told = async {
                if of == EventsOf::All {
                    tokio::select! {
                        () = feed.store.committed() => {}
                        () = feed.look.notified() => {}
                    }
                } else {
                    feed.look.notified().await;
                }
            };
            let _ = timeout(POLL, told).await;
            tokio::time::sleep(MIN_PAUSE.saturating_sub(began.elapsed())).await;
        }
    }

    /// Reads the feed's name; begins anew where it is another one, or where other events are followed from now on.
    async fn feed_restart(&self, following: Option<EventsOf>, of: EventsOf) -> Result<()> {
        let feed = &self.feed;
        let epoch = cursor::epoch(&feed.store.event_epoch().await?);
        let is_known = *feed.state().epoch == *epoch;
        if !is_known {
            // Whom the node knows is of another database.
            self.callers.clear();
        }
        if !is_known || (following != Some(of) && of == EventsOf::All) || following.is_none() {
            feed.restart(of).await?;
        }
        Ok(())
    }

    /// Reads the feed to its head.
    async fn feed_read(&self, of: EventsOf) -> Result<()> {
        loop {
            let after = self.feed.state().recent.head();
            let page = self.feed.store.event_list(after, of).await?;
            if page.head < after {
                // The database is an older one than before.
                self.callers.clear();
                self.feed.restart(of).await?;
                continue;
            }
            let (has_more, reached) = (page.has_more, page.reached);
            let handled = self.feed.state().handled;
            for event in page.events.iter().filter(|event| event.number > handled) {
                match &event.change {
                    Change::Access { reader } => {
                        self.callers.forget(reader);
                        self.feed.waiters().signal_access(reader);
                    }
                    Change::AnswersStopped { conversation_id } => self.answers_stop(*conversation_id),
                    Change::ConversationUpdated { id, bot_id, .. } => self.feed.live.move_to(*id, bot_id),
                    Change::ConversationDeleted { id, .. } => self.feed.live.end_all(*id),
                    _ => {}
                }
            }
            match of {
                EventsOf::All => self.feed_publish(page, handled).await?,
                // Nobody reads them: only the position counts.
                EventsOf::Servers => {
                    let mut state = self.feed.state();
                    state.dropped = page.dropped;
                    state.recent = Recent::empty(page.reached);
                }
            }
            let mut state = self.feed.state();
            state.handled = state.handled.max(reached);
            if !has_more {
                return Ok(());
            }
        }
    }

    /// Publishes in chunks, each with its content: what is read at once is bounded. `handled`: see [`State`].
    async fn feed_publish(&self, page: EventPage, handled: EventNumber) -> Result<()> {
        let events: Vec<_> = page.events.into_iter().map(FeedEvent::new).collect();
        self.feed.state().dropped = page.dropped;
        let mut chunks = events.chunks(LOADED_AT_ONCE).peekable();
        while let Some(chunk) = chunks.next() {
            let next = chunks.peek().and_then(|chunk| chunk.first());
            let reached = next.map_or(page.reached, |next| next.event.number.before());
            self.feed.publish(chunk, reached).await?;
            let now = self.clock.now();
            // What is read back is older than the streams that may show it: its age is no lag.
            for FeedEvent { event, .. } in chunk.iter().map(AsRef::as_ref) {
                if event.number > handled {
                    self.metrics.http.feed.published(now.since(event.at));
                }
            }
        }
        if events.is_empty() {
            self.feed.publish(&[], page.reached).await?;
        }
        Ok(())
    }

    /// One clock for the heartbeats of all streams.
    async fn feed_tick(&self) {
        for second in 0.. {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let cut = self.feed.waiters().tick(second, self.callers_are_verified());
            self.feed.live.forget_silent();
            if cut > 0 {
                tracing::debug!(cut, "readers of the feed who do not read were cut off");
            }
        }
    }
}
