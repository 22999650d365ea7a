//! Conversations, as people and programs manage them.

use std::time::Duration;

use wicara_model::{
    Conversation, ConversationCounts, ConversationFilter, ConversationId, ConversationPatch, Listing,
    Message, NewConversation,
};
use wicara_store::{Append, Ask, ConversationSearch, ConversationWalk, Detail, Embed, Searched, Target};

use crate::entries::{ConversationDetail, ConversationEntries, Hits};
use crate::writes::AppendOutcome;
use crate::{
    Error, IdempotencyRequest, Missing, Readable, Reader, Result, Service, Writable, Writer, handover,
    idempotency,
};

impl Service {
    /// `bot_id`: `None` is the default bot; a bot that is not configured is accepted. `user_id`: `None` is the caller.
    ///
    /// Returns the newest message too: a retry may come after messages were added. `Forbidden` for a bot outside the
    /// caller's scope.
    pub async fn conversation_create(
        &self,
        writer: &Writer,
        room: String,
        integration_type: String,
        bot_id: Option<String>,
        user_id: Option<String>,
        idempotency: Option<IdempotencyRequest>,
    ) -> Result<(Conversation, Option<Message>)> {
        let bot_id = bot_id.unwrap_or_else(|| self.bots.default_id().to_owned());
        if !writer.has_bot(&bot_id) {
            return Err(Error::Forbidden);
        }
        let new = NewConversation {
            session_id: self.random.uuid(),
            by_visitor: false,
            room: Some(room),
            integration_type,
            bot_id,
            user_id: user_id.or_else(|| writer.reader().caller().id()),
        };
        let claim = idempotency
            .map(|request| request.claim(idempotency::scope(writer.reader(), "POST /api/conversation")));
        let at = self.clock.now();
        let target = Target::New(new.clone());
        let append = Append { at, target, messages: Vec::new(), ask: Ask::No, claim };
        match self.append(append).await? {
            AppendOutcome::Stored(stored) => Ok((new.open(stored.conversation_id, at), None)),
            AppendOutcome::Replayed { conversation_id, .. } => {
                let conversation = self.conversation_get(writer.reader(), conversation_id).await?;
                let last = self.message_last(&conversation).await?;
                Ok((conversation.into_inner(), last))
            }
        }
    }

    pub async fn conversation_get(
        &self,
        reader: &Reader,
        id: ConversationId,
    ) -> Result<Readable<Conversation>> {
        let conversation = self.store.conversation_get(id).await?;
        conversation
            .and_then(|found| reader.conversation(found))
            .ok_or(Error::NotFound(Missing::Conversation))
    }

    pub async fn conversation_get_writable(
        &self,
        writer: &Writer,
        id: ConversationId,
    ) -> Result<Writable<Conversation>> {
        let conversation = self.store.conversation_get(id).await?;
        conversation
            .and_then(|found| writer.conversation(found))
            .ok_or(Error::NotFound(Missing::Conversation))
    }

    /// A conversation with all its messages except notes.
    pub async fn detail_get(&self, reader: &Reader, id: ConversationId) -> Result<ConversationDetail> {
        let unknown = || Error::NotFound(Missing::Conversation);
        let detail = self.store.detail_get(reader.bots(), id).await?.ok_or_else(unknown)?;
        let Detail { conversation, newest, chunk } = detail;
        let conversation = reader.conversation(conversation).ok_or_else(unknown)?;
        Ok(ConversationDetail::new(self.store.clone(), conversation, newest, chunk))
    }

    pub async fn conversation_list(
        &self,
        reader: &Reader,
        filter: &ConversationFilter,
        listing: &Listing,
        embed: Embed,
    ) -> Result<ConversationEntries> {
        let list = self.store.conversation_list(reader.bots(), filter, listing, embed).await?;
        let list = reader.conversations(list);
        let list = list.ok_or_else(|| Error::Internal("a list held another bot's conversation".into()))?;
        Ok(ConversationEntries::new(self.store.clone(), reader, list, embed))
    }

    /// A list by activity or with filters beyond the documented ones, walked from place to place. What it asks of its reader
    /// is the caller's.
    pub async fn conversation_walk(
        &self,
        reader: &Reader,
        walk: ConversationWalk,
        embed: Embed,
    ) -> Result<ConversationEntries> {
        let walk = ConversationWalk { reader: reader.caller().id(), ..walk };
        let list = self.store.conversation_walk(reader.bots(), &walk, embed).await?;
        let list = reader.conversations(list);
        let list = list.ok_or_else(|| Error::Internal("a list held another bot's conversation".into()))?;
        Ok(ConversationEntries::new(self.store.clone(), reader, list, embed))
    }

    /// A list of what a query finds, which is walked too.
    pub async fn conversation_search(
        &self,
        reader: &Reader,
        mut search: ConversationSearch,
        embed: Embed,
    ) -> Result<ConversationEntries> {
        search.walk.reader = reader.caller().id();
        let Searched { list, hits } = self.store.conversation_search(reader.bots(), &search, embed).await?;
        let list = reader.conversations(list);
        let list = list.ok_or_else(|| Error::Internal("a list held another bot's conversation".into()))?;
        let ConversationSearch { query, notes, .. } = search;
        let entries = ConversationEntries::new(self.store.clone(), reader, list, embed);
        Ok(entries.found(Hits { query, notes, of: hits }))
    }

    /// How many conversations wait for the caller.
    pub async fn conversation_counts(&self, reader: &Reader) -> Result<ConversationCounts> {
        Ok(self.store.conversation_counts(reader.bots(), reader.caller().id().as_deref()).await?)
    }

    /// Returns the conversation with its newest message, notes included. `Forbidden` for moving it to a bot outside the
    /// caller's scope, `Claimed` for giving back what somebody else has.
    pub async fn conversation_update(
        &self,
        writer: &Writer,
        conversation: Writable<Conversation>,
        patch: ConversationPatch,
    ) -> Result<(Conversation, Option<Message>)> {
        if patch.bot_id.as_ref().is_some_and(|bot_id| !writer.has_bot(bot_id)) {
            return Err(Error::Forbidden);
        }
        if patch == ConversationPatch::default() {
            let last = self.message_last(conversation.readable()).await?;
            return Ok((conversation.into_inner(), last));
        }
        let by = handover::operator(writer)?;
        self.handled(self.store.conversation_update(conversation.id, patch, by, self.clock.now()).await?)
    }

    /// Deletes a conversation with its messages. Returns it as it was, with its newest message that is no note. `undo`: for
    /// how long it may be brought back.
    pub async fn conversation_delete(
        &self,
        conversation: Writable<Conversation>,
        undo: Option<Duration>,
    ) -> Result<(Conversation, Option<Message>)> {
        let deleted = match undo {
            Some(time) => self.store.conversation_delete_undoable(conversation.id, time).await?,
            None => self.store.conversation_delete(conversation.id).await?,
        };
        deleted.ok_or(Error::NotFound(Missing::Conversation))
    }

    /// Brings a deleted conversation back, with its newest message, notes included. One that is there is returned as it is.
    pub async fn conversation_restore(
        &self,
        writer: &Writer,
        id: ConversationId,
    ) -> Result<(Conversation, Option<Message>)> {
        let undo = self.store.conversation_undo(id).await?.and_then(|undo| writer.undo(undo));
        if undo.is_none() {
            self.conversation_get_writable(writer, id).await?;
        }
        let restored = self.store.conversation_restore(id, self.clock.now()).await?;
        restored.ok_or(Error::NotFound(Missing::Conversation))
    }
}
