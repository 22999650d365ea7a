//! The kind `langflow`: a flow on a Langflow server (<https://docs.langflow.org/api-flows-run>).
//!
//! Nearly every server has API v1; servers without it have v2. Both are asked for a stream. The frames of v1 are bare JSON
//! and its last frame holds the answers; the frames of v2 are server-sent events and each answer is one of them.

mod answers;
mod decoding;

#[cfg(test)]
mod tests;

pub use decoding::decode;

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream::{self, BoxStream, Peekable, StreamExt, TryStreamExt};
use reqwest::Url;
use reqwest::header::{ACCEPT, HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use toml::Table;
use uuid::Uuid;
use wicara_model::Question;
use wicara_outbound::sse::Frame;
use wicara_outbound::{self as outbound, Client, ErrorText, below, parse_url, secret_header};

use crate::question_key::{IDEMPOTENCY_KEY, question_key};
use crate::table::{ReadError, read};
use crate::{AnswerStream, Bot, Error};

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// How often a response repeats the text of an answer, in different fields.
const TEXT_COPIES: usize = 5;
/// The bytes of a response beside its texts: logs, with tracebacks even of a run that succeeded.
const LOG_BYTES: usize = 4 * 1024 * 1024;

/// What is said of a body without anything in it.
const EMPTY: &str = "it is empty";
/// The detail of an unknown address, which a proxy may send with a status of success.
const NOT_FOUND: &str = "Not Found";

/// How long a server that sent no stream is asked for whole responses, before one question tries a stream again. That
/// question runs the flow twice if there is still no stream.
const STREAM_RETRY_INTERVAL: Duration = Duration::from_secs(10 * 60);

/// The checked settings of a bot of this kind.
#[derive(Clone)]
pub struct Settings {
    url: Url,
    flow: String,
    api_key: Option<HeaderValue>,
    api: ApiChoice,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SettingsTable {
    url: String,
    flow: String,
    #[serde(default)]
    api_key: String,
    #[serde(default)]
    api: ApiChoice,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ApiChoice {
    #[default]
    Auto,
    V1,
    V2,
}

impl Settings {
    pub fn from_table(table: Table) -> Result<Self, ReadError> {
        let table: SettingsTable = read(table)?;
        if table.flow.trim().is_empty() {
            return Err(ReadError::new(
                "flow",
                "it is empty; expected the id or the endpoint name of a flow",
            ));
        }
        let url = parse_url(&table.url).map_err(|error| ReadError::new("url", error))?;
        let api_key = match table.api_key.as_str() {
            "" => Ok(None),
            key => secret_header(key).map(Some),
        }
        .map_err(|error| ReadError::new("api_key", error))?;
        Ok(Self { url, flow: table.flow, api_key, api: table.api })
    }

    pub fn url(&self) -> &Url {
        &self.url
    }
}

/// Leaves out what may be secret: the key, and the URL's user, password and query.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("host", &self.url.host_str())
            .field("flow", &self.flow)
            .field("api", &self.api)
            .finish_non_exhaustive()
    }
}

/// A flow behind Langflow's API.
pub struct Langflow(Arc<Flow>);

struct Flow {
    client: Client,
    settings: Settings,
    max_answer_bytes: usize,
    /// The last successful call used v2, so the next one tries it first.
    v2_first: AtomicBool,
    /// Set where the server sends whole responses but no streams: until then no stream is tried, because each attempt runs
    /// the flow twice.
    no_stream_until: Mutex<Option<Instant>>,
}

impl Langflow {
    pub fn new(settings: &Settings, client: Client, max_answer_bytes: usize) -> Self {
        Self(Arc::new(Flow {
            client,
            settings: settings.clone(),
            max_answer_bytes,
            v2_first: AtomicBool::new(false),
            no_stream_until: Mutex::default(),
        }))
    }
}

impl Bot for Langflow {
    fn ask(&self, question: Question) -> AnswerStream {
        let flow = Arc::clone(&self.0);
        stream::once(async move { flow.call(&question).await }).try_flatten().boxed()
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Api {
    V1,
    V2,
}

#[derive(Serialize)]
struct RunV1<'a> {
    input_value: &'a str,
    input_type: &'static str,
    output_type: &'static str,
    session_id: Uuid,
}

#[derive(Serialize)]
struct RunV2<'a> {
    flow_id: &'a str,
    session_id: Uuid,
    mode: &'static str,
    input_value: &'a str,
}

/// The frames of a response. A whole response is one frame.
type Frames = Peekable<BoxStream<'static, Result<Frame, outbound::Error>>>;

impl Flow {
    async fn call(&self, question: &Question) -> Result<AnswerStream, Error> {
        let streams = self.tries_a_stream();
        if streams && let Some(frames) = self.run(question, true).await? {
            *self.no_stream_until() = None;
            return Ok(decode(frames));
        }
        // Some versions answer a request for a stream with status 200 and an empty body.
        let frames = self.run(question, false).await?;
        let frames = frames.ok_or_else(|| Error::Unreadable(EMPTY.to_owned()))?;
        if streams {
            *self.no_stream_until() = Some(Instant::now() + STREAM_RETRY_INTERVAL);
        }
        Ok(decode(frames))
    }

    /// Whether this call asks for a stream. Once the interval is over, one call does and the interval begins anew for all
    /// others, so that only one question at a time runs the flow twice.
    fn tries_a_stream(&self) -> bool {
        let mut until = self.no_stream_until();
        if until.is_some_and(|until| Instant::now() < until) {
            return false;
        }
        *until = until.map(|_| Instant::now() + STREAM_RETRY_INTERVAL);
        true
    }

    fn no_stream_until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.no_stream_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls the API version that succeeded last, at first v1, and the other one where the server does not have the first.
    /// `None` where the body is empty.
    async fn run(&self, question: &Question, streams: bool) -> Result<Option<Frames>, Error> {
        let (first, second) = match self.settings.api {
            ApiChoice::V1 => (Api::V1, None),
            ApiChoice::V2 => (Api::V2, None),
            ApiChoice::Auto if self.v2_first.load(Ordering::Relaxed) => (Api::V2, Some(Api::V1)),
            ApiChoice::Auto => (Api::V1, Some(Api::V2)),
        };
        let refused = match self.frames(first, question, streams).await {
            // Where an address is unknown, some servers answer with the page of their user interface.
            Err(
                refused @ (outbound::Error::Rejected { status: 404 | 405, .. } | outbound::Error::WebPage),
            ) => refused,
            // As others do with an empty page, or one line.
            Err(refused @ outbound::Error::NoFrames { .. }) => refused,
            Ok(None) if !streams => outbound::Error::Unreadable(EMPTY.to_owned()),
            outcome => return Ok(outcome?),
        };
        let Some(second) = second else { return Err(refused.into()) };
        let refused_too = match self.frames(second, question, streams).await {
            Ok(frames) => {
                if frames.is_some() {
                    self.v2_first.store(second == Api::V2, Ordering::Relaxed);
                }
                return Ok(frames);
            }
            Err(error) => error,
        };
        Err(neither(first, refused, refused_too))
    }

    async fn frames(
        &self,
        api: Api,
        question: &Question,
        streams: bool,
    ) -> Result<Option<Frames>, outbound::Error> {
        let reply = self.post(api, question, streams).await?;
        let mut frames = reply.frames(self.max_bytes()).boxed().peekable();
        if let Some(Ok(first)) = Pin::new(&mut frames).peek().await {
            if answers::string_at(&first.data, &["detail"]).as_deref() == Some(NOT_FOUND) {
                let body = ErrorText::new(&first.data);
                return Err(outbound::Error::Rejected { status: 404, retry_after: None, body });
            }
            return Ok(Some(frames));
        }
        match frames.next().await {
            // As an empty body: without a stream it may be another one.
            Some(Err(outbound::Error::NoFrames { .. })) if streams => Ok(None),
            end => end.transpose().map(|_| None),
        }
    }

    async fn post(
        &self,
        api: Api,
        question: &Question,
        streams: bool,
    ) -> Result<outbound::Reply, outbound::Error> {
        let Settings { url, flow, api_key, .. } = &self.settings;
        let accept = if streams { "text/event-stream, application/json;q=0.5" } else { "application/json" };
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        headers.insert(IDEMPOTENCY_KEY, question_key(question));
        if let Some(key) = api_key {
            headers.insert(API_KEY, key.clone());
        }
        let (input_value, session_id) = (question.text.as_str(), question.session_id);
        let (url, body) = match api {
            Api::V1 => {
                let mut url = below(url, &["api", "v1", "run", flow]);
                url.query_pairs_mut().append_pair("stream", if streams { "true" } else { "false" });
                let run = RunV1 { input_value, input_type: "chat", output_type: "chat", session_id };
                (url, serde_json::to_string(&run))
            }
            Api::V2 => {
                let mode = if streams { "stream" } else { "sync" };
                let run = RunV2 { flow_id: flow, session_id, mode, input_value };
                (below(url, &["api", "v2", "workflows"]), serde_json::to_string(&run))
            }
        };
        self.client.post(url, headers, body.expect("plain data serialises")).await
    }

    /// The limit for a whole response and for one frame.
    fn max_bytes(&self) -> usize {
        self.max_answer_bytes.saturating_mul(TEXT_COPIES).saturating_add(LOG_BYTES)
    }
}

/// The error of a call where the first API version is not there and the second gave no answer either. An operator is told
/// what both said.
fn neither(first: Api, refused: outbound::Error, refused_too: outbound::Error) -> Error {
    use outbound::Error::{NoFrames, Rejected, Unreadable, WebPage};
    let names = if first == Api::V1 { ["API v1", "API v2"] } else { ["API v2", "API v1"] };
    match (refused, refused_too) {
        // Neither version knows the flow (v2 answers 422 to an endpoint name), or neither exists: the first error says more.
        (
            Rejected { status: 404, retry_after, body },
            Rejected { status: 404 | 405 | 422, body: second, .. },
        ) => {
            let body = ErrorText::joined([(names[0], &body), (names[1], &second)]);
            Error::Rejected { status: 404, retry_after, body }
        }
        (WebPage, WebPage | Rejected { status: 404 | 405, .. }) => WebPage.into(),
        (refused @ Rejected { .. }, WebPage) => refused.into(),
        (refused @ (NoFrames { .. } | Unreadable(_)), Rejected { status: 404 | 405 | 422, .. }) => {
            refused.into()
        }
        (Rejected { body: first, .. }, Rejected { status, retry_after, body }) => {
            let body = ErrorText::joined([(names[0], &first), (names[1], &body)]);
            Error::Rejected { status, retry_after, body }
        }
        (_, refused_too) => refused_too.into(),
    }
}
