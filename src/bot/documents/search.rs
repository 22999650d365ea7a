//! Finding the passage that a question is about.

use std::collections::HashSet;

use tantivy::collector::TopDocs;
use tantivy::directory::RamDirectory;
use tantivy::query::{BooleanQuery, BoostQuery, ConstScoreQuery, Occur, Query, TermQuery};
use tantivy::schema::{Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::{DocId, DocSet, Index, IndexReader, ReloadPolicy, TantivyDocument, Term};

use super::language::{Language, forms, is_stop_word, words};
use super::passages::Page;

/// The share of a question's words, weighed by how rare they are, that an answer has to speak of.
const ENOUGH: f32 = 0.5;
/// Passages that are looked at closely, best first.
const CANDIDATES: usize = 32;
/// Different words of a question that are looked for.
const QUESTION_WORDS: usize = 32;
/// What a match counts for: a word as it stands, its English stem, its Indonesian stem.
const FORM_BOOSTS: [f32; 3] = [1.0, 0.7, 0.7];
const HEADING_BOOST: f32 = 2.0;
const BODY_BOOST: f32 = 1.0;
/// What stands before a page's first section has the page's title for its heading only if it is longer than this: a
/// sentence or two would win with the title's words and say nothing.
const INTRODUCTION_BYTES: usize = 300;

/// Where a passage stands: its page, and its place there.
pub type Place = (usize, usize);

#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    Passage(Place),
    /// No passage speaks of enough of the question.
    Nothing,
    /// The question has no words that could be about something: a greeting, say.
    NoSubject,
}

pub struct Search {
    reader: IndexReader,
    fields: Fields,
    /// By tantivy's number, which is the order of addition.
    places: Vec<Place>,
}

struct Fields {
    heading: [Field; 3],
    body: [Field; 3],
    language: Field,
}

impl Search {
    pub fn new(pages: &[Page]) -> tantivy::Result<Self> {
        let mut schema = Schema::builder();
        // Words come split and stemmed, with a space between them.
        let split = |record| {
            let indexing = TextFieldIndexing::default().set_tokenizer("whitespace").set_index_option(record);
            TextOptions::default().set_indexing_options(indexing)
        };
        let mut texts = |names: [&str; 3]| {
            names.map(|name| schema.add_text_field(name, split(IndexRecordOption::WithFreqs)))
        };
        let heading = texts(["heading", "heading_en", "heading_id"]);
        let body = texts(["body", "body_en", "body_id"]);
        let language = schema.add_text_field("language", split(IndexRecordOption::Basic));
        let fields = Fields { heading, body, language };

        let mut writer = Index::builder()
            .schema(schema.build())
            .single_segment_index_writer(RamDirectory::create(), 64 << 20)?;
        let mut places = Vec::new();
        for (page_number, page) in pages.iter().enumerate() {
            for (passage_number, passage) in page.passages.iter().enumerate() {
                let mut document = TantivyDocument::default();
                // The headings above its own say where a passage belongs, not what it is about.
                let introduces = page.passages.len() > 1 && passage.text.len() < INTRODUCTION_BYTES;
                let (heading, above) = match passage.headings.split_last() {
                    Some((heading, above)) => {
                        (heading.as_str(), format!("{} {}", page.title, above.join(" ")))
                    }
                    None if introduces => ("", page.title.clone()),
                    None => (page.title.as_str(), String::new()),
                };
                let body = format!("{above} {}", passage.text);
                for (text, fields) in [(heading, fields.heading), (&body, fields.body)] {
                    for (field, words) in fields.into_iter().zip(analysed(text)) {
                        document.add_text(field, words);
                    }
                }
                if let Some(language) = page.language {
                    document.add_text(fields.language, language.code());
                }
                writer.add_document(document)?;
                places.push((page_number, passage_number));
            }
        }
        let index = writer.finalize()?;
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        Ok(Self { reader, fields, places })
    }

    /// The best passage in this language, else in any.
    pub fn find(&self, question: &str, language: Language) -> tantivy::Result<Found> {
        let mut seen = HashSet::new();
        let asked: Vec<_> = words(question)
            .filter(|word| !is_stop_word(word) && seen.insert(word.clone()))
            .take(QUESTION_WORDS)
            .map(|word| self.terms(&word))
            .collect();
        if asked.is_empty() {
            return Ok(Found::NoSubject);
        }
        if let Some(place) = self.best(&asked, Some(language))? {
            return Ok(Found::Passage(place));
        }
        Ok(self.best(&asked, None)?.map_or(Found::Nothing, Found::Passage))
    }

