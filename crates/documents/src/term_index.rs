//! The inverted index: which passages have a word in their heading, in their page's title or in their text.
//!
//! It is in memory. Each of a passage's texts is indexed three times, once for each form of its words: as written, its
//! English stem, its Indonesian root ([`crate::language`]). A search library would bring compressed segments, threads
//! and files, and a fifth of the program's build time; a folder of documents needs none of them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;

use wicara_guide::Language;

use crate::language::forms;
use crate::lexicon::{AskedFor, asked_for, is_stop_word};
use crate::passages::{Page, PassageRef};
use crate::tokens::{words, words_and_parts};
use crate::typos;

/// The weight of a match by form: as written, English stem, Indonesian root. Different words can have one stem, so a
/// stem counts for less than the word itself. At 0.5, one of the operators' questions in the tests gets another
/// passage.
const FORM_BOOSTS: [f32; 3] = [1.0, 0.7, 0.7];
/// A heading names the subject of its passage; a text only mentions words. At 1, the golden set loses three right
/// answers; at 3, one of the operators' questions in the tests gets another passage.
const HEADING_BOOST: f32 = 2.0;
const TITLE_BOOST: f32 = 1.0;
const BODY_BOOST: f32 = 1.0;
const WORDS_BOOST: f32 = 1.5;
/// The text before a page's first section counts as headed by the page's title only if it is at least this long:
/// one or two sentences would outrank the sections by the words of the title, and answer nothing. At 0 and at 1000, two
/// or three of the operators' questions in the tests get another passage.
const MIN_INTRODUCTION_BYTES: usize = 300;
/// The words whose forms are kept while an index is built.
const MAX_CACHED_WORDS: usize = 100_000;
/// BM25's saturation of a term's count within a text, and how far a text's length weakens it: the usual values.
const BM25_K1: f32 = 1.2;
const BM25_B: f32 = 0.75;
/// The letters that the beginning of a longer word has at least, and the end of one: config (configuration), dukcapil
/// (disdukcapil). The longer word has at most [`MAX_COMPOUND_RATIO`] times as many.
const MIN_BEGINNING: usize = 5;
const MIN_END: usize = 6;
const MAX_COMPOUND_RATIO: usize = 3;

pub struct TermIndex {
    /// By text, as [`Text::ALL`], and by form, as [`forms`].
    fields: [[Field; 3]; 4],
    pub passages: Vec<IndexedPassage>,
}

/// The texts of a passage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text {
    Heading,
    /// The page's title and the headings above the passage's own: the context of the passage.
    Title,
    Body,
    /// Words for the search alone, see [`crate::passages::Passage::words`].
    Words,
}

impl Text {
    pub const ALL: [Text; 4] = [Text::Heading, Text::Title, Text::Body, Text::Words];

    fn boost(self) -> f32 {
        match self {
            Text::Heading => HEADING_BOOST,
            Text::Title => TITLE_BOOST,
            Text::Body => BODY_BOOST,
            Text::Words => WORDS_BOOST,
        }
    }
}

/// One text of all passages in one form of its words.
#[derive(Default)]
struct Field {
    postings: BTreeMap<Box<str>, Vec<Posting>>,
    /// As `postings`, by the numbers of [`Terms`], while the index is built.
    by_number: HashMap<u32, Vec<Posting>>,
    /// Words of each passage.
    lengths: Vec<u32>,
    average_length: f32,
}

/// A passage that has a term.
struct Posting {
    /// Its index in [`TermIndex::passages`]. A term's postings rise by it.
    passage: u32,
    count: u32,
}

impl Field {
    fn add(&mut self, passage: u32, terms: &[u32]) {
        self.lengths.push(terms.len() as u32);
        for term in terms {
            let postings = self.by_number.entry(*term).or_default();
            match postings.last_mut().filter(|last| last.passage == passage) {
                Some(last) => last.count += 1,
                None => postings.push(Posting { passage, count: 1 }),
            }
        }
    }

    fn finish(&mut self, terms: &Terms) {
        let total: u64 = self.lengths.iter().copied().map(u64::from).sum();
        self.average_length = total as f32 / self.lengths.len().max(1) as f32;
        let by_number = std::mem::take(&mut self.by_number).into_iter();
        let by_name = by_number.map(|(number, mut postings)| {
            postings.shrink_to_fit();
            (terms.names[number as usize].clone(), postings)
        });
        self.postings = by_name.collect();
    }
}

