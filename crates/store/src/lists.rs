//! What lists have in common: conditions, and the part that is asked for.

use std::cmp::Reverse;
use std::sync::Arc;

use wicara_model::{Bots, Cursor, List, Listing, Order};

use crate::engine::{Lane, Reads, Result, Row, Sql, Value};

/// What a list's entries have in common.
#[derive(Clone, Default)]
pub(super) struct Conditions {
    texts: Vec<String>,
    params: Vec<Value>,
    has_alternatives: bool,
}

impl Conditions {
    /// Whether every entry meets them.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// Whether one of them is met by several values: PostgreSQL then reads by id and looks at each row.
    pub fn has_alternatives(&self) -> bool {
        self.has_alternatives
    }

    /// Adds a condition; `?` in it stands for the value.
    pub fn and(&mut self, condition: &str, value: impl Into<Value>) {
        self.params.push(value.into());
        self.texts.push(condition.replace('?', &format!("${}", self.params.len())));
    }

    /// Adds a condition without a value.
    pub fn and_text(&mut self, condition: String) {
        self.texts.push(condition);
    }

    pub fn and_bots(&mut self, column: &str, bots: &Bots) {
        let Some(bots) = bots.list() else { return };
        let first = self.params.len() + 1;
        self.has_alternatives |= bots.len() > 1;
        let places: Vec<_> = (first..first + bots.len()).map(|place| format!("${place}")).collect();
        self.params.extend(bots.iter().map(|bot| bot.as_str().into()));
        self.texts.push(if places.is_empty() {
            "1 = 0".into()
        } else {
            format!("{column} IN ({})", places.join(", "))
        });
    }

    /// ` WHERE …`, or nothing.
    pub fn text(&self) -> String {
        if self.texts.is_empty() { String::new() } else { format!(" WHERE {}", self.texts.join(" AND ")) }
    }

    pub fn params(&self) -> Vec<Value> {
        self.params.clone()
    }

    /// Reads of a table what meets the conditions and lies in these windows, at most `limit` entries of each, in their
    /// order. `statement` gets the text that reads one window and says what is read with its rows; what it finds begins
    /// with the id.
    pub async fn read<T: Into<Sql>>(
        &self,
        reads: &Arc<Reads>,
        lane: Lane,
        [columns, table]: [&str; 2],
        (order, limit): (Order, i64),
        windows: Vec<Window>,
        statement: impl Fn(String) -> T,
    ) -> Result<Vec<Row>> {
        let direction = direction(order);
        let between = |first: &str, last: &str| {
            let mut conditions = self.clone();
            conditions.and_text(format!("id >= {first}"));
            conditions.and_text(format!("id <= {last}"));
            format!("{table}{} ORDER BY id {direction}", conditions.text())
        };
        let statement = |[first, last, skip]: [&str; 3]| {
            // What is left out is passed over in an index alone. The limit stands in the text: a planner that does not know
            // it expects a tenth of the table.
            if !self.is_empty() {
                // Ids from the index of what the rows have in common: in the table a planner would look at all rows there.
                let ids = format!("SELECT id FROM {} LIMIT {limit} OFFSET {skip}", between(first, last));
                return statement(format!("SELECT {columns} FROM {table} WHERE id IN ({ids})")).into();
            }
            let begin = format!("(SELECT id FROM {} LIMIT 1 OFFSET {skip})", between(first, last));
            let rows = match order {
                Order::Ascending => between(&begin, last),
                Order::Descending => between(first, &begin),
            };
            statement(format!("SELECT {columns} FROM {rows} LIMIT {limit}")).into()
        };
        let windows = windows.into_iter().map(|Window { first, last, skip }| [first, last, skip]).collect();
        let mut found = reads.query_each(lane, self.params.clone(), windows, statement).await?;
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

/// Ids between which entries are read, both with them, and how many of those there are left out at the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub first: i64,
    pub last: i64,
    pub skip: i64,
}

/// Some of the entries that meet conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    /// Between these ids, both with them.
    pub first: i64,
    pub last: i64,
    pub order: Order,
    /// Entries that are left out at the beginning.
    pub skip: i64,
    pub limit: i64,
}

impl Part {
    /// The part that a list asks for.
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

    /// All of it in one window.
    pub fn window(&self) -> Window {
        Window { first: self.first, last: self.last, skip: self.skip }
    }
}

/// One part of a list with so many entries, read from the end of the list that is nearer: what is left out has to be
/// read as well.
pub(super) async fn from_the_nearer_end<T>(
    listing: &Listing,
    total: i64,
    read: impl AsyncFnOnce(Part) -> Result<Vec<T>>,
) -> Result<List<T>> {
    let mut part = Part::of(listing);
    let remaining = total - part.skip;
    if remaining <= 0 {
        return Ok(List { items: Vec::new(), total });
    }
    let turned = part.skip > remaining;
    if turned {
        part.limit = part.limit.min(remaining);
        part.skip = remaining - part.limit;
        part.order = match part.order {
            Order::Ascending => Order::Descending,
            Order::Descending => Order::Ascending,
        };
    }
    let mut items = read(part).await?;
    if turned {
        items.reverse();
    }
    Ok(List { items, total })
}
