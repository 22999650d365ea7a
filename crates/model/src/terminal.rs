//! Escapes untrusted text for a terminal: control characters, and characters that hide or reorder the text around them. Each
//! character is judged by itself, so that an escape sequence which arrives in several chunks is escaped like a whole one.

use std::borrow::Cow;
use std::fmt::Write;

/// Whether a terminal acts on the character instead of showing it: the control characters of ASCII and Latin 1 except line
/// feed and tab, the marks that change the direction of writing, and invisible characters that no script or emoji needs.
/// Joiners, soft hyphens and zero-width spaces are allowed: Persian, Hindi, Khmer and many emoji are written with them.
#[must_use]
pub fn steers(character: char) -> bool {
    match character {
        '\n' | '\t' => false,
        // Marks of direction; separators of lines and paragraphs, with the embeddings and overrides of direction.
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' => true,
        // Word joiner, invisible operators, isolates of direction, and shaping marks out of use.
        '\u{2060}'..='\u{206f}' => true,
        // Byte order mark, annotations, and tags, which spell ASCII invisibly.
        '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' => true,
        _ => character.is_control(),
    }
}

/// Escapes characters that [`steers`] finds, as `\u{9b}`.
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, steers, in_braces)
}

/// Like [`visible`] for text on one line: also escapes line feeds and tabs.
#[must_use]
pub fn visible_line(text: &str) -> Cow<'_, str> {
    escaped(text, |character| steers(character) || matches!(character, '\n' | '\t'), in_braces)
}

/// Escapes characters in JSON as `\u009b`, so that its value stays the same. A carriage return can only stand between
/// values, and becomes a space.
#[must_use]
pub fn visible_json(json: &str) -> Cow<'_, str> {
    escaped(json, steers, |character, text| {
        if character == '\r' {
            text.push(' ');
        }
        for unit in character.encode_utf16(&mut [0; 2]).iter().filter(|_| character != '\r') {
            let _ = write!(text, "\\u{unit:04x}");
        }
    })
}

/// Replaces the characters that `chosen` accepts by what `escape` appends.
pub fn escaped(
    text: &str,
    chosen: impl Fn(char) -> bool,
    escape: impl Fn(char, &mut String),
) -> Cow<'_, str> {
    if !text.chars().any(&chosen) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if chosen(character) { escape(character, &mut shown) } else { shown.push(character) }
    }
    Cow::Owned(shown)
}

fn in_braces(character: char, text: &mut String) {
    // Writing to a string cannot fail.
    let _ = write!(text, "\\u{{{:x}}}", u32::from(character));
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use serde_json::Value;
    use wicara_fuzz::{fuzz, json};

    use super::*;

    /// The characters that act on a terminal, as ranges of the Unicode standard: a list independent of [`steers`].
    const ACTING: &[(u32, u32)] = &[
        (0x00, 0x08),
        (0x0b, 0x1f),
        (0x7f, 0x9f),
        (0x61c, 0x61c),
        (0x200e, 0x200f),
        (0x2028, 0x202e),
        (0x2060, 0x206f),
        (0xfeff, 0xfeff),
        (0xfff9, 0xfffb),
        (0xe0000, 0xe007f),
    ];

    fn acts(character: char) -> bool {
        ACTING.iter().any(|(first, last)| (*first..=*last).contains(&u32::from(character)))
    }

    /// Texts in which half of the characters act on a terminal.
    fn text() -> impl Strategy<Value = String> {
        let acting = (0..ACTING.len()).prop_flat_map(|at| ACTING[at].0..=ACTING[at].1);
        let acting = acting.prop_filter_map("no surrogates", char::from_u32);
        let character = prop_oneof![2 => acting, 1 => any::<char>(), 1 => prop::sample::select(vec!['\n', '\t', '\r', '[', '"', '\\'])];
        vec(character, 0..12).prop_map(String::from_iter)
    }

    #[test]
    fn what_a_person_writes_stays_as_it_is() {
        for text in [
            "a\n\tb",
            "añb é😀 👩\u{200d}👩\u{200d}👧",
            "नमस्\u{200d}ते می\u{200c}خواهم",
            "مرحبا שלום",
            "soft\u{ad}hyphen",
            "a\\u{9b}",
        ] {
            assert_eq!(visible(text), text);
            assert_eq!(visible_json(text), text);
        }
    }

    #[test]
    fn what_steers_a_terminal_is_shown_instead() {
        assert_eq!(visible("a\u{1b}[2J\r\n\u{9b}2J\u{7f}"), "a\\u{1b}[2J\\u{d}\n\\u{9b}2J\\u{7f}");
        assert_eq!(visible("abc\u{202e}cba\u{2069}"), "abc\\u{202e}cba\\u{2069}");
        assert_eq!(visible_line("a\n\tb"), "a\\u{a}\\u{9}b");
        assert_eq!(visible_json("{\r\n\"a\": \"\u{9b}\u{e0041}\"}"), "{ \n\"a\": \"\\u009b\\udb40\\udc41\"}");
    }

    #[test]
    fn fuzz_nothing_that_is_shown_acts_on_a_terminal() {
        fuzz("visible", (text(), text()), |(first, second)| {
            let whole = format!("{first}{second}");
            let shown = visible(&whole);
            assert!(!shown.contains(acts), "{shown:?}");
            // A sequence that arrives in two chunks is escaped as well.
            assert_eq!(shown, format!("{}{}", visible(&first), visible(&second)));
            assert_eq!(visible(&shown), shown, "once is enough");
            assert!(whole.contains(acts) || shown == whole);
            let line = visible_line(&whole);
            assert!(
                !line.contains(|character| acts(character) || matches!(character, '\n' | '\t')),
                "{line:?}"
            );
        });
    }

    #[test]
    fn fuzz_json_says_the_same_value() {
        let value = vec(text(), 0..4).prop_map(|texts| serde_json::to_string_pretty(&texts).unwrap());
        fuzz("visible json", prop_oneof![value, json(&["a", "\u{9b}"])], |json| {
            let shown = visible_json(&json);
            assert!(!shown.contains(acts), "{shown:?}");
            let (Ok(value), Ok(shown)) = (json.parse::<Value>(), shown.parse::<Value>()) else {
                // Numbers and unpaired surrogates that `Value` cannot hold.
                assert_eq!(json.parse::<Value>().is_ok(), shown.parse::<Value>().is_ok());
                return;
            };
            assert_eq!(value, shown);
        });
    }
}
