//! JSON Pointer (RFC 6901) over JSON that keeps its text.

use std::collections::VecDeque;
use std::fmt;

use wicara_model::{Json, Object};

/// Bounds of [`Pointer::to_texts`]: texts that are named, and what is looked through for them.
const MAX_TEXTS: usize = 8;
const MAX_LEVELS: usize = 5;
const MAX_FIELDS: usize = 32;

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

    /// Whether it points to the whole document.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value with its exact text; `None` if the document has no such value.
    #[must_use]
    pub fn resolve(&self, document: &Json) -> Option<Json> {
        let Some((first, rest)) = self.0.split_first() else { return Some(document.clone()) };
        rest.iter().try_fold(child(document, first)?, |value, token| child(&value, token))
    }

    /// The places of texts in a document, outermost first, for an operator who looks for the right pointer: at most
    /// eight. Of a list its first entry stands for all.
    #[must_use]
    pub fn to_texts(document: &Json) -> Vec<Self> {
        let mut found = Vec::new();
        let mut waiting = VecDeque::from([(Self(Vec::new()), document.clone())]);
        while let Some((pointer, value)) = waiting.pop_front()
            && found.len() < MAX_TEXTS
        {
            if value.as_str().starts_with('"') {
                found.push(pointer);
            } else if pointer.0.len() < MAX_LEVELS {
                waiting.extend(first_children(&value).map(|(token, value)| {
                    let tokens = pointer.0.iter().cloned().chain([token]).collect();
                    (Self(tokens), value)
                }));
            }
        }
        found
    }
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
    use super::*;

    fn resolve(pointer: &str, document: &str) -> Option<String> {
        let document = Json::parse(document.to_owned()).unwrap();
        Pointer::parse(pointer).unwrap().resolve(&document).map(|value| value.as_str().to_owned())
    }

    #[test]
    fn the_places_of_texts_are_named() {
        for (document, expected) in [
            (r#"{"data":{"answer":"a","n":1},"status":"b"}"#, "/status /data/answer"),
            (r#"[{"text":"a"},{"other":"b"}]"#, "/0/text"),
            (r#"{"a/b":{"~":"a"}}"#, "/a~1b/~0"),
            (r#"{"a":[],"b":null,"c":[5,"x"]}"#, ""),
            (r#"{"a":{"a":{"a":{"a":{"a":{"a":"too deep"}}}}}}"#, ""),
        ] {
            let document = Json::parse(document.to_owned()).unwrap();
            let found: Vec<_> = Pointer::to_texts(&document).iter().map(Pointer::to_string).collect();
            assert_eq!(found.join(" "), expected, "{document:?}");
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
