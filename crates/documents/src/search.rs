//! Finding the passage that a question is about.

use tantivy::collector::TopDocs;
use tantivy::query::{
    BooleanQuery, BoostQuery, ConstScoreQuery, DisjunctionMaxQuery, Occur, Query, TermQuery,
};
use tantivy::schema::IndexRecordOption;
use tantivy::{DocId, DocSet, Term};
use wicara_guide::Language;

use crate::index::{Index, Place, Way, rarity};
use crate::language::{forms, written};
use crate::lexicon::synonyms;
use crate::passages::Page;
use crate::subject::Subject;

/// The share of a question's words, weighed by how rare they are, that an answer has to speak of.
const ENOUGH: f32 = 0.4;
/// The share that is enough even if the answer's heading speaks of nothing that is asked.
const NEARLY_ALL: f32 = 0.75;
/// The share that a passage has to speak of to be worth a look.
const PERHAPS: f32 = 0.25;
/// Passages that are offered where none is an answer.
const MAX_OFFERS: usize = 3;
/// Passages that are looked at closely, best first.
const CANDIDATES: usize = 32;
/// How sure it is that another word for the same is meant.
const SYNONYM: f32 = 0.8;
/// How sure it is that a misspelt word is meant, for each wrong letter.
const SPELT: f32 = 0.8;
/// What a word of an earlier question counts for.
const EARLIER: f32 = 0.5;
/// How much better a passage is whose heading, or page's title, says just what is asked.
const FIT: f32 = 2.0;

#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    Passage(Place),
    /// Passages that speak of a part of the question, best first.
    Perhaps(Vec<Place>),
    /// No passage speaks of enough of the question.
    Nothing,
    /// The question has no words that could be about something: a greeting, say.
    NoSubject,
}

pub struct Search(Index);

/// A word that is looked for.
struct Sought {
    ways: Vec<Way>,
    /// What it counts beside the other words.
    weight: f32,
    /// Whether the question itself has it, not an earlier one.
    own: bool,
}

/// A passage that speaks of something asked.
struct Candidate {
    number: DocId,
    score: f32,
    /// How much of the question it speaks of, from 0 to 1.
    coverage: f32,
    /// How many of the question's words it speaks of.
    words: usize,
    /// Whether its heading speaks of any.
    named: bool,
}

impl Candidate {
    /// Whether it is an answer, and not only worth a look.
    fn is_sure(&self) -> bool {
        self.coverage >= NEARLY_ALL || self.coverage >= ENOUGH && self.named
    }

    /// One word in common is chance.
    fn is_worth_a_look(&self) -> bool {
        self.is_sure() || self.coverage >= PERHAPS && self.words > 1
    }
}

impl Search {
    pub fn new(pages: &[Page]) -> tantivy::Result<Self> {
        Index::new(pages).map(Self)
    }

    /// The best passage in the question's language, else in any. Of a question that shows none, the language is that
    /// whose passages speak of more of it.
    pub fn find(&self, subject: &Subject, default: Language) -> tantivy::Result<Found> {
        let mut asked = self.sought(&subject.words, true)?;
        if asked.is_empty() {
            return Ok(Found::NoSubject);
        }
        asked.extend(self.sought(&subject.earlier, false)?);
        let languages = match subject.language {
            Some(language) => vec![Some(language), None],
            None => vec![Some(default), Some(default.other()), None],
        };
        let mut best: Vec<Candidate> = Vec::new();
        for language in languages {
            let found = self.candidates(&asked, language)?;
            let rank =
                |candidates: &[Candidate]| candidates.first().map(|best| (best.is_sure(), best.coverage));
            if rank(&found) > rank(&best) {
                best = found;
            }
            if subject.language.is_some() && best.first().is_some_and(Candidate::is_sure) {
                break;
            }
        }
        let place = |candidate: &Candidate| self.0.entries[candidate.number as usize].place;
        Ok(match best.first() {
            Some(best) if best.is_sure() => Found::Passage(place(best)),
            Some(_) => Found::Perhaps(best.iter().take(MAX_OFFERS).map(place).collect()),
            None => Found::Nothing,
        })
    }

    fn sought(&self, words: &[String], own: bool) -> tantivy::Result<Vec<Sought>> {
        let mut sought = Vec::new();
        for word in words {
            let ways = self.meant(word)?;
            let weight = rarity(self.0.entries.len(), &ways) * if own { 1.0 } else { EARLIER };
            sought.push(Sought { ways, weight, own });
        }
        Ok(sought)
    }

    /// The ways to find a word and what it may mean; of a word that no passage has, only then what it may be misspelt
    /// for.
    fn meant(&self, word: &str) -> tantivy::Result<Vec<Way>> {
        let mut ways = self.0.ways(word, 1.0)?;
        ways.extend(self.same(word)?);
        if ways.is_empty() {
            for word in written(word) {
                ways.extend(self.0.ways(&word, SYNONYM)?);
                ways.extend(self.same(&word)?);
            }
        }
        if ways.is_empty()
            && let Some((distance, word)) = self.0.nearest(word)?
        {
            let certainty = (0..distance).map(|_| SPELT).product();
            ways.extend(self.0.ways(&word, certainty)?);
            ways.extend(self.same(&word)?);
        }
        Ok(ways)
    }

