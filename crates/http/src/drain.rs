//! Reads and discards what a handler left unread of a request's body, within a limit of bytes and time. Closing a
//! connection with unread input resets it, and a client that is still sending would lose the response.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::header::{CONNECTION, EXPECT, HeaderValue};
use axum::response::Response;
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const DRAIN_BYTES: usize = 16 * 1024 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// Returns the response of `next` once the rest of the body was discarded, a limit was reached, or the server stops.
pub async fn drain_body<F>(
    request: Request,
    abandoned: &CancellationToken,
    next: impl FnOnce(Request) -> F,
) -> Response
where
    F: Future<Output = Response>,
{
    if request.body().is_end_stream() {
        return next(request).await;
    }
    let (return_to, returned) = oneshot::channel();
    // With `Expect: 100-continue` the client sends its body only once the server has begun to read it.
    let is_sent = !request.headers().contains_key(EXPECT);
    let request = request.map(|body| Body::new(ReturnedBody { body, is_sent, return_to: Some(return_to) }));
    let mut response = next(request).await;
    if let Ok(body) = returned.await {
        let is_drained = tokio::select! {
            drained = timeout(DRAIN_TIME, discard(body)) => drained.unwrap_or(false),
            () = abandoned.cancelled() => false,
        };
        if !is_drained {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
    response
}

/// Shuts down the sending side, then discards what the client still sends, within the same limits.
pub async fn drain_socket(stream: &mut TcpStream) {
    let drained = async {
        let mut left = if stream.shutdown().await.is_ok() { DRAIN_BYTES } else { 0 };
        let mut buffer = vec![0; 8 * 1024];
        while let Ok(length @ 1..) = stream.read(&mut buffer).await
            && length <= left
        {
            left -= length;
        }
    };
    let _ = timeout(DRAIN_TIME, drained).await;
}

/// Whether the body ended within the limit of bytes.
async fn discard(mut body: Body) -> bool {
    let mut left = DRAIN_BYTES;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        let length = frame.data_ref().map_or(0, Bytes::len);
        if length > left {
            return false;
        }
        left -= length;
    }
    true
}

/// A body that is sent back when the handler drops it.
struct ReturnedBody {
    body: Body,
    /// Whether the client sends the body without waiting for `100 Continue`.
    is_sent: bool,
    return_to: Option<oneshot::Sender<Body>>,
}

impl HttpBody for ReturnedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.is_sent = true;
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for ReturnedBody {
    fn drop(&mut self) {
        if let Some(return_to) = self.return_to.take()
            && self.is_sent
        {
            // It fails where the client is gone: then the request's future is dropped.
            let _ = return_to.send(std::mem::take(&mut self.body));
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::StatusCode;
    use axum::middleware::{Next, from_fn};
    use axum::routing::post;
    use futures_util::stream;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tower::ServiceExt;
    use wicara_metrics::Metrics;

    use super::*;
    use crate::listener;

    fn app() -> Router {
        Router::new()
            .route("/refuse", post(async || StatusCode::UNAUTHORIZED))
            .route("/read", post(async |body: Bytes| body.len().to_string()))
            .layer(from_fn(|request, next: Next| async {
                drain_body(request, &CancellationToken::new(), |request| next.run(request)).await
            }))
    }

    #[tokio::test]
    async fn a_client_that_sends_before_it_reads_gets_its_answer() {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(listener::serve(socket, app(), Metrics::default().http, listener::Stop::default(), 8));

        let mut stream = TcpStream::connect(address).await.unwrap();
        let body = vec![b'x'; 8 * 1024 * 1024];
        let head = format!("POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
        // Twice, since the connection stays usable.
        for _ in 0..2 {
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(&body).await.unwrap();
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"HTTP/1.1 401");
            let mut rest = Vec::new();
            while !rest.ends_with(b"\r\n\r\n") {
                rest.push(stream.read_u8().await.unwrap());
            }
        }
    }

    #[tokio::test]
    async fn a_body_without_end_is_not_heard_out() {
        let endless = stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 64 * 1024])));
        let request = Request::post("/refuse").body(Body::from_stream(endless)).unwrap();
        let response = app().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.headers()[CONNECTION], "close");
    }

    #[tokio::test]
    async fn a_body_that_was_read_is_left_alone() {
        let request = Request::post("/read").body(Body::from("12345")).unwrap();
        let response = app().oneshot(request).await.unwrap();
        assert!(!response.headers().contains_key(CONNECTION));
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "5");
    }
}
