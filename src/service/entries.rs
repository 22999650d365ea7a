//! What long answers consist of, read step by step while they are sent.

use std::collections::VecDeque;
use std::sync::Arc;

use super::access::Joined;
use super::{Readable, Reader, Result};
use crate::model::{Conversation, ConversationId, List, Message, MessageId};
use crate::store::{self, CHUNK_BYTES, Chunk, MessageRef, Rest, Store};

/// Conversations whose messages are read in one step: bounds its memory.
const CONVERSATIONS: usize = 10;

/// Text and payload that are read of one conversation in one step, but for a single larger message.
const STEP_BYTES: usize = CHUNK_BYTES as usize;

/// What is known of the messages that are still to be read of a conversation: where each part of a thousand begins and
/// ends.
const REST_BYTES: usize = 16 * 1024;

/// The entries of an answer with the proof that they may be read. A step reads a bounded number of rows and bytes, so
/// that memory can be reserved for it first.
pub trait Entries: Send + 'static {
    type Entry: Send;

    /// Memory that this takes by itself while the entries are read.
    fn state_bytes(&self) -> usize;

    /// Text and payload that the next step may read; 0 where that was read already, `None` after the last step.
    fn next_bytes(&self) -> Option<usize>;

    /// The next step. What was deleted since the first one is left out, so that there may be nothing in it.
    fn next(&mut self) -> impl Future<Output = Result<Vec<Self::Entry>>> + Send;
}

/// What a list shows of each conversation's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Embed {
    /// The newest, notes included.
    Last,
    /// The newest without notes, oldest first: at most 50 or 256 KiB, always at least one where there is one.
    Newest,
}

/// A page of conversations with some of their messages.
pub struct ConversationEntries {
    store: Store,
    list: Readable<Arc<List<Conversation>>>,
    embed: Embed,
    /// Conversations that were read.
    read: usize,
}

/// A conversation of a list. What equal lists have in common is in memory once.
pub struct ConversationEntry {
    list: Arc<List<Conversation>>,
    place: usize,
    messages: Embedded,
    /// The place among the conversations of its step.
    step_place: usize,
}

#[derive(Clone)]
enum Embedded {
    Last(Arc<Vec<Option<Message>>>),
    Newest(Arc<Vec<Vec<Message>>>),
}

impl ConversationEntry {
    #[must_use]
    pub fn conversation(&self) -> &Conversation {
        &self.list.items[self.place]
    }

    /// As many as [`Embed`] says, oldest first.
    #[must_use]
    pub fn messages(&self) -> &[Message] {
        match &self.messages {
            Embedded::Last(last) => last.get(self.step_place).map_or(&[], Option::as_slice),
            Embedded::Newest(newest) => newest.get(self.step_place).map_or(&[], Vec::as_slice),
        }
    }
}

impl ConversationEntries {
    pub(super) fn new(store: Store, list: Readable<Arc<List<Conversation>>>, embed: Embed) -> Self {
        Self { store, list, embed, read: 0 }
    }

    /// Conversations that match the filter in all.
    #[must_use]
    pub fn total(&self) -> i64 {
        self.list.total
    }

    fn step(&self) -> &[Conversation] {
        let rest = &self.list.items[self.read..];
        &rest[..rest.len().min(CONVERSATIONS)]
    }
}

impl Entries for ConversationEntries {
    type Entry = ConversationEntry;

    fn state_bytes(&self) -> usize {
        let texts = self.list.items.iter().map(|conversation| {
            let Conversation { room, integration_type, bot_id, user_id, .. } = conversation;
            room.len() + integration_type.len() + bot_id.len() + user_id.as_ref().map_or(0, String::len)
        });
        size_of_val(&self.list.items[..]) + texts.sum::<usize>()
    }

    fn next_bytes(&self) -> Option<usize> {
        let bytes = |conversation: &Conversation| usize::try_from(conversation.message_bytes).unwrap_or(0);
        let step = self.step();
        let bytes = step.iter().map(|conversation| bytes(conversation).min(STEP_BYTES)).sum();
        (!step.is_empty()).then_some(bytes)
    }

