//! The feed as readers follow it: one task of this node reads what was committed, and streams take from memory what
//! concerns them. A stream holds nothing but its position, so that a slow one delays nobody and costs no memory.
//!
//! The task follows events for the servers at all times (who may call: [`crate::caller_cache`]), and all events while
//! somebody reads.

mod cursor;
mod event;
mod live;
mod live_bus;
mod older;
mod places;
mod recent;
mod stream;
mod view;
mod waiters;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, timeout};
use uuid::Uuid;
use wicara_model::{Change, Conversation, ConversationId, EventNumber, MessageId, Timestamp};
use wicara_store::{EventPage, EventsOf, Store};

use crate::access::{Joined, Writable};
use crate::{Asker, Error, Missing, Result, Service, caller_cache};
use event::FeedContent;
use live::Live;
use older::Older;
use places::Places;
use recent::Recent;
use waiters::Waiters;

pub use cursor::FeedCursor;
pub use event::{FeedConversation, FeedEvent};
pub use live::{LiveAnswer, LiveEvent, TypingBy};
pub use places::{StreamLimits, StreamOwner, StreamPlace};
pub use stream::{FeedItem, FeedPage, FeedStream, ResyncReason};
pub use view::{EventKind, FeedView, Interest, KindPattern, Shown, UnknownKind};
pub use waiters::CutOff;

/// Between two looks at the feed while nothing tells of a commit: how late a change of another node may be seen.
const POLL: Duration = Duration::from_millis(250);
/// The least time between two looks: what is committed meanwhile is read together.
const MIN_PAUSE: Duration = Duration::from_millis(4);
/// The pause after a look that failed.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// How long a reader waits for a look.
const LOOK_TIME: Duration = Duration::from_secs(5);
/// Events from before its first reader that the node reads, so that readers who were away for a moment find them.
const READ_BACK: i64 = 2048;
/// Events whose content is read at once.
const LOADED_AT_ONCE: usize = 64;
/// Streams that read the content of events at once: a crowd that comes back leaves room for other requests.
const STREAM_LOADS: usize = 4;
/// Between two looks at the feed's name, which a failover or a restore changes.
const EPOCH_INTERVAL: Duration = Duration::from_secs(60);
/// Parts in which streams are closed at a stop.
const CLOSE_PARTS: u64 = 10;

pub(super) struct Feed {
    store: Store,
    state: Mutex<State>,
    waiters: Mutex<Waiters>,
    live: Arc<Live>,
    places: Arc<Places>,
    /// Readers that are about to be among the waiters: all events are followed for them, not only those for the servers.
    opening: AtomicUsize,
    /// Asks the follower for a look now.
    look: Notify,
    /// When the last look began that reached the head.
    looked: watch::Sender<Option<Instant>>,
    older: Older,
    stream_loads: Semaphore,
    is_stopping: AtomicBool,
}

struct State {
    epoch: Arc<str>,
    recent: Recent,
    dropped: EventNumber,
    /// The events for the servers up to it were followed.
    handled: EventNumber,
}

