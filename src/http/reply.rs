//! Answers: short ones whole, lists in parts, so that no answer is ever held in memory at its whole length, and all of
//! them together hold no more than a budget.

use std::future::{Future, poll_fn};
use std::task::Poll;

use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::http::{Response as HttpResponse, StatusCode};
use axum::response::Response;
use futures_util::future::BoxFuture;
use futures_util::stream;
use serde::Serialize;
use tokio::sync::mpsc;
use tracing::Instrument;

use super::budget::Held;
use super::error::Failure;
use super::share::{Share, counted, held_bytes};

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// Text and payload that the store reads at once for a list or a detail, but for a single larger message.
pub const PART_BYTES: usize = 256 * 1024;

/// How much of a list is gathered before it is sent.
const SENT_BYTES: usize = 64 * 1024;

/// What a byte of text becomes in JSON at the most, so much is taken for it before it is read: a quote or a new line is
/// two. Of other control characters, which are six, and nothing else, a part counts for a third of what it is where
/// there is no room for all of it.
const ESCAPED: usize = 2;

/// What stands around the texts of a part.
const AROUND_BYTES: usize = 64 * 1024;

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
    state: usize,
    held: Option<Held>,
}

impl Envelope {
    /// An answer whose last empty list is the one to be filled.
    pub fn of<T: Serialize + ?Sized>(answer: &T) -> Self {
        let mut head = serde_json::to_vec(answer).expect("plain data serialises");
        let place = head.windows(2).rposition(|two| two == b"[]").expect("the answer has an empty list");
        let tail = head.split_off(place + 1);
        Self { head, tail, state: 0, held: None }
    }

    /// With the bytes that the list itself takes in memory until it is sent.
    #[must_use]
    pub fn with_state(self, state: usize) -> Self {
        Self { state, ..self }
    }

    /// With what was taken for the first part already, where more had to be read before it could be sent.
    #[must_use]
    pub fn with_held(self, held: Option<Held>) -> Self {
        Self { held, ..self }
    }
}

/// Answers with an envelope and, in the place of its empty list, the items that `write` puts there, part by part.
///
/// Of a list that ends with its first part the length is sent. A longer one is sent while it is read and written, as
/// fast as the client takes it: what fails in the first part is answered as a failure, what fails later cuts the
/// answer off.
///
/// Each part counts in the budget for answers until the client has taken it. The first one is counted when it is there
/// and refused where there is no room; for those that follow, room is waited for before they are read.
pub async fn list<W, F>(
    share: &Share,
    Envelope { head, tail, state, held }: Envelope,
    write: W,
) -> Result<Response, Failure>
where
    W: FnOnce(Items) -> F,
    F: Future<Output = Result<Items, Failure>> + Send + 'static,
{
    let (sender, parts) = mpsc::channel(1);
    let part = Part { bytes: head, held };
    let state = state + tail.len();
    let items = Items { share: share.clone(), sender, part, first: true, begun: false };
    let written = write(items);
    let write = async move {
        let mut items = written.await?;
        items.part.bytes.extend_from_slice(&tail);
        Ok(items.part)
    };
    let mut parts = Parts { write: Some(Box::pin(write.in_current_span())), parts };
    match parts.next().await? {
        Next::Last(Part { bytes, held: None }) => Ok(with_body(200, Body::from(bytes))),
        Next::Last(part) => Ok(counted(with_body(200, Body::from(part.counted(share))))),
        Next::Part(mut part) => {
            part.bytes.shrink_to_fit();
            share.take(&mut part.held, part.bytes.capacity())?;
            let mut held = None;
            share.take(&mut held, state)?;
            Ok(counted(with_body(200, streamed(part.counted(share), parts, share.clone(), held))))
        }
    }
}

/// Some of a list, as it is sent.
#[derive(Default)]
struct Part {
    bytes: Vec<u8>,
    /// Taken before it was read; none for what was read first.
    held: Option<Held>,
}

impl Part {
    /// The part with exactly what it counts for.
    fn counted(mut self, share: &Share) -> Bytes {
        self.bytes.shrink_to_fit();
        match self.held {
            Some(mut held) => {
                share.adjust(&mut held, self.bytes.capacity());
                held_bytes(self.bytes, held)
            }
            None => self.bytes.into(),
        }
    }
}

