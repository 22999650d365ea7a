//! How many conversations and messages there are, and where the one of a rank lies, exactly and without counting them.
//!
//! 256 ids make a bucket, 32 buckets one of the next level, and so twice more. The view `current_totals` has a number for
//! each bucket, bot and integration type, kept as an effect of what it counts (`effects/totals.rs`). A list adds numbers up
//! and looks only at the rows of the buckets that its page lies in, so that every page costs the same, however many there
//! are.

use std::cmp::Reverse;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::OnceCell;
use wicara_model::{List, Listing, Order};

use crate::Store;
use crate::effects::{Counted, SHIFTS};
use crate::engine::{Lane, Result, Row, Sql};
use crate::lists::{Conditions, Part, Window, direction};

const TOP: usize = SHIFTS.len() - 1;
/// Buckets that one of the next level holds. Each has a number for every bot and integration type.
const BUCKETS: i64 = 32;
/// Buckets whose inner ones are read by one statement.
const OUTER: usize = 4;
/// Buckets of the lowest level whose entries are read by one statement: by an index of what the list has in common, or
/// with a look at all rows in them.
const INDEXED_WINDOWS: usize = 28;
const SCANNED_WINDOWS: usize = 7;

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

/// A part of a list on its way down from large buckets to small ones.
struct Walk<'a> {
    store: &'a Store,
    counted: Counted,
    scope: Conditions,
    /// What is to be found; of its `skip`, what is left after the buckets that were passed over.
    part: Part,
}

impl Store {
    /// One part of a list whose entries have bots and integration types in common and nothing else: `scope` says it
    /// for the totals, `read` reads what of it lies in windows of the table, in order, at most the part's limit of each.
    pub(super) async fn list<T, F>(
        &self,
        counted: Counted,
        scope: Conditions,
        listing: &Listing,
        read: impl Fn(Vec<Window>) -> F,
    ) -> Result<List<T>>
    where
        F: Future<Output = Result<Vec<T>>>,
    {
        let part = Part::of(listing);
        // Where the primary key begins with the part, only the total is wanted.
        let is_straight = scope.is_empty() && part.skip == 0;
        let mut walk = Walk { store: self, counted, scope, part };
        let mut level = if is_straight { TOP } else { self.inner.levels.get(counted, self).await? };
        let mut buckets = walk.read(Lane::Quick, level, vec![[0, i64::MAX]], None).await?;
        let total = buckets.iter().map(|bucket| bucket.count).sum();
        if part.skip >= total {
            return Ok(List { items: Vec::new(), total });
        }
        if is_straight {
            return Ok(List { items: read(vec![part.window()]).await?, total });
        }
        self.inner.levels.note(counted, level, buckets.iter().map(|bucket| bucket.number).max().unwrap_or(0));
        (buckets, _) = walk.needed(buckets);
        while level > 0 {
            level -= 1;
            buckets = walk.inside(level, &buckets).await?;
        }
        let windows = walk.windows(&buckets);
        let at_once = match counted {
            Counted::Conversations if !walk.scope.has_alternatives() => INDEXED_WINDOWS,
            Counted::Conversations | Counted::Messages => SCANNED_WINDOWS,
        };
        let limit = usize::try_from(listing.limit).unwrap_or_default();
        let mut items = Vec::new();
        for windows in windows.chunks(at_once) {
            items.extend(read(windows.to_vec()).await?);
            if items.len() >= limit {
                break;
            }
        }
        items.truncate(limit);
        Ok(List { items, total })
    }
}

impl Walk<'_> {
    /// Of buckets in the list's order, those that the part lies in: none before it, and none behind those that hold as
    /// much as it is long. Also whether they do.
    fn needed(&mut self, buckets: Vec<Bucket>) -> (Vec<Bucket>, bool) {
        let Part { first, last, limit, .. } = self.part;
        let (mut needed, mut count) = (Vec::new(), 0);
        for bucket in buckets {
            if bucket.last() < first || bucket.first() > last {
                continue;
            }
            if needed.is_empty() && self.part.skip >= bucket.count {
                self.part.skip -= bucket.count;
                continue;
            }
            // Of a bucket at an end of the part, entries may lie beyond it.
            if bucket.first() >= first && bucket.last() <= last {
                count += bucket.count;
            }
            needed.push(bucket);
            // Without conditions the table goes on where the bucket ends.
            if self.scope.is_empty() || count - self.part.skip >= limit {
                return (needed, true);
            }
        }
        (needed, false)
    }

    /// The buckets of a level that the part lies in, inside those of the next higher one.
    async fn inside(&mut self, level: usize, outer: &[Bucket]) -> Result<Vec<Bucket>> {
        let mut buckets = Vec::new();
        for outer in outer.chunks(OUTER) {
            let Part { first, last, .. } = self.part;
            let ranges = outer.iter().map(|bucket| [bucket.first().max(first), bucket.last().min(last)]);
            // Each bucket has an entry, but for those at the ends: theirs may lie beyond the part.
            let most = (self.part.skip == 0).then_some(self.part.limit + 2);
            buckets.extend(self.read(Lane::Rest, level, ranges.collect(), most).await?);
            let is_enough;
            (buckets, is_enough) = self.needed(buckets);
            if is_enough {
                break;
            }
        }
        Ok(buckets)
    }

    /// Where in the table the part lies, in buckets of the lowest level.
    fn windows(&self, buckets: &[Bucket]) -> Vec<Window> {
        let Part { first, last, order, skip, .. } = self.part;
        let mut windows: Vec<_> = buckets
            .iter()
            .map(|bucket| Window { first: bucket.first().max(first), last: bucket.last().min(last), skip: 0 })
            .collect();
        if let Some(window) = windows.first_mut() {
            window.skip = skip;
            if self.scope.is_empty() {
                match order {
                    Order::Ascending => window.last = last,
                    Order::Descending => window.first = first,
                }
            }
        }
        windows
    }

    /// The buckets of a level with entries between these ids, in the list's order; of each pair of ids at most so many.
    async fn read(
        &self,
        lane: Lane,
        level: usize,
        ids: Vec<[i64; 2]>,
        most: Option<i64>,
    ) -> Result<Vec<Bucket>> {
        let order = self.part.order;
        let limit = most.map(|most| format!(" LIMIT {most}")).unwrap_or_default();
        let statement = |[first, last]: [&str; 2]| {
            // Words in the text and always two bounds, so that PostgreSQL expects few rows and uses the index.
            let mut conditions = self.scope.clone();
            conditions.and_text(format!("what = '{}' AND level = {level}", self.counted.as_str()));
            conditions.and_text(format!("bucket >= {first} AND bucket <= {last}"));
            Sql::both(format!(
                "SELECT bucket, sum(count) AS count FROM current_totals{} GROUP BY bucket HAVING sum(count) > 0 \
                 ORDER BY bucket {}{limit}",
                conditions.text(),
                direction(order),
            ))
        };
        let numbers = ids.into_iter().map(|ids| ids.map(|id| id >> SHIFTS[level])).collect();
        let rows = self.store.inner.reads.query_each(lane, self.scope.params(), numbers, statement).await?;
        let bucket = |row: Row| {
            let mut columns = row.columns("totals");
            Ok(Bucket { level, number: columns.int("bucket")?, count: columns.int("count")? })
        };
        let mut buckets = rows.into_iter().map(bucket).collect::<Result<Vec<_>>>()?;
        match order {
            Order::Ascending => buckets.sort_by_key(|bucket| bucket.number),
            Order::Descending => buckets.sort_by_key(|bucket| Reverse(bucket.number)),
        }
        Ok(buckets)
    }
}
