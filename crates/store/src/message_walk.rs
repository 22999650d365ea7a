//! Lists of messages with filters beyond the documented ones, walked by id. Ids rise with the times at which messages were
//! stored, but for the difference of nodes' clocks: a range of times is a range of ids, found by a few look-ups, at whose
//! ends the time of each message is looked at.

use std::sync::LazyLock;

use wicara_model::{
    Bots, ConversationId, Cursor, List, Listing, MessageId, MessageWalkFilter, Order, Place, Timestamp,
    Walked,
};

use crate::Store;
use crate::engine::{Lane, Result, Row, Sql};
use crate::rows::MessageRef;
use crate::walks::{
    Counted, Dialect, IndexWalk, LOOKED_AT, PageOfWalk, Params, STEP, all_of, in_both, start,
};

/// What a list is asked for.
#[derive(Debug, Clone)]
pub struct MessageWalk {
    pub conversation_id: Option<ConversationId>,
    pub filter: MessageWalkFilter,
    pub listing: Listing,
    /// Wins over the page of the listing.
    pub after: Option<Place>,
}

/// How far the clocks of nodes, and what waits to be stored, may put ids and times out of order.
const CLOCKS_DIFFER: i64 = 5 * 60 * 1000;
/// Ids that one look-up tries, and how near the place of a time has to be found.
const TRIED: i64 = 32;
const NEAR: i64 = 256;

/// The ids of a range of times. Between `sure_from` and `sure_to` nothing has another time.
#[derive(Debug, Clone, Copy)]
pub(super) struct IdRange {
    pub from: i64,
    sure_from: i64,
    sure_to: i64,
    pub to: i64,
}

impl MessageWalk {
    /// The next entries after an id, in a range.
    fn entries(
        &self,
        dialect: Dialect,
        params: &mut Params,
        (order, after): (Order, i64),
        (first, last): (i64, i64),
        limit: i64,
    ) -> String {
        let (after, end) = match order {
            Order::Ascending => (after.max(first.saturating_sub(1)), last),
            Order::Descending => (after.min(last.saturating_add(1)), first),
        };
        let (after, end) = (params.add(after), [params.add(end)]);
        let walk = IndexWalk {
            columns: "id, conversation_id, role, bytes, created_at",
            table: "messages",
            index: None,
            condition: None,
            lead: self.conversation_id.map(|id| ("conversation_id", params.add(id))),
            key: &["id"],
            order,
            after,
            end: &end,
            limit,
        };
        walk.text(dialect)
    }

    /// What an entry has to meet, over the columns of `walked`.
    pub(super) fn conditions(&self, params: &mut Params, bots: &Bots, range: &IdRange) -> Vec<String> {
        let mut all = Vec::new();
        if let Some(role) = &self.filter.role {
            all.push(format!("role = {}", params.add(role.as_str())));
        }
        // A conversation's bot was looked at before.
        if let Some(bots) = bots.list().filter(|_| self.conversation_id.is_none()) {
            all.push(format!(
                "(SELECT bot_id FROM conversations WHERE conversations.id = conversation_id) IN ({})",
                params.add_all(bots)
            ));
        }
        if let Some(since) = self.filter.since {
            let sure = params.add(range.sure_from);
            all.push(format!("(id >= {sure} OR created_at >= {})", params.add(since)));
        }
        if let Some(until) = self.filter.until {
            let sure = params.add(range.sure_to);
            all.push(format!("(id <= {sure} OR created_at <= {})", params.add(until)));
        }
        all
    }

    /// The ids that `before` and `after` of the documented lists leave.
    fn between(&self) -> (i64, i64) {
        match self.listing.cursor {
            Cursor::Page(_) => (i64::MIN, i64::MAX),
            Cursor::Between { after, before } => (
                after.map_or(i64::MIN, |after| after.saturating_add(1)),
                before.map_or(i64::MAX, |before| before.saturating_sub(1)),
            ),
        }
    }
}

