//! Generated texts and queries in many scripts.

use frostem::{Algorithm, Stemmer};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use wicara_fuzz::fuzz;

use crate::query::{MOST_QUERY_CHARS, MOST_QUERY_TERMS, Query, QueryError, Term};
use crate::stems::stems;
use crate::terms::Terms;
use crate::words::{LONGEST_WORD, words};
use crate::{excerpt, matches};

/// Pieces of texts: words, scripts with and without spaces, marks alone and composed, invisible characters, syntax of
/// both databases and of queries.
const PIECES: &[&str] = &[
    " ",
    " ",
    " ",
    "\n",
    "kartu",
    "mengirim",
    "dikirimkan",
    "Cards",
    "renewed",
    "a",
    "B",
    "7",
    "POL-358",
    "é",
    "e\u{301}",
    "E\u{301}\u{323}",
    "E\u{323}\u{301}",
    "ö",
    "ß",
    "İ",
    "ς",
    "Σ",
    "Й",
    "ﬁ",
    "½",
    "Å",
    "日本",
    "語",
    "か",
    "が",
    "か\u{3099}",
    "ﾊﾞ",
    "ー",
    "ไ",
    "ที่",
    "ำ",
    "ມື້",
    "ခြင်း",
    "ខ្មែរ",
    "हिन्दी",
    "क़",
    "한",
    "\u{1112}\u{1161}",
    "مُحَمَّد",
    "ـ",
    "אָ",
    "ﷺ",
    "\u{301}",
    "\u{3099}",
    "\u{34f}",
    "\u{ad}",
    "\u{200b}",
    "\u{200d}",
    "\u{202e}",
    "\u{2067}",
    "\u{feff}",
    "\u{fe0f}",
    "\u{3164}",
    "👩‍👩‍👧",
    "🇮🇩",
    "🅰",
    "ⓐ",
    "①",
    "ˢ",
    "Ⅷ",
    "\"",
    "“",
    "”",
    "'",
    "-",
    "*",
    "^",
    ":",
    "(",
    ")",
    "{",
    "}",
    "&",
    "|",
    "!",
    "<->",
    "\\",
    "\0",
    "_",
    "__",
    "AND",
    "OR",
    "NEAR(",
    "text:",
    "’",
    "…",
    "\u{a0}",
    "\u{2028}",
];

fn text(longest: usize) -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        12 => select(PIECES).prop_map(str::to_owned),
        2 => any::<char>().prop_map(String::from),
        1 => "[a-z]{1,14}",
        1 => "[a-zA-Z0-9 ]{1,8}",
    ];
    let long = (select(PIECES), 1..400usize).prop_map(|(piece, times)| piece.repeat(times));
    let mixed = vec(prop_oneof![40 => piece, 1 => long], 0..longest).prop_map(|pieces| pieces.concat());
    prop_oneof![6 => mixed, 1 => any::<String>()]
}

fn query() -> impl Strategy<Value = String> {
    text(14).prop_map(|text| text.chars().take(MOST_QUERY_CHARS + 1).collect())
}

/// The alphabet of terms: a list of what would need quoting somewhere, independent of what makes a word.
#[track_caller]
fn assert_safe(term: &str) {
    let bare = term.strip_prefix('_').unwrap_or(term);
    assert!(!bare.is_empty() && bare.len() <= LONGEST_WORD, "{term:?}");
    for character in bare.chars() {
        let safe = match character {
            'a'..='z' | '0'..='9' => true,
            '\0'..='\u{7f}' => false,
            _ => character.is_alphanumeric() || is_combining_mark(character),
        };
        assert!(safe && !character.is_whitespace() && !character.is_control(), "{term:?}");
    }
}

#[test]
fn words_lie_in_the_text_and_are_safe() {
    fuzz("words", text(60), |text| {
        let (mut position, mut start, mut end) = (0, 0, 0);
        for word in words(&text) {
            assert_eq!(word.position, position + 1);
            assert!(position == 0 || word.range.start > start);
            assert!(
                word.range.end >= end && word.head_end <= word.range.end && word.head_end > word.range.start
            );
            assert!(!text[word.range.clone()].is_empty() && text.is_char_boundary(word.head_end));
            assert_safe(&word.surface);
            assert!(!word.surface.starts_with('_'));
            (position, start, end) = (word.position, word.range.start, word.range.end);
        }
        let terms = Terms::of(&text);
        terms.words().for_each(|(_, word)| assert_safe(word));
        for term in terms.unplaced() {
            let term = term.strip_prefix('_').unwrap();
            assert_safe(term);
            let is_head_of = |head: &str, (_, word): (usize, &str)| word != head && word.starts_with(head);
            if let Some(head) = term.strip_prefix('_') {
                assert!(terms.words().any(|word| is_head_of(head, word)), "{head:?}");
            }
        }
        assert_eq!(terms.is_empty(), position == 0);
    });
}

