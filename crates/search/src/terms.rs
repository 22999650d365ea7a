//! The terms under which a text is indexed.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use crate::character::{Class, class};
use crate::query::SHORTEST_PREFIX;
use crate::stems::stems;
use crate::words::{MOST_WORDS, words};

/// The first character of a stem. No word has it.
pub const MARK: char = '_';
/// What a head begins with.
pub const HEAD_MARK: &str = "__";
/// Stands in a sequence of words for one that is left out, and keeps the others' positions.
pub const GAP: &str = "_";
/// Of one word in a text; it is left out where it comes again. PostgreSQL keeps so many positions of a lexeme.
pub const MOST_OCCURRENCES: u16 = 256;

/// An estimate, on the low side, from which a map gets its size.
const BYTES_PER_DISTINCT_WORD: usize = 12;

/// The beginning of a word under which it is indexed too, so that a prefix as long is looked up as a word is: its first
/// [`SHORTEST_PREFIX`] letters, and the first one where a script has no spaces. `None` for a word that is shorter.
#[must_use]
pub fn head(word: &str) -> Option<&str> {
    let letters = if word.chars().next().map(class) == Some(Class::Spaceless) { 1 } else { SHORTEST_PREFIX };
    let (at, last) = word.char_indices().nth(letters - 1)?;
    Some(&word[..at + last.len_utf8()])
}

/// The terms under which a text is indexed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Terms {
    text: String,
    /// Where the terms without a position begin in `text`.
    unplaced_at: usize,
}

impl Terms {
    /// The terms of the text's first [`MOST_WORDS`](crate::MOST_WORDS) words.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let mut terms = String::with_capacity(text.len() + text.len() / 2);
        let mut occurrences: HashMap<_, u16> =
            HashMap::with_capacity((text.len() / BYTES_PER_DISTINCT_WORD).min(MOST_WORDS));
        let mut unplaced = Unplaced::default();
        for word in words(text) {
            match occurrences.entry(word.surface) {
                Entry::Occupied(mut known) => {
                    let count = known.get().saturating_add(1);
                    terms.push_str(if count <= MOST_OCCURRENCES { known.key() } else { GAP });
                    known.insert(count);
                }
                Entry::Vacant(new) => {
                    terms.push_str(new.key());
                    unplaced.add(new.key());
                    new.insert(1);
                }
            }
            terms.push(' ');
        }
        let unplaced_at = terms.len();
        terms.push_str(&unplaced.text);
        terms.pop();
        Self { text: terms, unplaced_at }
    }

    /// Every term, with a space between two: the words in order, with [`GAP`] for each that is left out, then the stems and
    /// heads, each once. A word's position is its place among them, from 1.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The words with their positions, from 1, which rise but may have gaps.
    pub fn words(&self) -> impl Iterator<Item = (usize, &str)> {
        let words = self.text[..self.unplaced_at.min(self.text.len())].split_ascii_whitespace();
        (1..).zip(words).filter(|(_, word)| *word != GAP)
    }

    /// The stems and the heads of longer words with their marks, each once, in no order.
    pub fn unplaced(&self) -> impl Iterator<Item = &str> {
        self.text.get(self.unplaced_at..).unwrap_or_default().split_ascii_whitespace()
    }

    /// Whether nothing finds the text.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }
}

/// The terms that have no position, with a space after each.
#[derive(Default)]
struct Unplaced {
    text: String,
    stems: HashSet<String>,
    heads: HashSet<String>,
}

impl Unplaced {
    fn add(&mut self, word: &str) {
        for stem in stems(word) {
            if !self.stems.contains(&*stem) {
                self.text.push(MARK);
                self.text.extend([&*stem, " "]);
                self.stems.insert(stem.into_owned());
            }
        }
        // A word that is its own head is found as a word.
        if let Some(head) = head(word)
            && head.len() < word.len()
            && !self.heads.contains(head)
        {
            self.text.extend([HEAD_MARK, head, " "]);
            self.heads.insert(head.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::LONGEST_WORD;

    #[test]
    fn words_come_in_order_and_each_stem_and_head_once() {
        let terms = Terms::of("Cards, cards: dikirim kiriman!");
        assert_eq!(terms.as_str(), "cards cards dikirim kiriman _card __car _kirim __dik __kir");
        assert!(terms.words().eq([(1, "cards"), (2, "cards"), (3, "dikirim"), (4, "kiriman")]));
        assert!(terms.unplaced().eq(["_card", "__car", "_kirim", "__dik", "__kir"]));
        let alone = Terms::of("ktp di 日本");
        assert_eq!(alone.as_str(), "ktp di 日本 本 __日");
        assert_eq!((alone.words().count(), alone.unplaced().count()), (4, 1));
        let nothing = Terms::of("?!");
        assert_eq!((nothing.is_empty(), nothing.words().count(), nothing.unplaced().count()), (true, 0, 0));
    }

    #[test]
    fn a_word_that_comes_too_often_leaves_gaps() {
        let terms = Terms::of(&"x ".repeat(300).replace("x x x ", "x y x "));
        assert_eq!(terms.words().filter(|(_, word)| *word == "x").count(), 200);
        let terms = Terms::of(&format!("{}end", "x ".repeat(300)));
        assert_eq!(terms.words().filter(|(_, word)| *word == "x").count(), usize::from(MOST_OCCURRENCES));
        assert_eq!(terms.words().last(), Some((301, "end")));
        assert_eq!(terms.as_str().split(' ').nth(299), Some(GAP));
    }

    /// The limits of PostgreSQL: its lexemes start at even bytes, each with a count of positions of two bytes each.
    #[test]
    fn the_terms_of_any_text_fit_into_a_tsvector() {
        let letters = |number: usize| -> String {
            [number / 26 / 26, number / 26, number]
                .iter()
                .map(|n| char::from(b'a' + (n % 26) as u8))
                .collect()
        };
        // Words of this length, each with a stem of either language.
        for length in [7, 9, 12, 20, 31, LONGEST_WORD] {
            let word = |number| format!("meng{}{}ations ", letters(number), "u".repeat(length - 7));
            let text: String = (0..MOST_WORDS + 1000).map(word).collect();
            let terms = Terms::of(&text);
            let words = terms.words().map(|(position, word)| (position, word.len() + 1 + 2 + 2));
            let (positions, sizes): (Vec<_>, Vec<_>) = words.unzip();
            let unplaced: usize = terms.unplaced().map(|term| term.len() + 1).sum();
            assert!(sizes.iter().sum::<usize>() + unplaced < 1 << 20);
            assert!(sizes.iter().all(|size| *size < 2048) && positions.iter().all(|at| *at <= 16_383));
        }
    }
}
