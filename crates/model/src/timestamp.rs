//! Points in time.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A point in time in milliseconds since 1970-01-01T00:00:00Z.
///
/// Shown as the contract has it: `2025-07-14T05:13:36.351+00:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(millis))
    }

    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(millis))
    }

    /// The time since an earlier one; zero where that is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// The end of a range of times that a text names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeEnd {
    /// A date is its first moment.
    Since,
    /// A date is its last moment.
    Until,
}

impl Timestamp {
    /// Reads a time with its offset (RFC 3339), whose fractions of a millisecond do not count, or a date, which is UTC's.
    /// `None` for anything else. A `+` may have become a space, as it does in a query that does not encode it.
    #[must_use]
    pub fn range_end(text: &str, end: RangeEnd) -> Option<Self> {
        const DAY: i64 = 24 * 60 * 60 * 1000;
        if let Ok(date) = text.parse::<jiff::civil::Date>()
            && text.len() == 10
        {
            let first = jiff::tz::Offset::UTC.to_timestamp(date.at(0, 0, 0, 0)).ok()?.as_millisecond();
            return Some(Self(if end == RangeEnd::Since { first } else { first + DAY - 1 }));
        }
        let mut text = text.to_owned();
        let sign = text.len().checked_sub("+00:00".len())?;
        if text.as_bytes()[sign] == b' ' {
            text.replace_range(sign..=sign, "+");
        }
        let time: jiff::Timestamp = text.parse().ok()?;
        Some(Self(time.as_nanosecond().div_euclid(1_000_000).try_into().ok()?))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // This program stores no time outside years ±9999. A damaged one is shown as the maximum rather than as an error.
        let time = jiff::Timestamp::from_millisecond(self.0).unwrap_or(jiff::Timestamp::MAX);
        let time = jiff::tz::Offset::UTC.to_datetime(time);
        // Digit by digit, because jiff's formatter takes ten times as long and a page of a list has twenty times and more.
        let mut text = *b"0000-00-00T00:00:00.000+00:00";
        for (position, digits, number) in [
            (0, 4, i32::from(time.year()).unsigned_abs()),
            (5, 2, u32::from(time.month().unsigned_abs())),
            (8, 2, u32::from(time.day().unsigned_abs())),
            (11, 2, u32::from(time.hour().unsigned_abs())),
            (14, 2, u32::from(time.minute().unsigned_abs())),
            (17, 2, u32::from(time.second().unsigned_abs())),
            (20, 3, u32::from(time.millisecond().unsigned_abs())),
        ] {
            let mut remaining = number;
            for digit in text[position..position + digits].iter_mut().rev() {
                *digit += (remaining % 10) as u8;
                remaining /= 10;
            }
        }
        f.write_str(str::from_utf8(&text).expect("digits are ASCII"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_ends_at_a_time_or_with_a_day() {
        let at = |text, end| Timestamp::range_end(text, end).map(|time| time.to_string());
        for (text, since, until) in [
            ("2025-07-14", "2025-07-14T00:00:00.000+00:00", "2025-07-14T23:59:59.999+00:00"),
            (
                "2025-07-14T05:13:36.351+00:00",
                "2025-07-14T05:13:36.351+00:00",
                "2025-07-14T05:13:36.351+00:00",
            ),
            ("2025-07-14T05:13:36 07:00", "2025-07-13T22:13:36.000+00:00", "2025-07-13T22:13:36.000+00:00"),
            ("2025-07-14T05:13:36.9999Z", "2025-07-14T05:13:36.999+00:00", "2025-07-14T05:13:36.999+00:00"),
            ("1969-12-31T23:59:59.9999Z", "1969-12-31T23:59:59.999+00:00", "1969-12-31T23:59:59.999+00:00"),
        ] {
            assert_eq!(at(text, RangeEnd::Since).as_deref(), Some(since), "{text}");
            assert_eq!(at(text, RangeEnd::Until).as_deref(), Some(until), "{text}");
        }
        for text in [
            "",
            "1",
            "2025-07",
            "2025-13-01",
            "2025-02-30",
            "20250714",
            "2025-07-14T05:13:36",
            "é-07-14 00:00",
            "now",
        ] {
            assert_eq!(at(text, RangeEnd::Since), None, "{text}");
        }
    }

    #[test]
    fn a_time_is_shown_as_the_documents_show_it() {
        assert_eq!(Timestamp(1_752_470_016_351).to_string(), "2025-07-14T05:13:36.351+00:00");
        assert_eq!(Timestamp(1_752_470_016_000).to_string(), "2025-07-14T05:13:36.000+00:00");
        assert_eq!(Timestamp(0).to_string(), "1970-01-01T00:00:00.000+00:00");
    }
}
