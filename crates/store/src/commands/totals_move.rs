//! A conversation that is counted for another bot or integration type, with all its messages.

use std::collections::BTreeMap;

use wicara_model::{Conversation, ConversationId};

use crate::effects::{Counted, Key, SHIFTS, add, at_level};
use crate::engine::{Result, Sql};
use crate::transaction::Transaction;

const TOP: usize = SHIFTS.len() - 1;

/// Messages that are counted in one statement, and rows of the totals that are changed in one, where a conversation
/// moves: whatever their number, each takes a small part of the time that a statement may take.
const MOVED: usize = 5000;
/// Messages of a conversation that moves as other effects do, in one row.
const MOVED_AS_EFFECT: i64 = 5000;

/// Counts a conversation and its messages for another bot or integration type. For a long one it locks rows of `totals`,
/// in their order: comes last in a command.
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
            transaction.effects.totals.bucket(Counted::Messages, bucket, old, -count);
            transaction.effects.totals.bucket(Counted::Messages, bucket, new, count);
        }
        return Ok(());
    }
    // The buckets of the lowest level are written as they are counted, in the order of their ids. The newest buckets,
    // which every other write adds to, come last, and with them the few of the levels above.
    let mut above: BTreeMap<(usize, i64), i64> = BTreeMap::new();
    let mut last = i64::MIN;
    loop {
        let (part, end) = messages_after(transaction, old.id, last).await?;
        let Some(end) = end else { break };
        last = end;
        for &(bucket, count) in &part {
            for level in 1..=TOP {
                *above.entry((level, at_level(level, bucket))).or_default() += count;
            }
        }
        move_buckets(transaction, part.into_iter().map(|(bucket, count)| ((0, bucket), count)), old, new)
            .await?;
    }
    let mut above = above.into_iter().peekable();
    while above.peek().is_some() {
        move_buckets(transaction, above.by_ref().take(MOVED), old, new).await?;
    }
    Ok(())
}

/// The next buckets with messages of a conversation after an id, how many it has in each, and the last one's id.
async fn messages_after(
    transaction: &Transaction<'_>,
    id: ConversationId,
    last: i64,
) -> Result<(Vec<(i64, i64)>, Option<i64>)> {
    // In an order that PostgreSQL finds in one index alone: it cannot know that this conversation is a long one, and
    // would sort all the rest of it, or look for it among all messages.
    let part = Sql::each(
        "(conversation_id, id) > ($1, $2) AND (conversation_id, id) <= ($1, 9223372036854775807) \
         ORDER BY conversation_id, id",
        "conversation_id = $1 AND id > $2 ORDER BY id",
    );
    let sql = |part| {
        format!(
            "SELECT id >> {} AS bucket, count(*) AS count, max(id) AS last \
             FROM (SELECT id FROM messages WHERE {part} LIMIT {MOVED}) AS part GROUP BY 1 ORDER BY 1",
            SHIFTS[0]
        )
    };
    let sql = Sql::each(sql(part.postgres), sql(part.sqlite));
    let rows = transaction.query(sql, vec![id.into(), last.into()]).await?;
    let (mut buckets, mut end) = (Vec::with_capacity(rows.len()), None);
    for row in rows {
        let mut columns = row.columns("messages");
        buckets.push((columns.int("bucket")?, columns.int("count")?));
        end = Some(columns.int("last")?);
    }
    Ok((buckets, end))
}

/// Moves so many messages in each bucket of a level from one conversation's bot and integration type to another's.
async fn move_buckets(
    transaction: &Transaction<'_>,
    buckets: impl Iterator<Item = ((usize, i64), i64)>,
    old: &Conversation,
    new: &Conversation,
) -> Result<()> {
    let (sql, rows) = add(buckets.flat_map(|((level, bucket), count)| {
        [(old, -count), (new, count)].map(|(of, count)| {
            let key: Key<'_> =
                (Counted::Messages, level, bucket, of.bot_id.as_str(), of.integration_type.as_str());
            (key, count)
        })
    }));
    transaction.query_many(sql, rows).await.map(|_| ())
}
