//! Finds failures in what a bot says with a status of success. Servers put them into different places and give them
//! different forms; one that is overlooked would be stored as an answer.

mod end;
mod value;

use wicara_model::{Json, Object};
use wicara_outbound::ErrorText;

use crate::Error;
use crate::field_name::plain;

pub use end::{breaks_off, is_end, is_mark};
pub use value::{says, text};

/// The names of fields whose value, where it says anything, is an error: one of these, perhaps behind one of
/// [`BEFORE_ERROR`], and one of [`BEHIND_ERROR`]. As [`plain`] returns them, like all names here.
const ERROR_NAMES: [&str; 5] = ["error", "err", "exception", "fault", "failure"];
const BEFORE_ERROR: [&str; 2] = ["is", "has"];
const BEHIND_ERROR: [&str; 19] = [
    "",
    "s",
    "code",
    "codes",
    "no",
    "id",
    "type",
    "name",
    "class",
    "title",
    "msg",
    "message",
    "messages",
    "text",
    "string",
    "description",
    "detail",
    "details",
    "reason",
];
/// Fields that may hold [`ERROR`] or one of [`FAILED`] in place of another word.
const STATE_NAMES: [&str; 8] = ["object", "type", "status", "category", "event", "state", "result", "level"];
const ERROR: &str = "error";
const FAILED: [&str; 6] = ["failed", "failure", "fail", "exception", "timeout", "timedout"];
/// The fields of these that may hold the name of an error, such as `server_error`.
const TYPE_NAMES: [&str; 3] = ["object", "type", "event"];
/// Fields that may hold the status of HTTP.
const STATUS_NAMES: [&str; 4] = ["status", "statuscode", "httpstatus", "httpstatuscode"];
const CODE: &str = "code";
/// Fields that are `false` where it failed.
const SUCCESS_NAMES: [&str; 5] = ["success", "issuccess", "successful", "ok", "succeeded"];
/// Fields that are `true` where it failed.
const FAILED_NAMES: [&str; 3] = ["failed", "isfailed", "hasfailed"];
/// The reasons for which a model's answer ended: a proxy's own, and that of the server behind it. `stop_reason` is none: vLLM puts the text there that it was told to stop at.
const END_NAMES: [&str; 2] = ["finishreason", "nativefinishreason"];
/// How the errors of servers, proxies and interpreters begin that are no JSON.
const ERROR_TEXTS: [&str; 10] = [
    ERROR,
    "exception",
    "internal server error",
    "traceback (most recent call last)",
    "upstream ",
    "no healthy upstream",
    "bad gateway",
    "service unavailable",
    "gateway timeout",
    "gateway time-out",
];
/// Fields in which a server says in words what happened.
const MESSAGE_NAMES: [&str; 4] = ["message", "msg", "detail", "details"];

/// What a server calls its messages about its progress.
const PROGRESS: [&str; 14] = [
    "ping",
    "heartbeat",
    "keepalive",
    "keep-alive",
    "status",
    "progress",
    "processing",
    "queued",
    "pending",
    "running",
    "thinking",
    "info",
    "log",
    "debug",
];

/// The signs of a failure in an object's fields.
#[derive(Default)]
struct Signs {
    /// What an error field says.
    error: Option<ErrorText>,
    /// The reason for which a model's answer broke off.
    end: Option<ErrorText>,
    is_error: bool,
    has_error_type: bool,
    has_failed: bool,
    /// A status of HTTP that is one of failure.
    has_status: bool,
    /// The same number as a code, which may also be about what was asked for.
    has_code: bool,
    denies_success: bool,
}

impl Signs {
    fn of(object: &Object) -> Self {
        let mut ends = object.iter().filter(|(name, _)| END_NAMES.contains(&plain(name).as_str()));
        Self { end: ends.find_map(|(_, reason)| end::failure(reason)), ..Self::beside_end(object) }
    }

