//! What a query finds, without any index: what both databases have to agree with.

use std::collections::{HashMap, HashSet};

use crate::query::{Query, Term};
use crate::terms::Terms;

/// Whether the query finds the text.
#[must_use]
pub fn matches(text: &str, query: &Query) -> bool {
    let terms = Terms::of(text);
    let mut index = Index {
        words: terms.words().collect(),
        positions: HashMap::new(),
        unplaced: terms.unplaced().collect(),
    };
    for (position, word) in &index.words {
        index.positions.entry(*word).or_default().push(*position);
    }
    !query.is_empty()
        && query.wanted().iter().all(|term| index.has(term))
        && !query.unwanted().iter().any(|term| index.has(term))
}

struct Index<'a> {
    words: HashMap<usize, &'a str>,
    positions: HashMap<&'a str, Vec<usize>>,
    unplaced: HashSet<&'a str>,
}

impl Index<'_> {
    fn has(&self, term: &Term) -> bool {
        match term {
            Term::Word(any) => {
                any.iter().any(|form| self.positions.contains_key(&**form) || self.unplaced.contains(&**form))
            }
            Term::Phrase { words, prefix } => {
                let follow = |start: usize| {
                    (start..).zip(words).all(|(position, word)| {
                        let is_last = position + 1 == start + words.len();
                        self.words.get(&position).is_some_and(|found| {
                            found == word || (*prefix && is_last && found.starts_with(&**word))
                        })
                    })
                };
                match self.positions.get(&*words[0]) {
                    _ if *prefix && words.len() == 1 => self.words.keys().copied().any(follow),
                    Some(positions) => positions.iter().copied().any(follow),
                    None => false,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finds(query: &str, text: &str) -> bool {
        matches(text, &Query::parse(query).unwrap())
    }

    #[test]
    fn a_word_finds_its_forms_and_a_phrase_only_itself() {
        let text = "Kartu saya hilang, tolong dikirimkan yang baru. Cards were renewed.";
        for query in [
            "kartu",
            "KÁRTU",
            "mengirim",
            "kirim",
            "card",
            "renewal",
            "\"saya hilang\"",
            "tolo*",
            "kartu -bank",
        ] {
            assert!(finds(query, text), "{query}");
        }
        for query in [
            "bank",
            "\"card\"",
            "\"hilang saya\"",
            "\"kirim\"",
            "kartu -card",
            "kartu -\"saya hilang\"",
            "kartu bank",
            "kir*",
            "hi*",
            "\"saya hil\"",
            "👍",
        ] {
            assert!(!finds(query, text), "{query}");
        }
    }

    #[test]
    fn parts_stand_for_the_whole() {
        for (query, text) in [
            ("POL-358", "Polis POL-358."),
            ("pol 358", "POL-358"),
            ("kota.go.id", "warga@kota.go.id"),
            ("\"fn main\"", "fn main() {}"),
            ("foo_bar", "let foo_bar = 1;"),
        ] {
            assert!(finds(query, text), "{query}");
        }
        assert!(!finds("POL-358", "POL 35 8, 358 POL"));
        assert!(finds("1-surat-kuas*", "1 surat kuasa") && !finds("1-sura-kuas*", "1 surat kuasa"));
    }

    #[test]
    fn scripts_without_spaces_are_found_in_the_middle() {
        let text = "私は日本語を話します。ฉันพูดภาษาไทยได้";
        for query in ["日本語", "日", "語", "す", "本語を", "\"は日\"", "ไทย", "ภาษา", "ด้"]
        {
            assert!(finds(query, text), "{query}");
        }
        for query in ["日語", "本日", "英", "ยไท"] {
            assert!(!finds(query, text), "{query}");
        }
    }

    #[test]
    fn arabic_is_found_with_and_without_its_vowel_signs() {
        assert!(finds("محمد", "السلام عليكم يا مُحَمَّد"));
        assert!(finds("مُحَمَّد", "محـــمد"));
    }

    #[test]
    fn what_is_found_is_bounded_as_the_index_is() {
        assert!(finds("end", &format!("{}end", "x ".repeat(300))));
        assert!(finds("\"x end\"", &format!("{}end", "x ".repeat(256))));
        assert!(!finds("\"x end\"", &format!("{}end", "x ".repeat(300))));
        assert!(!finds("end", &format!("{}end", "x ".repeat(20_000))));
        assert!(finds(&"ab".repeat(80), &"ab".repeat(90)));
    }
}