    /// The ways to find other words for the same.
    fn same(&self, word: &str) -> tantivy::Result<Vec<Way>> {
        let mut ways = Vec::new();
        for form in forms(word).iter().flatten() {
            for other in synonyms(form).filter(|other| *other != word) {
                ways.extend(self.0.ways(other, SYNONYM)?);
            }
        }
        Ok(ways)
    }

    /// The passages that speak of what is asked, best first.
    fn candidates(&self, asked: &[Sought], language: Option<Language>) -> tantivy::Result<Vec<Candidate>> {
        let Index { searcher, fields, .. } = &self.0;
        let mut any: Vec<(Occur, Box<dyn Query>)> = Vec::new();
        for word in asked {
            let boost = if word.own { 1.0 } else { EARLIER };
            // However many ways there are to find a word, it counts once in each text.
            for (fields, _) in fields.texts() {
                let ways = word.ways.iter().filter(|way| fields.contains(&way.term.field()));
                let ways = ways.map(|way| -> Box<dyn Query> {
                    let query = TermQuery::new(way.term.clone(), IndexRecordOption::WithFreqs);
                    Box::new(BoostQuery::new(Box::new(query), way.boost * way.certainty * boost))
                });
                any.push((Occur::Should, Box::new(DisjunctionMaxQuery::new(ways.collect()))));
            }
        }
        let mut query: Box<dyn Query> = Box::new(BooleanQuery::new(any));
        if let Some(language) = language {
            let term = Term::from_field_text(fields.language, language.code());
            let only = TermQuery::new(term, IndexRecordOption::Basic);
            let only = ConstScoreQuery::new(Box::new(only), 0.0);
            query = Box::new(BooleanQuery::new(vec![(Occur::Must, query), (Occur::Must, Box::new(only))]));
        }
        let top = searcher.search(&query, &TopDocs::with_limit(CANDIDATES).order_by_score())?;
        let mut numbers: Vec<(DocId, f32)> =
            top.into_iter().map(|(score, address)| (address.doc_id, score)).collect();
        numbers.sort_unstable_by_key(|(number, _)| *number);
        let mut candidates = self.weigh(asked, &numbers)?;
        candidates.retain(Candidate::is_worth_a_look);
        candidates.sort_by(|one, other| {
            other.is_sure().cmp(&one.is_sure()).then(other.score.total_cmp(&one.score))
        });
        Ok(candidates)
    }

    /// How much of the question each passage speaks of, and what it scores with that. `found` are passages with what
    /// their words alone score, rising by number.
    fn weigh(&self, asked: &[Sought], found: &[(DocId, f32)]) -> tantivy::Result<Vec<Candidate>> {
        let Index { searcher, fields, entries } = &self.0;
        let mut spoken: Vec<Spoken> = found.iter().map(|_| Spoken::default()).collect();
        for word in asked {
            // How sure it is that each passage has the word: anywhere, in its heading, in its title.
            let mut sure = vec![[0.0_f32; 3]; found.len()];
            for segment in searcher.segment_readers() {
                for way in &word.ways {
                    let field = way.term.field();
                    let index = segment.inverted_index(field)?;
                    let Some(mut postings) = index.read_postings(&way.term, IndexRecordOption::Basic)? else {
                        continue;
                    };
                    let texts = [true, fields.heading.contains(&field), fields.title.contains(&field)];
                    for (sure, (number, _)) in sure.iter_mut().zip(found) {
                        if postings.doc() < *number {
                            postings.seek(*number);
                        }
                        if postings.doc() == *number {
                            for (sure, _) in sure.iter_mut().zip(texts).filter(|(_, here)| *here) {
                                *sure = sure.max(way.certainty);
                            }
                        }
                    }
                }
            }
            for (spoken, [any, heading, title]) in spoken.iter_mut().zip(sure) {
                spoken.all += word.weight * any;
                spoken.heading += word.weight * heading;
                spoken.title += word.weight * title;
                if word.own {
                    spoken.own += word.weight * any;
                    spoken.words += usize::from(any > 0.0);
                }
            }
        }
        let all: f32 = asked.iter().map(|word| word.weight).sum();
        let own: f32 = asked.iter().filter(|word| word.own).map(|word| word.weight).sum();
        // How much of a heading is asked, times how much of what is asked the heading says.
        let fit = |spoken: f32, heading: f32| {
            if heading > 0.0 { (spoken / heading).min(1.0) * spoken / all } else { 0.0 }
        };
        let weighed = found.iter().zip(spoken).map(|((number, score), spoken)| {
            let entry = &entries[*number as usize];
            let fit = fit(spoken.heading, entry.heading).max(fit(spoken.title, entry.title));
            Candidate {
                number: *number,
                // A passage that speaks of all of the question goes before one that speaks much of a part of it.
                score: score * (spoken.all / all).powi(2) * (1.0 + FIT * fit),
                coverage: spoken.own / own,
                words: spoken.words,
                named: spoken.heading > 0.0,
            }
        });
        Ok(weighed.collect())
    }
}

/// How much of the question a passage speaks of: the sum of its words' weights.
#[derive(Default)]
struct Spoken {
    all: f32,
    heading: f32,
    title: f32,
    /// Without earlier questions.
    own: f32,
    /// How many words, without earlier questions.
    words: usize,
}
