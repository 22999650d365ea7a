//! Ranks the passages for a question and decides whether the best one is an answer.
//!
//! 1. Each word of the question becomes a [`QueryWord`]: the terms of the index that it matches, and a weight by how
//!    rare it is.
//! 2. BM25 selects a bounded number of candidates, as measuring the coverage of every passage would take too long.
//! 3. For each candidate, [`Coverage`] is the weight of the question's words that it has. The score is BM25's, raised
//!    for coverage and for a heading that fits the question.
//! 4. Thresholds on the coverage tell an answer from an offer, and an offer from chance.
//!
//! The constants were chosen with `cargo xtask docs` on the golden set (`golden.toml`), an office's pages and the English
//! documentation of others: a change there shows as questions that are no longer answered right, or as foreign
//! questions that are no longer declined.

use wicara_guide::Language;

use crate::passages::{Page, PassageRef};
use crate::query::{AskedWord, Origin, Query, QueryReader, QueryWord};
use crate::subject::Subject;
use crate::synonyms::Synonyms;
use crate::term_index::{TermIndex, Text, information};

/// The coverage of an answer that is about what is asked.
const MIN_ANSWER_COVERAGE: f32 = 0.6;
/// The share of the question's weight that such an answer names: in its heading, its page's title or the words for the search.
/// Where it only mentions much of the rest, and knows nothing of the others, it is often about something else: installing
/// Wicara on Ubuntu is no answer to "install mysql on ubuntu".
const MIN_NAMED_SHARE: f32 = 0.6;
/// The coverage of an answer that does not name that much, or whose heading has no word of the question. A text mentions
/// many words that it is not about, so it has to have nearly all.
const MIN_ANSWER_COVERAGE_BY_TEXT: f32 = 0.8;
/// The words of the question that such an answer has: two may stand in one text by chance.
const MIN_WORDS_WITHOUT_HEADING: usize = 3;
/// The coverage of an answer that has words of the question among those for the search alone, and none in its heading.
const MIN_ANSWER_COVERAGE_BY_WORDS: f32 = 0.75;
/// The coverage of an answer that has a single word of the question, which has to be in its heading.
const MIN_ANSWER_COVERAGE_OF_ONE_WORD: f32 = 0.9;
/// The information of a question with a single word, as a share of what the rarest word has: one that every other passage
/// has does not say what is asked.
const MIN_INFORMATION_OF_ONE_WORD: f32 = 0.4;
/// An answer's score is at least so many times that of the next passage with another heading.
const MIN_ANSWER_LEAD: f32 = 1.3;
/// The same for an answer whose heading and title have less than [`MIN_TITLED_SHARE`] of the question's weight: the words
/// for the search and those of a text are of many subjects, and meet by chance.
const MIN_ANSWER_LEAD_BY_TEXT: f32 = 4.0;
const MIN_TITLED_SHARE: f32 = 0.5;
/// The coverage of an offer that has several words of the question.
const MIN_OFFER_COVERAGE: f32 = 0.25;
/// The coverage of an offer that has a single word of several, which has to be in its heading: one alone is often chance.
const MIN_OFFER_COVERAGE_OF_ONE_WORD: f32 = 0.5;
/// The coverage of a passage in another language than the question's, or an unknown one: it is read less gladly.
const MIN_COVERAGE_IN_ANOTHER_LANGUAGE: f32 = 0.5;
/// A passage is linked to below a sure answer if its score is at least this share of the answer's.
const MIN_RELATED_SHARE: f32 = 0.2;
/// The same below a possible answer.
const MIN_ALTERNATIVE_SHARE: f32 = 0.1;
/// Offers, the first one included.
pub const MAX_OFFERS: usize = 3;
/// The passages whose coverage is measured, best by BM25 first.
const MAX_CANDIDATES: usize = 32;
/// The bonus of a heading that fits the question exactly: the score is multiplied by up to 1 + this.
const HEADING_FIT_BONUS: f32 = 2.0;
/// The power of the coverage in the score: a passage with every word of the question goes before one that repeats a few
/// of them often.
const COVERAGE_POWER: i32 = 2;
/// What the score of a passage is multiplied by whose page answered the question that this one continues.
const SAME_PAGE_BONUS: f32 = 2.2;
/// The best passages among which one whose heading asks for the same puts an answer in doubt whose heading does not.
const MAX_RIVALS: usize = 10;
/// What the score of a passage is multiplied by whose heading asks for the same: who, when, where, why.
const ASKED_FOR_BONUS: f32 = 1.5;

