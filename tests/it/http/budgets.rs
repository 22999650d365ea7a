//! Memory that all clients have together: who takes much of it harms nobody who takes little, and what is not there is
//! refused.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wicara_model::{Api, Bots, Role};

use super::raw::{RawAnswer, answer, connect, exchange, post, post_chunked};
use crate::support::app::METRICS;
use crate::support::{Engine, PATIENCE, TestApp, on_both_engines, until};

on_both_engines!(
    bodies_that_do_not_end_leave_room_for_others,
    a_body_without_room_leaves_nothing,
    memory_comes_back_whatever_ends_a_body,
);

const MIB: usize = 1024 * 1024;
/// Half of it, which visitors have, holds one of the largest bodies and a second one hardly.
const BUDGET: &str = "limits.body_budget_bytes = 4194304\n";

async fn start(engine: Engine) -> TestApp {
    TestApp::with(engine, &format!("{METRICS}{BUDGET}")).await
}

/// A question in a body of this length.
fn question(length: usize) -> String {
    let question = r#"{"message":"halo"}"#;
    format!("{question}{}", " ".repeat(length - question.len()))
}

/// What is held of bodies.
async fn held(app: &TestApp) -> usize {
    let text = app.metrics().get("/metrics").await.text;
    let series = r#"wicara_http_budget_bytes{of="bodies"} "#;
    text.lines().find_map(|line| line.strip_prefix(series)).unwrap().parse().unwrap()
}

async fn until_held(app: &TestApp, expected: impl Fn(usize) -> bool) {
    until(PATIENCE, "the bytes held are as expected", async || expected(held(app).await)).await;
}

/// A request of which the last byte is not sent yet.
async fn unfinished(app: &TestApp, request: &[u8]) -> TcpStream {
    let mut stream = connect(app).await;
    stream.write_all(&request[..request.len() - 1]).await.unwrap();
    stream
}

#[track_caller]
fn assert_no_room(answer: &RawAnswer) {
    let error = "The server cannot answer just now. Nothing was stored.";
    assert_eq!(answer.json(), json!({"status": 503, "message": "unavailable", "error": error}));
    assert_eq!(answer.status, 503);
    assert!(answer.head.to_lowercase().contains("\r\nretry-after: 2\r\n"), "{}", answer.head);
}

async fn bodies_that_do_not_end_leave_room_for_others(engine: Engine) {
    let app = start(engine).await;
    let key = app.key(Role::Agent, Bots::All, Api::Chatbot).await;
    let of_program = |request: Vec<u8>| {
        let text = String::from_utf8(request).unwrap();
        text.replacen("Host: a\r\n", &format!("Host: a\r\nX-API-Key: {key}\r\n"), 1).into_bytes()
    };
    for make in [post, post_chunked] {
        let large = make("/api/questions", &question(MIB));
        let mut first = unfinished(&app, &large).await;
        until_held(&app, |held| held >= MIB - 1).await;
        for path in ["/api/questions", "/api/auth/login"] {
            for make in [post, post_chunked] {
                assert_no_room(&exchange(&app, &make(path, &question(MIB))).await);
            }
        }
        // Who asks before it sends, and is told to go on, can read it as well.
        let head = format!(
            "POST /api/questions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
             Expect: 100-continue\r\nContent-Length: {MIB}\r\n\r\n"
        );
        let mut stream = connect(&app).await;
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut go_on = [0; 25];
        stream.read_exact(&mut go_on).await.unwrap();
        stream.write_all(question(MIB).as_bytes()).await.unwrap();
        assert_no_room(&answer(&mut stream).await.unwrap());
        // Its connection goes on.
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        assert_eq!(answer(&mut stream).await.unwrap().status, 200);

        let small = exchange(&app, &make("/api/questions", &question(10_000))).await;
        assert_eq!(small.json()["data"][0]["text"], "echo: halo", "most questions are small");
        let known = exchange(&app, &of_program(large.clone())).await;
        assert_eq!(known.json()["data"][0]["text"], "echo: halo", "half is for those who are known");

        first.write_all(&large[large.len() - 1..]).await.unwrap();
        assert_eq!(answer(&mut first).await.unwrap().json()["data"][0]["text"], "echo: halo");
        assert_eq!(exchange(&app, &large).await.json()["data"][0]["text"], "echo: halo");
    }
    until_held(&app, |held| held == 0).await;
    app.stop().await;
}

