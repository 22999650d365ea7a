//! `Idempotency-Key`, as clients use it.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use wicara_metrics::Metrics;
use wicara_model::{Api, Bots, Role, Timestamp};
use wicara_platform::Random;
use wicara_store::Store;
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::questions::messages;
use super::wire::{column, id};
use super::{CONVERSATION_ID_INVALID, Shape};
use crate::store::execute;
use crate::support::{Answer, Client, Engine, PATIENCE, TestApp, manual_clock, on_both_engines, until};

on_both_engines!(
    fifty_equal_questions_are_one,
    fifty_equal_questions_in_a_session_are_one,
    fifty_equal_conversations_are_one,
    fifty_equal_messages_are_one,
    another_body_is_refused,
    each_caller_has_its_own_keys,
    a_visitors_first_key_is_hard_to_guess,
    a_bad_key_is_refused,
    a_failed_question_is_asked_again,
    a_retry_gets_the_answers_as_they_are_stored_now,
    a_question_to_an_operator_is_stored_once,
    a_failed_question_that_was_handed_over_is_done,
    where_nothing_is_created_a_key_counts_for_nothing,
    a_key_is_remembered_for_a_day,
);

const KEY: &str = "0123456789abcdef";

async fn post(client: &Client, key: &str, path: &str, body: &Value) -> Answer {
    client.with("idempotency-key", key).post(path, body).await
}

async fn fifty(client: &Client, path: &str, body: &Value) -> Vec<Answer> {
    join_all((0..50).map(|_| post(client, KEY, path, body))).await
}

const RUNNING: &str = r#"{"status":409,"message":"still running","error":"The first request with this Idempotency-Key is still being answered."}"#;
const REUSED: &str = r#"{"status":422,"message":"idempotency key reused","error":"This Idempotency-Key was used with another body before."}"#;

/// Fails unless it says that the first request still runs. What it names of a first question is for
/// [`super::question_ids`] to look at.
#[track_caller]
fn assert_running(answer: &Answer) {
    let mut said = answer.has_status(409).json();
    for id in ["session_id", "conversation_id", "question_id"] {
        said.as_object_mut().unwrap().remove(id);
    }
    assert_eq!(said, serde_json::from_str::<Value>(RUNNING).unwrap(), "{}", answer.request);
}

/// Fails unless all successes among the answers, and there is one, are the same byte for byte, and all others say
/// that the first still runs; returns the success.
#[track_caller]
fn assert_one(answers: &[Answer]) -> String {
    let mut found = HashSet::new();
    for answer in answers {
        if answer.status == 409 {
            assert_running(answer);
            assert!(answer.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1);
        } else {
            answer.ok();
            found.insert(answer.text.clone());
        }
    }
    assert_eq!(found.len(), 1, "{found:?}");
    found.into_iter().next().unwrap()
}

async fn total(program: &Client, path: &str) -> Value {
    let list = program.get(path).await.ok();
    if list["meta"].is_object() {
        list["meta"]["total"].clone()
    } else {
        list["pagination"]["totalItems"].clone()
    }
}

async fn fifty_equal_questions_are_one(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (visitor, program) = (app.anonymous(), app.program());
    let body = json!({"message": "wait 300"});
    let first = assert_one(&fifty(&visitor, "/api/questions", &body).await);
    assert_eq!(app.bot.asked(), 1);
    assert_eq!(assert_one(&fifty(&visitor, "/api/questions", &body).await), first);
    assert_eq!(app.bot.asked(), 1);
    assert_eq!(column(&messages(&program).await, "message"), ["wait 300", "echo: wait 300"]);
    assert_eq!(total(&program, "/api/conversation").await, 1);
    app.stop().await;
}

