//! The kind `openai`: any chat completions API in the form of OpenAI's
//! (<https://platform.openai.com/docs/api-reference/chat>), which Ollama, vLLM, llama.cpp, LiteLLM and many others speak.
//!
//! They differ in what they leave out, so nothing is required that is not needed.

#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use futures_util::stream::{self, Stream, StreamExt, TryStreamExt};
use reqwest::Url;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};
use toml::Table;
use wicara_model::{Answer, Json, Question, Speaker, json};
use wicara_outbound::sse::{self, Frame};
use wicara_outbound::{Client, ErrorText, below, parse_url, secret_header};

use crate::table::{ReadError, read, within};
use crate::{Bot, Error, Part, Parts};

/// Messages of the conversation that are sent along.
const HISTORY: RangeInclusive<i64> = 0..=200;
/// How much larger a frame or a whole completion may be than the answer in it.
const ENVELOPE_BYTES: usize = 64 * 1024;

/// Which model, and where.
#[derive(Clone)]
pub struct Settings {
    url: Url,
    model: String,
    authorization: Option<HeaderValue>,
    system: String,
    history: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    url: String,
    model: String,
    #[serde(default)]
    api_key: String,
    #[serde(default)]
    system: String,
    #[serde(default = "history")]
    history: i64,
}

fn history() -> i64 {
    20
}

impl Settings {
    pub fn from_table(table: Table) -> Result<Self, ReadError> {
        let written: Written = read(table)?;
        if written.model.trim().is_empty() {
            return Err(ReadError::new("model", "it is empty; expected a name such as llama3.2"));
        }
        let history =
            within("history", written.history, HISTORY).map_err(|error| ReadError::new("", error))?;
        let url = parse_url(&written.url).map_err(|error| ReadError::new("url", error))?;
        let authorization = match written.api_key.as_str() {
            "" => Ok(None),
            key => secret_header(&format!("Bearer {key}")).map(Some),
        }
        .map_err(|error| ReadError::new("api_key", error))?;
        Ok(Self { url, model: written.model, authorization, system: written.system, history })
    }

    pub fn url(&self) -> &Url {
        &self.url
    }
}

/// Only what can hold no secret.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("host", &self.url.host_str())
            .field("model", &self.model)
            .field("history", &self.history)
            .finish_non_exhaustive()
    }
}

/// A model behind a chat completions API.
pub struct Openai(Arc<Endpoint>);

struct Endpoint {
    client: Client,
    url: Url,
    settings: Settings,
    max_answer_bytes: usize,
}

impl Openai {
    pub fn new(settings: &Settings, client: Client, max_answer_bytes: usize) -> Self {
        let url = below(&settings.url, &["chat", "completions"]);
        Self(Arc::new(Endpoint { client, url, settings: settings.clone(), max_answer_bytes }))
    }
}

impl Bot for Openai {
    fn ask(&self, question: Question) -> Parts {
        let endpoint = Arc::clone(&self.0);
        stream::once(async move { endpoint.call(&question).await }).try_flatten().boxed()
    }

    fn history(&self) -> usize {
        self.0.settings.history
    }
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    messages: Vec<Message>,
    stream: bool,
}

#[derive(Debug, PartialEq, Serialize)]
struct Message {
    role: &'static str,
    content: String,
}

impl Endpoint {
    async fn call(&self, question: &Question) -> Result<Parts, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream, application/json;q=0.5"));
        if let Some(authorization) = &self.settings.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        let messages = messages(&self.settings.system, question);
        let request = Request { model: &self.settings.model, messages, stream: true };
        let body = serde_json::to_string(&request).expect("plain data serialises");
        let reply = self.client.post(self.url.clone(), headers, body).await?;
        let max_bytes = self.max_answer_bytes.saturating_add(ENVELOPE_BYTES);
        // Some servers answer whole whatever they are asked for.
        if reply.is_json() {
            let choice = Completion::read(&reply.text(max_bytes).await?)?.choice();
            let content = choice.and_then(|choice| choice.message?.content);
            return Ok(stream::iter([answer(content.unwrap_or_default())]).boxed());
        }
        Ok(hear(sse::frames(reply, max_bytes)))
    }
}

