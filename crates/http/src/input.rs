//! The input rules of all endpoints.
//!
//! A body is read as an object whose fields keep their raw JSON, so that unknown fields are never parsed, however deep
//! or large they are. Every broken rule is collected; [`Input::finish`] reports them all.

use std::collections::HashMap;
use std::str::FromStr;

use serde_json::value::RawValue;
use uuid::Uuid;
use wicara_model::account::{MAX_EMAIL_CHARS, PASSWORD_CHARS};
use wicara_model::{Bounds, Breach, Rule, UnknownWord, Violation};
use wicara_service::Error;

/// A string field and its limit.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    pub name: &'static str,
    limit: Limit,
}

#[derive(Debug, Clone, Copy)]
enum Limit {
    Characters(usize),
    /// Of UTF-8.
    Bytes(usize),
}

impl Field {
    const fn characters(name: &'static str, limit: usize) -> Self {
        Self { name, limit: Limit::Characters(limit) }
    }
}

pub const MESSAGE: Field = Field { name: "message", limit: Limit::Bytes(64 * 1024) };
pub const ROOM: Field = Field::characters("room", 255);
pub const INTEGRATION_TYPE: Field = Field::characters("integrationType", 64);
pub const BOT_ID: Field = Field::characters("botId", 64);
pub const USER_ID: Field = Field::characters("userId", 64);
pub const TYPE: Field = Field::characters("type", 64);
pub const ROLE: Field = Field::characters("role", 64);
pub const ASSIGNEE: Field = Field::characters("assignee", 64);
pub const EMAIL: Field = Field::characters("email", MAX_EMAIL_CHARS);
pub const PASSWORD: Field = Field::characters("password", *PASSWORD_CHARS.end());

pub const OLD_PASSWORD: Field = Field::characters("old", *PASSWORD_CHARS.end());
pub const NEW_PASSWORD: Field = Field::characters("new", *PASSWORD_CHARS.end());
pub const FEEDBACK_TEXT: Field = Field::characters("text", 1000);
/// A bot, where a query names one.
pub const BOT: Field = Field::characters("bot", 64);

impl Field {
    /// The rule that a text breaks, in a body or a query.
    pub fn check(self, text: &str) -> Result<(), Breach> {
        let (limit, fits) = match self.limit {
            Limit::Characters(limit) => (limit, text.chars().take(limit + 1).count() <= limit),
            Limit::Bytes(limit) => (limit, text.len() <= limit),
        };
        if text.contains('\0') {
            Err(Rule::String.into())
        } else if text.trim().is_empty() {
            Err(Rule::Required.into())
        } else if !fits {
            Err(Bounds::MaxLength(limit).into())
        } else {
            Ok(())
        }
    }
}

/// An id in a body is present, and not a number that can be an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MalformedId;

/// The fields of a request's body, and the rules broken so far.
#[derive(Debug)]
pub struct Input<'a> {
    fields: HashMap<String, &'a RawValue>,
    violations: Vec<Violation>,
}

impl<'a> Input<'a> {
    /// Reads a JSON object. Of a repeated name the last value counts. A byte order mark before it is passed over, as JSON
    /// allows (<https://www.rfc-editor.org/rfc/rfc8259#section-8.1>).
    pub fn read(body: &'a [u8]) -> Result<Self, Error> {
        let text = str::from_utf8(body).ok().map(|text| text.strip_prefix('\u{feff}').unwrap_or(text));
        let fields = text.and_then(|text| serde_json::from_str(text).ok());
        match fields {
            Some(fields) => Ok(Self { fields, violations: Vec::new() }),
            None => Err(Error::Invalid(vec![Violation::new("body", Rule::Json)])),
        }
    }

    /// A field that has to be present. The value is meaningful only if [`Input::finish`] succeeds.
    pub fn required(&mut self, field: Field) -> String {
        let text = match self.string(field.name) {
            Some(text) => text.and_then(|text| field.check(&text).map(|()| text)),
            None => Err(Rule::Required.into()),
        };
        self.collect(field.name, text).unwrap_or_default()
    }

