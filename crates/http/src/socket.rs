//! The socket of a connection with its timeouts: for the first byte, for a whole request head, for the next request,
//! and for a client that does not read its response.
//!
//! [`ConnectionState`] is a state machine ([`Phase`]) fed from four sides: bytes read ([`Socket`]), bytes written
//! ([`Socket`]), the end of the request's body ([`TrackedRequestBody`]) and the end of the response
//! ([`TrackedResponseBody`]). One task waits in [`ConnectionState::expired`]; other tasks ask how long a client has
//! kept the server waiting and may close the connection.
//!
//! A response that is a stream of the feed is a phase of its own. While its reader keeps up, the connection has no timer:
//! ten thousand idle streams wake nothing up. It holds no permit of [`crate::connection_limit`] either.
//!
//! Hyper itself answers what it cannot parse, with an empty body. The socket withholds such an answer, so that
//! [`crate::refusal`] can send one with the body that every error has.

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
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::{Instant, timeout_at};
use wicara_service::CutOff;

/// How long the server waits for a client.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For the first byte after it was opened.
    pub first_byte: Duration,
    /// For the rest of a request's head after its first byte.
    pub head: Duration,
    /// For the next request after an answer. Longer than proxies keep their connections, which is a minute, or a
    /// proxy sends a request into a connection that was just closed.
    pub idle: Duration,
    /// For a client to read [`MIN_READ_BYTES`] more of its response, while the socket's send buffer is full.
    pub stalled_write: Duration,
}

/// What a client has to read within [`Timeouts::stalled_write`]: with 30 seconds, 2 KiB a second. Without a minimum, a
/// client that reads a byte now and then could hold its response's memory for ever.
const MIN_READ_BYTES: usize = 64 * 1024;

impl Timeouts {
    pub const DEFAULT: Self = Self {
        first_byte: Duration::from_secs(10),
        head: Duration::from_secs(15),
        idle: Duration::from_secs(75),
        stalled_write: Duration::from_secs(30),
    };

    fn shortest(&self) -> Duration {
        self.first_byte.min(self.head).min(self.idle).min(self.stalled_write)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    AwaitingFirstByte,
    ReadingHead,
    /// The handler bounds the time of a body.
    ReadingBody,
    /// The whole request has arrived. The handler bounds the time until its response.
    Responding,
    /// The response is a stream of the feed, or waits for events: it may be silent for as long as nothing happens.
    Streaming,
    /// Hyper has the last bytes of the response and writes them.
    Flushing,
    /// The whole response is written.
    Idle,
}

#[derive(Debug, Clone, Copy)]
struct Deadlines {
    phase: Phase,
    /// When the phase began.
    since: Instant,
    /// When the client has to have sent more.
    read_deadline: Option<Instant>,
    stalled_write: Option<StalledWrite>,
}

/// Bytes wait to be written, and the socket's send buffer is full.
#[derive(Debug, Clone, Copy)]
struct StalledWrite {
    since: Instant,
    /// Bytes that the client has to read before its time starts again.
    bytes_left: usize,
}

impl Deadlines {
    fn enter(&mut self, phase: Phase, timeout: Option<Duration>) {
        self.phase = phase;
        self.since = Instant::now();
        self.read_deadline = timeout.map(|timeout| self.since + timeout);
    }

    /// Whether the server waits for the client, and not the client for a handler.
    fn is_waiting(&self) -> bool {
        !matches!(self.phase, Phase::Responding | Phase::Streaming) || self.stalled_write.is_some()
    }
}

/// The phase of a connection and its deadlines.
#[derive(Debug)]
pub struct ConnectionState {
    timeouts: Timeouts,
    deadlines: Mutex<Deadlines>,
    closed: Notify,
    counted: AtomicBool,
    authenticated: AtomicBool,
    /// Of the limit on connections; `None` while the response is a stream or a page that waits for events.
    permit: Mutex<Option<OwnedSemaphorePermit>>,
}

impl ConnectionState {
    #[must_use]
    pub fn new(timeouts: Timeouts) -> Arc<Self> {
        let since = Instant::now();
        let read_deadline = Some(since + timeouts.first_byte);
        let phase = Phase::AwaitingFirstByte;
        let deadlines = Mutex::new(Deadlines { phase, since, read_deadline, stalled_write: None });
        let (counted, authenticated) = (AtomicBool::new(false), AtomicBool::new(false));
        let (closed, permit) = (Notify::new(), Mutex::new(None));
        Arc::new(Self { timeouts, deadlines, closed, counted, authenticated, permit })
    }

