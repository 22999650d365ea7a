//! The kind `http`: any JSON API that answers a POST.
//!
//! The operator sets the template of the request body and the JSON Pointer to the answers; the defaults fit an API that
//! takes `{"question", "session_id"}` and answers `{"data": {"message": [{"text", …}]}}`.

mod answers;
pub mod pointer;
mod template;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use futures_util::TryStreamExt;
use futures_util::stream::{self, StreamExt};
use reqwest::Url;
use reqwest::header::{ACCEPT, HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use toml::Table;
use wicara_model::{Answer, Json, Question, json};
use wicara_outbound::sse::Parser;
use wicara_outbound::{Client, ErrorText, parse_url, secret_header};

use crate::question_key::{IDEMPOTENCY_KEY, question_key};
use crate::table::{ReadError, read};
use crate::{AnswerStream, Bot, Error, StreamItem, failures};
use pointer::Pointer;
use template::Template;

const DEFAULT_BODY: &str = r#"{"question": {{question}}, "session_id": {{session_id}}}"#;
const DEFAULT_ANSWER: &str = "/data/message";

/// The checked settings of a bot of this kind.
#[derive(Clone)]
pub struct Settings {
    url: Url,
    headers: HeaderMap,
    body: Template,
    answer: Pointer,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SettingsTable {
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<String>,
    answer: Option<String>,
}

impl Settings {
    pub fn from_table(table: Table) -> Result<Self, ReadError> {
        let table: SettingsTable = read(table)?;
        Ok(Self {
            url: parse_url(&table.url).map_err(|error| ReadError::new("url", error))?,
            headers: parse_headers(&table.headers)?,
            body: Template::parse(table.body.as_deref().unwrap_or(DEFAULT_BODY))
                .map_err(|error| ReadError::new("body", error))?,
            answer: Pointer::parse(table.answer.as_deref().unwrap_or(DEFAULT_ANSWER))
                .map_err(|error| ReadError::new("answer", error))?,
        })
    }

    pub fn url(&self) -> &Url {
        &self.url
    }
}

/// Leaves out what may be secret: the values of headers, and the URL's user, password and query.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("host", &self.url.host_str())
            .field("headers", &self.headers.keys().map(HeaderName::as_str).collect::<Vec<_>>())
            .field("answer", &self.answer)
            .finish_non_exhaustive()
    }
}

fn parse_headers(table: &BTreeMap<String, String>) -> Result<HeaderMap, ReadError> {
    let mut headers = HeaderMap::new();
    for (name, value) in table {
        let path = format!("headers.{name}");
        let name = HeaderName::try_from(name)
            .map_err(|_| ReadError::new(&path, "no HTTP header can have this name"))?;
        let value = secret_header(value).map_err(|error| ReadError::new(&path, error))?;
        headers.insert(name, value);
    }
    Ok(headers)
}

/// A bot behind a JSON API.
pub struct Http(Arc<Endpoint>);

struct Endpoint {
    client: Client,
    settings: Settings,
    max_answer_bytes: usize,
}

impl Http {
    pub fn new(settings: &Settings, client: Client, max_answer_bytes: usize) -> Self {
        Self(Arc::new(Endpoint { client, settings: settings.clone(), max_answer_bytes }))
    }
}

impl Bot for Http {
    fn ask(&self, question: Question) -> AnswerStream {
        let endpoint = Arc::clone(&self.0);
        stream::once(async move { endpoint.call(&question).await })
            .map_ok(|answers| stream::iter(answers).map(|answer| Ok(StreamItem::Answer(answer))))
            .try_flatten()
            .boxed()
    }
}

impl Endpoint {
    async fn call(&self, question: &Question) -> Result<Vec<Answer>, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(IDEMPOTENCY_KEY, question_key(question));
        headers.extend(self.settings.headers.clone());
        let body = self.settings.body.fill(question);
        let reply = self.client.post(self.settings.url.clone(), headers, body).await?;
        decode(&reply.text(self.max_answer_bytes).await?, &self.settings.answer)
    }
}

/// The answers in a body.
pub fn decode(body: &str, answer: &Pointer) -> Result<Vec<Answer>, Error> {
    answers::of_document(document(body)?, answer)
}

/// The JSON of a body, which may come as the only event of a stream.
fn document(body: &str) -> Result<Json, Error> {
    let error = match Json::decodable(body) {
        Ok(document) => return Ok(document),
        Err(error) => Error::NotJson {
            why: format!("it is not JSON ({})", json::fault(&error)),
            body: ErrorText::new(body),
        },
    };
    // A document that was cut off may have whole objects in it.
    if body.trim_start().starts_with(['{', '[']) {
        return Err(error);
    }
    let mut parser = Parser::new(body.len());
    let mut frames = Vec::new();
    let parsed = parser.push(body.as_bytes(), &mut frames).and_then(|()| parser.finish(&mut frames));
    let lines = body.split(['\n', '\r']).filter_map(|line| line.strip_prefix("data:"));
    let data = lines.collect::<Vec<_>>().join("\n");
    if let Some(frame) = frames.iter().find(|frame| failures::is_error_event(&frame.event)) {
        // The data of an event whose name stands behind it was a frame of its own.
        let said = if frame.data.is_empty() { &data } else { &frame.data };
        return Err(Error::Failed(ErrorText::new(said)));
    }
    if let Ok(document) = Json::decodable(&data) {
        return Ok(document);
    }
    let mut documents = Vec::new();
    for frame in frames {
        if let Some(failure) = failures::of_text(&frame.data) {
            return Err(Error::Failed(failure));
        }
        documents
            .extend(Json::decodable(&frame.data).ok().filter(|json| json.as_str().starts_with(['{', '['])));
    }
    // Of several, nothing says which is the answer, nor whether the last of them has come.
    match (documents.pop(), documents.is_empty(), parsed) {
        (Some(document), true, Ok(())) => Ok(document),
        _ => Err(error),
    }
}
