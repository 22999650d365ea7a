//! The words of a question as what the index has for them: the words themselves, others for the same, or what a word of
//! chat language or a misspelt one is likely to mean.

use wicara_guide::Language;

use crate::language::forms;
use crate::lexicon::is_stop_word;
use crate::spelling::{exists, is_spelt_stop_word, readings, readings_beside};
use crate::subject::Subject;
use crate::synonyms::Synonyms;
use crate::term_index::{TermIndex, TermMatch, Text, inverse_document_frequency};

/// The certainty of a match by a synonym or by the standard spelling of a chat word. At 1.0, passages with the word
/// itself no longer go first.
const SYNONYM_CERTAINTY: f32 = 0.8;
/// The certainty of a match by one word of a phrase that stands for the same.
const PHRASE_CERTAINTY: f32 = 0.6;
/// The certainty of a match by a longer word that the word is the beginning or the end of.
const COMPOUND_CERTAINTY: f32 = 0.7;
/// The certainty of a match for a misspelt word, once for each wrong letter.
const TYPO_CERTAINTY: f32 = 0.8;
/// The longer words that a word is looked for in, at most.
const MAX_COMPOUNDS: usize = 3;
/// The words of a question that are looked for within others or as misspelt, at most: each reads the vocabulary.
const MAX_VOCABULARY_READS: usize = 8;
/// A word that is looked for in two parts has so many bytes at least.
const MIN_JOINED_BYTES: usize = 5;
/// The weight of a word from an earlier question. It chooses between passages that fit the question equally, and must
/// not outweigh the question itself.
const EARLIER_WEIGHT: f32 = 0.5;
/// The weight of a word that no passage has, as a share of the weight of one that a single passage has, where passages are
/// compared: a sentence has words that nobody writes into documents. Where it is asked whether the question is about the
/// documents at all, it has its full weight.
const UNKNOWN_WEIGHT: f32 = 0.6;

/// A number of so many digits that a heading has names what is asked, as an error's code does, and counts so many times.
const CODE_DIGITS: usize = 3;
const CODE_EMPHASIS: f32 = 2.0;

fn is_code(word: &str) -> bool {
    word.len() >= CODE_DIGITS && word.bytes().all(|byte| byte.is_ascii_digit())
}

/// Where a word that is searched for comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Question,
    /// A question before, which this one continues.
    Earlier,
}

impl Origin {
    pub fn weight(self) -> f32 {
        match self {
            Origin::Question => 1.0,
            Origin::Earlier => EARLIER_WEIGHT,
        }
    }
}

/// A word that is searched for.
pub struct QueryWord<'a> {
    pub origin: Origin,
    /// Empty if no passage has the word, a synonym or a similar spelling. Its weight still lowers every coverage.
    pub matches: Vec<TermMatch<'a>>,
    /// How much more the word counts than by its information: 1 but for the codes of [`is_code`].
    pub emphasis: f32,
    /// The word's information, less for an earlier question's, and less for a word that no passage has.
    pub weight: f32,
    /// The word's information, times its emphasis.
    pub information: f32,
}

/// A word of the question as it may stand in a text, to tell which row of a table has it.
#[derive(Debug)]
pub struct AskedWord {
    pub weight: f32,
    /// The terms by form.
    terms: [Vec<String>; 3],
}

impl AskedWord {
    pub fn is_met_by(&self, word: &str) -> bool {
        forms(word)
            .iter()
            .zip(&self.terms)
            .any(|(forms, terms)| forms.iter().any(|form| terms.contains(form)))
    }

    #[cfg(test)]
    pub fn of(word: &str) -> Self {
        Self { weight: 1.0, terms: forms(word) }
    }
}

impl QueryWord<'_> {
    /// The word in the spellings that the index has.
    pub fn asked(&self) -> AskedWord {
        let mut terms = <[Vec<String>; 3]>::default();
        for matched in &self.matches {
            let of_form = &mut terms[matched.form];
            if !of_form.iter().any(|term| term == matched.term) {
                of_form.push(matched.term.to_owned());
            }
        }
        AskedWord { weight: self.weight, terms }
    }
}

/// The words that are searched for.
pub struct Query<'a> {
    pub words: Vec<QueryWord<'a>>,
}

/// Finds what the index has for words.
pub struct QueryReader<'a> {
    pub index: &'a TermIndex,
    pub synonyms: &'a Synonyms,
    pub language: Option<Language>,
}

