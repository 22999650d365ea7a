//! Reading a TOML table into a type, with errors in an operator's words.
//!
//! serde builds its errors by calling [`de::Error`]: an error type of our own receives the parts, the field and the known
//! ones, so that no message has to be taken apart. What type was expected is known by the method that a field calls.

use std::fmt;
use std::ops::RangeInclusive;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{self, DeserializeOwned, Deserializer, Expected, IntoDeserializer, Unexpected, Visitor};
use serde::forward_to_deserialize_any;
use toml::{Table, Value};

/// Reads a table into a type whose fields are the keys.
pub fn read<T: DeserializeOwned>(table: Table) -> Result<T, ReadError> {
    serde_path_to_error::deserialize(Node(Value::Table(table))).map_err(|error| {
        let path = error.path().to_string();
        let path = if path == "." { String::new() } else { path };
        ReadError { path, fault: error.into_inner() }
    })
}

/// The error begins with the key.
pub fn within<T: TryFrom<i64>>(key: &str, value: i64, allowed: RangeInclusive<i64>) -> Result<T, String> {
    T::try_from(value).ok().filter(|_| allowed.contains(&value)).ok_or_else(|| {
        format!(
            "{key}: found {value}, allowed are whole numbers from {} to {}",
            allowed.start(),
            allowed.end()
        )
    })
}

/// A table does not fit its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadError {
    /// The key at fault, `headers.Authorization`; empty where the table as a whole is.
    pub path: String,
    pub fault: Fault,
}

impl ReadError {
    #[must_use]
    pub fn new(path: &str, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), fault: Fault::Other(message.into()) }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        self.fault.fmt(f)
    }
}

/// What is wrong with a key. A value of the wrong type is not shown: it may be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    UnknownKey { known: &'static [&'static str] },
    MissingKey(&'static str),
    WrongType { found: &'static str, expected: String },
    UnknownWord { found: String, allowed: &'static [&'static str] },
    Other(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::UnknownKey { known: [] } => f.write_str("there is no such setting"),
            Fault::UnknownKey { known } => {
                let known: Vec<_> = known.iter().map(|key| (*key).to_owned()).collect();
                write!(f, "there is no such setting; known are {}", list(&known))
            }
            Fault::MissingKey(key) => write!(f, "{key} is missing"),
            Fault::WrongType { found, expected } => write!(f, "found {found}, expected {expected}"),
            Fault::UnknownWord { found, allowed } => {
                let allowed: Vec<_> = allowed.iter().map(|word| format!("{word:?}")).collect();
                write!(f, "found {found:?}, allowed are {}", list(&allowed))
            }
            Fault::Other(message) => f.write_str(message),
        }
    }
}

fn list(words: &[String]) -> String {
    words.join(if words.len() == 2 { " or " } else { ", " })
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Other(message.to_string())
    }

    fn unknown_field(_: &str, known: &'static [&'static str]) -> Self {
        Self::UnknownKey { known }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::MissingKey(field)
    }

    fn unknown_variant(found: &str, allowed: &'static [&'static str]) -> Self {
        Self::UnknownWord { found: found.to_owned(), allowed }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Str(_) => TEXT,
            Unexpected::Signed(_) | Unexpected::Unsigned(_) => WHOLE_NUMBER,
            Unexpected::Float(_) => FRACTION,
            Unexpected::Bool(_) => BOOLEAN,
            Unexpected::Seq => LIST,
            Unexpected::Map => TABLE,
            _ => "another type",
        };
        Self::WrongType { found, expected: expected.to_string() }
    }

    /// A value of the right type that the field has no room for, such as -1 for an unsigned one.
    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }
}

const TEXT: &str = "a string";
const WHOLE_NUMBER: &str = "a whole number";
const FRACTION: &str = "a number with a fraction";
const BOOLEAN: &str = "true or false";
const LIST: &str = "a list";
const TABLE: &str = "a table";

/// A value that reports a wrong type before the field's visitor does, whose words are those of Rust.
struct Node(Value);

impl Node {
    /// Dates are read as the text that they are written as.
    fn kind(&self) -> &'static str {
        match self.0 {
            Value::String(_) | Value::Datetime(_) => TEXT,
            Value::Integer(_) => WHOLE_NUMBER,
            Value::Float(_) => FRACTION,
            Value::Boolean(_) => BOOLEAN,
            Value::Array(_) => LIST,
            Value::Table(_) => TABLE,
        }
    }

    fn of_kind(self, expected: &'static str) -> Result<Self, Fault> {
        match self.kind() {
            found if found == expected => Ok(self),
            found => Err(Fault::WrongType { found, expected: expected.to_owned() }),
        }
    }
}