    /// Without the reason for the end, which may be such an object itself, and so on without end.
    fn beside_end(object: &Object) -> Self {
        let mut signs = Self::default();
        for (name, value) in object.iter() {
            signs.read(&plain(name), value);
        }
        signs
    }

    fn read(&mut self, name: &str, value: &Json) {
        if is_error_name(name) && says(value.as_str()) {
            self.error.get_or_insert_with(|| text(value.as_str()));
        }
        let word = value.string().unwrap_or_else(|| value.as_str().to_owned()).to_lowercase();
        let bare = word.as_str();
        let is_false = bare == "false";
        self.has_status |= STATUS_NAMES.contains(&name) && (is_failed_status(bare) || has_failed_code(value));
        self.has_code |= name == CODE && is_failed_status(bare);
        self.denies_success |= SUCCESS_NAMES.contains(&name) && (is_false || bare == "0")
            || name == STATUS_NAMES[0] && is_false
            || FAILED_NAMES.contains(&name) && bare == "true";
        if STATE_NAMES.contains(&name) {
            self.is_error |= bare == ERROR;
            self.has_failed |= FAILED.contains(&bare);
            self.has_error_type |= TYPE_NAMES.contains(&name) && is_error_type(bare);
        }
    }

    /// What the object says of the failure, where it has any of these signs.
    fn found(self, object: &Object) -> Option<ErrorText> {
        let has_word = self.is_error || self.has_error_type || self.has_failed;
        let is_failure = has_word || self.has_status || self.has_code || self.denies_success;
        self.error.or(self.end).or_else(|| is_failure.then(|| text(Json::of(object).as_str())))
    }
}

/// Whether a value begins with a status of HTTP that is one of failure, such as `502 Bad Gateway`.
fn is_failed_status(bare: &str) -> bool {
    let number = bare.split(' ').next().unwrap_or_default();
    number.parse::<f64>().is_ok_and(|status| (400.0..600.0).contains(&status))
}

/// Whether a status is an object with such a code.
fn has_failed_code(status: &Json) -> bool {
    let object = serde_json::from_str::<Object>(status.as_str()).unwrap_or_default();
    let code = object.get(CODE).map(|code| code.string().unwrap_or_else(|| code.as_str().to_owned()));
    code.is_some_and(|code| is_failed_status(&code))
}

/// What an object says of a failure; `None` where it says nothing of one.
pub fn of_object(object: &Object) -> Option<ErrorText> {
    Signs::of(object).found(object)
}

/// What an object says of a failure that has a text for the reader in one of its fields: beside it, a code may be about what
/// was asked for, such as a counter's.
pub fn beside_text(object: &Object) -> Option<ErrorText> {
    Signs { has_code: false, ..Signs::of(object) }.found(object)
}

/// What an answer object says of a failure. Words in it such as `failed` may be about what was asked for, such as a payment,
/// and a code too where it has a text; both together are not.
pub fn of_answer_object(object: &Object) -> Option<ErrorText> {
    let signs = Signs::of(object);
    let has_text = object.get("text").and_then(Json::string).is_some_and(|text| !text.trim().is_empty());
    let has_code = signs.has_code && (signs.has_failed || !has_text);
    Signs { has_code, has_failed: false, has_error_type: false, ..signs }.found(object)
}

/// Whether an object names an error, whatever it is about: its words and numbers alone do not.
pub fn names_error(object: &Object) -> bool {
    let signs = Signs::of(object);
    signs.error.is_some() || signs.is_error || signs.denies_success
}

/// What a JSON value says of a failure, where it is an object.
pub fn of_json(json: &str) -> Option<ErrorText> {
    of_object(&serde_json::from_str(json).ok()?)
}

/// The error of a bot whose object says that it failed.
pub fn check(object: &Object) -> Result<(), Error> {
    of_object(object).map_or(Ok(()), |failure| Err(Error::Failed(failure)))
}

