//! Lists as answers, in parts, so that no answer is ever held in memory at its whole length, and all of
//! them together hold no more than a budget.

use std::mem::take;

use axum::body::{Body, Bytes};
use axum::response::Response;
use futures_util::stream::{self, StreamExt};
use serde::Serialize;
use tracing::{Instrument, Span};
use wicara_service::{Entries, Error};

use crate::budget::Held;
use crate::error::Failure;
use crate::json_body::with_body;
use crate::share::{FREE_BYTES, Share, counted, held_bytes};

/// How much of a list is gathered before it is sent.
const SENT_BYTES: usize = 64 * 1024;

/// What a byte of text becomes in JSON at the most, so much is taken for it before it is read: a quote or a new line is
/// two. Of other control characters, which are six, and nothing else, a part counts for a third of what it is where
/// there is no room for all of it.
const ESCAPED: usize = 2;

/// What stands around the texts of a part.
const AROUND_BYTES: usize = 64 * 1024;

/// What stands around a list.
pub struct Envelope {
    head: Vec<u8>,
    tail: Vec<u8>,
    held: Option<Held>,
}

impl Envelope {
    /// An answer whose last empty list is the one to be filled.
    pub fn of<T: Serialize + ?Sized>(answer: &T) -> Self {
        let mut head = serde_json::to_vec(answer).expect("plain data serialises");
        let place = head.windows(2).rposition(|two| two == b"[]").expect("the answer has an empty list");
        let tail = head.split_off(place + 1);
        Self { head, tail, held: None }
    }

    /// Counts it before the first entry is read: for one that holds more than a few words.
    pub fn held(self, share: &Share) -> Result<Self, Failure> {
        let mut held = self.held;
        share.take(&mut held, self.head.len())?;
        Ok(Self { held, ..self })
    }
}

/// Answers with an envelope and, in the place of its empty list, the entries, each as `present` writes it.
///
/// Of a list that ends with its first part the length is sent. A longer one is sent while it is read and written, as
/// fast as the client takes it: what fails in the first part is answered as a failure, what fails later cuts the
/// answer off.
///
/// Each part counts in the budget for answers, from before it is read until the client has taken it. Where there is no room
/// for the first one, it is refused; for those that follow, room is waited for. A short list is counted when it is there.
pub async fn list<E, P>(
    share: &Share,
    Envelope { head, tail, held }: Envelope,
    entries: E,
    words: fn(Error) -> Failure,
    present: P,
) -> Result<Response, Failure>
where
    E: Entries,
    P: Fn(&mut Items, &E::Entry) + Send + 'static,
{
    let state = entries.state_bytes() + tail.len();
    let items = Items { bytes: head, is_empty: true };
    let share = share.clone();
    let mut parts =
        Parts { share, entries, words, present, items, held, tail, is_begun: false, is_waiting: false };
    match parts.next().await? {
        Next::Last(Part { bytes, held: None }) => Ok(with_body(200, Body::from(bytes))),
        Next::Last(part) => Ok(counted(with_body(200, Body::from(part.counted(&parts.share))))),
        Next::Part(mut part) => {
            part.bytes.shrink_to_fit();
            parts.share.take(&mut part.held, part.bytes.capacity())?;
            let mut held = None;
            parts.share.take(&mut held, state)?;
            let first = part.counted(&parts.share);
            Ok(counted(with_body(200, streamed(first, parts, held))))
        }
    }
}

/// Some of a list, as it is sent.
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

/// Where entries are written to.
pub struct Items {
    bytes: Vec<u8>,
    /// No entry was added yet.
    is_empty: bool,
}

impl Items {
    /// Adds an entry.
    pub fn push<T: Serialize + ?Sized>(&mut self, item: &T) {
        if !take(&mut self.is_empty) {
            self.bytes.push(b',');
        }
        serde_json::to_writer(&mut self.bytes, item).expect("plain data serialises");
    }
}

/// A list while it is read and written, which goes on only as its parts are asked for.
struct Parts<E, P> {
    share: Share,
    entries: E,
    words: fn(Error) -> Failure,
    present: P,
    items: Items,
    /// Taken for what was read and is not sent yet.
    held: Option<Held>,
    tail: Vec<u8>,
    /// Something was sent.
    is_begun: bool,
    /// Room for the next step is to be waited for.
    is_waiting: bool,
}

