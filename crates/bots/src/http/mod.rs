//! The kind `http`: any JSON API that answers a POST.
//!
//! The operator sets the template of the request body and the JSON Pointer to the answers; the defaults fit an API that
//! takes `{"question", "session_id"}` and answers `{"data": {"message": [{"text", …}]}}`.

mod pointer;
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
use wicara_model::{Answer, Json, Question};
use wicara_outbound::{Client, parse_url, secret_header};

use crate::table::{ReadError, read};
use crate::{AnswerStream, Bot, Error, StreamItem};
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
        headers.extend(self.settings.headers.clone());
        let body = self.settings.body.fill(question);
        let reply = self.client.post(self.settings.url.clone(), headers, body).await?;
        let document = reply.json(self.max_answer_bytes).await?;
        let pointer = &self.settings.answer;
        let found = pointer
            .resolve(document)
            .ok_or_else(|| Error::Unreadable(format!("there is nothing at {:?}", pointer.to_string())))?;
        answers(found).ok_or_else(|| {
            Error::Unreadable(format!(
                "at {:?} stands neither a text, nor an answer object with a text, nor a list of them",
                pointer.to_string()
            ))
        })
    }
}

/// One answer or a list of them; `None` if the value has no known form.
fn answers(found: Json) -> Option<Vec<Answer>> {
    if found.as_str().starts_with('[') {
        let list: Vec<Json> = serde_json::from_str(found.as_str()).ok()?;
        return list.into_iter().map(answer).collect();
    }
    answer(found).map(|answer| vec![answer])
}

/// The answer in a string or an answer object. A blank string is no answer.
fn answer(found: Json) -> Option<Answer> {
    match found.string() {
        Some(text) => (!text.trim().is_empty()).then(|| Answer::text(text)),
        None => Answer::object(found),
    }
}