    /// A field that may be missing; a blank one counts as missing.
    pub fn optional(&mut self, field: Field) -> Option<String> {
        let text = self.string(field.name)?.and_then(|text| match field.check(&text) {
            Ok(()) => Ok(Some(text)),
            Err(Breach { rule: Rule::Required, .. }) => Ok(None),
            Err(breach) => Err(breach),
        });
        self.collect(field.name, text).flatten()
    }

    /// A field of a patch: it may be missing, but not blank.
    pub fn patched(&mut self, field: Field) -> Option<String> {
        let text = self.string(field.name)?.and_then(|text| field.check(&text).map(|()| text));
        self.collect(field.name, text)
    }

    /// One of a fixed set of words; it may be missing.
    pub fn one_of<T: FromStr<Err = UnknownWord>>(&mut self, name: &'static str) -> Option<T> {
        let word = self.string(name)?.and_then(|text| match text.parse::<T>() {
            Ok(word) => Ok(word),
            Err(_) if text.trim().is_empty() => Err(Rule::Required.into()),
            Err(unknown) => Err(Bounds::Choices(unknown.known).into()),
        });
        self.collect(name, word)
    }

    /// True or false; it may be missing.
    pub fn flag(&mut self, name: &'static str) -> bool {
        let Some(value) = self.value(name) else { return false };
        let flag = serde_json::from_str(value.get()).map_err(|_| Rule::Boolean.into());
        self.collect(name, flag).unwrap_or_default()
    }

    /// A whole number within these bounds, that has to be present. The value is meaningful only if [`Input::finish`]
    /// succeeds.
    pub fn number(&mut self, name: &'static str, least: i64, most: i64) -> i64 {
        let number = match self.value(name).map(|value| serde_json::from_str::<i64>(value.get())) {
            None => Err(Rule::Required.into()),
            Some(Err(_)) => Err(Rule::Number.into()),
            Some(Ok(number)) if (least..=most).contains(&number) => Ok(number),
            Some(Ok(_)) => Err(Bounds::Range { start: least, stop: most }.into()),
        };
        self.collect(name, number).unwrap_or_default()
    }

    /// A UUID; it may be missing, and a blank one breaks the rule `uuid`.
    pub fn uuid(&mut self, name: &'static str) -> Option<Uuid> {
        let uuid = self.string(name)?.and_then(|text| uuid(&text).ok_or(Rule::Uuid.into()));
        self.collect(name, uuid)
    }

    /// An id that has to be present, as a string or a number.
    pub fn id<T: FromStr>(&mut self, name: &'static str) -> Result<T, MalformedId> {
        let text = match self.value(name) {
            None => Err(Rule::Required.into()),
            Some(value)
                if value.get().starts_with(['-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']) =>
            {
                Ok(value.get().to_owned())
            }
            Some(_) => self.string(name).unwrap_or(Err(Rule::Required.into())),
        };
        let text =
            text.and_then(|text| if text.trim().is_empty() { Err(Rule::Required.into()) } else { Ok(text) });
        let text = self.collect(name, text).ok_or(MalformedId)?;
        text.parse().map_err(|_| MalformedId)
    }

    /// Whether the field is there, and not null.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// Adds a broken rule.
    pub fn add_violation(&mut self, field: &'static str, breach: Breach) {
        self.violations.push(Violation::new(field, breach));
    }

    /// Fails with every broken rule of the fields that were read.
    pub fn finish(self) -> Result<(), Error> {
        if self.violations.is_empty() { Ok(()) } else { Err(Error::Invalid(self.violations)) }
    }

    /// The field's value; null counts as missing.
    fn value(&self, name: &str) -> Option<&'a RawValue> {
        self.fields.get(name).copied().filter(|value| value.get() != "null")
    }

    /// A string without NUL. Half a surrogate pair fails too, since UTF-8 cannot represent it.
    fn string(&self, name: &str) -> Option<Result<String, Breach>> {
        let value = self.value(name)?;
        let text = serde_json::from_str(value.get()).ok().filter(|text: &String| !text.contains('\0'));
        Some(text.ok_or(Rule::String.into()))
    }

    fn collect<T>(&mut self, field: &'static str, value: Result<T, Breach>) -> Option<T> {
        value.map_err(|breach| self.add_violation(field, breach)).ok()
    }
}

