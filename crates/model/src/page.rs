//! Pages of lists: the request for one, and the result.

use std::fmt;
use std::str::FromStr;

use crate::Timestamp;

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
    /// The number of entries that match the filter, wherever the cursor is: exact, but where a list that is walked says
    /// that it is not.
    pub total: i64,
    /// Of lists that are walked.
    pub walked: Option<Walked>,
}

/// What a list that is walked is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    /// By id.
    #[default]
    Created,
    /// By the minute of the last activity, exactly inside a page.
    Activity,
}

/// The last entry of a page in the order of a walked list's index. Shown as an opaque word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// What the list is sorted by before the id: a minute, or 0.
    pub key: i64,
    pub id: i64,
}

/// How a walked list goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Walked {
    /// Whether the total is exact, and not the number that was counted until counting stopped.
    pub is_exact: bool,
    /// Where the next page begins; `None` after the last one.
    pub next: Option<Place>,
    /// While what was stored before is still being indexed: what is older may be missing.
    pub indexed_from: Option<Timestamp>,
}

impl Place {
    /// The earlier of two places in ascending order.
    #[must_use]
    pub fn min_of(self, other: Self) -> Self {
        if (self.key, self.id) <= (other.key, other.id) { self } else { other }
    }

    /// The later one.
    #[must_use]
    pub fn max_of(self, other: Self) -> Self {
        if (self.key, self.id) >= (other.key, other.id) { self } else { other }
    }
}

impl Walked {
    /// Entries of a list are counted up to here, and its pages end there.
    pub const MAX_TOTAL: i64 = 10_000;
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}", self.key, self.id)
    }
}

/// A word that is no [`Place`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownPlace;

impl FromStr for Place {
    type Err = UnknownPlace;

    fn from_str(word: &str) -> Result<Self, UnknownPlace> {
        let number = |digits: &str| {
            let are_digits = digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
            let number = are_digits.then(|| i64::from_str_radix(digits, 16).ok());
            number.flatten().filter(|_| digits.len() <= 15).ok_or(UnknownPlace)
        };
        let (key, id) = word.split_once('-').ok_or(UnknownPlace)?;
        Ok(Self { key: number(key)?, id: number(id)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_word_that_reads_back_and_nothing_else_is_one() {
        for place in [Place { key: 0, id: 1 }, Place { key: 29_000_000, id: 1 << 40 }] {
            assert_eq!(place.to_string().parse(), Ok(place));
        }
        for word in ["", "-", "1", "1-", "-1", "g-1", "1-1-1", "+1-1", " 1-1", "1-fffffffffffffffff", "A-1"] {
            assert_eq!(word.parse::<Place>(), Err(UnknownPlace), "{word}");
        }
    }
}
