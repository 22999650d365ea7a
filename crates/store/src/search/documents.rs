//! Documents that a query finds, the highest ids first: names of conversations, then messages from the newest on.

use std::collections::HashMap;

use wicara_model::{Bots, ConversationId, Walked};
use wicara_search::Query;

use super::syntax::{Postgres, fts5};
use crate::Store;
use crate::effects::search::{NAMES, name_document};
use crate::engine::{Lane, Result, Row, Sql, Value};

/// Documents that one search finds at most: one more than is counted.
pub(super) const MOST: usize = Walked::MAX_TOTAL as usize + 1;
/// Documents whose words PostgreSQL compares one by one in a search, where the index knows less than the query.
const COMPARED: i64 = 5000;
/// On SQLite a search looks at so many ids at a time, and at so many times of them: bounds the work of a query of common
/// words that never come together.
const IDS_AT_ONCE: i64 = 1 << 20;
const TIMES: usize = 16;

/// Whose documents are searched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scope {
    /// `None`: all.
    pub bots: Option<Vec<String>>,
    /// Whether notes are found.
    pub notes: bool,
}

impl Scope {
    /// `bot`: of the filter. `None` where nothing can be found.
    pub fn new(bots: &Bots, bot: Option<&String>, notes: bool) -> Option<Self> {
        let bots = match bot {
            Some(bot) => Some(if bots.contain(bot) { vec![bot.clone()] } else { Vec::new() }),
            None => bots.list().map(<[_]>::to_vec),
        };
        bots.as_ref().is_none_or(|bots| !bots.is_empty()).then_some(Self { bots, notes })
    }
}

/// A document that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Document {
    pub id: i64,
    pub conversation: ConversationId,
}

/// A range of ids: from the first on, below the second.
pub(super) type Ids = (i64, i64);

#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    /// The highest ids first.
    pub documents: Vec<Document>,
    /// The id below which more may follow; `None` at the end.
    pub next: Option<i64>,
}

impl Store {
    /// Every id that a document may have now: of messages, then of names.
    pub(super) async fn search_ids(&self) -> Result<[Ids; 2]> {
        let newest = "SELECT coalesce((SELECT max(id) FROM messages), 0), coalesce((SELECT max(id) FROM conversations), 0)";
        let row = self.inner.reads.query(Lane::Quick, newest, vec![]).await?.into_iter().next();
        let Some(row) = row else { return Ok([(0, 0), (NAMES, NAMES)]) };
        let mut columns = row.columns("search_documents");
        let (message, conversation) = (columns.int("max")?, columns.int("max")?);
        Ok([(0, message + 1), (NAMES, name_document(ConversationId(conversation + 1)))])
    }

    /// The documents in ranges of ids, up to [`MOST`] of them; the ranges come in the order in which they are walked. It may
    /// stop before, where it had to look at too much.
    pub(super) async fn search_documents(
        &self,
        query: &Query,
        scope: &Scope,
        ranges: impl IntoIterator<Item = Ids>,
    ) -> Result<Found> {
        let mut found = Found::default();
        let mut times = TIMES;
        for (from, mut below) in ranges {
            while from < below {
                let most = MOST - found.documents.len();
                if most == 0 || times == 0 {
                    found.next = Some(below);
                    return Ok(found);
                }
                let step = if self.is_shared() {
                    self.search_postgres(query, scope, (from, below), most).await?
                } else {
                    times -= 1;
                    self.search_sqlite(query, scope, (from, below), most).await?
                };
                found.documents.extend(step.documents);
                match step.next {
                    // It had to compare as much as is compared at once.
                    Some(next) if self.is_shared() => {
                        found.next = Some(next);
                        return Ok(found);
                    }
                    Some(next) => below = next,
                    None => break,
                }
            }
        }
        Ok(found)
    }

