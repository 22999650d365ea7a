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

use tantivy::collector::TopDocs;
use tantivy::query::{
    BooleanQuery, BoostQuery, ConstScoreQuery, DisjunctionMaxQuery, Occur, Query, TermQuery,
};
use tantivy::schema::IndexRecordOption;
use tantivy::{DocId, DocSet, Term};
use wicara_guide::Language;

use crate::language::{forms, standard_spellings};
use crate::lexicon::synonyms;
use crate::passages::{Page, PassageRef};
use crate::subject::Subject;
use crate::term_index::{TermIndex, TermMatch, inverse_document_frequency};

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
struct QueryWord {
    origin: Origin,
    /// Empty if no passage has the word, a synonym or a similar spelling. Its weight still lowers every coverage.
    matches: Vec<TermMatch>,
    /// The word's information, less for an earlier question's.
    weight: f32,
}

/// A passage that has words of the question.
struct Candidate {
    id: DocId,
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
    pub fn new(pages: &[Page]) -> tantivy::Result<Self> {
        Ok(Self { index: TermIndex::new(pages)? })
    }

    /// Prefers passages in the question's language to others. Where the question shows no language, the language wins
    /// whose best passage covers more of it; `default` wins a tie.
    pub fn rank(&self, subject: &Subject, default: Language) -> tantivy::Result<Ranking> {
        let mut query_words = self.query_words(&subject.words, Origin::Question)?;
        if query_words.is_empty() {
            return Ok(Ranking::NoSubject);
        }
        query_words.extend(self.query_words(&subject.earlier, Origin::Earlier)?);
        // `None` searches the pages of all languages, and those whose language is unknown.
        let languages = match subject.language {
            Some(language) => vec![Some(language), None],
            None => vec![Some(default), Some(default.other()), None],
        };
        let mut best: Vec<Candidate> = Vec::new();
        for language in languages {
            let found = self.candidates(&query_words, language)?;
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
        Ok(match best.first() {
            Some(first) if first.is_answer() => Ranking::Answer(passage(first)),
            Some(_) => Ranking::Suggestions(best.iter().take(MAX_SUGGESTIONS).map(passage).collect()),
            None => Ranking::NoMatch,
        })
    }

    fn query_words(&self, words: &[String], origin: Origin) -> tantivy::Result<Vec<QueryWord>> {
        let mut query_words = Vec::new();
        for word in words {
            let matches = self.matches(word)?;
            let information = inverse_document_frequency(self.index.passages.len(), &matches);
            query_words.push(QueryWord { origin, matches, weight: information * origin.weight() });
        }
        Ok(query_words)
    }

    /// The terms that a word and its synonyms match. Only a word without any match is taken for chat language, and only
    /// then for a misspelt word: a word of the documents means itself.
    fn matches(&self, word: &str) -> tantivy::Result<Vec<TermMatch>> {
        let mut matches = self.index.matches(word, 1.0)?;
        matches.extend(self.synonym_matches(word)?);
        if matches.is_empty() {
            for word in standard_spellings(word) {
                matches.extend(self.index.matches(&word, SYNONYM_CERTAINTY)?);
                matches.extend(self.synonym_matches(&word)?);
            }
        }
        if matches.is_empty()
            && let Some((distance, word)) = self.index.nearest_word(word)?
        {
            let certainty = (0..distance).map(|_| TYPO_CERTAINTY).product();
            matches.extend(self.index.matches(&word, certainty)?);
            matches.extend(self.synonym_matches(&word)?);
        }
        Ok(matches)
    }

    fn synonym_matches(&self, word: &str) -> tantivy::Result<Vec<TermMatch>> {
        let mut matches = Vec::new();
        for form in forms(word).iter().flatten() {
            for synonym in synonyms(form).filter(|synonym| *synonym != word) {
                matches.extend(self.index.matches(synonym, SYNONYM_CERTAINTY)?);
            }
        }
        Ok(matches)
    }

    /// The answers and suggestions among the passages of a language, best first, answers before suggestions.
    fn candidates(
        &self,
        query_words: &[QueryWord],
        language: Option<Language>,
    ) -> tantivy::Result<Vec<Candidate>> {
        let query = self.query(query_words, language);
        let top =
            self.index.searcher.search(&query, &TopDocs::with_limit(MAX_CANDIDATES).order_by_score())?;
        let mut scores: Vec<(DocId, f32)> =
            top.into_iter().map(|(score, address)| (address.doc_id, score)).collect();
        scores.sort_unstable_by_key(|(id, _)| *id);
        let mut candidates = self.score(query_words, &scores)?;
        candidates.retain(|candidate| candidate.is_answer() || candidate.is_suggestion());
        candidates.sort_by(|one, other| {
            other.is_answer().cmp(&one.is_answer()).then(other.score.total_cmp(&one.score))
        });
        Ok(candidates)
    }

    /// Passages with any of the words, in pages of the language.
    fn query(&self, query_words: &[QueryWord], language: Option<Language>) -> Box<dyn Query> {
        let fields = &self.index.fields;
        let mut any_word: Vec<(Occur, Box<dyn Query>)> = Vec::new();
        for word in query_words {
            // The best match alone counts in each text: a word with many forms and synonyms must not count many times.
            for (text_fields, _) in fields.texts() {
                let matches = word.matches.iter().filter(|found| text_fields.contains(&found.term.field()));
                let matches = matches.map(|found| -> Box<dyn Query> {
                    let term = TermQuery::new(found.term.clone(), IndexRecordOption::WithFreqs);
                    let boost = found.boost * found.certainty * word.origin.weight();
                    Box::new(BoostQuery::new(Box::new(term), boost))
                });
                any_word.push((Occur::Should, Box::new(DisjunctionMaxQuery::new(matches.collect()))));
            }
        }
        let any_word = Box::new(BooleanQuery::new(any_word));
        let Some(language) = language else { return any_word };
        let term = Term::from_field_text(fields.language, language.code());
        let in_language = TermQuery::new(term, IndexRecordOption::Basic);
        // A filter: it adds nothing to the score.
        let in_language = ConstScoreQuery::new(Box::new(in_language), 0.0);
        Box::new(BooleanQuery::new(vec![(Occur::Must, any_word), (Occur::Must, Box::new(in_language))]))
    }

    /// Adds coverage and heading to the score. `bm25_scores` must rise by id.
    fn score(
        &self,
        query_words: &[QueryWord],
        bm25_scores: &[(DocId, f32)],
    ) -> tantivy::Result<Vec<Candidate>> {
        let coverages = self.coverages(query_words, bm25_scores)?;
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
        Ok(candidates.collect())
    }

    /// The coverage of each passage. The ids must rise, as posting lists are only read forwards.
    fn coverages(
        &self,
        query_words: &[QueryWord],
        bm25_scores: &[(DocId, f32)],
    ) -> tantivy::Result<Vec<Coverage>> {
        let TermIndex { searcher, fields, .. } = &self.index;
        let mut coverages: Vec<Coverage> = bm25_scores.iter().map(|_| Coverage::default()).collect();
        for word in query_words {
            let mut certainties = vec![WordCertainty::default(); bm25_scores.len()];
            for segment in searcher.segment_readers() {
                for TermMatch { term, certainty, .. } in &word.matches {
                    let field = term.field();
                    let inverted = segment.inverted_index(field)?;
                    let Some(mut postings) = inverted.read_postings(term, IndexRecordOption::Basic)? else {
                        continue;
                    };
                    for (best, (id, _)) in certainties.iter_mut().zip(bm25_scores) {
                        if postings.doc() < *id {
                            postings.seek(*id);
                        }
                        if postings.doc() != *id {
                            continue;
                        }
                        best.anywhere = best.anywhere.max(*certainty);
                        if fields.heading.contains(&field) {
                            best.heading = best.heading.max(*certainty);
                        }
                        if fields.title.contains(&field) {
                            best.title = best.title.max(*certainty);
                        }
                    }
                }
            }
            for (coverage, best) in coverages.iter_mut().zip(certainties) {
                coverage.anywhere += word.weight * best.anywhere;
                coverage.heading += word.weight * best.heading;
                coverage.title += word.weight * best.title;
                if word.origin == Origin::Question {
                    coverage.question += word.weight * best.anywhere;
                    coverage.question_word_count += usize::from(best.anywhere > 0.0);
                }
            }
        }
        Ok(coverages)
    }
}
