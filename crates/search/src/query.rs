//! Queries, as people type them.

use thiserror::Error;

use crate::stems::forms;
use crate::terms::MARK;
use crate::words::{Word, words};

pub const MOST_QUERY_CHARS: usize = 200;
/// Of words, phrases and prefixes, those with `-` among them.
pub const MOST_QUERY_TERMS: usize = 16;
/// In letters. A shorter prefix is an exact word.
pub const SHORTEST_PREFIX: usize = 3;

/// A query: what a text must have, all of it, and what it must not have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query {
    wanted: Vec<Term>,
    unwanted: Vec<Term>,
}

/// What a text has or has not. Its words and stems are made as those of [`Terms`](crate::Terms) are, safe to quote in any
/// syntax; none of the lists is empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Term {
    /// Any of these: the word, words that are its stem, and stems with their mark.
    Word(Vec<String>),
    /// These words, one right after the other.
    Phrase {
        /// At least one.
        words: Vec<String>,
        /// The last word is the beginning of one.
        prefix: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum QueryError {
    #[error("a query has no more than {MOST_QUERY_CHARS} characters")]
    TooLong,
    #[error("a query has no more than {MOST_QUERY_TERMS} words and phrases")]
    TooManyTerms,
    #[error("a query has more than words with - before them")]
    OnlyUnwanted,
}

impl Query {
    /// Reads words, `"exact phrases"`, prefixes (`pre*`, from [`SHORTEST_PREFIX`] letters on) and each of them with `-`
    /// right before it. Anything else is text: what has no space in it, but signs, is the exact phrase of its words. Quotes
    /// may be typographic ones.
    ///
    /// # Errors
    ///
    /// Longer than [`MOST_QUERY_CHARS`], more than [`MOST_QUERY_TERMS`] terms, or nothing but terms with `-`. A query
    /// without any word is none of these: it finds nothing.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        if text.chars().nth(MOST_QUERY_CHARS).is_some() {
            return Err(QueryError::TooLong);
        }
        let mut query = Self::default();
        let mut rest = text;
        loop {
            rest = rest.trim_start();
            if rest.is_empty() {
                break;
            }
            let (is_wanted, piece) = match rest.strip_prefix('-') {
                Some(piece) if piece.starts_with(is_quote) || begins_with_word(piece) => (false, piece),
                _ => (true, rest),
            };
            let term;
            (term, rest) = if let Some((phrase, rest)) = quoted(piece) {
                (exact(phrase), rest)
            } else {
                let (piece, rest) = piece.split_at(piece.find(char::is_whitespace).unwrap_or(piece.len()));
                (unquoted(piece), rest)
            };
            if let Some(term) = term {
                if query.wanted.len() + query.unwanted.len() == MOST_QUERY_TERMS {
                    return Err(QueryError::TooManyTerms);
                }
                if is_wanted { query.wanted.push(term) } else { query.unwanted.push(term) }
            }
        }
        if query.wanted.is_empty() && !query.unwanted.is_empty() {
            return Err(QueryError::OnlyUnwanted);
        }
        Ok(query)
    }

    /// What a text has to have, all of it. Where this is empty, nothing is found.
    #[must_use]
    pub fn wanted(&self) -> &[Term] {
        &self.wanted
    }

    /// What a text must not have.
    #[must_use]
    pub fn unwanted(&self) -> &[Term] {
        &self.unwanted
    }

    /// Whether it has no word at all, and so finds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }
}

fn is_quote(character: char) -> bool {
    matches!(character, '"' | '“' | '”' | '„')
}

fn begins_with_word(text: &str) -> bool {
    words(text).next().is_some_and(|word| word.range.start == 0)
}

/// What stands in the quotes at the beginning, and what follows them. A quote without another one is text.
fn quoted(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix(is_quote)?.split_once(is_quote)
}

fn exact(text: &str) -> Option<Term> {
    sequence(&words(text).collect::<Vec<_>>())
}

fn unquoted(text: &str) -> Option<Term> {
    let found: Vec<Word> = words(text).collect();
    let last = found.last()?;
    let is_prefix = text[last.range.end..].starts_with('*') && !last.spaceless;
    match (&found[..], is_prefix) {
        ([word], false) if !word.spaceless => Some(any_form(&word.surface)),
        _ => {
            let mut term = sequence(&found)?;
            if let Term::Phrase { prefix, .. } = &mut term {
                *prefix |= is_prefix && last.surface.chars().count() >= SHORTEST_PREFIX;
            }
            Some(term)
        }
    }
}