async fn fifty_equal_questions_in_a_session_are_one(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (visitor, program) = (app.anonymous(), app.program());
    let opened = visitor.post("/api/questions", &json!({"message": "halo"})).await.ok();
    for client in [&visitor, &program] {
        let (asked, stored) = (app.bot.asked(), total(&program, "/api/message").await.as_i64().unwrap());
        let body = json!({"message": "wait 300", "session_id": opened["session_id"]});
        let first = assert_one(&fifty(client, "/api/questions", &body).await);
        assert_eq!(post(client, KEY, "/api/questions", &body).await.text, first);
        assert_eq!(app.bot.asked(), asked + 1);
        assert_eq!(total(&program, "/api/message").await, stored + 2);
    }
    assert_eq!(total(&program, "/api/conversation").await, 1);
    app.stop().await;
}

async fn fifty_equal_conversations_are_one(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (person, program) = (app.person(), app.program());
    let body = json!({"room": "r", "integrationType": "website"});
    let first = assert_one(&fifty(&person, "/api/conversation", &body).await);
    assert_eq!(
        assert_one(&fifty(&program, "/api/conversation", &body).await).len(),
        first.len() + 4,
        "`key-`"
    );
    assert_eq!(total(&person, "/api/conversation").await, 2);
    // The answer shows it as it is now.
    let first: Value = serde_json::from_str(&first).unwrap();
    let path = format!("/api/conversation/{}", id(&first));
    person.patch(&path, &json!({"room": "other"})).await.ok();
    let message =
        json!({"message": "hi", "type": "text", "role": "client", "conversationId": first["data"]["id"]});
    person.post("/api/message", &message).await.ok();
    let again = post(&person, KEY, "/api/conversation", &body).await.ok();
    assert_eq!(again["message"], first["message"]);
    assert_eq!(again["data"], person.get(&path).await.ok()["data"]);
    assert_eq!(
        (&again["data"]["room"], &again["data"]["lastMessage"]["message"]),
        (&json!("other"), &json!("hi"))
    );
    // A deleted conversation is given to nobody again, and a retry does not bring it back.
    person.delete(&path).await.ok();
    let gone = post(&person, KEY, "/api/conversation", &body).await;
    gone.is(400, CONVERSATION_ID_INVALID);
    assert_eq!(total(&person, "/api/conversation").await, 1);
    app.stop().await;
}

async fn fifty_equal_messages_are_one(engine: Engine) {
    let app = TestApp::start(engine).await;
    let program = app.program();
    let conversation = json!({"room": "r", "integrationType": "website"});
    let conversation = id(&program.post("/api/conversation", &conversation).await.ok());
    let body = json!({"message": "hi", "type": "text", "role": "client", "conversationId": conversation});
    let first = assert_one(&fifty(&program, "/api/message", &body).await);
    assert_eq!(column(&messages(&program).await, "message"), ["hi"]);
    let path = format!("/api/message/{}", id(&serde_json::from_str(&first).unwrap()));
    program.patch(&path, &json!({"message": "ho"})).await.ok();
    let again = post(&program, KEY, "/api/message", &body).await.ok();
    assert_eq!(again["data"], program.get(&path).await.ok()["data"], "as it is now");
    assert_eq!(again["data"]["message"], "ho");
    program.delete(&path).await.ok();
    let gone = post(&program, KEY, "/api/message", &body).await;
    gone.is(400, CONVERSATION_ID_INVALID);
    assert_eq!(total(&program, "/api/message").await, 0);
    app.stop().await;
}

async fn another_body_is_refused(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (visitor, program) = (app.anonymous(), app.program());
    let room = json!({"room": "r", "integrationType": "website"});
    let conversation = id(&post(&program, KEY, "/api/conversation", &room).await.ok());
    let message = json!({"message": "hi", "type": "text", "role": "client", "conversationId": conversation});
    post(&program, KEY, "/api/message", &message).await.ok();
    let question = json!({"message": "wait 300"});
    let asking = {
        let (visitor, question) = (visitor.clone(), question.clone());
        tokio::spawn(async move { post(&visitor, KEY, "/api/questions", &question).await })
    };
    app.bot.until_asked(1).await;
    // Refused while the first runs as well as afterwards.
    for _ in 0..2 {
        for (client, path, body) in [
            (&program, "/api/conversation", &room),
            (&program, "/api/message", &message),
            (&visitor, "/api/questions", &question),
        ] {
            let client = client.with("idempotency-key", KEY);
            // The bytes count, not what they mean.
            let spaced = client.post(path, format!(" {body}")).await;
            spaced.is(422, REUSED);
            assert!(spaced.header("retry-after").is_none());
        }
        until(PATIENCE, "the first is answered", async || asking.is_finished()).await;
    }
    asking.await.unwrap().has_status(200);
    assert_eq!(total(&program, "/api/conversation").await, 2);
    assert_eq!(total(&program, "/api/message").await, 3);
    app.stop().await;
}

