//! The piece of a text in which a query's words stand.

use std::collections::HashSet;
use std::ops::Range;

use unicode_segmentation::{GraphemeCursor, GraphemeIncomplete};

use crate::character::directs;
use crate::query::{Query, Term};
use crate::stems::stems;
use crate::terms::MARK;
use crate::words::{Word, words};

/// In characters, without the two `…`.
const LONGEST: usize = 190;
/// How many of them stand before the first word that was found, where the text after it is long enough.
const BEFORE: usize = 60;
/// How many characters shorter it may be to end between two words.
const SNAP: usize = 24;
const ELLIPSIS: &str = "…";

/// A piece of a text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Excerpt {
    /// Plain text, about 190 characters at most, on one line. `…` stands at an end where more of the text follows.
    pub text: String,
    /// What the query finds in it: start and end in UTF-16 units of `text`, in order, without overlaps.
    pub highlights: Vec<[usize; 2]>,
}

/// The piece of the text with most of what the query looks for; its beginning, where it has none of it.
#[must_use]
pub fn excerpt(text: &str, query: &Query) -> Excerpt {
    let text = on_one_line(text);
    let found = found(&text, query);
    let piece = piece(&text, &found);
    let mut excerpt = String::with_capacity(piece.len() + 2 * ELLIPSIS.len());
    if piece.start > 0 {
        excerpt.push_str(ELLIPSIS);
    }
    let (mut highlights, mut at, mut units) = (Vec::new(), piece.start, excerpt.chars().count());
    let mut units_to = |to: usize| {
        units += text[at..to].chars().map(char::len_utf16).sum::<usize>();
        at = to;
        units
    };
    for range in merged(found) {
        let range = range.start.max(piece.start)..range.end.min(piece.end);
        if !range.is_empty() {
            highlights.push([units_to(range.start), units_to(range.end)]);
        }
    }
    excerpt.push_str(&text[piece.clone()]);
    if piece.end < text.len() {
        excerpt.push_str(ELLIPSIS);
    }
    Excerpt { text: excerpt, highlights }
}

/// The text with one space for each run of spaces, line breaks and control characters, none at its ends.
fn on_one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    let mut is_after_space = true;
    for character in text.chars().filter(|character| !directs(*character)) {
        let is_space = character.is_whitespace() || character.is_control();
        if !is_space {
            line.push(character);
        } else if !is_after_space {
            line.push(' ');
        }
        is_after_space = is_space;
    }
    line.truncate(line.trim_end().len());
    line
}

/// A place in the text that the query finds, and by which of its terms.
#[derive(Debug, Clone)]
struct Found {
    range: Range<usize>,
    term: usize,
}

/// In the order in which they begin.
fn found(text: &str, query: &Query) -> Vec<Found> {
    let words: Vec<Word> = words(text).collect();
    let mut found = Vec::new();
    for (term, wanted) in query.wanted().iter().enumerate() {
        match wanted {
            Term::Word(any) => {
                let any: HashSet<&str> = any.iter().map(String::as_str).collect();
                let is_form = |word: &&Word| {
                    any.contains(&*word.surface)
                        || stems(&word.surface).any(|stem| any.contains(&*format!("{MARK}{stem}")))
                };
                found.extend(
                    words.iter().filter(is_form).map(|word| Found { range: word.range.clone(), term }),
                );
            }
            Term::Phrase { words: phrase, prefix } => {
                let is_phrase = |window: &&[Word]| {
                    window.iter().zip(phrase).enumerate().all(|(at, (word, wanted))| {
                        let is_beginning = *prefix && at + 1 == phrase.len();
                        word.surface == *wanted || (is_beginning && word.surface.starts_with(&**wanted))
                    })
                };
                let range = |window: &[Word]| {
                    let last = &window[window.len() - 1];
                    // The one letter that was asked for, of the pair.
                    let end = if *prefix { last.head_end } else { last.range.end };
                    window[0].range.start..end
                };
                let windows = words.windows(phrase.len()).filter(is_phrase);
                found.extend(windows.map(|window| Found { range: range(window), term }));
            }
        }
    }
    found.sort_by_key(|found| (found.range.start, found.range.end));
    found
}

