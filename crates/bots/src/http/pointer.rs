//! JSON Pointer (RFC 6901) over JSON that keeps its text.

use std::collections::VecDeque;
use std::fmt;

use wicara_model::{Json, Object};

/// Bounds of [`Pointer::places_of_texts`]: texts that are named, what is looked through for them, and names that are shown.
const MAX_TEXTS: usize = 8;
const MAX_LEVELS: usize = 5;
const MAX_FIELDS: usize = 32;
const MAX_NAME_BYTES: usize = 32;
const MAX_NAME_DIGITS: usize = 3;

/// Points to one value of a JSON document, such as `/data/message`. Empty for the whole document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer(Vec<String>);

impl Pointer {
    /// The error is a sentence for the operator.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some(tokens) = text.strip_prefix('/') else {
            return match text {
                "" => Ok(Self(Vec::new())),
                _ => Err(format!(
                    "found {text:?}; a JSON Pointer begins with /, or is empty for the whole body"
                )),
            };
        };
        tokens.split('/').map(unescape).collect::<Option<_>>().map(Self).ok_or_else(|| {
            format!(
                "found {text:?}; in a JSON Pointer ~0 stands for ~ and ~1 for /, nothing else follows a ~"
            )
        })
    }

    /// The value with its exact text; `None` if the document has no such value.
    ///
    /// Each value before it is checked, with the name that is followed and the value there. The first error ends the search.
    pub fn resolve<E>(
        &self,
        document: &Json,
        check: impl Fn(&Json, &str, Option<&Json>) -> Result<(), E>,
    ) -> Result<Option<Json>, E> {
        let mut value = document.clone();
        for name in &self.0 {
            let next = child(&value, name);
            check(&value, name, next.as_ref())?;
            let Some(next) = next else { return Ok(None) };
            value = next;
        }
        Ok(Some(value))
    }

    /// The places of texts in a document, outermost first, for an operator who looks for the right pointer: at most
    /// eight. Of a list its first entry stands for all. A name that may be data itself, such as a question or a person's
    /// number, is shown as `…`.
    #[must_use]
    pub fn places_of_texts(document: &Json) -> Vec<String> {
        let mut found = Vec::new();
        let mut waiting = VecDeque::from([(String::new(), 0, document.clone())]);
        while let Some((place, level, value)) = waiting.pop_front()
            && found.len() < MAX_TEXTS
        {
            if value.as_str().starts_with('"') {
                if !found.contains(&place) {
                    found.push(place);
                }
            } else if level < MAX_LEVELS {
                waiting.extend(first_children(&value).map(|(name, value)| {
                    (format!("{place}/{}", if is_plain(&name) { &name } else { "…" }), level + 1, value)
                }));
            }
        }
        found
    }
}

/// Whether a field's name can only be that: short, and with few digits.
fn is_plain(name: &str) -> bool {
    let digits = name.bytes().filter(u8::is_ascii_digit).count();
    name.len() <= MAX_NAME_BYTES
        && digits <= MAX_NAME_DIGITS
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|token| write!(f, "/{}", token.replace('~', "~0").replace('/', "~1")))
    }
}

fn unescape(token: &str) -> Option<String> {
    let mut segments = token.split('~');
    let mut name = segments.next()?.to_owned();
    for segment in segments {
        name.push(match segment.chars().next()? {
            '0' => '~',
            '1' => '/',
            _ => return None,
        });
        name.push_str(&segment[1..]);
    }
    Some(name)
}

/// The fields of an object, or the first entry of a list.
fn first_children(value: &Json) -> impl Iterator<Item = (String, Json)> {
    let object = serde_json::from_str::<Object>(value.as_str()).unwrap_or_default();
    let fields: Vec<_> =
        object.iter().take(MAX_FIELDS).map(|(name, value)| (name.to_owned(), value.clone())).collect();
    let entry = child(value, "0").filter(|_| value.as_str().starts_with('['));
    fields.into_iter().chain(entry.map(|entry| ("0".to_owned(), entry)))
}

