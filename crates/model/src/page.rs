//! Pages of lists: the request for one, and the result.

/// The order of a list by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Order {
    Ascending,
    Descending,
}

/// Where a page of a list starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cursor {
    /// Page `n` from 1, each as long as the limit.
    Page(i64),
    /// Entries whose id lies strictly between the two, from the beginning of the list: keyset pagination.
    Between { after: Option<i64>, before: Option<i64> },
}

/// The page of a list that is asked for.
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

    /// The number of entries before the page.
    #[must_use]
    pub fn offset(&self) -> i64 {
        match self.cursor {
            Cursor::Page(page) => (page - 1).saturating_mul(self.limit),
            Cursor::Between { .. } => 0,
        }
    }

    /// The page's number in the answer: with [`Cursor::Between`] always 1.
    #[must_use]
    pub fn page(&self) -> i64 {
        match self.cursor {
            Cursor::Page(page) => page,
            Cursor::Between { .. } => 1,
        }
    }
}

/// One page of a list.
#[derive(Debug, Clone)]
pub struct List<T> {
    pub items: Vec<T>,
    /// The exact number of entries that match the filter, wherever the cursor is.
    pub total: i64,
}
