//! Bodies without the values that differ from run to run.

use uuid::Uuid;

/// The body as it is, with a word in the place of every id, time and session that the server made up. A time or a
/// session that is not written as all others fails the test.
#[track_caller]
pub fn redacted(json: &str) -> String {
    let (mut redacted, mut name, mut rest) = (String::new(), "", json);
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '"' => string_end(rest),
            '0'..='9' | '-' => rest.find([',', '}', ']', ' ']).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        let (token, after) = rest.split_at(end);
        rest = after;
        if first == '"' && rest.trim_start().starts_with(':') {
            name = &token[1..token.len() - 1];
            redacted.push_str(token);
        } else {
            redacted.push_str(&value(name, token));
        }
    }
    redacted
}

/// Where the string ends that the text begins with; the text's end where it has none.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (index, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            b'"' if !escaped => return index + 1,
            b'\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

/// What is shown of the value that the field of this name has.
#[track_caller]
fn value(name: &str, token: &str) -> String {
    let number = |text: &str| text.parse::<i64>().is_ok();
    let is_id = matches!(
        name,
        "id" | "conversationId" | "conversation_id" | "question_id" | "message_ids" | "replyTo"
    );
    match token.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        None if is_id && number(token) => "<id>".into(),
        Some(text) if matches!(name, "createdAt" | "updatedAt" | "created_at" | "updated_at" | "at") => {
            assert!(is_time(text), "{name} is no time: {text}");
            "\"<time>\"".into()
        }
        Some(text) if name == "session_id" => {
            assert!(Uuid::try_parse(text).is_ok_and(|session| session.to_string() == text), "{text}");
            "\"<session>\"".into()
        }
        Some(text) if name == "userId" && number(text.trim_start_matches("key-")) => "\"<caller>\"".into(),
        Some(text) if is_id && number(text) => "\"<id>\"".into(),
        // What the server itself makes up for an answer; what a bot sends is of another version.
        Some(text) if name == "id" && Uuid::try_parse(text).is_ok_and(|id| id.get_version_num() == 5) => {
            "\"<uuid>\"".into()
        }
        Some(text) if text.strip_prefix("website-").is_some_and(number) => "\"website-<id>\"".into(),
        _ => token.into(),
    }
}

/// `2025-07-14T05:13:36.351+00:00`
fn is_time(text: &str) -> bool {
    let digits = text.replace(|c: char| c.is_ascii_digit(), "0");
    digits == "0000-00-00T00:00:00.000+00:00" && text.ends_with("+00:00")
}

#[test]
fn what_differs_from_run_to_run_becomes_a_word_and_nothing_else_changes() {
    let json = r#"{"id":"7", "n":7,"replyTo":null,"session_id":"1309c142-3535-45b2-acdf-8bfbe59c3b9a",
        "text":"a \"id\":7, b","createdAt":"2025-07-14T05:13:36.351+00:00","userId":"key-3","room":"website-12"}"#;
    let shown = r#"{"id":"<id>", "n":7,"replyTo":null,"session_id":"<session>",
        "text":"a \"id\":7, b","createdAt":"<time>","userId":"<caller>","room":"website-<id>"}"#;
    assert_eq!(redacted(json), shown);
}
