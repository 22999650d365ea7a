//! Generated input for ids and for JSON that keeps its text.

use std::collections::HashSet;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, from_slice, from_str, to_string};
use wicara_fuzz::{fuzz, json, mutated};

use crate::interoperable::{LEVELS, decodable, portable};
use crate::{ConversationId, Json, Object};

const NAMES: &[&str] = &["text", "properties", "id", ""];

#[test]
fn an_id_is_what_the_contract_says() {
    let around_the_largest = (i64::MAX as u128 - 5..i64::MAX as u128 + 5).prop_map(|id| id.to_string());
    let text = prop_oneof![
        "[0-9]{0,21}",
        "0{0,18}[0-9]{1,3}",
        "[-+ 0-9a-f.٣]{0,5}",
        around_the_largest,
        any::<String>()
    ];
    fuzz("id", text, |text| {
        let digits = (1..=19).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = if digits { text.parse::<u128>().ok() } else { None };
        let expected = number.and_then(|number| i64::try_from(number).ok());
        assert_eq!(text.parse().ok(), expected.map(ConversationId));
        if let Some(id) = expected {
            assert_eq!(ConversationId(id).to_string().parse(), Ok(ConversationId(id)));
        }
    });
}

#[test]
fn json_keeps_its_text() {
    fuzz("json", mutated(json(NAMES)), |bytes| {
        let text = str::from_utf8(&bytes).map(str::to_owned);
        let Ok(json) = text.map_err(drop).and_then(|text| Json::parse(text).map_err(drop)) else {
            // serde_json refuses the same text.
            assert!(from_slice::<Value>(&bytes).is_err());
            return;
        };
        assert_eq!(json.as_str().as_bytes(), bytes.trim_ascii());
        assert_eq!(Json::parse(json.as_str().to_owned()).unwrap(), json);
        assert_eq!(from_str::<Json>(&to_string(&json).unwrap()).unwrap(), json);
    });
}

#[test]
fn an_object_says_the_same_after_reading_and_writing() {
    let object = (mutated(json(NAMES)), any::<String>());
    fuzz("object", object, |(bytes, name)| {
        let Ok(mut object) = from_slice::<Object>(&bytes) else { return };
        let written = to_string(&object).unwrap();
        assert_eq!(from_str::<Object>(&written).unwrap(), object);
        // `Value` cannot hold every number, such as 1e999.
        if let Ok(value) = from_slice::<Value>(&bytes) {
            assert_eq!(from_str::<Value>(&written).unwrap(), value);
            for (name, value) in value.as_object().unwrap() {
                let field = object.get(name).unwrap();
                assert_eq!(&from_str::<Value>(field.as_str()).unwrap(), value);
            }
        }
        let before = object.clone();
        object.or_insert(&name, || Json::of(&1));
        assert_eq!(object == before, before.get(&name).is_some());
        object.set(&name, Json::of(&name));
        assert_eq!(object.get(&name).unwrap().string(), Some(name));
    });
}

/// A value in objects and lists of any depth, around the deepest level that is kept.
fn nested(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let around = prop_oneof![3 => vec(0..3usize, 0..4), 1 => vec(0..3usize, LEVELS - 4..LEVELS + 4)];
    (value, around).prop_map(|(value, around)| {
        around.into_iter().fold(value, |inside, around| match around {
            0 => format!("[{inside}]"),
            1 => format!("[1e999,{inside} ,\"\\ud83d\"]"),
            _ => format!("{{\"id\":{inside},\"\":0}}"),
        })
    })
}

/// JSON with what some decoders refuse.
fn odd() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        json(NAMES),
        select(&["1e999", "-1E309", "1e308", "\"\\udc00\"", "{\"a\":1,\"\\u0061\":2}"])
            .prop_map(str::to_owned)
    ];
    let several = vec(nested(value), 1..4).prop_map(|values| match values.as_slice() {
        [one] => one.clone(),
        [first, rest @ ..] => format!("{{\"id\":{first},\"id\":{}}}", rest.join(",\"text\":")),
        [] => "null".to_owned(),
    });
    nested(several)
}

