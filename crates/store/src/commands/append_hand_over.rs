//! Stores the end of a question and hands its conversation over in the same transaction: a bot's answer that asks for people,
//! or one failure too many. They are rare, so that the append need not know of it.

use wicara_model::{ConversationId, Handler, HandoverReason};

use super::append::{Append, Decision, Outcome};
use super::conversation_hand_over::hand_over;
use super::message_numbers::terms_of;
use crate::Store;
use crate::engine::Result;
use crate::transaction::Transaction;

/// When an append hands its conversation over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandOverAfter {
    /// The bot asks for it.
    Answer,
    /// With so many failures of the bot in a row, since it last got the conversation back.
    Failures(u32),
}

/// Messages that failures are looked for among.
const LOOKED_THROUGH: usize = 500;

impl Store {
    /// Stores an append to an existing conversation like [`Store::append`], and hands the conversation over.
    pub async fn append_hand_over(&self, append: Append, after: HandOverAfter) -> Result<Outcome> {
        let (id, applied) = (append.target.conversation(), append.clone());
        let decision = self
            .change_queued(id, move |transaction| {
                let append = applied.clone();
                Box::pin(async move { append_and_hand_over(transaction, append, after).await })
            })
            .await?;
        self.append_outcome(decision, append, Some(after)).await
    }
}

async fn append_and_hand_over(
    transaction: &mut Transaction<'_>,
    append: Append,
    after: HandOverAfter,
) -> Result<Decision> {
    let decision = append.apply(&terms_of(&append.messages), transaction).await?;
    if let Decision::Stored { conversation_id: id, handler: Handler::Bot, .. } = decision {
        let reason = match after {
            HandOverAfter::Answer => Some(HandoverReason::Bot),
            HandOverAfter::Failures(most) => {
                has_failed(transaction, id, most).await?.then_some(HandoverReason::BotFailed)
            }
        };
        if let Some(reason) = reason {
            hand_over(transaction, id, reason, None, append.at).await?;
        }
    }
    Ok(decision)
}

/// Whether the newest questions of a locked conversation, so many of them, have a failure that is the bot's.
async fn has_failed(transaction: &mut Transaction<'_>, id: ConversationId, most: u32) -> Result<bool> {
    let locked = transaction.effects.conversations.get(id).expect("it was locked before");
    let after = locked.conversation.given_back_after;
    // The inner limit keeps the statement short in a conversation where the public says little.
    let sql = format!(
        "SELECT CAST(CASE WHEN failure IS NULL OR failure IN ('stopped', 'interrupted') THEN 0 ELSE 1 END AS bigint) \
         FROM (SELECT id, role, failure FROM messages WHERE conversation_id = $1 AND id > $2 \
             ORDER BY conversation_id DESC, id DESC LIMIT {LOOKED_THROUGH}) AS newest \
         WHERE role = 'client' ORDER BY id DESC LIMIT $3"
    );
    let params = vec![id.into(), after.into(), i64::from(most).into()];
    let rows = transaction.query(sql, params).await?;
    let failed = rows.len() == usize::try_from(most).unwrap_or(usize::MAX);
    let each = rows.into_iter().map(|row| Ok(row.int("messages", "failure")? == 1));
    Ok(failed && each.collect::<Result<Vec<_>>>()?.into_iter().all(|failed| failed))
}
