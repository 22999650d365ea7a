//! Reads what is nearly JSON, as programs write it that put it together themselves: `NaN`, `None`, raw control characters and
//! wrong escapes in strings, commas too many, byte order marks between values.
//!
//! One scan copies token by token and checks nothing but tokens: whether the result is JSON, a JSON parser decides. It takes
//! linear time and does not recurse.

/// The text with what JSON forbids replaced or left out; `None` where it has a token that stands for nothing in JSON.
#[must_use]
pub fn repaired(text: &str) -> Option<String> {
    let mut repaired = String::with_capacity(text.len() + 16);
    let mut rest = text;
    // A comma is copied once a value or name follows.
    let mut has_comma = false;
    while let Some(first) = rest.chars().next() {
        let behind = &rest[first.len_utf8()..];
        match first {
            ',' => (has_comma, rest) = (true, behind),
            '}' | ']' => {
                has_comma = false;
                repaired.push(first);
                rest = behind;
            }
            first if is_noise(first) => {
                if !has_comma {
                    repaired.push(' ');
                }
                rest = behind;
            }
            _ => {
                if std::mem::take(&mut has_comma) {
                    repaired.push(',');
                }
                rest = match first {
                    '"' => copy_string(behind, &mut repaired)?,
                    '{' | '[' | ':' => {
                        repaired.push(first);
                        behind
                    }
                    _ => copy_word(rest, &mut repaired)?,
                };
            }
        }
    }
    Some(repaired)
}

/// Whether a character means nothing outside of strings.
#[must_use]
pub fn is_noise(sign: char) -> bool {
    sign.is_whitespace() || sign.is_control() || sign == '\u{feff}'
}

/// Copies a string behind its first quotation mark; returns what follows it.
fn copy_string<'a>(rest: &'a str, repaired: &mut String) -> Option<&'a str> {
    repaired.push('"');
    let mut signs = rest.char_indices();
    while let Some((at, sign)) = signs.next() {
        match sign {
            '"' => {
                repaired.push('"');
                return Some(&rest[at + 1..]);
            }
            '\\' => match rest[at + 1..].chars().next()? {
                // JavaScript's.
                '\'' => {}
                escape @ ('"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't') => {
                    repaired.extend(['\\', escape]);
                    signs.next();
                }
                'u' if is_hex(rest.get(at + 2..at + 6)) => repaired.push('\\'),
                // A backslash that the text itself holds, as a formula does.
                _ => repaired.push_str("\\\\"),
            },
            control if control < ' ' => repaired.push_str(&format!("\\u{:04x}", u32::from(control))),
            sign => repaired.push(sign),
        }
    }
    None
}

fn is_hex(digits: Option<&str>) -> bool {
    digits.is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

/// Copies a word or number; returns what follows it.
fn copy_word<'a>(rest: &'a str, repaired: &mut String) -> Option<&'a str> {
    let is_inside = |sign: char| sign.is_ascii_alphanumeric() || matches!(sign, '+' | '-' | '.' | '_');
    let (word, behind) = rest.split_at(rest.find(|sign| !is_inside(sign)).unwrap_or(rest.len()));
    let is_number = |word: &str| word.starts_with(|first: char| !first.is_ascii_alphabetic() && first != '_');
    repaired.push_str(match word.trim_start_matches(['+', '-']).to_ascii_lowercase().as_str() {
        "true" => "true",
        "false" => "false",
        "null" | "none" | "nil" | "undefined" | "nan" | "inf" | "infinity" => "null",
        _ if word.is_empty() || !is_number(word) => return None,
        _ if serde_json::from_str::<&serde_json::value::RawValue>(word).is_ok() => word,
        _ => "null",
    });
    Some(behind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_nearly_json_becomes_json() {
        for (text, expected) in [
            (
                r#"{"a":NaN,"b":-Infinity,"c":[None, True,undefined]}"#,
                r#"{"a":null,"b":null,"c":[null,true,null]}"#,
            ),
            ("{\"a\":\"x\ty\nz\u{1}\"}", r#"{"a":"x\u0009y\u000az\u0001"}"#),
            (r#"{"a":"\x \' \u12 \( \\x \u00e9"}"#, r#"{"a":"\\x ' \\u12 \\( \\x \u00e9"}"#),
            (r#"[{"a":1,},{"b":[2,]},]"#, r#"[{"a":1},{"b":[2]}]"#),
            ("\u{feff}\0{\u{feff}\"a\":1}\0", "  { \"a\":1} "),
            ("[.5,+1,01,1.5e3,-0]", "[null,null,null,1.5e3,-0]"),
            ("[1 2]", "[1 2]"),
            ("\"caf\u{e9} \u{1f600}\\\u{1f600}\"", "\"caf\u{e9} \u{1f600}\\\\\u{1f600}\""),
        ] {
            assert_eq!(repaired(text).as_deref(), Some(expected), "{text}");
        }
        for text in ["{\"a\":\"x", "[DONE]", "{a:1}", "{'a':1}", "\"a\\", "\u{1f600}", "{\"a\":1};"] {
            assert_eq!(repaired(text), None, "{text}");
        }
    }
}