fn merged(found: Vec<Found>) -> Vec<Range<usize>> {
    let mut merged: Vec<Range<usize>> = Vec::new();
    for Found { range, .. } in found {
        match merged.last_mut() {
            Some(last) if range.start < last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

/// The part of the text to show.
fn piece(text: &str, found: &[Found]) -> Range<usize> {
    if text.chars().nth(LONGEST).is_none() {
        return 0..text.len();
    }
    let best = best_window(text, found);
    let has_after = text[best.end..].chars().take(LONGEST).count();
    let left = LONGEST.saturating_sub(text[best.clone()].chars().count());
    let before = BEFORE.max(left.saturating_sub(has_after)).min(left);
    let start = back(text, best.start, before);
    let start = forward_to_border(text, start, best.start);
    let end = on(text, start, LONGEST);
    let end = back_to_border(text, start, end, best.end);
    let piece = &text[start..end];
    let (start, end) = (end - piece.trim_start().len(), start + piece.trim_end().len());
    start..end.max(start)
}

/// From the first to the last found place of those that fit into one piece: those of the most terms, then the most, then
/// the first.
fn best_window(text: &str, found: &[Found]) -> Range<usize> {
    let (mut best, mut best_score) = (0..0, (0, 0));
    let mut last = 0;
    // How often each term is found between `first` and `last`; a query has few.
    let mut counts = vec![0; found.iter().map(|found| found.term + 1).max().unwrap_or(0)];
    for (first, place) in found.iter().enumerate() {
        let limit = on(text, place.range.start, LONGEST);
        while let Some(next) = found.get(last).filter(|next| last <= first || next.range.end <= limit) {
            counts[next.term] += 1;
            last += 1;
        }
        let score = (counts.iter().filter(|count| **count > 0).count(), last - first);
        if score > best_score {
            best_score = score;
            let end = found[first..last].iter().map(|found| found.range.end).max().unwrap_or(0);
            best = place.range.start..end.min(limit);
        }
        counts[place.term] -= 1;
    }
    best
}

/// So many characters before this place, at most.
fn back(text: &str, from: usize, chars: usize) -> usize {
    if chars == 0 {
        return from;
    }
    text[..from].char_indices().rev().nth(chars - 1).map_or(0, |(at, _)| at)
}

/// So many characters after this place, at most.
fn on(text: &str, from: usize, chars: usize) -> usize {
    text[from..].char_indices().nth(chars).map_or(text.len(), |(at, _)| from + at)
}

/// The next place between two words, if one is near and not behind `limit`, or else between two grapheme clusters.
fn forward_to_border(text: &str, at: usize, limit: usize) -> usize {
    if at == 0 {
        return 0;
    }
    let near = &text[at..on(text, at, SNAP).min(limit).max(at)];
    if text[..at].ends_with(' ') {
        at
    } else if let Some(space) = near.find(' ') {
        at + space + 1
    } else {
        cluster_border(text, at, true)
    }
}

/// The last place between two words, if one is near and not before `limit`, or else between two grapheme clusters.
fn back_to_border(text: &str, start: usize, at: usize, limit: usize) -> usize {
    if at == text.len() || text[at..].starts_with(' ') {
        return at;
    }
    let from = back(text, at, SNAP).max(limit).max(start).min(at);
    match text[from..at].rfind(' ') {
        Some(space) => from + space,
        None => cluster_border(text, at, false).max(start),
    }
}

/// This place, or the next one forwards or backwards that is not inside a grapheme cluster.
fn cluster_border(text: &str, at: usize, forwards: bool) -> usize {
    let mut cursor = GraphemeCursor::new(at, text.len(), true);
    if cursor.is_boundary(text, 0) != Ok(false) {
        return at;
    }
    let border: Result<Option<usize>, GraphemeIncomplete> =
        if forwards { cursor.next_boundary(text, 0) } else { cursor.prev_boundary(text, 0) };
    border.ok().flatten().unwrap_or(if forwards { text.len() } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The excerpt with brackets around what is highlighted.
    fn marked(text: &str, query: &str) -> String {
        let Excerpt { text, highlights } = excerpt(text, &Query::parse(query).unwrap());
        let units: Vec<u16> = text.encode_utf16().collect();
        let (mut marked, mut at) = (String::new(), 0);
        for [start, end] in highlights {
            let piece = |from: usize, to: usize| String::from_utf16(&units[from..to]).unwrap();
            marked += &format!("{}[{}]", piece(at, start), piece(start, end));
            at = end;
        }
        marked + &String::from_utf16(&units[at..]).unwrap()
    }

    #[test]
    fn a_short_text_is_shown_whole_with_what_was_found() {
        for (query, text, expected) in [
            ("kartu", "Kartu  saya\r\n hilang. ", "[Kartu] saya hilang."),
            ("kirim -saya", "Dikirimkan, mengirim, kiri", "[Dikirimkan], [mengirim], kiri"),
            ("POL-358", "Polis POL-358, POL 358, POL", "Polis [POL-358], [POL 358], POL"),
            ("\"card\" per*", "Card cards perpanjang", "[Card] cards [perpanjang]"),
            ("\"a b\" \"b c\"", "a b c", "[a b c]"),
            ("日本語", "私は日本語を", "私は[日本語]を"),
            ("sura-kuas* surat-kua*", "surat kuasa, surat", "[surat kuasa], surat"),
            ("sura-kuas*", "surat kuasa", "surat kuasa"),
            ("日", "日本の日", "[日]本の[日]"),
            ("ไทย", "ภาษาไทยได้", "ภาษา[ไทย]ได้"),
            ("kartu", "😀👩‍👩‍👧 kartu 👍🏽", "😀👩‍👩‍👧 [kartu] 👍🏽"),
            ("elan", "E\u{301}lan, élan", "[E\u{301}lan], [élan]"),
            ("b", "a\0\u{7}\u{202e}b", "a [b]"),
            ("x", "", ""),
            ("!", "kartu", "kartu"),
        ] {
            assert_eq!(marked(text, query), expected, "{query}");
        }
    }

    #[test]
    fn a_long_text_is_cut_between_words_around_most_of_what_is_looked_for() {
        let filler = "lorem ipsum dolor ".repeat(30);
        let text = format!("hilang {filler}kartu kartu kartu {filler}kartu yang hilang {filler}");
        let found = marked(&text, "kartu hilang");
        assert!(found.starts_with("…") && found.ends_with("…"), "{found}");
        assert!(found.contains(" [kartu] yang [hilang] "), "{found}");
        assert!((160..=205).contains(&found.chars().count()), "{found}");
        for word in found.trim_matches('…').split(' ') {
            assert!(["lorem", "ipsum", "dolor", "[kartu]", "yang", "[hilang]"].contains(&word), "{word}");
        }
        let first = marked(&format!("{filler}satu kartu {filler}dua kartu {filler}"), "kartu");
        assert!(first.contains(" satu [kartu] "), "{first}");
        let beginning = marked(&text, "bank");
        assert!(beginning.starts_with("hilang lorem") && beginning.ends_with("…"), "{beginning}");
        let end = marked(&format!("{filler} habis"), "habis");
        assert!(end.starts_with("…") && end.ends_with(" [habis]") && end.len() > 160, "{end}");
    }

    #[test]
    fn a_text_without_spaces_is_cut_between_grapheme_clusters() {
        for cluster in ["日", "👩‍👩‍👧", "e\u{301}", "ที่"] {
            let text = format!("{}kartu{}", cluster.repeat(300), cluster.repeat(300));
            let shown = excerpt(&text, &Query::parse("zzz").unwrap()).text;
            let shown = shown.strip_suffix("…").unwrap();
            assert!(!shown.is_empty() && shown.replace(cluster, "").is_empty(), "{shown}");
        }
        let text = format!("{} kartu {}", "👩‍👩‍👧".repeat(300), "👩‍👩‍👧".repeat(300));
        let shown = marked(&text, "kartu");
        let shown = shown.strip_prefix("…").unwrap().strip_suffix("…").unwrap();
        assert_eq!(shown.replace("👩‍👩‍👧", ""), " [kartu] ", "{shown}");
    }

    #[test]
    fn a_cluster_longer_than_an_excerpt_is_left_out() {
        let text = format!("a{} kartu", "\u{301}".repeat(5000));
        assert!(excerpt(&text, &Query::parse("zzz").unwrap()).text.len() < 1000);
        assert_eq!(marked(&text, "kartu"), "…[kartu]");
    }
}
