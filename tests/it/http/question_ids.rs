//! What every answer to a question names, whatever becomes of it, and what a program says of a new conversation.

use serde_json::{Value, json};
use wicara_model::{Api, Bots, Role};

use super::Shape;
use super::wire::column;
use crate::support::{Client, Engine, PATIENCE, TestApp, on_both_engines, until};

on_both_engines!(
    every_answer_names_what_is_stored,
    every_failure_names_what_is_stored,
    a_first_question_that_runs_is_named_to_its_retry,
    a_program_says_where_a_conversation_comes_from,
    what_a_program_may_say_is_unknown_from_others,
    what_is_said_of_a_session_that_exists_is_unknown,
);

const KEY: &str = "0123456789abcdef";

/// Looks up what the answer names, and fails unless it is the question `text` with these answers. Returns the
/// conversation's id.
async fn assert_names(app: &TestApp, answer: &Value, text: &str, answers: &[&str]) -> Value {
    let program = app.program();
    let conversation = &answer["conversation_id"];
    assert!(conversation.is_i64() && answer["question_id"].is_i64(), "{answer}");
    let shown = program.get(&format!("/api/conversation/{conversation}")).await.ok();
    assert_eq!(shown["data"]["session_id"], answer["session_id"], "{answer}");
    let question = program.get(&format!("/api/message/{}", answer["question_id"])).await.ok()["data"].clone();
    assert_eq!((&question["message"], &question["role"]), (&json!(text), &json!("client")));
    assert_eq!(question["conversationId"], conversation.to_string());

    let named = answer["message_ids"].as_array().cloned().unwrap_or_default();
    let mut stored = Vec::new();
    for id in &named {
        assert!(id.is_i64(), "{answer}");
        let message = program.get(&format!("/api/message/{id}")).await.ok()["data"].clone();
        assert_eq!(message["replyTo"], question["id"]);
        stored.push(message["message"].as_str().unwrap().to_owned());
    }
    assert_eq!(stored, answers);
    if answer["status"] == 200 {
        assert_eq!(column(answer, "text"), answers);
    }
    conversation.clone()
}

/// Asks with JSON and as a stream, and returns the answer of each, whose stream named the same ids at its start.
async fn ask_both_ways(client: &Client, body: &Value) -> [Value; 2] {
    let plain = client.post("/api/questions", body).await.json();
    let events = client.with("accept", "text/event-stream").post_for_events("/api/questions", body).await;
    let events = events.rest().await;
    let ((first, session), (_, last)) = (&events[0], events.last().unwrap());
    assert_eq!(first, "session");
    let ids = ["session_id", "conversation_id", "question_id"].map(|id| (id.to_owned(), last[id].clone()));
    assert_eq!(*session, Value::from_iter(ids));
    [plain, last.clone()]
}

async fn every_answer_names_what_is_stored(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (visitor, program) = (app.anonymous(), app.program());
    let several = r#"say ["one", {"text":"two"}]"#;
    for client in [&visitor, &program] {
        // Other messages lie between, so that no ids agree by chance.
        client.post("/api/questions", json!({"message": several})).await.ok();
        let mut opened = Vec::new();
        for answer in ask_both_ways(client, &json!({"message": several})).await {
            opened.push(assert_names(&app, &answer, several, &["one", "two"]).await);
            let body = json!({"message": "on", "session_id": answer["session_id"]});
            for on in ask_both_ways(client, &body).await {
                let conversation = assert_names(&app, &on, "on", &["echo: on"]).await;
                assert_eq!(conversation, answer["conversation_id"]);
            }
        }
        assert_ne!(opened[0], opened[1]);

        let session = client.post("/api/questions", json!({"message": "halo"})).await.ok();
        let on = json!({"message": several, "session_id": session["session_id"]});
        for (key, body) in [("first-question-1", json!({"message": several})), ("second-question-", on)] {
            let keyed = client.with("idempotency-key", key);
            let first = keyed.post("/api/questions", &body).await.ok();
            assert_names(&app, &first, several, &["one", "two"]).await;
            assert_eq!(ask_both_ways(&keyed, &body).await, [first.clone(), first]);
        }

        // While a person answers, and in a retry after that.
        let path = format!("/api/conversation/{}", session["conversation_id"]);
        program.patch(&path, json!({"handler": "human"})).await.ok();
        let body = json!({"message": "anybody?", "session_id": session["session_id"]});
        for answer in ask_both_ways(client, &body).await {
            assert_eq!(answer["message_ids"], json!([]));
            assert_names(&app, &answer, "anybody?", &[]).await;
        }
        let keyed = client.with("idempotency-key", "to-a-person");
        let first = keyed.post("/api/questions", &body).await.ok();
        assert_names(&app, &first, "anybody?", &[]).await;
        assert_eq!(ask_both_ways(&keyed, &body).await, [first.clone(), first]);
    }
    app.stop().await;
}

async fn every_failure_names_what_is_stored(engine: Engine) {
    let bots =
        "[[bot]]\nid = \"slow\"\nkind = \"http\"\nurl = \"{bot}\"\npublic = true\ntimeout_seconds = 1\n";
    let app = TestApp::with(engine, bots).await;
    let visitor = app.anonymous();
    for (text, bot, status) in [("status 500", "echo", 502), ("{", "echo", 502), ("wait 60000", "slow", 504)]
    {
        for failed in ask_both_ways(&visitor, &json!({"message": text, "botId": bot})).await {
            assert_eq!(failed["status"], status);
            assert_names(&app, &failed, text, &[]).await;
        }
    }
    let keyed = visitor.with("idempotency-key", KEY);
    let body = json!({"message": "status 500"});
    let first = keyed.post("/api/questions", &body).await.has_status(502).json();
    assert_eq!(
        ask_both_ways(&keyed, &body).await,
        [first.clone(), first],
        "the same question is asked again"
    );
    app.stop().await;
}

