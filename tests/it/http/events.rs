//! Answers as a stream of events.

use std::time::Duration;

use serde_json::{Value, json};
use wicara_metrics::Metrics;
use wicara_model::{FailureReason, MessageId, Timestamp};
use wicara_platform::Random;
use wicara_store::Store;

use super::questions::{ask, messages};
use super::wire::column;
use crate::support::{Client, Engine, Events, PATIENCE, TestApp, on_both_engines, until};

on_both_engines!(
    a_streamed_answer_ends_in_the_plain_one,
    what_fails_before_the_stream_is_plain_json,
    a_bot_that_fails_ends_the_stream_with_the_plain_error,
    a_retry_gets_the_first_answer_without_tokens,
    nobody_answers_for_a_human,
    a_client_that_leaves_stops_nothing,
    a_server_that_stops_marks_what_it_cuts_off,
);

const KEY: &str = "0123456789abcdef";

async fn stream(client: &Client, body: &Value) -> Events {
    client.with("accept", "text/event-stream").post_for_events("/api/questions", body).await
}

fn names(events: &[(String, Value)]) -> Vec<&str> {
    events.iter().map(|(name, _)| name.as_str()).collect()
}

async fn a_streamed_answer_ends_in_the_plain_one(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (visitor, program) = (app.anonymous(), app.program());
    let mut events = stream(&visitor, &json!({"message": "halo"})).await;
    let header = |name| events.headers.get(name).map(|value| value.to_str().unwrap());
    assert_eq!(header("content-type"), Some("text/event-stream"));
    assert_eq!(header("cache-control"), Some("no-store, no-transform"));
    assert_eq!(header("x-accel-buffering"), Some("no"));
    assert_eq!(header("content-encoding"), None);
    let (name, session) = events.next().await.unwrap();
    assert_eq!(name, "session");
    let token = ("token".to_owned(), json!({"text": "echo: halo"}));
    assert_eq!(events.next().await.unwrap(), token);
    let (name, message) = events.next().await.unwrap();
    assert_eq!((name.as_str(), events.next().await), ("message", None));

    let plain = ask(&visitor, "halo").await.ok();
    let ids = ["session_id", "conversation_id", "question_id"].map(|id| (id.to_owned(), message[id].clone()));
    assert_eq!(session, Value::from_iter(ids));
    for (field, streamed) in message.as_object().unwrap() {
        match field.as_str() {
            "session_id" | "conversation_id" | "question_id" | "message_ids" => {}
            "data" => assert_eq!(column(&message, "text"), column(&plain, "text")),
            _ => assert_eq!(streamed, &plain[field], "{field}"),
        }
    }
    let fields = |answer: &Value| -> Vec<String> { answer.as_object().unwrap().keys().cloned().collect() };
    assert_eq!(fields(&message), fields(&plain));
    assert_eq!(fields(&message["data"][0]), fields(&plain["data"][0]));

    // The session goes on, and several answers are told apart.
    let body = json!({"message": "say [\"one\", {\"text\":\"two\"}]", "session_id": message["session_id"]});
    let events = stream(&visitor, &body).await.rest().await;
    let text: String = events.iter().filter_map(|(_, data)| data["text"].as_str()).collect();
    assert_eq!(text, "one\n\ntwo");
    let (name, last) = events.last().unwrap();
    assert_eq!(name, "message");
    assert_eq!(column(last, "text"), ["one", "two"]);
    assert_eq!(messages(&program).await["pagination"]["totalItems"], 7);
    app.stop().await;
}

async fn what_fails_before_the_stream_is_plain_json(engine: Engine) {
    let app = TestApp::start(engine).await;
    let visitor = app.anonymous();
    let streaming = visitor.with("accept", "text/event-stream");
    let unknown = json!({"message": "halo", "session_id": "1309c142-3535-45b2-acdf-8bfbe59c3b9a"});
    for body in [json!({}), json!({"message": "halo", "botId": "unknown"}), unknown] {
        let plain = visitor.post("/api/questions", &body).await;
        let refused = streaming.post("/api/questions", &body).await;
        refused.is(plain.status.as_u16(), &plain.text);
        assert_eq!(refused.header("content-type"), plain.header("content-type"));
        assert_ne!(plain.status, 200);
    }
    app.stop().await;
}

