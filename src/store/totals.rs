//! How many conversations and messages there are, and where the one of a rank lies, exactly and without counting them.
//!
//! 256 ids make a bucket, 32 buckets one of the next level, and so twice more. Table `totals` has a number for each
//! bucket, bot and integration type, kept in the transaction of what it counts. A list adds numbers up and looks only
//! at the rows of the buckets that its page lies in, so that every page costs the same, however many there are.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::OnceCell;

use super::Store;
use super::engine::{Lane, Result, Sql, Statement, Transaction};
use super::lists::{Conditions, Part, direction};
use crate::model::{Conversation, ConversationId, List, Listing, MessageId, Order};

/// Bits of an id that its bucket leaves out, level by level.
const SHIFTS: [u32; 4] = [8, 13, 18, 23];
const TOP: usize = SHIFTS.len() - 1;
/// Buckets that one of the next level holds, and that are read at once. Each has a number for every bot and
/// integration type.
const BUCKETS: i64 = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Counted {
    Conversations,
    Messages,
}

impl Counted {
    fn as_str(self) -> &'static str {
        match self {
            Self::Conversations => "conversations",
            Self::Messages => "messages",
        }
    }
}

/// What a transaction adds to the totals and takes away: by bucket of the lowest level, bot and integration type.
#[derive(Default)]
pub(super) struct Changes<'a>(BTreeMap<(Counted, i64, &'a str, &'a str), i64>);

impl<'a> Changes<'a> {
    pub fn conversation(&mut self, conversation: &'a Conversation, count: i64) {
        self.add(Counted::Conversations, conversation.id.0, conversation, count);
    }

    /// `count`: of the messages in the bucket of this one.
    pub fn messages(&mut self, conversation: &'a Conversation, MessageId(id): MessageId, count: i64) {
        self.add(Counted::Messages, id, conversation, count);
    }

    fn add(&mut self, counted: Counted, id: i64, conversation: &'a Conversation, count: i64) {
        let Conversation { bot_id, integration_type, .. } = conversation;
        *self.0.entry((counted, id >> SHIFTS[0], bot_id, integration_type)).or_default() += count;
    }

    /// Locks the totals: comes last in a transaction's command.
    pub async fn write(self, transaction: &Transaction<'_>) -> Result<()> {
        let (sql, rows) =
            add(self.0.into_iter().flat_map(|((counted, bucket, bot_id, integration_type), count)| {
                (0..=TOP).map(move |level| {
                    ((counted, level, at_level(level, bucket), bot_id, integration_type), count)
                })
            }));
        transaction.execute_many(sql, rows).await
    }
}

/// A row of the totals, in the order in which they are locked everywhere.
type Key<'a> = (Counted, usize, i64, &'a str, &'a str);

/// The statement that adds to rows of the totals, and takes away from them, with its parameters.
fn add<'a>(changes: impl IntoIterator<Item = (Key<'a>, i64)>) -> Statement {
    let mut counts: BTreeMap<Key<'a>, i64> = BTreeMap::new();
    for (key, count) in changes {
        *counts.entry(key).or_default() += count;
    }
    let rows = counts
        .into_iter()
        .filter(|(_, count)| *count != 0)
        .map(|((counted, level, bucket, bot_id, integration_type), count)| {
            vec![
                counted.as_str().into(),
                level_number(level).into(),
                bucket.into(),
                bot_id.into(),
                integration_type.into(),
                count.into(),
            ]
        })
        .collect();
    const COLUMNS: &str = "what, level, bucket, bot_id, integration_type";
    let add = format!("ON CONFLICT ({COLUMNS}) DO UPDATE SET count = totals.count + excluded.count");
    let sql = Sql::each(
        format!(
            "INSERT INTO totals ({COLUMNS}, count) SELECT * FROM unnest(CAST($1 AS text[]), \
                 CAST($2 AS bigint[]), CAST($3 AS bigint[]), CAST($4 AS text[]), CAST($5 AS text[]), \
                 CAST($6 AS bigint[])) {add}"
        ),
        format!("INSERT INTO totals ({COLUMNS}, count) VALUES ($1, $2, $3, $4, $5, $6) {add}"),
    );
    (sql, rows)
}

