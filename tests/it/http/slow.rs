//! Bodies that do not come to their end.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Engine, PATIENCE, Routed, until, within};

/// What the server says to a body that begins and then goes on like this, every few milliseconds and without end.
async fn told(go_on: impl AsyncFn(&mut tokio::net::tcp::OwnedWriteHalf) -> std::io::Result<()>) {
    let routed = Routed::with_body_time(Engine::Sqlite, Duration::from_millis(100)).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = routed.router.clone();
    tokio::spawn(async move {
        wicara_http::listener::serve(
            listener,
            router,
            wicara_metrics::Metrics::default().http,
            wicara_http::listener::Stop::default(),
            8,
        )
        .await
    });

    let stream = TcpStream::connect(address).await.unwrap();
    let (read, mut write) = stream.into_split();
    let head = "POST /api/questions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{";
    write.write_all(head.as_bytes()).await.unwrap();
    let reading = tokio::spawn(async move {
        let mut read = read;
        let mut bytes = Vec::new();
        let _ = read.read_to_end(&mut bytes).await;
        bytes
    });
    let told = async || reading.is_finished() || go_on(&mut write).await.is_err();
    until(PATIENCE, "the body is cut", told).await;
    let text = String::from_utf8(within(PATIENCE, "the answer ends", reading).await.unwrap()).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    assert!(head.starts_with("HTTP/1.1 408 ") && head.contains("connection: close"), "{head}");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    let error = "The body did not arrive in time.";
    assert_eq!(body, json!({"status": 408, "message": "request timeout", "error": error}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_stops_is_cut() {
    told(async |_| Ok(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_trickles_is_cut() {
    told(async |write| write.write_all(b" ").await).await;
}
