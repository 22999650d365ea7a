//! The server's sockets, with what no well-behaved client sends, and answers too large to hold.

use std::collections::HashSet;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wicara_model::NewMessage;
use wicara_store::{Append, Ask, Target};

use super::Chat;
use super::raw::{answer, connect, exchange, post, post_chunked};
use crate::support::{Engine, PATIENCE, TestApp, on_both_engines, within};

on_both_engines!(
    two_hundred_connections_at_once,
    a_detail_of_five_thousand_messages,
    lists_of_the_largest_messages,
    a_question_under_way_is_answered_when_the_server_stops,
    a_client_that_leaves_loses_no_answer,
);

async fn start() -> TestApp {
    TestApp::start(Engine::Sqlite).await
}

/// Everything until the connection ends, in whatever way it does.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = within(PATIENCE, "the connection ends", stream.read_to_end(&mut bytes)).await;
    String::from_utf8(bytes).unwrap()
}

async fn is_well(app: &TestApp) {
    app.anonymous().post("/api/questions", &json!({"message": "well?"})).await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_requests_are_answered_in_order() {
    let app = start().await;
    let mut stream = connect(&app).await;
    let mut bytes = Vec::new();
    for number in 0..20 {
        // A slow one first: what comes after it waits for it.
        let message = if number == 0 { "wait 200".into() } else { number.to_string() };
        let body = json!({"message": message}).to_string();
        let make = if number % 2 == 0 { post } else { post_chunked };
        bytes.extend(make("/api/questions", &body));
        bytes.extend(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    stream.write_all(&bytes).await.unwrap();
    for number in 0..20 {
        let asked = answer(&mut stream).await.unwrap();
        let expected = if number == 0 { "echo: wait 200".into() } else { format!("echo: {number}") };
        assert_eq!(asked.json()["data"][0]["text"], expected);
        assert_eq!(answer(&mut stream).await.unwrap().json()["message"], "success");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_body_leaves_the_connection_in_order() {
    let app = start().await;
    let mut stream = connect(&app).await;
    let large = format!(r#"{{"message":"{}"}}"#, "a".repeat(2_000_000));
    for make in [post, post_chunked] {
        for (path, status) in [("/api/questions", 413), ("/api/nothing", 404), ("/api/message", 401)] {
            stream.write_all(&make(path, &large)).await.unwrap();
            let refused = answer(&mut stream).await.unwrap();
            assert_eq!((refused.status, refused.json()["status"].clone()), (status, json!(status)));
            // What was left of the body is no request.
            stream.write_all(&post("/api/questions", r#"{"message":"next"}"#)).await.unwrap();
            let next = answer(&mut stream).await.unwrap();
            assert_eq!((next.status, next.json()["data"][0]["text"].clone()), (200, json!("echo: next")));
        }
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_http_is_refused_and_hurts_nobody() {
    let app = start().await;
    let huge = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(200_000));
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: a\r\n".repeat(1_000));
    let long_path = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(100_000));
    for (bytes, statuses) in [
        (b"hello\r\n\r\n".to_vec(), &[400][..]),
        (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03garbage of a TLS client".to_vec(), &[400]),
        (b"\0\0\0\0\r\n\r\n".to_vec(), &[400]),
        (b"\xff\xfe\xfd\r\n\r\n".to_vec(), &[400]),
        (b"GET /healthz HTTP/9.9\r\n\r\n".to_vec(), &[400, 505]),
        (b"GET /heal\0thz HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), &[400]),
        (b"GET healthz HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), &[400, 404]),
        (b"POST /api/questions HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n".to_vec(), &[400]),
        (b"POST /api/questions HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 2\r\n\r\n".to_vec(), &[400]),
        (
            b"POST /api/questions HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n"
                .to_vec(),
            &[400, 413],
        ),
        (
            b"POST /api/questions HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"
                .to_vec(),
            &[400],
        ),
        (
            b"POST /api/questions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: nonsense\r\n\r\n".to_vec(),
            &[400, 501],
        ),
        (huge.into_bytes(), &[400, 431]),
        (many.into_bytes(), &[400, 431]),
        (long_path.into_bytes(), &[400, 414, 431]),
    ] {
        let case = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned();
        let mut stream = connect(&app).await;
        // The server may close before it took everything.
        let _ = stream.write_all(&bytes).await;
        let refused = answer(&mut stream).await.unwrap_or_else(|| panic!("{case:?}: no answer"));
        assert!(statuses.contains(&refused.status), "{case:?}: {refused:?}");
    }
    assert_eq!(app.bot.asked(), 0);
    is_well(&app).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absurd_length_is_refused_before_the_body() {
    let app = start().await;
    for (length, expect) in [
        ("1048577", "Expect: 100-continue\r\n"),
        ("9223372036854775807", "Expect: 100-continue\r\n"),
        ("1000000000000", ""),
    ] {
        let head = format!(
            "POST /api/questions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n{expect}Content-Length: {length}\r\n\r\n"
        );
        let refused = exchange(&app, head.as_bytes()).await;
        assert_eq!((refused.status, refused.json()["message"].clone()), (413, json!("payload too large")));
    }
    // One that is small enough is asked for.
    let body = r#"{"message":"halo"}"#;
    let head = format!(
        "POST /api/questions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = connect(&app).await;
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut go_on = vec![0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
    stream.read_exact(&mut go_on).await.unwrap();
    assert_eq!(go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(body.as_bytes()).await.unwrap();
    assert_eq!(answer(&mut stream).await.unwrap().status, 200);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_breaks_off_stores_nothing() {
    let app = start().await;
    let whole = post("/api/questions", r#"{"message":"halo"}"#);
    let chunked = post_chunked("/api/questions", r#"{"message":"halo"}"#);
    for bytes in
        [&whole[..whole.len() - 1], &chunked[..chunked.len() - 5], &whole[..whole.len() / 2], &whole[..1]]
    {
        // Closed at once, and closed for writing only: the second can still be told.
        let mut stream = connect(&app).await;
        stream.write_all(bytes).await.unwrap();
        drop(stream);
        let mut stream = connect(&app).await;
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let told = rest(&mut stream).await;
        assert!(told.is_empty() || told.starts_with("HTTP/1.1 400"), "{told}");
    }
    let broken = b"POST /api/questions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n";
    let told = exchange(&app, broken).await;
    assert_eq!((told.status, told.json()["status"].clone()), (400, json!(400)));
    is_well(&app).await;
    assert_eq!(app.bot.asked(), 1, "only the whole question was asked");
    assert_eq!(app.program().get("/api/conversation").await.ok()["meta"]["total"], 1);
    app.stop().await;
}

async fn two_hundred_connections_at_once(engine: Engine) {
    let app = TestApp::start(engine).await;
    let mut streams = Vec::new();
    for number in 0..200 {
        let mut stream = connect(&app).await;
        // Half of the connections send their first half and wait with the other.
        let bytes = post("/api/questions", &json!({"message": number.to_string()}).to_string());
        let half = if number % 2 == 0 { bytes.len() / 2 } else { bytes.len() };
        stream.write_all(&bytes[..half]).await.unwrap();
        streams.push((number, stream, bytes[half..].to_vec()));
    }
    let (mut sessions, mut answered) = (HashSet::new(), Vec::new());
    for (number, mut stream, left) in streams {
        stream.write_all(&left).await.unwrap();
        let asked = answer(&mut stream).await.unwrap();
        assert_eq!(asked.status, 200, "{asked:?}");
        assert_eq!(asked.json()["data"][0]["text"], format!("echo: {number}"));
        assert!(sessions.insert(asked.json()["session_id"].to_string()));
        // Open until the last is answered.
        answered.push(stream);
    }
    assert_eq!(app.program().get("/api/conversation").await.ok()["meta"]["total"], 200);
    app.stop().await;
}

/// Stores messages behind the API, many at once.
async fn fill(app: &TestApp, chat: &Chat, count: usize, text: impl Fn(usize) -> String) {
    for numbers in (0..count).collect::<Vec<_>>().chunks(500) {
        let messages = numbers.iter().map(|number| NewMessage::question(text(*number))).collect();
        let at = wicara_model::Timestamp(1_000);
        let target = Target::Existing(wicara_model::ConversationId(chat.id));
        app.store().append(Append { at, target, messages, ask: Ask::No, claim: None }).await.unwrap();
    }
}

async fn a_detail_of_five_thousand_messages(engine: Engine) {
    let app = TestApp::start(engine).await;
    let chat = Chat::on(&app, "echo").await;
    let text = |number: usize| format!("{number} {}", "é\"\\\n".repeat(50 + number % 7));
    fill(&app, &chat, 4_999, text).await;
    let program = app.program();
    let answer = program.get(&format!("/api/conversation/{}", chat.id)).await;
    assert!(answer.text.len() > 1_000_000, "{}", answer.text.len());
    assert_eq!(answer.header("content-length"), None, "it is sent while it is read");
    let detail = answer.ok()["data"].clone();
    let messages = detail["messages"].as_array().unwrap();
    assert_eq!((messages.len(), &detail["messageCount"]), (5_000, &json!(5_000)));
    assert_eq!((&messages[0]["message"], &detail["lastMessages"]), (&json!("halo"), &json!(text(4_998))));
    for (number, message) in messages[1..].iter().enumerate() {
        assert_eq!(message["message"], text(number));
    }
    assert!(messages.is_sorted_by_key(|message| message["id"].as_i64()));

    // The list embeds the newest 50 only.
    let listed = program.get("/api/conversation").await.ok()["data"][0].clone();
    assert_eq!(listed["messages"].as_array().unwrap()[..], messages[4_950..]);
    assert_eq!(listed["messageCount"], 5_000);
    app.stop().await;
}

async fn lists_of_the_largest_messages(engine: Engine) {
    let app = TestApp::start(engine).await;
    // Escaped, each is six times as long on the wire.
    let text = |number: usize| format!("{number:04}{}", "\u{1}".repeat(65_532));
    let mut chats = Vec::new();
    for _ in 0..4 {
        let chat = Chat::on(&app, "echo").await;
        fill(&app, &chat, 25, text).await;
        chats.push(chat);
    }
    let (person, program) = (app.person(), app.program());
    let list = person.get("/api/message?limit=100&order=desc").await;
    assert!(list.text.len() > 6 * 65_000 * 96, "{}", list.text.len());
    let list = list.ok()["data"].clone();
    assert_eq!(list.as_array().unwrap().len(), 100);
    assert_eq!((&list[0]["message"], &list[99]["message"]), (&json!(text(24)), &json!(text(3))));

    let rooms = person.get("/api/conversation").await.ok()["data"].clone();
    assert_eq!(rooms[3]["lastMessage"]["message"], text(24));
    let listed = program.get("/api/conversation").await.ok()["data"].clone();
    for chat in listed.as_array().unwrap() {
        let messages = chat["messages"].as_array().unwrap();
        let texts: Vec<&str> = messages.iter().map(|message| message["message"].as_str().unwrap()).collect();
        assert_eq!(texts.len(), 4, "at most 256 KiB");
        assert_eq!(texts, [text(21), text(22), text(23), text(24)]);
    }
    let detail = program.get(&format!("/api/conversation/{}", chats[0].id)).await.ok();
    assert_eq!(detail["data"]["messages"].as_array().unwrap().len(), 26);
    let thread = app.anonymous().get(&format!("/api/questions/{}", chats[0].session)).await.ok();
    assert_eq!(thread["data"]["messages"].as_array().unwrap().len(), 26);
    app.stop().await;
}

async fn a_question_under_way_is_answered_when_the_server_stops(engine: Engine) {
    let app = TestApp::start(engine).await;
    let store = app.store().clone();
    let mut asking = connect(&app).await;
    asking.write_all(&post("/api/questions", r#"{"message":"wait 1000"}"#)).await.unwrap();
    let mut idle = connect(&app).await;
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    answer(&mut idle).await.unwrap();
    app.bot.until_asked(1).await;
    let address = app.base.strip_prefix("http://").unwrap().to_owned();

    let stopping = tokio::spawn(app.stop());
    assert_eq!(rest(&mut idle).await, "", "an idle connection is closed at once");
    assert!(TcpStream::connect(&address).await.is_err(), "nobody new is let in");
    let answered = answer(&mut asking).await.expect("the question is answered");
    assert_eq!(
        (answered.status, answered.json()["data"][0]["text"].clone()),
        (200, json!("echo: wait 1000"))
    );
    assert!(answered.head.to_lowercase().contains("connection: close"), "{}", answered.head);
    stopping.await.unwrap();

    let session = answered.json()["session_id"].as_str().unwrap().parse().unwrap();
    let conversation = store.conversation_get_by_session(session).await.unwrap().unwrap();
    assert_eq!(conversation.message_count, 2, "and stored");
}

async fn a_client_that_leaves_loses_no_answer(engine: Engine) {
    let app = TestApp::start(engine).await;
    let mut asking = connect(&app).await;
    asking.write_all(&post("/api/questions", r#"{"message":"wait 200"}"#)).await.unwrap();
    app.bot.until_asked(1).await;
    drop(asking);
    let person = app.person();
    // Also a server that stops meanwhile stores what the bot says.
    let mut asking = connect(&app).await;
    asking.write_all(&post("/api/questions", r#"{"message":"wait 300"}"#)).await.unwrap();
    app.bot.until_asked(2).await;
    drop(asking);
    let store = app.store().clone();
    let ids: Vec<i64> = person.get("/api/conversation").await.ok()["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|conversation: &Value| conversation["id"].as_str().unwrap().parse().unwrap())
        .collect();
    assert_eq!(ids.len(), 2);
    app.stop().await;
    for id in ids {
        let conversation = store.conversation_get(wicara_model::ConversationId(id)).await.unwrap().unwrap();
        assert_eq!(conversation.message_count, 2, "the question and its answer");
    }
}
