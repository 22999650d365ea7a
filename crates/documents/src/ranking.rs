//! Ranks the passages for a question and decides whether the best one is an answer.
//!
//! 1. Each word of the question becomes a [`QueryWord`]: the terms of the index that it matches, and a weight by how
//!    rare it is.
//! 2. BM25 selects a bounded number of candidates, as measuring the coverage of every passage would take too long.
//! 3. For each candidate, [`Coverage`] is the weight of the question's words that it has. The score is BM25's, raised
//!    for coverage and for a heading that fits the question.
//! 4. Thresholds on the coverage tell an answer from a suggestion, and a suggestion from chance.
//!
//! The constants were chosen on the golden set (`golden.toml`): a change there shows as questions that are no longer
//! answered right, or as foreign questions that are no longer declined.

use wicara_guide::Language;

use crate::language::{forms, standard_spellings};
use crate::lexicon::synonyms;
use crate::passages::{Page, PassageRef};
use crate::subject::Subject;
use crate::term_index::{TermIndex, TermMatch, Text, inverse_document_frequency};

/// The coverage of an answer whose heading has a word of the question. The main trade-off: of the golden set, 0.3
/// answers 4 more questions right but declines 6 fewer foreign ones; 0.5 answers 8 fewer right and declines no more.
const MIN_ANSWER_COVERAGE: f32 = 0.4;
/// The coverage of an answer whose heading has no word of the question. A text mentions many words that it is not
/// about, so it has to have nearly all. The golden set does not depend on it: it gives the same from 0.6 to 1.
const MIN_ANSWER_COVERAGE_WITHOUT_HEADING: f32 = 0.75;
/// The coverage of a suggestion. At 0.15, one more foreign question of the golden set gets suggestions; from 0.2 to
/// 0.35, nothing changes there.
const MIN_SUGGESTION_COVERAGE: f32 = 0.25;
/// The words that a suggestion shares with the question at least: one alone is chance.
const MIN_SUGGESTION_WORDS: usize = 2;
const MAX_SUGGESTIONS: usize = 3;
/// The passages whose coverage is measured, best by BM25 first. Twice or half as many change nothing in the golden set.
const MAX_CANDIDATES: usize = 32;
/// The certainty of a match by a synonym or by the standard spelling of a chat word. At 1.0, passages with the word
/// itself no longer go first, and 2 questions fewer of the golden set are answered right.
const SYNONYM_CERTAINTY: f32 = 0.8;
/// The certainty of a match for a misspelt word, once for each wrong letter. At 0.6, a question with one misspelt and
/// one unknown word among three falls below the coverage of an answer.
const TYPO_CERTAINTY: f32 = 0.8;
/// The weight of a word from an earlier question. It chooses between passages that fit the question equally, and must
/// not outweigh the question itself: both 0.25 and 1.0 lose one right answer of the golden set.
const EARLIER_WEIGHT: f32 = 0.5;
/// The bonus of a heading that fits the question exactly: the score is multiplied by up to 1 + this. Of the golden
/// set's right answers, 1 and 3 lose one, 0 loses three and 4 loses two.
const HEADING_FIT_BONUS: f32 = 2.0;
/// The power of the coverage in the score: a passage with every word of the question goes before one that repeats a few
/// of them often. Without it (0), four of the operators' questions in the tests get another passage.
const COVERAGE_POWER: i32 = 2;

#[derive(Debug, PartialEq, Eq)]
pub enum Ranking {
    /// The passage that answers the question.
    Answer(PassageRef),
    /// No passage is sure to be an answer. These, at least one, cover a part of the question, best first.
    Suggestions(Vec<PassageRef>),
    /// No passage covers enough of the question.
    NoMatch,
    /// The question has stop words alone, such as a greeting.
    NoSubject,
}

pub struct Ranker {
    index: TermIndex,
}

/// Where a word that is searched for comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Question,
    /// A question before, which this one continues.
    Earlier,
}

impl Origin {
    fn weight(self) -> f32 {
        match self {
            Origin::Question => 1.0,
            Origin::Earlier => EARLIER_WEIGHT,
        }
    }
}

/// A word that is searched for.
struct QueryWord<'a> {
    origin: Origin,
    /// Empty if no passage has the word, a synonym or a similar spelling. Its weight still lowers every coverage.
    matches: Vec<TermMatch<'a>>,
    /// The word's information, less for an earlier question's.
    weight: f32,
}

