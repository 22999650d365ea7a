//! Lists of conversations by activity, or with filters beyond the documented ones: over the narrow rows of
//! `conversation_activity`, step by step.

use std::cmp::Reverse;

use wicara_model::{
    ActivityFilter, AssigneeFilter, Bots, ConversationCounts, ConversationFilter, ConversationId, Cursor,
    Handler, List, Listing, Order, Place, Sort, Walked,
};

use crate::Store;
use crate::conversation_walk_plan::{ConversationWalk, Plan};
use crate::engine::{Lane, Result, Row, Sql};
use crate::message_previews::{Embed, ListedConversation};
use crate::walks::{Counted, LOOKED_AT, PageOfWalk, STEP, start};

impl Store {
    /// One page of the conversations of some bots, with the messages that are shown with them. Totals stop at
    /// [`Walked::MAX_TOTAL`], and the pages that are numbered do too.
    pub async fn conversation_walk(
        &self,
        bots: &Bots,
        walk: &ConversationWalk,
        embed: Embed,
    ) -> Result<List<ListedConversation>> {
        let indexed_from = self.activity_indexed_from().await?;
        let list = |items, (total, is_exact), next| List {
            items,
            total,
            walked: Some(Walked { is_exact, next, indexed_from }),
        };
        let Some(plan) = Plan::new(walk, bots) else { return Ok(list(Vec::new(), (0, true), None)) };
        let (whole, counted) = self.walk_counted(&plan).await?;
        let mut page = PageOfWalk::new(&walk.listing, walk.after);
        if page.is_beyond() {
            return Ok(list(Vec::new(), counted.total(), None));
        }
        let is_end = match whole {
            Some(whole) => !page.take(plan.in_order(whole).into_iter().map(|place| (place, true))),
            None => self.walk_page(&plan, &mut page).await?,
        };
        let ids: Vec<_> = page.places.iter().map(|place| ConversationId(place.id)).collect();
        let mut items =
            self.conversations_listed(&ids, (walk.listing.order, walk.listing.limit), embed).await?;
        items.retain(|listed| bots.contain(&listed.conversation.bot_id));
        let key = |listed: &ListedConversation| match walk.sort {
            Sort::Created => (0, listed.conversation.id),
            Sort::Activity => (listed.conversation.updated_at.0, listed.conversation.id),
        };
        match walk.listing.order {
            Order::Ascending => items.sort_by_key(key),
            Order::Descending => items.sort_by_key(|listed| Reverse(key(listed))),
        }
        Ok(list(items, counted.total(), page.next(is_end)))
    }

    /// The conversations that wait for a reader.
    pub async fn conversation_counts(&self, bots: &Bots, reader: Option<&str>) -> Result<ConversationCounts> {
        let count = async |activity: ActivityFilter| {
            let walk = ConversationWalk {
                filter: ConversationFilter::default(),
                activity,
                reader: reader.map(str::to_owned),
                sort: Sort::Activity,
                listing: Listing { cursor: Cursor::Page(1), limit: 1, order: Order::Descending },
                after: None,
            };
            let Some(plan) = Plan::new(&walk, bots) else { return Ok(0) };
            self.walk_counted(&plan).await.map(|(_, counted)| counted.total().0)
        };
        let any = ActivityFilter::default;
        let human = Some(Handler::Human);
        let (queue, mine, unread, failed, unanswered, indexed_from) = tokio::try_join!(
            count(ActivityFilter { handler: human, assignee: Some(AssigneeFilter::Nobody), ..any() }),
            count(ActivityFilter { assignee: Some(AssigneeFilter::Me), ..any() }),
            count(ActivityFilter { unread: Some(true), ..any() }),
            count(ActivityFilter { failed: Some(true), ..any() }),
            count(ActivityFilter { unanswered: Some(true), ..any() }),
            self.activity_indexed_from(),
        )?;
        Ok(ConversationCounts { queue, mine, unread, failed, unanswered, indexed_from })
    }

    /// How many conversations a list has, and all of them, in no order, where they were read as a whole.
    async fn walk_counted(&self, plan: &Plan<'_>) -> Result<(Option<Vec<Place>>, Counted)> {
        for rare in plan.rare() {
            let (sql, params) = plan.whole(&rare);
            let (mut there_are, mut whole) = (0, Vec::new());
            for row in self.inner.reads.query(Lane::Walk, sql, params).await? {
                let mut columns = row.columns("conversation_activity");
                let key = columns.int("minute")?;
                match columns.opt_int("conversation_id")? {
                    Some(id) => whole.push(Place { key, id }),
                    None => there_are = key,
                }
            }
            if there_are <= rare.most {
                let found = i64::try_from(whole.len()).unwrap_or(i64::MAX);
                return Ok((Some(whole), Counted { found, is_whole: true }));
            }
        }
        let (sql, params) = plan.count();
        let row = self.inner.reads.query(Lane::Walk, sql, params).await?.into_iter().next();
        let Some(row) = row else { return Ok((None, Counted { found: 0, is_whole: true })) };
        let mut columns = row.columns("conversation_activity");
        let (looked_at, found) = (columns.int("count")?, columns.int("sum")?);
        Ok((None, Counted { found, is_whole: looked_at < LOOKED_AT }))
    }

    /// Collects a page; whether its index has no more.
    async fn walk_page(&self, plan: &Plan<'_>, page: &mut PageOfWalk) -> Result<bool> {
        let ConversationWalk { sort, listing: Listing { order, .. }, .. } = *plan.walk;
        let mut after = plan.walk.after.unwrap_or(start(order));
        let is_exactly = plan.is_exactly();
        loop {
            let limit = if is_exactly { page.wanted() } else { STEP };
            let (sql, params) = plan.page(after, limit);
            let rows = self.inner.reads.query(Lane::Walk, sql, params).await?;
            let is_end = i64::try_from(rows.len()).unwrap_or(i64::MAX) < limit;
            let entry = |row: Row| {
                let mut columns = row.columns("conversation_activity");
                let (minute, id) = (columns.int("minute")?, columns.int("conversation_id")?);
                let key = if sort == Sort::Activity { minute } else { 0 };
                Ok((Place { key, id }, columns.int("fits")? == 1 && plan.walk.is_between(id)))
            };
            let mut step = rows.into_iter().map(entry).collect::<Result<Vec<_>>>()?;
            step.sort_by_key(|(place, _)| (place.key, place.id));
            if order == Order::Descending {
                step.reverse();
            }
            let last = step.last().map(|(place, _)| *place);
            let is_complete = page.take(step);
            match last {
                Some(last) if !is_end && !is_complete && page.looked_at < LOOKED_AT => after = last,
                _ => return Ok(is_end && !is_complete),
            }
        }
    }

    /// Conversations by id, with the messages that are shown with them, without those that are gone.
    pub(super) async fn conversations_listed(
        &self,
        ids: &[ConversationId],
        order: (Order, i64),
        embed: Embed,
    ) -> Result<Vec<ListedConversation>> {
        let page = |condition: &str| format!("SELECT * FROM conversations WHERE id = {condition}");
        let postgres = embed.with_page(&page("ANY(CAST($1 AS bigint[]))"), order).postgres;
        let sqlite = embed.with_page(&page("$1"), order).sqlite;
        let rows = ids.iter().map(|&id| vec![id.into()]).collect();
        let sql = Sql::per_dialect(postgres, sqlite);
        embed.read(self.inner.reads.query_many(Lane::Continuation, sql, rows).await?)
    }
}