/// A UUID as the contract takes it: with its hyphens, in any case.
#[must_use]
pub fn uuid(text: &str) -> Option<Uuid> {
    (text.len() == 36).then(|| Uuid::try_parse(text).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use wicara_model::{ConversationId, Handler};

    use super::*;

    fn violations(body: &str, read: impl FnOnce(&mut Input)) -> Vec<(Rule, &'static str)> {
        let mut input = Input::read(body.as_bytes()).unwrap();
        read(&mut input);
        match input.finish() {
            Ok(()) => Vec::new(),
            Err(Error::Invalid(violations)) => violations.iter().map(|v| (v.rule, v.field)).collect(),
            Err(error) => panic!("{error}"),
        }
    }

    fn rule_of(value: &str, read: impl FnOnce(&mut Input)) -> Option<Rule> {
        let body = format!(r#"{{"room":{value},"message":{value},"handler":{value},"session_id":{value}}}"#);
        violations(&body, read).first().map(|(rule, _)| *rule)
    }

    #[test]
    fn a_byte_order_mark_before_a_body_is_passed_over() {
        let mut input = Input::read("\u{feff}{\"room\":\"\u{feff}a\"}".as_bytes()).unwrap();
        assert_eq!(input.required(ROOM), "\u{feff}a");
        input.finish().unwrap();
        assert!(Input::read("\u{feff}\u{feff}{}".as_bytes()).is_err());
    }

    #[test]
    fn a_body_that_is_no_json_object_breaks_the_rule_json() {
        let bodies: [&[u8]; 9] = [
            b"",
            b"null",
            b"[]",
            b"\"text\"",
            b"{",
            br#"{"room":"a",}"#,
            br#"{"room":"a"} x"#,
            b"{\"room\":\"\xff\"}",
            b"{\"x\xff\":1}",
        ];
        for body in bodies {
            match Input::read(body) {
                Err(Error::Invalid(violations)) => {
                    assert_eq!(violations, [Violation::new("body", Rule::Json)]);
                }
                other => panic!("{:?}: {other:?}", String::from_utf8_lossy(body)),
            }
        }
    }

    #[test]
    fn unknown_fields_are_not_parsed() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        let body = format!(r#"{{"deep":{deep},"big":1e309,"half":"\ud800","nul":"\u0000","room":"a"}}"#);
        let mut input = Input::read(body.as_bytes()).unwrap();
        assert_eq!(input.required(ROOM), "a");
        assert!(input.finish().is_ok());
    }

    #[test]
    fn of_a_name_that_stands_twice_the_last_value_counts() {
        let mut input = Input::read(br#"{"room":1,"room":"b"}"#).unwrap();
        assert_eq!(input.required(ROOM), "b");
        assert!(input.finish().is_ok());
    }

    #[test]
    fn every_broken_rule_is_listed_in_the_order_of_the_fields() {
        let broken = violations(r#"{"type":5,"role":"  "}"#, |input| {
            input.required(MESSAGE);
            input.required(TYPE);
            input.required(ROLE);
            let _ = input.id::<ConversationId>("conversationId");
        });
        let expected = [
            (Rule::Required, "message"),
            (Rule::String, "type"),
            (Rule::Required, "role"),
            (Rule::Required, "conversationId"),
        ];
        assert_eq!(broken, expected);
    }

    #[test]
    fn a_required_string_is_there_is_a_string_and_is_not_blank() {
        for (value, rule) in [
            ("null", Rule::Required),
            (r#""""#, Rule::Required),
            (r#"" \t\n\u00a0\u3000""#, Rule::Required),
            ("5", Rule::String),
            ("true", Rule::String),
            ("{}", Rule::String),
            ("[]", Rule::String),
            ("1e309", Rule::String),
            (r#""a\u0000""#, Rule::String),
            (r#""\u0000""#, Rule::String),
            (r#""\ud83d""#, Rule::String),
            (r#""\ude0a\ud83d""#, Rule::String),
        ] {
            assert_eq!(rule_of(value, |input| drop(input.required(ROOM))), Some(rule), "{value}");
        }
        for value in
            [r#""a""#, r#"" a ""#, r#""\ud83d\ude0a""#, r#""{\"a\":1}""#, "\"\u{202e}e\u{301}\u{200d}\""]
        {
            assert_eq!(rule_of(value, |input| drop(input.required(ROOM))), None, "{value}");
        }
    }

    #[test]
    fn a_string_is_returned_unchanged() {
        let mut input = Input::read("{\"room\":\"  e\u{301} 😊\\n \"}".as_bytes()).unwrap();
        assert_eq!(input.required(ROOM), "  e\u{301} 😊\n ");
    }

    #[test]
    fn a_message_is_limited_in_bytes_and_a_room_in_characters() {
        let text = |length: usize, letter: &str| format!("\"{}\"", letter.repeat(length));
        let room = |value: &str| rule_of(value, |input| drop(input.required(ROOM)));
        let message = |value: &str| rule_of(value, |input| drop(input.required(MESSAGE)));
        assert_eq!(room(&text(255, "é")), None);
        assert_eq!(room(&text(256, "é")), Some(Rule::MaxLength));
        assert_eq!(message(&text(65_536, "a")), None);
        assert_eq!(message(&text(65_537, "a")), Some(Rule::MaxLength));
        assert_eq!(message(&text(32_768, "é")), None);
        assert_eq!(message(&text(32_769, "é")), Some(Rule::MaxLength));
    }

    #[test]
    fn an_optional_field_may_be_blank_but_a_changed_one_may_not() {
        for value in ["null", r#""""#, r#""  ""#] {
            assert_eq!(rule_of(value, |input| assert_eq!(input.optional(ROOM), None)), None, "{value}");
        }
        assert_eq!(rule_of("5", |input| drop(input.optional(ROOM))), Some(Rule::String));
        assert_eq!(rule_of("null", |input| assert_eq!(input.patched(ROOM), None)), None);
        assert_eq!(rule_of(r#""  ""#, |input| drop(input.patched(ROOM))), Some(Rule::Required));
        let long = format!("\"{}\"", "a".repeat(256));
        assert_eq!(rule_of(&long, |input| drop(input.optional(ROOM))), Some(Rule::MaxLength));
    }

    #[test]
    fn a_word_is_one_of_the_known_ones() {
        let handler = |value: &str| rule_of(value, |input| _ = input.one_of::<Handler>("handler"));
        assert_eq!(handler(r#""human""#), None);
        assert_eq!(handler("null"), None);
        assert_eq!(handler(r#""Human""#), Some(Rule::Enum));
        assert_eq!(handler(r#""""#), Some(Rule::Required));
        assert_eq!(handler("1"), Some(Rule::String));
    }

    #[test]
    fn a_session_id_is_a_uuid_with_hyphens_in_any_case() {
        let session = |value: &str| rule_of(value, |input| _ = input.uuid("session_id"));
        assert_eq!(session("null"), None);
        assert_eq!(session(r#""1309C142-3535-45b2-acdf-8bfbe59c3b9a""#), None);
        for value in [
            r#""""#,
            r#""abc""#,
            r#""1309c142353545b2acdf8bfbe59c3b9a""#,
            r#""{1309c142-3535-45b2-acdf-8bfbe59c3b9a}""#,
            r#"" 1309c142-3535-45b2-acdf-8bfbe59c3b9a""#,
        ] {
            assert_eq!(session(value), Some(Rule::Uuid), "{value}");
        }
        assert_eq!(session("5"), Some(Rule::String));
    }

    #[test]
    fn an_id_is_taken_as_a_string_or_a_number() {
        let id = |value: &str| {
            let body = format!(r#"{{"id":{value}}}"#);
            let mut input = Input::read(body.as_bytes()).unwrap();
            (input.id::<ConversationId>("id"), input.finish().is_ok())
        };
        assert_eq!(id("5"), (Ok(ConversationId(5)), true));
        assert_eq!(id(r#""5""#), (Ok(ConversationId(5)), true));
        assert_eq!(id("9223372036854775807"), (Ok(ConversationId(i64::MAX)), true));
        for value in ["-1", "1.5", "1e3", "1.0", r#""5 ""#, r#""abc""#, "9223372036854775808"] {
            assert_eq!(id(value), (Err(MalformedId), true), "{value}");
        }
        for value in ["null", r#""""#, r#""  ""#, "true", "{}", "[5]", r#""\u0000""#, r#""\ud800""#] {
            assert_eq!(id(value), (Err(MalformedId), false), "{value}");
        }
    }
}
