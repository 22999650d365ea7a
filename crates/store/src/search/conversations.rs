//! Conversations that a query finds: by a message, or by their room or user. Each is found once, at its document with the
//! highest id.

use std::collections::{HashMap, HashSet};

use wicara_model::{
    Bots, Conversation, ConversationId, List, Listing, MessageId, MessageWalkFilter, Order, Place, Walked,
};
use wicara_search::{Excerpt, MOST_BYTES, Query, excerpt, matches};

use super::Hit;
use super::documents::{Document, Found, Ids, Scope};
use crate::Store;
use crate::conversation_walk_plan::{ConversationWalk, Plan};
use crate::effects::search::{NAMES, names};
use crate::engine::{Lane, Result, Row, Sql};
use crate::message_previews::{Embed, ListedConversation};

/// The newest messages of a conversation, and the characters of each, in which a search looks for one that matches.
const LOOKED_AT: usize = 50;
const LOOKED_AT_CHARS: usize = 4096;

/// What a list is searched for.
#[derive(Debug, Clone)]
pub struct ConversationSearch {
    pub query: Query,
    /// The best of the newest 10,000 documents first, in place of the newest.
    pub is_by_relevance: bool,
    /// Whether notes are found too.
    pub notes: bool,
    /// The rest of the filter, the page and who asks. A place of it is a document, or a rank and the document below which
    /// everything was ranked.
    pub walk: ConversationWalk,
}

/// The conversations of a page that was searched.
pub struct Searched {
    pub list: List<ListedConversation>,
    /// What found each of them.
    pub hits: HashMap<ConversationId, Hit>,
}

impl Store {
    /// One page of the conversations of some bots that a query finds. Totals stop at [`Walked::MAX_TOTAL`].
    pub async fn conversation_search(
        &self,
        bots: &Bots,
        search: &ConversationSearch,
        embed: Embed,
    ) -> Result<Searched> {
        let ConversationSearch { query, notes, walk, .. } = search;
        let plan = Plan::new(walk, bots);
        let mut indexed_from = self.search_indexed_from().await?;
        if plan.as_ref().is_some_and(Plan::has_conditions) {
            indexed_from = indexed_from.max(self.activity_indexed_from().await?);
        }
        let scope = Scope::new(bots, walk.filter.bot_id.as_ref(), *notes);
        let (Some(scope), Some(plan), false) = (scope, plan, query.is_empty()) else {
            let walked = Some(Walked { is_exact: true, next: None, indexed_from });
            return Ok(Searched { list: List { items: Vec::new(), total: 0, walked }, hits: HashMap::new() });
        };
        let [messages, named] = self.search_ids().await?;
        // What is said in a conversation is no later than its last activity.
        let until = MessageWalkFilter { until: walk.activity.until, ..MessageWalkFilter::default() };
        let end = self.message_range(&until).await?.to.saturating_add(1);
        let ranges = [named, (messages.0, messages.1.min(end))];
        let newest = self.search_documents(query, &scope, ranges).await?;
        let found = self.fitting(&plan, distinct(&newest.documents)).await?;
        let is_exact = newest.next.is_none() && found.len() <= Walked::MAX_TOTAL as usize;
        let total = i64::try_from(found.len()).unwrap_or(i64::MAX).min(Walked::MAX_TOTAL);
        let (page, next) = if search.is_by_relevance {
            self.page_by_relevance(search, &scope, &plan, ranges, newest).await?
        } else {
            self.page_of_newest(search, &scope, &plan, ranges, (newest, found)).await?
        };
        let hits: HashMap<_, _> = page.iter().map(|found| (found.conversation, hit(found))).collect();
        let ids: Vec<_> = page.iter().map(|document| document.conversation).collect();
        let mut items =
            self.conversations_listed(&ids, (Order::Descending, walk.listing.limit), embed).await?;
        items.retain(|listed| bots.contain(&listed.conversation.bot_id));
        let place = |id| ids.iter().position(|of_page| *of_page == id);
        items.sort_by_key(|listed| place(listed.conversation.id));
        let walked = Some(Walked { is_exact, next, indexed_from });
        Ok(Searched { list: List { items, total, walked }, hits })
    }

