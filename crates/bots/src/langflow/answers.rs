//! Finds the answers in Langflow's responses. A response repeats a text in several fields, and each version of Langflow
//! leaves out different ones.

use std::collections::{HashMap, HashSet};

use serde_json::from_str;
use serde_json::value::RawValue;
use wicara_model::{Answer, Json, Object};
use wicara_outbound::ErrorText;

use crate::{Error, failures};

/// The fields of a message that an answer object keeps beside the text. The others are not for visitors: the steps of an
/// agent, the output of its tools, tracebacks, and the session id, which is the visitor's key to the conversation.
const FIELDS: [&str; 5] = ["properties", "category", "id", "flow_id", "suggest_links"];

const NULL: &str = "null";
const COMPLETED: &str = "completed";

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

/// The answers of a whole response of v1 or v2, each text once; none where there is no text in it.
pub fn of_response(response: &str) -> Result<Vec<Answer>, Error> {
    let has = |name: &str| at(response, &[name]).is_some();
    let is_workflow = ["output", "outputs", "errors", "has_errors"].into_iter().any(has);
    let mut answers = match string_at(response, &["status"]).filter(|_| is_workflow) {
        Some(status) => of_workflow(response, &status)?,
        None => of_run(response)?,
    };
    let mut seen_texts = HashSet::new();
    answers.retain(|answer| seen_texts.insert(answer.text.clone()));
    Ok(answers)
}

/// v1: an answer for each output of each run.
fn of_run(response: &str) -> Result<Vec<Answer>, Error> {
    failures::check_json(response)?;
    let runs = list_at(response, "outputs");
    runs.iter().try_for_each(|run| failures::check_json(run))?;
    let outputs = runs.iter().flat_map(|run| list_at(run, "outputs"));
    outputs.filter_map(|output| of_output(output).transpose()).collect()
}

fn of_output(output: &str) -> Result<Option<Answer>, Error> {
    failures::check_json(output)?;
    for name in ["results", "artifacts"] {
        at(output, &[name]).map_or(Ok(()), failures::check_json)?;
    }
    let message = at(output, &["results", "message"]);
    let text = text(output);
    let shown = at(output, &["outputs", "message", "message"]);
    for copy in list_at(output, "messages").into_iter().chain(shown) {
        check_message(&fields(copy), text.as_deref())?;
    }
    let kind = string_at(output, &["outputs", "message", "type"]);
    if kind.is_some_and(|kind| kind.eq_ignore_ascii_case("error")) {
        return Err(Error::Failed(ErrorText::new(&text.unwrap_or_else(|| output.to_owned()))));
    }
    let fields = message.map(fields).unwrap_or_default();
    check_message(&fields, text.as_deref())?;
    Ok(text.and_then(|text| of_fields(&fields, &text)))
}

/// The fields of a message, which are at its `data` in some versions.
fn fields(message: &str) -> Object {
    let data = at(message, &["data"]).filter(|data| data.starts_with('{'));
    from_str(data.unwrap_or(message)).unwrap_or_default()
}

/// A message of the category `error`, or with `"error": true`, is a failure. So is one in this state, or with a step that is
/// an error.
fn check_message(fields: &Object, text: Option<&str>) -> Result<(), Error> {
    let properties = || failures::of_json(fields.get("properties")?.as_str());
    let failure = failures::of_object(fields).or_else(properties).or_else(|| failed_step(fields));
    let Some(failure) = failure else { return Ok(()) };
    Err(Error::Failed(text.filter(|text| !text.trim().is_empty()).map_or(failure, ErrorText::new)))
}

/// What the steps of a message, which stand in blocks, say of a failure of the whole message: one of a tool is none.
fn failed_step(fields: &Object) -> Option<ErrorText> {
    let blocks: Vec<Json> = from_str(fields.get("content_blocks")?.as_str()).ok()?;
    blocks.iter().find_map(|block| {
        let inner = list_at(block.as_str(), "contents");
        let mut steps = inner.into_iter().chain([block.as_str()]);
        steps.find(|step| string_at(step, &["type"]).as_deref() == Some("error")).map(ErrorText::new)
    })
}