#[test]
fn both_normal_forms_are_the_same_text() {
    fuzz("normal forms", text(40), |text| {
        let of = Terms::of(&text);
        assert_eq!(Terms::of(&text.nfc().collect::<String>()), of);
        assert_eq!(Terms::of(&text.nfd().collect::<String>()), of);
    });
}

#[test]
fn a_folded_text_is_its_own_folded_form() {
    fuzz("folded", text(40), |text| {
        for word in words(&text).filter(|word| !word.spaceless) {
            let again: Vec<_> = words(&word.surface).collect();
            assert!(again.len() == 1 && again[0].surface == word.surface, "{again:?} of {word:?}");
        }
    });
}

#[test]
fn every_word_of_a_text_finds_it() {
    fuzz("own words", (text(40), any::<Index>(), 1..6usize), |(text, at, length)| {
        let found: Vec<_> = words(&text).take(255).collect();
        if found.is_empty() {
            return;
        }
        let at = at.index(found.len());
        let word = &text[found[at].range.clone()];
        let last = &found[(at + length - 1).min(found.len() - 1)];
        let phrase = &text[found[at].range.start..last.range.end];
        let exact = |text: &str| format!("\"{}\"", text.replace(['"', '“', '”', '„'], " "));
        for query in [word, &format!("{word}*"), &exact(word), &exact(phrase), phrase] {
            match Query::parse(query) {
                Ok(query) if query.unwanted().is_empty() => assert!(matches(&text, &query), "{query:?}"),
                _ => {}
            }
        }
    });
}

#[test]
fn any_text_is_a_query() {
    fuzz("query", (query(), text(40)), |(typed, text)| {
        let query = match Query::parse(&typed) {
            Ok(query) => query,
            Err(QueryError::TooLong) => return assert!(typed.chars().count() > MOST_QUERY_CHARS),
            Err(QueryError::TooManyTerms) => return assert!(words(&typed).count() > MOST_QUERY_TERMS),
            Err(QueryError::OnlyUnwanted) => return assert!(typed.contains('-')),
        };
        assert!(query.wanted().len() + query.unwanted().len() <= MOST_QUERY_TERMS);
        assert!(!query.is_empty() || (query.unwanted().is_empty() && !matches(&text, &query)));
        for term in query.wanted().iter().chain(query.unwanted()) {
            let (Term::Word(terms) | Term::Phrase { words: terms, .. }) = term;
            assert!(!terms.is_empty());
            terms.iter().for_each(|term| assert_safe(term));
        }
    });
}

#[test]
fn an_excerpt_shows_what_was_found() {
    fuzz("excerpt", (query(), text(200)), |(typed, text)| {
        let Ok(query) = Query::parse(&typed) else { return };
        let excerpt = excerpt(&text, &query);
        let units: Vec<u16> = excerpt.text.encode_utf16().collect();
        let mut at = 0;
        for [start, end] in &excerpt.highlights {
            assert!(at <= *start && start < end && *end <= units.len(), "{excerpt:?}");
            assert!(String::from_utf16(&units[*start..*end]).is_ok());
            at = *end;
        }
        assert!(excerpt.text.chars().count() <= 192, "{excerpt:?}");
        assert!(!excerpt.text.contains(char::is_control) && !excerpt.text.contains("  "));
        let whole = !excerpt.text.starts_with('…') && !excerpt.text.ends_with('…');
        let found = query.wanted().iter().any(|_| matches(&text, &query));
        assert!(!found || !whole || !excerpt.highlights.is_empty(), "{excerpt:?}");
    });
}

/// What is highlighted is found by itself, where the query is one word.
#[test]
fn what_is_highlighted_is_found() {
    fuzz("highlights", (select(PIECES), text(60)), |(typed, text)| {
        let Ok(query) = Query::parse(typed) else { return };
        let excerpt = excerpt(&text, &query);
        let units: Vec<u16> = excerpt.text.encode_utf16().collect();
        for [start, end] in excerpt.highlights {
            let highlighted = String::from_utf16(&units[start..end]).unwrap();
            assert!(matches(&highlighted, &query), "{highlighted:?}");
        }
    });
}

/// The stemmers are asked only for words that they may change.
#[test]
fn stems_are_those_of_the_stemmers() {
    const ENDINGS: &[&str] = &[
        "", "s", "ed", "ing", "kan", "an", "i", "nya", "lah", "ation", "ment", "ful", "ism", "ive", "ogi",
        "nci", "ally",
    ];
    let word = ("[a-z]{1,9}", select(ENDINGS)).prop_map(|(word, ending)| format!("{word}{ending}"));
    fuzz("stems", word, |word| {
        let known: Vec<_> = stems(&word).collect();
        let english = Stemmer::new(Algorithm::English).stem(&word);
        assert!(
            word.len() < 3 || english == word || known.contains(&english),
            "{word}: {known:?}, {english}"
        );
        let indonesian = Stemmer::new(Algorithm::Indonesian).stem(&word);
        let is_nasal = known.iter().any(|stem| stem.starts_with('0'));
        assert!(word.len() < 3 || indonesian == word || is_nasal || known.contains(&indonesian), "{word}");
    });
}
