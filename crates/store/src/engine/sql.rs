//! A statement's text in both SQL dialects, and the expressions that differ between them.

use std::borrow::Cow;
use std::time::Duration;

/// SQL for the database's own clock, in milliseconds since 1970. Times that several nodes compare come from it, because
/// the clocks of their machines differ. Its value is constant within a statement, so that an index can be searched by
/// it.
pub struct DatabaseClock;

impl DatabaseClock {
    pub const POSTGRES: &str = "CAST(extract(epoch FROM statement_timestamp()) * 1000 AS bigint)";
    pub const SQLITE: &str = "CAST(unixepoch('subsec') * 1000 AS integer)";
}

/// A duration as columns hold it. One beyond their range becomes half of it, which can still be added to a time.
pub fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 2)
}

/// One statement in each dialect.
///
/// Parameters are written `$1`, `$2`, … in both. In a statement for many rows (`query_many`) PostgreSQL gets each
/// parameter as an array of all rows' values, and SQLite runs its text once a row.
#[derive(Debug, Clone)]
pub struct Sql {
    pub postgres: Cow<'static, str>,
    pub sqlite: Cow<'static, str>,
}

impl Sql {
    /// One text that both dialects accept.
    pub fn both(text: impl Into<Cow<'static, str>>) -> Self {
        let text = text.into();
        Self { sqlite: numbered(text.clone()), postgres: text }
    }

    pub fn per_dialect(postgres: impl Into<Cow<'static, str>>, sqlite: impl Into<Cow<'static, str>>) -> Self {
        Self { postgres: postgres.into(), sqlite: numbered(sqlite.into()) }
    }
}

/// The text with `?1` for `$1`: SQLite takes `$1` for a name and numbers it by its first appearance, but `?1` for
/// number 1.
fn numbered(text: Cow<'static, str>) -> Cow<'static, str> {
    if text.contains('$') { text.replace('$', "?").into() } else { text }
}

impl From<&Sql> for Sql {
    fn from(sql: &Sql) -> Self {
        sql.clone()
    }
}

impl From<&'static str> for Sql {
    fn from(text: &'static str) -> Self {
        Self::both(text)
    }
}

impl From<String> for Sql {
    fn from(text: String) -> Self {
        Self::both(text)
    }
}