fn messages_key(level: usize, bucket: i64, of: &Conversation) -> Key<'_> {
    (Counted::Messages, level, bucket, &of.bot_id, &of.integration_type)
}

/// The bucket of a level in which one of the lowest level lies.
fn at_level(level: usize, bucket: i64) -> i64 {
    bucket >> (SHIFTS[level] - SHIFTS[0])
}

fn level_number(level: usize) -> i64 {
    i64::try_from(level).expect("there are few levels")
}

/// Messages that are counted in one statement, and rows of the totals that are changed in one, where a conversation
/// moves: whatever their number, each takes a small part of the time that a statement may take.
const MOVED: usize = 5000;

/// Counts a conversation and its messages for another bot or integration type. Locks the totals, in their order: comes
/// last in a transaction's command.
pub(super) async fn move_conversation(
    transaction: &Transaction<'_>,
    old: &Conversation,
    new: &Conversation,
) -> Result<()> {
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
    // Every new conversation adds to the top of these.
    let mut conversation = Changes::default();
    conversation.conversation(old, -1);
    conversation.conversation(new, 1);
    conversation.write(transaction).await
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
    let statement = add(buckets.flat_map(|((level, bucket), count)| {
        [(messages_key(level, bucket, old), -count), (messages_key(level, bucket, new), count)]
    }));
    // Waited for: what is only sent is waited for as one.
    transaction.query_all([statement]).await.map(|_| ())
}

/// The level at which to begin to look for a page, for conversations and for messages: the lowest that has no more
/// than 32 buckets, as far as was seen. Any other gives the same page, later.
#[derive(Default)]
pub(super) struct Levels([OnceCell<AtomicUsize>; 2]);

impl Levels {
    async fn get(&self, counted: Counted, store: &Store) -> Result<usize> {
        let read = || async {
            let sql =
                format!("SELECT max(bucket) FROM totals WHERE what = '{}' AND level = 0", counted.as_str());
            let rows = store.inner.reads.query(Lane::Quick, sql, vec![]).await?;
            let last =
                rows.into_iter().next().map_or(Ok(None), |row| row.columns("totals").opt_int("bucket"))?;
            let is_low = |shift: &u32| last.unwrap_or(0) >> (shift - SHIFTS[0]) < BUCKETS;
            Ok(AtomicUsize::new(SHIFTS.iter().position(is_low).unwrap_or(TOP)))
        };
        self.0[counted as usize].get_or_try_init(read).await.map(|level| level.load(Ordering::Relaxed))
    }

