//! The answer to a question as a stream of server-sent events: `session`, any number of `token`, then one `message`
//! or `error`.

use std::convert::Infallible;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CACHE_CONTROL, HeaderName, HeaderValue};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use serde::Serialize;
use wicara_metrics::{GaugeGuard, HttpMetrics};
use wicara_service::Asking;

use crate::contract::chatbot_api::{AnswerToken, QuestionAnswered, StreamSession};
use crate::error::Failure::ChatbotApi;

/// After so long without an event a comment is sent, so that nobody in between takes the connection for dead.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Asks nginx, and whoever has learned it from there, to pass each event on at once.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Whether the client asks for a stream: it names `text/event-stream`, which no wildcard does.
pub fn wanted(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|range| {
            let mut parts = range.split(';').map(str::trim);
            let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("text/event-stream"));
            let refused = parts.any(|parameter| {
                let quality = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="));
                quality.is_some_and(|quality| quality.parse() == Ok(0.0))
            });
            named && !refused
        })
}

/// Answers with the events of a question that is being answered.
pub fn answer(asking: Asking, metrics: &HttpMetrics) -> Response {
    let stream = Sse::new(events(asking, metrics.stream())).keep_alive(KeepAlive::new().interval(HEARTBEAT));
    let mut response = stream.into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

enum Next {
    Session(Asking),
    Token(Asking),
    End,
}

/// The stream is counted as open for as long as it is held.
fn events(asking: Asking, open: GaugeGuard) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold((Next::Session(asking), open), |(next, open)| async {
        let (event, next) = match next {
            Next::Session(asking) => {
                let session = StreamSession { session_id: asking.session_id };
                (event("session", &session), Next::Token(asking))
            }
            Next::Token(mut asking) => match asking.token().await {
                Some(text) => (event("token", &AnswerToken { text }), Next::Token(asking)),
                None => (last(asking).await, Next::End),
            },
            Next::End => return None,
        };
        Some((Ok(event), (next, open)))
    })
}

async fn last(asking: Asking) -> Event {
    match asking.answered().await {
        Ok(answered) => event("message", &QuestionAnswered::new(&answered)),
        Err(error) => {
            let body = ChatbotApi(error).error_body().body;
            Event::default().event("error").data(String::from_utf8_lossy(&body))
        }
    }
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
            assert_eq!(wanted(&headers), expected, "{accept:?}");
        }
    }
}