async fn a_body_without_room_leaves_nothing(engine: Engine) {
    let app = start(engine).await;
    let large = post("/api/questions", &question(MIB));
    let first = unfinished(&app, &large).await;
    until_held(&app, |held| held >= MIB - 1).await;
    for _ in 0..3 {
        assert_no_room(&exchange(&app, &large).await);
    }
    let text = app.metrics().get("/metrics").await.text;
    let series = r#"wicara_http_budget_refusals_total{of="bodies"} 3"#;
    assert!(text.lines().any(|line| line == series), "{text}");
    assert_eq!(app.bot.asked(), 0);
    assert_eq!(app.program().get("/api/conversation").await.ok()["meta"]["total"], 0);
    drop(first);
    app.stop().await;
}

async fn memory_comes_back_whatever_ends_a_body(engine: Engine) {
    let app = start(engine).await;
    let large = post("/api/questions", &question(MIB));
    // The client is gone, closes its side, or sends what is no chunk.
    for end in [0, 1, 2] {
        let make = if end == 2 { post_chunked } else { post };
        let mut stream = unfinished(&app, &make("/api/questions", &question(MIB))).await;
        until_held(&app, |held| held >= MIB - 1).await;
        match end {
            0 => drop(stream),
            1 => stream.shutdown().await.unwrap(),
            _ => {
                stream.write_all(b"x").await.unwrap();
                assert_eq!(answer(&mut stream).await.unwrap().status, 400);
            }
        }
        until_held(&app, |held| held == 0).await;
    }
    // What is large and no JSON, broken or refused is not kept either, and not while the bot is asked.
    for (body, status) in [("x".repeat(MIB), 400), ("{".repeat(MIB), 400), ("x".repeat(MIB + 1), 413)] {
        assert_eq!(exchange(&app, &post("/api/questions", &body)).await.status, status);
    }
    until_held(&app, |held| held == 0).await;
    let mut slow = connect(&app).await;
    let wait = format!(r#"{{"message":"wait 1000"}}{}"#, " ".repeat(MIB - 30));
    slow.write_all(&post("/api/questions", &wait)).await.unwrap();
    app.bot.until_asked(1).await;
    assert_eq!(held(&app).await, 0);
    assert_eq!(exchange(&app, &large).await.status, 200);
    assert_eq!(answer(&mut slow).await.unwrap().status, 200);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_limit_any_number_of_bodies_is_taken() {
    let app = TestApp::with(Engine::Sqlite, "limits.body_budget_bytes = 0\n").await;
    let large = post("/api/questions", &question(MIB));
    let mut streams = Vec::new();
    for _ in 0..70 {
        streams.push(unfinished(&app, &large).await);
    }
    for mut stream in streams {
        stream.write_all(b" ").await.unwrap();
        assert_eq!(answer(&mut stream).await.unwrap().status, 200);
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_without_a_limit_of_its_own_has_the_budgets() {
    let app = TestApp::with(Engine::Sqlite, &format!("{BUDGET}limits.body_bytes = 0\n")).await;
    assert_eq!(exchange(&app, &post("/api/questions", &question(2 * MIB))).await.status, 200);
    for make in [post, post_chunked] {
        let refused = exchange(&app, &make("/api/questions", &question(2 * MIB + 1))).await;
        assert_eq!((refused.status, &refused.json()["message"]), (413, &json!("payload too large")));
    }
    app.stop().await;
}