enum Next {
    Part(Part),
    Last(Part),
}

/// A list while it is written: that goes on only as its parts are asked for, and ends when nobody asks any more.
struct Parts {
    write: Option<BoxFuture<'static, Result<Part, Failure>>>,
    parts: mpsc::Receiver<Part>,
}

impl Parts {
    async fn next(&mut self) -> Result<Next, Failure> {
        poll_fn(|context| {
            let write = self.write.as_mut().expect("nothing is asked for after the last part");
            match write.as_mut().poll(context) {
                Poll::Ready(last) => {
                    self.write = None;
                    Poll::Ready(last.map(Next::Last))
                }
                // A part that was written is counted at once, before others have their turn: a thousand of them that
                // wait to be counted would be as large as if they were held.
                Poll::Pending => match self.parts.poll_recv(context) {
                    Poll::Ready(Some(part)) => Poll::Ready(Ok(Next::Part(part))),
                    Poll::Ready(None) | Poll::Pending => Poll::Pending,
                },
            }
        })
        .await
    }
}

/// A list that is being written.
pub struct Items {
    share: Share,
    sender: mpsc::Sender<Part>,
    part: Part,
    /// No entry was added yet.
    first: bool,
    /// Something was sent.
    begun: bool,
}

impl Items {
    /// Adds an entry.
    pub fn push<T: Serialize + ?Sized>(&mut self, item: &T) {
        if !std::mem::take(&mut self.first) {
            self.part.bytes.push(b',');
        }
        serde_json::to_writer(&mut self.part.bytes, item).expect("plain data serialises");
    }

    /// To be awaited before what follows is read, with how much text that may be. What was added has to be enough to be
    /// sent, and is then taken first. Fails where there is no room and nothing was sent yet, else waits for it.
    pub async fn part(&mut self, text: usize) -> Result<(), Failure> {
        if self.first {
            return Ok(());
        }
        let bytes = text.saturating_mul(ESCAPED).saturating_add(AROUND_BYTES);
        if self.part.bytes.len() < SENT_BYTES {
            let taken = self.share.take(&mut self.part.held, self.part.bytes.len() + bytes);
            if taken.is_ok() || !self.begun {
                return taken;
            }
        }
        self.begun = true;
        let part = std::mem::take(&mut self.part);
        self.sender.send(part).await.expect("the parts are taken for as long as it is written");
        // Goes on once it was taken: where nobody asks for more, no read may be left half done, since others wait for
        // its connection.
        let _ = self.sender.reserve().await;
        self.part.held = Some(self.share.answer_in_turn(bytes).await);
        Ok(())
    }
}

