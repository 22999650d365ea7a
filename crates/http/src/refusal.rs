//! The response to bytes that hyper cannot parse. Hyper's own has an empty body; this one has the body that every error
//! has.

use axum::body::to_bytes;
use axum::http::header::{CONNECTION, CONTENT_LENGTH, DATE, HeaderValue};
use axum::response::{IntoResponse, Response};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use wicara_metrics::HttpMetrics;
use wicara_platform::Random;

use crate::drain::drain_socket;
use crate::error::Failure;
use crate::middleware::REQUEST_ID;
use crate::security::harden;

/// Writes the refusal instead of hyper's answer, then discards what the client still sends.
///
/// `hyper_answer`: empty where hyper made none. `received`: the bytes that could not be parsed.
pub async fn refuse(stream: &mut TcpStream, hyper_answer: &[u8], received: &[u8], metrics: &HttpMetrics) {
    let hyper_answer = str::from_utf8(hyper_answer).unwrap_or_default();
    let mut response = failure(hyper_answer, received).into_response();
    // The system's randomness: the id only names log lines, and no test depends on it.
    let id = Random::System.uuid().to_string();
    let status = response.status().as_u16();
    metrics.refused(status);
    let address = stream.peer_addr().ok().map(|peer| tracing::field::display(peer.ip().to_canonical()));
    let reason =
        if is_tls(received) { Some("TLS (https) was spoken to this port, which speaks http") } else { None };
    tracing::info!(request_id = id, method = "-", route = "-", status, address, reason, "answered");

    harden(&mut response);
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    headers.insert(REQUEST_ID, HeaderValue::try_from(id).expect("a UUID is visible ASCII"));
    if let Some(date) = hyper_answer.lines().find_map(|line| line.strip_prefix("date: "))
        && let Ok(date) = HeaderValue::from_str(date)
    {
        headers.insert(DATE, date);
    }
    if stream.write_all(&serialised(response).await).await.is_ok() {
        drain_socket(stream).await;
    }
}

/// The failure by hyper's status. Where that is only 400, the request line may name another HTTP version.
fn failure(hyper_answer: &str, received: &[u8]) -> Failure {
    let status = hyper_answer.split(' ').nth(1).unwrap_or_default();
    let mut lines = received.split(|byte| *byte == b'\n');
    let first = lines.next().unwrap_or_default().trim_ascii_end();
    match status {
        "414" => Failure::TargetTooLong,
        "431" if lines.next().is_none() => Failure::TargetTooLong,
        "431" => Failure::HeadTooLarge,
        _ if names_another_version(first) => Failure::AnotherVersion,
        _ => Failure::NoRequest,
    }
}

/// Whether a client begins with TLS: a handshake record of version 3.
fn is_tls(received: &[u8]) -> bool {
    received.starts_with(b"\x16\x03")
}

fn names_another_version(line: &[u8]) -> bool {
    let last = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    match last.strip_prefix(b"HTTP/") {
        Some(&[major, b'.', minor]) => {
            major.is_ascii_digit() && minor.is_ascii_digit() && (major, minor) > (b'1', b'1')
        }
        _ => false,
    }
}

/// A short response as bytes of HTTP/1.1.
async fn serialised(response: Response) -> Vec<u8> {
    let (head, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.expect("an error is answered from memory");
    let mut bytes = format!("HTTP/1.1 {}\r\n", head.status).into_bytes();
    let length = HeaderValue::from(body.len());
    for (name, value) in head.headers.iter().chain([(&CONTENT_LENGTH, &length)]) {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(&body);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told_apart() {
        let told = |status: &str, received: &[u8]| {
            failure(&format!("HTTP/1.1 {status} X\r\n"), received).into_response().status().as_u16()
        };
        for (status, received, expected) in [
            ("400", &b"hello\r\n"[..], 400),
            ("400", b"", 400),
            ("400", b"\x16\x03\x01\x02\0", 400),
            ("400", b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
            ("400", b"GET / HTTP/9.9\r\n\r\n", 505),
            ("400", b"GET / HTTP/3.0", 505),
            ("400", b"GET / HTTP/1.1 \r\n", 400),
            ("400", b"GET / HTTP/1.1x\r\n", 400),
            ("400", b"GET / HTTP/1.0\r\n:\r\n", 400),
            ("400", b"GET / http/2.0\r\n", 400),
            ("414", b"GET /aaa", 414),
            ("431", b"GET /aaa", 414),
            ("431", b"GET /aaa HTTP/1.1\r\nX: a", 431),
        ] {
            assert_eq!(told(status, received), expected, "{status} {received:?}");
        }
        // Hyper makes no answer to the preface of HTTP/2.
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        assert_eq!(failure("", preface).into_response().status(), 505);
    }
}