/// What ranking needs to know of a passage beyond its terms.
pub struct IndexedPassage {
    pub passage: PassageRef,
    /// The same for the passages under one heading.
    pub section: u32,
    /// Of its page; `None` where it is unknown.
    pub language: Option<Language>,
    /// The information of the heading's words, see [`inverse_document_frequency`].
    pub heading_information: f32,
    /// The information of the words of the page's title.
    pub title_information: f32,
    /// The operator's weight of its page.
    pub weight: f32,
    /// What its heading asks for.
    pub asked_for: Vec<AskedFor>,
    /// The words of its heading in their order, without what stands in brackets.
    pub heading_words: Vec<String>,
}

/// A term of the index that a word of a question matches.
#[derive(Clone, Copy)]
pub struct TermMatch<'a> {
    pub text: Text,
    /// The term, in the form with this index of [`forms`].
    pub term: &'a str,
    pub form: usize,
    field: &'a Field,
    postings: &'a [Posting],
    /// The weight of a match, by the text and the form of the word.
    pub boost: f32,
    /// How likely the term is what the word means, from 0 to 1: less than 1 for synonyms and misspelt words.
    pub certainty: f32,
}

impl TermMatch<'_> {
    /// The passages with this term, in their order, each with its BM25 score.
    pub fn scores(&self) -> impl Iterator<Item = (u32, f32)> {
        let information = information(self.field.lengths.len(), self.postings.len());
        self.postings.iter().map(move |posting| {
            let length = self.field.lengths[posting.passage as usize] as f32 / self.field.average_length;
            let count = posting.count as f32;
            let saturated = count / (count + BM25_K1 * (1.0 - BM25_B + BM25_B * length));
            (posting.passage, information * (1.0 + BM25_K1) * saturated)
        })
    }

    #[must_use]
    pub fn contains(&self, passage: u32) -> bool {
        self.postings.binary_search_by_key(&passage, |posting| posting.passage).is_ok()
    }
}

impl TermIndex {
    #[must_use]
    pub fn new(pages: &[Page]) -> Self {
        let mut index = Self { fields: Default::default(), passages: Vec::new() };
        let mut headings = Vec::new();
        let mut sections = 0;
        let mut terms = Terms::default();
        for (page_index, page) in pages.iter().enumerate() {
            for (passage_index, passage) in page.passages.iter().enumerate() {
                let is_short = page.passages.len() > 1 && passage.text.len() < MIN_INTRODUCTION_BYTES;
                let (heading, above) = match passage.headings.split_last() {
                    Some((heading, above)) => (heading.as_str(), above),
                    None if is_short => ("", [].as_slice()),
                    None => (page.title.as_str(), [].as_slice()),
                };
                let title = format!("{} {}", page.title, above.join(" "));
                let id = index.passages.len() as u32;
                let before = passage_index.checked_sub(1).map(|before| &page.passages[before]);
                let continues = before.is_some_and(|before| before.fragment == passage.fragment);
                sections += u32::from(!continues);
                for (fields, text) in
                    index.fields.iter_mut().zip([heading, &title, &passage.text, &passage.words])
                {
                    for (field, terms) in fields.iter_mut().zip(terms.by_form(text)) {
                        field.add(id, &terms);
                    }
                }
                headings.push((heading, &page.title));
                index.passages.push(IndexedPassage {
                    passage: PassageRef { page: page_index, passage: passage_index },
                    section: sections,
                    language: page.language,
                    heading_information: 0.0,
                    title_information: 0.0,
                    weight: page.weight,
                    asked_for: asked_for(&words(heading)).collect(),
                    heading_words: words(&without_brackets(heading)),
                });
            }
        }
        index.fields.iter_mut().flatten().for_each(|field| field.finish(&terms));
        drop(terms);
        for (id, (heading, title)) in headings.into_iter().enumerate() {
            // A heading gives synonyms in brackets: a question with one of them does not need the others too.
            let heading = index.heading_information(&without_brackets(heading));
            let title = index.heading_information(title);
            let passage = &mut index.passages[id];
            (passage.heading_information, passage.title_information) = (heading, title);
        }
        index
    }

