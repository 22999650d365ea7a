//! Makes JSON interoperable (I-JSON, <https://www.rfc-editor.org/rfc/rfc7493>) with the fewest changes of its text.
//!
//! One scan collects the edits, then one copy applies them. Both take linear time and do not recurse, so that no text of a
//! bot can exhaust the processor or the stack.

use std::borrow::Cow;
use std::collections::HashMap;

/// Levels of nesting that [`portable`] keeps: an object or list below the last becomes `null`. The value itself is the first.
pub const LEVELS: usize = 64;
/// Levels of nesting that [`decodable`] looks at: far more than the depth at which answers are searched for.
const DECODABLE_LEVELS: usize = 1024;
/// Up to this many names of an object are compared pairwise; more go into a hash map.
const MAX_PAIRWISE_NAMES: usize = 8;

/// Replaces the escape of an unpaired surrogate, which has the same length.
const REPLACEMENT: &str = "\\ufffd";

/// Changes what JSON decoders refuse: an unpaired surrogate becomes U+FFFD, and of a name that stands twice in an object the
/// last value moves to the position of the first. The result is never longer. `text` has to be JSON.
#[must_use]
pub fn decodable(text: &str) -> Cow<'_, str> {
    rewrite(text, Rules { levels: DECODABLE_LEVELS, portable: false, keeps_halves: false })
}

/// The same, but unpaired surrogates stay in strings that are values: where a text comes in pieces, the other half may begin
/// the next one. JSON decoders refuse these strings until they are joined.
#[must_use]
pub fn joinable(text: &str) -> Cow<'_, str> {
    rewrite(text, Rules { levels: DECODABLE_LEVELS, portable: false, keeps_halves: true })
}

/// Whether the text of a JSON string, without its quotes, ends with the first half of a surrogate pair: an escape of six
/// bytes.
#[must_use]
pub fn ends_with_half(text: &str) -> bool {
    let bytes = text.as_bytes();
    let Some(start) = bytes.len().checked_sub(6) else { return false };
    let backslashes = bytes[..start].iter().rev().take_while(|byte| **byte == b'\\').count();
    matches!(surrogate(bytes, start), Some(Surrogate::Lead)) && backslashes % 2 == 0
}

/// Also changes what only some decoders refuse: a number beyond the range of a double becomes a string with the same digits,
/// and an object or list below [`LEVELS`] levels becomes `null`. The result may be longer by two thirds. `text` has to be
/// JSON.
#[must_use]
pub fn portable(text: &str) -> Cow<'_, str> {
    rewrite(text, Rules { levels: LEVELS, portable: true, keeps_halves: false })
}

fn rewrite(text: &str, rules: Rules) -> Cow<'_, str> {
    let mut scan = Scan { text, rules, open: Vec::new(), members: Vec::new(), edits: Vec::new() };
    scan.run();
    if scan.edits.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(apply(text, scan.edits)) }
}

#[derive(Clone, Copy)]
struct Rules {
    levels: usize,
    /// Apply the rules of [`portable`] too.
    portable: bool,
    /// Leave unpaired surrogates in values.
    keeps_halves: bool,
}

/// A range of the text, in bytes: `start` is included, `end` is not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Span {
    start: usize,
    end: usize,
}

/// One name of an object with its value.
#[derive(Clone, Copy, Default)]
struct Member {
    /// The position of the comma before the name, or of the name without one: an edit that removes the member starts here.
    start: usize,
    name: Span,
    value: Span,
}