/// What is said to the model. The chat templates of some models fail unless the user begins and the two take turns,
/// which they do not after a question without an answer or with two.
fn messages(system: &str, question: &Question) -> Vec<Message> {
    let mut messages = Vec::new();
    if !system.trim().is_empty() {
        messages.push(Message { role: "system", content: system.to_owned() });
    }
    let earlier = question.history.iter().map(|turn| (turn.speaker, &turn.text));
    let said = earlier.chain([(Speaker::User, &question.text)]);
    for (speaker, text) in said.skip_while(|(speaker, _)| *speaker == Speaker::Assistant) {
        let role = match speaker {
            Speaker::User => "user",
            Speaker::Assistant => "assistant",
        };
        match messages.last_mut() {
            Some(last) if last.role == role => {
                last.content.push_str("\n\n");
                last.content.push_str(text);
            }
            _ => messages.push(Message { role, content: text.clone() }),
        }
    }
    messages
}

/// A completion, or a piece of one.
#[derive(Deserialize)]
struct Completion {
    choices: Option<Vec<Choice>>,
    error: Option<Json>,
}

#[derive(Deserialize)]
struct Choice {
    /// Of a whole completion.
    message: Option<Content>,
    /// Of a piece.
    delta: Option<Content>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Content {
    content: Option<String>,
}

impl Completion {
    fn read(text: &str) -> Result<Self, Error> {
        let completion: Self = Json::decodable(text)
            .and_then(|completion| serde_json::from_str(completion.as_str()))
            .map_err(|error| Error::Unreadable(format!("it is no completion ({})", json::fault(&error))))?;
        match completion.error {
            Some(error) => Err(Error::Failed(ErrorText::new(error.as_str()))),
            None => Ok(completion),
        }
    }

    /// The first choice: no others were asked for. There is none beside a count of tokens.
    fn choice(self) -> Option<Choice> {
        self.choices?.into_iter().next()
    }
}

fn answer(text: String) -> Result<Part, Error> {
    if text.trim().is_empty() {
        return Err(Error::Unreadable("it is empty".to_owned()));
    }
    Ok(Part::Answer(Answer::text(text)))
}

/// The answer in the frames of a stream.
pub fn hear(
    frames: impl Stream<Item = Result<Frame, wicara_outbound::Error>> + Unpin + Send + 'static,
) -> Parts {
    let hearing = Hearing { frames, text: String::new(), finished: false };
    stream::try_unfold(Some(hearing), Hearing::next).boxed()
}

/// An answer that is coming in.
struct Hearing<F> {
    frames: F,
    text: String,
    /// The model said that this is all.
    finished: bool,
}

impl<F: Stream<Item = Result<Frame, wicara_outbound::Error>> + Unpin> Hearing<F> {
    /// The next part, and what is left; nothing is left after the answer.
    async fn next(hearing: Option<Self>) -> Result<Option<(Part, Option<Self>)>, Error> {
        let Some(mut hearing) = hearing else { return Ok(None) };
        while let Some(frame) = hearing.frames.next().await.transpose()? {
            if frame.event == "error" {
                return Err(Error::Failed(ErrorText::new(&frame.data)));
            }
            if frame.data.trim() == "[DONE]" {
                hearing.finished = true;
                break;
            }
            let Some(choice) = Completion::read(&frame.data)?.choice() else { continue };
            hearing.finished |= choice.finish_reason.is_some_and(|reason| !reason.is_empty());
            let content = choice.delta.and_then(|delta| delta.content).unwrap_or_default();
            if !content.is_empty() {
                hearing.text.push_str(&content);
                return Ok(Some((Part::Token(content), Some(hearing))));
            }
        }
        if !hearing.finished {
            return Err(Error::Unreadable("it broke off".to_owned()));
        }
        Ok(Some((answer(hearing.text)?, None)))
    }
}
