//! Messages, as people and programs read and keep them.

use std::sync::Arc;

use super::{EMBED_GROUP, Error, Missing, Once, Reader, Result, Service, Writer, once};
use crate::model::{
    Bots, Conversation, ConversationId, List, Listing, Message, MessageFilter, MessageId, MessagePatch,
    NewMessage,
};
use crate::store::{Append, Ask, Chunk, MessageRef, Rest, Target};

impl Service {
    /// Stores a message; the bot is not asked.
    pub async fn message_create(
        &self,
        writer: &Writer,
        conversation_id: ConversationId,
        new: NewMessage,
        once: Option<Once>,
    ) -> Result<Message> {
        // Whoever sees all learns from the store itself whether it is there, unless a key would be looked at first.
        if *writer.bots() != Bots::All || once.is_some() {
            self.conversation_get(writer, conversation_id).await?;
        }
        let claim = once.map(|once| once.claim(once::scope(writer, "POST /api/message")));
        let at = self.clock.now();
        let target = Target::Existing(conversation_id);
        let append = Append { at, target, messages: vec![new], ask: Ask::No, claim };
        let mut messages = self.append(append).await?.messages;
        messages.pop().ok_or_else(|| Error::Internal("an append lost its message".into()))
    }

    pub async fn message_get(&self, reader: &Reader, id: MessageId) -> Result<Message> {
        let message = self.store.message_get(id).await?.ok_or(Error::NotFound(Missing::Message))?;
        if *reader.bots() != Bots::All {
            let conversation = self.conversation_get(reader, message.conversation_id).await;
            conversation.map_err(as_missing_message)?;
        }
        Ok(message)
    }

    /// What a list of messages shows, to be read with [`Service::message_get_many`] as it is sent.
    pub async fn message_list(
        &self,
        reader: &Reader,
        filter: &MessageFilter,
        listing: &Listing,
    ) -> Result<List<MessageRef>> {
        let count = match filter.conversation_id {
            None => None,
            Some(id) => match self.conversation_get(reader, id).await {
                Ok(conversation) => Some(conversation.message_count),
                Err(Error::NotFound(_)) => Some(0),
                Err(error) => return Err(error),
            },
        };
        Ok(self.store.message_list(reader.bots(), filter, count, listing).await?)
    }

    /// Messages of a list the reader was just shown; one that was deleted since is left out.
    pub async fn message_get_many(&self, ids: &[MessageId]) -> Result<Vec<Message>> {
        Ok(self.store.message_get_many(ids).await?)
    }

    pub async fn message_update(
        &self,
        writer: &Writer,
        id: MessageId,
        patch: MessagePatch,
    ) -> Result<Message> {
        let message = self.message_get(writer, id).await?;
        if patch == MessagePatch::default() {
            return Ok(message);
        }
        self.store
            .message_update(message.conversation_id, id, patch, self.clock.now())
            .await?
            .ok_or(Error::NotFound(Missing::Message))
    }

    /// Returns the message as it was. `notes`: whether a note may be deleted this way or counts as unknown.
    pub async fn message_delete(&self, writer: &Writer, id: MessageId, notes: bool) -> Result<Message> {
        let message = self.message_get(writer, id).await?;
        if message.is_note() && !notes {
            return Err(Error::NotFound(Missing::Message));
        }
        self.store
            .message_delete(message.conversation_id, id, self.clock.now())
            .await?
            .ok_or(Error::NotFound(Missing::Message))
    }

    /// What follows a chunk of a conversation the reader was just shown: a bounded number of rows and bytes, so that a
    /// detail of any length streams chunk by chunk.
    pub async fn message_chunk(&self, id: ConversationId, rest: Rest) -> Result<Chunk> {
        Ok(self.store.message_chunk(id, rest).await?)
    }

    /// For each of at most [`EMBED_GROUP`] conversations its newest messages without notes, oldest first: at
    /// most 50 or 256 KiB, always at least one where there is one.
    pub async fn message_newest(&self, conversations: &[Conversation]) -> Result<Arc<Vec<Vec<Message>>>> {
        debug_assert!(conversations.len() <= EMBED_GROUP, "the group bounds the memory");
        Ok(self.store.message_newest(conversations).await?)
    }

    /// For each conversation its newest message. `notes`: whether a note counts.
    pub async fn message_last(
        &self,
        ids: &[ConversationId],
        notes: bool,
    ) -> Result<Arc<Vec<Option<Message>>>> {
        Ok(self.store.message_last(ids, notes).await?)
    }
}

fn as_missing_message(error: Error) -> Error {
    match error {
        Error::NotFound(_) => Error::NotFound(Missing::Message),
        error => error,
    }
}