    /// Those of a page, and where the next one begins. `newest`: what [`Store::search_documents`] finds from the first on,
    /// and the conversations among it that fit.
    async fn page_of_newest(
        &self,
        search: &ConversationSearch,
        scope: &Scope,
        plan: &Plan<'_>,
        ranges: [Ids; 2],
        (newest, mut found): (Found, Vec<Document>),
    ) -> Result<(Vec<Document>, Option<Place>)> {
        let Listing { limit, .. } = search.walk.listing;
        let mut next = newest.next;
        let Some(after) = search.walk.after.map(|place| place.id) else {
            let skipped = search.walk.listing.offset();
            if skipped >= Walked::MAX_TOTAL {
                return Ok((Vec::new(), None));
            }
            found.drain(..usize::try_from(skipped).unwrap_or(usize::MAX).min(found.len()));
            return Ok(first(found, limit, next));
        };
        match newest.next {
            Some(end) if after <= end => {
                let more = self.search_documents(&search.query, scope, below(ranges, after)).await?;
                let known: HashSet<_> =
                    newest.documents.iter().map(|document| document.conversation).collect();
                let mut others = distinct(&more.documents);
                others.retain(|document| !known.contains(&document.conversation));
                next = more.next;
                found = Vec::new();
                // A few at a time: of each it is looked up whether an earlier page had it.
                let mut others = self.fitting(plan, others).await?.into_iter().peekable();
                while others.peek().is_some() && found.len() <= usize::try_from(limit).unwrap_or_default() {
                    let document = others.next().expect("it was peeked at");
                    if !self.was_found_before(search, document.conversation, after).await? {
                        found.push(document);
                    }
                }
            }
            _ => found.retain(|document| document.id < after),
        }
        Ok(first(found, limit, next))
    }

    /// The same, the best of the newest first.
    async fn page_by_relevance(
        &self,
        search: &ConversationSearch,
        scope: &Scope,
        plan: &Plan<'_>,
        ranges: [Ids; 2],
        newest: Found,
    ) -> Result<(Vec<Document>, Option<Place>)> {
        let Listing { limit, .. } = search.walk.listing;
        // What comes later is not ranked with it, so that pages fit together.
        let end = search.walk.after.map_or(ranges[0].1, |place| place.id);
        let skipped = search.walk.after.map_or(search.walk.listing.offset(), |place| place.key);
        let newest = match search.walk.after {
            None => newest,
            Some(_) => self.search_documents(&search.query, scope, below(ranges, end)).await?,
        };
        let ranked = self.search_ranked(&search.query, scope, newest.documents).await?;
        let mut found = self.fitting(plan, distinct(&ranked)).await?;
        found.drain(..usize::try_from(skipped).unwrap_or(usize::MAX).min(found.len()));
        let (page, next) = first(found, limit, None);
        Ok((page, next.map(|_| Place { key: skipped.saturating_add(limit), id: end })))
    }

    /// Those whose conversations meet the rest of the filter.
    async fn fitting(&self, plan: &Plan<'_>, mut documents: Vec<Document>) -> Result<Vec<Document>> {
        documents.retain(|document| plan.walk.is_between(document.conversation.0));
        let ids: Vec<_> = documents.iter().map(|document| document.conversation.0.to_string()).collect();
        let Some((sql, params)) = plan.fitting(ids.join(",")) else { return Ok(documents) };
        let rows = self.inner.reads.query(Lane::Walk, sql, params).await?;
        let fit = rows.into_iter().map(|row| row.int("conversation_activity", "conversation_id"));
        let fit = fit.collect::<Result<HashSet<_>>>()?;
        documents.retain(|document| fit.contains(&document.conversation.0));
        Ok(documents)
    }

