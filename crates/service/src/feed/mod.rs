//! The feed as readers follow it: one task of this node reads what was committed, and streams take from memory what
//! concerns them. A stream holds its position and the step that it is sending, so that a slow one delays nobody and costs little
//! memory.
//!
//! The task follows events for the servers at all times (who may call: [`crate::caller_cache`]), and all events while
//! somebody reads.

mod cursor;
mod event;
mod follower;
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
use wicara_store::Store;

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

/// How long a reader waits for a look.
const LOOK_TIME: Duration = Duration::from_secs(5);
/// Events whose content is read at once.
const LOADED_AT_ONCE: usize = 64;
/// Streams that read the content of events at once: a crowd that comes back leaves room for other requests.
const STREAM_LOADS: usize = 4;
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
        let conversation = conversation.and_then(|found| asker.join(found));
        let conversation = conversation.ok_or(Error::NotFound(Missing::Session))?;
        self.check_page(asker, &conversation.bot_id)?;
        Ok(conversation)
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
