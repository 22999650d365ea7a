//! Lists with exact totals whose pages all cost the same: an order-statistic tree over the ids of conversations and
//! messages.
//!
//! 256 ids are a bucket of the lowest level, 32 buckets are one of the next level; there are four levels. The view
//! `current_totals` has a count for each bucket, bot and integration type; commands keep it as an effect
//! (`effects/totals.rs`). A list adds the counts up to find the buckets that its page lies in, and reads rows of the
//! table in these buckets alone.

use std::cmp::Reverse;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::OnceCell;
use wicara_model::{List, Listing, Order};

use crate::Store;
use crate::effects::{SHIFTS, TotalKind};
use crate::engine::{Lane, Result, Row, Sql};
use crate::lists::{PageRange, WhereClause, Window, direction};

const TOP: usize = SHIFTS.len() - 1;
/// Buckets in one of the next level. Each has a count for every bot and integration type.
const FANOUT: i64 = 32;
/// Buckets whose children are read by one statement.
const PARENTS_AT_ONCE: usize = 4;
/// Buckets of the lowest level whose rows are read by one statement: with an index on the filter's columns, or by a
/// scan of all rows in them.
const INDEXED_WINDOWS: usize = 28;
const SCANNED_WINDOWS: usize = 7;

/// The level at which a search for a page starts, for conversations and for messages: the lowest one with at most 32
/// buckets, as of the last read. A wrong level costs time, but gives the same page.
#[derive(Default)]
pub(super) struct StartLevel([OnceCell<AtomicUsize>; 2]);

impl StartLevel {
    async fn get(&self, kind: TotalKind, store: &Store) -> Result<usize> {
        let read = || async {
            let sql = format!(
                "SELECT max(bucket) FROM current_totals WHERE what = '{}' AND level = 0",
                kind.as_str()
            );
            let rows = store.inner.reads.query(Lane::Quick, sql, vec![]).await?;
            let last =
                rows.into_iter().next().map_or(Ok(None), |row| row.columns("totals").opt_int("bucket"))?;
            let is_low = |shift: &u32| last.unwrap_or(0) >> (shift - SHIFTS[0]) < FANOUT;
            Ok(AtomicUsize::new(SHIFTS.iter().position(is_low).unwrap_or(TOP)))
        };
        self.0[kind as usize].get_or_try_init(read).await.map(|level| level.load(Ordering::Relaxed))
    }

    /// Raises the level after its last bucket was read, if there are too many buckets now.
    fn raise(&self, kind: TotalKind, level: usize, last: i64) {
        if last >= FANOUT
            && level < TOP
            && let Some(known) = self.0[kind as usize].get()
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
    /// The first id in it.
    fn first(&self) -> i64 {
        self.number << SHIFTS[self.level]
    }

    /// The last id in it.
    fn last(&self) -> i64 {
        self.first() | ((1 << SHIFTS[self.level]) - 1)
    }
}

/// The search for the rows of a page, by rank, from the large buckets of a high level down to small ones.
struct RankCursor<'a> {
    store: &'a Store,
    kind: TotalKind,
    scope: WhereClause,
    /// The page to find. Its `skip` shrinks by the count of each bucket before the page.
    page: PageRange,
}

impl Store {
    /// One page of a list that is filtered by bots and integration types alone, and the total of the list. `scope`: the
    /// filter as the totals have it. `read`: reads the rows of the list in windows of ids, in order, at most the page's
    /// limit from each.
    pub(super) async fn list<T, F>(
        &self,
        kind: TotalKind,
        scope: WhereClause,
        listing: &Listing,
        read: impl Fn(Vec<Window>) -> F,
    ) -> Result<List<T>>
    where
        F: Future<Output = Result<Vec<T>>>,
    {
        let page = PageRange::of(listing);
        // An unfiltered page without entries to skip is read by the primary key; only the total is needed.
        let is_by_primary_key = scope.is_empty() && page.skip == 0;
        let mut cursor = RankCursor { store: self, kind, scope, page };
        let mut level = if is_by_primary_key { TOP } else { self.inner.start_level.get(kind, self).await? };
        let mut buckets = cursor.read(Lane::Quick, level, vec![[0, i64::MAX]], None).await?;
        let total = buckets.iter().map(|bucket| bucket.count).sum();
        if page.skip >= total {
            return Ok(List { items: Vec::new(), total, walked: None });
        }
        if is_by_primary_key {
            return Ok(List { items: read(vec![page.window()]).await?, total, walked: None });
        }
        self.inner.start_level.raise(
            kind,
            level,
            buckets.iter().map(|bucket| bucket.number).max().unwrap_or(0),
        );
        (buckets, _) = cursor.buckets_of_page(buckets);
        while level > 0 {
            level -= 1;
            buckets = cursor.descend(level, &buckets).await?;
        }
        let windows = cursor.windows(&buckets);
        let windows_at_once = match kind {
            TotalKind::Conversations if !cursor.scope.has_alternatives() => INDEXED_WINDOWS,
            TotalKind::Conversations | TotalKind::Messages => SCANNED_WINDOWS,
        };
        let limit = usize::try_from(listing.limit).unwrap_or_default();
        let mut items = Vec::new();
        for windows in windows.chunks(windows_at_once) {
            items.extend(read(windows.to_vec()).await?);
            if items.len() >= limit {
                break;
            }
        }
        items.truncate(limit);
        Ok(List { items, total, walked: None })
    }
}