/// `state` is held until the end.
fn streamed(first: Bytes, parts: Parts, share: Share, state: Option<Held>) -> Body {
    let rest = stream::unfold(Some((parts, share, state)), |list| async {
        let (mut parts, share, state) = list?;
        match parts.next().await {
            Ok(Next::Part(part)) => Some((Ok(part.counted(&share)), Some((parts, share, state)))),
            Ok(Next::Last(part)) => Some((Ok(part.counted(&share)), None)),
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
    use std::time::Duration;

    use axum::body::HttpBody;
    use futures_util::FutureExt;
    use http_body_util::BodyExt;
    use serde_json::{Value, json};

    use super::*;
    use crate::http::error::Failure::ChatbotApi;
    use crate::http::share::Memory;
    use crate::metrics::Metrics;
    use crate::service::Error;

    /// Items in a part of these tests.
    const PART: usize = 100;

    fn share(answers: usize) -> Share {
        let memory = Memory::new(usize::MAX, usize::MAX, answers, &Metrics::default().http);
        Share::new(&Arc::new(memory), &axum::http::Extensions::new())
    }

    async fn of(share: &Share, count: usize, fail_at: Option<usize>) -> Result<Response, Failure> {
        let envelope = Envelope::of(&json!({ "a": "[]", "data": [], "z": 1 }));
        list(share, envelope, move |mut items| async move {
            for number in 0..count {
                if number % PART == 0 {
                    items.part(PART * 1000).await?;
                }
                if fail_at == Some(number) {
                    return Err(ChatbotApi(Error::Internal("no row".into())));
                }
                items.push(&json!({ "number": number, "text": "é".repeat(500) }));
            }
            Ok(items)
        })
        .await
    }

    #[tokio::test]
    async fn a_list_is_whole_whatever_its_length() {
        let share = share(usize::MAX);
        for count in [0, 1, 2, PART - 1, PART, PART + 1, 1000] {
            let body = of(&share, count, None).await.unwrap().into_body();
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
        let share = share(usize::MAX);
        assert!(of(&share, PART, None).await.unwrap().body().size_hint().exact().is_some());
        assert!(of(&share, PART + 1, None).await.unwrap().body().size_hint().exact().is_none());
    }

    #[tokio::test]
    async fn a_failure_in_the_first_part_is_answered_and_a_later_one_cuts_off() {
        let share = share(usize::MAX);
        assert!(matches!(of(&share, 1000, Some(10)).await, Err(ChatbotApi(Error::Internal(_)))));
        let body = of(&share, 1000, Some(500)).await.unwrap().into_body();
        assert!(body.collect().await.is_err());
    }

    #[tokio::test]
    async fn nothing_goes_on_between_two_parts() {
        let begun = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&begun);
        let response =
            list(&share(usize::MAX), Envelope::of(&json!({ "data": [] })), move |mut items| async move {
                loop {
                    items.part(PART_BYTES).await?;
                    counted.fetch_add(1, Ordering::Relaxed);
                    items.push(&"x".repeat(SENT_BYTES));
                }
            })
            .await;
        let mut body = response.unwrap().into_body();
        for parts in 1..4 {
            assert!(body.frame().await.unwrap().unwrap().is_data());
            assert_eq!(begun.load(Ordering::Relaxed), parts);
        }
    }

    #[tokio::test]
    async fn writing_ends_when_nobody_reads() {
        let (alive, ended) = tokio::sync::oneshot::channel::<()>();
        let response =
            list(&share(usize::MAX), Envelope::of(&json!({ "data": [] })), move |mut items| async move {
                let _alive = alive;
                loop {
                    items.part(PART_BYTES).await?;
                    items.push("some text");
                }
            })
            .await;
        drop(response);
        assert!(ended.await.is_err());
    }

    /// For visitors 16 MiB, of which a list of these tests holds 100 KiB and takes 264 KiB before more is read.
    const BUDGET: usize = 32 * 1024 * 1024;

    /// As many lists as find room, of which nothing is taken.
    async fn begun(share: &Share) -> Vec<Body> {
        let mut bodies = Vec::new();
        while let Ok(response) = of(share, 1000, None).await {
            bodies.push(response.into_body());
            assert!(bodies.len() < 1000, "there is no end");
        }
        bodies
    }

    #[tokio::test]
    async fn lists_that_nobody_reads_hold_no_more_than_the_budget() {
        let share = share(BUDGET);
        let held = begun(&share).await;
        let part = 100 * 1024;
        assert!((BUDGET / 2 * 3 / 4 / part..=BUDGET / 2 / part).contains(&held.len()), "{}", held.len());
        // What fits in the rest is answered, and everything again once there is room.
        let short = share.count(&axum::http::Method::GET, of(&share, 10, None).await.unwrap());
        assert_eq!(short.status(), 200);
        drop(held);
        let body = of(&share, 1000, None).await.unwrap().into_body();
        body.collect().await.unwrap();
    }

    #[tokio::test]
    async fn a_list_under_way_waits_for_its_turn_and_is_whole() {
        let share = share(BUDGET);
        let mut bodies = begun(&share).await;
        let mut waiting = bodies.pop().unwrap();
        // Its first part is with the socket, which keeps it.
        let first = waiting.frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(waiting.frame().now_or_never().is_none(), "there is no room");
        bodies.clear();
        let (mut length, mut rest) = (first.len(), waiting);
        while let Some(frame) = tokio::time::timeout(Duration::from_secs(10), rest.frame()).await.unwrap() {
            length += frame.unwrap().into_data().unwrap().len();
        }
        let whole = of(&share, 1000, None).await.unwrap().into_body().collect().await.unwrap();
        assert_eq!(length, whole.to_bytes().len());
    }
}