/// How sure a reply is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certainty {
    /// A passage is shown as the answer.
    Sure,
    /// A passage is offered as a possible answer.
    Perhaps,
    /// The documents seem to have no answer.
    Declined,
    /// A greeting, thanks and the like, which ask nothing.
    SmallTalk,
}

#[derive(Debug)]
pub struct Ranking {
    pub certainty: Certainty,
    /// The passages to show, best first. Where the certainty is `Sure` or `Perhaps` there is one at least.
    pub passages: Vec<PassageRef>,
    /// The pages that are nearest to the question, where nothing is shown.
    pub pages: Vec<usize>,
    /// The words that were searched for.
    pub asked: Vec<AskedWord>,
}

impl Ranking {
    fn without_passages(certainty: Certainty) -> Self {
        Self { certainty, passages: Vec::new(), pages: Vec::new(), asked: Vec::new() }
    }
}

pub struct Ranker {
    index: TermIndex,
    synonyms: Synonyms,
}

/// A passage that has words of the question.
#[derive(Debug, Clone)]
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
    /// Whether its heading has one, or the words that its author names for the search alone.
    in_words: bool,
    /// The share of the question's weight in its heading and its page's title.
    titled: f32,
    /// The same with the words that its author names for the search alone.
    named: f32,
    /// The information of the question's words, as a share of what the rarest word has.
    information: f32,
    /// Whether its heading asks for the same: who, when, where, why.
    asks_same: bool,
    /// Whether its heading is the question.
    is_asked: bool,
}

/// The summed weights of the searched words that a passage has, each times the certainty of its match.
#[derive(Default)]
struct Coverage {
    /// The words in any text of the passage.
    anywhere: f32,
    heading: f32,
    title: f32,
    /// The words in the heading or in those that the author names for the search alone.
    heading_or_words: f32,
    /// The words in the heading or in the title.
    titled: f32,
    /// The words in any of these three.
    named: f32,
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
    words: f32,
}

impl Candidate {
    /// `asked`: the number of the question's words. `next`: the best passage with another heading. However much the rare words
    /// of a question weigh, an answer has most of all its words.
    fn is_answer(&self, asked: usize, next: Option<&Candidate>) -> bool {
        let enough = match self.word_count {
            0..=1 if !self.in_words || self.information < MIN_INFORMATION_OF_ONE_WORD => return false,
            0..=1 => MIN_ANSWER_COVERAGE_OF_ONE_WORD,
            _ if self.in_heading && self.named >= MIN_NAMED_SHARE => MIN_ANSWER_COVERAGE,
            _ if self.in_heading => MIN_ANSWER_COVERAGE_BY_TEXT,
            _ if self.in_words => MIN_ANSWER_COVERAGE_BY_WORDS,
            count if count < MIN_WORDS_WITHOUT_HEADING => return false,
            _ => MIN_ANSWER_COVERAGE_BY_TEXT,
        };
        let lead = if self.titled < MIN_TITLED_SHARE { MIN_ANSWER_LEAD_BY_TEXT } else { MIN_ANSWER_LEAD };
        2 * self.word_count > asked
            && self.coverage >= enough
            && next.is_none_or(|next| self.score >= lead * next.score)
    }

    fn is_offer(&self, asked: usize) -> bool {
        match self.word_count {
            0..=1 if asked > 1 => self.in_words && self.coverage >= MIN_OFFER_COVERAGE_OF_ONE_WORD,
            _ => self.coverage >= MIN_OFFER_COVERAGE,
        }
    }
}

