//! The kind `openai`: any chat completions API in the form of OpenAI's
//! (<https://platform.openai.com/docs/api-reference/chat>), which Ollama, vLLM, llama.cpp, LiteLLM and many others speak.
//!
//! These servers leave out different fields, so only the fields that the answer needs are required.

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
use crate::{AnswerStream, Bot, Error, StreamItem};

/// The earlier messages that may be sent with a question.
const HISTORY: RangeInclusive<i64> = 0..=200;
/// The bytes of a frame or of a whole completion beside the answer's text.
const ENVELOPE_BYTES: usize = 64 * 1024;

/// The checked settings of a bot of this kind.
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
struct SettingsTable {
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
        let table: SettingsTable = read(table)?;
        if table.model.trim().is_empty() {
            return Err(ReadError::new("model", "it is empty; expected a name such as llama3.2"));
        }
        let history = within("history", table.history, HISTORY).map_err(|error| ReadError::new("", error))?;
        let url = parse_url(&table.url).map_err(|error| ReadError::new("url", error))?;
        let authorization = match table.api_key.as_str() {
            "" => Ok(None),
            key => secret_header(&format!("Bearer {key}")).map(Some),
        }
        .map_err(|error| ReadError::new("api_key", error))?;
        Ok(Self { url, model: table.model, authorization, system: table.system, history })
    }

    pub fn url(&self) -> &Url {
        &self.url
    }
}

/// Leaves out what may be secret: the key, the system prompt, and the URL's user, password and query.
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
    fn ask(&self, question: Question) -> AnswerStream {
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
    async fn call(&self, question: &Question) -> Result<AnswerStream, Error> {
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
        // Some servers ignore `"stream": true` and answer with one JSON document.
        if reply.is_json() {
            let choice = Completion::read(&reply.text(max_bytes).await?)?.choice();
            let content = choice.and_then(|choice| choice.message?.content);
            return Ok(stream::iter([answer(content.unwrap_or_default())]).boxed());
        }
        Ok(decode(sse::frames(reply, max_bytes)))
    }
}

/// The messages of the request. The chat templates of some models fail unless the user begins and the roles alternate, so
/// leading answers are left out and texts of one role that follow each other are joined. They do follow each other where a
/// question got no answer, or two.
fn messages(system: &str, question: &Question) -> Vec<Message> {
    let mut messages = Vec::new();
    if !system.trim().is_empty() {
        messages.push(Message { role: "system", content: system.to_owned() });
    }
    let earlier = question.history.iter().map(|turn| (turn.speaker, &turn.text));
    let turns = earlier.chain([(Speaker::User, &question.text)]);
    for (speaker, text) in turns.skip_while(|(speaker, _)| *speaker == Speaker::Assistant) {
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

/// A whole completion, or a chunk of a streamed one.
#[derive(Deserialize)]
struct Completion {
    choices: Option<Vec<Choice>>,
    error: Option<Json>,
}

#[derive(Deserialize)]
struct Choice {
    /// In a whole completion.
    message: Option<Content>,
    /// In a chunk.
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

    /// The first choice: the request asks for one. A chunk with the count of tokens has none.
    fn choice(self) -> Option<Choice> {
        self.choices?.into_iter().next()
    }
}

fn answer(text: String) -> Result<StreamItem, Error> {
    if text.trim().is_empty() {
        return Err(Error::Unreadable("it is empty".to_owned()));
    }
    Ok(StreamItem::Answer(Answer::text(text)))
}

/// Decodes the frames of a streamed completion: tokens, then one answer with all of their text.
pub fn decode(
    frames: impl Stream<Item = Result<Frame, wicara_outbound::Error>> + Unpin + Send + 'static,
) -> AnswerStream {
    let decoder = StreamDecoder { frames, text: String::new(), finished: false };
    stream::try_unfold(Some(decoder), StreamDecoder::next).boxed()
}

struct StreamDecoder<F> {
    frames: F,
    /// The text of all tokens so far.
    text: String,
    /// A `finish_reason` or `[DONE]` was received: without one, the end of the body is a broken connection.
    finished: bool,
}

impl<F: Stream<Item = Result<Frame, wicara_outbound::Error>> + Unpin> StreamDecoder<F> {
    /// The next item and the decoder's next state, which is `None` after the answer.
    async fn next(decoder: Option<Self>) -> Result<Option<(StreamItem, Option<Self>)>, Error> {
        let Some(mut decoder) = decoder else { return Ok(None) };
        while let Some(frame) = decoder.frames.next().await.transpose()? {
            if frame.event == "error" {
                return Err(Error::Failed(ErrorText::new(&frame.data)));
            }
            if frame.data.trim() == "[DONE]" {
                decoder.finished = true;
                break;
            }
            let Some(choice) = Completion::read(&frame.data)?.choice() else { continue };
            decoder.finished |= choice.finish_reason.is_some_and(|reason| !reason.is_empty());
            let content = choice.delta.and_then(|delta| delta.content).unwrap_or_default();
            if !content.is_empty() {
                decoder.text.push_str(&content);
                return Ok(Some((StreamItem::Token(content), Some(decoder))));
            }
        }
        if !decoder.finished {
            return Err(Error::Unreadable("it broke off".to_owned()));
        }
        Ok(Some((answer(decoder.text)?, None)))
    }
}