    /// The terms under which a word is found, each with what finding it there counts for.
    fn terms(&self, word: &str) -> Vec<(Term, f32)> {
        let boosted = |fields: [Field; 3], boost: f32| {
            let terms = fields.into_iter().zip(forms(word)).zip(FORM_BOOSTS);
            terms.map(move |((field, form), factor)| (Term::from_field_text(field, &form), factor * boost))
        };
        boosted(self.fields.heading, HEADING_BOOST).chain(boosted(self.fields.body, BODY_BOOST)).collect()
    }

    fn best(&self, asked: &[Vec<(Term, f32)>], language: Option<Language>) -> tantivy::Result<Option<Place>> {
        let searcher = self.reader.searcher();
        let any: Vec<(Occur, Box<dyn Query>)> = asked
            .iter()
            .flatten()
            .map(|(term, boost)| {
                let query = TermQuery::new(term.clone(), IndexRecordOption::WithFreqs);
                (Occur::Should, Box::new(BoostQuery::new(Box::new(query), *boost)) as Box<dyn Query>)
            })
            .collect();
        let mut query: Box<dyn Query> = Box::new(BooleanQuery::new(any));
        if let Some(language) = language {
            let term = Term::from_field_text(self.fields.language, language.code());
            let only = TermQuery::new(term, IndexRecordOption::Basic);
            let only = ConstScoreQuery::new(Box::new(only), 0.0);
            query = Box::new(BooleanQuery::new(vec![(Occur::Must, query), (Occur::Must, Box::new(only))]));
        }
        let top = searcher.search(&query, &TopDocs::with_limit(CANDIDATES).order_by_score())?;
        let mut candidates: Vec<(DocId, f32)> =
            top.into_iter().map(|(score, address)| (address.doc_id, score)).collect();
        candidates.sort_unstable_by_key(|(passage, _)| *passage);
        let coverage = self.coverage(asked, &candidates)?;
        let best = candidates
            .iter()
            .zip(coverage)
            .filter(|(_, coverage)| *coverage >= ENOUGH)
            // A passage that speaks of all of the question goes before one that speaks much of a part of it.
            .map(|((passage, score), coverage)| (passage, score * coverage * coverage))
            .max_by(|(_, one), (_, other)| one.total_cmp(other));
        Ok(best.map(|(passage, _)| self.places[*passage as usize]))
    }

    /// How much of the question each candidate speaks of, from 0 to 1. `candidates` rise by number.
    fn coverage(&self, asked: &[Vec<(Term, f32)>], candidates: &[(DocId, f32)]) -> tantivy::Result<Vec<f32>> {
        let searcher = self.reader.searcher();
        let mut covered = vec![0.0; candidates.len()];
        let mut all = 0.0;
        for terms in asked {
            let mut speaks = vec![false; candidates.len()];
            let mut frequency = 0;
            for segment in searcher.segment_readers() {
                for (term, _) in terms {
                    let index = segment.inverted_index(term.field())?;
                    let Some(mut postings) = index.read_postings(term, IndexRecordOption::Basic)? else {
                        continue;
                    };
                    frequency = frequency.max(postings.doc_freq());
                    for (speaks, (passage, _)) in speaks.iter_mut().zip(candidates) {
                        if postings.doc() < *passage {
                            postings.seek(*passage);
                        }
                        *speaks |= postings.doc() == *passage;
                    }
                }
            }
            let rarity = rarity(self.places.len(), frequency);
            all += rarity;
            for (covered, speaks) in covered.iter_mut().zip(speaks) {
                *covered += if speaks { rarity } else { 0.0 };
            }
        }
        Ok(covered.into_iter().map(|covered| covered / all).collect())
    }
}

/// The inverse document frequency as BM25 has it: always above zero.
fn rarity(passages: usize, frequency: u32) -> f32 {
    let (passages, frequency) = (passages as f32, frequency as f32);
    (1.0 + (passages - frequency + 0.5) / (frequency + 0.5)).ln()
}

/// A text's words in each form, with a space between them.
fn analysed(text: &str) -> [String; 3] {
    let mut all = <[String; 3]>::default();
    for word in words(text) {
        for (all, form) in all.iter_mut().zip(forms(&word)) {
            all.push_str(&form);
            all.push(' ');
        }
    }
    all
}
