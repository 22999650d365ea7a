//! What full-text search is on both databases: the words of a text, the terms under which they are indexed, queries,
//! and excerpts of what was found. Pure functions; the store writes terms and queries in each engine's own syntax.
//!
//! Each word is one term, its folded form ([`Word::surface`]), at its position. The stems of a text are further
//! terms, each once and without a position. They begin with [`MARK`], so that an exact phrase never meets a stem. A
//! word's language is not guessed: it has up to one Indonesian and one English stem, and none where the stem is the word
//! itself, about one for two words of ordinary text. What one stem may stand for (mengirim is from `kirim` or from `irim`)
//! is spelled out in the query, which is short, and not in the index. The first letters of longer words are further terms
//! likewise, with two marks: a prefix as long is looked up, and not collected from all words that begin with it.
//!
//! Terms are safe to quote in any syntax: each is made of small letters, digits, the marks of scripts that need them, and
//! [`MARK`] as its first characters. None has a space, a quote, a sign or a control character. An engine must not
//! fold or split them again: FTS5's tokenizer `ascii` with `tokenchars '_'` and the input of a `tsvector` do not.

mod character;
mod excerpt;
#[cfg(test)]
mod fuzz;
mod matching;
mod query;
mod stems;
mod terms;
mod words;

pub use excerpt::{Excerpt, excerpt};
pub use matching::matches;
pub use query::{MOST_QUERY_CHARS, MOST_QUERY_TERMS, Query, QueryError, SHORTEST_PREFIX, Term};
pub use terms::{GAP, HEAD_MARK, MARK, MOST_OCCURRENCES, Terms, head};
pub use words::{LONGEST_WORD, MOST_BYTES, MOST_WORDS, Word, Words, words};
