//! The kind `openai`: any chat completions API in the form of OpenAI's
//! (<https://platform.openai.com/docs/api-reference/chat>), which Ollama, vLLM, llama.cpp, LiteLLM and many others speak.
//!
//! These servers leave out different fields, so only the fields that the answer needs are required.

mod completion;
mod decoding;

#[cfg(test)]
mod tests;

pub use decoding::decode;

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use reqwest::Url;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};
use toml::Table;
use wicara_model::{Question, Speaker};
use wicara_outbound::{Client, below, parse_url, secret_header};

use crate::question_key::{IDEMPOTENCY_KEY, question_key};
use crate::table::{ReadError, read, within};
use crate::{AnswerStream, Bot, Error};

/// The earlier messages that may be sent with a question.
const HISTORY: RangeInclusive<i64> = 0..=200;
/// The bytes of a frame or of a whole completion beside the answer's text: thoughts, and a prompt that is repeated.
const ENVELOPE_BYTES: usize = 4 * 1024 * 1024;

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
        if url.path().trim_end_matches('/').ends_with("/chat/completions") {
            let error = "it ends in /chat/completions, which is added: write what stands before it, such as \
                         http://127.0.0.1:11434/v1";
            return Err(ReadError::new("url", error));
        }
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
        headers.insert(IDEMPOTENCY_KEY, question_key(question));
        if let Some(authorization) = &self.settings.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        let messages = messages(&self.settings.system, question);
        let request = Request { model: &self.settings.model, messages, stream: true };
        let body = serde_json::to_string(&request).expect("plain data serialises");
        let reply = self.client.post(self.url.clone(), headers, body).await?;
        // Some servers ignore `"stream": true` and answer with one JSON document, which is one frame.
        Ok(decode(reply.frames(self.max_answer_bytes.saturating_add(ENVELOPE_BYTES))))
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