/// A passage that has words of the question.
struct Candidate {
    /// The index of the passage.
    id: u32,
    score: f32,
    /// The share of the question's weight that the passage has, from 0 to 1, without earlier questions.
    coverage: f32,
    /// The number of the question's words that the passage has, without earlier questions.
    word_count: usize,
    /// Whether its heading has a word of the question or of an earlier one.
    in_heading: bool,
}

impl Candidate {
    fn is_answer(&self) -> bool {
        self.coverage >= MIN_ANSWER_COVERAGE_WITHOUT_HEADING
            || self.coverage >= MIN_ANSWER_COVERAGE && self.in_heading
    }

    fn is_suggestion(&self) -> bool {
        self.coverage >= MIN_SUGGESTION_COVERAGE && self.word_count >= MIN_SUGGESTION_WORDS
    }
}

/// The summed weights of the searched words that a passage has, each times the certainty of its match.
#[derive(Default)]
struct Coverage {
    /// The words in any text of the passage.
    anywhere: f32,
    heading: f32,
    title: f32,
    /// As `anywhere`, without the words of earlier questions.
    question: f32,
    /// The number of words, without those of earlier questions.
    question_word_count: usize,
}

/// The highest certainty with which a passage has one word: 0 where it has not.
#[derive(Clone, Copy, Default)]
struct WordCertainty {
    anywhere: f32,
    heading: f32,
    title: f32,
}

impl Ranker {
    #[must_use]
    pub fn new(pages: &[Page]) -> Self {
        Self { index: TermIndex::new(pages) }
    }

    /// Prefers passages in the question's language to others. Where the question shows no language, the language wins
    /// whose best passage covers more of it; `default` wins a tie.
    #[must_use]
    pub fn rank(&self, subject: &Subject, default: Language) -> Ranking {
        let mut query_words = self.query_words(&subject.words, Origin::Question);
        if query_words.is_empty() {
            return Ranking::NoSubject;
        }
        query_words.extend(self.query_words(&subject.earlier, Origin::Earlier));
        // `None` searches the pages of all languages, and those whose language is unknown.
        let languages = match subject.language {
            Some(language) => vec![Some(language), None],
            None => vec![Some(default), Some(default.other()), None],
        };
        let mut best: Vec<Candidate> = Vec::new();
        for language in languages {
            let found = self.candidates(&query_words, language);
            let quality = |candidates: &[Candidate]| {
                candidates.first().map(|first| (first.is_answer(), first.coverage))
            };
            if quality(&found) > quality(&best) {
                best = found;
            }
            if subject.language.is_some() && best.first().is_some_and(Candidate::is_answer) {
                break;
            }
        }
        let passage = |candidate: &Candidate| self.index.passages[candidate.id as usize].passage;
        match best.first() {
            Some(first) if first.is_answer() => Ranking::Answer(passage(first)),
            Some(_) => Ranking::Suggestions(best.iter().take(MAX_SUGGESTIONS).map(passage).collect()),
            None => Ranking::NoMatch,
        }
    }

