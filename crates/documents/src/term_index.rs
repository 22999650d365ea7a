//! The inverted index: which passages have a word in their heading, in their page's title or in their text.
//!
//! tantivy holds it in memory. Each of the three texts is indexed three times, once for each form of its words: as
//! written, its English stem, its Indonesian root. Words come from [`crate::language`], so that tantivy only splits at
//! the spaces between them.

use std::cmp::Reverse;
use std::collections::HashSet;

use tantivy::directory::RamDirectory;
use tantivy::schema::{Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::{ReloadPolicy, Searcher, TantivyDocument, Term};

use crate::language::{forms, words};
use crate::lexicon::is_stop_word;
use crate::passages::{Page, PassageRef};
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
/// The text before a page's first section counts as headed by the page's title only if it is at least this long:
/// one or two sentences would outrank the sections by the words of the title, and answer nothing. At 0 and at 1000, two
/// or three of the operators' questions in the tests get another passage.
const MIN_INTRODUCTION_BYTES: usize = 300;
/// The memory that tantivy may use while it builds the index.
const WRITER_BYTES: usize = 64 << 20;

pub struct TermIndex {
    pub searcher: Searcher,
    pub fields: Fields,
    /// By tantivy's document id: with a single segment, ids follow the order of addition.
    pub passages: Vec<IndexedPassage>,
}

/// The fields of a passage: each text in the three forms of [`forms`], and the page's language.
pub struct Fields {
    pub heading: [Field; 3],
    /// The page's title and the headings above the passage's own: the context of the passage.
    pub title: [Field; 3],
    pub body: [Field; 3],
    pub language: Field,
}

impl Fields {
    /// The texts of a passage, each with the weight of a match in it.
    #[must_use]
    pub fn texts(&self) -> [([Field; 3], f32); 3] {
        [(self.heading, HEADING_BOOST), (self.title, TITLE_BOOST), (self.body, BODY_BOOST)]
    }
}

/// What ranking needs to know of a passage beyond its terms.
pub struct IndexedPassage {
    pub passage: PassageRef,
    /// The information of the heading's words, see [`inverse_document_frequency`].
    pub heading_information: f32,
    /// The information of the words of the page's title.
    pub title_information: f32,
}

/// A term of the index that a word of a question matches.
pub struct TermMatch {
    pub term: Term,
    /// The number of passages with this term.
    pub document_frequency: u64,
    /// The weight of a match, by the text and the form of the word.
    pub boost: f32,
    /// How likely the term is what the word means, from 0 to 1: less than 1 for synonyms and misspelt words.
    pub certainty: f32,
}

impl TermIndex {
    pub fn new(pages: &[Page]) -> tantivy::Result<Self> {
        let mut schema = Schema::builder();
        let split_at_spaces = |record| {
            let indexing = TextFieldIndexing::default().set_tokenizer("whitespace").set_index_option(record);
            TextOptions::default().set_indexing_options(indexing)
        };
        let mut add_fields = |names: [&str; 3]| {
            names.map(|name| schema.add_text_field(name, split_at_spaces(IndexRecordOption::WithFreqs)))
        };
        let heading = add_fields(["heading", "heading_en", "heading_id"]);
        let title = add_fields(["title", "title_en", "title_id"]);
        let body = add_fields(["body", "body_en", "body_id"]);
        let language = schema.add_text_field("language", split_at_spaces(IndexRecordOption::Basic));
        let fields = Fields { heading, title, body, language };

        let mut writer = tantivy::Index::builder()
            .schema(schema.build())
            .single_segment_index_writer(RamDirectory::create(), WRITER_BYTES)?;
        let mut added = Vec::new();
        for (page_index, page) in pages.iter().enumerate() {
            for (passage_index, passage) in page.passages.iter().enumerate() {
                let is_short = page.passages.len() > 1 && passage.text.len() < MIN_INTRODUCTION_BYTES;
                let (heading, above) = match passage.headings.split_last() {
                    Some((heading, above)) => (heading.as_str(), above),
                    None if is_short => ("", [].as_slice()),
                    None => (page.title.as_str(), [].as_slice()),
                };
                let title = format!("{} {}", page.title, above.join(" "));
                let mut document = TantivyDocument::default();
                for (text, fields) in
                    [(heading, fields.heading), (&title, fields.title), (&passage.text, fields.body)]
                {
                    for (field, words) in fields.into_iter().zip(words_by_form(text)) {
                        document.add_text(field, words);
                    }
                }
                if let Some(language) = page.language {
                    document.add_text(fields.language, language.code());
                }
                writer.add_document(document)?;
                let passage = PassageRef { page: page_index, passage: passage_index };
                added.push((passage, heading, &page.title));
            }
        }
        let reader = writer.finalize()?.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        let mut index = Self { searcher: reader.searcher(), fields, passages: Vec::new() };
        let passage_count = added.len();
        for (passage, heading, title) in added {
            // A heading gives synonyms in brackets: a question with one of them does not need the others too.
            let heading = heading.split('(').next().unwrap_or_default();
            let indexed = IndexedPassage {
                passage,
                heading_information: index.information(heading, passage_count)?,
                title_information: index.information(title, passage_count)?,
            };
            index.passages.push(indexed);
        }
        Ok(index)
    }

    /// The terms that a word matches, in all its forms and in all texts; empty if no passage has it.
    pub fn matches(&self, word: &str, certainty: f32) -> tantivy::Result<Vec<TermMatch>> {
        let mut matches = Vec::new();
        let forms = forms(word);
        for (fields, text_boost) in self.fields.texts() {
            for ((field, forms), form_boost) in fields.into_iter().zip(&forms).zip(FORM_BOOSTS) {
                for form in forms {
                    let term = Term::from_field_text(field, form);
                    let document_frequency = self.searcher.doc_freq(&term)?;
                    if document_frequency > 0 {
                        let boost = text_boost * form_boost;
                        matches.push(TermMatch { term, document_frequency, boost, certainty });
                    }
                }
            }
        }
        Ok(matches)
    }

    /// The word of the documents that is nearest to a misspelt one, with its distance in letters; among equally near
    /// words the most frequent. Only words with the same first letter are compared, so that most of the vocabulary is
    /// never read.
    pub fn nearest_word(&self, misspelt: &str) -> tantivy::Result<Option<(usize, String)>> {
        let max_distance = typos::max_distance(misspelt);
        let Some(first) = misspelt.chars().next().filter(|_| max_distance > 0) else { return Ok(None) };
        let first = &misspelt.as_bytes()[..first.len_utf8()];
        // 0xff is no byte of UTF-8: it sorts behind every word with this first letter.
        let end = [first, &[0xff]].concat();
        let mut nearest: Option<(usize, Reverse<u32>, String)> = None;
        for segment in self.searcher.segment_readers() {
            for (fields, _) in self.fields.texts() {
                let [as_written, ..] = fields;
                let inverted = segment.inverted_index(as_written)?;
                let mut terms = inverted.terms().range().ge(first).lt(&end).into_stream()?;
                while terms.advance() {
                    let Ok(word) = std::str::from_utf8(terms.key()) else { continue };
                    let Some(distance) = typos::distance(misspelt, word, max_distance) else { continue };
                    let found = (distance, Reverse(terms.value().doc_freq), word.to_owned());
                    if nearest.as_ref().is_none_or(|nearest| found < *nearest) {
                        nearest = Some(found);
                    }
                }
            }
        }
        Ok(nearest.map(|(distance, _, word)| (distance, word)))
    }

    /// The information of a heading: the sum of the inverse document frequencies of its different words.
    fn information(&self, heading: &str, passage_count: usize) -> tantivy::Result<f32> {
        let mut seen = HashSet::new();
        let words = words(heading).filter(|word| !is_stop_word(word) && seen.insert(word.clone()));
        let mut information = 0.0;
        for word in words {
            information += inverse_document_frequency(passage_count, &self.matches(&word, 1.0)?);
        }
        Ok(information)
    }
}

/// The information of a word: BM25's inverse document frequency of its most frequent term. Rare words say more. Above
/// zero even for a word that every passage has.
#[must_use]
pub fn inverse_document_frequency(passage_count: usize, matches: &[TermMatch]) -> f32 {
    let frequency = matches.iter().map(|found| found.document_frequency).max().unwrap_or(0);
    let (passages, frequency) = (passage_count as f32, frequency as f32);
    (1.0 + (passages - frequency + 0.5) / (frequency + 0.5)).ln()
}

/// The words of a text, separated by spaces, once in each form of [`forms`].
fn words_by_form(text: &str) -> [String; 3] {
    let mut by_form = <[String; 3]>::default();
    for word in words(text) {
        for (all, forms) in by_form.iter_mut().zip(forms(&word)) {
            for form in forms {
                all.push_str(&form);
                all.push(' ');
            }
        }
    }
    by_form
}
