//! The kind `langflow`: a flow on a Langflow server (<https://docs.langflow.org/api-flows-run>).
//!
//! Nearly every server has v1; where it is missing there is v2. Both are asked for a stream. v1's frames are bare
//! JSON and the answers come with the last one, v2's are real server-sent events and each answer is one of them.

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
use crate::{Bot, Error, Part, Parts};

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// In how many places a response repeats a text.
const TEXT_PLACES: usize = 5;
/// What stands in a response beside its texts: logs, with tracebacks even of a run that went well.
const LOG_BYTES: usize = 4 * 1024 * 1024;

/// How long a server that gave no stream is asked for whole answers before one question tries a stream again, for
/// which the flow runs twice if there is still none.
const WHOLE_TIME: Duration = Duration::from_secs(10 * 60);

/// Which flow, and where.
#[derive(Clone)]
pub struct Settings {
    url: Url,
    flow: String,
    api_key: Option<HeaderValue>,
    api: Choice,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    url: String,
    flow: String,
    #[serde(default)]
    api_key: String,
    #[serde(default)]
    api: Choice,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Choice {
    #[default]
    Auto,
    V1,
    V2,
}

impl Settings {
    pub fn from_table(table: Table) -> Result<Self, ReadError> {
        let written: Written = read(table)?;
        if written.flow.trim().is_empty() {
            return Err(ReadError::new(
                "flow",
                "it is empty; expected the id or the endpoint name of a flow",
            ));
        }
        let url = parse_url(&written.url).map_err(|error| ReadError::new("url", error))?;
        let api_key = match written.api_key.as_str() {
            "" => Ok(None),
            key => secret_header(key).map(Some),
        }
        .map_err(|error| ReadError::new("api_key", error))?;
        Ok(Self { url, flow: written.flow, api_key, api: written.api })
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
    /// v2 answered last, so it is asked first.
    v2_first: AtomicBool,
    /// The server gave no stream but does answer whole, and is asked so until then: to find out again would run the
    /// flow twice for every question.
    whole_until: Mutex<Option<Instant>>,
}

impl Langflow {
    pub fn new(settings: &Settings, client: Client, max_answer_bytes: usize) -> Self {
        Self(Arc::new(Flow {
            client,
            settings: settings.clone(),
            max_answer_bytes,
            v2_first: AtomicBool::new(false),
            whole_until: Mutex::default(),
        }))
    }
}

impl Bot for Langflow {
    fn ask(&self, question: Question) -> Parts {
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
    async fn call(&self, question: &Question) -> Result<Parts, Error> {
        let streams = self.tries_a_stream();
        if streams {
            let reply = self.run(question, true).await?;
            if reply.is_json() {
                return self.whole(reply).await;
            }
            let mut frames = sse::frames(reply, self.max_bytes()).peekable();
            // Some versions answer a stream with a success and nothing else.
            if let Some(first) = Pin::new(&mut frames).peek().await {
                if first.is_ok() {
                    *self.whole_until() = None;
                }
                return Ok(hear(frames));
            }
        }
        let reply = self.run(question, false).await?;
        let answers = self.whole(reply).await?;
        if streams {
            *self.whole_until() = Some(Instant::now() + WHOLE_TIME);
        }
        Ok(answers)
    }

    /// Whether a question asks for a stream. Where the last one got none, one of them does when the time is over, and the
    /// others go on as before until it has found out.
    fn tries_a_stream(&self) -> bool {
        let mut until = self.whole_until();
        if until.is_some_and(|until| Instant::now() < until) {
            return false;
        }
        *until = until.map(|_| Instant::now() + WHOLE_TIME);
        true
    }

    fn whole_until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.whole_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the API that answered last or, at first, v1; and the other one where this server has none such.
    async fn run(&self, question: &Question, streams: bool) -> Result<Reply, Error> {
        let (first, second) = match self.settings.api {
            Choice::V1 => (Api::V1, None),
            Choice::V2 => (Api::V2, None),
            Choice::Auto if self.v2_first.load(Ordering::Relaxed) => (Api::V2, Some(Api::V1)),
            Choice::Auto => (Api::V1, Some(Api::V2)),
        };
        let refused = match self.post(first, question, streams).await {
            Err(refused @ Error::Rejected { status: 404 | 405, .. }) => refused,
            outcome => return outcome,
        };
        let Some(second) = second else { return Err(refused) };
        let outcome = self.post(second, question, streams).await;
        match (&outcome, &refused) {
            (Ok(_), _) => self.v2_first.store(second == Api::V2, Ordering::Relaxed),
            // Neither knows the flow (v2 answers a name with 422), or neither is there: the first one's words tell more.
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

    /// The most that is read of a whole response or of one frame.
    fn max_bytes(&self) -> usize {
        self.max_answer_bytes.saturating_mul(TEXT_PLACES).saturating_add(LOG_BYTES)
    }

    async fn whole(&self, reply: Reply) -> Result<Parts, Error> {
        let document = reply.json(self.max_bytes()).await?;
        let answers = answers::of_response(document.as_str())?;
        Ok(stream::iter(answers).map(|answer| Ok(Part::Answer(answer))).boxed())
    }
}

#[derive(Deserialize)]
struct Event {
    event: String,
    data: Option<Json>,
}

/// The answers in the frames of a run.
pub fn hear(
    frames: impl Stream<Item = Result<Frame, wicara_outbound::Error>> + Unpin + Send + 'static,
) -> Parts {
    let hearing = Hearing { frames, streaming: None, said: HashSet::new(), last: None };
    stream::try_unfold(hearing, Hearing::next).boxed()
}

/// A run that is being streamed.
struct Hearing<F> {
    frames: F,
    /// The message whose tokens are passed on: the first that has some. Those of others would run in between.
    streaming: Option<String>,
    /// The texts answered so far: a message that goes to several outputs is one answer.
    said: HashSet<String>,
    /// What came with the end.
    last: Option<vec::IntoIter<Answer>>,
}

impl<F: Stream<Item = Result<Frame, wicara_outbound::Error>> + Unpin> Hearing<F> {
    /// The next part, and what is left.
    async fn next(mut self) -> Result<Option<(Part, Self)>, Error> {
        loop {
            if let Some(last) = &mut self.last {
                return Ok(last.next().map(|answer| (Part::Answer(answer), self)));
            }
            let Some(frame) = self.frames.next().await.transpose()? else {
                return Err(Error::Unreadable("it broke off".to_owned()));
            };
            if let Some(part) = self.take(&frame)? {
                return Ok(Some((part, self)));
            }
        }
    }

    fn take(&mut self, frame: &Frame) -> Result<Option<Part>, Error> {
        let event = Json::decodable(&frame.data).and_then(|frame| serde_json::from_str(frame.as_str()));
        let event: Event = event.map_err(|error| {
            Error::Unreadable(format!("an event of it is none ({})", json::fault(&error)))
        })?;
        let data = event.data.as_ref().map_or("null", Json::as_str);
        match event.event.as_str() {
            "token" => Ok(self.token(data).map(Part::Token)),
            // v2: a component at an end of the flow is done.
            "output" => {
                let answer = answers::of_component(data)?;
                let answer = answer.filter(|answer| self.said.insert(answer.text.clone()));
                Ok(answer.map(Part::Answer))
            }
            "error" => Err(answers::failure(data)),
            "end" => {
                let answers = match answers::at(data, &["result"]) {
                    Some(response) => answers::of_response(response)?,
                    None => Vec::new(),
                };
                self.last = Some(answers.into_iter());
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    fn token(&mut self, data: &str) -> Option<String> {
        let id = answers::string_at(data, &["id"]).unwrap_or_default();
        let chunk = answers::string_at(data, &["chunk"])?;
        (*self.streaming.get_or_insert_with(|| id.clone()) == id && !chunk.is_empty()).then_some(chunk)
    }
}
