//! Answers as they go over the wire: compared with the documents' examples, and laid out for snapshots.

use serde_json::Value;
use uuid::Uuid;

use crate::support::{Answer, Client};

/// A person, or one of the two kinds of program.
pub type Caller = (&'static str, Client);

/// A document's example as JSON: without its comments and its commas before a closing bracket.
pub fn example(text: &str) -> Value {
    let without_comments: Vec<_> =
        text.lines().map(|line| line.split_once(" //").map_or(line, |(json, _)| json)).collect();
    let mut json = String::new();
    for part in without_comments.join("\n").split_inclusive(['}', ']']) {
        let (inside, bracket) = part.split_at(part.len() - 1);
        match inside.trim_end().strip_suffix(',') {
            Some(inside) if bracket == "}" || bracket == "]" => json.extend([inside, bracket]),
            _ => json.push_str(part),
        }
    }
    serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"))
}

/// Fails unless the answer has every field of the example, with its JSON type and, where it is no id and no time,
/// its value. The answer may have more fields.
#[track_caller]
pub fn assert_documented(answer: &Value, documented: &str) {
    compare("", answer, &example(documented));
}

#[track_caller]
fn compare(path: &str, answer: &Value, documented: &Value) {
    match (answer, documented) {
        (Value::Object(answer), Value::Object(documented)) => {
            for (name, documented) in documented {
                let found =
                    answer.get(name).unwrap_or_else(|| panic!("{path}/{name} is missing: {answer:?}"));
                compare(&format!("{path}/{name}"), found, documented);
            }
        }
        (Value::Array(answer), Value::Array(documented)) => {
            assert_eq!(answer.len(), documented.len(), "{path}");
            for (index, (answer, documented)) in answer.iter().zip(documented).enumerate() {
                compare(&format!("{path}/{index}"), answer, documented);
            }
        }
        _ if is_free(path.rsplit('/').next().unwrap()) => {
            let same_type = std::mem::discriminant(answer) == std::mem::discriminant(documented);
            assert!(same_type, "{path}: {answer} is of another type than {documented}");
        }
        _ => assert_eq!(answer, documented, "{path}"),
    }
}

/// Whether a field is an id or a time: its value is the server's.
fn is_free(name: &str) -> bool {
    matches!(name, "id" | "conversationId" | "conversation_id" | "session_id" | "replyTo") || is_time(name)
}

fn is_time(name: &str) -> bool {
    matches!(name, "createdAt" | "updatedAt" | "created_at" | "updated_at" | "at")
}

/// A body laid out over lines, its fields in the order in which they were sent, with a word in the place of every
/// id, time and session.
#[track_caller]
pub fn shown(answer: &Answer) -> String {
    lay_out(&answer.text)
}

#[track_caller]
fn lay_out(json: &str) -> String {
    let (mut shown, mut name, mut depth) = (String::new(), "", 0);
    let new_line = |shown: &mut String, depth: usize| {
        shown.push('\n');
        shown.push_str(&"  ".repeat(depth));
    };
    let mut rest = json.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '"' => string_end(rest),
            '{' | '}' | '[' | ']' | ',' | ':' => 1,
            _ => rest.find([',', '}', ']', ' ']).unwrap_or(rest.len()),
        };
        let (token, after) = rest.split_at(end);
        rest = after.trim_start();
        match token {
            "{" | "[" => {
                shown.push_str(token);
                if rest.starts_with(['}', ']']) {
                    shown.push_str(&rest[..1]);
                    rest = rest[1..].trim_start();
                } else {
                    depth += 1;
                    new_line(&mut shown, depth);
                }
            }
            "}" | "]" => {
                depth -= 1;
                new_line(&mut shown, depth);
                shown.push_str(token);
            }
            "," => {
                shown.push(',');
                new_line(&mut shown, depth);
            }
            ":" => shown.push_str(": "),
            _ if rest.starts_with(':') => {
                name = &token[1..token.len() - 1];
                shown.push_str(token);
            }
            _ => shown.push_str(&redacted(name, token)),
        }
    }
    shown
}

/// Where the string ends that the text begins with.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (index, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            b'"' if !escaped => return index + 1,
            b'\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    panic!("a string without an end: {text}")
}

#[track_caller]
fn redacted(name: &str, token: &str) -> String {
    let number = |text: &str| text.parse::<i64>().is_ok();
    match token.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        None if is_free(name) && number(token) => "<id>".into(),
        Some(text) if is_time(name) => {
            assert!(is_shown_time(text), "{name} is no time: {text}");
            "\"<time>\"".into()
        }
        Some(text) if name == "session_id" => {
            assert!(Uuid::try_parse(text).is_ok_and(|session| session.to_string() == text), "{text}");
            "\"<session>\"".into()
        }
        Some(text) if name == "userId" && number(text.trim_start_matches("key-")) => "\"<caller>\"".into(),
        Some(text) if is_free(name) && number(text) => "\"<id>\"".into(),
        // What the server itself makes up for an answer; what a bot sends is of another version.
        Some(text) if name == "id" && Uuid::try_parse(text).is_ok_and(|id| id.get_version_num() == 5) => {
            "\"<uuid>\"".into()
        }
        Some(text) if text.strip_prefix("website-").is_some_and(number) => "\"website-<id>\"".into(),
        _ => token.into(),
    }
}

/// `2025-07-14T05:13:36.351+00:00`
fn is_shown_time(text: &str) -> bool {
    let digits = text.replace(|c: char| c.is_ascii_digit(), "0");
    digits == "0000-00-00T00:00:00.000+00:00" && text.ends_with("+00:00")
}

/// A snapshot of a whole body, the same whatever the engine and the caller.
macro_rules! assert_wire_snapshot {
    ($answer:expr, @$snapshot:literal) => {{
        let shown = $crate::http::wire::shown($answer);
        insta::allow_duplicates! { insta::assert_snapshot!(shown, @$snapshot) }
    }};
}
pub(super) use assert_wire_snapshot;

/// Fails unless the answer has this status and, byte for byte, this body.
#[track_caller]
pub fn assert_body(answer: &Answer, status: u16, body: &str) {
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (status, body));
}

/// The id of what an answer is about, as a number.
#[track_caller]
pub fn id(answer: &Value) -> i64 {
    let id = &answer["data"]["id"];
    id.as_i64().unwrap_or_else(|| id.as_str().unwrap_or_else(|| panic!("no id: {answer}")).parse().unwrap())
}

/// The fields of a list's entries, in their order.
pub fn column<'a>(answer: &'a Value, name: &str) -> Vec<&'a Value> {
    answer["data"].as_array().unwrap().iter().map(|entry| &entry[name]).collect()
}

#[test]
fn an_example_loses_its_comments_and_last_commas() {
    let text = "{\n  \"a\":\"x, y\", // why\n  \"b\":[1,2,], \n  \"c\":{},\n}";
    assert_eq!(example(text), serde_json::json!({"a": "x, y", "b": [1, 2], "c": {}}));
}