fn child(value: &Json, token: &str) -> Option<Json> {
    let text = value.as_str();
    match text.as_bytes().first()? {
        b'{' => serde_json::from_str::<Object>(text).ok()?.get(token).cloned(),
        b'[' => {
            let leading_zero = token.len() > 1 && token.starts_with('0');
            if leading_zero || !token.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            let index: usize = token.parse().ok()?;
            serde_json::from_str::<Vec<Json>>(text).ok()?.into_iter().nth(index)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn resolve(pointer: &str, document: &str) -> Option<String> {
        let document = Json::parse(document.to_owned()).unwrap();
        let found = Pointer::parse(pointer).unwrap().resolve(&document, |_, _, _| Ok::<_, ()>(()));
        found.unwrap().map(|value| value.as_str().to_owned())
    }

    #[test]
    fn the_places_of_texts_are_named() {
        for (document, expected) in [
            (r#"{"data":{"answer":"a","n":1},"status":"b"}"#, "/status /data/answer"),
            (r#"[{"text":"a"},{"other":"b"}]"#, "/0/text"),
            (r#"{"a/b":{"~":"a"}}"#, "/…/…"),
            (
                r#"{"":"a","session-id":"a","Berapa?":"a","nama kecil":"a","v1":{"text_2":"a"}}"#,
                "/ /session-id /… /v1/text_2",
            ),
            (r#"{"628123":"a","2024-01":"b","x":{"00000000-0000-4000-8000-000000000001":"c"}}"#, "/… /x/…"),
            (
                r#"{"abcdefghijklmnopqrstuvwxyzabcdef":"a","abcdefghijklmnopqrstuvwxyzabcdefg":"a"}"#,
                "/abcdefghijklmnopqrstuvwxyzabcdef /…",
            ),
            (r#"{"a":[],"b":null,"c":[5,"x"]}"#, ""),
            (r#"{"a":{"a":{"a":{"a":{"a":{"a":"too deep"}}}}}}"#, ""),
        ] {
            let document = Json::parse(document.to_owned()).unwrap();
            assert_eq!(Pointer::places_of_texts(&document).join(" "), expected, "{document:?}");
        }
    }

    #[test]
    fn a_pointer_finds_the_exact_text() {
        let document = r#" {"a": [ {"z":1.0, "a":1e2}, "x" ], "": 1, "m~n": 2, "o/p": 3, "a b": null} "#;
        for (pointer, expected) in [
            ("", Some(document.trim())),
            ("/a/0", Some(r#"{"z":1.0, "a":1e2}"#)),
            ("/a/0/z", Some("1.0")),
            ("/a/1", Some("\"x\"")),
            ("/", Some("1")),
            ("/m~0n", Some("2")),
            ("/o~1p", Some("3")),
            ("/a b", Some("null")),
            ("/a/2", None),
            ("/a/-", None),
            ("/a/00", None),
            ("/a/+1", None),
            ("/a/", None),
            ("/b", None),
            ("/a b/c", None),
        ] {
            assert_eq!(resolve(pointer, document).as_deref(), expected, "{pointer}");
        }
        assert_eq!(resolve("/0", "[5]").as_deref(), Some("5"));
    }

    #[test]
    fn each_value_on_the_way_is_checked() {
        let document = Json::parse(r#"{"a":[{"b":"x"}]}"#.to_owned()).unwrap();
        for (pointer, expected) in [
            ("", ""),
            ("/a/0/b", r#"{"a":[{"b":"x"}]}>a [{"b":"x"}]>0 {"b":"x"}>b=x"#),
            ("/a/1/b", r#"{"a":[{"b":"x"}]}>a [{"b":"x"}]>1"#),
        ] {
            let seen = RefCell::new(Vec::new());
            let check = |value: &Json, name: &str, next: Option<&Json>| {
                let text = next.and_then(Json::string).map(|text| format!("={text}")).unwrap_or_default();
                seen.borrow_mut().push(format!("{}>{name}{text}", value.as_str()));
                Ok::<_, ()>(())
            };
            Pointer::parse(pointer).unwrap().resolve(&document, check).unwrap();
            assert_eq!(seen.into_inner().join(" "), expected);
        }
        let refused = Pointer::parse("/a/0").unwrap().resolve(&document, |_, name, _| Err(name.to_owned()));
        assert_eq!(refused, Err("a".to_owned()));
    }

    #[test]
    fn a_malformed_pointer_is_refused() {
        for text in ["data", "data/message", " /a", "/a~", "/a~2", "/~é", "#/a"] {
            assert!(Pointer::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_pointer_is_shown_as_it_was_written() {
        for text in ["", "/", "/data/message", "/m~0n/o~1p"] {
            assert_eq!(Pointer::parse(text).unwrap().to_string(), text);
        }
    }
}
