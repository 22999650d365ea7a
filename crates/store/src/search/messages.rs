//! Messages that a query finds.

use std::collections::HashSet;

use wicara_model::{Bots, ConversationId, Cursor, List, MessageId, MessageWalkFilter, Place, Walked};
use wicara_search::{MOST_BYTES, Query, matches};

use super::documents::{Document, Found, Ids, Scope};
use crate::Store;
use crate::engine::{Lane, Result};
use crate::message_walk::{IdRange, MessageWalk};
use crate::rows::{MessageRef, ref_read};
use crate::walks::{all_of, id_list, in_both};

/// Messages of one conversation whose words are compared for a page, and how many are read at once.
const COMPARED: usize = 2000;
const READ_AT_ONCE: usize = 100;

/// What a list of messages is searched for.
#[derive(Debug, Clone)]
pub struct MessageSearch {
    pub query: Query,
    /// The best of the newest 10,000 messages first, in place of the newest.
    pub is_by_relevance: bool,
    /// The rest of the filter and the page. A place of it is a message, or a rank and the message below which everything was
    /// ranked.
    pub walk: MessageWalk,
}

impl Store {
    /// One page of the messages of some bots' conversations, or of one conversation that the caller has looked at, that a
    /// query finds. Totals stop at [`Walked::MAX_TOTAL`].
    pub async fn message_search(&self, bots: &Bots, search: &MessageSearch) -> Result<List<MessageRef>> {
        let MessageSearch { query, walk, .. } = search;
        let indexed_from = self.search_indexed_from().await?;
        let list = |items, total, is_exact, next| List {
            items,
            total,
            walked: Some(Walked { is_exact, next, indexed_from }),
        };
        let scope = Scope::new(bots, None, true);
        let (Some(scope), false) = (scope, query.is_empty()) else {
            return Ok(list(Vec::new(), 0, true, None));
        };
        let range = self.message_range(&walk.filter).await?;
        let [(first, last), _] = self.search_ids().await?;
        let mut ids: Ids = (first.max(range.from), last.min(range.to.saturating_add(1)));
        if let Cursor::Between { after, before } = walk.listing.cursor {
            ids.0 = ids.0.max(after.map_or(i64::MIN, |after| after.saturating_add(1)));
            ids.1 = ids.1.min(before.unwrap_or(i64::MAX));
        }
        let newest = self.messages_found(search, &scope, ids).await?;
        let found = self.messages_fitting(bots, walk, &range, newest.documents).await?;
        let is_exact = newest.next.is_none() && found.len() <= Walked::MAX_TOTAL as usize;
        let total = i64::try_from(found.len()).unwrap_or(i64::MAX).min(Walked::MAX_TOTAL);
        let limit = usize::try_from(walk.listing.limit).unwrap_or_default();
        let offset = walk.listing.offset();
        if walk.after.is_none() && offset >= Walked::MAX_TOTAL {
            return Ok(list(Vec::new(), total, is_exact, None));
        }
        let (mut page, mut next) = (found, newest.next);
        let mut ranked_below = None;
        // Of one conversation the newest come first in any case: the index ranks among all.
        if search.is_by_relevance && walk.conversation_id.is_none() {
            // What comes later is not ranked with it, so that pages fit together.
            let end = walk.after.map_or(ids.1, |place| place.id);
            let skipped = walk.after.map_or(offset, |place| place.key);
            page.retain(|document| document.id < end);
            page = self.search_ranked(query, &scope, page).await?;
            page.drain(..usize::try_from(skipped).unwrap_or(usize::MAX).min(page.len()));
            (next, ranked_below) = (None, Some((skipped, end)));
        } else if let Some(Place { id: after, .. }) = walk.after {
            match newest.next {
                Some(end) if after <= end => {
                    let more = self.messages_found(search, &scope, (ids.0, ids.1.min(after))).await?;
                    page = self.messages_fitting(bots, walk, &range, more.documents).await?;
                    next = more.next;
                }
                _ => page.retain(|document| document.id < after),
            }
        } else {
            page.drain(..usize::try_from(offset).unwrap_or(usize::MAX).min(page.len()));
        }
        if page.len() > limit {
            page.truncate(limit);
            next = page.last().map(|last| last.id);
        }
        let next = next.map(|id| match ranked_below {
            Some((skipped, end)) => Place { key: skipped.saturating_add(walk.listing.limit), id: end },
            None => Place { key: 0, id },
        });
        Ok(list(self.message_refs(&page).await?, total, is_exact, next))
    }

