//! Clients of the app, and the answers that they get.

use std::fmt::Display;
use std::time::Duration;

use reqwest::{Method, StatusCode, header};
use serde_json::Value;

use super::redacted::redacted;
use super::{Events, Feed};

/// What takes longer than this hangs.
const LONGEST_ANSWER: Duration = Duration::from_secs(120);

/// The same of a stream.
const LONGEST_STREAM: Duration = Duration::from_secs(600);

/// How much of a body a failed assertion shows.
const SHOWN_OF_A_BODY: usize = 200;

/// A client that sends the same headers with each request.
#[derive(Clone)]
pub struct Client {
    name: String,
    base: String,
    http: reqwest::Client,
    headers: Vec<(String, String)>,
}

impl Client {
    /// Without credentials.
    pub fn new(base: &str) -> Self {
        wicara_platform::tls::install();
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(LONGEST_ANSWER)
            .build()
            .unwrap();
        Self { name: "anonymous".into(), base: base.to_owned(), http, headers: Vec::new() }
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    /// Of another server, with the same headers.
    pub fn at(&self, base: &str) -> Self {
        Self { base: base.to_owned(), ..self.clone() }
    }

    /// With another name before its requests where an assertion fails.
    pub fn named(&self, name: &str) -> Self {
        Self { name: name.into(), ..self.clone() }
    }

    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut client = self.clone();
        client.headers.push((name.into(), value.into()));
        client
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    /// `body`: JSON, as a value or as text that is sent byte for byte.
    pub async fn post(&self, path: &str, body: impl Display) -> Answer {
        self.send_json(Method::POST, path, body.to_string()).await
    }

    /// `body`: as for [`Client::post`].
    pub async fn patch(&self, path: &str, body: impl Display) -> Answer {
        self.send_json(Method::PATCH, path, body.to_string()).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None).await
    }

    /// A body of the type JSON, byte for byte, in any method.
    pub async fn send_json(&self, method: Method, path: &str, body: impl Into<Vec<u8>>) -> Answer {
        self.with("content-type", "application/json").send(method, path, Some(body.into())).await
    }

    /// Any request: the type of its body is a header as every other.
    pub async fn send(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> Answer {
        // On the heap: a test holds the futures of all its requests, and its thread's stack is small.
        let answer = Box::pin(self.try_send(method, path, body)).await;
        answer.unwrap_or_else(|error| panic!("{path}: no answer: {error:?}"))
    }

    /// Asks for events, and gets them.
    pub async fn post_for_events(&self, path: &str, body: &Value) -> Events {
        let client = self.with("content-type", "application/json");
        let response =
            client.request(Method::POST, path, Some(body.to_string().into())).send().await.unwrap();
        assert_eq!(response.status(), 200);
        Events::new(response)
    }

    /// Opens a stream of the feed.
    pub async fn follow(&self, path: &str) -> Feed {
        let response = self.request(Method::GET, path, None).timeout(LONGEST_STREAM).send().await.unwrap();
        assert_eq!(response.status(), 200, "{}: {path}", self.name);
        Feed::new(response)
    }

    /// The same where there may be no place for one, or no server.
    pub async fn try_follow(&self, path: &str) -> Result<Option<Feed>, reqwest::Error> {
        let response = self.request(Method::GET, path, None).timeout(LONGEST_STREAM).send().await?;
        Ok(response.status().is_success().then(|| Feed::new(response)))
    }

    fn request(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> reqwest::RequestBuilder {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        match body {
            Some(body) => request.body(body),
            None => request,
        }
    }

    pub async fn try_send(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Answer, reqwest::Error> {
        let sent = body.as_deref().unwrap_or_default();
        let sent = String::from_utf8_lossy(&sent[..sent.len().min(SHOWN_OF_A_BODY)]);
        let request = format!("{}: {method} {path} {:?} {sent}", self.name, self.headers);
        let response = self.request(method, path, body).send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        Ok(Answer { request, status, headers, text: response.text().await? })
    }
}

#[derive(Debug, Clone)]
pub struct Answer {
    /// Who asked and what, for assertions that fail.
    pub request: String,
    pub status: StatusCode,
    pub headers: header::HeaderMap,
    pub text: String,
}

impl Answer {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|_| panic!("{}: no JSON: {:?}", self.request, self.text))
    }

    /// The JSON of a success.
    #[track_caller]
    pub fn ok(&self) -> Value {
        self.has_status(200).json()
    }

    #[track_caller]
    pub fn has_status(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{}: {}", self.request, self.text);
        self
    }

    /// Fails unless the answer has this status and, byte for byte, this body of JSON, but for line breaks and the spaces
    /// after them. In `body` the words `<id>`, `<time>`, `<session>`, `<caller>` and `<uuid>` stand for values that the
    /// server makes up.
    #[track_caller]
    pub fn is(&self, status: u16, body: &str) {
        let (answer, expected) = (on_one_line(&self.text), on_one_line(body));
        let shown = if answer == expected { answer } else { redacted(&answer) };
        let same = (self.status.as_u16(), &shown) == (status, &expected);
        assert!(same, "{}\n   answer: {} {shown}\n expected: {status} {expected}", self.request, self.status);
        let kind = self.header("content-type");
        assert_eq!(kind, Some("application/json; charset=utf-8"), "{}", self.request);
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// All of it but what differs from request to request.
    pub fn without_its_own(&self) -> (u16, Vec<(String, String)>, &str) {
        let mut headers: Vec<_> = self
            .headers
            .iter()
            .filter(|(name, _)| !["date", "x-request-id", "x-wicara-cursor"].contains(&name.as_str()))
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        headers.sort();
        (self.status.as_u16(), headers, &self.text)
    }
}

fn on_one_line(json: &str) -> String {
    json.lines().map(str::trim_start).collect()
}
