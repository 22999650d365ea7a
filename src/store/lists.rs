//! What lists have in common: conditions, and the part that is asked for.

use super::engine::{Result, Value};
use crate::model::{Bots, Cursor, List, Listing, Order};

/// What a list's entries have in common.
#[derive(Clone, Default)]
pub(super) struct Conditions {
    texts: Vec<String>,
    params: Vec<Value>,
}

impl Conditions {
    /// Whether every entry meets them.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
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

    /// The statement for one part of a table, by id, and its parameters. `rows` is the table itself, or a view of it that
    /// knows more of each row.
    pub fn part(mut self, columns: &str, rows: &str, table: &str, part: Part) -> (String, Vec<Value>) {
        if part.first > i64::MIN {
            self.and("id >= ?", part.first);
        }
        if part.last < i64::MAX {
            self.and("id <= ?", part.last);
        }
        let direction = direction(part.order);
        let conditions = self.text();
        self.params.push(part.skip.into());
        // The limit stands in the text: a planner that does not know it expects a tenth of the table. The ids come
        // first, from an index alone; then only the rows that are shown.
        let sql = format!(
            "SELECT {columns} FROM {rows} WHERE id IN (SELECT id FROM {table}{conditions} \
             ORDER BY id {direction} LIMIT {} OFFSET ${}) ORDER BY id {direction}",
            part.limit,
            self.params.len()
        );
        (sql, self.params)
    }
}

pub(super) fn direction(order: Order) -> &'static str {
    match order {
        Order::Ascending => "ASC",
        Order::Descending => "DESC",
    }
}

/// Some of the entries that meet conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    /// Between these ids, both with them; the ends of the range of i64 are no condition.
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
}

/// One part of a list with so many entries, read from the end of the list that is nearer: what is left out has to be
/// read as well.
pub(super) async fn from_the_nearer_end<T, F>(
    listing: &Listing,
    total: i64,
    read: impl FnOnce(Part) -> F,
) -> Result<List<T>>
where
    F: Future<Output = Result<Vec<T>>>,
{
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
