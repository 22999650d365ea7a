//! The kind `langflow`: a flow on a Langflow server (<https://docs.langflow.org/api-flows-run>).
//!
//! Nearly every server has API v1; servers without it have v2. Both are asked for a stream. The frames of v1 are bare JSON
//! and its last frame holds the answers; the frames of v2 are server-sent events and each answer is one of them.

mod answers;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::vec;

use futures_util::stream::{self, Stream, StreamExt, TryStreamExt};
use reqwest::Url;
use reqwest::header::{ACCEPT, HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use toml::Table;
use uuid::Uuid;
use wicara_model::{Answer, Json, Question, json};
use wicara_outbound::sse::{self, Frame};
use wicara_outbound::{Client, Reply, below, parse_url, secret_header};

use crate::table::{ReadError, read};
use crate::{AnswerStream, Bot, Error, StreamItem};

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// How often a response repeats the text of an answer, in different fields.
const TEXT_COPIES: usize = 5;
/// The bytes of a response beside its texts: logs, with tracebacks even of a run that succeeded.
const LOG_BYTES: usize = 4 * 1024 * 1024;

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

impl Flow {
    async fn call(&self, question: &Question) -> Result<AnswerStream, Error> {
        let streams = self.tries_a_stream();
        if streams {
            let reply = self.run(question, true).await?;
            if reply.is_json() {
                return self.whole_response(reply).await;
            }
            let mut frames = sse::frames(reply, self.max_bytes()).peekable();
            // Some versions answer a request for a stream with status 200 and an empty body.
            if let Some(first) = Pin::new(&mut frames).peek().await {
                if first.is_ok() {
                    *self.no_stream_until() = None;
                }
                return Ok(decode(frames));
            }
        }
        let reply = self.run(question, false).await?;
        let answers = self.whole_response(reply).await?;
        if streams {
            *self.no_stream_until() = Some(Instant::now() + STREAM_RETRY_INTERVAL);
        }
        Ok(answers)
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
    async fn run(&self, question: &Question, streams: bool) -> Result<Reply, Error> {
        let (first, second) = match self.settings.api {
            ApiChoice::V1 => (Api::V1, None),
            ApiChoice::V2 => (Api::V2, None),
            ApiChoice::Auto if self.v2_first.load(Ordering::Relaxed) => (Api::V2, Some(Api::V1)),
            ApiChoice::Auto => (Api::V1, Some(Api::V2)),
        };
        let refused = match self.post(first, question, streams).await {
            Err(refused @ Error::Rejected { status: 404 | 405, .. }) => refused,
            outcome => return outcome,
        };
        let Some(second) = second else { return Err(refused) };
        let outcome = self.post(second, question, streams).await;
        match (&outcome, &refused) {
            (Ok(_), _) => self.v2_first.store(second == Api::V2, Ordering::Relaxed),
            // Neither version knows the flow (v2 answers 422 to an endpoint name), or neither exists: the first error says
            // more.
            (Err(Error::Rejected { status: 404 | 405 | 422, .. }), Error::Rejected { status: 404, .. }) => {
                return Err(refused);
            }
            _ => {}
        }
        outcome
    }

    async fn post(&self, api: Api, question: &Question, streams: bool) -> Result<Reply, Error> {
        let Settings { url, flow, api_key, .. } = &self.settings;
        let accept = if streams { "text/event-stream, application/json;q=0.5" } else { "application/json" };
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
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
        Ok(self.client.post(url, headers, body.expect("plain data serialises")).await?)
    }

    /// The limit for a whole response and for one frame.
    fn max_bytes(&self) -> usize {
        self.max_answer_bytes.saturating_mul(TEXT_COPIES).saturating_add(LOG_BYTES)
    }

    async fn whole_response(&self, reply: Reply) -> Result<AnswerStream, Error> {
        let document = reply.json(self.max_bytes()).await?;
        let answers = answers::of_response(document.as_str())?;
        Ok(stream::iter(answers).map(|answer| Ok(StreamItem::Answer(answer))).boxed())
    }
}

#[derive(Deserialize)]
struct Event {
    event: String,
    data: Option<Json>,
}

/// Decodes the frames of a streamed run.
pub fn decode(
    frames: impl Stream<Item = Result<Frame, wicara_outbound::Error>> + Unpin + Send + 'static,
) -> AnswerStream {
    let decoder =
        StreamDecoder { frames, streamed_message: None, seen_texts: HashSet::new(), final_answers: None };
    stream::try_unfold(decoder, StreamDecoder::next).boxed()
}

struct StreamDecoder<F> {
    frames: F,
    /// The id of the message whose tokens are passed on: the first with tokens. Tokens of other messages come interleaved
    /// with its own and are dropped.
    streamed_message: Option<String>,
    /// The texts of the answers so far: a message that goes to several outputs is one answer.
    seen_texts: HashSet<String>,
    /// The answers in the `end` event; nothing is read after it.
    final_answers: Option<vec::IntoIter<Answer>>,
}

impl<F: Stream<Item = Result<Frame, wicara_outbound::Error>> + Unpin> StreamDecoder<F> {
    /// The next item and the decoder's next state.
    async fn next(mut self) -> Result<Option<(StreamItem, Self)>, Error> {
        loop {
            if let Some(answers) = &mut self.final_answers {
                return Ok(answers.next().map(|answer| (StreamItem::Answer(answer), self)));
            }
            let Some(frame) = self.frames.next().await.transpose()? else {
                return Err(Error::Unreadable("it broke off".to_owned()));
            };
            if let Some(item) = self.decode_frame(&frame)? {
                return Ok(Some((item, self)));
            }
        }
    }

    fn decode_frame(&mut self, frame: &Frame) -> Result<Option<StreamItem>, Error> {
        let event = Json::decodable(&frame.data).and_then(|frame| serde_json::from_str(frame.as_str()));
        let event: Event = event.map_err(|error| {
            Error::Unreadable(format!("an event of it is none ({})", json::fault(&error)))
        })?;
        let data = event.data.as_ref().map_or("null", Json::as_str);
        match event.event.as_str() {
            "token" => Ok(self.token(data).map(StreamItem::Token)),
            // v2: a component at an end of the flow has finished.
            "output" => {
                let answer = answers::of_component(data)?;
                let answer = answer.filter(|answer| self.seen_texts.insert(answer.text.clone()));
                Ok(answer.map(StreamItem::Answer))
            }
            "error" => Err(answers::failure(data)),
            "end" => {
                let answers = match answers::at(data, &["result"]) {
                    Some(response) => answers::of_response(response)?,
                    None => Vec::new(),
                };
                self.final_answers = Some(answers.into_iter());
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    fn token(&mut self, data: &str) -> Option<String> {
        let id = answers::string_at(data, &["id"]).unwrap_or_default();
        let chunk = answers::string_at(data, &["chunk"])?;
        (*self.streamed_message.get_or_insert_with(|| id.clone()) == id && !chunk.is_empty()).then_some(chunk)
    }
}