/// A reader that is about to be among the waiters, until it is dropped.
struct Opening<'a>(&'a AtomicUsize);

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Feed {
    pub fn new(store: Store, limits: StreamLimits) -> Self {
        Self {
            store,
            state: Mutex::new(State {
                epoch: "".into(),
                recent: Recent::empty(EventNumber(0)),
                dropped: EventNumber(0),
                handled: EventNumber(0),
            }),
            waiters: Mutex::default(),
            live: Arc::default(),
            places: Arc::new(Places::new(limits)),
            opening: AtomicUsize::new(0),
            look: Notify::new(),
            looked: watch::Sender::new(None),
            older: Older::default(),
            stream_loads: Semaphore::new(STREAM_LOADS),
            is_stopping: AtomicBool::new(false),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Taken after [`Feed::state`] where both are held.
    fn waiters(&self) -> MutexGuard<'_, Waiters> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest position that this node has seen.
    pub fn head(&self) -> FeedCursor {
        let state = self.state();
        FeedCursor::new(&state.epoch, state.recent.head())
    }

    /// When the last look at the feed began that reached its head; `None` before the first.
    pub fn verified_at(&self) -> Option<Instant> {
        *self.looked.borrow()
    }

    /// Waits for a look that begins after this call and follows all events, which goes on until the guard is dropped.
    /// `Unavailable` where the database is away.
    async fn look_now(&self) -> Result<Opening<'_>> {
        self.opening.fetch_add(1, Ordering::SeqCst);
        let opening = Opening(&self.opening);
        let asked = Instant::now();
        let mut looked = self.looked.subscribe();
        self.look.notify_one();
        let looked = looked.wait_for(|looked| looked.is_some_and(|looked| looked >= asked));
        timeout(LOOK_TIME, looked).await.map_err(|_| Error::Unavailable).map(|_| opening)
    }

    /// Reads the content of events that have none yet.
    async fn load(&self, events: &[Arc<FeedEvent>]) -> Result<()> {
        let events: Vec<_> = events.iter().filter(|event| !event.is_loaded()).collect();
        if events.is_empty() {
            return Ok(());
        }
        let (mut conversations, mut messages) = (BTreeSet::new(), BTreeSet::new());
        for event in &events {
            conversations.extend(event.event.change.conversation());
            messages.extend(message_of(&event.event.change));
        }
        let conversations: Vec<ConversationId> = conversations.into_iter().collect();
        let messages: Vec<MessageId> = messages.into_iter().collect();
        let (conversations, newest, messages) = tokio::try_join!(
            self.store.conversation_get_many(&conversations),
            self.store.message_last(&conversations, true),
            self.store.message_get_many(&messages),
        )?;
        let mut newest: HashMap<_, _> =
            newest.into_iter().flatten().map(|message| (message.conversation_id, message)).collect();
        let conversations: HashMap<_, _> = conversations
            .into_iter()
            .map(|conversation| {
                let newest = newest.remove(&conversation.id);
                (conversation.id, Arc::new(FeedConversation { conversation, newest }))
            })
            .collect();
        let messages: HashMap<_, _> =
            messages.into_iter().map(|found| (found.message.id, found.message)).collect();
        for event in events {
            let change = &event.event.change;
            let conversation = change.conversation().and_then(|id| conversations.get(&id)).cloned();
            let message = message_of(change).and_then(|id| messages.get(&id)).cloned();
            event.load(FeedContent { conversation, message });
        }
        Ok(())
    }

    /// Reads the content of events for a stream, of which few do so at once.
    async fn load_for_stream(&self, events: &[Arc<FeedEvent>]) -> Result<()> {
        if events.iter().all(|event| event.is_loaded()) {
            return Ok(());
        }
        {
            let permit = self.stream_loads.acquire().await;
            let _permit = permit.expect("nobody closes the semaphore");
            self.load(events).await?;
        }
        self.state().recent.count_again(events);
        self.older.trim();
        Ok(())
    }

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

fn message_of(change: &Change) -> Option<MessageId> {
    match change {
        Change::MessageCreated { id, .. } | Change::MessageUpdated { id, .. } => Some(*id),
        _ => None,
    }
}

impl Service {
    /// The newest position that this node has seen: what is read from now on contains at least everything up to it.
    #[must_use]
    pub fn feed_cursor(&self) -> FeedCursor {
        self.feed.head()
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The conversation of a session that the asker takes part in.
    pub async fn thread_join(&self, asker: &Asker, session_id: Uuid) -> Result<Joined> {
        let conversation = self.store.conversation_get_by_session(session_id).await?;
        conversation.and_then(|found| asker.join(found)).ok_or(Error::NotFound(Missing::Session))
    }

    /// `TooMany` and `Unavailable` where there is no place.
    pub fn stream_place(&self, owner: StreamOwner) -> Result<StreamPlace> {
        self.feed.places.take(owner)
    }

    /// Streams that are open on this node.
    #[must_use]
    pub fn stream_count(&self) -> usize {
        self.feed.waiters().len()
    }

    /// Ends all streams, spread over a time, so that their clients do not all come to another node at once.
    pub async fn streams_close(&self, time: Duration) {
        self.feed.is_stopping.store(true, Ordering::Relaxed);
        for part in 0..CLOSE_PARTS {
            if self.feed.waiters().is_empty() {
                return;
            }
            self.feed.waiters().close(part, CLOSE_PARTS);
            tokio::time::sleep(time / u32::try_from(CLOSE_PARTS).unwrap_or(1)).await;
        }
    }

    /// At start: finds the head, so that the first answers say where they are in the feed.
    pub(super) async fn feed_recover(&self) -> Result<()> {
        self.feed.restart(EventsOf::Servers).await
    }

    /// Follows the feed until the future is dropped.
    pub(super) async fn feed_follow(&self) {
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

    /// Whether what changed about callers until a second ago is known, and their streams were told.
    fn callers_are_verified(&self) -> bool {
        caller_cache::is_verified(Instant::now(), self.feed.verified_at())
    }

    /// An operator types in a conversation.
    pub fn conversation_typing(&self, conversation: &Writable<Conversation>) {
        self.typing(conversation, TypingBy::Agent);
    }

    /// The visitor of a conversation types. `TooMany` beyond the limit of signals.
    pub fn question_typing(&self, joined: &Joined) -> Result<()> {
        // One at each key press counts no more than it is shown.
        if self.feed.live.types(joined.id, TypingBy::Visitor) {
            return Ok(());
        }
        self.rate_limits.signals.take(joined.id, self.clock.now())?;
        self.typing(joined, TypingBy::Visitor);
        Ok(())
    }

    fn typing(&self, conversation: &Conversation, by: TypingBy) {
        if self.feed.live.type_in(conversation.id, &conversation.bot_id, by) {
            self.feed.waiters().signal_live(conversation.id);
        }
    }

    /// Begins to show the answer that a bot is giving.
    pub(super) fn answer_show(
        &self,
        conversation: ConversationId,
        question: MessageId,
        bot_id: &str,
    ) -> ShownAnswer<'_> {
        let answer = self.feed.live.start(conversation, question, bot_id);
        self.feed.waiters().signal_live(conversation);
        ShownAnswer { feed: &self.feed, answer: Some(answer) }
    }
}

/// An answer that streams show while it is given, until this is dropped.
pub(super) struct ShownAnswer<'a> {
    feed: &'a Feed,
    /// `None` once it has ended.
    answer: Option<LiveAnswer>,
}

impl ShownAnswer<'_> {
    pub fn push(&self, text: &str) {
        if let Some(answer) = &self.answer {
            answer.push(text);
            self.feed.waiters().signal_live(answer.conversation());
        }
    }
}

impl Drop for ShownAnswer<'_> {
    fn drop(&mut self) {
        if let Some(answer) = self.answer.take() {
            let conversation = answer.conversation();
            drop(answer);
            self.feed.waiters().signal_live(conversation);
        }
    }
}