impl Store {
    /// One page of the messages of some bots' conversations, or of one conversation, which the caller has looked at. Totals
    /// stop at [`Walked::MAX_TOTAL`], and the pages that are numbered do too.
    pub async fn message_walk(&self, bots: &Bots, walk: &MessageWalk) -> Result<List<MessageRef>> {
        if bots.list().is_some_and(<[_]>::is_empty) {
            let walked = Some(Walked { is_exact: true, next: None, indexed_from: None });
            return Ok(List { items: Vec::new(), total: 0, walked });
        }
        let range = self.message_range(&walk.filter).await?;
        let (sql, params) = in_both(|dialect, params| {
            let start = (Order::Descending, i64::MAX);
            let entries = walk.entries(dialect, params, start, (range.from, range.to), LOOKED_AT);
            let fits = all_of(&walk.conditions(params, bots, &range));
            format!(
                "SELECT count(*), coalesce(CAST(sum(CASE WHEN {fits} THEN 1 ELSE 0 END) AS bigint), 0) \
                 FROM ({entries}) AS walked"
            )
        });
        let row = self.inner.reads.query(Lane::Walk, sql, params).await?.into_iter().next();
        let counted = row.map_or(Ok(Counted { found: 0, is_whole: true }), |row| {
            let mut columns = row.columns("messages");
            let is_whole = columns.int("count")? < LOOKED_AT;
            Ok::<_, crate::Error>(Counted { found: columns.int("sum")?, is_whole })
        })?;
        let (total, is_exact) = counted.total();
        let list =
            |items, next| List { items, total, walked: Some(Walked { is_exact, next, indexed_from: None }) };
        let mut page = PageOfWalk::new(&walk.listing, walk.after);
        if page.is_beyond() {
            return Ok(list(Vec::new(), None));
        }
        let order = walk.listing.order;
        let mut after = walk.after.unwrap_or(start(order)).id;
        let (first, last) = walk.between();
        let ids = (range.from.max(first), range.to.min(last));
        let is_exactly = walk.conditions(&mut Params::default(), bots, &range).is_empty();
        let mut bytes = Vec::new();
        let is_end = loop {
            let limit = if is_exactly { page.wanted() } else { STEP };
            let (sql, params) = in_both(|dialect, params| {
                let entries = walk.entries(dialect, params, (order, after), ids, limit);
                let fits = all_of(&walk.conditions(params, bots, &range));
                // The bytes stand behind the text in a row: they are read only where they are needed.
                format!("SELECT id, CASE WHEN {fits} THEN bytes END FROM ({entries}) AS walked")
            });
            let rows = self.inner.reads.query(Lane::Walk, sql, params).await?;
            let is_end = i64::try_from(rows.len()).unwrap_or(i64::MAX) < limit;
            let mut step = rows.into_iter().map(entry).collect::<Result<Vec<_>>>()?;
            step.sort_by_key(|(id, _)| *id);
            if order == Order::Descending {
                step.reverse();
            }
            let read = step.last().map(|(id, _)| *id);
            bytes.extend(step.iter().filter_map(|(id, bytes)| bytes.map(|bytes| (*id, bytes))));
            let is_complete =
                page.take(step.iter().map(|(id, bytes)| (Place { key: 0, id: *id }, bytes.is_some())));
            match read {
                Some(read) if !is_end && !is_complete && page.looked_at < LOOKED_AT => after = read,
                _ => break is_end && !is_complete,
            }
        };
        let mut bytes = bytes.into_iter();
        let of = |place: &Place| {
            let (id, bytes) = bytes.find(|(id, _)| *id == place.id)?;
            Some(MessageRef { id: MessageId(id), bytes })
        };
        let items = page.places.iter().filter_map(of).collect();
        Ok(list(items, page.next(is_end)))
    }

    /// The ids of a range of times.
    pub(super) async fn message_range(&self, filter: &MessageWalkFilter) -> Result<IdRange> {
        let before = |time: Option<Timestamp>| time.map(|time| time.0.saturating_sub(CLOCKS_DIFFER));
        let after = |time: Option<Timestamp>| time.map(|time| time.0.saturating_add(CLOCKS_DIFFER));
        let times = [before(filter.since), after(filter.since), before(filter.until), after(filter.until)];
        let mut range = IdRange { from: i64::MIN, sure_from: i64::MIN, sure_to: i64::MAX, to: i64::MAX };
        let places = self.message_places(times.into_iter().flatten().collect()).await?;
        let mut places = places.into_iter();
        if filter.since.is_some() {
            range.from = places.next().map_or(i64::MIN, |(earlier, _)| earlier);
            range.sure_from = places.next().map_or(i64::MAX, |(_, later)| later);
        }
        if filter.until.is_some() {
            range.sure_to = places.next().map_or(i64::MIN, |(earlier, _)| earlier);
            range.to = places.next().map_or(i64::MAX, |(_, later)| later);
        }
        Ok(range)
    }

    /// For each time an id before which all messages are earlier, and one from which all are later: near each other.
    async fn message_places(&self, times: Vec<i64>) -> Result<Vec<(i64, i64)>> {
        if times.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.inner.reads.query(Lane::Quick, "SELECT max(id) FROM messages", vec![]).await?;
        let newest =
            rows.into_iter().next().map_or(Ok(None), |row| row.columns("messages").opt_int("max"))?;
        // Beyond the newest message comes what is not stored yet.
        let mut places = vec![(0, newest.unwrap_or(0) + 1); times.len()];
        while let Some(widest) = places.iter().map(|(earlier, later)| later - earlier).max()
            && widest > NEAR
        {
            let tries = |&(earlier, later): &(i64, i64)| {
                let step = ((later - earlier) / (TRIED + 1)).max(1);
                (1..=TRIED).map(move |number| earlier + number * step).filter(move |id| *id < later)
            };
            let tried: Vec<i64> = places.iter().flat_map(tries).collect();
            let rows = tried.into_iter().map(|id| vec![id.into()]).collect();
            let found = self.inner.reads.query_many(Lane::Continuation, AT_OR_AFTER.clone(), rows).await?;
            let found = found.into_iter().map(|row| {
                let mut columns = row.columns("messages");
                Ok((columns.int("id")?, columns.opt_int("created_at")?))
            });
            for (id, at) in found.collect::<Result<Vec<(i64, Option<i64>)>>>()? {
                for ((earlier, later), time) in places.iter_mut().zip(&times) {
                    if !(*earlier < id && id < *later) {
                        continue;
                    }
                    match at {
                        Some(at) if at < *time => *earlier = id,
                        _ => *later = id,
                    }
                }
            }
        }
        Ok(places)
    }
}

/// The time of the message at an id, or of the next one.
static AT_OR_AFTER: LazyLock<Sql> = LazyLock::new(|| {
    let at = |id: &str| format!("(SELECT created_at FROM messages WHERE id >= {id} ORDER BY id LIMIT 1)");
    Sql::per_dialect(
        format!("SELECT tried, {} FROM unnest(CAST($1 AS bigint[])) AS ids (tried)", at("tried")),
        format!("SELECT $1, {}", at("$1")),
    )
});

fn entry(row: Row) -> Result<(i64, Option<i64>)> {
    let mut columns = row.columns("messages");
    Ok((columns.int("id")?, columns.opt_int("bytes")?))
}
