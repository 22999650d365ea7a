//! The kind `http`: any JSON API that answers a POST.
//!
//! What a request and an answer look like is the operator's to say; the defaults fit an API that takes
//! `{"question", "session_id"}` and answers `{"data": {"message": [{"text", …}]}}`.

mod pointer;
mod template;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Response, Url};
use serde::Deserialize;
use toml::Table;

use crate::model::{Answer, Json};
use crate::tls;

use super::settings::{ReadError, read};
use super::{Answers, Bot, Error, Question};

use pointer::Pointer;
use template::Template;

/// How long a connection may take to stand; the whole answer has the bot's own deadline.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

const DEFAULT_BODY: &str = r#"{"question": {{question}}, "session_id": {{session_id}}}"#;
const DEFAULT_ANSWER: &str = "/data/message";

/// Where the API is and how it is spoken to.
#[derive(Clone)]
pub struct Settings {
    url: Url,
    headers: HeaderMap,
    body: Template,
    answer: Pointer,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<String>,
    answer: Option<String>,
}

impl Settings {
    pub fn from_table(table: Table) -> Result<Self, ReadError> {
        let written: Written = read(table)?;
        Ok(Self {
            url: parse_url(&written.url).map_err(|error| ReadError::new("url", error))?,
            headers: parse_headers(&written.headers)?,
            body: Template::parse(written.body.as_deref().unwrap_or(DEFAULT_BODY))
                .map_err(|error| ReadError::new("body", error))?,
            answer: Pointer::parse(written.answer.as_deref().unwrap_or(DEFAULT_ANSWER))
                .map_err(|error| ReadError::new("answer", error))?,
        })
    }
}

/// Only what can hold no secret: neither header values nor the address's user, password and query.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("host", &self.url.host_str())
            .field("headers", &self.headers.keys().map(HeaderName::as_str).collect::<Vec<_>>())
            .field("answer", &self.answer)
            .finish_non_exhaustive()
    }
}

/// The address itself is left out of the error: it may hold a password.
fn parse_url(text: &str) -> Result<Url, String> {
    let allowed = "expected an address such as https://example.org/chat";
    let url = Url::parse(text).map_err(|error| format!("no address ({error}); {allowed}"))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        scheme => Err(format!("found an address that begins with {scheme}:, {allowed}")),
    }
}

fn parse_headers(written: &BTreeMap<String, String>) -> Result<HeaderMap, ReadError> {
    let mut headers = HeaderMap::new();
    for (name, value) in written {
        let path = format!("headers.{name}");
        let name = HeaderName::try_from(name)
            .map_err(|_| ReadError::new(&path, "no HTTP header can have this name"))?;
        let mut value = HeaderValue::try_from(value).map_err(|_| {
            ReadError::new(
                &path,
                "no HTTP header can have this value: it holds a line break or control character",
            )
        })?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

/// A bot behind an HTTP API.
pub struct Http(Arc<Endpoint>);

struct Endpoint {
    client: Client,
    settings: Settings,
    max_answer_bytes: usize,
}

impl Http {
    pub fn new(settings: &Settings, max_answer_bytes: usize) -> Result<Self, String> {
        let client = tls::client_for(&settings.url)
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("wicara/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| format!("no HTTP client can be made: {}", tls::cause(error)))?;
        Ok(Self(Arc::new(Endpoint { client, settings: settings.clone(), max_answer_bytes })))
    }
}

impl Bot for Http {
    fn ask(&self, question: Question) -> Answers {
        let endpoint = Arc::clone(&self.0);
        stream::once(async move { endpoint.call(&question).await })
            .flat_map(|result| {
                let answers: Vec<_> = match result {
                    Ok(answers) => answers.into_iter().map(Ok).collect(),
                    Err(error) => vec![Err(error)],
                };
                stream::iter(answers)
            })
            .boxed()
    }
}

impl Endpoint {
    async fn call(&self, question: &Question) -> Result<Vec<Answer>, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.extend(self.settings.headers.clone());
        let response = self
            .client
            .post(self.settings.url.clone())
            .headers(headers)
            .body(self.settings.body.fill(question))
            .send()
            .await
            .map_err(|error| Error::Unreachable(tls::cause(error)))?;
        // A redirect is no answer either: it is never followed, since it could lead a secret header elsewhere.
        if !response.status().is_success() {
            return Err(Error::Rejected { status: response.status().as_u16() });
        }
        let body = self.body(response).await?;
        let document =
            Json::parse(body).map_err(|error| Error::Unreadable(format!("it is not JSON ({error})")))?;
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

    async fn body(&self, response: Response) -> Result<String, Error> {
        let mut body = Vec::new();
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| Error::Unreachable(tls::cause(error)))?;
            if body.len() + chunk.len() > self.max_answer_bytes {
                return Err(Error::too_large(self.max_answer_bytes));
            }
            body.extend_from_slice(&chunk);
        }
        String::from_utf8(body).map_err(|_| Error::Unreadable("it is not UTF-8".to_owned()))
    }
}

/// The answers at the pointer; `None` if they are of no known form.
fn answers(found: Json) -> Option<Vec<Answer>> {
    if found.as_str().starts_with('[') {
        let list: Vec<Json> = serde_json::from_str(found.as_str()).ok()?;
        return list.into_iter().map(answer).collect();
    }
    answer(found).map(|answer| vec![answer])
}

/// A blank string says nothing to anybody: no answer.
fn answer(found: Json) -> Option<Answer> {
    match found.string() {
        Some(text) => (!text.trim().is_empty()).then(|| Answer::text(text)),
        None => Answer::object(found),
    }
}