async fn each_caller_has_its_own_keys(engine: Engine) {
    let app = TestApp::start(engine).await;
    let visitor = app.anonymous();
    let another = app.program_with(Role::Agent, Bots::All, Api::Chatbot).await;
    let programs = [app.program(), another];
    let room = json!({"room": "r", "integrationType": "website"});
    let question = json!({"message": "halo"});
    let (mut conversations, mut sessions) = (HashSet::new(), HashSet::new());
    for client in [&programs[0], &programs[1], &app.person()] {
        conversations.insert(id(&post(client, KEY, "/api/conversation", &room).await.ok()));
    }
    assert_eq!(conversations.len(), 3);
    for client in [&programs[0], &programs[1], &visitor] {
        let answer = post(client, KEY, "/api/questions", &question).await.ok();
        sessions.insert(answer["session_id"].as_str().unwrap().to_owned());
    }
    assert_eq!(sessions.len(), 3);

    // A visitor's later keys are its session's, and those of a first question are others.
    let asked = app.bot.asked();
    for session in &sessions {
        let body = json!({"message": "halo", "session_id": session});
        let first = post(&visitor, "1", "/api/questions", &body).await;
        assert_eq!(first.ok()["session_id"], session.as_str());
        assert_eq!(post(&visitor, "1", "/api/questions", &body).await.text, first.text);
        post(&visitor, KEY, "/api/questions", &body).await.ok();
    }
    assert_eq!(app.bot.asked(), asked + 6);
    app.stop().await;
}

async fn a_visitors_first_key_is_hard_to_guess(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (visitor, program) = (app.anonymous(), app.program());
    let body = json!({"message": "halo"});
    let short = Shape::Chatbot.broken(&[("minLength", "Idempotency-Key")]);
    post(&visitor, &KEY[1..], "/api/questions", &body).await.is(400, &short);
    assert_eq!(app.bot.asked(), 0);
    post(&visitor, KEY, "/api/questions", &body).await.ok();
    post(&program, "1", "/api/questions", &body).await.ok();
    assert_eq!(total(&program, "/api/conversation").await, 2);
    app.stop().await;
}

async fn a_bad_key_is_refused(engine: Engine) {
    let app = TestApp::start(engine).await;
    let program = app.program();
    let room = json!({"room": "r", "integrationType": "website"});
    let long = "k".repeat(256);
    for (key, rule) in [("", "string"), ("a b", "string"), (long.as_str(), "maxLength")] {
        for (path, body) in
            [("/api/conversation", &room), ("/api/message", &json!({})), ("/api/questions", &json!({}))]
        {
            let refused = post(&program, key, path, body).await;
            refused.has_status(400);
            let errors = refused.json()["errors"].as_array().unwrap().clone();
            let message = format!("{rule} validation failed");
            let mut expected = json!({"rule": rule, "field": "Idempotency-Key", "message": message});
            if rule == "maxLength" {
                expected["args"] = json!({"maxLength": 255});
            }
            assert_eq!(errors.last(), Some(&expected), "{path}");
        }
    }
    let twice = program.with("idempotency-key", "1").with("idempotency-key", "2");
    twice.post("/api/conversation", &room).await.has_status(400);
    assert_eq!(total(&program, "/api/conversation").await, 0);

    post(&program, &long[1..], "/api/conversation", &room).await.ok();
    // A key of a request that was refused is free.
    post(&program, KEY, "/api/conversation", &json!({})).await.has_status(400);
    post(&program, KEY, "/api/conversation", &room).await.ok();
    assert_eq!(total(&program, "/api/conversation").await, 2);
    app.stop().await;
}