    async fn search_postgres(
        &self,
        query: &Query,
        scope: &Scope,
        (from, below): Ids,
        most: usize,
    ) -> Result<Found> {
        const CALL: &str =
            "SELECT o_documents, o_conversations, o_next FROM wicara_search_1($1, $2, $3, $4, $5, $6, $7)";
        let Postgres { terms, loose, place } = Postgres::of(query, scope);
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let params = vec![
            terms.into(),
            loose.into(),
            place.into(),
            below.into(),
            from.into(),
            most.into(),
            COMPARED.into(),
        ];
        let row = self.inner.reads.query(Lane::Walk, CALL, params).await?.into_iter().next();
        let Some(row) = row else { return Ok(Found::default()) };
        let mut columns = row.columns("search_documents");
        let ids = columns.ints("o_documents")?;
        let conversations = columns.ints("o_conversations")?;
        let documents = ids.into_iter().flatten().zip(conversations.into_iter().flatten());
        let documents =
            documents.map(|(id, conversation)| Document { id, conversation: ConversationId(conversation) });
        Ok(Found { documents: documents.collect(), next: columns.opt_int("o_next")? })
    }

    /// One piece of the range.
    async fn search_sqlite(
        &self,
        query: &Query,
        scope: &Scope,
        (from, below): Ids,
        most: usize,
    ) -> Result<Found> {
        let from_here = from.max(below - IDS_AT_ONCE);
        let sql = Sql::both(format!(
            "SELECT rowid, conversation_id FROM search_documents \
             WHERE search_documents MATCH $1 AND rowid >= $2 AND rowid < $3 ORDER BY rowid DESC LIMIT {most}"
        ));
        let params = vec![fts5(query, scope).into(), from_here.into(), below.into()];
        let rows = self.inner.reads.query(Lane::Walk, sql, params).await?;
        let document = |row: Row| {
            let mut columns = row.columns("search_documents");
            let (id, conversation) = (columns.int("rowid")?, columns.int("conversation_id")?);
            Ok(Document { id, conversation: ConversationId(conversation) })
        };
        let documents = rows.into_iter().map(document).collect::<Result<Vec<_>>>()?;
        let next = match documents.last() {
            Some(last) if documents.len() == most => Some(last.id),
            _ => (from_here > from).then_some(from_here),
        };
        Ok(Found { documents, next })
    }

    /// The newest 10,000 of the documents, those first that say most about the query.
    pub(super) async fn search_ranked(
        &self,
        query: &Query,
        scope: &Scope,
        mut documents: Vec<Document>,
    ) -> Result<Vec<Document>> {
        documents.truncate(MOST - 1);
        let Some(lowest) = documents.last().map(|document| document.id) else { return Ok(documents) };
        let rows = if self.is_shared() {
            let ids = documents.iter().map(|document| document.id.into()).collect();
            let sql = "SELECT id FROM (SELECT id, ts_rank(terms, CAST(CAST($2 AS text) AS tsquery), 1) AS rank \
                 FROM search_documents WHERE id = ANY(CAST($1 AS bigint[]))) AS ranked ORDER BY rank DESC, id DESC";
            let params = vec![Value::Array(ids), Postgres::of(query, scope).terms.into()];
            self.inner.reads.query(Lane::Slow, sql, params).await?
        } else {
            let sql = format!(
                "SELECT rowid FROM search_documents WHERE search_documents MATCH $1 AND rowid >= $2 \
                 ORDER BY bm25(search_documents, 1.0, 0.0), rowid DESC LIMIT {MOST}"
            );
            self.inner.reads.query(Lane::Slow, sql, vec![fts5(query, scope).into(), lowest.into()]).await?
        };
        let mut found: HashMap<_, _> =
            documents.into_iter().map(|document| (document.id, document)).collect();
        let ids = rows.into_iter().map(|row| row.int("search_documents", "rowid"));
        Ok(ids.collect::<Result<Vec<_>>>()?.into_iter().filter_map(|id| found.remove(&id)).collect())
    }
}
