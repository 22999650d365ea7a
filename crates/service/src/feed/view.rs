//! Which events a reader gets, and as what: an event that brings an entry into the reader's view is `created` to it, one
//! that takes it out is `deleted`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use wicara_model::{Bots, Caller, Change, ConversationId};

use super::event::{FeedContent, FeedConversation, FeedEvent};
use crate::Reader;
use crate::access::{Asker, Joined};

macro_rules! kinds {
    ($($kind:ident = $word:literal),*) => {
        /// The kinds of events, as readers get them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum EventKind { $($kind),* }

        impl EventKind {
            pub const ALL: &'static [EventKind] = &[$(EventKind::$kind),*];

            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(EventKind::$kind => $word),* }
            }
        }
    };
}
kinds! {
    ConversationCreated = "conversation.created",
    ConversationUpdated = "conversation.updated",
    ConversationDeleted = "conversation.deleted",
    ConversationSeen = "conversation.seen",
    MessageCreated = "message.created",
    MessageUpdated = "message.updated",
    MessageDeleted = "message.deleted",
    AnswerStarted = "answer.started",
    AnswerDelta = "answer.delta",
    AnswerFinished = "answer.finished",
    Typing = "typing"
}

impl EventKind {
    /// Whether it is lost to readers that are not connected while it happens.
    #[must_use]
    pub fn is_live(self) -> bool {
        matches!(self, Self::AnswerStarted | Self::AnswerDelta | Self::AnswerFinished | Self::Typing)
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A kind, or all kinds before a dot: `message.created`, `message.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KindPattern(Vec<EventKind>);

/// A text names no kind of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no kind of event has this name")]
pub struct UnknownKind;

impl FromStr for KindPattern {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        let matches = |kind: &&EventKind| match text.strip_suffix('*') {
            Some(start) => start.ends_with('.') && kind.as_str().starts_with(start),
            None => kind.as_str() == text,
        };
        let kinds: Vec<_> = EventKind::ALL.iter().filter(matches).copied().collect();
        if kinds.is_empty() { Err(UnknownKind) } else { Ok(Self(kinds)) }
    }
}

/// What an operator's feed is narrowed to.
#[derive(Debug, Clone, Default)]
pub struct Interest {
    /// Empty: all.
    pub conversations: Vec<ConversationId>,
    pub bot_id: Option<String>,
    /// Empty: all durable ones, and live ones where `conversations` is not empty.
    pub kinds: Vec<KindPattern>,
}

/// How a reader gets an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    AsItIs,
    /// As `created`: it came into the reader's view. There may be more to read of it.
    Entered,
    /// As `deleted`: it is gone, or left the reader's view.
    Left,
}

/// Who reads the feed, and what of it.
#[derive(Debug, Clone)]
pub struct FeedView(Arc<View>);

#[derive(Debug)]
enum View {
    Operator { reader: Option<String>, bots: Bots, interest: Interest },
    Visitor { caller: Caller, asker: Asker, conversation: ConversationId },
}

impl FeedView {
    #[must_use]
    pub fn of_reader(reader: &Reader, interest: Interest) -> Self {
        let bots = reader.bots().clone();
        Self(Arc::new(View::Operator { reader: reader.caller().id(), bots, interest }))
    }

    /// The feed of one conversation, without notes.
    #[must_use]
    pub fn of_visitor(asker: &Asker, joined: &Joined) -> Self {
        let (caller, conversation) = (asker.caller().clone(), joined.id);
        Self(Arc::new(View::Visitor { caller, asker: asker.clone(), conversation }))
    }

    #[must_use]
    pub fn is_visitors(&self) -> bool {
        matches!(*self.0, View::Visitor { .. })
    }

    /// Whether the reader may see a conversation as it is now.
    #[must_use]
    pub fn sees_conversation(&self, conversation: &FeedConversation) -> bool {
        self.sees(&conversation.conversation.bot_id)
    }

    /// The person or program that reads it, whose rights may end.
    pub(super) fn reader(&self) -> Option<String> {
        match &*self.0 {
            View::Operator { reader, .. } => reader.clone(),
            View::Visitor { caller, .. } => caller.id(),
        }
    }

    /// The conversations that it is narrowed to; empty for none.
    pub(super) fn conversations(&self) -> &[ConversationId] {
        match &*self.0 {
            View::Operator { interest, .. } => &interest.conversations,
            View::Visitor { conversation, .. } => std::slice::from_ref(conversation),
        }
    }

    /// Whether live events of a conversation with this bot are shown.
    pub(super) fn shows_live(&self, conversation: ConversationId, bot_id: &str) -> bool {
        match &*self.0 {
            View::Operator { bots, interest, .. } => {
                let named = !interest.conversations.is_empty();
                bots.contain(bot_id)
                    && interest.bot_id.as_ref().is_none_or(|bot| bot == bot_id)
                    && (named || !interest.kinds.is_empty())
                    && (!named || interest.conversations.contains(&conversation))
            }
            View::Visitor { conversation: own, .. } => *own == conversation,
        }
    }

    /// Whether the reader asked for events of this kind.
    pub(super) fn wants(&self, kind: EventKind) -> bool {
        match &*self.0 {
            View::Operator { interest, .. } => {
                interest.kinds.is_empty() || interest.kinds.iter().any(|pattern| pattern.0.contains(&kind))
            }
            View::Visitor { .. } => true,
        }
    }

    /// Whether any live event may be shown.
    pub(super) fn wants_live(&self) -> bool {
        match &*self.0 {
            View::Operator { interest, .. } if interest.kinds.is_empty() => {
                !interest.conversations.is_empty()
            }
            View::Operator { interest, .. } => {
                interest.kinds.iter().any(|pattern| pattern.0.iter().any(|kind| kind.is_live()))
            }
            View::Visitor { .. } => true,
        }
    }

    fn sees(&self, bot_id: &str) -> bool {
        match &*self.0 {
            View::Operator { bots, interest, .. } => {
                bots.contain(bot_id) && interest.bot_id.as_ref().is_none_or(|bot| bot == bot_id)
            }
            View::Visitor { asker, .. } => asker.sees_bot(bot_id),
        }
    }

    /// Whether the event may be shown, by itself: its content is not read for readers who do not get it.
    pub(super) fn may_show(&self, change: &Change) -> bool {
        if !becomes(change).iter().any(|kind| self.wants(*kind)) {
            return false;
        }
        let named = self.conversations();
        if !named.is_empty() && !change.conversation().is_some_and(|id| named.contains(&id)) {
            return false;
        }
        let visitors = self.is_visitors();
        match change {
            Change::ConversationCreated { bot_id, .. } => self.sees(bot_id),
            Change::ConversationUpdated { bot_before, bot_id, .. } => {
                self.sees(bot_before) || self.sees(bot_id)
            }
            Change::ConversationDeleted { bot_before, .. } => self.sees(bot_before),
            Change::MessageCreated { bot_id, is_shown, .. } => self.sees(bot_id) && (*is_shown || !visitors),
            Change::MessageUpdated { bot_id, was_shown, is_shown, .. } => {
                self.sees(bot_id) && (*was_shown || *is_shown || !visitors)
            }
            Change::MessageDeleted { bot_id, was_shown, .. } => {
                self.sees(bot_id) && (*was_shown || !visitors)
            }
            Change::Seen { reader, .. } => !visitors && self.reader().as_ref() == Some(reader),
            Change::Access { .. } | Change::AnswersStopped { .. } => false,
        }
    }

    /// How the event is shown now that its content is known; `None`: not at all.
    pub(super) fn show(&self, event: &FeedEvent) -> Option<(EventKind, Shown)> {
        let change = &event.event.change;
        if !self.may_show(change) {
            return None;
        }
        let (kind, shown) = self.show_content(change, event.content())?;
        self.wants(kind).then_some((kind, shown))
    }

    fn show_content(&self, change: &Change, content: &FeedContent) -> Option<(EventKind, Shown)> {
        use EventKind::{
            ConversationCreated, ConversationDeleted, ConversationSeen, ConversationUpdated, MessageCreated,
            MessageDeleted, MessageUpdated,
        };
        let visitors = self.is_visitors();
        // Where it is gone, its deletion follows. Where it has another bot now, its content is not this reader's any more.
        let conversation = content.conversation.as_ref();
        let is_seen_now = conversation.is_some_and(|found| self.sees(&found.conversation.bot_id));
        Some(match change {
            Change::ConversationDeleted { .. } => (ConversationDeleted, Shown::Left),
            Change::MessageDeleted { .. } => (MessageDeleted, Shown::Left),
            Change::ConversationUpdated { bot_id, .. } if !self.sees(bot_id) => {
                (ConversationDeleted, Shown::Left)
            }
            _ if conversation.is_none() => return None,
            Change::ConversationCreated { .. } | Change::ConversationUpdated { .. } if !is_seen_now => {
                (ConversationDeleted, Shown::Left)
            }
            Change::ConversationCreated { is_restored: true, .. } => (ConversationCreated, Shown::Entered),
            Change::ConversationCreated { .. } => (ConversationCreated, Shown::AsItIs),
            Change::ConversationUpdated { bot_before, .. } if self.sees(bot_before) => {
                (ConversationUpdated, Shown::AsItIs)
            }
            Change::ConversationUpdated { .. } => (ConversationCreated, Shown::Entered),
            Change::MessageCreated { .. } | Change::MessageUpdated { .. } => {
                let message = content.message.as_ref()?;
                let (is_created, was_shown, is_shown) = match change {
                    Change::MessageUpdated { was_shown, is_shown, .. } => (false, *was_shown, *is_shown),
                    _ => (true, false, true),
                };
                if !is_seen_now || (visitors && (message.is_note() || !is_shown)) {
                    (MessageDeleted, Shown::Left)
                } else if is_created {
                    (MessageCreated, Shown::AsItIs)
                } else if visitors && !was_shown {
                    (MessageCreated, Shown::Entered)
                } else {
                    (MessageUpdated, Shown::AsItIs)
                }
            }
            Change::Seen { .. } if is_seen_now => (ConversationSeen, Shown::AsItIs),
            Change::Seen { .. } | Change::Access { .. } | Change::AnswersStopped { .. } => return None,
        })
    }
}

/// The kinds of events that a change may be shown as; none for what is for servers.
fn becomes(change: &Change) -> &'static [EventKind] {
    use EventKind::{
        ConversationCreated, ConversationDeleted, ConversationSeen, ConversationUpdated, MessageCreated,
        MessageDeleted, MessageUpdated,
    };
    match change {
        Change::ConversationCreated { .. } => &[ConversationCreated, ConversationDeleted],
        Change::ConversationUpdated { .. } => {
            &[ConversationCreated, ConversationUpdated, ConversationDeleted]
        }
        Change::ConversationDeleted { .. } => &[ConversationDeleted],
        Change::MessageCreated { .. } => &[MessageCreated, MessageDeleted],
        Change::MessageUpdated { .. } => &[MessageCreated, MessageUpdated, MessageDeleted],
        Change::MessageDeleted { .. } => &[MessageDeleted],
        Change::Seen { .. } => &[ConversationSeen],
        Change::Access { .. } | Change::AnswersStopped { .. } => &[],
    }
}
