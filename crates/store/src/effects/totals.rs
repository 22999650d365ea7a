//! What a transaction adds to the totals and takes away. SQLite has one writer, which adds to the rows of `totals` itself.
//! On PostgreSQL every batch of every node would update the same rows, and walk over all their versions while somebody
//! holds an old snapshot: a batch leaves it in a row of its own, which is folded into `totals` later.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use wicara_model::{Conversation, ConversationId, MessageId};

use super::Batch;
use crate::engine::{Error, Executor, Result, Sql, Value};

/// Bits of an id that its bucket leaves out, level by level. The function `wicara_fold_…` and the view `current_totals` of
/// PostgreSQL know how they differ.
pub(in super::super) const SHIFTS: [u32; 4] = [8, 13, 18, 23];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) enum Counted {
    Conversations,
    Messages,
}

impl Counted {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Conversations => "conversations",
            Self::Messages => "messages",
        }
    }
}

/// Counts by bucket of the lowest level, bot and integration type.
#[derive(Debug, Default)]
pub(in super::super) struct Totals {
    /// The pairs of bot and integration type that the counts are of: few.
    groups: Vec<(String, String)>,
    counts: BTreeMap<(Counted, i64, usize), i64>,
}

impl Totals {
    pub fn conversation(&mut self, conversation: &Conversation, count: i64) {
        let ConversationId(id) = conversation.id;
        self.bucket(Counted::Conversations, id >> SHIFTS[0], conversation, count);
    }

    /// `count`: of the messages in the bucket of this one.
    pub fn messages(&mut self, conversation: &Conversation, MessageId(id): MessageId, count: i64) {
        self.bucket(Counted::Messages, id >> SHIFTS[0], conversation, count);
    }

    /// `bucket`: of the lowest level.
    pub fn bucket(&mut self, counted: Counted, bucket: i64, of: &Conversation, count: i64) {
        let Conversation { bot_id, integration_type, .. } = of;
        self.add(counted, bucket, bot_id, integration_type, count);
    }

    pub fn add(&mut self, counted: Counted, bucket: i64, bot_id: &str, integration_type: &str, count: i64) {
        let known = self.groups.iter().position(|(bot, kind)| bot == bot_id && kind == integration_type);
        let group = known.unwrap_or_else(|| {
            self.groups.push((bot_id.to_owned(), integration_type.to_owned()));
            self.groups.len() - 1
        });
        *self.counts.entry((counted, bucket, group)).or_default() += count;
    }

    pub(super) async fn write(self, executor: &Executor<'_>, batch: Option<Batch>) -> Result<()> {
        let Self { groups, counts } = self;
        let counts = counts.into_iter().filter(|(_, count)| *count != 0);
        let counts = counts.map(|((counted, bucket, group), count)| (counted, bucket, &groups[group], count));
        match batch {
            Some(batch) => leave(executor, batch, counts).await,
            None => {
                let levels = counts.flat_map(|(counted, bucket, (bot_id, integration_type), count)| {
                    (0..SHIFTS.len()).map(move |level| {
                        let key: Key<'_> = (
                            counted,
                            level,
                            at_level(level, bucket),
                            bot_id.as_str(),
                            integration_type.as_str(),
                        );
                        (key, count)
                    })
                });
                let (sql, rows) = add(levels);
                executor.query_many(sql, rows).await.map(|_| ())
            }
        }
    }
}

/// The row that names the batch, with what is to be folded.
async fn leave<'a>(
    executor: &Executor<'_>,
    Batch { node, number }: Batch,
    counts: impl Iterator<Item = (Counted, i64, &'a (String, String), i64)>,
) -> Result<()> {
    let rows = counts.map(|(counted, bucket, (bot_id, integration_type), count)| {
        vec![
            counted.as_str().into(),
            bucket.into(),
            bot_id.as_str().into(),
            integration_type.as_str().into(),
            count.into(),
        ]
    });
    let mut params = vec![node.into(), number.into()];
    params.extend(super::super::engine::value::columns(rows.collect()));
    params.resize(7, Value::Null);
    let sql = "INSERT INTO node_batches (node, number, void, what, bucket, bot_id, integration_type, count) \
         SELECT nodes.node, $2, 0, CAST($3 AS text[]), CAST($4 AS bigint[]), CAST($5 AS text[]), \
             CAST($6 AS text[]), CAST($7 AS bigint[]) FROM nodes WHERE nodes.node = $1 \
         ON CONFLICT DO NOTHING RETURNING number";
    // Both pass with another number, over a connection that registers the node.
    if executor.query(sql, params).await?.is_empty() {
        return Err(Error::Unavailable("this node is not registered, or the batch was given up".into()));
    }
    Ok(())
}

/// A row of the totals, in the order in which they are locked everywhere.
pub(in super::super) type Key<'a> = (Counted, usize, i64, &'a str, &'a str);

/// The statement that adds to rows of `totals`, and takes away from them, with its parameters.
pub(in super::super) fn add<'a>(changes: impl IntoIterator<Item = (Key<'a>, i64)>) -> (Sql, Vec<Vec<Value>>) {
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
                i64::try_from(level).expect("there are few levels").into(),
                bucket.into(),
                bot_id.into(),
                integration_type.into(),
                count.into(),
            ]
        })
        .collect();
    (ADD.clone(), rows)
}

static ADD: LazyLock<Sql> = LazyLock::new(|| {
    const COLUMNS: &str = "what, level, bucket, bot_id, integration_type";
    let add = format!("ON CONFLICT ({COLUMNS}) DO UPDATE SET count = totals.count + excluded.count");
    Sql::each(
        format!(
            "INSERT INTO totals ({COLUMNS}, count) SELECT * FROM unnest(CAST($1 AS text[]), \
                 CAST($2 AS bigint[]), CAST($3 AS bigint[]), CAST($4 AS text[]), CAST($5 AS text[]), \
                 CAST($6 AS bigint[])) {add}"
        ),
        format!("INSERT INTO totals ({COLUMNS}, count) VALUES ($1, $2, $3, $4, $5, $6) {add}"),
    )
});

/// The bucket of a level in which one of the lowest level lies.
pub(in super::super) fn at_level(level: usize, bucket: i64) -> i64 {
    bucket >> (SHIFTS[level] - SHIFTS[0])
}