async fn a_bot_that_fails_ends_the_stream_with_the_plain_error(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (visitor, program) = (app.anonymous(), app.program());
    let events = stream(&visitor, &json!({"message": "status 500"})).await.rest().await;
    assert_eq!(names(&events), ["session", "error"]);
    let error = json!({
        "status": 502,
        "message": "bot unavailable",
        "error": "The bot answered with an error.",
        "session_id": events[0].1["session_id"],
        "conversation_id": events[0].1["conversation_id"],
        "question_id": events[0].1["question_id"],
    });
    assert_eq!(events[1].1, error);
    let stored = messages(&program).await;
    assert_eq!(column(&stored, "message"), ["status 500"]);
    assert_eq!(stored["data"][0]["failure"]["reason"], "rejected");
    app.stop().await;
}

async fn a_retry_gets_the_first_answer_without_tokens(engine: Engine) {
    let app = TestApp::start(engine).await;
    let visitor = app.anonymous().with("idempotency-key", KEY);
    let body = json!({"message": "halo"});
    let first = stream(&visitor, &body).await.rest().await;
    assert_eq!(names(&first), ["session", "token", "message"]);
    let again = stream(&visitor, &body).await.rest().await;
    assert_eq!(again, [first[0].clone(), first[2].clone()]);
    assert_eq!(visitor.post("/api/questions", &body).await.ok(), first[2].1);
    assert_eq!(app.bot.asked(), 1);
    app.stop().await;
}

async fn nobody_answers_for_a_human(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (visitor, program) = (app.anonymous(), app.program());
    let session = ask(&visitor, "halo").await.ok()["session_id"].clone();
    let id = program.get("/api/conversation").await.ok()["data"][0]["id"].clone();
    program.patch(&format!("/api/conversation/{id}"), &json!({"handler": "human"})).await.ok();
    let events = stream(&visitor, &json!({"message": "anybody?", "session_id": session})).await.rest().await;
    assert_eq!(names(&events), ["session", "message"]);
    assert_eq!(events[0].1["session_id"], session);
    let ids = events[0].1.as_object().unwrap().clone();
    let mut expected =
        json!({"status": 200, "message": "success", "message_ids": [], "data": [], "handler": "human"});
    expected.as_object_mut().unwrap().extend(ids);
    assert_eq!(events[1].1, expected);
    app.stop().await;
}

async fn a_client_that_leaves_stops_nothing(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (visitor, program) = (app.anonymous(), app.program());
    let mut events = stream(&visitor, &json!({"message": "wait 300"})).await;
    assert_eq!(events.next().await.unwrap().0, "session");
    drop(events);
    let stored = async || messages(&program).await["pagination"]["totalItems"] == 2;
    until(PATIENCE, "the answer is stored", stored).await;
    assert_eq!(column(&messages(&program).await, "message"), ["wait 300", "echo: wait 300"]);
    app.stop().await;
}

async fn a_server_that_stops_marks_what_it_cuts_off(engine: Engine) {
    let app = TestApp::with(engine, "server.drain_seconds = 0").await;
    let (visitor, program) = (app.anonymous(), app.program());
    let mut events = stream(&visitor, &json!({"message": "wait 60000"})).await;
    assert_eq!(events.next().await.unwrap().0, "session");
    app.bot.until_asked(1).await;
    let id = messages(&program).await["data"][0]["id"].as_str().unwrap().parse().unwrap();
    let store =
        Store::open(&app.database.url, Duration::ZERO, &Random::System, &Metrics::default()).await.unwrap();
    app.stop().await;
    let question = store.message_get(MessageId(id)).await.unwrap().unwrap().message;
    assert_eq!(question.failure.unwrap().reason, FailureReason::Interrupted);
    assert_eq!(
        store.question_interrupt(Timestamp(1), |_| false).await.unwrap(),
        0,
        "nothing is left for the next start"
    );
}
