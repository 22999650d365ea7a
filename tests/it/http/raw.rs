//! Bytes on a connection, as no well-behaved client sends them.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{PATIENCE, TestApp, within};

/// An answer as it came, with its length or until the connection's end.
#[derive(Debug)]
pub struct RawAnswer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl RawAnswer {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// Fails unless the answer has this status and, byte for byte, this body.
    #[track_caller]
    pub fn is(&self, status: u16, body: &str) {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!((self.status, text.as_ref()), (status, body), "{}", self.head);
    }
}

pub async fn connect(app: &TestApp) -> TcpStream {
    TcpStream::connect(app.base.strip_prefix("http://").unwrap()).await.unwrap()
}

/// Writes everything before anything is read, as simple clients do, and reads one answer.
pub async fn exchange(app: &TestApp, bytes: &[u8]) -> RawAnswer {
    let mut stream = connect(app).await;
    stream.write_all(bytes).await.expect("the server takes everything");
    answer(&mut stream).await.expect("the server answers")
}

/// The same where the server may close early, or without an answer.
pub async fn try_exchange(app: &TestApp, bytes: &[u8]) -> Option<RawAnswer> {
    let mut stream = connect(app).await;
    let _ = stream.write_all(bytes).await;
    answer(&mut stream).await
}

/// The next answer; `None` where the connection ends before one.
pub async fn answer(stream: &mut TcpStream) -> Option<RawAnswer> {
    within(PATIENCE, "the server answers", read(stream)).await
}

async fn read(stream: &mut TcpStream) -> Option<RawAnswer> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map(|(_, value)| value.trim().parse().unwrap());
    let mut body = Vec::new();
    match length {
        Some(length) => {
            body = vec![0; length];
            stream.read_exact(&mut body).await.expect("the whole body");
        }
        None => drop(stream.read_to_end(&mut body).await.expect("an orderly end")),
    }
    Some(RawAnswer { status, head, body })
}

/// A POST of JSON with its length.
pub fn post(path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

/// The same in chunks, without a length.
pub fn post_chunked(path: &str, body: &str) -> Vec<u8> {
    let mut bytes = format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    .into_bytes();
    for chunk in body.as_bytes().chunks(30_000) {
        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}