/// As [`check`], for a JSON value that may be an object.
pub fn check_json(json: &str) -> Result<(), Error> {
    of_json(json).map_or(Ok(()), |failure| Err(Error::Failed(failure)))
}

/// What data says of a failure that is no JSON object, such as `[ERROR] away` or `"error: away"`.
pub fn of_text(data: &str) -> Option<ErrorText> {
    let words = data.trim_start_matches(|sign: char| !sign.is_alphanumeric());
    let begins = ERROR_TEXTS
        .iter()
        .any(|error| words.get(..error.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(error)));
    (begins && !data.trim_start().starts_with('{')).then(|| ErrorText::new(data))
}

/// Whether an event of this name is a failure, whatever its data says.
pub fn is_error_event(name: &str) -> bool {
    let name = name.to_lowercase();
    is_error_type(&name) || FAILED.contains(&name.as_str())
}

/// Whether a field of this name, as [`plain`] returns it, may hold the words of an error.
pub fn is_message_name(name: &str) -> bool {
    MESSAGE_NAMES.contains(&name) || name == "reason"
}

/// What the object says in words, where it may be an error's.
pub fn message(object: &Object) -> Option<&Json> {
    let mut fields = object.iter();
    let found =
        fields.find(|(name, value)| MESSAGE_NAMES.contains(&plain(name).as_str()) && says(value.as_str()));
    found.map(|(_, value)| value)
}

/// What a server says in words in an object that holds nothing of an answer, unless they are of its progress, or a model's
/// message.
pub fn in_words(object: &Object) -> Option<ErrorText> {
    let message = message(object)?;
    let word = |name| object.get(name).and_then(Json::string).unwrap_or_default().to_lowercase();
    let is_progress =
        ["type", "event", "status", "object"].map(word).iter().any(|word| PROGRESS.contains(&word.as_str()));
    let has_code = object.get(CODE).is_some_and(|code| says(code.as_str()));
    let fields = serde_json::from_str::<Object>(message.as_str()).unwrap_or_default();
    let is_models = ["role", "content"].iter().any(|name| fields.get(name).is_some());
    let is_failure = (!is_progress || has_code) && !is_models;
    is_failure.then(|| ErrorText::new(Json::of(object).as_str()))
}

fn is_error_name(name: &str) -> bool {
    let name = BEFORE_ERROR.iter().find_map(|before| name.strip_prefix(before)).unwrap_or(name);
    ERROR_NAMES.iter().any(|error| name.strip_prefix(error).is_some_and(|rest| BEHIND_ERROR.contains(&rest)))
}

