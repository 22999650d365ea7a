//! What is read of a completion, or of one chunk of a streamed one.

use serde_json::from_str;
use serde_json::value::RawValue;
use wicara_model::{Json, Object};

use crate::pieces::Pieces;
use crate::thoughts::visible;
use crate::{Error, failures};

/// The types of a content's parts that are text for the reader. Others are pictures, calls of tools, or thoughts.
const TEXT_TYPES: [&str; 4] = ["", "text", "output_text", "input_text"];
/// The roles of messages that are not the model's answer, such as the output of a tool.
const OTHER_ROLES: [&str; 5] = ["tool", "function", "system", "developer", "user"];
/// The fields of a message in which a model thinks aloud.
const THOUGHTS: [&str; 3] = ["reasoning_content", "reasoning", "thinking"];
/// Fields that may hold a failure in an object without a choice.
const WRAPPERS: [&str; 3] = ["data", "response", "result"];

/// What one choice of a completion says.
#[derive(Debug, Default)]
pub struct Choice {
    pub index: u64,
    /// The next piece of the text.
    pub delta: Said,
    /// The whole text, or as much as there is of it.
    pub message: Said,
    pub end: End,
}

/// One message or a piece of one.
#[derive(Debug, Default)]
pub struct Said {
    content: Option<Json>,
    /// A model that refuses to answer says so here, in place of the content.
    refusal: Option<Json>,
    pub has_thoughts: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It says nothing of an end. Some servers leave that out of whole completions.
    #[default]
    Unsaid,
    /// More follows.
    Open,
    Finished,
}

/// Reads a frame's data, which [`Json::joinable`] has repaired. Empty where it is nothing of a completion, or has no choice,
/// such as the count of tokens. The error is what it says of a failure, wherever that stands.
pub fn read(data: &Json) -> Result<Vec<Choice>, Error> {
    let Some(object) = object(Some(data)) else { return Ok(Vec::new()) };
    failures::check(&object)?;
    let choices: Vec<Json> =
        object.get("choices").and_then(|choices| from_str(choices.as_str()).ok()).unwrap_or_default();
    if choices.is_empty() {
        let mut wrapped = WRAPPERS.iter().filter_map(|name| object.get(name));
        wrapped.try_for_each(|wrapped| failures::check_json(wrapped.as_str()))?;
        if let Some(failure) = failures::in_words(&object) {
            return Err(Error::Failed(failure));
        }
    }
    choices.iter().filter_map(|choice| read_choice(choice).transpose()).collect()
}

fn read_choice(choice: &Json) -> Result<Option<Choice>, Error> {
    let Some(choice) = object(Some(choice)) else { return Ok(None) };
    failures::check(&choice)?;
    let delta = read_said(choice.get("delta"))?;
    let message = read_said(choice.get("message"))?;
    let end = match choice.get("finish_reason") {
        None => End::Unsaid,
        Some(reason) if failures::is_end(reason) => End::Finished,
        Some(_) => End::Open,
    };
    let index = choice.get("index").and_then(|index| index.as_str().parse().ok()).unwrap_or_default();
    Ok(Some(Choice { index, delta, message, end }))
}

fn read_said(said: Option<&Json>) -> Result<Said, Error> {
    let Some(said) = object(said) else { return Ok(Said::default()) };
    failures::check(&said)?;
    let role = said.get("role").and_then(Json::string).unwrap_or_default().to_lowercase();
    if OTHER_ROLES.contains(&role.as_str()) {
        return Ok(Said::default());
    }
    let is_thinking_alone = is_thought(&said);
    let content = said.get("content").filter(|_| !is_thinking_alone).cloned();
    let is_thinking = |part: &Json| {
        let part: Object = from_str(part.as_str()).unwrap_or_default();
        let kind = part.get("type").and_then(Json::string).unwrap_or_default();
        is_thought(&part) || kind.eq_ignore_ascii_case("thinking") || kind.eq_ignore_ascii_case("reasoning")
    };
    let parts: Vec<Json> =
        content.as_ref().and_then(|parts| from_str(parts.as_str()).ok()).unwrap_or_default();
    let has_thoughts = is_thinking_alone
        || THOUGHTS.iter().any(|name| said.get(name).is_some_and(|thought| failures::says(thought.as_str())))
        || parts.iter().any(is_thinking);
    Ok(Said { content, refusal: said.get("refusal").cloned(), has_thoughts })
}

/// Whether a message or part is marked as what the model thinks.
fn is_thought(object: &Object) -> bool {
    object.get("thought").is_some_and(|thought| thought.as_str() == "true")
}

fn object(json: Option<&Json>) -> Option<Object> {
    from_str(json?.as_str()).ok()
}

impl Said {
    /// The text of the content, and of the refusal where the content has nothing for the reader; empty where neither has any.
    pub fn text(&self, pieces: &mut Pieces) -> String {
        let text_of = |said: &Option<Json>, pieces: &mut Pieces| {
            said.as_ref().map(|said| text(said.as_str(), pieces)).unwrap_or_default()
        };
        let content = text_of(&self.content, pieces);
        if !visible(&content).trim().is_empty() {
            return content;
        }
        let refusal = text_of(&self.refusal, pieces);
        if !refusal.is_empty() && content.trim().is_empty() { refusal } else { content + &refusal }
    }
}

/// The text of a content: a string, a part, or a list of them.
fn text(content: &str, pieces: &mut Pieces) -> String {
    if !content.starts_with('[') {
        return part_text(content, pieces);
    }
    let parts: Vec<&RawValue> = from_str(content).unwrap_or_default();
    parts.into_iter().map(|part| part_text(part.get(), pieces)).collect()
}

fn part_text(part: &str, pieces: &mut Pieces) -> String {
    if let Some(text) = pieces.next(part) {
        return text;
    }
    let Ok(part) = from_str::<Object>(part) else { return String::new() };
    let field = |name| part.get(name).map(Json::as_str);
    let kind = part.get("type").and_then(Json::string).unwrap_or_default().to_lowercase();
    let text = match kind.as_str() {
        _ if is_thought(&part) => None,
        "refusal" => field("refusal"),
        kind if TEXT_TYPES.contains(&kind) => field("text"),
        _ => None,
    };
    let Some(text) = text else { return String::new() };
    // A text may be an object with annotations.
    let value = from_str::<Object>(text).ok().and_then(|object| object.get("value").cloned());
    pieces.next(value.as_ref().map_or(text, Json::as_str)).unwrap_or_default()
}