impl RankCursor<'_> {
    /// From buckets in the list's order, those that the page lies in, up to the one that completes it. Also whether
    /// they complete it, so that no more buckets need to be read. Subtracts the buckets before the page from its
    /// `skip`.
    fn buckets_of_page(&mut self, buckets: Vec<Bucket>) -> (Vec<Bucket>, bool) {
        let PageRange { first, last, limit, .. } = self.page;
        let (mut on_page, mut count) = (Vec::new(), 0);
        for bucket in buckets {
            if bucket.last() < first || bucket.first() > last {
                continue;
            }
            if on_page.is_empty() && self.page.skip >= bucket.count {
                self.page.skip -= bucket.count;
                continue;
            }
            // A bucket across an end of the id range may have entries outside of it: its count is no lower bound.
            if bucket.first() >= first && bucket.last() <= last {
                count += bucket.count;
            }
            on_page.push(bucket);
            // Without a filter the window goes on beyond the bucket (see `windows`): the bucket that the page begins in
            // is enough.
            if self.scope.is_empty() || count - self.page.skip >= limit {
                return (on_page, true);
            }
        }
        (on_page, false)
    }

    /// The children of buckets, at `level`, that the page lies in.
    async fn descend(&mut self, level: usize, parents: &[Bucket]) -> Result<Vec<Bucket>> {
        let mut buckets = Vec::new();
        for parents in parents.chunks(PARENTS_AT_ONCE) {
            let PageRange { first, last, .. } = self.page;
            let ranges = parents.iter().map(|bucket| [bucket.first().max(first), bucket.last().min(last)]);
            // Every bucket read has at least one entry, so that `limit` of them complete the page. The two across the
            // ends of the id range are added, since their entries may lie outside of it.
            let max_buckets = (self.page.skip == 0).then_some(self.page.limit + 2);
            buckets.extend(self.read(Lane::Continuation, level, ranges.collect(), max_buckets).await?);
            let is_complete;
            (buckets, is_complete) = self.buckets_of_page(buckets);
            if is_complete {
                break;
            }
        }
        Ok(buckets)
    }

    /// The windows of ids that the page lies in, from buckets of the lowest level.
    fn windows(&self, buckets: &[Bucket]) -> Vec<Window> {
        let PageRange { first, last, order, skip, .. } = self.page;
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

    /// The buckets of a level with entries, for each pair of first and last id, in the list's order. `max_buckets`: for
    /// each pair.
    async fn read(
        &self,
        lane: Lane,
        level: usize,
        ids: Vec<[i64; 2]>,
        max_buckets: Option<i64>,
    ) -> Result<Vec<Bucket>> {
        let order = self.page.order;
        let limit = max_buckets.map(|count| format!(" LIMIT {count}")).unwrap_or_default();
        let statement = |[first, last]: [&str; 2]| {
            // The kind and the level are literals, and there are always two bounds: with a parameter or an open range
            // PostgreSQL's planner would expect many rows and not use the index.
            let mut filter = self.scope.clone();
            filter.and_text(format!("what = '{}' AND level = {level}", self.kind.as_str()));
            filter.and_text(format!("bucket >= {first} AND bucket <= {last}"));
            Sql::both(format!(
                "SELECT bucket, sum(count) AS count FROM current_totals{} GROUP BY bucket HAVING sum(count) > 0 \
                 ORDER BY bucket {}{limit}",
                filter.text(),
                direction(order),
            ))
        };
        let numbers = ids.into_iter().map(|ids| ids.map(|id| id >> SHIFTS[level])).collect();
        let rows =
            self.store.inner.reads.query_each_row(lane, self.scope.params(), numbers, statement).await?;
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
