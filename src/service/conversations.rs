//! Conversations, as people and programs read and keep them.

use std::sync::Arc;

use super::{Error, Missing, Once, Reader, Result, Service, Writer, once};
use crate::model::{
    Conversation, ConversationFilter, ConversationId, ConversationPatch, List, Listing, Message,
    NewConversation,
};
use crate::store::{Append, Ask, Chunk, Target};

impl Service {
    /// `bot_id`: `None` is the default bot, and it need not name a configured one; `user_id`: `None` is the
    /// caller. `Forbidden` for a bot outside the caller's.
    pub async fn conversation_create(
        &self,
        writer: &Writer,
        room: String,
        integration_type: String,
        bot_id: Option<String>,
        user_id: Option<String>,
        once: Option<Once>,
    ) -> Result<Conversation> {
        let bot_id = bot_id.unwrap_or_else(|| self.bots.default_id().to_owned());
        if !writer.bots().contain(&bot_id) {
            return Err(Error::Forbidden);
        }
        let new = NewConversation {
            session_id: self.random.uuid(),
            by_visitor: false,
            room: Some(room),
            integration_type,
            bot_id,
            user_id: user_id.or_else(|| writer.caller().id()),
        };
        let claim = once.map(|once| once.claim(once::scope(writer, "POST /api/conversation")));
        let at = self.clock.now();
        let append = Append { at, target: Target::New(new), messages: Vec::new(), ask: Ask::No, claim };
        Ok(self.append(append).await?.conversation)
    }

    pub async fn conversation_get(&self, reader: &Reader, id: ConversationId) -> Result<Conversation> {
        self.store
            .conversation_get(id)
            .await?
            .filter(|conversation| reader.bots().contain(&conversation.bot_id))
            .ok_or(Error::NotFound(Missing::Conversation))
    }

    /// A conversation and the first of its messages without notes; the others follow with [`Service::message_chunk`].
    pub async fn detail_get(&self, reader: &Reader, id: ConversationId) -> Result<(Conversation, Chunk)> {
        self.store.detail_get(reader.bots(), id).await?.ok_or(Error::NotFound(Missing::Conversation))
    }

    pub async fn conversation_list(
        &self,
        reader: &Reader,
        filter: &ConversationFilter,
        listing: &Listing,
    ) -> Result<Arc<List<Conversation>>> {
        Ok(self.store.conversation_list(reader.bots(), filter, listing).await?)
    }

    /// Returns it with its newest message, notes included. `Forbidden` for moving it to a bot outside the caller's.
    pub async fn conversation_update(
        &self,
        writer: &Writer,
        id: ConversationId,
        patch: ConversationPatch,
    ) -> Result<(Conversation, Option<Message>)> {
        let conversation = self.conversation_get(writer, id).await?;
        if patch.bot_id.as_ref().is_some_and(|bot_id| !writer.bots().contain(bot_id)) {
            return Err(Error::Forbidden);
        }
        if patch == ConversationPatch::default() {
            let last = self.store.message_last(&[id], true).await?;
            return Ok((conversation, Arc::unwrap_or_clone(last).pop().flatten()));
        }
        self.store
            .conversation_update(id, patch, self.clock.now())
            .await?
            .ok_or(Error::NotFound(Missing::Conversation))
    }

    /// Deletes it with its messages; returns it as it was, with its newest message that is no note.
    pub async fn conversation_delete(
        &self,
        writer: &Writer,
        id: ConversationId,
    ) -> Result<(Conversation, Option<Message>)> {
        self.conversation_get(writer, id).await?;
        self.store.conversation_delete(id).await?.ok_or(Error::NotFound(Missing::Conversation))
    }
}
