//! Responses with a list, sent in chunks while the list is read, so that no response is in memory as a whole and all
//! of them together stay within a memory budget. A chunk is read only when the client has taken the one before
//! (backpressure).

use std::cell::Cell;
use std::io;
use std::marker::PhantomData;
use std::mem::take;

use axum::body::{Body, Bytes};
use axum::response::Response;
use futures_util::stream::{self, StreamExt};
use serde::{Serialize, Serializer};
use serde_json::ser::Formatter;
use tracing::{Instrument, Span};
use wicara_service::{Entries, Error};

use crate::budget::Reservation;
use crate::error::Failure;
use crate::json_body::with_body;
use crate::request_memory::{RequestMemory, UNCOUNTED_BYTES, counted, reserved_bytes};

/// A chunk is sent when it has reached this size.
const CHUNK_BYTES: usize = 64 * 1024;

/// Bytes of JSON that are reserved for a byte of text before it is read: an escaped quote or new line is two. Other
/// control characters are six, so that a chunk of them alone may count for a third of its size where the budget is
/// exceeded.
const JSON_BYTES_PER_TEXT_BYTE: usize = 2;

/// Bytes of a batch beside its texts: field names, ids, times.
const OVERHEAD_BYTES: usize = 64 * 1024;

/// The JSON before and after a list's entries.
pub struct Envelope {
    head: Vec<u8>,
    tail: Vec<u8>,
    held: Option<Reservation>,
}

/// The field of a response that [`list`] fills with entries of type `T`: the only one, in [`Envelope::of`].
#[derive(Debug)]
pub struct ListField<T>(PhantomData<fn() -> T>);

impl<T> Default for ListField<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

/// Serialised as bytes, which no other field of a response is: [`EnvelopeFormatter`] recognises it by that.
impl<T> Serialize for ListField<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&[])
    }
}

/// Writes JSON without spaces, and tells [`EnvelopeWriter`] where the list's entries come.
struct EnvelopeFormatter<'a> {
    is_after_entries: &'a Cell<bool>,
}

impl Formatter for EnvelopeFormatter<'_> {
    fn write_byte_array<W: io::Write + ?Sized>(&mut self, writer: &mut W, _: &[u8]) -> io::Result<()> {
        writer.write_all(b"[")?;
        self.is_after_entries.set(true);
        writer.write_all(b"]")
    }
}

struct EnvelopeWriter<'a> {
    head: Vec<u8>,
    tail: Vec<u8>,
    is_after_entries: &'a Cell<bool>,
}

impl io::Write for EnvelopeWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let half = if self.is_after_entries.get() { &mut self.tail } else { &mut self.head };
        half.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Envelope {
    /// A response whose [`ListField`] will be filled.
    pub fn of<T: Serialize + ?Sized>(answer: &T) -> Self {
        let is_after_entries = &Cell::new(false);
        let mut writer = EnvelopeWriter { head: Vec::new(), tail: Vec::new(), is_after_entries };
        let formatter = EnvelopeFormatter { is_after_entries };
        let mut serializer = serde_json::Serializer::with_formatter(&mut writer, formatter);
        answer.serialize(&mut serializer).expect("plain data serialises");
        Self { head: writer.head, tail: writer.tail, held: None }
    }

    /// The response with entries that are written already, as a whole.
    pub fn filled<'a>(self, entries: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
        let mut bytes = self.head;
        for (number, entry) in entries.enumerate() {
            if number > 0 {
                bytes.push(b',');
            }
            bytes.extend_from_slice(entry);
        }
        bytes.extend_from_slice(&self.tail);
        bytes
    }

    /// Reserves its memory before the first entry is read, for an envelope that contains a message.
    pub fn held(self, share: &RequestMemory) -> Result<Self, Failure> {
        let mut held = self.held;
        share.resize(&mut held, self.head.len())?;
        Ok(Self { held, ..self })
    }
}

