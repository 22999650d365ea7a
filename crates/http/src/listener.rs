//! The accept loop: a bounded number of connections with timeouts, and a graceful shutdown.

use std::convert::Infallible;
use std::io;
use std::pin::{self, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use wicara_metrics::HttpMetrics;

use crate::address::Peer;
use crate::connection_limit::ConnectionLimiter;
use crate::refusal::refuse;

use crate::request_memory::Connection;
use crate::socket::{ConnectionState, Socket, Timeouts, TrackedResponseBody};

/// Bytes of a connection's read buffer: the largest request head, and the largest piece of a body.
///
/// A client that stops sending keeps one buffer of this size, and a second one if its head filled the first. So 4,096
/// connections hold 128 MiB in the worst case, and 8 KiB each for what is written.
const BUFFER_BYTES: usize = 16 * 1024;

/// The pause after a failed `accept`: the system has no descriptor or memory left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// How a listener and its connections are stopped.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Graceful: stop accepting, answer the requests in progress, close the connections.
    pub finish: CancellationToken,
    /// Close every connection at once.
    pub cut: CancellationToken,
}

/// Serves until it is stopped; returns when the last connection is closed.
///
/// `connections`: the limit on open connections. Beyond it, a new connection replaces the one whose client has kept the
/// server waiting for longest; while all of them wait for their responses, the new one waits in the accept queue.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    metrics: Arc<HttpMetrics>,
    stop: Stop,
    connections: usize,
) {
    serve_with_timeouts(listener, router, metrics, stop, connections, Timeouts::DEFAULT).await
}

pub(super) async fn serve_with_timeouts(
    listener: TcpListener,
    router: Router,
    metrics: Arc<HttpMetrics>,
    stop: Stop,
    connections: usize,
    timeouts: Timeouts,
) {
    let mut limiter = ConnectionLimiter::new(connections);
    let connections = TaskTracker::new();
    // Connections begin to close only after the listening socket is closed: a client that reconnects is refused by the
    // system at once, and does not get a connection that is about to close.
    let connection_stop = Stop { finish: CancellationToken::new(), cut: stop.cut.clone() };
    loop {
        let accepted = async {
            let (stream, peer) = accept(&listener).await;
            (stream, peer, limiter.acquire().await)
        };
        let (stream, peer, permit) = tokio::select! {
            () = stop.finish.cancelled() => break,
            accepted = accepted => accepted,
        };
        let state = ConnectionState::new(timeouts);
        state.hold_permit(permit);
        limiter.track(&state);
        let (router, metrics, stop) = (router.clone(), Arc::clone(&metrics), connection_stop.clone());
        let open = metrics.connection();
        connections.spawn(async move {
            serve_connection(stream, peer, router, Arc::clone(&state), &metrics, stop).await;
            // A stream that is being closed may hold the state for a little longer.
            drop((state.take_permit(), open));
        });
    }
    drop(listener);
    connection_stop.finish.cancel();
    connections.close();
    connections.wait().await;
}