    /// A connection whose client has just stopped reading its response.
    #[cfg(test)]
    pub fn stalled() -> Arc<Self> {
        let connection = Self::new(Timeouts::DEFAULT);
        connection.enter(Phase::Responding, None);
        connection.write_stalled();
        connection
    }

    /// Returns once a deadline has passed.
    pub async fn expired(&self) {
        // Deadlines move with each request. Instead of a wake-up for each, this looks again after the shortest timeout:
        // no new deadline can be earlier.
        let poll_interval = self.timeouts.shortest();
        loop {
            let Deadlines { phase, read_deadline, stalled_write, .. } = *self.lock();
            if phase == Phase::Streaming && read_deadline.is_none() && stalled_write.is_none() {
                self.closed.notified().await;
                continue;
            }
            let now = Instant::now();
            let write_deadline = stalled_write.map(|stalled| stalled.since + self.timeouts.stalled_write);
            let next = read_deadline.into_iter().chain(write_deadline).min();
            if next.is_some_and(|deadline| deadline <= now) {
                return;
            }
            let until = next.map_or(now + poll_interval, |deadline| deadline.min(now + poll_interval));
            let _ = timeout_at(until, self.closed.notified()).await;
        }
    }

    /// Since when the server has been waiting for the client; `None` while the client waits for its response.
    pub fn waiting_since(&self) -> Option<Instant> {
        let deadlines = *self.lock();
        let since = || deadlines.stalled_write.map_or(deadlines.since, |stalled| stalled.since);
        deadlines.is_waiting().then(since)
    }

    /// Since when the client has read less than [`MIN_READ_BYTES`]; `None` while its response can be written.
    pub fn stalled_since(&self) -> Option<Instant> {
        self.lock().stalled_write.map(|stalled| stalled.since)
    }

    /// Notes that a response on the connection is counted in a memory budget, and whether its caller has credentials.
    /// Returns whether it is the connection's first: [`crate::request_memory`] tracks each connection once.
    pub fn mark_counted(&self, authenticated: bool) -> bool {
        self.authenticated.store(authenticated, Ordering::Relaxed);
        !self.counted.swap(true, Ordering::Relaxed)
    }

    /// Whether the caller of the last counted response had credentials.
    pub fn is_authenticated(&self) -> bool {
        self.authenticated.load(Ordering::Relaxed)
    }

    /// Whether no request is in progress and every response is written. What hyper writes then is an answer of its own.
    pub fn is_between_requests(&self) -> bool {
        matches!(self.lock().phase, Phase::AwaitingFirstByte | Phase::ReadingHead | Phase::Idle)
    }

    /// Closes the connection, unless its client has become active since [`ConnectionState::waiting_since`].
    pub fn close(&self) {
        let mut deadlines = self.lock();
        if deadlines.is_waiting() {
            deadlines.read_deadline = Some(Instant::now());
            self.closed.notify_one();
        }
    }

    /// From now on the response is a stream, or a page that waits for events: the connection gives its permit back, and has
    /// to be closed after the response.
    pub fn begin_stream(&self) {
        self.enter(Phase::Streaming, None);
        drop(self.take_permit());
    }

    #[must_use]
    pub fn is_streaming(&self) -> bool {
        self.lock().phase == Phase::Streaming
    }

    /// The connection counts in the limit of connections from now on.
    pub fn hold_permit(&self, permit: OwnedSemaphorePermit) {
        *self.permit.lock().unwrap_or_else(PoisonError::into_inner) = Some(permit);
    }

