//! What long answers consist of, read step by step while they are sent.

use std::collections::VecDeque;

use wicara_model::{Conversation, ConversationId, List, Message, MessageId};
use wicara_store::{self as store, CHUNK_BYTES, Chunk, MessageRef, Rest, Store};

use crate::access::Joined;
use crate::{Readable, Reader, Result};

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
    total: i64,
    state_bytes: usize,
    embed: Embed,
    /// Those whose messages are still to be read.
    conversations: std::vec::IntoIter<Conversation>,
}

/// A conversation of a list.
pub struct ConversationEntry {
    pub conversation: Conversation,
    /// As many as [`Embed`] says, oldest first.
    pub messages: Vec<Message>,
}

impl ConversationEntries {
    pub(super) fn new(store: Store, list: Readable<List<Conversation>>, embed: Embed) -> Self {
        let List { items, total } = list.into_inner();
        let texts = items.iter().map(|conversation| {
            let Conversation { room, integration_type, bot_id, user_id, .. } = conversation;
            room.len() + integration_type.len() + bot_id.len() + user_id.as_ref().map_or(0, String::len)
        });
        let state_bytes = size_of_val(&items[..]) + texts.sum::<usize>();
        Self { store, total, state_bytes, embed, conversations: items.into_iter() }
    }

    /// Conversations that match the filter in all.
    #[must_use]
    pub fn total(&self) -> i64 {
        self.total
    }
}

impl Entries for ConversationEntries {
    type Entry = ConversationEntry;

    fn state_bytes(&self) -> usize {
        self.state_bytes
    }

    fn next_bytes(&self) -> Option<usize> {
        let bytes = |conversation: &Conversation| usize::try_from(conversation.message_bytes).unwrap_or(0);
        let step = self.conversations.as_slice().iter().take(CONVERSATIONS);
        let bytes = step.map(|conversation| bytes(conversation).min(STEP_BYTES)).sum();
        (!self.conversations.as_slice().is_empty()).then_some(bytes)
    }

    async fn next(&mut self) -> Result<Vec<ConversationEntry>> {
        let step: Vec<_> = self.conversations.by_ref().take(CONVERSATIONS).collect();
        let messages: Vec<Vec<Message>> = match self.embed {
            Embed::Last => {
                let ids: Vec<ConversationId> = step.iter().map(|conversation| conversation.id).collect();
                let last = self.store.message_last(&ids, true).await?;
                last.into_iter().map(|last| last.into_iter().collect()).collect()
            }
            Embed::Newest => self.store.message_newest(&step).await?,
        };
        let entries = step.into_iter().zip(messages);
        Ok(entries.map(|(conversation, messages)| ConversationEntry { conversation, messages }).collect())
    }
}

/// Messages that were looked up, to be read by their ids.
pub struct MessageEntries {
    store: Store,
    proof: MessageProof,
    state_bytes: usize,
    /// What is to be read at once each, with its text and payload in bytes.
    steps: VecDeque<(usize, Vec<MessageId>)>,
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
        let mut each = messages.iter();
        let step = |ids: Vec<MessageId>| {
            let bytes = each.by_ref().take(ids.len()).map(|message| message.bytes).sum::<i64>();
            (usize::try_from(bytes).unwrap_or(STEP_BYTES), ids)
        };
        let steps = store::groups(messages).into_iter().map(step).collect();
        Self { store, proof, state_bytes: size_of_val(messages), steps }
    }
}

impl Entries for MessageEntries {
    type Entry = Message;

    fn state_bytes(&self) -> usize {
        self.state_bytes
    }

    fn next_bytes(&self) -> Option<usize> {
        self.steps.front().map(|(bytes, _)| *bytes)
    }

    async fn next(&mut self) -> Result<Vec<Message>> {
        let (_, ids) = self.steps.pop_front().unwrap_or_default();
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
