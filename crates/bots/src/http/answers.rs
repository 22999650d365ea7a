//! Finds the answers in a bot's JSON, and the failures that stand in their place.

use serde_json::from_str;
use wicara_model::{Answer, Json, Object};
use wicara_outbound::ErrorText;

use super::pointer::Pointer;
use crate::field_name::plain;
use crate::shown::shows;
use crate::{Error, failures};

/// The answers at the pointer: at least one.
pub fn of_document(document: Json, pointer: &Pointer) -> Result<Vec<Answer>, Error> {
    let found = pointer.resolve(&document, check_step)?;
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

/// The error where a value on the way to the answer says of a failure, by its fields or by an error in the answer's place.
fn check_step(value: &Json, name: &str, next: Option<&Json>) -> Result<(), Error> {
    let Ok(object) = from_str::<Object>(value.as_str()) else { return Ok(()) };
    let text = next.and_then(Json::string).filter(|text| !text.trim().is_empty());
    // Of a failure a text says what happened.
    let is_answer = text.is_some() && !failures::is_message_name(&plain(name));
    let failure = if is_answer { failures::beside_text(&object) } else { failures::of_object(&object) };
    failure.map_or(Ok(()), |failure| Err(Error::Failed(failure)))
}

/// Says where texts stand instead, and not what they say: that may be personal, and errors are logged.
fn nothing_at(place: &str, document: &Json) -> String {
    let texts = Pointer::places_of_texts(document);
    let texts: Vec<_> = texts.iter().map(|place| format!("{place:?}")).collect();
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
    if let Some(failure) = failures::of_answer_object(&object) {
        return Err(Error::Failed(failure));
    }
    let Some(answer) = Answer::object(found) else { return Ok(None) };
    if !answer.text.trim().is_empty() || shows(&object) {
        return Ok(Some(answer));
    }
    failures::check(&object)?;
    // What it says in place of a text, such as `{"detail": "Not Found"}`, is for the operator.
    let has_words = object
        .iter()
        .any(|(name, value)| failures::is_message_name(&plain(name)) && failures::says(value.as_str()));
    if has_words { Err(Error::Failed(ErrorText::new(Json::of(&object).as_str()))) } else { Ok(None) }
}
