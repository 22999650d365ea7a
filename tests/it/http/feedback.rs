//! What visitors think of answers.

use serde_json::{Value, json};
use wicara_model::{Api, Bots, Role};

use super::questions::ask;
use super::{NOT_FOUND, SESSION_NOT_FOUND, Shape};
use crate::support::{Answer, Client, Engine, TestApp, on_both_engines};

on_both_engines!(feedback_is_kept_shown_and_told, what_is_no_answer_gets_no_feedback);

async fn put(client: &Client, session: &Value, message: &Value, body: Value) -> Answer {
    let path = format!(
        "/api/questions/{}/messages/{}/feedback",
        session.as_str().unwrap(),
        message.to_string().trim_matches('"')
    );
    client.send_json(reqwest::Method::PUT, &path, body.to_string()).await
}

async fn feedback_is_kept_shown_and_told(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (visitor, person) = (app.anonymous(), app.person());
    let asked = ask(&visitor, "halo").await.ok();
    let (session, answer) = (&asked["session_id"], &asked["message_ids"][0]);
    let stored = format!("/api/message/{answer}");
    let before = person.get(&stored).await.ok()["data"].clone();
    assert_eq!(before["feedback"], Value::Null);
    let mut feeds = [
        person.follow("/api/events").await,
        visitor.follow(&format!("/api/questions/{}/events", session.as_str().unwrap())).await,
    ];
    for feed in &mut feeds {
        feed.first("hello").await;
    }
    for (said, value, text) in [
        (json!({"value": 1}), json!(1), Value::Null),
        (json!({"value": -1, "text": " salah 😊\n"}), json!(-1), json!(" salah 😊\n")),
        (json!({"value": -1, "text": ""}), json!(-1), Value::Null),
    ] {
        let kept = put(&visitor, session, answer, said).await.ok();
        assert_eq!((&kept["status"], &kept["message"]), (&json!(200), &json!("success")));
        let feedback = &kept["data"]["feedback"];
        assert_eq!((&feedback["value"], &feedback["text"]), (&value, &text), "{kept}");
        assert!(feedback["at"].is_string(), "{kept}");
        // The same wherever the message is shown, and nothing else of it has changed.
        let mut expected = before.clone();
        expected["feedback"] = feedback.clone();
        assert_eq!(person.get(&stored).await.ok()["data"], expected);
        let thread = visitor.get(&format!("/api/questions/{}", session.as_str().unwrap())).await.ok();
        assert_eq!(thread["data"]["messages"][1], kept["data"]);
        assert_eq!(thread["data"]["messages"][0]["feedback"], Value::Null);
        for (feed, shown) in feeds.iter_mut().zip([&expected, &kept["data"]]) {
            let event = feed.first("message.updated").await;
            assert_eq!(&event["message"], shown);
        }
    }
    // The same said again is no event; the next one is that it was taken back.
    let same = put(&visitor, session, answer, json!({"value": -1})).await.ok();
    assert_eq!(same["data"]["feedback"]["value"], -1);
    let taken_back = put(&visitor, session, answer, json!({"value": 0, "text": "x"})).await.ok();
    assert_eq!(taken_back["data"]["feedback"], Value::Null);
    for feed in &mut feeds {
        assert_eq!(feed.first("message.updated").await["message"]["feedback"], Value::Null);
    }
    assert_eq!(person.get(&stored).await.ok()["data"], before);
    app.stop().await;
}

async fn what_is_no_answer_gets_no_feedback(engine: Engine) {
    let app = TestApp::start(engine).await;
    let visitor = app.anonymous();
    let operator = app.program_with(Role::Agent, Bots::All, Api::Conversation).await;
    let asked = ask(&visitor, "halo").await.ok();
    let (session, question, answer) = (&asked["session_id"], &asked["question_id"], &asked["message_ids"][0]);
    let said = async |role: &str| {
        let message =
            json!({"message": "m", "type": "text", "role": role, "conversationId": asked["conversation_id"]});
        operator.post("/api/message", message).await.ok()["data"]["id"].clone()
    };
    let (agents, note, client) = (said("agent").await, said("note").await, said("client").await);
    put(&visitor, session, &agents, json!({"value": 1})).await.ok();
    let other = ask(&visitor, "halo").await.ok();
    let one = json!({"value": 1});
    for message in [question, &note, &client, &other["message_ids"][0], &json!(999_999), &json!(0)] {
        put(&visitor, session, message, one.clone()).await.is(404, NOT_FOUND);
    }
    let malformed = r#"{"status":400,"message":"Validation failure","error":"invalid id"}"#;
    put(&visitor, session, &json!("x"), one.clone()).await.is(400, malformed);
    let unknown = json!("00000000-0000-4000-8000-000000000000");
    put(&visitor, &unknown, answer, one.clone()).await.is(404, SESSION_NOT_FOUND);
    put(&visitor, &json!("x"), answer, one.clone())
        .await
        .is(400, &Shape::Chatbot.broken(&[("uuid", "session_id")]));
    let range = r#"{"status":400,"message":"Validation failure","errors":[{"rule":"range","field":"value","message":"range validation failed","args":{"start":-1,"stop":1}}]}"#;
    put(&visitor, session, answer, json!({"value": 2})).await.is(400, range);
    for (body, rules) in [
        (json!({}), &[("required", "value")][..]),
        (json!({"value": null}), &[("required", "value")]),
        (json!({"value": "1", "text": 5}), &[("number", "value"), ("string", "text")]),
        (json!({"value": 0.5}), &[("number", "value")]),
        (json!({"value": true}), &[("number", "value")]),
    ] {
        put(&visitor, session, answer, body).await.is(400, &Shape::Chatbot.broken(rules));
    }
    let long = put(&visitor, session, answer, json!({"value": 1, "text": "é".repeat(1001)})).await;
    assert_eq!(long.has_status(400).json()["errors"][0]["args"], json!({"maxLength": 1000}));
    put(&visitor, session, answer, json!({"value": 1, "text": "é".repeat(1000)})).await.ok();
    app.stop().await;
}
