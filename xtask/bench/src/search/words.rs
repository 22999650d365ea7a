//! Words and texts of them, by Zipf's law: the word with the number n comes about 1/n as often as the first. The same
//! id has the same text on both databases.

use std::fmt::Write;
use std::ops::RangeInclusive;

/// Words that there are.
const VOCABULARY: i64 = 100_000;
const SHORTEST: u64 = 8;
const LONGEST: u64 = 16;
/// Common words that never stand at an even place of a text, and so never next to each other. There, other common words
/// stand for them, with numbers higher by as many.
const APART: RangeInclusive<i64> = 5..=20;
const AT_EVEN_PLACES: i64 = 16;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn word(&mut self) -> i64 {
        let part = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        #[expect(clippy::cast_possible_truncation, reason = "a number of a word")]
        let number = (part * (VOCABULARY as f64).ln()).exp() as i64;
        number
    }
}

/// The text of a message.
#[must_use]
pub fn text(id: i64) -> String {
    let mut random = Random(id.unsigned_abs());
    let count = SHORTEST + random.next() % (LONGEST - SHORTEST + 1);
    let mut text = String::new();
    for place in 1..=count {
        let mut number = random.word();
        if place % 2 == 0 && APART.contains(&number) {
            number += AT_EVEN_PLACES;
        }
        let _ = write!(text, "{}k{number}", if place > 1 { " " } else { "" });
    }
    text
}

/// One of the 40 most common: each stands in at least 2 of 100 messages.
#[must_use]
pub fn common(number: i64) -> String {
    format!("k{}", number * 7 % 40 + 1)
}

/// One of 10,000 that stand in 50 to 100 of a million messages.
#[must_use]
pub fn rare(number: i64) -> String {
    format!("k{}", VOCABULARY / 10 + number * 7919 % (VOCABULARY / 10))
}

/// Two common words that stand next to each other in 2 to 20 of 10,000 messages.
#[must_use]
pub fn together(number: i64) -> String {
    let (first, second) = (number % AT_EVEN_PLACES, (number + number / AT_EVEN_PLACES) % AT_EVEN_PLACES);
    format!("k{} k{}", APART.start() + first, APART.start() + AT_EVEN_PLACES + second)
}

/// Two common words that stand in the same messages, and never next to each other.
#[must_use]
pub fn apart(number: i64) -> String {
    let first = number % AT_EVEN_PLACES;
    let second = (first + 1 + number / AT_EVEN_PLACES % (AT_EVEN_PLACES - 1)) % AT_EVEN_PLACES;
    format!("k{} k{}", APART.start() + first, APART.start() + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_as_often_as_they_should() {
        let texts: Vec<String> = (1..=5000).map(text).collect();
        let texts: Vec<Vec<&str>> = texts.iter().map(|text| text.split(' ').collect()).collect();
        assert!(texts.iter().all(|words| (8..=16).contains(&words.len())));
        let with = |word: &str| texts.iter().filter(|words| words.contains(&word)).count();
        for number in 0..40 {
            assert!(with(&common(number)) > 50, "{}", common(number));
        }
        let of_rare: usize = (0..200).map(|number| with(&rare(number))).sum();
        assert!((20..=100).contains(&of_rare), "{of_rare}");
        let having = |pair: &str| {
            let (one, other) = pair.split_once(' ').unwrap();
            let both = texts.iter().filter(|words| words.contains(&one) && words.contains(&other));
            (
                both.count(),
                texts.iter().filter(|words| words.windows(2).any(|two| two == [one, other])).count(),
            )
        };
        let phrases: usize = (0..40).map(|number| having(&together(number)).1).sum();
        assert!(phrases > 40, "{phrases}");
        for number in (0..240).step_by(7) {
            let (both, phrases) = having(&apart(number));
            assert!(both > 0 && phrases == 0, "{}: {both}, {phrases}", apart(number));
        }
    }
}
