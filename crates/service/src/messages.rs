//! Messages, as people and programs manage them.

use std::time::Duration;

use wicara_model::{
    Bots, Conversation, ConversationId, Listing, Message, MessageFilter, MessageId, MessagePatch, NewMessage,
    Walked,
};
use wicara_store::{Append, Ask, MessageSearch, MessageWalk, Target};

use crate::entries::MessageEntries;
use crate::writes::AppendOutcome;
use crate::{
    Error, IdempotencyRequest, Missing, Readable, Reader, Result, Service, Writable, Writer, idempotency,
};

impl Service {
    /// Stores a message. Its bot is not called.
    ///
    /// `found`: gets the conversation, where it is looked up before the store may refuse the message.
    pub async fn message_create(
        &self,
        writer: &Writer,
        conversation_id: ConversationId,
        new: NewMessage,
        idempotency: Option<IdempotencyRequest>,
        found: &(dyn Fn(ConversationId) + Sync),
    ) -> Result<Message> {
        let new = NewMessage { author: writer.reader().caller().author(), ..new };
        // The append finds out whether the conversation exists; but with a known idempotency key it stops before that.
        let conversation = match writer.any_conversation(conversation_id) {
            Some(conversation) if idempotency.is_none() => conversation,
            _ => {
                let conversation = self.conversation_get_writable(writer, conversation_id).await?;
                found(conversation_id);
                conversation.id()
            }
        };
        let claim = idempotency
            .map(|request| request.claim(idempotency::scope(writer.reader(), "POST /api/message")));
        let at = self.clock.now();
        let target = Target::Existing(*conversation);
        let append = Append { at, target, messages: vec![new], ask: Ask::No, claim };
        let message = match self.append(append).await? {
            AppendOutcome::Stored(mut stored) => stored.messages.pop(),
            AppendOutcome::Replayed { message_id: Some(id), .. } => {
                self.store.message_get(id).await?.map(|found| found.message)
            }
            AppendOutcome::Replayed { message_id: None, .. } => None,
        };
        message.ok_or(Error::NotFound(Missing::Conversation))
    }

    pub async fn message_get(&self, reader: &Reader, id: MessageId) -> Result<Readable<Message>> {
        let message = self.store.message_get(id).await?;
        message.and_then(|found| reader.message(found)).ok_or(Error::NotFound(Missing::Message))
    }

    pub async fn message_get_writable(&self, writer: &Writer, id: MessageId) -> Result<Writable<Message>> {
        let message = self.store.message_get(id).await?;
        message.and_then(|found| writer.message(found)).ok_or(Error::NotFound(Missing::Message))
    }

    /// A page of messages, and the number of messages on all pages.
    pub async fn message_list(
        &self,
        reader: &Reader,
        filter: &MessageFilter,
        listing: &Listing,
    ) -> Result<(i64, MessageEntries)> {
        let count = match filter.conversation_id {
            None => None,
            Some(id) => match self.conversation_get(reader, id).await {
                Ok(conversation) => Some(conversation.message_count),
                Err(Error::NotFound(_)) => Some(0),
                Err(error) => return Err(error),
            },
        };
        let list = self.store.message_list(reader.bots(), filter, count, listing).await?;
        Ok((list.total, MessageEntries::new(self.store.clone(), reader.clone(), &list.items)))
    }

    /// A list with filters beyond the documented ones, walked from place to place, and the number of its messages.
    pub async fn message_walk(
        &self,
        reader: &Reader,
        bot_id: Option<&str>,
        mut walk: MessageWalk,
    ) -> Result<(i64, Option<Walked>, MessageEntries)> {
        let bots = self.walked_bots(reader, bot_id, &mut walk).await?;
        let list = self.store.message_walk(&bots, &walk).await?;
        Ok((list.total, list.walked, MessageEntries::new(self.store.clone(), reader.clone(), &list.items)))
    }

    /// A list of what a query finds, which is walked too.
    pub async fn message_search(
        &self,
        reader: &Reader,
        bot_id: Option<&str>,
        mut search: MessageSearch,
    ) -> Result<(i64, Option<Walked>, MessageEntries)> {
        let bots = self.walked_bots(reader, bot_id, &mut search.walk).await?;
        let list = self.store.message_search(&bots, &search).await?;
        Ok((list.total, list.walked, MessageEntries::new(self.store.clone(), reader.clone(), &list.items)))
    }

    /// The bots whose messages are walked: of a conversation that the caller does not see nothing is read. `bot_id`: of the
    /// filter.
    async fn walked_bots(
        &self,
        reader: &Reader,
        bot_id: Option<&str>,
        walk: &mut MessageWalk,
    ) -> Result<Bots> {
        let bots = match bot_id {
            Some(bot) if reader.bots().contain(bot) => Bots::Only(vec![bot.to_owned()]),
            Some(_) => Bots::Only(Vec::new()),
            None => reader.bots().clone(),
        };
        let Some(id) = walk.conversation_id else { return Ok(bots) };
        match self.conversation_get(reader, id).await {
            Ok(conversation) if bots.contain(&conversation.bot_id) => Ok(bots),
            Ok(_) | Err(Error::NotFound(_)) => {
                walk.conversation_id = None;
                Ok(Bots::Only(Vec::new()))
            }
            Err(error) => Err(error),
        }
    }

    /// A conversation's newest message, notes included.
    pub async fn message_last(&self, conversation: &Readable<Conversation>) -> Result<Option<Message>> {
        if conversation.message_count == 0 {
            return Ok(None);
        }
        Ok(self.store.message_last(&[conversation.id], true).await?.pop().flatten())
    }

    pub async fn message_update(&self, message: Writable<Message>, patch: MessagePatch) -> Result<Message> {
        if patch == MessagePatch::default() {
            return Ok(message.into_inner());
        }
        self.store
            .message_update(message.conversation_id, message.id, patch, self.clock.now())
            .await?
            .ok_or(Error::NotFound(Missing::Message))
    }

    /// Returns the message as it was. `notes`: whether a note may be deleted; if not, it is `NotFound`. `undo`: for how long it
    /// may be brought back.
    pub async fn message_delete(
        &self,
        message: Writable<Message>,
        notes: bool,
        undo: Option<Duration>,
    ) -> Result<Message> {
        if message.is_note() && !notes {
            return Err(Error::NotFound(Missing::Message));
        }
        let (conversation_id, id, now) = (message.conversation_id, message.id, self.clock.now());
        let deleted = match undo {
            Some(time) => self.store.message_delete_undoable(conversation_id, id, time, now).await?,
            None => self.store.message_delete(conversation_id, id, now).await?,
        };
        deleted.ok_or(Error::NotFound(Missing::Message))
    }

    /// Brings a deleted message back. One that is there is returned as it is.
    pub async fn message_restore(&self, writer: &Writer, id: MessageId) -> Result<Message> {
        let undo = self.store.message_undo(id).await?.and_then(|undo| writer.undo(undo));
        let conversation_id = match undo {
            Some(undo) => undo.conversation_id,
            None => self.message_get_writable(writer, id).await?.conversation_id,
        };
        let restored = self.store.message_restore(conversation_id, id, self.clock.now()).await?;
        restored.ok_or(Error::NotFound(Missing::Message))
    }
}