/// A replacement of a range of the text.
struct Edit {
    span: Span,
    replacement: Replacement,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Replacement {
    /// Another range of the text, with the edits inside it. Sorts before edits of the range that it replaces.
    Moved(Span),
    /// The same text in quotation marks.
    Quoted,
    Fixed(&'static str),
}

struct Scan<'a> {
    text: &'a str,
    rules: Rules,
    /// For each open object or list: the index in `members` of an object's first member, `None` for a list.
    open: Vec<Option<usize>>,
    /// The members of all open objects, the innermost object's last.
    members: Vec<Member>,
    edits: Vec<Edit>,
}

impl Scan<'_> {
    fn run(&mut self) {
        let bytes = self.text.as_bytes();
        let (mut at, mut comma) = (0, 0);
        // Whether the next string is the value of the current member rather than the name of a new one.
        let mut after_name = false;
        while let Some(&byte) = bytes.get(at) {
            let start = at;
            let in_object = matches!(self.open.last(), Some(Some(_)));
            match byte {
                b',' => (comma, after_name, at) = (at, false, at + 1),
                b':' => (after_name, at) = (true, at + 1),
                b'}' | b']' => {
                    at += 1;
                    if let Some(Some(first)) = self.open.pop() {
                        self.end_object(first);
                    }
                    self.end_value(at);
                }
                b'"' if in_object && !after_name => {
                    at = self.string(start, false);
                    let name = Span { start, end: at };
                    self.members.push(Member { start: comma, name, value: Span::default() });
                }
                b'"' => {
                    self.begin_value(start);
                    at = self.string(start, self.rules.keeps_halves);
                    self.end_value(at);
                }
                b'{' | b'[' if self.open.len() < self.rules.levels => {
                    self.begin_value(start);
                    self.open.push((byte == b'{').then_some(self.members.len()));
                    (after_name, at) = (false, at + 1);
                }
                b'{' | b'[' => {
                    self.begin_value(start);
                    at = end_of_nested(bytes, start);
                    if self.rules.portable {
                        self.edits.push(Edit {
                            span: Span { start, end: at },
                            replacement: Replacement::Fixed("null"),
                        });
                    }
                    self.end_value(at);
                }
                b' ' | b'\t' | b'\n' | b'\r' => at += 1,
                // A number, true, false or null.
                _ => {
                    self.begin_value(start);
                    let is_inside =
                        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
                    at += 1 + bytes[at + 1..].iter().take_while(|byte| is_inside(byte)).count();
                    if self.rules.portable && is_beyond_a_double(&self.text[start..at]) {
                        self.edits
                            .push(Edit { span: Span { start, end: at }, replacement: Replacement::Quoted });
                    }
                    self.end_value(at);
                }
            }
        }
    }

    fn begin_value(&mut self, start: usize) {
        if let (Some(Some(_)), Some(member)) = (self.open.last(), self.members.last_mut()) {
            member.value.start = start;
        }
    }

    fn end_value(&mut self, end: usize) {
        if let (Some(Some(_)), Some(member)) = (self.open.last(), self.members.last_mut()) {
            member.value.end = end;
        }
    }

    /// Adds edits for unpaired surrogates in the string that begins at `start`, unless it keeps them; returns the position
    /// after the string.
    fn string(&mut self, start: usize, keeps_halves: bool) -> usize {
        let bytes = self.text.as_bytes();
        let mut at = start + 1;
        loop {
            at += bytes[at..].iter().take_while(|byte| !matches!(byte, b'"' | b'\\')).count();
            match (bytes.get(at), surrogate(bytes, at)) {
                (Some(b'\\'), Some(Surrogate::Lead))
                    if matches!(surrogate(bytes, at + 6), Some(Surrogate::Trail)) =>
                {
                    at += 12;
                }
                (Some(b'\\'), Some(_)) if keeps_halves => at += 6,
                (Some(b'\\'), Some(_)) => {
                    let span = Span { start: at, end: at + 6 };
                    self.edits.push(Edit { span, replacement: Replacement::Fixed(REPLACEMENT) });
                    at += 6;
                }
                (Some(b'\\'), None) => at += 2,
                _ => return bytes.len().min(at + 1),
            }
        }
    }

    /// Adds edits that remove earlier members of the same name, and drops the object's members from the list.
    fn end_object(&mut self, first: usize) {
        let members = &self.members[first..];
        if may_have_duplicate_names(self.text, members) {
            let mut by_name: HashMap<Cow<'_, str>, (Member, Member)> = HashMap::with_capacity(members.len());
            for &member in members {
                let entry = by_name.entry(decoded(&self.text[member.name.start..member.name.end]));
                let (earliest, latest) = entry.or_insert((member, member));
                if earliest.name != member.name {
                    let span = Span { start: member.start, end: member.value.end };
                    self.edits.push(Edit { span, replacement: Replacement::Fixed("") });
                    *latest = member;
                }
            }
            for (earliest, latest) in by_name.into_values() {
                if earliest.name != latest.name {
                    self.edits
                        .push(Edit { span: earliest.value, replacement: Replacement::Moved(latest.value) });
                }
            }
        }
        self.members.truncate(first);
    }
}

enum Surrogate {
    Lead,
    Trail,
}

/// The surrogate whose escape begins at `at`.
fn surrogate(bytes: &[u8], at: usize) -> Option<Surrogate> {
    let [b'\\', b'u', b'd' | b'D', second, _, _] = bytes.get(at..at + 6)? else { return None };
    match second {
        b'8' | b'9' | b'a' | b'b' | b'A' | b'B' => Some(Surrogate::Lead),
        b'c'..=b'f' | b'C'..=b'F' => Some(Surrogate::Trail),
        _ => None,
    }
}