/// Responds with an envelope whose list is filled with the entries, each as `present` writes it.
///
/// A list of one chunk has a `Content-Length`. A longer one is streamed: an error in the first chunk is an error
/// response, a later one breaks the response off.
///
/// A chunk's memory is reserved from before it is read until the client has taken it. Where the budget is exceeded, the
/// first chunk is refused with 503, and later ones wait in the budget's queue. A short list is counted once it is read.
pub async fn list<E, P>(
    memory: &RequestMemory,
    Envelope { head, tail, held }: Envelope,
    entries: E,
    as_failure: fn(Error) -> Failure,
    present: P,
) -> Result<Response, Failure>
where
    E: Entries,
    P: Fn(&mut Items, &E::Entry) + Send + 'static,
{
    let state_bytes = entries.state_bytes() + tail.len();
    let items = Items { bytes: head, is_empty: true };
    let mut chunks = ChunkedList {
        memory: memory.clone(),
        entries,
        as_failure,
        present,
        items,
        reservation: held,
        tail,
        is_begun: false,
        is_waiting: false,
    };
    match chunks.next().await? {
        Next::Last(ListChunk { bytes, reservation: None }) => Ok(with_body(200, Body::from(bytes))),
        Next::Last(chunk) => Ok(counted(with_body(200, Body::from(chunk.counted(&chunks.memory))))),
        Next::Chunk(mut chunk) => {
            chunk.bytes.shrink_to_fit();
            chunks.memory.resize(&mut chunk.reservation, chunk.bytes.capacity())?;
            let mut state_reservation = None;
            chunks.memory.resize(&mut state_reservation, state_bytes)?;
            let first = chunk.counted(&chunks.memory);
            Ok(counted(with_body(200, streamed(first, chunks, state_reservation))))
        }
    }
}

/// Part of a response, sent at once.
struct ListChunk {
    bytes: Vec<u8>,
    /// Reserved before it was read; `None` for a short list.
    reservation: Option<Reservation>,
}

impl ListChunk {
    /// The bytes, whose reservation is adjusted to their actual size.
    fn counted(mut self, memory: &RequestMemory) -> Bytes {
        self.bytes.shrink_to_fit();
        match self.reservation {
            Some(mut reservation) => {
                memory.adjust(&mut reservation, self.bytes.capacity());
                reserved_bytes(self.bytes, reservation)
            }
            None => self.bytes.into(),
        }
    }
}

enum Next {
    Chunk(ListChunk),
    Last(ListChunk),
}

