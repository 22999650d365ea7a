//! The entries of long answers, read batch by batch while they are sent.

use std::collections::{HashMap, VecDeque};

use wicara_model::{Conversation, ConversationId, List, Message, MessageId, Walked};
use wicara_search::{Excerpt, Query};
use wicara_store::{
    self as store, CHUNK_BYTES, Embed, Hit, ListedConversation, MessageChunk, MessageRef, Remaining, Store,
};

use crate::access::Joined;
use crate::{Readable, Reader, Result};

/// Conversations whose messages are read in one batch: bounds its memory.
const CONVERSATIONS_PER_BATCH: usize = 10;

/// Text and payload of one conversation in one batch; a single larger message is read whole.
const BATCH_BYTES: usize = CHUNK_BYTES as usize;

/// The state of a conversation that is being read: where each of its windows of a thousand messages begins and ends.
const WINDOWS_BYTES: usize = 16 * 1024;

/// The entries of an answer, with the proof that the caller may read them. A batch has a bounded number of rows and
/// bytes, so that memory can be reserved before it is read.
pub trait Entries: Send + 'static {
    type Entry: Send;

    /// Bytes that this value itself takes while the entries are read.
    fn state_bytes(&self) -> usize;

    /// Bytes of text and payload that the next batch has at most; 0 where it is in memory already, `None` after the
    /// last.
    fn next_bytes(&self) -> Option<usize>;

    /// The next batch. It may be empty: rows deleted since the first batch are left out.
    fn next(&mut self) -> impl Future<Output = Result<Vec<Self::Entry>>> + Send;
}

/// A conversation of a list.
pub struct ConversationEntry {
    pub listed: ListedConversation,
    /// The messages of the public that the caller has not read; 0 where the list does not show it.
    pub unread: i64,
    /// Where the list is searched.
    pub excerpt: Option<Excerpt>,
}

/// What a search found in the conversations of a page.
pub(super) struct Hits {
    pub query: Query,
    /// Whether notes are shown.
    pub notes: bool,
    pub of: HashMap<ConversationId, Hit>,
}

/// A page of conversations with some of their messages.
pub struct ConversationEntries {
    store: Store,
    total: i64,
    walked: Option<Walked>,
    state_bytes: usize,
    embed: Embed,
    /// Whose unread messages are counted: of the Conversation API's lists alone.
    unread_of: Option<String>,
    conversations: std::vec::IntoIter<ListedConversation>,
    hits: Option<Hits>,
}

impl ConversationEntries {
    pub(super) fn new(
        store: Store,
        reader: &Reader,
        list: Readable<List<ListedConversation>>,
        embed: Embed,
    ) -> Self {
        let List { items, total, walked } = list.into_inner();
        let state_bytes =
            size_of_val(&items[..]) + items.iter().map(ListedConversation::bytes).sum::<usize>();
        let unread_of = if embed == Embed::Last { reader.caller().id() } else { None };
        let conversations = items.into_iter();
        Self { store, total, walked, state_bytes, embed, unread_of, conversations, hits: None }
    }

    /// The same conversations, with what a search found in them.
    pub(super) fn found(self, hits: Hits) -> Self {
        Self { hits: Some(hits), ..self }
    }

    /// What a search found in the conversations of a batch.
    async fn excerpts(&self, batch: &[ListedConversation]) -> Result<Vec<Option<Excerpt>>> {
        let Some(Hits { query, notes, of }) = &self.hits else { return Ok(vec![None; batch.len()]) };
        let found = batch.iter().map(|listed| {
            let hit = of.get(&listed.conversation.id).copied().unwrap_or(Hit::Names);
            (&listed.conversation, hit)
        });
        let excerpts = self.store.search_excerpts(query, *notes, &found.collect::<Vec<_>>()).await?;
        Ok(excerpts.into_iter().map(Some).collect())
    }

    /// How the list goes on, where it is walked.
    #[must_use]
    pub fn walked(&self) -> Option<Walked> {
        self.walked
    }