    /// After a look at a level, of which this was the last bucket.
    fn note(&self, counted: Counted, level: usize, last: i64) {
        if last >= BUCKETS
            && level < TOP
            && let Some(known) = self.0[counted as usize].get()
        {
            known.fetch_max(level + 1, Ordering::Relaxed);
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    level: usize,
    number: i64,
    count: i64,
}

impl Bucket {
    fn first(&self) -> i64 {
        self.number << SHIFTS[self.level]
    }

    fn last(&self) -> i64 {
        self.first() | ((1 << SHIFTS[self.level]) - 1)
    }
}

/// The way through the buckets to a part of a list, and on until it is full.
struct Walk<'a> {
    store: &'a Store,
    counted: Counted,
    scope: Conditions,
    /// What is still to be found: between these ids, after so many.
    part: Part,
    /// Buckets to look into, the next one last.
    buckets: Vec<Bucket>,
}

impl Store {
    /// One part of a list whose entries have bots and integration types in common and nothing else: `scope` says it
    /// for the totals, `read` reads what of it lies in a part of the table.
    pub(super) async fn list<T, F>(
        &self,
        counted: Counted,
        scope: Conditions,
        listing: &Listing,
        read: impl Fn(Part) -> F,
    ) -> Result<List<T>>
    where
        F: Future<Output = Result<Vec<T>>>,
    {
        let part = Part::of(listing);
        // Where the primary key begins with the part, only the total is wanted.
        let is_straight = scope.is_empty() && part.skip == 0;
        let mut walk = Walk { store: self, counted, scope, part, buckets: Vec::new() };
        let level = if is_straight { TOP } else { self.inner.levels.get(counted, self).await? };
        let buckets = walk.read(Lane::Quick, level, None).await?;
        let total = buckets.iter().map(|bucket| bucket.count).sum();
        if part.skip >= total {
            return Ok(List { items: Vec::new(), total });
        }
        if is_straight {
            return Ok(List { items: read(part).await?, total });
        }
        self.inner.levels.note(counted, level, buckets.iter().map(|bucket| bucket.number).max().unwrap_or(0));
        walk.push(buckets);
        let limit = usize::try_from(listing.limit).unwrap_or_default();
        let mut items = Vec::new();
        while items.len() < limit
            && let Some(part) = walk.next().await?
        {
            items.extend(read(part).await?);
        }
        items.truncate(limit);
        Ok(List { items, total })
    }
}

impl Walk<'_> {
    /// The next part of the table with entries of the list, until there are enough; it may hold fewer than the limit.
    async fn next(&mut self) -> Result<Option<Part>> {
        while let Some(bucket) = self.buckets.pop() {
            let mut part = self.part;
            (part.first, part.last) = (part.first.max(bucket.first()), part.last.min(bucket.last()));
            if part.first > part.last {
                continue;
            }
            if part.skip >= bucket.count {
                self.part.skip -= bucket.count;
                continue;
            }
            if bucket.level > 0 {
                let inside = self.read(Lane::Rest, bucket.level - 1, Some(bucket)).await?;
                self.push(inside);
                continue;
            }
            self.part.skip = 0;
            if self.scope.is_empty() {
                // The primary key goes on where the bucket ends.
                self.buckets.clear();
                match part.order {
                    Order::Ascending => part.last = self.part.last,
                    Order::Descending => part.first = self.part.first,
                }
            }
            return Ok(Some(part));
        }
        Ok(None)
    }

    fn push(&mut self, buckets: Vec<Bucket>) {
        self.buckets.extend(buckets.into_iter().rev());
    }

    /// The buckets of a level with entries, in the list's order: all of them, or as many inside another one as the
    /// part can need.
    async fn read(&self, lane: Lane, level: usize, inside: Option<Bucket>) -> Result<Vec<Bucket>> {
        let Part { first, last, order, skip, limit } = self.part;
        // Words in the text and always two bounds, so that PostgreSQL expects few rows and uses the index.
        let (first, last) = match inside {
            Some(bucket) => (bucket.first().max(first), bucket.last().min(last)),
            None => (0, i64::MAX),
        };
        let mut conditions = self.scope.clone();
        conditions.and_text(format!("what = '{}' AND level = {level}", self.counted.as_str()));
        conditions.and("bucket >= ?", first >> SHIFTS[level]);
        conditions.and("bucket <= ?", last >> SHIFTS[level]);
        // Each has an entry, but for the first and the last: theirs may lie beyond the part.
        let limit =
            if inside.is_some() && skip == 0 { format!(" LIMIT {}", limit + 2) } else { String::new() };
        let sql = format!(
            "SELECT bucket, sum(count) FROM totals{} GROUP BY bucket HAVING sum(count) > 0 \
             ORDER BY bucket {}{limit}",
            conditions.text(),
            direction(order),
        );
        let rows = self.store.inner.reads.query(lane, sql, conditions.params()).await?;
        rows.into_iter()
            .map(|row| {
                let mut columns = row.columns("totals");
                Ok(Bucket { level, number: columns.int("bucket")?, count: columns.int("count")? })
            })
            .collect()
    }
}
