//! Lists: what part of one is asked for, and what comes back.

/// The order of a list by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Order {
    Ascending,
    Descending,
}

/// Where a list starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cursor {
    /// Page `n` from 1, each as long as the limit.
    Page(i64),
    /// Entries whose id lies strictly between the two, from the list's beginning: walking without pages.
    Between { after: Option<i64>, before: Option<i64> },
}

/// The part of a list that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Listing {
    pub cursor: Cursor,
    /// Entries a page, 1–100.
    pub limit: i64,
    pub order: Order,
}

impl Listing {
    pub const DEFAULT_LIMIT: i64 = 10;
    pub const MAX_LIMIT: i64 = 100;

    /// Entries before the page asked for.
    #[must_use]
    pub fn offset(&self) -> i64 {
        match self.cursor {
            Cursor::Page(page) => (page - 1).saturating_mul(self.limit),
            Cursor::Between { .. } => 0,
        }
    }

    /// The page's number for the answer; walking without pages is always on the first.
    #[must_use]
    pub fn page(&self) -> i64 {
        match self.cursor {
            Cursor::Page(page) => page,
            Cursor::Between { .. } => 1,
        }
    }
}

/// One part of a list.
#[derive(Debug, Clone)]
pub struct List<T> {
    pub items: Vec<T>,
    /// Entries that match the filter in all, exactly; a cursor does not lessen it.
    pub total: i64,
}
