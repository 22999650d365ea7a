//! A stream of the feed as a response. Its body is one future that waits for the service: it has no timer, and holds no
//! memory for events while there are none.

use std::convert::Infallible;
use std::vec;

use axum::body::{Body, Bytes};
use axum::http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue};
use axum::response::Response;
use futures_util::stream;
use wicara_metrics::GaugeGuard;
use wicara_platform::Random;
use wicara_service::{FeedItem, FeedStream, FeedView};

use super::frames::Frames;
use crate::Http;
use crate::events::X_ACCEL_BUFFERING;
use crate::request_memory::counted;

/// Milliseconds until a client whose stream ended comes back: as many different ones as there are, so that after a restart
/// not all come at once.
const RETRY_MILLIS: std::ops::Range<u64> = 1_000..10_000;

struct StreamState {
    /// What is sent before the first event.
    retry: Option<Bytes>,
    opened: FeedStream,
    /// Events that came together and are not sent yet.
    items: vec::IntoIter<FeedItem>,
    frames: Frames,
    /// Counts the stream in the metrics.
    _open: GaugeGuard,
}

pub fn response(http: &Http, opened: FeedStream, view: FeedView) -> Response {
    let state = StreamState {
        retry: Some(retry()),
        opened,
        items: Vec::new().into_iter(),
        _open: http.metrics.feed.stream(view.is_visitors()),
        frames: Frames::new(http, view),
    };
    let body = stream::unfold(state, next_frame);
    let mut response = Response::new(Body::from_stream(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // Without `no-transform` a proxy may compress, and holds events until a block is full (RFC 9111, 5.2.2.6).
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    // The connection has given its permit back.
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    // What is sent is shared with other streams, and bounded by the service.
    counted(response)
}

async fn next_frame(mut state: StreamState) -> Option<(Result<Bytes, Infallible>, StreamState)> {
    if let Some(retry) = state.retry.take() {
        return Some((Ok(retry), state));
    }
    loop {
        if let Some(item) = state.items.next() {
            return Some((Ok(state.frames.frame(&item)), state));
        }
        state.items = Vec::new().into_iter();
        state.items = state.opened.next().await?.into_iter();
    }
}

/// The system's randomness: no test depends on it.
fn retry() -> Bytes {
    let [first, second, third, fourth, ..] = Random::System.bytes();
    let random = u64::from(u32::from_be_bytes([first, second, third, fourth]));
    let millis = RETRY_MILLIS.start + random % (RETRY_MILLIS.end - RETRY_MILLIS.start);
    format!("retry: {millis}\n").into()
}
