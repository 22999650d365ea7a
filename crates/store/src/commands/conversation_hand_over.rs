//! Hands a conversation over to people, into their queue.

use wicara_model::{Author, Conversation, ConversationId, Handler, HandoverReason, Message, Timestamp};

use super::answers_stop::stop_answers;
use crate::Store;
use crate::effects::StopMark;
use crate::engine::Result;
use crate::messages::message_newest_in;
use crate::transaction::Transaction;

impl Store {
    /// Hands a conversation over and returns it; what people have already stays as it is. `None` if there is no such
    /// conversation (any more).
    pub async fn conversation_hand_over(
        &self,
        id: ConversationId,
        reason: HandoverReason,
        at: Timestamp,
    ) -> Result<Option<Conversation>> {
        self.change(Some(id), move |transaction| {
            Box::pin(async move {
                let Some(locked) = transaction.conversation(id).await? else { return Ok(None) };
                if locked.conversation.handler == Handler::Bot {
                    hand_over(transaction, id, reason, None, at).await?;
                }
                Ok(transaction.effects.conversations.get(id).map(|locked| locked.conversation.clone()))
            })
        })
        .await
    }
}

/// Gives a locked conversation to people: to the one that claims it, else into the queue. What a bot is answering in it
/// ends.
pub(super) async fn hand_over(
    transaction: &mut Transaction<'_>,
    id: ConversationId,
    reason: HandoverReason,
    assignee: Option<Author>,
    at: Timestamp,
) -> Result<()> {
    let locked = transaction.effects.conversations.get(id).expect("it was locked before");
    let before = locked.conversation.clone();
    locked.conversation.hand_over(reason, assignee, at);
    locked.conversation.updated_at = at;
    locked.is_changed = true;
    transaction.effects.events.conversation_updated(&before, &before.bot_id);
    if before.handler == Handler::Bot {
        stop_answers(transaction, id, StopMark::HandedOver).await?;
    }
    Ok(())
}

/// A locked conversation with its newest message, as clients are shown it after a change.
pub(super) async fn with_newest(
    transaction: &mut Transaction<'_>,
    id: ConversationId,
) -> Result<(Conversation, Option<Message>)> {
    let newest = message_newest_in(transaction, id, true).await?;
    let locked = transaction.effects.conversations.get(id).expect("it was locked before");
    Ok((locked.conversation.clone(), newest))
}