async fn a_failed_question_is_asked_again(engine: Engine) {
    let bot = MockServer::start().await;
    let more = format!("[[bot]]\nid = \"shaky\"\nkind = \"http\"\nurl = \"{}\"\npublic = true\n", bot.uri());
    let app = TestApp::with(engine, &more).await;
    let (visitor, program) = (app.anonymous(), app.program());
    let failing = Mock::given(method("POST")).respond_with(ResponseTemplate::new(500)).expect(2);
    let failing = failing.mount_as_scoped(&bot).await;
    let body = json!({"message": "halo", "botId": "shaky"});
    let mut sessions = HashSet::new();
    for _ in 0..2 {
        let failed = post(&visitor, KEY, "/api/questions", &body).await;
        failed.has_status(502);
        sessions.insert(failed.json()["session_id"].as_str().unwrap().to_owned());
        let stored = messages(&program).await;
        assert_eq!(column(&stored, "message"), ["halo"]);
        assert_eq!(stored["data"][0]["failure"]["reason"], "rejected");
    }
    drop(failing);
    let said = json!({"data": {"message": "at last"}});
    let answering = Mock::given(method("POST")).respond_with(ResponseTemplate::new(200).set_body_json(said));
    answering.expect(1).mount(&bot).await;

    let answer = post(&visitor, KEY, "/api/questions", &body).await;
    assert_eq!(column(&answer.ok(), "text"), ["at last"]);
    sessions.insert(answer.json()["session_id"].as_str().unwrap().to_owned());
    assert_eq!(sessions.len(), 1);
    assert_eq!(post(&visitor, KEY, "/api/questions", &body).await.text, answer.text);
    let stored = messages(&program).await;
    assert_eq!(column(&stored, "message"), ["halo", "at last"]);
    assert_eq!(stored["data"][1]["replyTo"], stored["data"][0]["id"]);
    assert_eq!(stored["data"][0]["failure"], Value::Null, "it is answered now");
    bot.verify().await;
    app.stop().await;
}

