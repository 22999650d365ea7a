//! Time, and what is said of many times.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Since the first call; the same in every thread, and never set back.
#[must_use]
pub fn now() -> Duration {
    START.elapsed()
}

/// The value that this part of all values does not exceed; NaN if there are none.
///
/// Sorts the values.
#[must_use]
pub fn percentile(values: &mut [f64], part: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a list")]
    let place = (part * values.len() as f64).ceil() as usize;
    values.get(place.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// p50 and p99 of times.
#[must_use]
pub fn both_percentiles(times: &mut [f64]) -> (Option<f64>, Option<f64>) {
    (Some(percentile(times, 0.5)), Some(percentile(times, 0.99)))
}

#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    let middle = percentile(&mut values, 0.5);
    match values.len() {
        even if even % 2 == 0 && even > 0 => f64::midpoint(middle, values[even / 2]),
        _ => middle,
    }
}

/// The smallest and the largest.
#[must_use]
pub fn extremes(values: &[f64]) -> (f64, f64) {
    let values = || values.iter().copied();
    (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max))
}

/// NaN of none.
#[must_use]
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[must_use]
pub fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let mut values = [5.0, 1.0, 4.0, 2.0, 3.0];
        assert_eq!(percentile(&mut values, 0.5), 3.0);
        assert_eq!(percentile(&mut values, 0.99), 5.0);
        assert_eq!(percentile(&mut values, 0.2), 1.0);
        assert!(percentile(&mut [], 0.5).is_nan());
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_two() {
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), 2.5);
        assert_eq!(median(&[9.0, 1.0, 2.0]), 2.0);
    }
}
