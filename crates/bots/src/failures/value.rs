//! What the value of an error field says: servers send empty ones, and such that say success, beside good answers.

use serde_json::value::RawValue;
use wicara_model::Object;
use wicara_outbound::ErrorText;

use super::{CODE, MESSAGE_NAMES, STATUS_NAMES, SUCCESS_NAMES, is_error_name};
use crate::field_name::plain;

/// Levels of an error's value that are looked at for anything that is said.
const LEVELS: usize = 8;
/// Longer texts are no words of success.
const MAX_WORD_BYTES: usize = 40;
/// Texts that say that there is no error, as [`letters`] returns them.
const NO_ERROR: [&str; 22] = [
    "none",
    "null",
    "nil",
    "undefined",
    "na",
    "no",
    "false",
    "ok",
    "okay",
    "success",
    "successful",
    "successfully",
    "succeeded",
    "requestsuccessful",
    "noerror",
    "noerrors",
    "noerroroccurred",
    "sukses",
    "berhasil",
    "tidakada",
    "tidakadaerror",
    "tidakadakesalahan",
];
/// Fields of an error's object that say nothing of a failure where others say success.
const TRACE_NAMES: [&str; 6] = ["id", "requestid", "traceid", "logid", "timestamp", "time"];

/// Whether an error's value says that something failed. `null`, `""`, `0`, `"none"`, `"success"`, `{}` or an object of such
/// values do not.
pub fn says(json: &str) -> bool {
    says_within(json, LEVELS)
}

fn says_within(json: &str, levels: usize) -> bool {
    match json.as_bytes().first() {
        None | Some(b'n' | b'f') => false,
        Some(b'"') => !serde_json::from_str::<String>(json).is_ok_and(|text| says_nothing(&text)),
        Some(b'{') if levels > 0 => {
            serde_json::from_str::<Object>(json).is_ok_and(|object| object_says(&object, levels - 1))
        }
        Some(b'[') if levels > 0 => serde_json::from_str::<Vec<&RawValue>>(json)
            .is_ok_and(|list| list.iter().any(|value| says_within(value.get(), levels - 1))),
        _ => !json.parse().is_ok_and(is_success_code),
    }
}

fn object_says(object: &Object, levels: usize) -> bool {
    let fields: Vec<_> = object.iter().map(|(name, value)| (plain(name), value.as_str())).collect();
    let has_success = fields.iter().any(|(name, value)| is_success(name, value));
    fields.iter().any(|(name, value)| {
        let is_left_out = is_success(name, value) || has_success && TRACE_NAMES.contains(&name.as_str());
        !is_left_out && says_within(value, levels)
    })
}

/// Whether a field says in so many words that there is no error: an empty value does not.
fn is_success(name: &str, value: &str) -> bool {
    if SUCCESS_NAMES.contains(&name) {
        return value == "true";
    }
    let names_outcome =
        name == CODE || STATUS_NAMES.contains(&name) || MESSAGE_NAMES.contains(&name) || is_error_name(name);
    let is_empty = matches!(value, "null" | "false" | "true") || value.trim_matches('"').trim().is_empty();
    names_outcome && !is_empty && !value.starts_with(['{', '[']) && !says_within(value, 0)
}

fn says_nothing(text: &str) -> bool {
    let text = text.trim();
    if text.len() > MAX_WORD_BYTES {
        return false;
    }
    let is_blank = text.chars().all(|sign| "-–—_.[]{}\"'".contains(sign));
    is_blank || text.parse().is_ok_and(is_success_code) || NO_ERROR.contains(&letters(text).as_str())
}

fn letters(text: &str) -> String {
    text.chars().filter(|sign| sign.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// 0, which some write as `00`, and 200 after HTTP.
fn is_success_code(code: f64) -> bool {
    code == 0.0 || code == 200.0
}

/// An error's text: that of a string, or the JSON of anything else.
pub fn text(json: &str) -> ErrorText {
    serde_json::from_str::<String>(json).map_or_else(|_| ErrorText::new(json), |text| ErrorText::new(&text))
}