    /// Conversations on all pages.
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
        let bytes =
            |listed: &ListedConversation| usize::try_from(listed.conversation.message_bytes).unwrap_or(0);
        let batch = self.conversations.as_slice().iter().take(CONVERSATIONS_PER_BATCH);
        let bytes = batch.map(|listed| bytes(listed).min(BATCH_BYTES)).sum();
        (!self.conversations.as_slice().is_empty()).then_some(bytes)
    }

    async fn next(&mut self) -> Result<Vec<ConversationEntry>> {
        let mut batch: Vec<_> = self.conversations.by_ref().take(CONVERSATIONS_PER_BATCH).collect();
        self.store.message_previews(self.embed, &mut batch).await?;
        let conversations: Vec<_> = batch.iter().map(|listed| &listed.conversation).collect();
        let unread = match &self.unread_of {
            Some(reader) => self.store.conversation_unread(reader, &conversations).await?,
            None => vec![0; batch.len()],
        };
        let excerpts = self.excerpts(&batch).await?;
        let entries = batch.into_iter().zip(unread).zip(excerpts);
        Ok(entries.map(|((listed, unread), excerpt)| ConversationEntry { listed, unread, excerpt }).collect())
    }
}

/// Messages whose ids are known, to be read batch by batch.
pub struct MessageEntries {
    store: Store,
    reader: Reader,
    state_bytes: usize,
    /// The bytes of text and payload of each batch, and its ids.
    batches: VecDeque<(usize, Vec<MessageId>)>,
}

impl MessageEntries {
    pub(super) fn new(store: Store, reader: Reader, messages: &[MessageRef]) -> Self {
        let batch = |messages: &[MessageRef]| {
            let bytes = messages.iter().map(|message| message.bytes).sum::<i64>();
            let ids = messages.iter().map(|message| message.id).collect();
            (usize::try_from(bytes).unwrap_or(BATCH_BYTES), ids)
        };
        let batches = store::split_by_size(messages).map(batch).collect();
        Self { store, reader, state_bytes: size_of_val(messages), batches }
    }
}

impl Entries for MessageEntries {
    type Entry = Message;

    fn state_bytes(&self) -> usize {
        self.state_bytes
    }

    fn next_bytes(&self) -> Option<usize> {
        self.batches.front().map(|(bytes, _)| *bytes)
    }

    async fn next(&mut self) -> Result<Vec<Message>> {
        let (_, ids) = self.batches.pop_front().unwrap_or_default();
        let found = self.store.message_get_many(&ids).await?;
        Ok(found
            .into_iter()
            .filter_map(|message| self.reader.message(message))
            .map(Readable::into_inner)
            .collect())
    }
}

/// Messages of one conversation without notes, by id: those that are in memory, then the remaining ones chunk by chunk.
pub struct ConversationMessages {
    store: Store,
    conversation_id: ConversationId,
    read: Vec<Message>,
    remaining: Option<Remaining>,
}

impl ConversationMessages {
    pub(super) fn of_joined(store: Store, conversation: &Joined, remaining: Option<Remaining>) -> Self {
        Self { store, conversation_id: conversation.id, read: Vec::new(), remaining }
    }
}

impl Entries for ConversationMessages {
    type Entry = Message;

    fn state_bytes(&self) -> usize {
        WINDOWS_BYTES
    }

    fn next_bytes(&self) -> Option<usize> {
        if !self.read.is_empty() {
            return Some(0);
        }
        let bytes = |remaining: &Remaining| usize::try_from(remaining.next_bytes()).unwrap_or(BATCH_BYTES);
        self.remaining.as_ref().map(bytes)
    }

    async fn next(&mut self) -> Result<Vec<Message>> {
        if self.read.is_empty()
            && let Some(remaining) = self.remaining.take()
        {
            let MessageChunk { messages, remaining } =
                self.store.message_chunk(self.conversation_id, remaining).await?;
            self.remaining = remaining;
            return Ok(messages);
        }
        Ok(std::mem::take(&mut self.read))
    }
}

/// A conversation, and all its messages up to the newest one at the time of the first read.
pub struct ConversationDetail {
    conversation: Readable<Conversation>,
    /// Only where it is not the last message in memory.
    newest: Option<Message>,
    messages: ConversationMessages,
}

impl ConversationDetail {
    pub(super) fn new(
        store: Store,
        conversation: Readable<Conversation>,
        newest: Option<Message>,
        MessageChunk { messages, remaining }: MessageChunk,
    ) -> Self {
        let messages =
            ConversationMessages { store, conversation_id: conversation.id, read: messages, remaining };
        Self { conversation, newest, messages }
    }

    #[must_use]
    pub fn conversation(&self) -> &Conversation {
        &self.conversation
    }

    /// Whether it has more messages than were read with the conversation.
    #[must_use]
    pub fn is_long(&self) -> bool {
        self.messages.remaining.is_some()
    }

    #[must_use]
    pub fn newest(&self) -> Option<&Message> {
        self.newest.as_ref().or(self.messages.read.last())
    }

    /// Drops the newest message where it is not one of those in memory.
    #[must_use]
    pub fn into_messages(self) -> ConversationMessages {
        self.messages
    }
}
