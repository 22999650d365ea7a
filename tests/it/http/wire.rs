//! Fields of answers.

use serde_json::Value;

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
