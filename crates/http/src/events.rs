//! The response to a question as a stream of server-sent events: `session`, any number of `token`, then one `message`
//! or `error`. That to a trial of a bot has no `session`.

use std::convert::Infallible;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CACHE_CONTROL, HeaderName, HeaderValue};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use serde::Serialize;
use wicara_metrics::{GaugeGuard, HttpMetrics};
use wicara_service::{Error, PendingAnswer, Trial};

use crate::contract::bots::BotTried;
use crate::contract::chatbot_api::{AnswerToken, QuestionAnswered, StreamSession};
use crate::error::Failure::ChatbotApi;

/// After this time without an event a comment is sent, so that no proxy closes the connection as idle.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Tells nginx, and proxies that follow its convention, not to buffer the events.
pub const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Whether the client asks for a stream: `Accept` has `text/event-stream` literally, and not by a wildcard.
pub fn are_accepted(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|range| {
            let mut parts = range.split(';').map(str::trim);
            let is_named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("text/event-stream"));
            let is_refused = parts.any(|parameter| {
                let quality = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="));
                quality.is_some_and(|quality| quality.parse() == Ok(0.0))
            });
            is_named && !is_refused
        })
}

/// A response that streams a pending answer.
pub fn response(pending: PendingAnswer, metrics: &HttpMetrics) -> Response {
    sent(events(pending, metrics.stream()))
}

/// A response that streams a trial of a bot.
pub fn trial_response(trial: Trial, metrics: &HttpMetrics) -> Response {
    sent(trial_events(trial, metrics.stream()))
}

fn sent(events: impl Stream<Item = Result<Event, Infallible>> + Send + 'static) -> Response {
    let stream = Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT));
    let mut response = stream.into_response();
    // Without `no-transform` a proxy may compress, and holds events until a block is full (RFC 9111, 5.2.2.6).
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
    response.headers_mut().insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

/// What the stream sends next.
enum StreamState {
    Session(PendingAnswer),
    Token(PendingAnswer),
    End,
}

/// `open` counts the stream in the metrics until it is dropped.
fn events(pending: PendingAnswer, open: GaugeGuard) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold((StreamState::Session(pending), open), |(state, open)| async {
        let (event, state) = match state {
            StreamState::Session(pending) => {
                let session = StreamSession::new(pending.question);
                (event("session", &session), StreamState::Token(pending))
            }
            StreamState::Token(mut pending) => match pending.token().await {
                Some(text) => (event("token", &AnswerToken { text }), StreamState::Token(pending)),
                None => (final_event(pending).await, StreamState::End),
            },
            StreamState::End => return None,
        };
        Some((Ok(event), (state, open)))
    })
}

async fn final_event(pending: PendingAnswer) -> Event {
    match pending.answered().await {
        Ok(answered) => event("message", &QuestionAnswered::new(&answered)),
        Err(error) => error_event(error),
    }
}

/// `open` counts the stream in the metrics until it is dropped.
fn trial_events(trial: Trial, open: GaugeGuard) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold((Some(trial), open), |(trial, open)| async {
        let mut trial = trial?;
        Some(match trial.token().await {
            Some(text) => (Ok(event("token", &AnswerToken { text })), (Some(trial), open)),
            None => {
                let last = match trial.tried().await {
                    Ok(tried) => event("message", &BotTried::new(&tried)),
                    Err(error) => error_event(error),
                };
                (Ok(last), (None, open))
            }
        })
    })
}

fn error_event(error: Error) -> Event {
    let body = ChatbotApi(error).error_body().body;
    Event::default().event("error").data(String::from_utf8_lossy(&body))
}

fn event<T: Serialize>(name: &str, data: &T) -> Event {
    Event::default().event(name).json_data(data).expect("plain data serialises")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_asked_for_by_its_name() {
        for (accept, expected) in [
            (vec!["text/event-stream"], true),
            (vec!["application/json, Text/Event-Stream; q=0.5"], true),
            (vec!["application/json", "text/event-stream"], true),
            (vec!["text/event-stream;q=0, */*"], false),
            (vec!["text/event-stream; q=0.000"], false),
            (vec!["*/*"], false),
            (vec!["text/*"], false),
            (vec![], false),
        ] {
            let headers = accept.iter().map(|value| (ACCEPT, HeaderValue::from_static(value))).collect();
            assert_eq!(are_accepted(&headers), expected, "{accept:?}");
        }
    }
}