impl<'a> QueryReader<'a> {
    pub fn read(&self, subject: &Subject) -> Query<'a> {
        let (words, earlier) = (&self.with_pairs_joined(subject), &subject.earlier);
        let mut query = Query { words: Vec::new() };
        let mut vocabulary_reads = 0;
        for (words, origin) in [(words, Origin::Question), (earlier, Origin::Earlier)] {
            for at in 0..words.len() {
                if let Some(matches) = self.matches(&words[at..], &mut vocabulary_reads) {
                    let is_named = matches.iter().any(|matched| matched.text == Text::Heading);
                    let emphasis = if is_named && is_code(&words[at]) { CODE_EMPHASIS } else { 1.0 };
                    let information =
                        emphasis * inverse_document_frequency(self.index.passages.len(), &matches);
                    let share = if matches.is_empty() { UNKNOWN_WEIGHT } else { 1.0 };
                    let weight = share * information * origin.weight();
                    query.words.push(QueryWord { origin, matches, emphasis, weight, information });
                }
            }
        }
        query
    }

    /// The subject's words, with what the documents write as one word in place of its parts, one of which is a stop word:
    /// back up, log in.
    fn with_pairs_joined(&self, subject: &Subject) -> Vec<String> {
        let mut words = subject.words.clone();
        for (one, other) in &subject.pairs {
            let joined = format!("{one}{other}");
            let is_part = |word: &String| word == one || word == other;
            if (is_stop_word(one) || is_stop_word(other))
                && one.len() > 1
                && other.len() > 1
                && joined.len() >= MIN_JOINED_BYTES
                && self.index.has_word(&joined)
                && let Some(at) = words.iter().position(is_part)
            {
                words[at] = joined;
                words.retain(|word| !is_part(word));
            }
        }
        words
    }

    /// The terms that the first word and its synonyms match; `None` for a stop word in another spelling. A spelling of chats
    /// that some document has also means the standard one. Only a word without any match is taken for other chat language,
    /// and only then for a part of a word or a misspelt one: a word of the documents means itself.
    fn matches(&self, words: &[String], vocabulary_reads: &mut usize) -> Option<Vec<TermMatch<'a>>> {
        let word = &words[0];
        let english = self.language == Some(Language::English);
        let mut matches = self.exact(words, 1.0);
        if !matches.is_empty() {
            let of_standard = readings_beside(word, english)
                .into_iter()
                .map(|reading| self.exact(&[reading], SYNONYM_CERTAINTY))
                .find(|matches| !matches.is_empty());
            matches.extend(of_standard.unwrap_or_default());
            return Some(matches);
        }
        if is_spelt_stop_word(word, english) {
            return None;
        }
        for reading in readings(word, english) {
            let reading: Vec<String> = reading.split(' ').map(str::to_owned).collect();
            let matches = match reading.as_slice() {
                [word] => self.exact(std::slice::from_ref(word), SYNONYM_CERTAINTY),
                phrase => self.phrase(phrase),
            };
            if !matches.is_empty() {
                return Some(matches);
            }
        }
        *vocabulary_reads += 1;
        if *vocabulary_reads > MAX_VOCABULARY_READS || exists(word) {
            return Some(Vec::new());
        }
        let mut matches = Vec::new();
        for compound in self.index.compounds(word, MAX_COMPOUNDS) {
            matches.extend(self.index.matches(compound, COMPOUND_CERTAINTY));
        }
        if matches.is_empty()
            && let Some((distance, meant)) = self.index.nearest_word(word)
        {
            let certainty = (0..distance).map(|_| TYPO_CERTAINTY).product();
            matches.extend(self.exact(&[meant.to_owned()], certainty));
        }
        Some(matches)
    }

    /// The terms that the first word matches, or words that stand for the same as it or as the phrase it begins.
    fn exact(&self, words: &[String], certainty: f32) -> Vec<TermMatch<'a>> {
        let mut matches = self.index.matches(&words[0], certainty);
        for synonym in self.synonyms.of(&forms(&words[0]), words) {
            match synonym {
                [word] => matches.extend(self.index.matches(word, certainty.min(SYNONYM_CERTAINTY))),
                phrase => matches.extend(self.phrase(phrase)),
            }
        }
        matches
    }

    /// The terms that a phrase matches: those of its rarest word, if the documents have all its words.
    fn phrase(&self, words: &[String]) -> Vec<TermMatch<'a>> {
        let passages = self.index.passages.len();
        let of_words = words.iter().filter(|word| !is_stop_word(word));
        let mut matches: Vec<_> = of_words.map(|word| self.index.matches(word, PHRASE_CERTAINTY)).collect();
        if matches.iter().any(Vec::is_empty) {
            return Vec::new();
        }
        let information = |matches: &Vec<TermMatch>| inverse_document_frequency(passages, matches);
        matches.sort_by(|one, other| information(other).total_cmp(&information(one)));
        matches.into_iter().next().unwrap_or_default()
    }
}
