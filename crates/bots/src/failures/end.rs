//! Why a model's answer ended. Each server has its own words, and new ones come: one that is unknown is taken for a regular
//! end unless it has a part that speaks of trouble.

use serde_json::from_str;
use wicara_model::{Json, Object};
use wicara_outbound::ErrorText;

use super::Signs;

/// Parts of words for an answer that broke off, as [`letters`] returns them. Seen: `error`, `abort` (vLLM),
/// `insufficient_system_resource` (DeepSeek), `network_error`, `not_finished` (watsonx), `MALFORMED_FUNCTION_CALL` (Gemini),
/// `USER_CANCEL` (Cohere).
const TROUBLE: [&str; 42] = [
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
/// The word for a regular end that has one of these parts.
const NO_ERROR: &str = "noerror";

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
    reason != NO_ERROR && TROUBLE.iter().any(|part| reason.contains(part))
}

fn letters(reason: &str) -> String {
    reason.chars().filter(|sign| sign.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
