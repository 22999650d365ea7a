//! Finds the answers in a bot's JSON, and the failures that stand in their place.

use serde_json::from_str;
use wicara_model::{Answer, Json, Object};
use wicara_outbound::ErrorText;

use super::pointer::Pointer;
use crate::{Error, failures};

/// Fields of an answer object that show a reader nothing: an object that has no text and no fields but these is no answer.
const SILENT_FIELDS: &[&str] = &[
    "text",
    "id",
    "message_id",
    "messageId",
    "conversation_id",
    "conversationId",
    "session_id",
    "sessionId",
    "recipient_id",
    "task_id",
    "request_id",
    "requestId",
    "trace_id",
    "flow_id",
    "sender",
    "sender_name",
    "role",
    "category",
    "properties",
    "metadata",
    "usage",
    "model",
    "object",
    "type",
    "event",
    "mode",
    "status",
    "status_code",
    "statusCode",
    "code",
    "success",
    "ok",
    "state",
    "message",
    "msg",
    "detail",
    "details",
    "reason",
    "timestamp",
    "created",
    "created_at",
    "createdAt",
];

/// The answers at the pointer: at least one.
pub fn of_document(document: Json, pointer: &Pointer) -> Result<Vec<Answer>, Error> {
    // Where the document is the answer object itself, it is looked at below.
    let failure = failures::of_json(document.as_str()).filter(|_| !pointer.is_empty());
    let found = pointer.resolve(&document);
    if let Some(failure) = failure {
        return Err(Error::Failed(failure));
    }
    let place = pointer.to_string();
    let found = found.ok_or_else(|| Error::Unreadable(nothing_at(&place, &document)))?;
    let values: Vec<Json> = match found.as_str().starts_with('[') {
        true => from_str(found.as_str()).unwrap_or_default(),
        false => vec![found],
    };
    if values.is_empty() {
        return Err(Error::Unreadable("it is empty".to_owned()));
    }
    let mut answers = Vec::new();
    for value in values {
        // What is no answer is left out of a list.
        answers.extend(answer(value)?);
    }
    if answers.is_empty() {
        return Err(Error::Unreadable(format!(
            "at {place:?} stands neither a text, nor an answer object with a text, nor a list of them"
        )));
    }
    Ok(answers)
}

/// Says where texts stand instead, and not what they say: that may be personal, and errors are logged.
fn nothing_at(place: &str, document: &Json) -> String {
    let texts = Pointer::to_texts(document);
    let texts: Vec<_> = texts.iter().map(|pointer| format!("{:?}", pointer.to_string())).collect();
    match texts.is_empty() {
        true => format!("there is nothing at {place:?}, and no text elsewhere in it"),
        false => format!("there is nothing at {place:?}; there are texts at {}", texts.join(", ")),
    }
}

/// The answer in a string or an answer object; `None` where there is nothing to show.
fn answer(found: Json) -> Result<Option<Answer>, Error> {
    if let Some(text) = found.string() {
        return Ok((!text.trim().is_empty()).then(|| Answer::text(text)));
    }
    let Ok(object) = from_str::<Object>(found.as_str()) else { return Ok(None) };
    if let Some(failure) = failures::of_answer(&object) {
        return Err(Error::Failed(failure));
    }
    let says_error = |name: &str| object.get(name).is_some_and(|value| failures::says(value.as_str()));
    let shows =
        object.iter().any(|(name, value)| !SILENT_FIELDS.contains(&name) && failures::says(value.as_str()));
    let Some(answer) = Answer::object(found) else { return Ok(None) };
    match answer.text.trim().is_empty() && !shows {
        false => Ok(Some(answer)),
        // What it says in place of a text, such as `{"detail": "Not Found"}`, is for the operator.
        true if failures::of_object(&object).is_some()
            || ["message", "msg", "detail", "details", "reason"].into_iter().any(says_error) =>
        {
            Err(Error::Failed(ErrorText::new(Json::of(&object).as_str())))
        }
        true => Ok(None),
    }
}