    async fn next(&mut self) -> Result<Vec<ConversationEntry>> {
        let step = self.step();
        let messages = match self.embed {
            Embed::Last => {
                let ids: Vec<ConversationId> = step.iter().map(|conversation| conversation.id).collect();
                Embedded::Last(self.store.message_last(&ids, true).await?)
            }
            Embed::Newest => Embedded::Newest(self.store.message_newest(step).await?),
        };
        let places = self.read..self.read + step.len();
        self.read = places.end;
        let entry = |(step_place, place)| {
            let (list, messages) = (Arc::clone(&self.list), messages.clone());
            ConversationEntry { list, place, messages, step_place }
        };
        Ok(places.enumerate().map(entry).collect())
    }
}

/// Messages that were looked up, to be read by their ids.
pub struct MessageEntries {
    store: Store,
    proof: MessageProof,
    state_bytes: usize,
    /// What is to be read at once each.
    steps: VecDeque<Vec<MessageId>>,
}

/// What each message is held against as it is read.
pub(super) enum MessageProof {
    Reader(Reader),
    Joined(Joined),
}

impl MessageProof {
    fn message(&self, message: store::BotMessage) -> Option<Message> {
        match self {
            Self::Reader(reader) => reader.message(message).map(Readable::into_inner),
            Self::Joined(joined) => joined.message(message),
        }
    }
}

impl MessageEntries {
    pub(super) fn new(store: Store, proof: MessageProof, messages: &[MessageRef]) -> Self {
        let steps = store::groups(messages).into();
        Self { store, proof, state_bytes: size_of_val(messages), steps }
    }
}

impl Entries for MessageEntries {
    type Entry = Message;

    fn state_bytes(&self) -> usize {
        self.state_bytes
    }

    fn next_bytes(&self) -> Option<usize> {
        (!self.steps.is_empty()).then_some(STEP_BYTES)
    }

    async fn next(&mut self) -> Result<Vec<Message>> {
        let ids = self.steps.pop_front().unwrap_or_default();
        let found = self.store.message_get_many(&ids).await?;
        Ok(found.into_iter().filter_map(|message| self.proof.message(message)).collect())
    }
}

/// All messages of a conversation without notes, by id, up to the one that was the newest at first.
pub struct DetailEntries {
    store: Store,
    conversation: Readable<Conversation>,
    /// Until the first step, where it is not the last of what was read.
    newest: Option<Message>,
    /// What was read with the conversation: all of a short one's.
    read: Vec<Message>,
    rest: Option<Rest>,
}

impl DetailEntries {
    pub(super) fn new(
        store: Store,
        conversation: Readable<Conversation>,
        newest: Option<Message>,
        Chunk { messages, rest }: Chunk,
    ) -> Self {
        Self { store, conversation, newest, read: messages, rest }
    }

    #[must_use]
    pub fn conversation(&self) -> &Conversation {
        &self.conversation
    }

    /// Whether there is more of it than was read with the conversation.
    #[must_use]
    pub fn is_long(&self) -> bool {
        self.rest.is_some()
    }

    /// The newest message, to be asked for before the first step.
    #[must_use]
    pub fn newest(&self) -> Option<&Message> {
        self.newest.as_ref().or(self.read.last())
    }
}

impl Entries for DetailEntries {
    type Entry = Message;

    fn state_bytes(&self) -> usize {
        REST_BYTES
    }

    fn next_bytes(&self) -> Option<usize> {
        if self.read.is_empty() { self.rest.as_ref().map(|_| STEP_BYTES) } else { Some(0) }
    }

    async fn next(&mut self) -> Result<Vec<Message>> {
        self.newest = None;
        if self.read.is_empty()
            && let Some(rest) = self.rest.take()
        {
            let Chunk { messages, rest } = self.store.message_chunk(self.conversation.id, rest).await?;
            self.rest = rest;
            return Ok(messages);
        }
        Ok(std::mem::take(&mut self.read))
    }
}
