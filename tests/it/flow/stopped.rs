//! A stop ends in time, whatever does not, and whoever waits is told.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::process::Site;
use crate::store::create;
use crate::support::{
    Answer, Client, Engine, Events, Fault, PostgresProxy, is_commit, on_both_engines, until, within,
};

on_both_engines!(a_stop_does_not_wait_for_a_slow_bot);

const DRAIN: &str = "server.drain_seconds = 1\n";
/// A second to drain, two to settle what is left, and some for a machine that has much to do.
const STOPPED: Duration = Duration::from_secs(1 + 2 + 1);
const PATIENCE: Duration = Duration::from_secs(20);

#[track_caller]
fn assert_told(answer: &Answer) {
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    assert_eq!(answer.json()["status"], 503);
}

/// What somebody waits for who asks by JSON, and who asks for events, while the bot thinks.
struct Waiting {
    plain: tokio::task::JoinHandle<Answer>,
    streaming: Events,
}

impl Waiting {
    async fn new(site: &Site, visitor: &Client) -> Self {
        let question = json!({"message": "wait 20000"});
        let plain = tokio::spawn({
            let (visitor, question) = (visitor.clone(), question.clone());
            async move { visitor.post("/api/questions", &question).await }
        });
        let events = visitor.with("accept", "text/event-stream");
        let mut streaming = events.post_for_events("/api/questions", &question).await;
        assert_eq!(streaming.next().await.expect("it begins").0, "session");
        site.bot.until_asked(2).await;
        Self { plain, streaming }
    }

    async fn assert_told(self) {
        let plain = within(PATIENCE, "whoever asks by JSON is told", self.plain).await;
        assert_told(&plain.expect("there is an answer"));
        let streamed = within(PATIENCE, "the stream ends", self.streaming.rest()).await;
        let (name, error) = streamed.last().expect("the stream ends with an event");
        assert_eq!((name.as_str(), &error["status"]), ("error", &json!(503)), "{error}");
    }
}

async fn a_stop_does_not_wait_for_a_slow_bot(engine: Engine) {
    let site = Site::new(engine).await;
    let server = site.start_with(&site.database.url, DRAIN);
    let waiting = Waiting::new(&site, &site.visitor(&server)).await;
    // A body that is still being sent, as far as the server knows.
    let address = server.base.strip_prefix("http://").unwrap();
    let mut unfinished = TcpStream::connect(address).await.unwrap();
    let head = "POST /api/questions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\
        Expect: 100-continue\r\n\r\n";
    unfinished.write_all(head.as_bytes()).await.unwrap();
    let mut awaited = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
    within(PATIENCE, "the body is waited for", unfinished.read_exact(&mut awaited)).await.unwrap();
    assert_eq!(awaited, *b"HTTP/1.1 100 Continue\r\n\r\n");
    unfinished.write_all(b"{").await.unwrap();
    assert!(server.terminate_within(STOPPED).await.success());
    waiting.assert_told().await;
    let mut told = String::new();
    let _ = within(PATIENCE, "its answer ends", unfinished.read_to_string(&mut told)).await;
    assert!(told.starts_with("HTTP/1.1 503 ") && told.contains("Nothing was stored."), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_does_not_wait_for_a_frozen_database() {
    let site = Site::new(Engine::Postgres).await;
    let conversation = create(&site.store, "echo", &[]).await.conversation.id.0;
    let proxy = PostgresProxy::before(&site.database).await;
    let server = site.start_with(&proxy.url, DRAIN);
    let waiting = Waiting::new(&site, &site.visitor(&server)).await;

    let program = site.program(&server);
    let held = proxy.at(is_commit, 1, Fault::Held);
    let message = json!({
        "message": "held", "type": "text", "role": "client", "conversationId": conversation.to_string()
    });
    let writing = tokio::spawn({
        let program = program.clone();
        async move { program.post("/api/message", &message).await }
    });
    until(PATIENCE, "the message is written", async || held.sprung() == 1).await;
    proxy.freeze();
    let reading = tokio::spawn(async move { program.get("/api/message").await });
    // There is nothing to see of a request that waits for a frozen database.
    tokio::time::sleep(Duration::from_millis(500)).await;

    assert!(server.terminate_within(STOPPED).await.success());
    for told in [writing, reading] {
        assert_told(&within(PATIENCE, "who waits is told", told).await.expect("there is an answer"));
    }
    waiting.assert_told().await;
}