    /// Whether a newer document of a conversation matches, so that an earlier page had it. Of a long conversation only the
    /// newest messages are looked at: it may be found again.
    async fn was_found_before(
        &self,
        search: &ConversationSearch,
        id: ConversationId,
        place: i64,
    ) -> Result<bool> {
        let newest = self.newest_texts(id, search.notes).await?;
        Ok(newest.iter().any(|(id, text)| id.0 >= place && matches(text, &search.query)))
    }

    async fn newest_texts(&self, id: ConversationId, notes: bool) -> Result<Vec<(MessageId, String)>> {
        let role = if notes { "" } else { " AND role <> 'note'" };
        let sql = format!(
            "SELECT id, substr(text, 1, {LOOKED_AT_CHARS}) FROM messages WHERE conversation_id = $1{role} \
             ORDER BY conversation_id DESC, id DESC LIMIT {LOOKED_AT}"
        );
        let rows = self.inner.reads.query(Lane::Walk, sql, vec![id.into()]).await?;
        rows.into_iter().map(text_read).collect()
    }

    /// What a query finds in conversations: a piece of the newest message that matches, or of the conversation's names.
    pub async fn search_excerpts(
        &self,
        query: &Query,
        notes: bool,
        found: &[(&Conversation, Hit)],
    ) -> Result<Vec<Excerpt>> {
        let ids = found.iter().filter_map(|(_, hit)| match hit {
            Hit::Message(id) => Some(vec![(*id).into()]),
            Hit::Names => None,
        });
        let text = format!("SELECT id, substr(text, 1, {MOST_BYTES}) FROM messages WHERE id = ");
        let sql = Sql::per_dialect(format!("{text}ANY(CAST($1 AS bigint[]))"), format!("{text}$1"));
        let rows = self.inner.reads.query_many(Lane::Continuation, sql, ids.collect()).await?;
        let texts = rows.into_iter().map(text_read).collect::<Result<HashMap<_, _>>>()?;
        let mut excerpts = Vec::with_capacity(found.len());
        for (conversation, hit) in found {
            let of = match hit {
                Hit::Message(id) => texts.get(id).cloned().unwrap_or_default(),
                Hit::Names => {
                    let newest = self.newest_texts(conversation.id, notes).await?;
                    let message = newest.into_iter().find(|(_, text)| matches(text, query));
                    message.map_or_else(|| names(conversation), |(_, text)| text)
                }
            };
            excerpts.push(excerpt(&of, query));
        }
        Ok(excerpts)
    }
}

fn text_read(row: Row) -> Result<(MessageId, String)> {
    let mut columns = row.columns("messages");
    Ok((MessageId(columns.int("id")?), columns.text("text")?))
}

fn hit(document: &Document) -> Hit {
    if document.id >= NAMES { Hit::Names } else { Hit::Message(MessageId(document.id)) }
}

/// The first document of each conversation.
fn distinct(documents: &[Document]) -> Vec<Document> {
    let mut known = HashSet::with_capacity(documents.len());
    documents.iter().filter(|document| known.insert(document.conversation)).copied().collect()
}

/// The ranges, without what is not below an id.
fn below(ranges: [Ids; 2], end: i64) -> [Ids; 2] {
    ranges.map(|(from, below)| (from, below.min(end)))
}

/// The first entries, and where those after them begin. `next`: where there may be more after all of them.
fn first(mut found: Vec<Document>, limit: i64, next: Option<i64>) -> (Vec<Document>, Option<Place>) {
    let limit = usize::try_from(limit).unwrap_or_default();
    let next = if found.len() > limit { found.get(limit - 1).map(|last| last.id) } else { next };
    found.truncate(limit);
    (found, next.map(|id| Place { key: 0, id }))
}