impl Ranker {
    #[must_use]
    pub fn new(pages: &[Page], synonyms: Synonyms) -> Self {
        Self { index: TermIndex::new(pages), synonyms }
    }

    /// A short question is understood with the ones before where it says so, or where it is not answered by itself.
    #[must_use]
    pub fn rank(&self, subject: &Subject, default: Language) -> Ranking {
        if subject.earlier.is_empty() {
            return self.rank_with(subject, default, None);
        }
        if !subject.refers {
            let alone = self.rank_with(&subject.alone(), default, None);
            if matches!(alone.certainty, Certainty::Sure | Certainty::SmallTalk) {
                return alone;
            }
        }
        let before = self.rank_with(&subject.before(), default, None);
        self.rank_with(subject, default, before.passages.first().map(|passage| passage.page))
    }

    /// Prefers passages in the question's language to others. Where the question shows no language, the language wins
    /// whose best passage covers more of it; `default` wins a tie. `page`: the one that the conversation is about.
    fn rank_with(&self, subject: &Subject, default: Language, page: Option<usize>) -> Ranking {
        let reader = QueryReader { index: &self.index, synonyms: &self.synonyms, language: subject.language };
        let query = reader.read(subject);
        let asked = query.words.iter().filter(|word| word.origin == Origin::Question).count();
        if asked == 0 {
            return Ranking::without_passages(Certainty::SmallTalk);
        }
        // `None` searches the pages of all languages, and those whose language is unknown.
        let languages = match subject.language {
            Some(language) => vec![Some(language), None],
            None => vec![Some(default), Some(default.other()), None],
        };
        let mut best: Vec<Candidate> = Vec::new();
        for language in languages {
            let mut found = self.candidates(&query, subject, language, page);
            if subject.language.is_some() && language.is_none() {
                found.retain(|candidate| candidate.coverage >= MIN_COVERAGE_IN_ANOTHER_LANGUAGE);
            }
            let quality = |candidates: &[Candidate]| {
                let certainty = self.certainty(candidates, asked);
                candidates.first().map(|first| (certainty != Certainty::Declined, first.coverage))
            };
            if quality(&found) > quality(&best) {
                best = found;
            }
            if subject.language.is_some() && self.certainty(&best, asked) != Certainty::Declined {
                break;
            }
        }
        let mut certainty = self.certainty(&best, asked);
        let own = |language| self.index.passages.iter().any(|passage| passage.language == Some(language));
        if certainty == Certainty::Sure
            && let Some(language) = subject.language
            && self.index.passages[best[0].id as usize].language == Some(language.other())
            && own(language)
        {
            // Where documents are in both languages, what only those in the other one have is not what is asked.
            certainty = Certainty::Perhaps;
        }
        let passage = |candidate: &Candidate| self.index.passages[candidate.id as usize].passage;
        let mut ranking = Ranking::without_passages(certainty);
        ranking.asked = query.words.iter().map(QueryWord::asked).collect();
        match certainty {
            Certainty::Sure | Certainty::Perhaps => {
                let mut shown: Vec<&Candidate> = Vec::new();
                let is_sure = certainty == Certainty::Sure;
                let share = if is_sure { MIN_RELATED_SHARE } else { MIN_ALTERNATIVE_SHARE };
                let least = share * best[0].score;
                for candidate in &best {
                    let is_related = candidate.coverage >= MIN_OFFER_COVERAGE && candidate.score >= least;
                    if is_related
                        && shown.len() < MAX_OFFERS
                        && !shown.iter().any(|other| self.is_same_section(other, candidate))
                    {
                        shown.push(candidate);
                    }
                }
                ranking.passages = shown.into_iter().map(passage).collect();
            }
            Certainty::Declined | Certainty::SmallTalk => {
                for page in best.iter().map(|candidate| passage(candidate).page) {
                    if !ranking.pages.contains(&page) {
                        ranking.pages.push(page);
                    }
                }
            }
        }
        ranking
    }

