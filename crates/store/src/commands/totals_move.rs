//! Moves a conversation and all its messages in the totals to another bot or integration type.

use std::collections::BTreeMap;

use wicara_model::{Conversation, ConversationId};

use crate::effects::{SHIFTS, TotalKind, TotalsKey, add_statement, bucket_at_level};
use crate::engine::{Result, Sql};
use crate::transaction::Transaction;

const TOP: usize = SHIFTS.len() - 1;

/// Messages counted by one statement, and rows of `totals` changed by one: keeps each statement far below the statement
/// timeout, however long the conversation.
const MOVED_AT_ONCE: usize = 5000;
/// A conversation with at most this many messages moves like other effects, with the row of its batch (see
/// `effects/totals.rs`).
const MOVED_AS_EFFECT: i64 = 5000;

/// Counts a conversation and its messages for another bot or integration type. For a long conversation it locks rows of
/// `totals`, which all conversations share: it must be the last step of a command.
pub(super) async fn totals_move(
    transaction: &mut Transaction<'_>,
    old: &Conversation,
    new: &Conversation,
) -> Result<()> {
    transaction.effects.totals.conversation(old, -1);
    transaction.effects.totals.conversation(new, 1);
    if old.message_count <= MOVED_AS_EFFECT {
        let (buckets, _) = messages_after(transaction, old.id, i64::MIN).await?;
        for (bucket, count) in buckets {
            transaction.effects.totals.bucket(TotalKind::Messages, bucket, old, -count);
            transaction.effects.totals.bucket(TotalKind::Messages, bucket, new, count);
        }
        return Ok(());
    }
    // The buckets of the lowest level are written as they are counted, in the order of their ids. So the newest
    // buckets, which every other write adds to, are locked last; after them the few buckets of the levels above.
    let mut above: BTreeMap<(usize, i64), i64> = BTreeMap::new();
    let mut last = i64::MIN;
    loop {
        let (buckets, end) = messages_after(transaction, old.id, last).await?;
        let Some(end) = end else { break };
        last = end;
        for &(bucket, count) in &buckets {
            for level in 1..=TOP {
                *above.entry((level, bucket_at_level(level, bucket))).or_default() += count;
            }
        }
        move_buckets(transaction, buckets.into_iter().map(|(bucket, count)| ((0, bucket), count)), old, new)
            .await?;
    }
    let mut above = above.into_iter().peekable();
    while above.peek().is_some() {
        move_buckets(transaction, above.by_ref().take(MOVED_AT_ONCE), old, new).await?;
    }
    Ok(())
}

/// The next buckets with messages of a conversation after an id, each with the number of them, and the id of the last
/// message counted.
async fn messages_after(
    transaction: &Transaction<'_>,
    id: ConversationId,
    last: i64,
) -> Result<(Vec<(i64, i64)>, Option<i64>)> {
    // The row comparison and the order are exactly those of the index on (conversation_id, id). The planner does not
    // know that this conversation is long: with another order it would sort all its remaining messages, or scan all
    // messages by id.
    let page = Sql::per_dialect(
        "(conversation_id, id) > ($1, $2) AND (conversation_id, id) <= ($1, 9223372036854775807) \
         ORDER BY conversation_id, id",
        "conversation_id = $1 AND id > $2 ORDER BY id",
    );
    let sql = |page| {
        format!(
            "SELECT id >> {} AS bucket, count(*) AS count, max(id) AS last \
             FROM (SELECT id FROM messages WHERE {page} LIMIT {MOVED_AT_ONCE}) AS page GROUP BY 1 ORDER BY 1",
            SHIFTS[0]
        )
    };
    let sql = Sql::per_dialect(sql(page.postgres), sql(page.sqlite));
    let rows = transaction.query(sql, vec![id.into(), last.into()]).await?;
    let (mut buckets, mut end) = (Vec::with_capacity(rows.len()), None);
    for row in rows {
        let mut columns = row.columns("messages");
        buckets.push((columns.int("bucket")?, columns.int("count")?));
        end = Some(columns.int("last")?);
    }
    Ok((buckets, end))
}

/// Moves the counted messages of each bucket from the old bot and integration type to the new ones.
async fn move_buckets(
    transaction: &Transaction<'_>,
    buckets: impl Iterator<Item = ((usize, i64), i64)>,
    old: &Conversation,
    new: &Conversation,
) -> Result<()> {
    let (sql, rows) = add_statement(buckets.flat_map(|((level, bucket), count)| {
        [(old, -count), (new, count)].map(|(of, count)| {
            let key: TotalsKey<'_> =
                (TotalKind::Messages, level, bucket, of.bot_id.as_str(), of.integration_type.as_str());
            (key, count)
        })
    }));
    transaction.query_many(sql, rows).await.map(|_| ())
}