/// A model of [`portable`], as simple as possible: the value that it leaves.
fn expected(text: &mut &str, level: usize) -> Value {
    *text = text.trim_start_matches([' ', '\t', '\r', '\n']);
    let take = |text: &mut &str, bytes: usize| {
        let (taken, rest) = text.split_at(bytes);
        *text = rest;
        taken.to_owned()
    };
    let list = |text: &mut &str, close: char, item: &mut dyn FnMut(&mut &str)| {
        let skip = |text: &mut &str| *text = text.trim_start_matches([' ', '\t', '\r', '\n', ',', ':']);
        *text = &text[1..];
        skip(text);
        while !text.starts_with(close) {
            item(text);
            skip(text);
        }
        *text = &text[1..];
    };
    match text.as_bytes()[0] {
        b'{' => {
            let mut fields = Map::new();
            list(text, '}', &mut |text| {
                let name = expected(text, level + 1);
                *text = text.trim_start_matches([' ', '\t', '\r', '\n', ':']);
                fields.insert(name.as_str().unwrap().to_owned(), expected(text, level + 1));
            });
            if level > LEVELS { Value::Null } else { Value::Object(fields) }
        }
        b'[' => {
            let mut items = Vec::new();
            list(text, ']', &mut |text| items.push(expected(text, level + 1)));
            if level > LEVELS { Value::Null } else { Value::Array(items) }
        }
        b'"' => {
            let mut units = Vec::new();
            *text = &text[1..];
            loop {
                let one = take(text, text.chars().next().unwrap().len_utf8());
                match one.as_str() {
                    "\"" => return Value::String(String::from_utf16_lossy(&units)),
                    "\\" => match take(text, 1).as_str() {
                        "u" => units.push(u16::from_str_radix(&take(text, 4), 16).unwrap()),
                        escape => {
                            let escaped: String = from_str(&format!("\"\\{escape}\"")).unwrap();
                            units.extend(escaped.encode_utf16());
                        }
                    },
                    one => units.extend(one.encode_utf16()),
                }
            }
        }
        _ => {
            let end = text.find([' ', '\t', '\r', '\n', ',', ']', '}']).unwrap_or(text.len());
            let written = take(text, end);
            match written.parse::<f64>() {
                Ok(number) if number.is_infinite() => Value::String(written),
                _ => from_str(&written).unwrap(),
            }
        }
    }
}

/// Whether no object has a name twice, and how many levels there are, found without decoding.
fn names_are_single(value: &Json) -> (bool, usize) {
    let inside = |values: Vec<&Json>| {
        let found = values.into_iter().map(names_are_single);
        found.fold((true, 0), |(single, levels), (also, others)| (single && also, levels.max(others)))
    };
    match value.as_str().as_bytes()[0] {
        b'{' => {
            let fields = fields(value.as_str());
            let names: HashSet<&String> = fields.iter().map(|(name, _)| name).collect();
            let (single, levels) = inside(fields.iter().map(|(_, value)| value).collect());
            (single && names.len() == fields.len(), levels + 1)
        }
        b'[' => {
            let list: Vec<Json> = from_str(value.as_str()).unwrap();
            let (single, levels) = inside(list.iter().collect());
            (single, levels + 1)
        }
        _ => (true, 0),
    }
}

/// All fields of an object, also those with the same name.
fn fields(object: &str) -> Vec<(String, Json)> {
    struct Fields;
    impl<'de> serde::de::Visitor<'de> for Fields {
        type Value = Vec<(String, Json)>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut fields = Vec::new();
            while let Some(field) = map.next_entry()? {
                fields.push(field);
            }
            Ok(fields)
        }
    }
    serde::Deserializer::deserialize_map(&mut serde_json::Deserializer::from_str(object), Fields).unwrap()
}

#[test]
fn any_reader_takes_what_is_portable_and_finds_the_same() {
    fuzz("portable", mutated(odd()), |bytes| {
        let Ok(sent) = Json::parse(String::from_utf8_lossy(&bytes).into_owned()) else { return };
        let text = sent.as_str();
        let value = expected(&mut &*text, 1);
        let made = portable(text);
        assert_eq!(from_str::<Value>(&made).unwrap(), value, "{made}");
        let (single, levels) = names_are_single(&Json::parse(made.to_string()).unwrap());
        assert!(single && levels <= LEVELS, "{made}");

        let read = Json::decodable(text).unwrap();
        assert!(read.as_str().len() <= text.len());
        assert_eq!(portable(read.as_str()), made, "whether it was made decodable before or not");
        assert_eq!((portable(&made), decodable(&made)), (made.clone(), made.clone()), "it stays as it is");
        // JSON that all decoders take keeps its exact text.
        let fine = from_str::<Value>(text).is_ok_and(|_| names_are_single(&sent) == (true, levels));
        if fine {
            assert_eq!(made, text);
        }
    });
}
