//! What lists share that are walked from place to place: entries come from one index in its order, a bounded number of them
//! at a time, and each is checked against the rest of the filter. Which index that is, this program decides and not the
//! database's planner: a limit under the check keeps the two apart.

use wicara_model::{Listing, Order, Place, Walked};

use crate::engine::{Sql, Value};
use crate::lists::direction;

/// Entries of an index that one statement looks at.
pub(super) const STEP: i64 = 2000;
/// Entries of an index that a total looks at, and about so many that a page does. A page ends there, though it may have fewer
/// entries than were asked for; the next one goes on.
pub(super) const LOOKED_AT: i64 = Walked::MAX_TOTAL + 1;

/// The parameters of a statement.
#[derive(Debug, Clone, Default)]
pub(super) struct Params(Vec<Value>);

impl Params {
    /// The text that stands for the value.
    pub fn add(&mut self, value: impl Into<Value>) -> String {
        self.0.push(value.into());
        format!("${}", self.0.len())
    }

    /// The texts for several values, with commas.
    pub fn add_all<'a>(&mut self, values: impl IntoIterator<Item = &'a String>) -> String {
        let all: Vec<_> = values.into_iter().map(|value| self.add(value.as_str())).collect();
        all.join(", ")
    }

    pub fn into_values(self) -> Vec<Value> {
        self.0
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Postgres,
    Sqlite,
}

/// A statement in both dialects; the parameters are the same.
pub(super) fn in_both(text: impl Fn(Dialect, &mut Params) -> String) -> (Sql, Vec<Value>) {
    let (mut params, mut same) = (Params::default(), Params::default());
    let sql = Sql::per_dialect(text(Dialect::Postgres, &mut params), text(Dialect::Sqlite, &mut same));
    (sql, params.into_values())
}

/// `IN` for ids with commas between them, which are one parameter.
pub(super) fn id_list(dialect: Dialect, ids: &str) -> String {
    match dialect {
        Dialect::Postgres => format!("= ANY(CAST(string_to_array({ids}, ',') AS bigint[]))"),
        Dialect::Sqlite => format!("IN (SELECT value FROM json_each('[' || {ids} || ']'))"),
    }
}

/// `column AND column …`, or what is always true.
pub(super) fn all_of(conditions: &[String]) -> String {
    if conditions.is_empty() { "1 = 1".into() } else { conditions.join(" AND ") }
}

/// The place before all others.
pub(super) fn start(order: Order) -> Place {
    match order {
        Order::Ascending => Place { key: i64::MIN, id: i64::MIN },
        Order::Descending => Place { key: i64::MAX, id: i64::MAX },
    }
}

/// A SELECT of the next entries of one index, in its order.
pub(super) struct IndexWalk<'a> {
    pub columns: &'a str,
    pub table: &'a str,
    /// The name of the index, which SQLite is told.
    pub index: Option<&'a str>,
    /// What the index is about, where it is a partial one.
    pub condition: Option<String>,
    /// The first column of the index, and the value that it has to have.
    pub lead: Option<(&'a str, String)>,
    /// The columns that the entries are sorted by.
    pub key: &'a [&'a str],
    pub order: Order,
    /// The key after which they begin.
    pub after: String,
    /// The beginning of the last key that is one; empty for none.
    pub end: &'a [String],
    pub limit: i64,
}

impl IndexWalk<'_> {
    pub fn text(&self, dialect: Dialect) -> String {
        let Self { columns, table, key, order, limit, .. } = self;
        let (follows, until) = match order {
            Order::Ascending => (">", "<="),
            Order::Descending => ("<", ">="),
        };
        let (mut conditions, mut lead) = (Vec::from_iter(self.condition.clone()), self.lead.as_ref());
        let hint = match (dialect, self.index) {
            (Dialect::Sqlite, Some(index)) => format!(" INDEXED BY {index}"),
            _ => String::new(),
        };
        if let (Dialect::Sqlite, Some((column, value))) = (dialect, lead) {
            conditions.push(format!("{column} = {value}"));
            lead = None;
        }
        // With `column = value` PostgreSQL's planner would take any index that has the rest of the order, and check the
        // column for each of its entries: as a range, the column is a part of the order.
        let columns_of = |count: usize| {
            let lead = lead.map(|(column, _)| *column).into_iter();
            lead.chain(key[..count].iter().copied()).collect::<Vec<_>>()
        };
        let values_of = |values: &str| match lead {
            Some((_, value)) if values.is_empty() => value.clone(),
            Some((_, value)) => format!("{value}, {values}"),
            None => values.to_owned(),
        };
        let row = |columns: Vec<&str>| columns.join(", ");
        conditions.push(format!("({}) {follows} ({})", row(columns_of(key.len())), values_of(&self.after)));
        if lead.is_some() || !self.end.is_empty() {
            let (columns, values) = (row(columns_of(self.end.len())), values_of(&self.end.join(", ")));
            conditions.push(format!("({columns}) {until} ({values})"));
        }
        let by: Vec<_> =
            columns_of(key.len()).iter().map(|column| format!("{column} {}", direction(*order))).collect();
        format!(
            "SELECT {columns} FROM {table}{hint} WHERE {} ORDER BY {} LIMIT {limit}",
            conditions.join(" AND "),
            by.join(", ")
        )
    }
}

/// What was counted of a list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counted {
    /// Entries that match.
    pub found: i64,
    /// Whether the index had no more to look at.
    pub is_whole: bool,
}

impl Counted {
    /// The total, and whether it is exact.
    pub fn total(self) -> (i64, bool) {
        (self.found.min(Walked::MAX_TOTAL), self.is_whole && self.found <= Walked::MAX_TOTAL)
    }
}

/// The entries of one page, collected step by step.
pub(super) struct PageOfWalk {
    skip: i64,
    limit: usize,
    pub places: Vec<Place>,
    /// The last entry that was looked at.
    pub last: Option<Place>,
    /// Entries that were looked at.
    pub looked_at: i64,
    /// Whether there is another entry after the page.
    has_more: bool,
}

impl PageOfWalk {
    pub fn new(listing: &Listing, after: Option<Place>) -> Self {
        let skip = if after.is_some() { 0 } else { listing.offset() };
        let limit = usize::try_from(listing.limit).unwrap_or_default();
        Self { skip, limit, places: Vec::new(), last: None, looked_at: 0, has_more: false }
    }

    /// Whether the page lies beyond the last one that such lists have.
    pub fn is_beyond(&self) -> bool {
        self.skip >= Walked::MAX_TOTAL
    }

    /// Entries that the next step has to look at, where all of them match: one more tells whether another page follows.
    pub fn wanted(&self) -> i64 {
        let missing = i64::try_from(self.limit - self.places.len()).unwrap_or_default();
        self.skip.saturating_add(missing + 1).min(STEP)
    }

    /// Takes the entries of a step in their order, each with whether it matches; `true` where the page is complete.
    pub fn take(&mut self, step: impl IntoIterator<Item = (Place, bool)>) -> bool {
        for (place, fits) in step {
            if fits && self.places.len() == self.limit {
                self.has_more = true;
                return true;
            }
            self.looked_at += 1;
            self.last = Some(place);
            match fits {
                true if self.skip > 0 => self.skip -= 1,
                true => self.places.push(place),
                false => {}
            }
        }
        false
    }

    /// Where the next page begins. `is_end`: the index has no more entries.
    pub fn next(&self, is_end: bool) -> Option<Place> {
        if self.has_more { self.places.last().copied() } else { self.last.filter(|_| !is_end) }
    }
}