impl<E, P> Parts<E, P>
where
    E: Entries,
    P: Fn(&mut Items, &E::Entry),
{
    /// The next part. Nothing is left half read while nobody asks for more, since others wait for its connection: what
    /// was written is sent before room for the next step is waited for.
    async fn next(&mut self) -> Result<Next, Failure> {
        while let Some(text) = self.entries.next_bytes() {
            let bytes = text.saturating_mul(ESCAPED).saturating_add(AROUND_BYTES);
            if take(&mut self.is_waiting) {
                self.held = Some(self.share.answer_in_turn(bytes).await);
            } else if self.items.is_empty {
                if text > FREE_BYTES {
                    self.share.take(&mut self.held, bytes)?;
                }
            } else if !self.reserve(bytes)? {
                (self.is_begun, self.is_waiting) = (true, true);
                return Ok(Next::Part(self.part()));
            }
            for entry in self.entries.next().await.map_err(self.words)? {
                (self.present)(&mut self.items, &entry);
            }
        }
        self.items.bytes.extend_from_slice(&self.tail);
        Ok(Next::Last(self.part()))
    }

    /// Takes memory for a step beside what was written, unless that is to be sent first: because it is enough, or there
    /// is no room. Fails where there is none and nothing was sent yet.
    fn reserve(&mut self, bytes: usize) -> Result<bool, Failure> {
        let written = self.items.bytes.len();
        if written >= SENT_BYTES {
            return Ok(false);
        }
        match self.share.take(&mut self.held, written + bytes) {
            Ok(()) => Ok(true),
            Err(_) if self.is_begun => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    fn part(&mut self) -> Part {
        Part { bytes: take(&mut self.items.bytes), held: self.held.take() }
    }
}

/// `state` is held until the end.
fn streamed<E, P>(first: Bytes, parts: Parts<E, P>, state: Option<Held>) -> Body
where
    E: Entries,
    P: Fn(&mut Items, &E::Entry) + Send + 'static,
{
    let span = Span::current();
    let rest = stream::unfold(Some((parts, state)), move |list| {
        let next = async {
            let (mut parts, state) = list?;
            match parts.next().await {
                Ok(Next::Part(part)) => Some((Ok(part.counted(&parts.share)), Some((parts, state)))),
                Ok(Next::Last(part)) => Some((Ok(part.counted(&parts.share)), None)),
                Err(failure) => {
                    tracing::error!(?failure, "an answer was cut off");
                    Some((Err("the rest could not be read"), None))
                }
            }
        };
        next.instrument(span.clone())
    });
    Body::from_stream(stream::iter([Ok(first)]).chain(rest))
}

#[cfg(test)]
mod tests {
    use std::ops::Range;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use axum::body::HttpBody;
    use futures_util::FutureExt;
    use http_body_util::BodyExt;
    use serde_json::{Value, json};
    use wicara_metrics::Metrics;

    use super::*;
    use crate::error::Failure::ChatbotApi;
    use crate::share::Memory;

    /// Entries that are read in one step in these tests.
    const STEP: usize = 100;

    /// Numbers, of which one cannot be read.
    struct Numbers {
        numbers: Range<usize>,
        fail_at: Option<usize>,
        /// Steps that were read.
        steps: Arc<AtomicUsize>,
    }

    impl Entries for Numbers {
        type Entry = usize;

        fn state_bytes(&self) -> usize {
            0
        }

        fn next_bytes(&self) -> Option<usize> {
            (!self.numbers.is_empty()).then_some(self.numbers.len().min(STEP) * 1000)
        }

        async fn next(&mut self) -> Result<Vec<usize>, Error> {
            self.steps.fetch_add(1, Ordering::Relaxed);
            let step: Vec<_> = self.numbers.by_ref().take(STEP).collect();
            match self.fail_at.filter(|number| step.contains(number)) {
                Some(_) => Err(Error::Internal("no row".into())),
                None => Ok(step),
            }
        }
    }

    fn share(answers: usize) -> Share {
        let memory = Memory::new(usize::MAX, usize::MAX, answers, &Metrics::default().http);
        Share::new(&Arc::new(memory), &axum::http::Extensions::new())
    }

    async fn answer(share: &Share, numbers: Numbers) -> Result<Response, Failure> {
        let envelope = Envelope::of(&json!({ "a": "[]", "data": [], "z": 1 }));
        list(share, envelope, numbers, ChatbotApi, |items, number| {
            items.push(&json!({ "number": number, "text": "é".repeat(500) }));
        })
        .await
    }

    async fn of(share: &Share, count: usize, fail_at: Option<usize>) -> Result<Response, Failure> {
        answer(share, Numbers { numbers: 0..count, fail_at, steps: Arc::default() }).await
    }

    #[tokio::test]
    async fn a_list_is_whole_whatever_its_length() {
        let share = share(usize::MAX);
        for count in [0, 1, 2, STEP - 1, STEP, STEP + 1, 1000] {
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
        assert!(of(&share, STEP, None).await.unwrap().body().size_hint().exact().is_some());
        assert!(of(&share, STEP + 1, None).await.unwrap().body().size_hint().exact().is_none());
    }

    #[tokio::test]
    async fn a_failure_in_the_first_part_is_answered_and_a_later_one_cuts_off() {
        let share = share(usize::MAX);
        assert!(matches!(of(&share, 1000, Some(10)).await, Err(ChatbotApi(Error::Internal(_)))));
        let body = of(&share, 1000, Some(500)).await.unwrap().into_body();
        assert!(body.collect().await.is_err());
    }

    #[tokio::test]
    async fn nothing_is_read_between_two_parts_or_after_the_client_has_left() {
        let steps = Arc::new(AtomicUsize::new(0));
        let numbers = Numbers { numbers: 0..usize::MAX, fail_at: None, steps: Arc::clone(&steps) };
        let mut body = answer(&share(usize::MAX), numbers).await.unwrap().into_body();
        for parts in 1..4 {
            assert!(body.frame().await.unwrap().unwrap().is_data());
            assert_eq!(steps.load(Ordering::Relaxed), parts);
        }
        drop(body);
        assert_eq!(Arc::strong_count(&steps), 1);
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
        // What is short is answered, and everything again once there is room.
        let short = share.count(&axum::http::Method::GET, of(&share, 5, None).await.unwrap());
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
