//! Generated input for ids and for JSON that keeps its text.

use proptest::prelude::*;
use serde_json::{Value, from_slice, from_str, to_string};

use super::{ConversationId, Json, Object};
use crate::fuzz::{fuzz, json, mutated};

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
            // What is refused is no JSON to others either.
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
        // Others cannot hold every number, such as 1e999.
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
