//! JSON that is kept as the text it came in: same order, same spacing, same numbers.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::error::Category;
use serde_json::value::RawValue;

use crate::{interoperable, lenient};

/// Describes a JSON error for the log, without serde's message: that one may quote the JSON, and so text of users.
#[must_use]
pub fn fault(error: &serde_json::Error) -> String {
    let description = match error.classify() {
        Category::Data => "another value than expected",
        Category::Eof => "a text that breaks off",
        Category::Syntax | Category::Io => "no JSON",
    };
    format!("{description}, at line {} column {}", error.line(), error.column())
}

/// A JSON value as its exact text.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Json(Box<RawValue>);

impl Json {
    /// Parses one JSON value. White space around it is dropped.
    pub fn parse(text: String) -> Result<Self, serde_json::Error> {
        serde_json::from_str::<&RawValue>(&text).map(|raw| Self(raw.to_owned()))
    }

    /// Parses one JSON value of a bot, and repairs what JSON decoders refuse: see [`interoperable::decodable`]. What is no
    /// JSON is read as [`lenient::repaired`] does; the error is of its text as it came.
    pub fn decodable(text: &str) -> Result<Self, serde_json::Error> {
        Self::repaired(text, interoperable::decodable)
    }

    /// Parses one piece of a text that comes in several: see [`interoperable::joinable`].
    pub fn joinable(text: &str) -> Result<Self, serde_json::Error> {
        Self::repaired(text, interoperable::joinable)
    }

    fn repaired(text: &str, repair: fn(&str) -> Cow<'_, str>) -> Result<Self, serde_json::Error> {
        let json = match serde_json::from_str::<&RawValue>(text) {
            Ok(raw) => Cow::Borrowed(raw),
            Err(error) => match lenient::repaired(text).map(RawValue::from_string) {
                Some(Ok(raw)) => Cow::Owned(raw),
                _ => return Err(error),
            },
        };
        let raw: &RawValue = &json;
        match repair(raw.get()) {
            Cow::Borrowed(_) => Ok(Self(raw.to_owned())),
            Cow::Owned(text) => Self::parse(text),
        }
    }

    /// Changes what some JSON decoders refuse: see [`interoperable::portable`].
    pub fn portable(self) -> Result<Self, serde_json::Error> {
        match interoperable::portable(self.as_str()) {
            Cow::Borrowed(_) => Ok(self),
            Cow::Owned(text) => Self::parse(text),
        }
    }

    /// Serialises plain data: nothing that can fail, such as a map whose keys are no strings.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Self {
        Self(serde_json::value::to_raw_value(value).expect("plain data serialises"))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// The value as a string, where it is one.
    #[must_use]
    pub fn string(&self) -> Option<String> {
        serde_json::from_str(self.0.get()).ok()
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

/// A JSON object whose fields keep their order and their exact text.
///
/// Of a name that stands twice the last value counts, as in JavaScript.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Object {
    fields: Vec<(String, Json)>,
    /// The index in `fields` by name: a bot may send any number of fields, and a search through all would be quadratic.
    indexes: HashMap<String, usize>,
}

impl Object {
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Json> {
        self.indexes.get(name).map(|&index| &self.fields[index].1)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Json)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Replaces the value of a field, which keeps its position, or adds the field at the end.
    pub fn set(&mut self, name: &str, value: Json) {
        match self.indexes.get(name) {
            Some(&index) => self.fields[index].1 = value,
            None => {
                self.indexes.insert(name.to_owned(), self.fields.len());
                self.fields.push((name.to_owned(), value));
            }
        }
    }

    /// Adds the field at the end unless there is one of the name.
    pub fn or_insert(&mut self, name: &str, value: impl FnOnce() -> Json) {
        if !self.indexes.contains_key(name) {
            self.set(name, value());
        }
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.fields.len()))?;
        for (name, value) in &self.fields {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut object = Object::default();
                while let Some((name, value)) = map.next_entry::<String, Json>()? {
                    object.set(&name, value);
                }
                Ok(object)
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bots_json_may_be_nearly_that() {
        let odd = "\u{feff}{\"a\":NaN,\"b\":[\"\\ud83d\t\",],}\0";
        assert_eq!(Json::decodable(odd).unwrap().as_str(), r#"{"a":null,"b":["\ufffd\u0009"]}"#);
        assert_eq!(Json::joinable(odd).unwrap().as_str(), r#"{"a":null,"b":["\ud83d\u0009"]}"#);
        let cut = Json::decodable("{\"a\":NaN").unwrap_err();
        assert_eq!(fault(&cut), "no JSON, at line 1 column 6");
    }

    #[test]
    fn an_object_keeps_the_text_of_what_is_not_touched() {
        let text = r#"{"z":1.0,"text":"a","a":[1e2, {"k":"\u0041"}]}"#;
        let mut object: Object = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&object).unwrap(), text);
        object.set("text", Json::of("b"));
        object.or_insert("z", || Json::of(&2));
        object.or_insert("new", || Json::of(&[1]));
        assert_eq!(
            serde_json::to_string(&object).unwrap(),
            r#"{"z":1.0,"text":"b","a":[1e2, {"k":"\u0041"}],"new":[1]}"#
        );
    }

    #[test]
    fn of_a_name_that_stands_twice_the_last_value_counts() {
        let object: Object = serde_json::from_str(r#"{"a":1,"b":2,"a":3}"#).unwrap();
        assert_eq!(serde_json::to_string(&object).unwrap(), r#"{"a":3,"b":2}"#);
    }
}
