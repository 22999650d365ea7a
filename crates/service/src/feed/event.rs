//! An event with its content, which is read when the event is about to be shown.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use wicara_model::{Conversation, Event, Message};

/// What an event costs in memory beside its content.
const EVENT_BYTES: usize = 512;

/// An event of the feed, shared by all streams that show it.
#[derive(Debug)]
pub struct FeedEvent {
    pub event: Event,
    content: OnceLock<FeedContent>,
    /// The event as HTTP writes it where it is shown as it is: for operators, for visitors. Each is made once.
    pub frames: [OnceLock<Bytes>; 2],
}

/// What an event is about, as it is when it is read.
#[derive(Debug, Default)]
pub struct FeedContent {
    /// `None` where it is deleted.
    pub conversation: Option<Arc<FeedConversation>>,
    /// `None` where it is deleted, and for events that name no message.
    pub message: Option<Message>,
}

#[derive(Debug)]
pub struct FeedConversation {
    pub conversation: Conversation,
    /// Its newest message, which may be a note.
    pub newest: Option<Message>,
}

impl FeedEvent {
    pub(super) fn new(event: Event) -> Arc<Self> {
        Arc::new(Self { event, content: OnceLock::new(), frames: Default::default() })
    }

    pub(super) fn is_loaded(&self) -> bool {
        self.content.get().is_some()
    }

    /// Keeps what was read first, where two streams read it.
    pub(super) fn load(&self, content: FeedContent) {
        let _ = self.content.set(content);
    }

    /// The content; empty before it is read.
    #[must_use]
    pub fn content(&self) -> &FeedContent {
        static EMPTY: FeedContent = FeedContent { conversation: None, message: None };
        self.content.get().unwrap_or(&EMPTY)
    }

    fn content_bytes(&self) -> usize {
        let FeedContent { conversation, message } = self.content();
        let newest = conversation.as_ref().and_then(|found| found.newest.as_ref());
        [message.as_ref(), newest].into_iter().flatten().map(Message::bytes).sum()
    }

    /// About how much a reader is sent.
    pub(super) fn sent_bytes(&self) -> usize {
        EVENT_BYTES + self.content_bytes()
    }

    /// About how much memory the event and what is kept of it take: once as it was read, and once for each kind of reader.
    pub(super) fn bytes(&self) -> usize {
        EVENT_BYTES + 3 * self.content_bytes()
    }
}