/// The words one after the other. Of a script without spaces, the last letter is the second of a pair, and in the text
/// another may follow it; where it is alone, it is found as the first letter of a pair.
fn sequence(found: &[Word]) -> Option<Term> {
    let (last, before) = found.split_last()?;
    let is_in_pair = before.last().is_some_and(|previous| previous.range.end > last.range.start);
    let found = if is_in_pair { before } else { found };
    let words = found.iter().map(|word| word.surface.as_ref().to_owned()).collect();
    Some(Term::Phrase { words, prefix: last.is_single() && !is_in_pair })
}

fn any_form(word: &str) -> Term {
    let (mut any, stems) = forms(word);
    any.extend(stems.into_iter().map(|stem| format!("{MARK}{stem}")));
    Term::Word(any)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A query as it was understood: words by their first form, phrases in brackets.
    fn read(text: &str) -> String {
        let query = Query::parse(text).unwrap();
        let one = |term: &Term| match term {
            Term::Word(any) => any[0].clone(),
            Term::Phrase { words, prefix } => {
                format!("[{}{}]", words.join(" "), if *prefix { "*" } else { "" })
            }
        };
        let wanted = query.wanted().iter().map(one);
        wanted
            .chain(query.unwanted().iter().map(|term| format!("-{}", one(term))))
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn words_phrases_prefixes_and_exclusions_are_read() {
        for (text, expected) in [
            ("lost card", "lost card"),
            ("\"Lost Card\" bank", "[lost card] bank"),
            ("\"card\"", "[card]"),
            ("“lost card”", "[lost card]"),
            ("per*", "[per*]"),
            ("pe*", "[pe]"),
            ("ÉLA*", "[ela*]"),
            ("lost -card", "lost -card"),
            ("-\"lost card\" bank", "bank -[lost card]"),
            ("-pre* bank", "bank -[pre*]"),
            ("POL-358", "[pol 358]"),
            ("POL-358*", "[pol 358*]"),
            ("POL-35*", "[pol 35]"),
            ("bank -POL-358", "bank -[pol 358]"),
            ("日本語", "[日本 本語]"),
            ("日", "[日*]"),
            ("日本", "[日本]"),
            ("\"は 日\"", "[は 日*]"),
            ("日本語*", "[日本 本語]"),
            ("abc日", "[abc 日*]"),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn anything_else_is_text() {
        for (text, expected) in [
            ("lost AND card", "lost and card"),
            ("(a OR b) NOT c", "a or b not c"),
            ("a NEAR/5 b", "a [near 5] b"),
            ("text:card", "[text card]"),
            ("^card {a b}: c", "card a b c"),
            ("a & b | !c <-> d", "a b c d"),
            ("a:*&b:AB", "[a b ab]"),
            ("'; DROP TABLE messages; --", "drop table messages"),
            ("\"lost card", "lost card"),
            ("5\" 6\"", "5 6"),
            ("\"lost\"card\"", "[lost] card"),
            ("a - b --c -(d) –e", "a b c d e"),
            ("a\0b\\c", "[a b c]"),
            ("*per* fo*o **", "[per*] [fo o]"),
            ("\"\" a", "a"),
            ("a -\"!\" -", "a"),
            ("_kirim __x", "kirim x"),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn signs_alone_find_nothing() {
        for text in ["", " ", "!?", "\"", "\"\"", "*", "-", "👍🏽", "- - -", "\0"] {
            assert!(Query::parse(text).unwrap().is_empty(), "{text}");
        }
    }

    #[test]
    fn a_query_has_limits() {
        assert_eq!(Query::parse("-a -\"b c\""), Err(QueryError::OnlyUnwanted));
        assert_eq!(Query::parse("-a !"), Err(QueryError::OnlyUnwanted));
        assert!(Query::parse(&"é".repeat(MOST_QUERY_CHARS)).is_ok());
        assert_eq!(Query::parse(&"é".repeat(MOST_QUERY_CHARS + 1)), Err(QueryError::TooLong));
        assert!(Query::parse(&"a ".repeat(MOST_QUERY_TERMS)).is_ok());
        assert!(Query::parse(&format!("{} ! ?", "a ".repeat(MOST_QUERY_TERMS))).is_ok());
        assert_eq!(Query::parse(&"a ".repeat(MOST_QUERY_TERMS + 1)), Err(QueryError::TooManyTerms));
    }
}
