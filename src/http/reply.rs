//! Answers: short ones whole, lists in pieces, so that no answer is ever held in memory at its whole length.

use std::future::Future;

use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::http::{Response as HttpResponse, StatusCode};
use axum::response::Response;
use futures_util::future::BoxFuture;
use futures_util::stream;
use serde::Serialize;
use tokio::sync::mpsc;
use tracing::Instrument;

use super::error::Failure;

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// How much of a list is gathered before it is sent. A single entry may be longer.
const PIECE_BYTES: usize = 64 * 1024;

/// Pieces that wait while the client reads slowly.
const PIECES_AHEAD: usize = 1;

/// An answer that is sent whole.
#[must_use]
pub fn json<T: Serialize + ?Sized>(status: u16, body: &T) -> Response {
    let bytes = serde_json::to_vec(body).expect("plain data serialises");
    with_body(status, Body::from(bytes))
}

pub fn ok<T: Serialize + ?Sized>(body: &T) -> Response {
    json(200, body)
}

fn with_body(status: u16, body: Body) -> Response {
    let mut response = HttpResponse::new(body);
    *response.status_mut() = StatusCode::from_u16(status).expect("a status named in this program");
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

/// What stands around a list.
pub struct Envelope {
    head: Vec<u8>,
    tail: Vec<u8>,
}

impl Envelope {
    /// An answer whose last empty list is the one to be filled.
    pub fn of<T: Serialize + ?Sized>(answer: &T) -> Self {
        let mut head = serde_json::to_vec(answer).expect("plain data serialises");
        let place = head.windows(2).rposition(|two| two == b"[]").expect("the answer has an empty list");
        let tail = head.split_off(place + 1);
        Self { head, tail }
    }
}

/// Answers with an envelope and, in the place of its empty list, the items that `write` puts there.
///
/// What fits in one piece is sent with its length. A longer list is sent while it is written, as fast as the
/// client reads: what fails before the first piece is answered as a failure, what fails later cuts the answer off.
pub async fn list<W, F>(Envelope { head, tail }: Envelope, write: W) -> Result<Response, Failure>
where
    W: FnOnce(Items) -> F,
    F: Future<Output = Result<Items, Failure>> + Send + 'static,
{
    let (sender, parts) = mpsc::channel(PIECES_AHEAD);
    let items = Items { sender, buffer: head, first: true };
    let written = write(items);
    let write = async move {
        let mut items = written.await?;
        items.buffer.extend_from_slice(&tail);
        Ok(Bytes::from(items.buffer))
    };
    let mut pieces = Pieces { write: Some(Box::pin(write.in_current_span())), parts, last: None };
    match pieces.next().await? {
        Piece::Last(bytes) => Ok(with_body(200, Body::from(bytes))),
        Piece::Part(bytes) => Ok(with_body(200, streamed(bytes, pieces))),
    }
}

enum Piece {
    Part(Bytes),
    Last(Bytes),
}

/// A list while it is written: that goes on only as its pieces are asked for, and ends when nobody asks any more.
struct Pieces {
    write: Option<BoxFuture<'static, Result<Bytes, Failure>>>,
    parts: mpsc::Receiver<Bytes>,
    last: Option<Result<Bytes, Failure>>,
}

impl Pieces {
    async fn next(&mut self) -> Result<Piece, Failure> {
        if let Some(write) = &mut self.write {
            tokio::select! {
                biased;
                Some(part) = self.parts.recv() => return Ok(Piece::Part(part)),
                last = write => {
                    self.write = None;
                    self.last = Some(last);
                }
            }
        }
        // What was written before the last piece goes before it.
        match self.parts.try_recv() {
            Ok(part) => Ok(Piece::Part(part)),
            Err(_) => self.last.take().expect("nothing is asked for after the last piece").map(Piece::Last),
        }
    }
}

/// A list that is being written.
pub struct Items {
    sender: mpsc::Sender<Bytes>,
    buffer: Vec<u8>,
    first: bool,
}

impl Items {
    /// Adds an entry; waits where the client has not read enough yet.
    pub async fn push<T: Serialize + ?Sized>(&mut self, item: &T) {
        if !std::mem::take(&mut self.first) {
            self.buffer.push(b',');
        }
        serde_json::to_writer(&mut self.buffer, item).expect("plain data serialises");
        if self.buffer.len() >= PIECE_BYTES {
            let piece = Bytes::from(std::mem::take(&mut self.buffer));
            self.sender.send(piece).await.expect("the pieces are taken for as long as it is written");
            // Goes on once it was taken: where nobody asks for more, no read may be left half done, since others wait
            // for its connection.
            let _ = self.sender.reserve().await;
        }
    }
}

fn streamed(first: Bytes, pieces: Pieces) -> Body {
    let rest = stream::unfold(Some(pieces), |pieces| async {
        let mut pieces = pieces?;
        match pieces.next().await {
            Ok(Piece::Part(bytes)) => Some((Ok(bytes), Some(pieces))),
            Ok(Piece::Last(bytes)) => Some((Ok(bytes), None)),
            Err(failure) => {
                tracing::error!(?failure, "an answer was cut off");
                Some((Err("the rest could not be read"), None))
            }
        }
    });
    Body::from_stream(futures_util::StreamExt::chain(stream::iter([Ok(first)]), rest))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::body::HttpBody;
    use http_body_util::BodyExt;
    use serde_json::{Value, json};

    use super::*;
    use crate::service::Error;

    async fn of(count: usize, fail_at: Option<usize>) -> Result<Response, Failure> {
        list(Envelope::of(&json!({ "a": "[]", "data": [], "z": 1 })), move |mut items| async move {
            for number in 0..count {
                if fail_at == Some(number) {
                    return Err(Failure::ChatbotApi(Error::Unavailable));
                }
                items.push(&json!({ "number": number, "text": "é".repeat(500) })).await;
            }
            Ok(items)
        })
        .await
    }

    #[tokio::test]
    async fn a_list_is_whole_whatever_its_length() {
        for count in [0, 1, 2, 63, 64, 65, 1000] {
            let body = of(count, None).await.unwrap().into_body();
            let body: Value = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
            let numbers: Vec<_> = body["data"]
                .as_array()
                .unwrap()
                .iter()
                .map(|item| item["number"].as_u64().unwrap())
                .collect();
            assert_eq!(numbers, (0..count as u64).collect::<Vec<_>>());
            assert_eq!((&body["a"], &body["z"]), (&json!("[]"), &json!(1)));
        }
    }

    #[tokio::test]
    async fn a_short_list_has_a_length_and_a_long_one_has_none() {
        assert!(of(3, None).await.unwrap().body().size_hint().exact().is_some());
        assert!(of(1000, None).await.unwrap().body().size_hint().exact().is_none());
    }

    #[tokio::test]
    async fn a_failure_before_the_first_piece_is_answered_and_a_later_one_cuts_off() {
        assert!(matches!(of(1000, Some(10)).await, Err(Failure::ChatbotApi(Error::Unavailable))));
        let body = of(1000, Some(500)).await.unwrap().into_body();
        assert!(body.collect().await.is_err());
    }

    #[tokio::test]
    async fn nothing_goes_on_between_two_pieces() {
        let begun = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&begun);
        let response = list(Envelope::of(&json!({ "data": [] })), move |mut items| async move {
            loop {
                counted.fetch_add(1, Ordering::Relaxed);
                items.push(&"x".repeat(PIECE_BYTES)).await;
            }
        })
        .await;
        let mut body = response.unwrap().into_body();
        for pieces in 1..4 {
            assert!(body.frame().await.unwrap().unwrap().is_data());
            assert_eq!(begun.load(Ordering::Relaxed), pieces);
        }
    }

    #[tokio::test]
    async fn writing_ends_when_nobody_reads() {
        let (alive, ended) = tokio::sync::oneshot::channel::<()>();
        let response = list(Envelope::of(&json!({ "data": [] })), move |mut items| async move {
            let _alive = alive;
            loop {
                items.push("some text").await;
            }
        })
        .await;
        drop(response);
        assert!(ended.await.is_err());
    }
}
