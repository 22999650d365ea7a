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
use wicara_model::{Answer, Json, Question, json, lenient};
use wicara_outbound::sse::Parser;
use wicara_outbound::{self as outbound, Client, ErrorText, Nesting, parse_url, secret_header};

use crate::question_key::{IDEMPOTENCY_KEY, question_key};
use crate::table::{ReadError, read};
use crate::{AnswerStream, Bot, Error, StreamItem, failures};
use pointer::Pointer;
use template::Template;

const DEFAULT_BODY: &str = r#"{"question": {{question}}, "session_id": {{session_id}}}"#;
const DEFAULT_ANSWER: &str = "/data/message";
/// The bytes of a body beside the answers: sources, a prompt that is repeated, and the like.
const ENVELOPE_BYTES: usize = 4 * 1024 * 1024;

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
        let text = reply.text(self.max_answer_bytes.saturating_add(ENVELOPE_BYTES)).await;
        let text = text.map_err(|error| match error {
            outbound::Error::TooLarge { .. } => Error::too_large(self.max_answer_bytes),
            error => error.into(),
        })?;
        decode(&text, &self.settings.answer)
    }
}

/// The answers in a body.
pub fn decode(body: &str, answer: &Pointer) -> Result<Vec<Answer>, Error> {
    let mut documents = documents(body)?;
    if documents.len() == 1 {
        return answers::of_document(documents.remove(0), answer);
    }
    // Of several, no more than one may hold answers: nothing says which of them is the answer, nor whether the last has come.
    let mut found: Option<Vec<Answer>> = None;
    for document in documents {
        match (answers::of_document(document, answer), &found) {
            (Ok(answers), None) => found = Some(answers),
            (Ok(answers), Some(first)) if answers != *first => return Err(not_one(body)),
            (Err(error @ Error::Failed(_)), _) => return Err(error),
            _ => {}
        }
    }
    found.ok_or_else(|| not_one(body))
}

fn not_one(body: &str) -> Error {
    Error::NotJson { why: "it is not JSON but several documents".to_owned(), body: ErrorText::new(body) }
}

/// The JSON of a body, or the objects and lists in it: it may come as events, and have anything behind it.
fn documents(body: &str) -> Result<Vec<Json>, Error> {
    let error = match Json::decodable(body) {
        Ok(document) => return Ok(vec![document]),
        Err(error) => Error::NotJson {
            why: format!("it is not JSON ({})", json::fault(&error)),
            body: ErrorText::new(body),
        },
    };
    let start = body.trim_start_matches(lenient::is_noise);
    let found = match start.starts_with(['{', '[']) {
        true => in_a_row(start)?,
        false => in_events(body)?,
    };
    found.ok_or(error)
}

/// The objects and lists that a text begins with; `None` where one is cut off, or is no JSON.
fn in_a_row(text: &str) -> Result<Option<Vec<Json>>, Error> {
    let mut found = Vec::new();
    let mut rest = text;
    while rest.starts_with(['{', '[']) {
        let end = Nesting::default().read(rest.as_bytes());
        let document = end.and_then(|end| Some((end, Json::decodable(&rest[..end]).ok()?)));
        let Some((end, document)) = document else { return Ok(None) };
        found.push(document);
        rest = rest[end..].trim_start_matches(|sign| lenient::is_noise(sign) || matches!(sign, ',' | ';'));
    }
    failures::of_text(rest).map_or(Ok(Some(found)), |failure| Err(Error::Failed(failure)))
}

/// The objects and lists in the data of events, or the only value in all of it; `None` where one is cut off, or is no JSON.
fn in_events(body: &str) -> Result<Option<Vec<Json>>, Error> {
    let mut parser = Parser::new(body.len().saturating_mul(3));
    let mut frames = Vec::new();
    let parsed = parser.push(body.as_bytes(), &mut frames).and_then(|()| parser.finish(&mut frames));
    let data = data_in(body);
    if let Some(frame) = frames.iter().find(|frame| failures::is_error_event(&frame.event)) {
        // The data of an event whose name stands behind it was a frame of its own.
        let said = if frame.data.is_empty() { &data } else { &frame.data };
        return Err(Error::Failed(ErrorText::new(said)));
    }
    if let Ok(document) = Json::decodable(&data) {
        return Ok(Some(vec![document]));
    }
    if let Some(failure) = frames.iter().find_map(|frame| failures::of_text(&frame.data)) {
        return Err(Error::Failed(failure));
    }
    // The parser takes lists apart, so events are first read as the standard has them.
    let lines = body.replace("\r\n", "\n").replace('\r', "\n");
    let events = nested(lines.split("\n\n").map(data_in));
    let found = events.or_else(|| nested(frames.into_iter().map(|frame| frame.data)));
    Ok(found.filter(|_| parsed.is_ok()))
}

/// The data of all events in a text, as if it were one event's.
fn data_in(text: &str) -> String {
    text.split(['\n', '\r']).filter_map(data_of).collect::<Vec<_>>().join("\n")
}

/// The data in a line, whose field's name may be written twice.
fn data_of(line: &str) -> Option<&str> {
    let (name, data) = line.trim_start_matches(lenient::is_noise).split_once(':')?;
    let is_data = name.trim_end().eq_ignore_ascii_case("data");
    is_data.then(|| data_of(data).unwrap_or(data))
}

/// The values that are objects and lists; `None` where there is none, or where one of them is no JSON.
fn nested(values: impl Iterator<Item = String>) -> Option<Vec<Json>> {
    let mut found = Vec::new();
    for value in values {
        let value = value.trim_start_matches(lenient::is_noise);
        match Json::decodable(value) {
            Ok(document) if value.starts_with(['{', '[']) => found.push(document),
            Err(_) if value.starts_with('{') => return None,
            _ => {}
        }
    }
    (!found.is_empty()).then_some(found)
}