impl IntoDeserializer<'_, Fault> for Node {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// Methods for the types that settings have: a value of another kind is refused.
macro_rules! expecting {
    ($($method:ident: $kind:ident),* $(,)?) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            self.of_kind($kind)?.deserialize_any(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Node {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0 {
            Value::String(text) => visitor.visit_string(text),
            Value::Datetime(date) => visitor.visit_string(date.to_string()),
            Value::Integer(number) => visitor.visit_i64(number),
            Value::Float(number) => visitor.visit_f64(number),
            Value::Boolean(flag) => visitor.visit_bool(flag),
            Value::Array(items) => visitor.visit_seq(SeqDeserializer::new(items.into_iter().map(Node))),
            Value::Table(table) => visitor
                .visit_map(MapDeserializer::new(table.into_iter().map(|(key, value)| (key, Node(value))))),
        }
    }

    expecting! {
        deserialize_bool: BOOLEAN,
        deserialize_i8: WHOLE_NUMBER,
        deserialize_i16: WHOLE_NUMBER,
        deserialize_i32: WHOLE_NUMBER,
        deserialize_i64: WHOLE_NUMBER,
        deserialize_u8: WHOLE_NUMBER,
        deserialize_u16: WHOLE_NUMBER,
        deserialize_u32: WHOLE_NUMBER,
        deserialize_u64: WHOLE_NUMBER,
        deserialize_str: TEXT,
        deserialize_string: TEXT,
        deserialize_seq: LIST,
        deserialize_map: TABLE,
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_map(visitor)
    }

    /// A key that is there has a value: TOML knows no null.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.0 {
            Value::String(word) => visitor.visit_enum(word.into_deserializer()),
            _ => Err(Fault::WrongType { found: self.kind(), expected: TEXT.to_owned() }),
        }
    }

    forward_to_deserialize_any! {
        i128 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Pair {
        left: u8,
        right: Option<String>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Side {
        Left,
        Right,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Whole {
        nothing: Option<Nothing>,
        #[serde(default)]
        pairs: Vec<Pair>,
        side: Option<Side>,
        ratio: Option<f64>,
        #[serde(default)]
        names: BTreeMap<String, String>,
        #[serde(default)]
        rest: Table,
    }

    fn read_text(text: &str) -> Result<Whole, ReadError> {
        read(text.parse().unwrap())
    }

    #[test]
    fn a_table_is_read_into_its_type() {
        let text = "pairs = [{left = 1}, {left = 2, right = 'r'}]\nside = 'right'\nratio = 0.5\nnothing = {}\n\
                    names = {a = 'b', day = 2020-01-01}\nrest = {list = [1, {x = true}]}\nunread = 5";
        let pair = |left, right: Option<&str>| Pair { left, right: right.map(str::to_owned) };
        let expected = Whole {
            nothing: Some(Nothing {}),
            pairs: vec![pair(1, None), pair(2, Some("r"))],
            side: Some(Side::Right),
            ratio: Some(0.5),
            names: [("a", "b"), ("day", "2020-01-01")].map(|(key, text)| (key.into(), text.into())).into(),
            rest: "list = [1, {x = true}]".parse().unwrap(),
        };
        assert_eq!(read_text(text), Ok(expected));
    }

    #[test]
    fn an_error_names_the_key_and_what_is_wrong_with_it() {
        for (text, expected) in [
            ("pairs = [{left = 1}, {right = 'r'}]", "pairs[1]: left is missing"),
            (
                "pairs = [{left = 1, rigth = 'r'}]",
                "pairs[0].rigth: there is no such setting; known are left or right",
            ),
            ("nothing = {a = 1}", "nothing.a: there is no such setting"),
            ("pairs = [{left = 1, right = 5}]", "pairs[0].right: found a whole number, expected a string"),
            ("pairs = [{left = true}]", "pairs[0].left: found true or false, expected a whole number"),
            ("pairs = [{left = 2020-01-01}]", "pairs[0].left: found a string, expected a whole number"),
            ("pairs = {left = 1}", "pairs: found a table, expected a list"),
            ("names = [1.5]", "names: found a list, expected a table"),
            ("names = {a = 1.5}", "names.a: found a number with a fraction, expected a string"),
            ("side = '`a\"'", "side: found \"`a\\\"\", allowed are \"left\" or \"right\""),
            ("side = ['left']", "side: found a list, expected a string"),
        ] {
            assert_eq!(read_text(text).unwrap_err().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn a_value_that_does_not_fit_is_not_shown() {
        for text in ["pairs = [{left = 4711}]", "ratio = '4711'", "side = 4711", "nothing = 4711"] {
            let error = read_text(text).unwrap_err().to_string();
            assert!(error.contains(": found a ") && !error.contains("4711"), "{error}");
        }
    }
}