    async fn messages_found(&self, search: &MessageSearch, scope: &Scope, ids: Ids) -> Result<Found> {
        match search.walk.conversation_id {
            Some(conversation) => self.messages_compared(&search.query, conversation, ids).await,
            None => self.search_documents(&search.query, scope, [ids]).await,
        }
    }

    /// Those of one conversation: its messages are read and compared, since the index would find those of all others first.
    async fn messages_compared(
        &self,
        query: &Query,
        conversation: ConversationId,
        (from, mut below): Ids,
    ) -> Result<Found> {
        let sql = format!(
            "SELECT id, substr(text, 1, {MOST_BYTES}) FROM messages WHERE conversation_id = $1 AND id < $2 AND id >= $3 \
             ORDER BY conversation_id DESC, id DESC LIMIT {READ_AT_ONCE}"
        );
        let (mut found, mut compared) = (Found::default(), 0);
        loop {
            let params = vec![conversation.into(), below.into(), from.into()];
            let rows = self.inner.reads.query(Lane::Walk, sql.clone(), params).await?;
            let is_end = rows.len() < READ_AT_ONCE;
            compared += rows.len();
            for row in rows {
                let mut columns = row.columns("messages");
                below = columns.int("id")?;
                if matches(&columns.text("text")?, query) {
                    found.documents.push(Document { id: below, conversation });
                }
            }
            if is_end {
                return Ok(found);
            }
            if compared >= COMPARED {
                return Ok(Found { next: Some(below), ..found });
            }
        }
    }

    /// Those that meet the rest of the filter.
    async fn messages_fitting(
        &self,
        bots: &Bots,
        walk: &MessageWalk,
        range: &IdRange,
        mut documents: Vec<Document>,
    ) -> Result<Vec<Document>> {
        if let Some(bots) = bots.list().filter(|_| walk.conversation_id.is_none()) {
            self.retain_of(bots, &mut documents).await?;
        }
        if walk.filter == MessageWalkFilter::default() {
            return Ok(documents);
        }
        let ids: Vec<_> = documents.iter().map(|document| document.id.to_string()).collect();
        let ids = ids.join(",");
        let (sql, params) = in_both(|dialect, params| {
            let ids = id_list(dialect, &params.add(ids.as_str()));
            let fits = all_of(&walk.conditions(params, bots, range));
            format!("SELECT id FROM messages WHERE id {ids} AND {fits}")
        });
        let rows = self.inner.reads.query(Lane::Walk, sql, params).await?;
        let fit = rows.into_iter().map(|row| row.int("messages", "id"));
        let fit = fit.collect::<Result<HashSet<_>>>()?;
        documents.retain(|document| fit.contains(&document.id));
        Ok(documents)
    }

    /// Keeps those whose conversation has one of these bots now: after a move, documents name the bot before for a while.
    async fn retain_of(&self, bots: &[String], documents: &mut Vec<Document>) -> Result<()> {
        let ids: HashSet<_> = documents.iter().map(|document| document.conversation).collect();
        let ids: Vec<_> = ids.into_iter().map(|id| id.0.to_string()).collect();
        let ids = ids.join(",");
        let (sql, params) = in_both(|dialect, params| {
            let ids = id_list(dialect, &params.add(ids.as_str()));
            format!("SELECT id FROM conversations WHERE id {ids} AND bot_id IN ({})", params.add_all(bots))
        });
        let rows = self.inner.reads.query(Lane::Walk, sql, params).await?;
        let of = rows.into_iter().map(|row| row.int("conversations", "id"));
        let of = of.collect::<Result<HashSet<_>>>()?;
        documents.retain(|document| of.contains(&document.conversation.0));
        Ok(())
    }

    async fn message_refs(&self, documents: &[Document]) -> Result<Vec<MessageRef>> {
        let ids: Vec<_> = documents.iter().map(|document| document.id.to_string()).collect();
        let ids = ids.join(",");
        let (sql, params) = in_both(|dialect, params| {
            let ids = id_list(dialect, &params.add(ids.as_str()));
            format!("SELECT id, bytes FROM messages WHERE id {ids}")
        });
        let rows = self.inner.reads.query(Lane::Walk, sql, params).await?;
        let mut found = rows.into_iter().map(ref_read).collect::<Result<Vec<_>>>()?;
        let place = |id: MessageId| documents.iter().position(|document| document.id == id.0);
        found.sort_by_key(|message| place(message.id));
        Ok(found)
    }
}
