//! What lists share: the WHERE clause of their filter, and the page of entries that a request asks for.

use std::cmp::Reverse;
use std::sync::Arc;

use wicara_model::{Bots, Cursor, List, Listing, Order};

use crate::engine::{Lane, ReadPool, Result, Row, Sql, Value};

/// The WHERE clause of a list's filter: conditions joined by AND, with their parameters.
#[derive(Clone, Default)]
pub(super) struct WhereClause {
    texts: Vec<String>,
    params: Vec<Value>,
    has_alternatives: bool,
}

impl WhereClause {
    /// Whether there is no condition, so that every row is an entry.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// Whether a condition has several values (`IN`): PostgreSQL then reads by id and checks every row.
    pub fn has_alternatives(&self) -> bool {
        self.has_alternatives
    }

    /// Adds a condition; `?` in it stands for the value.
    pub fn and(&mut self, condition: &str, value: impl Into<Value>) {
        self.params.push(value.into());
        self.texts.push(condition.replace('?', &format!("${}", self.params.len())));
    }

    /// Adds a condition without a value. It must not contain input.
    pub fn and_text(&mut self, condition: String) {
        self.texts.push(condition);
    }

    /// Adds the condition that a row belongs to one of these bots; none for all bots.
    pub fn and_bots(&mut self, column: &str, bots: &Bots) {
        let Some(bots) = bots.list() else { return };
        let first = self.params.len() + 1;
        self.has_alternatives |= bots.len() > 1;
        let names: Vec<_> = (first..first + bots.len()).map(|number| format!("${number}")).collect();
        self.params.extend(bots.iter().map(|bot| bot.as_str().into()));
        self.texts.push(if names.is_empty() {
            "1 = 0".into()
        } else {
            format!("{column} IN ({})", names.join(", "))
        });
    }

    /// ` WHERE …`, or nothing.
    pub fn text(&self) -> String {
        if self.texts.is_empty() { String::new() } else { format!(" WHERE {}", self.texts.join(" AND ")) }
    }

    pub fn params(&self) -> Vec<Value> {
        self.params.clone()
    }

    /// Reads the rows of a table that meet the conditions and lie in these windows of ids, at most `limit` from each,
    /// sorted by id. `statement` gets the SELECT that reads one window, and wraps it to read more with each row; its
    /// first column is the id.
    pub async fn read<T: Into<Sql>>(
        &self,
        reads: &Arc<ReadPool>,
        lane: Lane,
        [columns, table]: [&str; 2],
        (order, limit): (Order, i64),
        windows: Vec<Window>,
        statement: impl Fn(String) -> T,
    ) -> Result<Vec<Row>> {
        let direction = direction(order);
        let between = |first: &str, last: &str| {
            let mut clause = self.clone();
            clause.and_text(format!("id >= {first}"));
            clause.and_text(format!("id <= {last}"));
            format!("{table}{} ORDER BY id {direction}", clause.text())
        };
        let statement = |[first, last, skip]: [&str; 3]| {
            // Only ids are selected under the OFFSET, so that skipped entries cost a step in an index and no row. The
            // limit is a literal: for a parameter PostgreSQL's planner assumes a tenth of the table.
            if !self.is_empty() {
                // The subquery of ids makes the planner use the index on the filter's columns: for the rows themselves
                // it would scan all rows of the window.
                let ids = format!("SELECT id FROM {} LIMIT {limit} OFFSET {skip}", between(first, last));
                return statement(format!("SELECT {columns} FROM {table} WHERE id IN ({ids})")).into();
            }
            let first_entry = format!("(SELECT id FROM {} LIMIT 1 OFFSET {skip})", between(first, last));
            let rows = match order {
                Order::Ascending => between(&first_entry, last),
                Order::Descending => between(first, &first_entry),
            };
            statement(format!("SELECT {columns} FROM {rows} LIMIT {limit}")).into()
        };
        let windows = windows.into_iter().map(|Window { first, last, skip }| [first, last, skip]).collect();
        let mut found = reads.query_each_row(lane, self.params.clone(), windows, statement).await?;
        let id = |row: &Row| match row.0.first() {
            Some(Value::Int(id)) => *id,
            _ => i64::MAX,
        };
        match order {
            Order::Ascending => found.sort_by_key(id),
            Order::Descending => found.sort_by_key(|row| Reverse(id(row))),
        }
        Ok(found)
    }
}

pub(super) fn direction(order: Order) -> &'static str {
    match order {
        Order::Ascending => "ASC",
        Order::Descending => "DESC",
    }
}

/// A range of ids, both ends included, and the number of entries to skip at its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub first: i64,
    pub last: i64,
    pub skip: i64,
}

/// The entries of one page: a range of ids, and which of its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageRange {
    /// The range of ids, both ends included.
    pub first: i64,
    pub last: i64,
    pub order: Order,
    /// Entries to skip at the beginning.
    pub skip: i64,
    pub limit: i64,
}

impl PageRange {
    /// The page that a request asks for.
    pub fn of(listing: &Listing) -> Self {
        let (first, last) = match listing.cursor {
            Cursor::Page(_) => (None, None),
            Cursor::Between { after, before } => {
                (after.map(|after| after.saturating_add(1)), before.map(|before| before.saturating_sub(1)))
            }
        };
        Self {
            first: first.unwrap_or(i64::MIN),
            last: last.unwrap_or(i64::MAX),
            order: listing.order,
            skip: listing.offset(),
            limit: listing.limit,
        }
    }

    /// The page as one window.
    pub fn window(&self) -> Window {
        Window { first: self.first, last: self.last, skip: self.skip }
    }
}

/// One page of a list with `total` entries, read from the nearer end of the list: skipped entries have to be read too,
/// so that no page costs more than half of the list.
pub(super) async fn from_the_nearer_end<T>(
    listing: &Listing,
    total: i64,
    read: impl AsyncFnOnce(PageRange) -> Result<Vec<T>>,
) -> Result<List<T>> {
    let mut page = PageRange::of(listing);
    let remaining = total - page.skip;
    if remaining <= 0 {
        return Ok(List { items: Vec::new(), total, walked: None });
    }
    let is_reversed = page.skip > remaining;
    if is_reversed {
        page.limit = page.limit.min(remaining);
        page.skip = remaining - page.limit;
        page.order = match page.order {
            Order::Ascending => Order::Descending,
            Order::Descending => Order::Ascending,
        };
    }
    let mut items = read(page).await?;
    if is_reversed {
        items.reverse();
    }
    Ok(List { items, total, walked: None })
}