/// The position after the object or list that begins at `start`.
fn end_of_nested(bytes: &[u8], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0_usize);
    let mut in_string = false;
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'\\' if in_string => at += 1,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => {
                depth -= 1;
                if depth == 0 {
                    break;
                }
            }
            _ => {}
        }
    }
    at
}

fn is_beyond_a_double(written: &str) -> bool {
    /// The largest double has this many digits before its point.
    const DIGITS: usize = 309;
    let may_be_large = written.len() >= DIGITS || written.contains(['e', 'E']);
    may_be_large && written.parse::<f64>().is_ok_and(f64::is_infinite)
}

fn may_have_duplicate_names(text: &str, members: &[Member]) -> bool {
    let written = |member: &Member| &text[member.name.start..member.name.end];
    members.len() > MAX_PAIRWISE_NAMES
        || members.iter().enumerate().any(|(index, member)| {
            let name = written(member);
            members[..index].iter().any(|other| written(other) == name)
                // With escapes the same name can be written in several ways.
                || (members.len() > 1 && name.contains('\\'))
        })
}

/// The name in a JSON string.
fn decoded(written: &str) -> Cow<'_, str> {
    if !written.contains('\\') {
        return Cow::Borrowed(written.trim_matches('"'));
    }
    serde_json::from_str(&decodable(written)).map_or(Cow::Borrowed(written), Cow::Owned)
}