    /// The connection counts no longer. `None` where it did not.
    pub fn take_permit(&self) -> Option<OwnedSemaphorePermit> {
        self.permit.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    #[must_use]
    pub fn holds_permit(&self) -> bool {
        self.permit.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// A request begins. Dropping the guard ends it.
    pub fn begin_request(self: &Arc<Self>, body: Incoming) -> (TrackedRequestBody, ResponseGuard) {
        self.enter(Phase::ReadingBody, None);
        let body = TrackedRequestBody { body, connection: Arc::clone(self) };
        body.note_end(false);
        (body, ResponseGuard(Arc::clone(self)))
    }

    fn lock(&self) -> MutexGuard<'_, Deadlines> {
        self.deadlines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, phase: Phase, timeout: Option<Duration>) {
        self.lock().enter(phase, timeout);
    }

    fn bytes_received(&self) {
        let mut deadlines = self.lock();
        if matches!(deadlines.phase, Phase::AwaitingFirstByte | Phase::Idle) {
            deadlines.enter(Phase::ReadingHead, Some(self.timeouts.head));
        }
    }

    fn bytes_written(&self, bytes: usize) {
        let mut deadlines = self.lock();
        if let Some(stalled) = &mut deadlines.stalled_write {
            stalled.bytes_left = stalled.bytes_left.saturating_sub(bytes);
            if stalled.bytes_left == 0 {
                deadlines.stalled_write = None;
            }
        }
        if deadlines.phase == Phase::Flushing {
            deadlines.enter(Phase::Flushing, Some(self.timeouts.idle));
        }
    }

    fn write_stalled(&self) {
        let mut deadlines = self.lock();
        if deadlines.stalled_write.is_none() {
            let stalled = StalledWrite { since: Instant::now(), bytes_left: MIN_READ_BYTES };
            deadlines.stalled_write = Some(stalled);
            self.wake_stream(&deadlines);
        }
    }

    /// [`Self::expired`] waits for this where the response is a stream, since it has no timer then.
    fn wake_stream(&self, deadlines: &Deadlines) {
        if deadlines.phase == Phase::Streaming {
            self.closed.notify_one();
        }
    }

    /// Hyper has written everything.
    fn flushed(&self) {
        let mut deadlines = self.lock();
        deadlines.stalled_write = None;
        if deadlines.phase == Phase::Flushing {
            deadlines.enter(Phase::Idle, Some(self.timeouts.idle));
        }
    }
}

impl CutOff for ConnectionState {
    /// Closes the connection while its response is a stream, also where the client has just begun to read again: what
    /// waited for it is dropped already.
    fn cut_off(&self) {
        let mut deadlines = self.lock();
        if deadlines.phase == Phase::Streaming {
            deadlines.read_deadline = Some(Instant::now());
            self.closed.notify_one();
        }
    }
}

/// A request's body that ends [`Phase::ReadingBody`].
pub struct TrackedRequestBody {
    body: Incoming,
    connection: Arc<ConnectionState>,
}

impl TrackedRequestBody {
    fn note_end(&self, ended: bool) {
        if ended || self.body.is_end_stream() {
            let mut deadlines = self.connection.lock();
            if deadlines.phase == Phase::ReadingBody {
                deadlines.enter(Phase::Responding, None);
            }
        }
    }
}

impl HttpBody for TrackedRequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        // A chunked body reports its end only by such a frame.
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

/// Dropping it begins [`Phase::Flushing`].
pub struct ResponseGuard(Arc<ConnectionState>);

impl Drop for ResponseGuard {
    fn drop(&mut self) {
        let mut deadlines = self.0.lock();
        self.0.wake_stream(&deadlines);
        deadlines.enter(Phase::Flushing, Some(self.0.timeouts.idle));
    }
}

/// A response's body. Hyper drops it, and with it the guard, once it has read all of it.
pub struct TrackedResponseBody {
    body: Body,
    _guard: ResponseGuard,
}

impl TrackedResponseBody {
    pub fn new(body: Body, guard: ResponseGuard) -> Self {
        Self { body, _guard: guard }
    }
}

impl HttpBody for TrackedResponseBody {
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

/// A TCP stream that reports its bytes to the connection's state.
pub struct Socket {
    pub stream: TcpStream,
    connection: Arc<ConnectionState>,
    /// See [`Socket::withheld`].
    withheld: Vec<u8>,
}

impl Socket {
    pub fn new(stream: TcpStream, connection: Arc<ConnectionState>) -> Self {
        Self { stream, connection, withheld: Vec::new() }
    }

    /// The answer that hyper made by itself. It was not written to the stream; empty where there is none.
    pub fn withheld(&self) -> &[u8] {
        &self.withheld
    }

    /// Whether the client has closed its sending side. Otherwise the task is woken up when it does.
    fn is_closed_by_client(&self, context: &mut Context<'_>) -> bool {
        let mut byte = [0];
        matches!(self.stream.poll_peek(context, &mut ReadBuf::new(&mut byte)), Poll::Ready(Ok(0) | Err(_)))
    }

    fn note(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Ready(Ok(bytes)) => self.connection.bytes_written(*bytes),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.connection.write_stalled(),
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
            self.connection.bytes_received();
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
        if self.connection.is_between_requests() {
            self.withheld.extend_from_slice(bytes);
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
        if self.connection.is_between_requests() {
            slices.iter().for_each(|slice| self.withheld.extend_from_slice(slice));
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Hyper calls this once it has written everything that it has.
    ///
    /// Hyper reads nothing while a response is under way, and would notice only at a failed write that a stream's client is
    /// gone, which may be half a minute later. Until then each page that is loaded anew would hold one more place for
    /// streams. So the end of what the client sends ends a stream.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if let Poll::Ready(Ok(())) = flushed {
            self.connection.flushed();
            if self.connection.is_streaming() && self.is_closed_by_client(context) {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.withheld.is_empty() {
            // `refusal` still has to write to the stream.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