/// Whether a word in lower case names an error, such as `server_error` or `throttlingexception`.
fn is_error_type(word: &str) -> bool {
    [ERROR, "exception"].iter().any(|end| word.ends_with(end))
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
            r#"{"Error":"away"}"#,
            r#"{"err":"away"}"#,
            r#"{"errcode":1,"errmsg":"away"}"#,
            r#"{"error_description":"away"}"#,
            r#"{"Error-Message":"away"}"#,
            r#"{"isError":true,"content":"away"}"#,
            r#"{"Status":"Error"}"#,
            r#"{"type":"server_error","message":"away"}"#,
            r#"{"__type":"x#ThrottlingException"}"#,
            r#"{"success":"False","message":"away"}"#,
            r#"{"error":{"id":"E17","code":17}}"#,
            r#"{"error":{"id":"E17"}}"#,
            r#"{"error":{"code":0,"message":"","details":["away"]}}"#,
            r#"{"error":"success rate too low"}"#,
            r#"{"error":"?"}"#,
            r#"{"error_code":"-200"}"#,
            r#"{"finish_reason":"aborted"}"#,
            r#"{"finishReason":{"type":"abort"}}"#,
            r#"{"finish_reason":"stop","native_finish_reason":"error"}"#,
            r#"{"failed":true}"#,
            r#"{"success":0}"#,
            r#"{"status":false}"#,
            r#"{"status":{"code":500}}"#,
            r#"{"status":"500 Internal Server Error"}"#,
            r#"{"statusCode":502.0}"#,
            r#"{"status":"timeout"}"#,
            r#"{"state":"error"}"#,
            r#"{"result":"error"}"#,
            r#"{"level":"error"}"#,
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
            r#"{"error_code":"0","error_msg":"success"}"#,
            r#"{"errcode":0,"errmsg":"ok"}"#,
            r#"{"error":"none"}"#,
            r#"{"error":"No error."}"#,
            r#"{"error":"NO_ERROR"}"#,
            r#"{"error":"N/A"}"#,
            r#"{"error":"null","exception":"None","errors":["-"]}"#,
            r#"{"error":{"code":0,"message":"OK"}}"#,
            r#"{"error":{"code":"00","message":"Berhasil","requestId":"5","timestamp":1795323025}}"#,
            r#"{"error":{"success":true,"request_id":"5"}}"#,
            r#"{"error":{"code":200,"message":"OK","status":"success"}}"#,
            r#"{"error_code":"200","has_errors":"false","errorDetails":{"list":[]}}"#,
            r#"{"errand":"away","Errata":"away","error_rate":0.5,"last_error":"away"}"#,
            r#"{"finish_reason":"stop","stop_reason":"Error:"}"#,
            r#"{"finish_reason":"stop","native_finish_reason":"COMPLETE"}"#,
            r#"{"failed":false,"failed_count":1,"status":true,"ok":1}"#,
            r#"{"status":{"code":200},"statusCode":200.0,"level":"info","result":"4004"}"#,
            r#"{"error":"no","err":"false","errors":"0"}"#,
            r#"{"error":{"code":200,"message":""}}"#,
            r#"{"error":{"has_error":false,"type":"none"}}"#,
            r#"{"error_code":"SUCCESS"}"#,
            "[]",
            "5",
        ] {
            assert!(of_json(object).is_none(), "{object}");
        }
        let paid: Object = serde_json::from_str(r#"{"text":"Pembayaran gagal","status":"failed"}"#).unwrap();
        assert!(of_answer_object(&paid).is_none() && of_object(&paid).is_some());
        for (object, is_failure) in [
            (r#"{"text":"Loket 3","code":"450"}"#, false),
            (r#"{"text":"Loket 3","Code":450}"#, false),
            (r#"{"text":"","code":450}"#, true),
            (r#"{"image":"i","code":450}"#, true),
            (r#"{"text":"away","code":450,"status":"failed"}"#, true),
            (r#"{"text":"away","status":450}"#, true),
            (r#"{"text":"Restart it","type":"printer_error"}"#, false),
            (r#"{"text":"away","type":"error"}"#, true),
            (r#"{"text":"half","finish_reason":"error"}"#, true),
        ] {
            let fields: Object = serde_json::from_str(object).unwrap();
            assert_eq!(of_answer_object(&fields).is_some(), is_failure, "{object}");
        }
        let deep = format!("{}1{}", r#"{"finish_reason":"#.repeat(100_000), "}".repeat(100_000));
        assert!(of_json(&deep).is_none());
        let deep = format!(r#"{{"error":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert!(of_json(&deep).is_none_or(|text| !text.reveal().is_empty()));
    }

    #[test]
    fn data_that_is_no_object_may_say_it_too() {
        for (data, is_failure) in [
            ("[ERROR] away", true),
            ("\"error: away\"", true),
            ("Error", true),
            ("Internal Server Error", true),
            ("Traceback (most recent call last):\n  File", true),
            ("upstream request timeout", true),
            ("upstreams: 5", false),
            ("[DONE]", false),
            ("ping", false),
            ("", false),
            ("{\"error", false),
        ] {
            assert_eq!(of_text(data).is_some(), is_failure, "{data}");
        }
    }
}
