//! Words for the same: a set that comes with the program, and the operator's own.

use std::collections::{HashMap, HashSet};

use crate::tokens::words;

const BUILT_IN: &str = include_str!("../data/synonyms.txt");

/// Between two words of a line.
const SEPARATOR: char = '=';
/// Begins a line that is a comment.
const COMMENT: char = '#';

/// Groups of words and phrases that stand for the same.
#[derive(Debug)]
pub struct Synonyms {
    /// Each word or phrase as its words, by group.
    groups: Vec<Vec<Vec<String>>>,
    /// The groups of a word, and of the first word of a phrase.
    by_word: HashMap<String, Vec<usize>>,
}

impl Synonyms {
    /// The built-in groups and those of an operator's file, a line each: `umur = usia`. The error names a line that has
    /// no two words for the same.
    pub fn read(own: &str) -> Result<Self, String> {
        let mut synonyms = Self { groups: Vec::new(), by_word: HashMap::new() };
        synonyms.add(BUILT_IN)?;
        synonyms.add(own)?;
        Ok(synonyms)
    }

    #[must_use]
    pub fn built_in() -> Self {
        Self::read("").expect("the built-in groups are read in the tests")
    }

    fn add(&mut self, text: &str) -> Result<(), String> {
        for (number, line) in text.lines().enumerate() {
            let line = line.trim_start_matches('\u{feff}').trim();
            if line.is_empty() || line.starts_with(COMMENT) {
                continue;
            }
            let mut members: Vec<Vec<String>> = line.split(SEPARATOR).map(words).collect();
            members.retain(|member| !member.is_empty());
            if members.len() < 2 {
                return Err(format!("line {}: {line:?} has no two words with `=` between", number + 1));
            }
            let group = self.groups.len();
            let firsts: HashSet<&String> = members.iter().map(|member| &member[0]).collect();
            for first in firsts {
                self.by_word.entry(first.clone()).or_default().push(group);
            }
            self.groups.push(members);
        }
        Ok(())
    }

    /// The words and phrases that stand for the same as the beginning of `question`, whose first word may be in any of
    /// `forms`; not the word itself.
    pub fn of<'a>(&'a self, forms: &[Vec<String>], question: &[String]) -> Vec<&'a [String]> {
        let mut found: Vec<&[String]> = Vec::new();
        let mut tried = HashSet::new();
        for form in forms.iter().flatten() {
            for group in self.by_word.get(form).into_iter().flatten() {
                let members = &self.groups[*group];
                let is_asked = |member: &Vec<String>| match member.as_slice() {
                    [word] => word == form,
                    phrase => question.starts_with(phrase),
                };
                if tried.insert(*group) && members.iter().any(is_asked) {
                    let others = members.iter().filter(|member| !is_asked(member));
                    found.extend(others.map(Vec::as_slice));
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::forms;

    fn of(synonyms: &Synonyms, question: &str) -> Vec<String> {
        let question = words(question);
        synonyms.of(&forms(&question[0]), &question).iter().map(|member| member.join(" ")).collect()
    }

    #[test]
    fn words_and_phrases_of_a_line_stand_for_the_same() {
        let synonyms = Synonyms::read("# own\n\nloket = counter\nKartu Anak = KIA\n").unwrap();
        assert_eq!(of(&synonyms, "loket"), ["counter"]);
        assert_eq!(of(&synonyms, "kia"), ["kartu anak"]);
        assert!(of(&synonyms, "kartu anak").contains(&"kia".to_owned()));
        assert!(!of(&synonyms, "kartu pintar").contains(&"kia".to_owned()));
        assert!(of(&synonyms, "umur").contains(&"usia".to_owned()), "built in");
        assert!(of(&synonyms, "usia").contains(&"umur".to_owned()));
    }

    #[test]
    fn a_line_without_two_words_is_an_error_that_names_it() {
        for line in ["umur", "umur =", "= usia"] {
            let error = Synonyms::read(&format!("a = b\n{line}\n")).unwrap_err();
            assert!(error.starts_with("line 2:"), "{error}");
        }
    }
}
