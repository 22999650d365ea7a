//! What is refused before it is a request: answers that only the socket gives, in the words of all others.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::raw::{RawAnswer, answer, connect, exchange, post, post_chunked};
use crate::support::app::METRICS;
use crate::support::{Engine, PATIENCE, TestApp, until, within};

async fn start() -> TestApp {
    TestApp::start(Engine::Sqlite).await
}

fn header<'a>(answer: &'a RawAnswer, name: &str) -> Option<&'a str> {
    let lines = answer.head.lines().filter_map(|line| line.split_once(": "));
    lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
}

/// An error as every other, whoever found it out.
#[track_caller]
fn assert_refused(answer: &RawAnswer, status: u16, message: &str, case: &str) {
    let body = answer.json();
    assert_eq!((answer.status, &body["status"], &body["message"]), (status, &json!(status), &json!(message)));
    assert!(matches!(&body["error"], Value::String(error) if error.ends_with('.')), "{case}: {body}");
    assert_eq!(body.as_object().unwrap().len(), 3, "{case}: {body}");
    assert_eq!(header(answer, "content-type"), Some("application/json; charset=utf-8"), "{case}");
    for name in ["x-request-id", "content-security-policy", "x-content-type-options", "x-frame-options"] {
        assert!(header(answer, name).is_some(), "{case}: {name} is missing in {}", answer.head);
    }
}

/// The connection's end, with nothing before it.
async fn assert_ended(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    let end = stream.read_to_end(&mut rest);
    within(PATIENCE, "the connection ends", end).await.expect("an orderly end");
    assert_eq!(rest, b"");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_names_one_host() {
    let app = start().await;
    let mut stream = connect(&app).await;
    for headers in [
        "",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nHost: b\r\n",
        "Host:\r\n",
        "Host: a b\r\n",
        "Host: a/b\r\n",
        "Host: user@a\r\n",
        "Host: a:port\r\n",
        "Host: \u{e9}\r\n",
    ] {
        let body = r#"{"message":"halo"}"#;
        for request in [
            format!("GET /healthz HTTP/1.1\r\n{headers}\r\n"),
            format!("GET http://a/healthz HTTP/1.1\r\n{headers}\r\n"),
            format!("GET /nothing HTTP/1.1\r\n{headers}\r\n"),
            format!(
                "POST /api/questions HTTP/1.1\r\n{headers}Content-Type: application/json\r\n\
                 Content-Length: {}\r\n\r\n{body}",
                body.len()
            ),
        ] {
            stream.write_all(request.as_bytes()).await.unwrap();
            let refused = answer(&mut stream).await.unwrap();
            assert_refused(&refused, 400, "bad request", &request);
            assert!(header(&refused, "date").is_some(), "{}", refused.head);
        }
    }
    for good in [
        "GET /healthz HTTP/1.1\r\nhOST:a\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: [::1]:3333\r\n\r\n",
        "GET http://b/healthz HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "GET /healthz HTTP/1.0\r\nHost: a\r\n\r\n",
    ] {
        stream.write_all(good.as_bytes()).await.unwrap();
        assert_eq!(answer(&mut stream).await.unwrap().status, 200, "{good}");
    }
    let refused = exchange(&app, b"GET /healthz HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n").await;
    assert_refused(&refused, 400, "bad request", "HTTP/1.0");
    assert_eq!(app.bot.asked(), 0);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_closed_its_side_gets_its_answer() {
    let app = start().await;
    // The bot answers long after the server has seen that nothing more comes.
    for make in [post, post_chunked] {
        let mut stream = connect(&app).await;
        stream.write_all(&make("/api/questions", r#"{"message":"wait 300"}"#)).await.unwrap();
        stream.shutdown().await.unwrap();
        let answered = answer(&mut stream).await.expect("an answer");
        assert_eq!((answered.status, &answered.json()["data"][0]["text"]), (200, &json!("echo: wait 300")));
        assert_ended(&mut stream).await;
    }
    // Also the last of several.
    let mut stream = connect(&app).await;
    let mut bytes = post("/api/questions", r#"{"message":"wait 200"}"#);
    bytes.extend(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    stream.write_all(&bytes).await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(answer(&mut stream).await.unwrap().json()["data"][0]["text"], "echo: wait 200");
    assert_eq!(answer(&mut stream).await.unwrap().json()["message"], "success");
    assert_ended(&mut stream).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_whose_client_has_left_ends_with_its_answer() {
    let app = TestApp::with(Engine::Sqlite, METRICS).await;
    for _ in 0..3 {
        let mut stream = connect(&app).await;
        stream.write_all(&post("/api/questions", r#"{"message":"wait 300"}"#)).await.unwrap();
    }
    app.bot.until_asked(3).await;
    // Connections to the address of the figures do not count.
    let none_open = "\nwicara_http_connections_open 0\n";
    let ended = async || app.metrics().get("/metrics").await.text.contains(none_open);
    until(PATIENCE, "the connections end", ended).await;
    assert_eq!(app.program().get("/api/conversation").await.ok()["meta"]["total"], 3);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_request_is_told_so() {
    let app = TestApp::with(Engine::Sqlite, METRICS).await;
    let huge = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(200_000));
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: a\r\n".repeat(1_000));
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(100_000));
    for (bytes, status, message) in [
        (&b"hello\r\n\r\n"[..], 400, "bad request"),
        (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03 a client that speaks TLS", 400, "bad request"),
        (b"GET /heal\0thz HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad request"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nno header\r\n\r\n", 400, "bad request"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400, "bad request"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: nonsense\r\n\r\n", 400, "bad request"),
        (b"GET /healthz HTTP/9.9\r\n\r\n", 505, "http version not supported"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "http version not supported"),
        (huge.as_bytes(), 431, "request header fields too large"),
        (many.as_bytes(), 431, "request header fields too large"),
        (long.as_bytes(), 414, "uri too long"),
    ] {
        let case = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned();
        let mut stream = connect(&app).await;
        // Before it, requests that are answered as ever.
        let before: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /guide HTTP/1.1\r\nHost: a\r\n\r\n";
        stream.write_all(&[before, bytes].concat()).await.unwrap();
        assert_eq!(answer(&mut stream).await.unwrap().json()["message"], "success", "{case}");
        let guide = answer(&mut stream).await.unwrap();
        assert!(guide.status == 200 && guide.body.ends_with(b"</html>\n"), "{case}: {}", guide.head);
        let refused = answer(&mut stream).await.unwrap_or_else(|| panic!("{case:?}: no answer"));
        assert_refused(&refused, status, message, &case);
        assert_eq!(header(&refused, "connection"), Some("close"), "{case}");
        assert_ended(&mut stream).await;
    }
    let text = app.metrics().get("/metrics").await.text;
    let series = r#"wicara_http_requests_total{route="-",method="other",status="431"} 2"#;
    assert!(text.lines().any(|line| line == series), "{text}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_still_sends_can_read_why_it_is_refused() {
    let app = start().await;
    let more = vec![b'x'; 8 * 1024 * 1024];
    for beginning in [&b"hello\r\n\r\n"[..], b"GET /"] {
        // Everything is written before anything is read.
        let refused = exchange(&app, &[beginning, &more].concat()).await;
        assert!([400, 414].contains(&refused.status), "{}", refused.head);
        assert_eq!(refused.json()["status"], refused.status);
    }
    app.stop().await;
}