/// The entries that are written and not sent yet.
pub struct Items {
    bytes: Vec<u8>,
    /// No entry was written yet, in this chunk or before: the next one has no comma before it.
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

/// A list that is read and written as its chunks are requested.
struct ChunkedList<E, P> {
    memory: RequestMemory,
    entries: E,
    as_failure: fn(Error) -> Failure,
    present: P,
    items: Items,
    /// For the entries that are read and not sent yet.
    reservation: Option<Reservation>,
    tail: Vec<u8>,
    /// A chunk was sent.
    is_begun: bool,
    /// The memory of the next batch has to be waited for.
    is_waiting: bool,
}

impl<E, P> ChunkedList<E, P>
where
    E: Entries,
    P: Fn(&mut Items, &E::Entry),
{
    /// The next chunk. What is written is sent before the memory of the next batch is waited for: the client can take
    /// it meanwhile.
    async fn next(&mut self) -> Result<Next, Failure> {
        while let Some(text) = self.entries.next_bytes() {
            let bytes = text.saturating_mul(JSON_BYTES_PER_TEXT_BYTE).saturating_add(OVERHEAD_BYTES);
            if take(&mut self.is_waiting) {
                self.reservation = Some(self.memory.reserve(bytes).await);
            } else if self.items.is_empty {
                if text > UNCOUNTED_BYTES {
                    self.memory.resize(&mut self.reservation, bytes)?;
                }
            } else if !self.reserve_batch(bytes)? {
                (self.is_begun, self.is_waiting) = (true, true);
                return Ok(Next::Chunk(self.take_chunk()));
            }
            for entry in self.entries.next().await.map_err(self.as_failure)? {
                (self.present)(&mut self.items, &entry);
            }
        }
        self.items.bytes.extend_from_slice(&self.tail);
        Ok(Next::Last(self.take_chunk()))
    }

    /// Reserves memory for a batch beside what is written. `false` where that has to be sent first: it fills a chunk,
    /// or the budget is exceeded. An error where the budget is exceeded before the first chunk.
    fn reserve_batch(&mut self, bytes: usize) -> Result<bool, Failure> {
        let written = self.items.bytes.len();
        if written >= CHUNK_BYTES {
            return Ok(false);
        }
        match self.memory.resize(&mut self.reservation, written + bytes) {
            Ok(()) => Ok(true),
            Err(_) if self.is_begun => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    fn take_chunk(&mut self) -> ListChunk {
        ListChunk { bytes: take(&mut self.items.bytes), reservation: self.reservation.take() }
    }
}

/// `state` is the reservation for the list's own memory, held until its end.
fn streamed<E, P>(first: Bytes, chunks: ChunkedList<E, P>, state: Option<Reservation>) -> Body
where
    E: Entries,
    P: Fn(&mut Items, &E::Entry) + Send + 'static,
{
    let span = Span::current();
    let rest = stream::unfold(Some((chunks, state)), move |list| {
        let next = async {
            let (mut chunks, state) = list?;
            match chunks.next().await {
                Ok(Next::Chunk(chunk)) => Some((Ok(chunk.counted(&chunks.memory)), Some((chunks, state)))),
                Ok(Next::Last(chunk)) => Some((Ok(chunk.counted(&chunks.memory)), None)),
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
    use crate::request_memory::MemoryBudgets;

    /// Entries of a batch in these tests.
    const BATCH: usize = 100;

    /// Numbers; reading `fail_at` fails.
    struct Numbers {
        numbers: Range<usize>,
        fail_at: Option<usize>,
        /// Batches that were read.
        batches: Arc<AtomicUsize>,
    }

    impl Entries for Numbers {
        type Entry = usize;

        fn state_bytes(&self) -> usize {
            0
        }

        fn next_bytes(&self) -> Option<usize> {
            (!self.numbers.is_empty()).then_some(self.numbers.len().min(BATCH) * 1000)
        }

        async fn next(&mut self) -> Result<Vec<usize>, Error> {
            self.batches.fetch_add(1, Ordering::Relaxed);
            let batch: Vec<_> = self.numbers.by_ref().take(BATCH).collect();
            match self.fail_at.filter(|number| batch.contains(number)) {
                Some(_) => Err(Error::Internal("no row".into())),
                None => Ok(batch),
            }
        }
    }

    fn memory(answers: usize) -> RequestMemory {
        let budgets = MemoryBudgets::new(usize::MAX, usize::MAX, answers, &Metrics::default().http);
        RequestMemory::new(&Arc::new(budgets), &axum::http::Extensions::new())
    }

    async fn answer(memory: &RequestMemory, numbers: Numbers) -> Result<Response, Failure> {
        #[derive(Serialize)]
        struct Answer {
            a: &'static str,
            data: ListField<usize>,
            z: [usize; 0],
        }
        let envelope = Envelope::of(&Answer { a: "[]", data: ListField::default(), z: [] });
        list(memory, envelope, numbers, ChatbotApi, |items, number| {
            items.push(&json!({ "number": number, "text": "é".repeat(500) }));
        })
        .await
    }

    async fn of(memory: &RequestMemory, count: usize, fail_at: Option<usize>) -> Result<Response, Failure> {
        answer(memory, Numbers { numbers: 0..count, fail_at, batches: Arc::default() }).await
    }

    #[tokio::test]
    async fn a_list_is_whole_whatever_its_length() {
        let memory = memory(usize::MAX);
        for count in [0, 1, 2, BATCH - 1, BATCH, BATCH + 1, 1000] {
            let body = of(&memory, count, None).await.unwrap().into_body();
            let body: Value = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
            let numbers: Vec<_> = body["data"]
                .as_array()
                .unwrap()
                .iter()
                .map(|item| item["number"].as_u64().unwrap())
                .collect();
            assert_eq!(numbers, (0..count as u64).collect::<Vec<_>>());
            assert_eq!((&body["a"], &body["z"]), (&json!("[]"), &json!([])));
        }
    }

    #[tokio::test]
    async fn a_short_list_has_a_length_and_a_long_one_has_none() {
        let memory = memory(usize::MAX);
        assert!(of(&memory, BATCH, None).await.unwrap().body().size_hint().exact().is_some());
        assert!(of(&memory, BATCH + 1, None).await.unwrap().body().size_hint().exact().is_none());
    }

    #[tokio::test]
    async fn a_failure_in_the_first_part_is_answered_and_a_later_one_cuts_off() {
        let memory = memory(usize::MAX);
        assert!(matches!(of(&memory, 1000, Some(10)).await, Err(ChatbotApi(Error::Internal(_)))));
        let body = of(&memory, 1000, Some(500)).await.unwrap().into_body();
        assert!(body.collect().await.is_err());
    }

    #[tokio::test]
    async fn nothing_is_read_between_two_parts_or_after_the_client_has_left() {
        let batches = Arc::new(AtomicUsize::new(0));
        let numbers = Numbers { numbers: 0..usize::MAX, fail_at: None, batches: Arc::clone(&batches) };
        let mut body = answer(&memory(usize::MAX), numbers).await.unwrap().into_body();
        for chunks in 1..4 {
            assert!(body.frame().await.unwrap().unwrap().is_data());
            assert_eq!(batches.load(Ordering::Relaxed), chunks);
        }
        drop(body);
        assert_eq!(Arc::strong_count(&batches), 1);
    }

    /// Visitors have 16 MiB of it. A list of these tests holds 100 KiB, and 264 KiB while its next batch is read.
    const BUDGET: usize = 32 * 1024 * 1024;

    /// Lists whose clients read nothing, until the budget is exceeded.
    async fn begun(memory: &RequestMemory) -> Vec<Body> {
        let mut bodies = Vec::new();
        while let Ok(response) = of(memory, 1000, None).await {
            bodies.push(response.into_body());
            assert!(bodies.len() < 1000, "there is no end");
        }
        bodies
    }

    #[tokio::test]
    async fn lists_that_nobody_reads_hold_no_more_than_the_budget() {
        let memory = memory(BUDGET);
        let held = begun(&memory).await;
        let part = 100 * 1024;
        assert!((BUDGET / 2 * 3 / 4 / part..=BUDGET / 2 / part).contains(&held.len()), "{}", held.len());
        // What is short is answered, and everything again once there is room.
        let short = memory.count(&axum::http::Method::GET, of(&memory, 5, None).await.unwrap());
        assert_eq!(short.status(), 200);
        drop(held);
        let body = of(&memory, 1000, None).await.unwrap().into_body();
        body.collect().await.unwrap();
    }

    #[tokio::test]
    async fn a_list_under_way_waits_for_its_turn_and_is_whole() {
        let memory = memory(BUDGET);
        let mut bodies = begun(&memory).await;
        let mut waiting = bodies.pop().unwrap();
        // Its first part is with the socket, which keeps it.
        let first = waiting.frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(waiting.frame().now_or_never().is_none(), "there is no room");
        bodies.clear();
        let (mut length, mut rest) = (first.len(), waiting);
        while let Some(frame) = tokio::time::timeout(Duration::from_secs(10), rest.frame()).await.unwrap() {
            length += frame.unwrap().into_data().unwrap().len();
        }
        let whole = of(&memory, 1000, None).await.unwrap().into_body().collect().await.unwrap();
        assert_eq!(length, whole.to_bytes().len());
    }
}
