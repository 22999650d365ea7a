//! Finds the answers in Langflow's responses. A response repeats a text in several fields, and each version of Langflow
//! leaves out different ones.

use std::collections::{HashMap, HashSet};

use serde_json::from_str;
use serde_json::value::RawValue;
use wicara_model::{Answer, Json, Object};
use wicara_outbound::ErrorText;

use crate::Error;

/// The fields of a message that an answer object keeps beside the text. The others are not for visitors: the steps of an
/// agent, the output of its tools, tracebacks, and the session id, which is the visitor's key to the conversation.
const FIELDS: [&str; 5] = ["properties", "category", "id", "flow_id", "suggest_links"];

const NULL: &str = "null";
const COMPLETED: &str = "\"completed\"";

/// The JSON value at a path of names. Borrowed, because a response may hold megabytes of logs.
pub fn at<'a>(json: &'a str, names: &[&str]) -> Option<&'a str> {
    let [name, path @ ..] = names else { return Some(json) };
    let fields: HashMap<String, &RawValue> = from_str(json).ok()?;
    at(fields.get(*name)?.get(), path)
}

pub fn string_at(json: &str, names: &[&str]) -> Option<String> {
    from_str(at(json, names)?).ok()
}

/// The list in a field; empty where there is none.
fn list_at<'a>(json: &'a str, name: &str) -> Vec<&'a str> {
    let list: Option<Vec<&RawValue>> = at(json, &[name]).and_then(|list| from_str(list).ok());
    list.unwrap_or_default().into_iter().map(RawValue::get).collect()
}

/// The answers of a whole response of v1 or v2, each text once.
pub fn of_response(response: &str) -> Result<Vec<Answer>, Error> {
    let mut answers = match at(response, &["status"]) {
        Some(status) => of_workflow(response, status)?,
        None => of_run(response)?,
    };
    let mut seen_texts = HashSet::new();
    answers.retain(|answer| seen_texts.insert(answer.text.clone()));
    if answers.is_empty() {
        return Err(Error::Unreadable("there is no text in it".to_owned()));
    }
    Ok(answers)
}

/// v1: an answer for each output of each run.
fn of_run(response: &str) -> Result<Vec<Answer>, Error> {
    let runs = list_at(response, "outputs");
    let outputs = runs.iter().flat_map(|run| list_at(run, "outputs"));
    outputs.filter_map(|output| of_output(output).transpose()).collect()
}

fn of_output(output: &str) -> Result<Option<Answer>, Error> {
    let message = at(output, &["results", "message"]);
    let data = message.and_then(|message| at(message, &["data"])).filter(|data| *data != NULL);
    let fields: Object = data.or(message).and_then(|fields| from_str(fields).ok()).unwrap_or_default();
    let field = |name: &str| fields.get(name).filter(|value| value.as_str() != NULL);
    let text = text(output);
    if field("category").and_then(Json::string).is_some_and(|category| category == "error") {
        return Err(Error::Failed(ErrorText::new(&text.unwrap_or_default())));
    }
    let Some(text) = text else { return Ok(None) };
    let mut payload = Object::default();
    payload.set("text", Json::of(&text));
    for name in FIELDS {
        if let Some(value) = field(name) {
            payload.set(name, without_nulls(value));
        }
    }
    Ok(Answer::object(Json::of(&payload)))
}

fn text(output: &str) -> Option<String> {
    let first_message = list_at(output, "messages").into_iter().next();
    let candidates = [
        at(output, &["outputs", "message", "message"]),
        at(output, &["results", "message", "text"]),
        at(output, &["results", "message", "data", "text"]),
        at(output, &["artifacts", "message"]),
        first_message.and_then(|message| at(message, &["message"])),
    ];
    let texts = candidates
        .into_iter()
        .flatten()
        .filter_map(|value| from_str(value).ok().or_else(|| string_at(value, &["text"])));
    texts.into_iter().find(|text| !text.trim().is_empty())
}

/// Removes fields that are `null`: servers write it into fields that are strings by the Chatbot API's contract.
fn without_nulls(value: &Json) -> Json {
    let Ok(object) = from_str::<Object>(value.as_str()) else { return value.clone() };
    let mut kept = Object::default();
    for (name, value) in object.iter().filter(|(_, value)| value.as_str() != NULL) {
        let value = if name == "source" { without_nulls(value) } else { value.clone() };
        kept.set(name, value);
    }
    Json::of(&kept)
}

/// v2: one text for the whole flow, or one for each component.
fn of_workflow(response: &str, status: &str) -> Result<Vec<Answer>, Error> {
    let has_errors = at(response, &["has_errors"]).is_some_and(|value| value == "true");
    if has_errors || status != COMPLETED {
        return Err(list_at(response, "errors")
            .first()
            .map_or_else(|| failure(response), |error| failure(error)));
    }
    if let Some(text) = string_at(response, &["output", "text"]).filter(|text| !text.trim().is_empty()) {
        return Ok(vec![Answer::text(text)]);
    }
    let outputs = at(response, &["outputs"]).and_then(|outputs| from_str::<Object>(outputs).ok());
    let outputs = outputs.unwrap_or_default();
    outputs.iter().filter_map(|(_, output)| of_component(output.as_str()).transpose()).collect()
}

/// v2: the output of one component; `None` where it is no text.
pub fn of_component(output: &str) -> Result<Option<Answer>, Error> {
    if at(output, &["status"]).is_some_and(|status| status != COMPLETED) {
        return Err(failure(output));
    }
    let text = string_at(output, &["content"]).filter(|text| !text.trim().is_empty());
    Ok(text.map(Answer::text))
}

/// An error that Langflow sent instead of an answer.
pub fn failure(data: &str) -> Error {
    let text = string_at(data, &["text"]).or_else(|| string_at(data, &["error"]));
    Error::Failed(ErrorText::new(text.as_deref().unwrap_or(data)))
}
