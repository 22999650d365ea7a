//! The changes of the totals that a transaction makes. On SQLite its one writer adds them to the rows of `totals`. On
//! PostgreSQL every batch of every node would update the same rows, and scan all their dead versions while an old
//! snapshot is open: a batch stores its changes in its own row of `node_batches`, and folds add them to `totals` later.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use wicara_model::{Conversation, ConversationId, MessageId};

use super::Batch;
use crate::engine::{Error, Executor, Result, Sql, Value};

/// For each level, how many low bits of an id its bucket drops. The function `wicara_fold_…` and the view
/// `current_totals` of PostgreSQL have the differences between the levels.
pub(in super::super) const SHIFTS: [u32; 4] = [8, 13, 18, 23];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) enum TotalKind {
    Conversations,
    Messages,
}

impl TotalKind {
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
    /// The pairs of bot and integration type in `counts`, which refers to them by index: a transaction has few.
    bots_and_types: Vec<(String, String)>,
    counts: BTreeMap<(TotalKind, i64, usize), i64>,
}

impl Totals {
    /// `count`: 1 or -1.
    pub fn conversation(&mut self, conversation: &Conversation, count: i64) {
        let ConversationId(id) = conversation.id;
        self.bucket(TotalKind::Conversations, id >> SHIFTS[0], conversation, count);
    }

    /// `count`: messages added to the bucket of this message, negative for deleted ones.
    pub fn messages(&mut self, conversation: &Conversation, MessageId(id): MessageId, count: i64) {
        self.bucket(TotalKind::Messages, id >> SHIFTS[0], conversation, count);
    }

    /// `bucket`: of the lowest level. `of`: the conversation whose bot and integration type are counted.
    pub fn bucket(&mut self, kind: TotalKind, bucket: i64, of: &Conversation, count: i64) {
        let Conversation { bot_id, integration_type, .. } = of;
        self.add(kind, bucket, bot_id, integration_type, count);
    }

    pub fn add(&mut self, kind: TotalKind, bucket: i64, bot_id: &str, integration_type: &str, count: i64) {
        let known = self
            .bots_and_types
            .iter()
            .position(|(bot, of_type)| bot == bot_id && of_type == integration_type);
        let pair = known.unwrap_or_else(|| {
            self.bots_and_types.push((bot_id.to_owned(), integration_type.to_owned()));
            self.bots_and_types.len() - 1
        });
        *self.counts.entry((kind, bucket, pair)).or_default() += count;
    }

    pub(super) async fn write(self, executor: &Executor<'_>, batch: Option<Batch>) -> Result<()> {
        let Self { bots_and_types, counts } = self;
        let counts = counts.into_iter().filter(|(_, count)| *count != 0);
        let counts = counts.map(|((kind, bucket, pair), count)| (kind, bucket, &bots_and_types[pair], count));
        match batch {
            Some(batch) => insert_batch(executor, batch, counts).await,
            None => {
                let levels = counts.flat_map(|(kind, bucket, (bot_id, integration_type), count)| {
                    (0..SHIFTS.len()).map(move |level| {
                        let key: TotalsKey<'_> = (
                            kind,
                            level,
                            bucket_at_level(level, bucket),
                            bot_id.as_str(),
                            integration_type.as_str(),
                        );
                        (key, count)
                    })
                });
                let (sql, rows) = add_statement(levels);
                executor.query_many(sql, rows).await.map(|_| ())
            }
        }
    }
}

/// Stores the row of a batch with the changes to be folded.
async fn insert_batch<'a>(
    executor: &Executor<'_>,
    Batch { node, number }: Batch,
    counts: impl Iterator<Item = (TotalKind, i64, &'a (String, String), i64)>,
) -> Result<()> {
    let rows = counts.map(|(kind, bucket, (bot_id, integration_type), count)| {
        vec![
            kind.as_str().into(),
            bucket.into(),
            bot_id.as_str().into(),
            integration_type.as_str().into(),
            count.into(),
        ]
    });
    let mut params = vec![node.into(), number.into()];
    params.extend(crate::engine::value::columns(rows.collect()));
    params.resize(7, Value::Null);
    let sql = "INSERT INTO node_batches (node, number, void, what, bucket, bot_id, integration_type, count) \
         SELECT nodes.node, $2, 0, CAST($3 AS text[]), CAST($4 AS bigint[]), CAST($5 AS text[]), \
             CAST($6 AS text[]), CAST($7 AS bigint[]) FROM nodes WHERE nodes.node = $1 \
         ON CONFLICT DO NOTHING RETURNING number";
    // The retry takes another number, and a new connection registers the node.
    if executor.query(sql, params).await?.is_empty() {
        return Err(Error::Unavailable("this node is not registered, or the batch was given up".into()));
    }
    Ok(())
}

/// The key of a row of `totals`: kind, level, bucket, bot, integration type. Everywhere rows are locked in its order.
pub(in super::super) type TotalsKey<'a> = (TotalKind, usize, i64, &'a str, &'a str);

/// The statement that adds to rows of `totals`, with its rows of parameters. Counts may be negative.
pub(in super::super) fn add_statement<'a>(
    changes: impl IntoIterator<Item = (TotalsKey<'a>, i64)>,
) -> (Sql, Vec<Vec<Value>>) {
    let mut counts: BTreeMap<TotalsKey<'a>, i64> = BTreeMap::new();
    for (key, count) in changes {
        *counts.entry(key).or_default() += count;
    }
    let rows = counts
        .into_iter()
        .filter(|(_, count)| *count != 0)
        .map(|((kind, level, bucket, bot_id, integration_type), count)| {
            vec![
                kind.as_str().into(),
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
    Sql::per_dialect(
        format!(
            "INSERT INTO totals ({COLUMNS}, count) SELECT * FROM unnest(CAST($1 AS text[]), \
                 CAST($2 AS bigint[]), CAST($3 AS bigint[]), CAST($4 AS text[]), CAST($5 AS text[]), \
                 CAST($6 AS bigint[])) {add}"
        ),
        format!("INSERT INTO totals ({COLUMNS}, count) VALUES ($1, $2, $3, $4, $5, $6) {add}"),
    )
});

/// The bucket of a level that contains a bucket of the lowest level.
pub(in super::super) fn bucket_at_level(level: usize, bucket: i64) -> i64 {
    bucket >> (SHIFTS[level] - SHIFTS[0])
}
