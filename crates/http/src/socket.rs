//! A connection that is not waited for without end: for its first byte, for a whole head, for the next request,
//! or for a client that does not read its answer. Whoever waits longest is closed when there is no room for others.
//!
//! Hyper answers what is no HTTP by itself, with an empty body. The socket keeps such an answer back, so that
//! `refusal` can say it in the words of all other errors.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// How long a connection is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For the first byte after it was opened.
    pub first_byte: Duration,
    /// For the rest of a request's head after its first byte.
    pub head: Duration,
    /// For the next request after an answer. Longer than proxies keep their connections, which is a minute, or a
    /// proxy sends a request into a connection that was just closed.
    pub idle: Duration,
    /// For a client to read [`UNREAD_BYTES`] more of its answer.
    pub unread: Duration,
}

/// What a client that reads slowly has to take in the time of [`Patience::unread`]: in 30 seconds, 2 KiB a second. One
/// that takes a byte now and then would hold its answer's memory for as long as it likes.
const UNREAD_BYTES: usize = 64 * 1024;

impl Patience {
    pub const DEFAULT: Self = Self {
        first_byte: Duration::from_secs(10),
        head: Duration::from_secs(15),
        idle: Duration::from_secs(75),
        unread: Duration::from_secs(30),
    };

    fn shortest(&self) -> Duration {
        self.first_byte.min(self.head).min(self.idle).min(self.unread)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Silent,
    Head,
    /// A request's body is being received; how long that may take is the request's to say.
    Body,
    /// A request is being answered; how long that may take is not this file's to say.
    Busy,
    /// The answer's last bytes are with hyper, which writes them.
    Flushing,
    /// All of the answer is written.
    Idle,
}

#[derive(Debug, Clone, Copy)]
struct Deadlines {
    phase: Phase,
    /// When the phase began.
    since: Instant,
    read: Option<Instant>,
    write: Option<Unread>,
}

/// A client that does not take what is to be written.
#[derive(Debug, Clone, Copy)]
struct Unread {
    since: Instant,
    /// Bytes that it has to take before its time begins anew.
    left: usize,
}

impl Deadlines {
    fn enter(&mut self, phase: Phase, patience: Option<Duration>) {
        self.phase = phase;
        self.since = Instant::now();
        self.read = patience.map(|patience| self.since + patience);
    }

    fn is_waiting(&self) -> bool {
        self.phase != Phase::Busy || self.write.is_some()
    }
}

/// What a connection is doing, and until when.
#[derive(Debug)]
pub struct Watch {
    patience: Patience,
    deadlines: Mutex<Deadlines>,
    cut: Notify,
    counted: AtomicBool,
    known: AtomicBool,
}

impl Watch {
    #[must_use]
    pub fn new(patience: Patience) -> Arc<Self> {
        let since = Instant::now();
        let read = Some(since + patience.first_byte);
        let deadlines = Mutex::new(Deadlines { phase: Phase::Silent, since, read, write: None });
        let (counted, known) = (AtomicBool::new(false), AtomicBool::new(false));
        Arc::new(Self { patience, deadlines, cut: Notify::new(), counted, known })
    }

    /// Of a connection whose client has just stopped reading its answer.
    #[cfg(test)]
    pub fn unread() -> Arc<Self> {
        let watch = Self::new(Patience::DEFAULT);
        watch.enter(Phase::Busy, None);
        watch.cannot_write();
        watch
    }

    /// Returns once the connection was waited for long enough.
    pub async fn expired(&self) {
        // A new deadline is at least as far away, so that nobody has to wake this for each request.
        let look = self.patience.shortest();
        loop {
            let Deadlines { read, write, .. } = *self.lock();
            let now = Instant::now();
            let write = write.map(|unread| unread.since + self.patience.unread);
            let next = read.into_iter().chain(write).min();
            if next.is_some_and(|deadline| deadline <= now) {
                return;
            }
            let until = next.map_or(now + look, |deadline| deadline.min(now + look));
            let _ = timeout_at(until, self.cut.notified()).await;
        }
    }

    /// Since when the client has been waited for; `None` while it waits for its answer.
    pub fn waiting_since(&self) -> Option<Instant> {
        let deadlines = *self.lock();
        deadlines.is_waiting().then(|| deadlines.write.map_or(deadlines.since, |unread| unread.since))
    }

    /// Since when the client has not taken [`UNREAD_BYTES`] of what is to be written; `None` where nothing waits for it.
    pub fn unread_since(&self) -> Option<Instant> {
        self.lock().write.map(|unread| unread.since)
    }

