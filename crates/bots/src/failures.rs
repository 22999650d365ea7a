//! Finds failures in what a bot says with a status of success. Servers put them into different places and give them
//! different forms; one that is overlooked would be stored as an answer.

use serde_json::value::RawValue;
use wicara_model::{Json, Object};
use wicara_outbound::ErrorText;

/// Levels of an error's value that are looked at for anything that is said.
const LEVELS: usize = 8;

/// Fields whose value, where it says anything, is an error.
const ERROR_FIELDS: [&str; 8] =
    ["error", "errors", "exception", "error_message", "errorMessage", "error_msg", "error_code", "fault"];
/// Fields that may hold [`ERROR`] or one of [`FAILED`] in place of another word.
const STATE_FIELDS: [&str; 5] = ["object", "type", "status", "category", "event"];
const ERROR: &str = "error";
const FAILED: [&str; 4] = ["failed", "failure", "fail", "exception"];
/// Fields that may hold the status of HTTP.
const STATUS_FIELDS: [&str; 4] = ["status", "status_code", "statusCode", "code"];
/// Fields that are `false` where it failed.
const SUCCESS_FIELDS: [&str; 3] = ["success", "ok", "succeeded"];
/// Parts of the reasons for which a model's answer breaks off unfinished, beside those for which it is finished such as
/// `stop` and `length`. Seen: `error`, `abort` (vLLM), `insufficient_system_resource` (DeepSeek), `network_error`.
const BROKEN_OFF: [&str; 9] =
    ["error", "fail", "abort", "cancel", "insufficient", "interrupt", "timeout", "unavailable", "overload"];

/// What an object says of a failure; `None` where it says nothing of one.
pub fn of_object(object: &Object) -> Option<ErrorText> {
    let has_failed = STATE_FIELDS.iter().any(|name| FAILED.contains(&word(object, name).as_str()));
    of_answer(object).or_else(|| has_failed.then(|| text(Json::of(object).as_str())))
}

/// The same of an object that has a text for the reader: there, words such as `failed` may be about what was asked for, such
/// as a payment.
pub fn of_answer(object: &Object) -> Option<ErrorText> {
    let error = ERROR_FIELDS.iter().find_map(|name| object.get(name).filter(|value| says(value.as_str())));
    if let Some(error) = error {
        return Some(text(error.as_str()));
    }
    let number = |name: &&str| object.get(name)?.as_str().trim_matches('"').parse::<u64>().ok();
    let has_failed = STATE_FIELDS.iter().any(|name| word(object, name) == ERROR)
        || STATUS_FIELDS.iter().filter_map(number).any(|status| (400..600).contains(&status))
        || SUCCESS_FIELDS.iter().any(|name| object.get(name).is_some_and(|value| value.as_str() == "false"));
    has_failed.then(|| text(Json::of(object).as_str()))
}

fn word(object: &Object, name: &str) -> String {
    object.get(name).and_then(Json::string).unwrap_or_default().to_lowercase()
}

/// The same of a JSON value, where it is an object.
pub fn of_json(json: &str) -> Option<ErrorText> {
    of_object(&serde_json::from_str(json).ok()?)
}

/// What data says of a failure that is no JSON object, such as `[ERROR] away` or `"error: away"`.
pub fn of_text(data: &str) -> Option<ErrorText> {
    let words = data.trim_start_matches(|sign: char| !sign.is_alphanumeric());
    let begins = words.get(..5).is_some_and(|word| word.eq_ignore_ascii_case("error"));
    (begins && !data.trim_start().starts_with('{')).then(|| ErrorText::new(data))
}

/// Whether a model's answer broke off, by its `finish_reason`.
pub fn breaks_off(finish_reason: &str) -> bool {
    let reason = finish_reason.to_lowercase();
    BROKEN_OFF.iter().any(|part| reason.contains(part))
}

/// Whether an error's value says anything: servers send `null`, `""`, `{}` or an object of such values beside good answers.
pub fn says(json: &str) -> bool {
    says_within(json, LEVELS)
}

fn says_within(json: &str, levels: usize) -> bool {
    match json.as_bytes().first() {
        None | Some(b'n' | b'f') => false,
        Some(b'"') => !serde_json::from_str::<String>(json).is_ok_and(|text| text.trim().is_empty()),
        Some(b'{') if levels > 0 => serde_json::from_str::<Object>(json)
            .is_ok_and(|object| object.iter().any(|(_, value)| says_within(value.as_str(), levels - 1))),
        Some(b'[') if levels > 0 => serde_json::from_str::<Vec<&RawValue>>(json)
            .is_ok_and(|list| list.iter().any(|value| says_within(value.get(), levels - 1))),
        _ => json.parse::<f64>() != Ok(0.0),
    }
}

/// An error's text: that of a string, or the JSON of anything else.
pub fn text(json: &str) -> ErrorText {
    serde_json::from_str::<String>(json).map_or_else(|_| ErrorText::new(json), |text| ErrorText::new(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_found_in_each_of_its_forms() {
        for object in [
            r#"{"error":"away"}"#,
            r#"{"error":{"message":"away"}}"#,
            r#"{"error":{"code":502}}"#,
            r#"{"error":true}"#,
            r#"{"error":["away"]}"#,
            r#"{"errors":[{"detail":"away"}]}"#,
            r#"{"error_code":17}"#,
            r#"{"object":"error","message":"away"}"#,
            r#"{"type":"Error","message":"away"}"#,
            r#"{"status":"failed"}"#,
            r#"{"status":503}"#,
            r#"{"code":"502","message":"away"}"#,
            r#"{"success":false,"message":"away"}"#,
            r#"{"category":"error","text":"away"}"#,
        ] {
            assert!(of_json(object).is_some(), "{object}");
        }
        for object in [
            "{}",
            r#"{"error":null}"#,
            r#"{"error":""}"#,
            r#"{"error":" "}"#,
            r#"{"error":{}}"#,
            r#"{"error":[]}"#,
            r#"{"error":false}"#,
            r#"{"error":{"message":null,"code":"","details":[{}]}}"#,
            r#"{"error_code":0}"#,
            r#"{"status":"completed","object":"chat.completion","type":"message"}"#,
            r#"{"status":200,"success":true,"message":"error"}"#,
            "[]",
            "5",
        ] {
            assert!(of_json(object).is_none(), "{object}");
        }
        let paid: Object = serde_json::from_str(r#"{"text":"Pembayaran gagal","status":"failed"}"#).unwrap();
        assert!(of_answer(&paid).is_none() && of_object(&paid).is_some());
        let deep = format!(r#"{{"error":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert!(of_json(&deep).is_none_or(|text| !text.reveal().is_empty()));
    }

    #[test]
    fn data_that_is_no_object_may_say_it_too() {
        for (data, is_failure) in [
            ("[ERROR] away", true),
            ("\"error: away\"", true),
            ("Error", true),
            ("[DONE]", false),
            ("ping", false),
            ("", false),
            ("{\"error", false),
        ] {
            assert_eq!(of_text(data).is_some(), is_failure, "{data}");
        }
    }

    #[test]
    fn a_reason_to_finish_may_be_none() {
        assert!(
            ["error", "abort", "Cancelled", "insufficient_system_resource"]
                .map(breaks_off)
                .iter()
                .all(|it| *it)
        );
        assert!(
            ["stop", "length", "content_filter", "tool_calls", "eos"].map(breaks_off).iter().all(|it| !it)
        );
    }
}