async fn accept(listener: &TcpListener) -> (TcpStream, Peer) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, Peer(peer.ip())),
            Err(error) if is_clients_fault(&error) => {}
            Err(error) => {
                tracing::error!(%error, "cannot accept connections");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whether only this connection failed, before it was accepted.
fn is_clients_fault(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn serve_connection(
    stream: TcpStream,
    peer: Peer,
    router: Router,
    state: Arc<ConnectionState>,
    metrics: &HttpMetrics,
    stop: Stop,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection stays with its delay");
    }
    let service = service_fn({
        let state = Arc::clone(&state);
        move |request: hyper::Request<Incoming>| {
            let (mut head, body) = request.into_parts();
            head.extensions.insert(peer);
            head.extensions.insert(Connection(Arc::downgrade(&state)));
            let (body, guard) = state.begin_request(body);
            let response = router.clone().oneshot(hyper::Request::from_parts(head, Body::new(body)));
            async move {
                let response = response.await?;
                Ok::<_, Infallible>(response.map(|body| TrackedResponseBody::new(body, guard)))
            }
        }
    });
    let socket = TokioIo::new(Socket::new(stream, Arc::clone(&state)));
    // `state` has the timeouts: hyper has only one for both the head and the time between two requests. With
    // `half_close` a client may shut down its sending side after its request and still gets the response; a client that
    // is gone is noticed by a failed write.
    let mut connection = http1::Builder::new()
        .half_close(true)
        .header_read_timeout(None)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(socket, service);

    let mut expired = pin!(state.expired());
    let mut finishing = false;
    let ended = loop {
        tokio::select! {
            ended = &mut connection => break ended,
            () = stop.finish.cancelled(), if !finishing => {
                finishing = true;
                // A stream ends when the service closes it; not one that nobody reads.
                if state.is_streaming() && state.stalled_since().is_some() {
                    return;
                }
                pin::Pin::new(&mut connection).graceful_shutdown();
            }
            () = &mut expired => {
                if state.is_streaming() {
                    metrics.feed.reader_cut_off();
                }
                return;
            }
            () = stop.cut.cancelled() => return,
        }
    };
    let Err(error) = ended else { return };
    tracing::debug!(%error, "a connection ended early");
    if error.is_parse() && state.is_between_requests() {
        let parts = connection.into_parts();
        let mut socket = parts.io.into_inner();
        let hyper_answer = socket.withheld().to_owned();
        tokio::select! {
            () = refuse(&mut socket.stream, &hyper_answer, &parts.read_buf, metrics) => {}
            () = &mut expired => {}
            () = stop.cut.cancelled() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::Extension;
    use axum::routing::{any, get, post};
    use futures_util::stream::{self, StreamExt};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpSocket;
    use tokio::sync::Notify;
    use tokio::task::JoinHandle;
    use tokio::time::{Instant, timeout_at};
    use wicara_metrics::Metrics;

    use super::*;

    const LONG: Duration = Duration::from_secs(600);
    const SHORT: Duration = Duration::from_millis(50);
    const PATIENT: Timeouts = Timeouts { first_byte: LONG, head: LONG, idle: LONG, stalled_write: LONG };

    static LARGE: [u8; 64 * 1024 * 1024] = [0; _];

    struct Server {
        address: std::net::SocketAddr,
        /// Lets `/slow` answer.
        go: Arc<Notify>,
        /// Requests for `/slow` that have arrived.
        waiting: Arc<AtomicUsize>,
        stop: Stop,
        running: JoinHandle<()>,
    }

    async fn start(timeouts: Timeouts) -> Server {
        start_with(timeouts, 4096).await
    }

    async fn start_with(timeouts: Timeouts, connections: usize) -> Server {
        // With a small send buffer, writes stall soon after a client stops reading.
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_send_buffer_size(BUFFER_BYTES as u32).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1024).unwrap();
        let address = listener.local_addr().unwrap();
        let (go, waiting) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
        let slow = {
            let (go, waiting) = (Arc::clone(&go), Arc::clone(&waiting));
            async move |body: axum::body::Bytes| {
                drop(body);
                let go = go.notified();
                waiting.fetch_add(1, Ordering::SeqCst);
                go.await;
                "slow"
            }
        };
        let stream = async |Extension(connection): Extension<Connection>| {
            connection.0.upgrade().unwrap().begin_stream();
            let hello = stream::iter([Ok::<_, Infallible>("hello")]);
            Body::from_stream(hello.chain(stream::pending()))
        };
        let flood = async |Extension(connection): Extension<Connection>| {
            connection.0.upgrade().unwrap().begin_stream();
            let flood = stream::iter([Ok::<_, Infallible>(&LARGE[..])]);
            Body::from_stream(flood.chain(stream::pending()))
        };
        let router = Router::new()
            .route("/stream", get(stream))
            .route("/flood", get(flood))
            .route("/", get(|| async { "quick" }))
            .route("/slow", any(slow))
            .route("/read", post(|body: axum::body::Bytes| async move { drop(body) }))
            .route("/large", get(|| async { &LARGE[..] }));
        let stop = Stop::default();
        let metrics = Metrics::default().http;
        let running =
            tokio::spawn(serve_with_timeouts(listener, router, metrics, stop.clone(), connections, timeouts));
        Server { address, go, waiting, stop, running }
    }

    impl Server {
        async fn connect(&self) -> TcpStream {
            TcpStream::connect(self.address).await.unwrap()
        }

        async fn asked_slowly(&self) -> TcpStream {
            self.asked_slowly_by(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await
        }

        async fn asked_slowly_by(&self, request: &[u8]) -> TcpStream {
            let before = self.waiting.load(Ordering::SeqCst);
            let mut stream = self.connect().await;
            stream.write_all(request).await.unwrap();
            while self.waiting.load(Ordering::SeqCst) == before {
                tokio::task::yield_now().await;
            }
            stream
        }
    }

    /// Everything that the server sends until it closes.
    async fn rest(stream: &mut TcpStream) -> String {
        let mut text = Vec::new();
        // A reset closes as well.
        let _ = stream.read_to_end(&mut text).await;
        String::from_utf8(text).unwrap()
    }

    /// Asks and reads the answer, which ends in `quick`.
    async fn ask(stream: &mut TcpStream) {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"quick") {
            let mut buffer = [0; 1024];
            let length = stream.read(&mut buffer).await.unwrap();
            assert_ne!(length, 0, "closed after {:?}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&buffer[..length]);
        }
    }

    #[tokio::test]
    async fn a_silent_connection_is_closed() {
        let server = start(Timeouts { first_byte: SHORT, ..PATIENT }).await;
        assert_eq!(rest(&mut server.connect().await).await, "");
    }

    #[tokio::test]
    async fn a_head_that_does_not_end_is_closed() {
        let server = start(Timeouts { head: SHORT, ..PATIENT }).await;
        let mut stream = server.connect().await;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: ").await.unwrap();
        assert_eq!(rest(&mut stream).await, "");
    }

    #[tokio::test]
    async fn an_idle_connection_is_closed_after_its_answer() {
        let server = start(Timeouts { idle: SHORT, ..PATIENT }).await;
        let mut stream = server.connect().await;
        ask(&mut stream).await;
        assert_eq!(rest(&mut stream).await, "");
    }

    #[tokio::test]
    async fn the_second_head_of_a_connection_has_to_end_too() {
        let server = start(Timeouts { head: SHORT, ..PATIENT }).await;
        let mut stream = server.connect().await;
        ask(&mut stream).await;
        stream.write_all(b"GET /").await.unwrap();
        assert_eq!(rest(&mut stream).await, "");
    }

    #[tokio::test]
    async fn an_answer_that_nobody_reads_is_given_up() {
        let server = start(Timeouts { stalled_write: SHORT, ..PATIENT }).await;
        let mut stream = server.connect().await;
        stream.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        // Read only once the server has given up: all connections are gone when it stops.
        let Server { stop, running, .. } = server;
        stop.finish.cancel();
        running.await.unwrap();
        assert!(rest(&mut stream).await.len() < LARGE.len());
    }

    /// Whether a client that reads `bytes` every 10 milliseconds keeps its connection for twice the timeout.
    async fn read_by(bytes: usize, timeout: Duration) -> bool {
        let server = start(Timeouts { stalled_write: timeout, ..PATIENT }).await;
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(BUFFER_BYTES as u32).unwrap();
        let mut stream = socket.connect(server.address).await.unwrap();
        stream.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut buffer = vec![0; bytes];
        let until = Instant::now() + 2 * timeout;
        while Instant::now() < until && stream.read(&mut buffer).await.is_ok() {
            sleep(Duration::from_millis(10)).await;
        }
        // More than the system's buffers hold.
        let mut more = vec![0; 16 * BUFFER_BYTES];
        stream.read_exact(&mut more).await.is_ok()
    }

    #[tokio::test]
    async fn an_answer_that_is_read_too_slowly_is_given_up() {
        // 64 KiB a second are the minimum: 40 KiB are too few, 400 KiB are enough.
        assert!(!read_by(400, Duration::from_secs(1)).await);
        assert!(read_by(4096, Duration::from_secs(1)).await);
    }

    /// Connections that stop after `beginning` give way to new ones.
    async fn crowded_by(beginning: &[u8]) {
        const LIMIT: usize = 20;
        let server = start_with(PATIENT, LIMIT).await;
        let chunked =
            b"POST /slow HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";
        let asked = [server.asked_slowly().await, server.asked_slowly_by(chunked).await];
        let mut crowd = Vec::new();
        for _ in 0..2 * LIMIT {
            let mut stream = server.connect().await;
            stream.write_all(beginning).await.unwrap();
            crowd.push(stream);
        }
        for _ in 0..5 {
            let newcomer = async { ask(&mut server.connect().await).await };
            timeout_at(Instant::now() + LONG / 20, newcomer).await.expect("there is room");
        }
        server.go.notify_waiters();
        for mut asked in asked {
            let mut answer = [0; 12];
            asked.read_exact(&mut answer).await.expect("who waits for an answer is not closed");
            assert_eq!(&answer, b"HTTP/1.1 200");
        }
        rest(&mut crowd[0]).await;
    }

    #[tokio::test]
    async fn silent_connections_make_room() {
        crowded_by(b"").await;
    }

    #[tokio::test]
    async fn connections_with_half_a_head_make_room() {
        crowded_by(b"GET / HTTP/1.1\r\nHost: ").await;
    }

    #[tokio::test]
    async fn connections_with_half_a_body_make_room() {
        crowded_by(b"POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf").await;
    }

    #[tokio::test]
    async fn idle_connections_make_room() {
        crowded_by(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    }

    #[tokio::test]
    async fn connections_that_read_no_answer_make_room() {
        crowded_by(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await;
    }

    /// A stream that has begun.
    async fn streaming(server: &Server) -> TcpStream {
        let mut stream = server.connect().await;
        stream.write_all(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"hello\r\n") {
            answer.push(stream.read_u8().await.unwrap());
        }
        stream
    }

    #[tokio::test]
    async fn streams_take_no_places_of_other_connections() {
        const LIMIT: usize = 4;
        let server = start_with(PATIENT, LIMIT).await;
        let mut streams = Vec::new();
        for _ in 0..3 * LIMIT {
            streams.push(timeout_at(Instant::now() + LONG / 20, streaming(&server)).await.expect("a place"));
        }
        // Nor do connections that make room for others take the place of a stream.
        let mut idle = Vec::new();
        for _ in 0..3 * LIMIT {
            let mut stream = server.connect().await;
            timeout_at(Instant::now() + LONG / 20, ask(&mut stream)).await.expect("there is room");
            idle.push(stream);
        }
        for stream in &streams {
            let mut byte = [0];
            let read = stream.try_read(&mut byte).unwrap_err();
            assert_eq!(read.kind(), io::ErrorKind::WouldBlock, "a stream goes on");
        }
    }

    #[tokio::test]
    async fn a_silent_stream_outlasts_all_timeouts() {
        let hasty = Timeouts { first_byte: SHORT, head: SHORT, idle: SHORT, stalled_write: SHORT };
        let server = start(hasty).await;
        let stream = streaming(&server).await;
        sleep(4 * SHORT).await;
        assert_eq!(stream.try_read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[tokio::test]
    async fn a_stream_that_nobody_reads_delays_no_stop() {
        let server = start(PATIENT).await;
        let mut stream = server.connect().await;
        stream.write_all(b"GET /flood HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        let Server { stop, running, .. } = server;
        sleep(2 * SHORT).await;
        stop.finish.cancel();
        timeout_at(Instant::now() + LONG / 20, running).await.expect("it is not waited for").unwrap();
        assert!(rest(&mut stream).await.len() < LARGE.len());
    }

    #[tokio::test]
    async fn a_stream_ends_when_its_client_is_gone() {
        let server = start(PATIENT).await;
        drop(streaming(&server).await);
        let mut half = streaming(&server).await;
        half.shutdown().await.unwrap();
        let Server { stop, running, .. } = server;
        stop.finish.cancel();
        timeout_at(Instant::now() + LONG / 20, running).await.expect("no stream is left").unwrap();
        assert_eq!(rest(&mut half).await, "");
    }

    #[tokio::test]
    async fn a_request_that_takes_long_is_not_cut() {
        let hasty = Timeouts { first_byte: LONG, head: SHORT, idle: SHORT, stalled_write: SHORT };
        let server = start(hasty).await;
        let mut stream = server.asked_slowly().await;
        sleep(4 * SHORT).await;
        server.go.notify_waiters();
        assert!(rest(&mut stream).await.ends_with("slow"));
    }

    #[tokio::test]
    async fn a_request_under_way_is_finished_at_shutdown_and_its_connection_closed() {
        let server = start(PATIENT).await;
        let mut idle = server.connect().await;
        ask(&mut idle).await;
        let mut stream = server.asked_slowly().await;
        let Server { go, stop, running, .. } = server;
        stop.finish.cancel();
        // That idle connections are closed shows that the shutdown has begun.
        assert_eq!(rest(&mut idle).await, "");
        go.notify_waiters();
        let answer = rest(&mut stream).await;
        assert!(answer.contains("connection: close\r\n") && answer.ends_with("slow"), "{answer}");
        running.await.unwrap();
    }

    #[tokio::test]
    async fn a_request_that_outlasts_the_drain_is_cut() {
        let server = start(PATIENT).await;
        let mut stream = server.asked_slowly().await;
        server.stop.finish.cancel();
        server.stop.cut.cancel();
        server.running.await.unwrap();
        assert_eq!(rest(&mut stream).await, "");
    }
}
