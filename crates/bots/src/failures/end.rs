//! Why a model's answer ended. Each server has its own words, and new ones come: one that is unknown is taken for a regular
//! end unless it has a part that speaks of trouble.

use serde_json::from_str;
use wicara_model::{Json, Object};
use wicara_outbound::ErrorText;
use wicara_outbound::sse::Frame;

use super::{STATE_NAMES, Signs};

/// Parts of words for an answer that broke off, as [`letters`] returns them. Seen: `error`, `abort` (vLLM),
/// `insufficient_system_resource` (DeepSeek), `network_error`, `not_finished` (watsonx), `MALFORMED_FUNCTION_CALL` (Gemini),
/// `USER_CANCEL` (Cohere).
const TROUBLE: [&str; 43] = [
    "error",
    "fail",
    "exception",
    "abort",
    "cancel",
    "timeout",
    "timedout",
    "deadline",
    "expired",
    "disconnect",
    "connection",
    "network",
    "upstream",
    "unreachable",
    "shutdown",
    "shuttingdown",
    "restart",
    "overload",
    "capacity",
    "unavailable",
    "insufficient",
    "resource",
    "outofmemory",
    "quota",
    "ratelimit",
    "throttl",
    "busy",
    "interrupt",
    "preempt",
    "evict",
    "terminated",
    "killed",
    "crash",
    "internal",
    "panic",
    "fatal",
    "dropped",
    "lost",
    "malformed",
    "unexpected",
    "invalid",
    "incomplete",
    "notfinished",
];
/// A word for the same, which is part of harmless ones.
const OUT_OF_MEMORY: &str = "oom";
/// The word for a regular end that has one of these parts.
const NO_ERROR: &str = "noerror";

/// Reasons that servers give before there is one.
const NOT_YET: [&str; 5] = ["", "null", "none", "nil", "undefined"];
/// Words that end a stream, as data or as an event's name, with any punctuation: `[DONE]`, `"[done]"`, `[END]`.
const MARKS: [&str; 9] =
    ["done", "end", "endofstream", "eos", "eof", "finish", "finished", "complete", "completed"];
/// Longer data is no mark.
const MAX_MARK_BYTES: usize = 40;

/// Whether a `finish_reason` says that the answer has ended.
pub fn is_end(finish_reason: &Json) -> bool {
    !NOT_YET.contains(&letters(&reason(finish_reason)).as_str())
}

/// Whether an event without a text is how its server ends a stream.
pub fn is_mark(frame: &Frame) -> bool {
    let is_word = |text: &str| text.len() < MAX_MARK_BYTES && MARKS.contains(&letters(text).as_str());
    let object = from_str::<Object>(&frame.data).unwrap_or_default();
    let says_done = object.iter().any(|(name, value)| match value.as_str() {
        "true" => is_word(name),
        _ => STATE_NAMES.contains(&name) && value.string().is_some_and(|word| is_word(&word)),
    });
    is_word(&frame.event) || is_word(&frame.data) || says_done
}

/// The reason for which a model's answer ended: a word, or an object with a `type` (SGLang). Empty where there is none.
pub fn reason(value: &Json) -> String {
    let kind = || from_str::<Object>(value.as_str()).ok()?.get("type")?.string();
    value.string().or_else(kind).unwrap_or_default()
}

/// What a reason for an end says of a failure.
pub(super) fn failure(value: &Json) -> Option<ErrorText> {
    let object = from_str::<Object>(value.as_str()).ok();
    let failure = object.as_ref().and_then(|object| Signs::beside_end(object).found(object));
    failure.or_else(|| breaks_off(&reason(value)).then(|| super::text(value.as_str())))
}

/// Whether a model's answer broke off, by its `finish_reason`.
pub fn breaks_off(finish_reason: &str) -> bool {
    let reason = letters(finish_reason);
    reason == OUT_OF_MEMORY || reason != NO_ERROR && TROUBLE.iter().any(|part| reason.contains(part))
}

fn letters(reason: &str) -> String {
    reason.chars().filter(|sign| sign.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_ends_with_marks_of_many_forms() {
        for (event, data, is_end) in [
            ("", "[DONE]", true),
            ("", "[done]", true),
            ("", "\"[DONE]\"", true),
            ("", "[ DONE ]", true),
            ("", "DONE", true),
            ("", "[END]", true),
            ("done", "{}", true),
            ("", r#"{"done":true}"#, true),
            ("", r#"{"type":"done"}"#, true),
            ("", r#"{"done":false,"type":"ping"}"#, false),
            ("message", "{}", false),
            ("ping", "ping", false),
            ("", "", false),
        ] {
            let frame = Frame { event: event.to_owned(), data: data.to_owned(), is_bare: false };
            assert_eq!(is_mark(&frame), is_end, "{frame:?}");
        }
        for (reason, ends) in [("null", false), ("\"null\"", false), ("\"None\"", false), ("\"stop\"", true)]
        {
            assert_eq!(is_end(&Json::parse(reason.to_owned()).unwrap()), ends, "{reason}");
        }
    }

    #[test]
    fn a_word_that_speaks_of_trouble_is_no_regular_end() {
        for reason in [
            "error",
            "abort",
            "Cancelled",
            "insufficient_system_resource",
            "exception",
            "disconnected",
            "server_shutdown",
            "client disconnect",
            "ConnectionLost",
            "TIMED-OUT",
            "out_of_memory",
            "MALFORMED_FUNCTION_CALL",
            "not_finished",
            "server_busy",
            "upstream_reset",
            "connection_reset_by_peer",
            "internal",
            "OOM",
            "killed",
            "rate_limit",
        ] {
            assert!(breaks_off(reason), "{reason}");
        }
        for reason in [
            "",
            "stop",
            "length",
            "eos",
            "eos_token",
            "end_turn",
            "max_tokens",
            "MAX_TOKENS",
            "model_length",
            "model_context_window_exceeded",
            "token_limit",
            "time_limit",
            "content_filter",
            "guardrail_intervened",
            "SAFETY",
            "RECITATION",
            "sensitive",
            "refusal",
            "tool_calls",
            "tool_use",
            "function_call",
            "stop_sequence",
            "COMPLETE",
            "FINISH_REASON_UNSPECIFIED",
            "OTHER",
            "unknown",
            "wrapped_up",
            "default",
            "no_error",
        ] {
            assert!(!breaks_off(reason), "{reason}");
        }
    }
}