    /// How sure it is that the first candidate is an answer.
    fn certainty(&self, candidates: &[Candidate], asked: usize) -> Certainty {
        let Some(first) = candidates.first() else { return Certainty::Declined };
        let next = candidates.iter().find(|other| !self.is_same_section(first, other));
        let another_asks_same = !first.asks_same
            && candidates.iter().take(MAX_RIVALS).any(|other| other.asks_same && other.is_offer(asked));
        // However common its words are: nothing answers a question better than a section of this name, the only one.
        let is_asked = first.is_asked
            && !candidates.iter().any(|other| other.is_asked && !self.is_same_section(first, other));
        if is_asked || first.is_answer(asked, next) && !another_asks_same {
            Certainty::Sure
        } else if first.is_offer(asked) {
            Certainty::Perhaps
        } else {
            Certainty::Declined
        }
    }

    /// A long section has several passages under one heading.
    fn is_same_section(&self, one: &Candidate, other: &Candidate) -> bool {
        let section = |candidate: &Candidate| self.index.passages[candidate.id as usize].section;
        section(one) == section(other)
    }

    /// The passages of a language that have words of the question, best first.
    fn candidates(
        &self,
        query: &Query,
        subject: &Subject,
        language: Option<Language>,
        page: Option<usize>,
    ) -> Vec<Candidate> {
        let best = self.best_by_bm25(&query.words, language);
        let mut candidates = self.score(&query.words, &best);
        // By an earlier question's words alone a passage does not answer this one.
        candidates.retain(|candidate| candidate.coverage > 0.0);
        for candidate in &mut candidates {
            let passage = &self.index.passages[candidate.id as usize];
            candidate.is_asked = subject.is(&passage.heading_words);
            let asked_for = &passage.asked_for;
            candidate.asks_same = asked_for.iter().any(|asked_for| subject.asked_for.contains(asked_for));
            if candidate.asks_same {
                candidate.score *= ASKED_FOR_BONUS;
            }
            if page == Some(self.index.passages[candidate.id as usize].passage.page) {
                candidate.score *= SAME_PAGE_BONUS;
            }
        }
        candidates
            .sort_by(|one, other| other.is_asked.cmp(&one.is_asked).then(other.score.total_cmp(&one.score)));
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
                    let boost = matched.boost * matched.certainty * word.emphasis * word.origin.weight();
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
        let question_information: f32 = from_question.map(|word| word.information).sum();
        // Precision times recall: the asked share of the heading's information, times the share of the asked
        // information that the heading has.
        let fit = |covered: f32, information: f32| {
            if information > 0.0 { (covered / information).min(1.0) * covered / all_weight } else { 0.0 }
        };
        let candidates = bm25_scores.iter().zip(coverages).map(|((id, bm25), covered)| {
            let passage = &self.index.passages[*id as usize];
            let heading_fit = fit(covered.heading_or_words, passage.heading_information)
                .max(fit(covered.title, passage.title_information));
            let coverage_factor = (covered.anywhere / all_weight).powi(COVERAGE_POWER);
            Candidate {
                id: *id,
                score: bm25 * coverage_factor * (1.0 + HEADING_FIT_BONUS * heading_fit) * passage.weight,
                coverage: covered.question / question_information,
                word_count: covered.question_word_count,
                in_heading: covered.heading > 0.0,
                in_words: covered.heading_or_words > 0.0,
                titled: covered.titled / question_information,
                named: covered.named / question_information,
                asks_same: false,
                is_asked: false,
                information: question_information / information(self.index.passages.len(), 1),
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
                    Text::Words => best.words = best.words.max(matched.certainty),
                    Text::Body => {}
                }
            }
            coverage.anywhere += word.weight * best.anywhere;
            coverage.heading += word.weight * best.heading;
            coverage.title += word.weight * best.title;
            coverage.heading_or_words += word.weight * best.heading.max(best.words);
            coverage.titled += word.weight * best.heading.max(best.title);
            coverage.named += word.weight * best.heading.max(best.words).max(best.title);
            if word.origin == Origin::Question {
                coverage.question += word.weight * best.anywhere;
                coverage.question_word_count += usize::from(best.anywhere > 0.0);
            }
        }
    }
    coverages
}