    /// The memory of an answer on it is counted, to somebody known or not. Whether it is the first: of the connections
    /// whose answers are counted, each is noted once.
    pub fn is_counted_first(&self, known: bool) -> bool {
        self.known.store(known, Ordering::Relaxed);
        !self.counted.swap(true, Ordering::Relaxed)
    }

    /// Whether the answer that was counted last was to somebody known.
    pub fn is_of_known(&self) -> bool {
        self.known.load(Ordering::Relaxed)
    }

    /// Whether no request is under way and all that was answered is written. What hyper writes then is its own word.
    pub fn is_between_requests(&self) -> bool {
        matches!(self.lock().phase, Phase::Silent | Phase::Head | Phase::Idle)
    }

    /// Ends the connection, unless the client has been heard meanwhile.
    pub fn cut(&self) {
        let mut deadlines = self.lock();
        if deadlines.is_waiting() {
            deadlines.read = Some(Instant::now());
            self.cut.notify_one();
        }
    }

    /// A request is being answered until the second of what this returns is dropped; the first is its body.
    pub fn answering(self: &Arc<Self>, body: Incoming) -> (Received, Answering) {
        self.enter(Phase::Body, None);
        let received = Received { body, watch: Arc::clone(self) };
        received.note_end(false);
        (received, Answering(Arc::clone(self)))
    }

    fn lock(&self) -> MutexGuard<'_, Deadlines> {
        self.deadlines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, phase: Phase, patience: Option<Duration>) {
        self.lock().enter(phase, patience);
    }

    fn received(&self) {
        let mut deadlines = self.lock();
        if matches!(deadlines.phase, Phase::Silent | Phase::Idle) {
            deadlines.enter(Phase::Head, Some(self.patience.head));
        }
    }

    fn wrote(&self, bytes: usize) {
        let mut deadlines = self.lock();
        if let Some(unread) = &mut deadlines.write {
            unread.left = unread.left.saturating_sub(bytes);
            if unread.left == 0 {
                deadlines.write = None;
            }
        }
        if deadlines.phase == Phase::Flushing {
            deadlines.enter(Phase::Flushing, Some(self.patience.idle));
        }
    }

    fn cannot_write(&self) {
        let unread = || Unread { since: Instant::now(), left: UNREAD_BYTES };
        self.lock().write.get_or_insert_with(unread);
    }

    /// Hyper has nothing more to write.
    fn flushed(&self) {
        let mut deadlines = self.lock();
        deadlines.write = None;
        if deadlines.phase == Phase::Flushing {
            deadlines.enter(Phase::Idle, Some(self.patience.idle));
        }
    }
}

/// A request's body, which tells the watch when it has come to its end.
pub struct Received {
    body: Incoming,
    watch: Arc<Watch>,
}

impl Received {
    fn note_end(&self, ended: bool) {
        if ended || self.body.is_end_stream() {
            let mut deadlines = self.watch.lock();
            if deadlines.phase == Phase::Body {
                deadlines.enter(Phase::Busy, None);
            }
        }
    }
}

impl HttpBody for Received {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        // A chunked body says only so that it has ended.
        self.note_end(matches!(frame, Poll::Ready(None | Some(Err(_)))));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A request that is being answered.
pub struct Answering(Arc<Watch>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.enter(Phase::Flushing, Some(self.0.patience.idle));
    }
}

/// An answer's body: when hyper has all of it, the request is over.
pub struct Answer {
    body: Body,
    _answering: Answering,
}

impl Answer {
    pub fn new(body: Body, answering: Answering) -> Self {
        Self { body, _answering: answering }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream that tells its watch what comes and goes.
pub struct Socket {
    pub stream: TcpStream,
    watch: Arc<Watch>,
    refusal: Vec<u8>,
}

impl Socket {
    pub fn new(stream: TcpStream, watch: Arc<Watch>) -> Self {
        Self { stream, watch, refusal: Vec::new() }
    }

    /// The answer that hyper made by itself, which was not written; empty where there is none.
    pub fn refusal(&self) -> &[u8] {
        &self.refusal
    }

    fn note(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Ready(Ok(bytes)) => self.watch.wrote(*bytes),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.watch.cannot_write(),
        }
        written
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.watch.received();
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.watch.is_between_requests() {
            self.refusal.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.watch.is_between_requests() {
            slices.iter().for_each(|slice| self.refusal.extend_from_slice(slice));
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Hyper calls this once all that it had to write is written.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if let Poll::Ready(Ok(())) = flushed {
            self.watch.flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.refusal.is_empty() {
            // The refusal is still to be written.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