async fn a_retry_gets_the_answers_as_they_are_stored_now(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (visitor, program) = (app.anonymous(), app.program());
    let body = json!({"message": r#"say [{"text":"a", "z" : 1.0},"b"]"#});
    let first = post(&visitor, KEY, "/api/questions", &body).await;
    assert_eq!(column(&first.ok(), "text"), ["a", "b"]);
    let stored = messages(&program).await;
    let path = |index: usize| format!("/api/message/{}", stored["data"][index]["id"].as_str().unwrap());
    program.patch(&path(2), &json!({"message": "b, edited"})).await.ok();
    program.delete(&path(1)).await.ok();
    let again = post(&visitor, KEY, "/api/questions", &body).await.ok();
    assert_eq!(column(&again, "text"), ["b, edited"]);
    assert_eq!(again["session_id"], first.ok()["session_id"]);
    program.delete(&path(0)).await.ok();
    post(&visitor, KEY, "/api/questions", &body).await.has_status(404);
    assert_eq!(total(&program, "/api/message").await, 1);
    let conversation = stored["data"][0]["conversationId"].as_str().unwrap();
    program.delete(&format!("/api/conversation/{conversation}")).await.ok();
    post(&visitor, KEY, "/api/questions", &body).await.has_status(404);
    assert_eq!(total(&program, "/api/message").await, 0);
    assert_eq!(app.bot.asked(), 1);
    app.stop().await;
}

async fn a_failed_question_that_was_handed_over_is_done(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (visitor, program) = (app.anonymous(), app.program());
    let body = json!({"message": "status 500"});
    post(&visitor, KEY, "/api/questions", &body).await.has_status(502);
    let chat = program.get("/api/conversation").await.ok()["data"][0]["id"].clone();
    program.patch(&format!("/api/conversation/{chat}"), &json!({"handler": "human"})).await.ok();
    for _ in 0..2 {
        let answer = post(&visitor, KEY, "/api/questions", &body).await.ok();
        assert_eq!((&answer["data"], &answer["handler"]), (&json!([]), &json!("human")));
    }
    // Nothing is left that a later start would call interrupted.
    let other =
        Store::open(&app.database.url, Duration::ZERO, &Random::System, &Metrics::default()).await.unwrap();
    app.stop().await;
    assert_eq!(other.question_interrupt(Timestamp(1), |_| false).await.unwrap(), 0);
}

async fn a_question_to_an_operator_is_stored_once(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (visitor, program) = (app.anonymous(), app.program());
    let session = visitor.post("/api/questions", &json!({"message": "one"})).await.ok()["session_id"].clone();
    let chat = program.get("/api/conversation").await.ok()["data"][0]["id"].clone();
    let path = format!("/api/conversation/{chat}");
    program.patch(&path, &json!({"handler": "human"})).await.ok();
    let body = json!({"message": "two", "session_id": session});
    let first = assert_one(&fifty(&visitor, "/api/questions", &body).await);
    assert!(first.ends_with(r#""data":[],"handler":"human"}"#), "{first}");
    program.patch(&path, &json!({"handler": "bot"})).await.ok();
    assert_eq!(post(&visitor, KEY, "/api/questions", &body).await.text, first);
    assert_eq!(column(&messages(&program).await, "message"), ["one", "echo: one", "two"]);
    assert_eq!(app.bot.asked(), 1);
    app.stop().await;
}

async fn where_nothing_is_created_a_key_counts_for_nothing(engine: Engine) {
    let app = TestApp::start(engine).await;
    let program = app.program().with("idempotency-key", KEY);
    let conversation =
        id(&program.post("/api/conversation", &json!({"room": "r", "integrationType": "w"})).await.ok());
    let new = json!({"message": "hi", "type": "text", "role": "client", "conversationId": conversation});
    let message = id(&program.post("/api/message", &new).await.ok());
    for text in ["one", "two"] {
        let room =
            program.patch(&format!("/api/conversation/{conversation}"), &json!({"room": text})).await.ok();
        assert_eq!(room["data"]["room"], text);
        let changed = program.patch(&format!("/api/message/{message}"), &json!({"message": text})).await.ok();
        assert_eq!(changed["data"]["message"], text);
        let shown = program.get(&format!("/api/message/{message}")).await.ok();
        assert_eq!(shown["data"]["message"], text);
    }
    let bad = app.program().with("idempotency-key", "");
    bad.patch(&format!("/api/message/{message}"), &json!({"message": "three"})).await.has_status(200);
    bad.get("/api/message").await.has_status(200);
    program.delete(&format!("/api/message/{message}")).await.has_status(200);
    program.delete(&format!("/api/message/{message}")).await.has_status(400);
    app.stop().await;
}

async fn a_key_is_remembered_for_a_day(engine: Engine) {
    const DAY: i64 = 24 * 60 * 60 * 1000;
    // The database's clock counts, which the tests cannot set: the keys are made older.
    let pass = async |app: &TestApp, millis: i64| {
        let sql = format!("UPDATE idempotency SET created_at = created_at - {millis}");
        execute(&app.database, &sql).await;
    };
    let (clock, _) = manual_clock(1_752_470_016_351);
    let app = TestApp::at(engine, "", clock).await;
    let program = app.program();
    let room = json!({"room": "r", "integrationType": "website"});
    let first = post(&program, KEY, "/api/conversation", &room).await;
    assert_eq!(first.ok()["data"]["createdAt"], "2025-07-14T05:13:36.351+00:00");
    let asked = post(&program, KEY, "/api/questions", &json!({"message": "halo"})).await;
    pass(&app, DAY - 60_000).await;
    assert_eq!(post(&program, KEY, "/api/conversation", &room).await.text, first.text);
    assert_eq!(post(&program, KEY, "/api/questions", &json!({"message": "halo"})).await.text, asked.text);
    pass(&app, 60_001).await;
    let second = post(&program, KEY, "/api/conversation", &room).await;
    assert_ne!(id(&second.ok()), id(&first.ok()));
    assert_ne!(post(&program, KEY, "/api/questions", &json!({"message": "halo"})).await.text, asked.text);
    assert_eq!(app.bot.asked(), 2);
    app.stop().await;
}