fn of_fields(fields: &Object, text: &str) -> Option<Answer> {
    let mut payload = Object::default();
    payload.set("text", Json::of(text));
    for name in FIELDS {
        if let Some(value) = fields.get(name).filter(|value| value.as_str() != NULL) {
            payload.set(name, without_nulls(value));
        }
    }
    Answer::object(Json::of(&payload))
}

/// A message that was added to the conversation while the flow ran.
pub struct Message {
    pub id: String,
    /// The flow's own, not the question.
    pub is_from_flow: bool,
    /// `None` where there is no text in it.
    pub answer: Option<Answer>,
}

/// The message of an `add_message` event. One that is an error is a failure of the flow.
pub fn of_message(data: &str) -> Result<Message, Error> {
    let fields = fields(data);
    let string = |name: &str| string_at(data, &[name]).or_else(|| fields.get(name).and_then(Json::string));
    let text = string("text").unwrap_or_default();
    let sender = string("sender").unwrap_or_default();
    let is_from_flow = !sender.eq_ignore_ascii_case("user");
    if is_from_flow {
        check_message(&fields, Some(&text))?;
        failures::check_json(data)?;
    }
    let answer = if text.trim().is_empty() { None } else { of_fields(&fields, &text) };
    Ok(Message { id: string("id").unwrap_or_default(), is_from_flow, answer })
}

/// What a server says that knows no answer, such as `{"detail": "Not Found"}`.
pub fn check_words(response: &str) -> Result<(), Error> {
    if let Some(detail) = at(response, &["detail"]).filter(|detail| failures::says(detail)) {
        return Err(Error::Failed(failures::text(detail)));
    }
    let object: Object = from_str(response).unwrap_or_default();
    failures::in_words(&object).map_or(Ok(()), |failure| Err(Error::Failed(failure)))
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
    let has_errors = at(response, &["has_errors"]).is_some_and(failures::says);
    let reason = string_at(response, &["output", "reason"]).unwrap_or_default();
    if let Some(error) = list_at(response, "errors").into_iter().find(|error| failures::says(error)) {
        return Err(failure(error));
    }
    if has_errors || !status.eq_ignore_ascii_case(COMPLETED) || failures::breaks_off(&reason) {
        return Err(failure(response));
    }
    failures::check_json(response)?;
    at(response, &["output"]).map_or(Ok(()), failures::check_json)?;
    if let Some(text) = string_at(response, &["output", "text"]).filter(|text| !text.trim().is_empty()) {
        return Ok(vec![Answer::text(text)]);
    }
    let outputs = at(response, &["outputs"]).and_then(|outputs| from_str::<Object>(outputs).ok());
    let outputs = outputs.unwrap_or_default();
    outputs.iter().filter_map(|(_, output)| of_component(output.as_str()).transpose()).collect()
}

/// v2: the output of one component; `None` where it is no text.
pub fn of_component(output: &str) -> Result<Option<Answer>, Error> {
    if string_at(output, &["status"]).is_some_and(|status| !status.eq_ignore_ascii_case(COMPLETED)) {
        return Err(failure(output));
    }
    failures::check_json(output)?;
    if let Some(content) = at(output, &["content"]) {
        failures::check_json(content)?;
        let kind = string_at(content, &["message", "type"]).or_else(|| string_at(content, &["type"]));
        if kind.is_some_and(|kind| kind.eq_ignore_ascii_case("error")) {
            return Err(failure(output));
        }
    }
    let text = string_at(output, &["content"]).filter(|text| !text.trim().is_empty());
    Ok(text.map(Answer::text))
}

/// An error that Langflow sent instead of an answer.
pub fn failure(data: &str) -> Error {
    let text = string_at(data, &["text"]).or_else(|| string_at(data, &["error"]));
    Error::Failed(text.as_deref().map_or_else(|| failures::text(data), ErrorText::new))
}
