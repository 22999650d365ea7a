//! Gives conversations back to their bots that nobody has claimed for long.

use wicara_model::{Author, ConversationId, Handler, NewMessage, Timestamp, role};

use super::conversation_release::give_back;
use super::message_numbers::{store_messages, terms_of};
use crate::Store;
use crate::engine::{Lane, Result};
use crate::transaction::Transaction;

/// Conversations that are looked up in one step.
const RETURNED_AT_ONCE: usize = 100;

impl Store {
    /// Gives those back that have been in the queue since `unclaimed` or longer, and stores `text`, unless it is empty, for
    /// their visitors; returns the number.
    pub async fn conversation_return(
        &self,
        unclaimed: Timestamp,
        text: &str,
        at: Timestamp,
    ) -> Result<usize> {
        let mut count = 0;
        loop {
            let sql = format!(
                "SELECT id FROM conversations WHERE handler = 'human' AND assignee_id IS NULL AND unclaimed_since <= $1 \
                 ORDER BY unclaimed_since, id LIMIT {RETURNED_AT_ONCE}"
            );
            let rows = self.inner.reads.query(Lane::Slow, sql, vec![unclaimed.into()]).await?;
            let found = rows.len();
            for row in rows {
                let (id, text) = (ConversationId(row.int("conversations", "id")?), text.to_owned());
                let returned = self.change_queued(Some(id), move |transaction| {
                    Box::pin(return_to_bot(transaction, id, unclaimed, text.clone(), at))
                });
                count += usize::from(returned.await?);
            }
            if found < RETURNED_AT_ONCE {
                return Ok(count);
            }
        }
    }
}

/// `false` where somebody has taken it meanwhile.
async fn return_to_bot(
    transaction: &mut Transaction<'_>,
    id: ConversationId,
    unclaimed: Timestamp,
    text: String,
    at: Timestamp,
) -> Result<bool> {
    let Some(locked) = transaction.conversation(id).await? else { return Ok(false) };
    let conversation = &locked.conversation;
    let still = conversation.handler == Handler::Human
        && conversation.unclaimed_since.is_some_and(|since| since <= unclaimed);
    if !still {
        return Ok(false);
    }
    if !text.is_empty() {
        let author = Author::bot(&conversation.bot_id);
        let message =
            NewMessage { role: role::BOT.into(), author: Some(author), ..NewMessage::question(text) };
        let messages = [message];
        store_messages(transaction, id, &messages, &terms_of(&messages), at).await?;
    }
    give_back(transaction, id, at);
    Ok(true)
}