async fn a_first_question_that_runs_is_named_to_its_retry(engine: Engine) {
    let app = TestApp::start(engine).await;
    for client in [app.anonymous(), app.program()] {
        let keyed = client.with("idempotency-key", KEY);
        app.bot.hold();
        let asked = app.bot.asked();
        let body = json!({"message": "held 1"});
        let first = {
            let (keyed, body) = (keyed.clone(), body.clone());
            tokio::spawn(async move { keyed.post("/api/questions", &body).await })
        };
        app.bot.until_asked(asked + 1).await;
        let running = keyed.post("/api/questions", &body).await.has_status(409).json();
        assert_names(&app, &running, "held 1", &[]).await;
        // Of another body under the same key nothing is said.
        let other = keyed.post("/api/questions", json!({"message": "held 2"})).await;
        assert_eq!(other.has_status(422).json()["session_id"], Value::Null);
        app.bot.let_go();
        until(PATIENCE, "the first is answered", async || first.is_finished()).await;
        let first = first.await.unwrap().ok();
        for id in ["session_id", "conversation_id", "question_id"] {
            assert_eq!(running[id], first[id]);
        }

        // Who sends a session knows it.
        app.bot.hold();
        let asked = app.bot.asked();
        let body = json!({"message": "held 3", "session_id": first["session_id"]});
        let second = {
            let (keyed, body) = (client.with("idempotency-key", "3"), body.clone());
            tokio::spawn(async move { keyed.post("/api/questions", &body).await })
        };
        app.bot.until_asked(asked + 1).await;
        client.with("idempotency-key", "3").post("/api/questions", &body).await.is(
            409,
            r#"{"status":409,"message":"still running","error":"The first request with this Idempotency-Key is still being answered."}"#,
        );
        app.bot.let_go();
        second.await.unwrap().ok();
    }
    app.stop().await;
}

/// What a conversation says of where it comes from: channel, user, room.
async fn described(app: &TestApp, answer: &Value) -> [Value; 3] {
    let path = format!("/api/conversation/{}", answer["conversation_id"]);
    let shown = app.person().get(&path).await.ok()["data"].clone();
    ["integrationType", "userId", "room"].map(|name| shown[name].clone())
}

async fn a_program_says_where_a_conversation_comes_from(engine: Engine) {
    let app = TestApp::start(engine).await;
    let viewer = app.program_with(Role::Viewer, Bots::All, Api::Conversation).await;
    for client in [app.program(), viewer] {
        let all =
            json!({"message": "halo", "integrationType": "telegram", "userId": "tg-7", "room": "Bu Siti"});
        for answer in ask_both_ways(&client, &all).await {
            assert_eq!(described(&app, &answer).await, ["telegram", "tg-7", "Bu Siti"].map(Value::from));
        }
        let some = json!({"message": "halo", "integrationType": "whatsapp", "userId": " ", "room": null});
        let answer = client.post("/api/questions", some).await.ok();
        let room = json!(format!("whatsapp-{}", answer["conversation_id"]));
        assert_eq!(described(&app, &answer).await, [json!("whatsapp"), Value::Null, room]);
        // A retry opens nothing, and gets what the first one opened.
        let keyed = client.with("idempotency-key", "1");
        let first = keyed.post("/api/questions", &all).await.ok();
        assert_eq!(keyed.post("/api/questions", &all).await.ok(), first);
        assert_eq!(described(&app, &first).await, ["telegram", "tg-7", "Bu Siti"].map(Value::from));
    }
    let wrong =
        json!({"message": "", "integrationType": "a".repeat(65), "userId": 5, "room": "a".repeat(256)});
    let expected = [
        ("required", "message"),
        ("maxLength", "integrationType"),
        ("string", "userId"),
        ("maxLength", "room"),
    ];
    app.program().post("/api/questions", wrong).await.is(400, &Shape::Chatbot.broken(&expected));
    app.stop().await;
}

/// Also where it is wrong: an unknown field breaks no rule.
async fn what_a_program_may_say_is_unknown_from_others(engine: Engine) {
    let app = TestApp::start(engine).await;
    for client in [app.anonymous(), app.person()] {
        for (channel, user, room) in [
            (json!("telegram"), json!("tg-7"), json!("Bu Siti")),
            (json!(5), json!({}), json!("a".repeat(256))),
        ] {
            let body = json!({"message": "halo", "integrationType": channel, "userId": user, "room": room});
            let answer = client.post("/api/questions", body).await.ok();
            let room = json!(format!("website-{}", answer["conversation_id"]));
            assert_eq!(described(&app, &answer).await, [json!("website"), Value::Null, room]);
        }
    }
    app.stop().await;
}

async fn what_is_said_of_a_session_that_exists_is_unknown(engine: Engine) {
    let app = TestApp::start(engine).await;
    let program = app.program();
    let opened =
        json!({"message": "halo", "integrationType": "telegram", "userId": "tg-7", "room": "Bu Siti"});
    let opened = program.post("/api/questions", opened).await.ok();
    for (channel, user, room) in
        [(json!("whatsapp"), json!("wa-8"), json!("Pak Budi")), (json!(5), json!({}), json!("a".repeat(256)))]
    {
        let body = json!({
            "message": "on", "session_id": opened["session_id"],
            "integrationType": channel, "userId": user, "room": room
        });
        for answer in ask_both_ways(&program, &body).await {
            assert_eq!(answer["conversation_id"], opened["conversation_id"]);
            assert_eq!(described(&app, &answer).await, ["telegram", "tg-7", "Bu Siti"].map(Value::from));
        }
    }
    app.stop().await;
}