fn apply(text: &str, mut edits: Vec<Edit>) -> String {
    edits.sort_unstable_by(|one, other| {
        (one.span.start, &one.replacement).cmp(&(other.span.start, &other.replacement))
    });
    let mut applied = String::with_capacity(text.len());
    let mut rest = Span { start: 0, end: text.len() };
    // What remains of the outer ranges while a moved range is copied.
    let mut outer_rests = Vec::new();
    loop {
        let next = edits.partition_point(|edit| edit.span.start < rest.start);
        let Some(Edit { span, replacement }) = edits.get(next).filter(|edit| edit.span.start < rest.end)
        else {
            applied.push_str(&text[rest.start..rest.end]);
            match outer_rests.pop() {
                Some(outer) => rest = outer,
                None => return applied,
            }
            continue;
        };
        applied.push_str(&text[rest.start..span.start]);
        rest.start = span.end;
        match replacement {
            Replacement::Fixed(fixed) => applied.push_str(fixed),
            Replacement::Quoted => {
                applied.push('"');
                applied.push_str(&text[span.start..span.end]);
                applied.push('"');
            }
            Replacement::Moved(from) => {
                outer_rests.push(rest);
                rest = *from;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_str};

    use super::*;

    #[test]
    fn what_any_reader_takes_stays_as_it_is() {
        for text in [
            "null",
            "-0",
            "\"\\ud83d\\ude00 \\u0000 \\\\ud83d \\/ \u{2028}\u{ffff}\"",
            r#" {"b" : 1.0, "a":[1e2, -0.0, 1E+2], "\u0061b": 123456789012345678901234567890} "#,
            "[1.7976931348623157e308, 1e-999, 0e999, 4.9e-324]",
            &format!("[{}]", "9".repeat(308)),
            r#"{"a":{"a":{"a":1}},"b":{"a":2},"c":[{"a":3},{"a":4}]}"#,
        ] {
            assert!(from_str::<Value>(text).is_ok(), "{text}");
            assert_eq!((portable(text), decodable(text)), (text.into(), text.into()));
        }
    }

    #[test]
    fn half_a_surrogate_pair_is_replaced() {
        for (text, expected) in [
            (r#""\ud83d""#, r#""\ufffd""#),
            (r#""a\uDE00b""#, r#""a\ufffdb""#),
            (r#""\ud83d\ud83d\ude00\ude00""#, r#""\ufffd\ud83d\ude00\ufffd""#),
            (r#""\ud83d\n\ude00""#, r#""\ufffd\n\ufffd""#),
            (r#""\\\ud83d""#, r#""\\\ufffd""#),
            (r#"{"\ud83d":1}"#, r#"{"\ufffd":1}"#),
        ] {
            assert_eq!((portable(text), decodable(text)), (expected.into(), expected.into()));
            assert!(from_str::<Value>(text).is_err() && from_str::<Value>(expected).is_ok());
        }
    }

    #[test]
    fn in_a_piece_of_a_text_half_a_pair_stays() {
        let text = r#"{"\ud83d":1,"a":"x","a":["\ude00 \ud83d"],"b":"\\\ud83d"}"#;
        assert_eq!(joinable(text), r#"{"\ufffd":1,"a":["\ude00 \ud83d"],"b":"\\\ud83d"}"#);
        for (text, ends) in [
            (r"\ud83d", true),
            (r"x\uDBFF", true),
            (r"\\ud83d", false),
            (r"\\\ud83d", true),
            (r"\ude00", false),
            ("", false),
        ] {
            assert_eq!(ends_with_half(text), ends, "{text}");
        }
    }

    #[test]
    fn of_a_name_that_stands_twice_the_last_value_stands_in_the_first_place() {
        for (text, expected) in [
            (r#"{"a":1,"b":2,"a":3}"#, r#"{"a":3,"b":2}"#),
            (r#"{ "a" : 1 , "\u0061" :2 , "a": [ 3 ] , "b":4 }"#, r#"{ "a" : [ 3 ]   , "b":4 }"#),
            (r#"{"a":{"a":1,"a":2},"a":{"a":3,"b":4,"a":5}}"#, r#"{"a":{"a":5,"b":4}}"#),
            (r#"[{"a":1,"a":[{"b":1,"b":2}],"a":[{"c":1,"c":2}]}]"#, r#"[{"a":[{"c":2}]}]"#),
            (r#"{"\ud83d":1,"\udead":2,"\ufffd":3}"#, r#"{"\ufffd":3}"#),
            (r#"{"":1,"":1}"#, r#"{"":1}"#),
            (
                r#"{"1":1,"2":2,"3":3,"4":4,"5":5,"6":6,"7":7,"8":8,"9":9,"1":0}"#,
                r#"{"1":0,"2":2,"3":3,"4":4,"5":5,"6":6,"7":7,"8":8,"9":9}"#,
            ),
        ] {
            assert_eq!((portable(text), decodable(text)), (expected.into(), expected.into()));
        }
    }

    #[test]
    fn a_number_beyond_a_double_is_the_string_that_was_written() {
        let large = "9".repeat(309);
        for number in ["1e999", "-1E+400", "1.7976931348623159e308", "0.1e310", large.as_str()] {
            let text = format!(r#"{{"n": {number} ,"s":"{number}"}}"#);
            assert_eq!(portable(&text), format!(r#"{{"n": "{number}" ,"s":"{number}"}}"#));
            assert_eq!(decodable(&text), text);
        }
    }

    #[test]
    fn what_lies_below_64_levels_is_null() {
        let nested = |levels, inside: &str| format!("{}{inside}{}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(portable(&nested(64, "1")), nested(64, "1"));
        for below in ["[]", "{}", r#"{"a":"]}\"]","b":[[]]}"#, &nested(100_000, "1")] {
            assert_eq!(portable(&nested(64, below)), nested(64, "null"));
            let beside = format!("1, {below} ,\"x\"");
            assert_eq!(portable(&nested(64, &beside)), nested(64, "1, null ,\"x\""));
        }
        let objects =
            |levels, inside: &str| format!("{}{inside}{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
        assert_eq!(portable(&objects(65, "1")), objects(64, "null"));
    }

    /// With quadratic time each of these would take minutes, and with recursion it would overflow the stack.
    #[test]
    fn a_large_text_takes_no_longer_than_its_size() {
        const SIZE: usize = 2 << 20;
        let repeated = |text: &str| text.repeat(SIZE / text.len());
        let nested = |open: &str, close: &str| {
            let times = SIZE / (open.len() + close.len());
            format!("{}1{}", open.repeat(times), close.repeat(times))
        };
        for text in [
            nested("[", "]"),
            nested(r#"{"a":0,"a":"#, "}"),
            nested(r#"{"a":"#, r#","a":0}"#),
            format!("{{{}\"\":0}}", repeated(r#""":1e999,"#)),
            format!("{{{}\"\":0}}", (0..SIZE / 8).map(|n| format!("\"{n}\":0,")).collect::<String>()),
            format!("[{}0]", repeated(r#""\ud83d","#)),
            format!("[{}0]", repeated("1e999,")),
            format!("\"{}\"", repeated(r"\ud83d")),
            format!("-{}", repeated("1")),
            nested("[", "]").replace('1', &nested(r#"{"a":"#, "}")),
        ] {
            let read = decodable(&text);
            assert!(read.len() <= text.len());
            let portable = portable(&text);
            assert!(portable.len() <= text.len() * 5 / 3);
            assert!(from_str::<Value>(&portable).is_ok(), "{}", &portable[..100]);
        }
    }
}
