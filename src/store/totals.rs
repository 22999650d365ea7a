//! How many conversations and messages there are, and where the one of a rank lies, exactly and without counting them.
//!
//! 256 ids make a bucket, 32 buckets one of the next level, and so twice more. The view `current_totals` has a number for
//! each bucket, bot and integration type, kept as an effect of what it counts (`effects/totals.rs`). A list adds numbers up
//! and looks only at the rows of the buckets that its page lies in, so that every page costs the same, however many there
//! are.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::OnceCell;

use super::Store;
use super::effects::{Counted, SHIFTS};
use super::engine::{Lane, Result};
use super::lists::{Conditions, Part, direction};
use crate::model::{List, Listing, Order};

const TOP: usize = SHIFTS.len() - 1;
/// Buckets that one of the next level holds, and that are read at once. Each has a number for every bot and
/// integration type.
const BUCKETS: i64 = 32;

/// The level at which to begin to look for a page, for conversations and for messages: the lowest that has no more
/// than 32 buckets, as far as was seen. Any other gives the same page, later.
#[derive(Default)]
pub(super) struct Levels([OnceCell<AtomicUsize>; 2]);

impl Levels {
    async fn get(&self, counted: Counted, store: &Store) -> Result<usize> {
        let read = || async {
            let sql = format!(
                "SELECT max(bucket) FROM current_totals WHERE what = '{}' AND level = 0",
                counted.as_str()
            );
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
            "SELECT bucket, sum(count) FROM current_totals{} GROUP BY bucket HAVING sum(count) > 0 \
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
