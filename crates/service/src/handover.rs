//! Who has a conversation: people take it over from the bot and give it back, and answers are stopped.

use std::time::Duration;

use uuid::Uuid;
use wicara_model::{Conversation, ConversationId, Feedback, Handler, HandoverReason, Message, MessageId};
use wicara_store::{Handling, Operator};

use crate::{Asker, Error, Missing, Readable, Reader, Result, Service, Writable, Writer};

/// Between two searches for conversations that nobody claims.
const RETURN_INTERVAL: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
pub struct HandoverSettings {
    /// Whether visitors are told the names of those who answer.
    pub show_names: bool,
    /// After how long an unclaimed conversation goes back to its bot; `None`: never.
    pub return_after: Option<Duration>,
    /// What its visitor is told then; empty: nothing.
    pub return_text: String,
}

/// A conversation as its visitor is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VisitorConversation {
    pub id: ConversationId,
    pub session_id: Uuid,
    pub handler: Handler,
    /// Whether its visitor may hand it over.
    pub may_hand_over: bool,
    /// The name of who has it, where visitors are told names.
    pub assignee_name: Option<String>,
}

type Changed = (Conversation, Option<Message>);

impl Service {
    /// Assigns a conversation to the caller, and hands it over first where the bot has it. `Claimed` where somebody else has
    /// it, unless an admin uses `force`; `Forbidden` for others who do. Returns it with its newest message.
    pub async fn conversation_claim(
        &self,
        writer: &Writer,
        conversation: Writable<Conversation>,
        force: bool,
    ) -> Result<Changed> {
        if force && !writer.is_admin() {
            return Err(Error::Forbidden);
        }
        let by = operator(writer)?;
        self.handled(self.store.conversation_claim(conversation.id, by, force, self.clock.now()).await?)
    }

    /// Gives a conversation up: to the queue or to the bot. `Claimed` where somebody else has it, unless the caller is an
    /// admin.
    pub async fn conversation_release(
        &self,
        writer: &Writer,
        conversation: Writable<Conversation>,
        to: Handler,
    ) -> Result<Changed> {
        let by = operator(writer)?;
        self.handled(self.store.conversation_release(conversation.id, by, to, self.clock.now()).await?)
    }

    /// Stops what a bot is answering in a conversation.
    pub async fn conversation_answer_stop(&self, conversation: &Writable<Conversation>) -> Result<()> {
        if !self.store.answers_stop(conversation.id).await? {
            return Err(Error::NotFound(Missing::Conversation));
        }
        self.answers_stop(conversation.id);
        Ok(())
    }

    /// Moves the caller's mark of what it has read; returns where it is now.
    pub async fn conversation_seen(
        &self,
        reader: &Reader,
        conversation: Readable<Conversation>,
        up_to: MessageId,
    ) -> Result<MessageId> {
        let id = reader.caller().id().ok_or(Error::Unauthenticated)?;
        let seen = self.store.conversation_seen(conversation.id, id, up_to).await?;
        seen.ok_or(Error::NotFound(Missing::Conversation))
    }

    /// The messages of the public that the caller has not read.
    pub async fn conversation_unread(&self, reader: &Reader, conversation: &Conversation) -> Result<i64> {
        let Some(id) = reader.caller().id() else { return Ok(0) };
        if conversation.message_count == conversation.note_count {
            return Ok(0);
        }
        Ok(self.store.conversation_unread(&id, &[conversation]).await?.first().copied().unwrap_or(0))
    }

    /// The same of a conversation that the request has changed: where it cannot be read, the change is stored all the same,
    /// so that `Unavailable`, which says that nothing was, becomes `OutcomeUnknown`.
    pub async fn conversation_unread_of_changed(
        &self,
        reader: &Reader,
        conversation: &Conversation,
    ) -> Result<i64> {
        self.conversation_unread(reader, conversation).await.map_err(|error| match error {
            Error::Unavailable => Error::OutcomeUnknown,
            error => error,
        })
    }

    /// Hands the conversation over into the queue, for its visitor; what people have already stays as it is. `Forbidden`
    /// where the bot's settings do not let visitors do so.
    pub async fn question_handover(&self, asker: &Asker, session_id: Uuid) -> Result<VisitorConversation> {
        let conversation = self.question_signal(asker, session_id).await?;
        if !self.may_hand_over(&conversation) {
            return Err(Error::Forbidden);
        }
        let (id, reason) = (conversation.id, HandoverReason::Visitor);
        let handed_over = self.store.conversation_hand_over(id, reason, self.clock.now()).await?;
        let conversation = handed_over.ok_or(Error::NotFound(Missing::Session))?;
        self.answers_stop(id);
        Ok(self.visitor_conversation(&conversation))
    }

