//! The words of all passages, and where each is found.

use std::cmp::Reverse;
use std::collections::HashSet;

use tantivy::directory::RamDirectory;
use tantivy::schema::{Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::{ReloadPolicy, Searcher, TantivyDocument, Term};

use crate::language::{forms, words};
use crate::lexicon::is_stop_word;
use crate::passages::Page;
use crate::typos;

/// What a match counts for: a word as it stands, its English stem, its Indonesian root.
const FORM_BOOSTS: [f32; 3] = [1.0, 0.7, 0.7];
const HEADING_BOOST: f32 = 2.0;
const TITLE_BOOST: f32 = 1.0;
const BODY_BOOST: f32 = 1.0;
/// What stands before a page's first section has the page's title for its heading only if it is longer than this: a
/// sentence or two would win with the title's words and say nothing.
const INTRODUCTION_BYTES: usize = 300;
/// What the index may use while it is built.
const BUILDING_BYTES: usize = 64 << 20;

/// Where a passage stands: its page, and its place there.
pub type Place = (usize, usize);

pub struct Index {
    pub searcher: Searcher,
    pub fields: Fields,
    /// By tantivy's number, which is the order of addition.
    pub entries: Vec<Entry>,
}

/// Each text of a passage in the three forms of its words, and its page's language.
pub struct Fields {
    pub heading: [Field; 3],
    /// The page's title, and the headings above the passage's own: where it belongs.
    pub title: [Field; 3],
    pub body: [Field; 3],
    pub language: Field,
}

impl Fields {
    /// The texts, each with what a match there counts for.
    #[must_use]
    pub fn texts(&self) -> [([Field; 3], f32); 3] {
        [(self.heading, HEADING_BOOST), (self.title, TITLE_BOOST), (self.body, BODY_BOOST)]
    }
}

pub struct Entry {
    pub place: Place,
    /// How much the words of its heading say: the sum of their rarities.
    pub heading: f32,
    /// How much those of its page's title do.
    pub title: f32,
}

/// One way to find a word.
pub struct Way {
    pub term: Term,
    /// In how many passages.
    pub frequency: u64,
    /// What finding it there counts for.
    pub boost: f32,
    /// How sure it is that this is what the word means, from 0 to 1.
    pub certainty: f32,
}

impl Index {
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
        let title = texts(["title", "title_en", "title_id"]);
        let body = texts(["body", "body_en", "body_id"]);
        let language = schema.add_text_field("language", split(IndexRecordOption::Basic));
        let fields = Fields { heading, title, body, language };

        let mut writer = tantivy::Index::builder()
            .schema(schema.build())
            .single_segment_index_writer(RamDirectory::create(), BUILDING_BYTES)?;
        let mut named = Vec::new();
        for (page_number, page) in pages.iter().enumerate() {
            for (passage_number, passage) in page.passages.iter().enumerate() {
                let introduces = page.passages.len() > 1 && passage.text.len() < INTRODUCTION_BYTES;
                let (heading, above) = match passage.headings.split_last() {
                    Some((heading, above)) => (heading.as_str(), above),
                    None if introduces => ("", [].as_slice()),
                    None => (page.title.as_str(), [].as_slice()),
                };
                let title = format!("{} {}", page.title, above.join(" "));
                let mut document = TantivyDocument::default();
                for (text, fields) in
                    [(heading, fields.heading), (&title, fields.title), (&passage.text, fields.body)]
                {
                    for (field, words) in fields.into_iter().zip(analysed(text)) {
                        document.add_text(field, words);
                    }
                }
                if let Some(language) = page.language {
                    document.add_text(fields.language, language.code());
                }
                writer.add_document(document)?;
                named.push(((page_number, passage_number), heading, &page.title));
            }
        }
        let reader = writer.finalize()?.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        let mut index = Self { searcher: reader.searcher(), fields, entries: Vec::new() };
        let passages = named.len();
        for (place, heading, title) in named {
            // What stands in brackets are other words for the same.
            let heading = heading.split('(').next().unwrap_or_default();
            let entry =
                Entry { place, heading: index.says(heading, passages)?, title: index.says(title, passages)? };
            index.entries.push(entry);
        }
        Ok(index)
    }

    /// The ways to find a word in its forms; none where no passage has it.
    pub fn ways(&self, word: &str, certainty: f32) -> tantivy::Result<Vec<Way>> {
        let mut ways = Vec::new();
        let forms = forms(word);
        for (fields, boost) in self.fields.texts() {
            for ((field, forms), factor) in fields.into_iter().zip(&forms).zip(FORM_BOOSTS) {
                for form in forms {
                    let term = Term::from_field_text(field, form);
                    let frequency = self.searcher.doc_freq(&term)?;
                    if frequency > 0 {
                        ways.push(Way { term, frequency, boost: boost * factor, certainty });
                    }
                }
            }
        }
        Ok(ways)
    }

    /// The word that is spelt nearest to this one, and in how many letters it differs: of several the most frequent.
    /// Only words with the same first letter are looked at.
    pub fn nearest(&self, word: &str) -> tantivy::Result<Option<(usize, String)>> {
        let allowed = typos::allowed(word);
        let Some(first) = word.chars().next().filter(|_| allowed > 0) else { return Ok(None) };
        let first = &word.as_bytes()[..first.len_utf8()];
        let end = [first, &[0xff]].concat();
        let mut nearest: Option<(usize, Reverse<u32>, String)> = None;
        for segment in self.searcher.segment_readers() {
            for (fields, _) in self.fields.texts() {
                let index = segment.inverted_index(fields[0])?;
                let mut known = index.terms().range().ge(first).lt(&end).into_stream()?;
                while known.advance() {
                    let Ok(text) = std::str::from_utf8(known.key()) else { continue };
                    let Some(distance) = typos::distance(word, text, allowed) else { continue };
                    let found = (distance, Reverse(known.value().doc_freq), text.to_owned());
                    if nearest.as_ref().is_none_or(|nearest| found < *nearest) {
                        nearest = Some(found);
                    }
                }
            }
        }
        Ok(nearest.map(|(distance, _, word)| (distance, word)))
    }

    fn says(&self, heading: &str, passages: usize) -> tantivy::Result<f32> {
        let mut seen = HashSet::new();
        let words = words(heading).filter(|word| !is_stop_word(word) && seen.insert(word.clone()));
        let mut says = 0.0;
        for word in words {
            says += rarity(passages, &self.ways(&word, 1.0)?);
        }
        Ok(says)
    }
}

/// How much a word says that is found in these ways: its inverse document frequency as BM25 has it, always above zero.
#[must_use]
pub fn rarity(passages: usize, ways: &[Way]) -> f32 {
    let frequency = ways.iter().map(|way| way.frequency).max().unwrap_or(0);
    let (passages, frequency) = (passages as f32, frequency as f32);
    (1.0 + (passages - frequency + 0.5) / (frequency + 0.5)).ln()
}

/// A text's words in each form, with a space between them.
fn analysed(text: &str) -> [String; 3] {
    let mut all = <[String; 3]>::default();
    for word in words(text) {
        for (all, forms) in all.iter_mut().zip(forms(&word)) {
            for form in forms {
                all.push_str(&form);
                all.push(' ');
            }
        }
    }
    all
}
