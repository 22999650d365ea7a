//! The subject of a question: its words without stop words, with those of the questions that it follows up.

use std::collections::HashSet;

use wicara_guide::Language;
use wicara_model::{Question, Speaker};

use crate::language::detect;
use crate::lexicon::{
    AskedFor, FOLLOW_UP_FIRST_WORDS, FOLLOW_UP_SECOND_WORDS, GREETINGS, REFERRING_WORDS, THANKS, asked_for,
    is_stop_word,
};
use crate::tokens::words as words_of;

/// The words of a question that are searched for, at most: each costs the index several look-ups.
const MAX_WORDS: usize = 32;
/// A question with more words of its own is understood without the one before.
const MAX_FOLLOW_UP_WORDS: usize = 2;

/// What a message without a subject is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmallTalk {
    Greeting,
    Thanks,
    Other,
}

impl SmallTalk {
    /// Classifies a message that has no subject.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let has_any = |known: &HashSet<&str>| words_of(text).iter().any(|word| known.contains(word.as_str()));
        if has_any(&THANKS) {
            SmallTalk::Thanks
        } else if has_any(&GREETINGS) {
            SmallTalk::Greeting
        } else {
            SmallTalk::Other
        }
    }
}

#[derive(Debug)]
pub struct Subject {
    /// The language of the question, or else of the latest question before it that shows one.
    pub language: Option<Language>,
    /// The different words of the question in their order, without stop words.
    pub words: Vec<String>,
    /// Each two words of the question that stand side by side, stop words too.
    pub pairs: Vec<(String, String)>,
    /// The words of the questions that this one follows up, without those in `words`.
    pub earlier: Vec<String>,
    /// Whether the question says that it goes on from the one before. Else, with words in `earlier`, it is merely so
    /// short that it may.
    pub refers: bool,
    /// Whether it gives thanks and says little else.
    pub is_thanks: bool,
    pub asked_for: Vec<AskedFor>,
}

impl Subject {
    #[must_use]
    pub fn of(question: &Question) -> Self {
        let earlier_questions = question.history.iter().rev().filter(|turn| turn.speaker == Speaker::User);
        let earlier_texts = || earlier_questions.clone().map(|turn| turn.text.as_str());
        let language = detect(&question.text).or_else(|| earlier_texts().find_map(detect));
        let words = subject_words(&question.text);
        let mut earlier = Vec::new();
        let refers = is_follow_up(&question.text);
        let mut follows = words.len() <= MAX_FOLLOW_UP_WORDS;
        for text in earlier_texts() {
            if !follows {
                break;
            }
            for word in subject_words(text) {
                if !words.contains(&word) && !earlier.contains(&word) {
                    earlier.push(word);
                }
            }
            follows = is_follow_up(text);
        }
        earlier.truncate(MAX_WORDS);
        let is_thanks =
            words.len() <= MAX_FOLLOW_UP_WORDS && SmallTalk::of(&question.text) == SmallTalk::Thanks;
        let all = words_of(&question.text);
        let asked_for = asked_for(&all).collect();
        let pairs = all.iter().cloned().zip(all.iter().skip(1).cloned()).take(MAX_WORDS).collect();
        Self { language, words, pairs, earlier, refers, is_thanks, asked_for }
    }

    /// Whether the question is word for word this sequence of several words.
    #[must_use]
    pub fn is(&self, words: &[String]) -> bool {
        let pairs = words.windows(2).map(|pair| (&pair[0], &pair[1]));
        !self.pairs.is_empty() && pairs.eq(self.pairs.iter().map(|(one, other)| (one, other)))
    }

    /// The same without the questions before.
    #[must_use]
    pub fn alone(&self) -> Self {
        Self { words: self.words.clone(), pairs: self.pairs.clone(), ..self.bare() }
    }

    /// The questions before as a question.
    #[must_use]
    pub fn before(&self) -> Self {
        Self { words: self.earlier.clone(), ..self.bare() }
    }

    fn bare(&self) -> Self {
        let language = self.language;
        let asked_for = self.asked_for.clone();
        let (words, pairs, earlier) = (Vec::new(), Vec::new(), Vec::new());
        Self { language, words, pairs, earlier, refers: false, is_thanks: false, asked_for }
    }
}

/// Whether a question is only understood with the one before: it is short, and begins like a follow-up or refers to
/// something by a pronoun.
fn is_follow_up(text: &str) -> bool {
    let mut first_words = words_of(text).into_iter();
    let begins_like_one =
        first_words.next().is_some_and(|word| FOLLOW_UP_FIRST_WORDS.contains(word.as_str()))
            || first_words.next().is_some_and(|word| FOLLOW_UP_SECOND_WORDS.contains(word.as_str()));
    // The suffix `-nya` is a pronoun too: biayanya, its cost.
    let refers = || {
        words_of(text).iter().any(|word| {
            REFERRING_WORDS.contains(word.as_str()) || (word.ends_with("nya") && !is_stop_word(word))
        })
    };
    subject_words(text).len() <= MAX_FOLLOW_UP_WORDS && (begins_like_one || refers())
}

fn subject_words(text: &str) -> Vec<String> {
    let mut seen = HashSet::new();
    let subject = words_of(text).into_iter().filter(|word| !is_stop_word(word) && seen.insert(word.clone()));
    subject.take(MAX_WORDS).collect()
}