    /// Stops what a bot is answering, for the conversation's visitor.
    pub async fn question_answer_stop(&self, asker: &Asker, session_id: Uuid) -> Result<VisitorConversation> {
        let conversation = self.question_signal(asker, session_id).await?;
        if !self.store.answers_stop(conversation.id).await? {
            return Err(Error::NotFound(Missing::Session));
        }
        self.answers_stop(conversation.id);
        Ok(self.visitor_conversation(&conversation))
    }

    /// Moves the mark of what the conversation's visitor has seen; returns where it is now.
    pub async fn question_seen(
        &self,
        asker: &Asker,
        session_id: Uuid,
        up_to: MessageId,
    ) -> Result<(ConversationId, MessageId)> {
        let conversation = self.question_signal(asker, session_id).await?;
        let seen = self.store.conversation_seen_by_visitor(conversation.id, up_to).await?;
        Ok((conversation.id, seen.ok_or(Error::NotFound(Missing::Session))?))
    }

    /// Keeps what the conversation's visitor thinks of a message of a bot or an operator; `None` takes it back. Returns the
    /// message.
    pub async fn message_feedback(
        &self,
        asker: &Asker,
        session_id: Uuid,
        id: MessageId,
        feedback: Option<(i64, Option<String>)>,
    ) -> Result<(ConversationId, Message)> {
        let conversation = self.question_signal(asker, session_id).await?;
        let at = self.clock.now();
        let feedback = feedback.map(|(value, text)| Feedback { value, text, at });
        let message = self.store.message_feedback(conversation.id, id, feedback).await?;
        Ok((conversation.id, message.ok_or(Error::NotFound(Missing::Message))?))
    }

    /// The conversation that an asker signals in, within the limit of signals.
    async fn question_signal(&self, asker: &Asker, session_id: Uuid) -> Result<Conversation> {
        let conversation = self.question_conversation(asker, session_id).await?;
        self.rate_limits.signals.take(conversation.id, self.clock.now())?;
        Ok(conversation)
    }

    /// Whether visitors are told the names of those who answer.
    #[must_use]
    pub fn shows_names(&self) -> bool {
        self.settings.handover.show_names
    }

    /// What a conversation's visitor is told of it.
    #[must_use]
    pub fn visitor_conversation(&self, conversation: &Conversation) -> VisitorConversation {
        let assignee = conversation.assignee.as_ref().filter(|_| self.settings.handover.show_names);
        VisitorConversation {
            id: conversation.id,
            session_id: conversation.session_id,
            handler: conversation.handler,
            may_hand_over: self.may_hand_over(conversation),
            assignee_name: assignee.map(|assignee| assignee.name.clone()),
        }
    }

    /// A bot that is not configured cannot answer: people may be asked for.
    fn may_hand_over(&self, conversation: &Conversation) -> bool {
        self.bots.get(&conversation.bot_id).is_none_or(|bot| bot.lets_visitors_hand_over())
    }

    /// Takes up a change of who has a conversation.
    pub(super) fn handled(&self, handling: Handling) -> Result<Changed> {
        match handling {
            Handling::Done(conversation, newest) => {
                if conversation.handler == Handler::Human {
                    self.answers_stop(conversation.id);
                }
                Ok((conversation, newest))
            }
            Handling::Claimed(assignee) => Err(Error::Claimed(assignee)),
            Handling::Gone => Err(Error::NotFound(Missing::Conversation)),
        }
    }

    /// Gives conversations that nobody claims back to their bots, again and again.
    pub(super) async fn return_unclaimed(&self) {
        let HandoverSettings { return_after: Some(after), return_text, .. } = &self.settings.handover else {
            return;
        };
        loop {
            let now = self.clock.now();
            let since = wicara_model::Timestamp(now.0 - i64::try_from(after.as_millis()).unwrap_or(i64::MAX));
            match self.store.conversation_return(since, return_text, now).await {
                Ok(0) => {}
                Ok(returned) => {
                    tracing::info!(returned, "conversations that nobody claimed are back with their bots")
                }
                Err(error) => {
                    tracing::warn!(%error, "conversations that nobody claims could not be given back")
                }
            }
            tokio::time::sleep(RETURN_INTERVAL).await;
        }
    }
}

pub(super) fn operator(writer: &Writer) -> Result<Operator> {
    let author = writer.reader().caller().author().ok_or(Error::Unauthenticated)?;
    Ok(Operator { author, is_admin: writer.is_admin() })
}
