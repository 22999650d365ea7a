//! What is read of a completion, or of one chunk of a streamed one.

use serde_json::from_str;
use serde_json::value::RawValue;
use wicara_model::{Json, Object};
use wicara_outbound::ErrorText;

use crate::pieces::Pieces;
use crate::{Error, failures};

/// The types of a content's parts that are text for the reader. Others are pictures, calls of tools, or thoughts.
const TEXT_TYPES: [&str; 3] = ["", "text", "output_text"];

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

/// What the first choice of a completion says: the request asks for one.
#[derive(Debug, Default)]
pub struct Choice {
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

/// Reads a frame's data, which [`Json::joinable`] has repaired. `None` where it is nothing of a completion, or has no choice,
/// such as the count of tokens. The error is what it says of a failure, wherever that stands.
pub fn read(data: &Json) -> Result<Option<Choice>, Error> {
    let Some(object) = object(Some(data)) else { return Ok(None) };
    failures::check(&object)?;
    let choices: Vec<Json> =
        object.get("choices").and_then(|choices| from_str(choices.as_str()).ok()).unwrap_or_default();
    if choices.is_empty() && says_failure(&object) {
        return Err(Error::Failed(ErrorText::new(data.as_str())));
    }
    let mut first = None;
    for choice in &choices {
        let choice = read_choice(choice)?;
        first = first.or(choice);
    }
    Ok(first)
}

/// Whether a frame without a choice tells of a failure in words. It does not where the words are of its progress, or where
/// the message is a model's.
fn says_failure(object: &Object) -> bool {
    let Some(message) = failures::message(object) else { return false };
    let word = |name| object.get(name).and_then(Json::string).unwrap_or_default().to_lowercase();
    let is_progress =
        ["type", "event", "status", "object"].map(word).iter().any(|word| PROGRESS.contains(&word.as_str()));
    let has_code = object.get("code").is_some_and(|code| failures::says(code.as_str()));
    let fields = from_str::<Object>(message.as_str()).unwrap_or_default();
    let is_models = ["role", "content"].iter().any(|name| fields.get(name).is_some());
    (!is_progress || has_code) && !is_models
}

fn read_choice(choice: &Json) -> Result<Option<Choice>, Error> {
    let Some(choice) = object(Some(choice)) else { return Ok(None) };
    failures::check(&choice)?;
    let delta = read_said(choice.get("delta"))?;
    let message = read_said(choice.get("message"))?;
    let end = match choice.get("finish_reason") {
        None => End::Unsaid,
        Some(reason) if failures::reason(reason).trim().is_empty() => End::Open,
        Some(_) => End::Finished,
    };
    Ok(Some(Choice { delta, message, end }))
}

fn read_said(said: Option<&Json>) -> Result<Said, Error> {
    let Some(said) = object(said) else { return Ok(Said::default()) };
    failures::check(&said)?;
    Ok(Said { content: said.get("content").cloned(), refusal: said.get("refusal").cloned() })
}

fn object(json: Option<&Json>) -> Option<Object> {
    from_str(json?.as_str()).ok()
}

impl Said {
    /// The text of the content, and of the refusal where the content has none; empty where neither has any.
    pub fn text(&self, pieces: &mut Pieces) -> String {
        let text_of = |said: &Option<Json>, pieces: &mut Pieces| {
            said.as_ref().map(|said| text(said.as_str(), pieces)).unwrap_or_default()
        };
        let content = text_of(&self.content, pieces);
        if content.is_empty() { text_of(&self.refusal, pieces) } else { content }
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
    let kind = part.get("type").and_then(Json::string).unwrap_or_default();
    let text = match kind.as_str() {
        "refusal" => field("refusal"),
        kind if TEXT_TYPES.contains(&kind) => field("text"),
        _ => None,
    };
    let Some(text) = text else { return String::new() };
    // A text may be an object with annotations.
    let value = from_str::<Object>(text).ok().and_then(|object| object.get("value").cloned());
    pieces.next(value.as_ref().map_or(text, Json::as_str)).unwrap_or_default()
}