    /// The terms that a word matches, in all its forms and in all texts; empty if no passage has it.
    #[must_use]
    pub fn matches(&self, word: &str, certainty: f32) -> Vec<TermMatch<'_>> {
        let mut matches = Vec::new();
        let forms = forms(word);
        for (fields, text) in self.fields.iter().zip(Text::ALL) {
            for (form, (field, terms)) in fields.iter().zip(&forms).enumerate() {
                for term in terms {
                    if let Some((term, postings)) = field.postings.get_key_value(term.as_str()) {
                        let boost = text.boost() * FORM_BOOSTS[form];
                        matches.push(TermMatch { text, term, form, field, postings, boost, certainty });
                    }
                }
            }
        }
        matches
    }

    /// Whether a passage has the word as it is written.
    #[must_use]
    pub fn has_word(&self, word: &str) -> bool {
        self.fields.iter().any(|[as_written, ..]| as_written.postings.contains_key(word))
    }

    /// The word of the documents that is nearest to a misspelt one, with its distance in letters; among equally near
    /// words the most frequent. Only words with the same first letter are compared, so that most of the vocabulary is
    /// never read.
    #[must_use]
    pub fn nearest_word(&self, misspelt: &str) -> Option<(usize, &str)> {
        let max_distance = typos::max_distance(misspelt);
        let first = misspelt.chars().next().filter(|_| max_distance > 0)?;
        let from = &misspelt[..first.len_utf8()];
        let mut nearest: Option<(usize, Reverse<usize>, &str)> = None;
        for [as_written, ..] in &self.fields {
            let terms = as_written.postings.range::<str, _>((Bound::Included(from), Bound::Unbounded));
            for (word, postings) in terms.take_while(|(word, _)| word.starts_with(first)) {
                let Some(distance) = typos::distance(misspelt, word, max_distance) else { continue };
                if !typos::is_likely(misspelt, word, distance) {
                    continue;
                }
                let found = (distance, Reverse(postings.len()), &**word);
                if nearest.is_none_or(|nearest| found < nearest) {
                    nearest = Some(found);
                }
            }
        }
        nearest.map(|(distance, _, word)| (distance, word))
    }

    /// The words of the documents that a word is the beginning or the end of, shortest first.
    #[must_use]
    pub fn compounds(&self, part: &str, most: usize) -> Vec<&str> {
        let length = part.chars().count();
        if length < MIN_BEGINNING || !part.chars().all(char::is_alphabetic) {
            return Vec::new();
        }
        let is_one = |word: &str| {
            word.len() <= MAX_COMPOUND_RATIO * part.len()
                && (word.starts_with(part) || (length >= MIN_END && word.ends_with(part)))
        };
        let words = self.fields.iter().flat_map(|[as_written, ..]| as_written.postings.keys());
        let mut found: Vec<&str> = words.map(|word| &**word).filter(|word| is_one(word)).collect();
        found.sort_unstable_by_key(|word| (word.len(), *word));
        found.dedup();
        found.truncate(most);
        found
    }

    /// The sum of the inverse document frequencies of a heading's different words.
    fn heading_information(&self, heading: &str) -> f32 {
        let mut seen = HashSet::new();
        let words = words(heading).into_iter();
        let words = words.filter(|word| !is_stop_word(word) && seen.insert(word.clone()));
        let count = self.passages.len();
        words.map(|word| inverse_document_frequency(count, &self.matches(&word, 1.0))).sum()
    }
}

/// A heading without what stands in brackets.
fn without_brackets(heading: &str) -> String {
    let mut depth = 0_u32;
    let is_outside = |sign: &char| {
        match sign {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => return depth == 0,
        }
        false
    };
    heading.chars().filter(is_outside).collect()
}

/// The information of a word: BM25's inverse document frequency of its most frequent term. Rare words say more. Above
/// zero even for a word that every passage has.
#[must_use]
pub fn inverse_document_frequency(passage_count: usize, matches: &[TermMatch]) -> f32 {
    information(passage_count, matches.iter().map(|found| found.postings.len()).max().unwrap_or(0))
}

#[must_use]
pub fn information(passages: usize, with_term: usize) -> f32 {
    let (passages, with_term) = (passages as f32, with_term as f32);
    (1.0 + (passages - with_term + 0.5) / (with_term + 0.5)).ln()
}

/// The terms of an index while it is built, by number: comparing numbers is fast.
#[derive(Default)]
struct Terms {
    names: Vec<Box<str>>,
    numbers: HashMap<Box<str>, u32>,
    /// The terms of the words that were met last: most words of a text were in it before.
    of_words: HashMap<String, [Vec<u32>; 3]>,
}

impl Terms {
    /// The words of a text once in each form of [`forms`].
    fn by_form(&mut self, text: &str) -> [Vec<u32>; 3] {
        let mut by_form = <[Vec<u32>; 3]>::default();
        for word in words_and_parts(text) {
            if !self.of_words.contains_key(&word) {
                if self.of_words.len() >= MAX_CACHED_WORDS {
                    self.of_words.clear();
                }
                let terms =
                    forms(&word).map(|forms| forms.into_iter().map(|form| self.number(form)).collect());
                self.of_words.insert(word.clone(), terms);
            }
            for (all, terms) in by_form.iter_mut().zip(&self.of_words[&word]) {
                all.extend_from_slice(terms);
            }
        }
        by_form
    }

    fn number(&mut self, term: String) -> u32 {
        let next = self.names.len() as u32;
        let term: Box<str> = term.into();
        let number = *self.numbers.entry(term.clone()).or_insert(next);
        if number == next {
            self.names.push(term);
        }
        number
    }
}