    fn query_words(&self, words: &[String], origin: Origin) -> Vec<QueryWord<'_>> {
        let mut query_words = Vec::new();
        for word in words {
            let matches = self.matches(word);
            let information = inverse_document_frequency(self.index.passages.len(), &matches);
            query_words.push(QueryWord { origin, matches, weight: information * origin.weight() });
        }
        query_words
    }

    /// The terms that a word and its synonyms match. Only a word without any match is taken for chat language, and only
    /// then for a misspelt word: a word of the documents means itself.
    fn matches(&self, word: &str) -> Vec<TermMatch<'_>> {
        let mut matches = self.index.matches(word, 1.0);
        matches.extend(self.synonym_matches(word));
        if matches.is_empty() {
            for word in standard_spellings(word) {
                matches.extend(self.index.matches(&word, SYNONYM_CERTAINTY));
                matches.extend(self.synonym_matches(&word));
            }
        }
        if matches.is_empty()
            && let Some((distance, word)) = self.index.nearest_word(word)
        {
            let certainty = (0..distance).map(|_| TYPO_CERTAINTY).product();
            matches.extend(self.index.matches(word, certainty));
            matches.extend(self.synonym_matches(word));
        }
        matches
    }

    fn synonym_matches(&self, word: &str) -> Vec<TermMatch<'_>> {
        let mut matches = Vec::new();
        for form in forms(word).iter().flatten() {
            for synonym in synonyms(form).filter(|synonym| *synonym != word) {
                matches.extend(self.index.matches(synonym, SYNONYM_CERTAINTY));
            }
        }
        matches
    }

    /// The answers and suggestions among the passages of a language, best first, answers before suggestions.
    fn candidates(&self, query_words: &[QueryWord], language: Option<Language>) -> Vec<Candidate> {
        let best = self.best_by_bm25(query_words, language);
        let mut candidates = self.score(query_words, &best);
        candidates.retain(|candidate| candidate.is_answer() || candidate.is_suggestion());
        candidates.sort_by(|one, other| {
            other.is_answer().cmp(&one.is_answer()).then(other.score.total_cmp(&one.score))
        });
        candidates
    }

    /// The passages with any of the words, in pages of the language: those with the highest BM25 scores.
    fn best_by_bm25(&self, query_words: &[QueryWord], language: Option<Language>) -> Vec<(u32, f32)> {
        let passages = &self.index.passages;
        let is_searched = |id: u32| language.is_none() || passages[id as usize].language == language;
        let mut scores = vec![0.0; passages.len()];
        let mut of_text = vec![0.0_f32; passages.len()];
        let (mut found, mut found_in_text) = (Vec::new(), Vec::new());
        for word in query_words {
            for text in Text::ALL {
                // The best match alone counts in each text: a word with many forms and synonyms must not count many times.
                for matched in word.matches.iter().filter(|matched| matched.text == text) {
                    let boost = matched.boost * matched.certainty * word.origin.weight();
                    for (id, score) in matched.scores().filter(|(id, _)| is_searched(*id)) {
                        let best = &mut of_text[id as usize];
                        if *best == 0.0 {
                            found_in_text.push(id);
                        }
                        *best = best.max(boost * score);
                    }
                }
                for id in found_in_text.drain(..) {
                    let score = &mut scores[id as usize];
                    if *score == 0.0 {
                        found.push(id);
                    }
                    *score += std::mem::take(&mut of_text[id as usize]);
                }
            }
        }
        let mut best: Vec<_> = found.into_iter().map(|id| (id, scores[id as usize])).collect();
        best.sort_unstable_by(|one, other| other.1.total_cmp(&one.1).then(one.0.cmp(&other.0)));
        best.truncate(MAX_CANDIDATES);
        best
    }

    /// Adds coverage and heading to the score.
    fn score(&self, query_words: &[QueryWord], bm25_scores: &[(u32, f32)]) -> Vec<Candidate> {
        let coverages = coverages(query_words, bm25_scores);
        let all_weight: f32 = query_words.iter().map(|word| word.weight).sum();
        let from_question = query_words.iter().filter(|word| word.origin == Origin::Question);
        let question_weight: f32 = from_question.map(|word| word.weight).sum();
        // Precision times recall: the asked share of the heading's information, times the share of the asked
        // information that the heading has.
        let fit = |covered: f32, information: f32| {
            if information > 0.0 { (covered / information).min(1.0) * covered / all_weight } else { 0.0 }
        };
        let candidates = bm25_scores.iter().zip(coverages).map(|((id, bm25), covered)| {
            let passage = &self.index.passages[*id as usize];
            let heading_fit = fit(covered.heading, passage.heading_information)
                .max(fit(covered.title, passage.title_information));
            let coverage_factor = (covered.anywhere / all_weight).powi(COVERAGE_POWER);
            Candidate {
                id: *id,
                score: bm25 * coverage_factor * (1.0 + HEADING_FIT_BONUS * heading_fit),
                coverage: covered.question / question_weight,
                word_count: covered.question_word_count,
                in_heading: covered.heading > 0.0,
            }
        });
        candidates.collect()
    }
}

/// The coverage of each passage.
fn coverages(query_words: &[QueryWord], bm25_scores: &[(u32, f32)]) -> Vec<Coverage> {
    let mut coverages: Vec<Coverage> = bm25_scores.iter().map(|_| Coverage::default()).collect();
    for word in query_words {
        for (coverage, (id, _)) in coverages.iter_mut().zip(bm25_scores) {
            let mut best = WordCertainty::default();
            for matched in word.matches.iter().filter(|matched| matched.contains(*id)) {
                best.anywhere = best.anywhere.max(matched.certainty);
                match matched.text {
                    Text::Heading => best.heading = best.heading.max(matched.certainty),
                    Text::Title => best.title = best.title.max(matched.certainty),
                    Text::Body => {}
                }
            }
            coverage.anywhere += word.weight * best.anywhere;
            coverage.heading += word.weight * best.heading;
            coverage.title += word.weight * best.title;
            if word.origin == Origin::Question {
                coverage.question += word.weight * best.anywhere;
                coverage.question_word_count += usize::from(best.anywhere > 0.0);
            }
        }
    }
    coverages
}
