//! What a question is about: its words that say something, and those of the questions that it goes on from.

use std::collections::HashSet;

use wicara_guide::Language;
use wicara_model::{Question, Speaker};

use crate::language::{detect, words};
use crate::lexicon::{ABOUT, CONNECTING, GREETINGS, POINTING, THANKS, is_stop_word};

/// Different words of a question that are looked for.
const MOST_WORDS: usize = 32;
/// A question with more words of its own says enough by itself.
const FEW_WORDS: usize = 2;

/// Why a question has no subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmallTalk {
    Greeting,
    Thanks,
    Other,
}

impl SmallTalk {
    /// What a text says that asks nothing.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let says = |known: &HashSet<&str>| words(text).any(|word| known.contains(word.as_str()));
        if says(&THANKS) {
            SmallTalk::Thanks
        } else if says(&GREETINGS) {
            SmallTalk::Greeting
        } else {
            SmallTalk::Other
        }
    }
}

#[derive(Debug)]
pub struct Subject {
    /// The language that the question shows, or those before it.
    pub language: Option<Language>,
    /// What was asked, word by word, without stop words and repetitions.
    pub words: Vec<String>,
    /// The words of the questions that this one goes on from.
    pub earlier: Vec<String>,
}

impl Subject {
    #[must_use]
    pub fn of(question: &Question) -> Self {
        let asked = question.history.iter().rev().filter(|turn| turn.speaker == Speaker::User);
        let asked = || asked.clone().map(|turn| turn.text.as_str());
        let language = detect(&question.text).or_else(|| asked().find_map(detect));
        let words = subject_words(&question.text);
        let mut earlier = Vec::new();
        let mut last = question.text.as_str();
        for text in asked() {
            if !follows(last) {
                break;
            }
            for word in subject_words(text) {
                if !words.contains(&word) && !earlier.contains(&word) {
                    earlier.push(word);
                }
            }
            last = text;
        }
        earlier.truncate(MOST_WORDS);
        Self { language, words, earlier }
    }
}

/// Whether a question can only be understood with the one before.
fn follows(text: &str) -> bool {
    let mut first = words(text);
    let connects = first.next().is_some_and(|word| CONNECTING.contains(word.as_str()))
        || first.next().is_some_and(|word| ABOUT.contains(word.as_str()));
    let points = || {
        words(text)
            .any(|word| POINTING.contains(word.as_str()) || (word.ends_with("nya") && !is_stop_word(&word)))
    };
    subject_words(text).len() <= FEW_WORDS && (connects || points())
}

fn subject_words(text: &str) -> Vec<String> {
    let mut seen = HashSet::new();
    let subject = words(text).filter(|word| !is_stop_word(word) && seen.insert(word.clone()));
    subject.take(MOST_WORDS).collect()
}
