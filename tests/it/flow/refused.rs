//! A database that is there and takes no writes, for whatever reason it gives.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use crate::store::create;
use crate::support::database::{accept_writes, connect, refuse_writes};
use crate::support::{Answer, Engine, TestApp, side_by_side, until, within};

/// A server that became a replica, a disk that fails or is full, a lock, a fault of the database, its end, a plan that is
/// out of date, a trigger, a right that was taken away, ids that are used up until a vacuum, a code that nobody knows.
const REASONS: [&str; 12] = [
    "25006", "58030", "58000", "55P03", "XX000", "57P01", "0A000", "P0001", "42501", "53100", "54000",
    "ZZ123",
];
const QUESTIONS: usize = 3;
const SOON: Duration = Duration::from_secs(15);

#[track_caller]
fn assert_refused(answer: &Answer) {
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    assert_eq!(answer.json()["error"], "The server cannot answer just now. Nothing was stored.");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_outlast_writes_that_are_refused_for_whatever_reason() {
    side_by_side(REASONS.map(|reason| (reason, answers_outlast(reason)))).await;
}

async fn answers_outlast(reason: &str) {
    let app = TestApp::start(Engine::Postgres).await;
    let (program, visitor) = (app.program(), app.anonymous());
    let conversation = create(app.store(), "echo", &[]).await.conversation.id;
    let note = json!({
        "message": "a note", "type": "text", "role": "agent", "conversationId": conversation.0.to_string()
    });
    let asking: Vec<_> = (0..QUESTIONS)
        .map(|number| {
            let visitor = visitor.clone();
            let question = json!({"message": format!("held {number}")});
            tokio::spawn(async move { visitor.post("/api/questions", &question).await })
        })
        .collect();
    let failing = tokio::spawn({
        let visitor = visitor.clone();
        async move { visitor.post("/api/questions", &json!({"message": "failing 1"})).await }
    });
    app.bot.until_asked(QUESTIONS + 1).await;

    refuse_writes(&app.database.url, reason).await;
    for round in 0..10 {
        assert_refused(&program.post("/api/message", &note).await);
        let ready = visitor.get("/readyz").await;
        assert_eq!(ready.status, 503, "the last write was refused");
        assert!(ready.header("retry-after").is_some());
        assert_eq!(program.get("/api/message").await.ok()["pagination"]["totalItems"], QUESTIONS + 1);
        if round == 1 {
            app.bot.let_go();
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    accept_writes(&app.database.url).await;

    for (number, asking) in asking.into_iter().enumerate() {
        let answer = within(SOON, "a question is answered", asking).await.unwrap().ok();
        assert_eq!(answer["data"][0]["text"], format!("echo: held {number}"));
    }
    let failed = within(SOON, "a failure is told", failing).await.unwrap();
    assert_eq!(failed.status, 502, "{}", failed.text);
    until(SOON, "the server is ready", async || visitor.get("/readyz").await.status == 200).await;
    assert_eq!(program.post("/api/message", &note).await.status, 200);
    let listed = program.get("/api/message?limit=100").await.ok();
    assert_eq!(listed["pagination"]["totalItems"], 2 * QUESTIONS + 2);
    let messages = listed["data"].as_array().unwrap();
    for question in messages.iter().filter(|message| message["role"] == "client") {
        if question["message"] == "failing 1" {
            assert_eq!(question["failure"]["reason"], "rejected");
            continue;
        }
        let answers = messages.iter().filter(|message| message["replyTo"] == question["id"]);
        let texts: Vec<_> = answers.map(|answer| answer["message"].as_str().unwrap()).collect();
        assert_eq!(texts, [format!("echo: {}", question["message"].as_str().unwrap())], "stored once");
        assert_eq!(question["failure"], json!(null));
    }
    app.stop().await;
}

/// A trigger of the operator's refuses one conversation, with a code of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_of_one_conversation_harms_no_other() {
    let app = TestApp::start(Engine::Postgres).await;
    let program = app.program();
    let [refused, free] = [create(app.store(), "echo", &[]).await, create(app.store(), "echo", &[]).await];
    let [refused, free] = [refused.conversation.id.0, free.conversation.id.0];
    let trigger = format!(
        "CREATE FUNCTION refuse_one() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             RAISE EXCEPTION 'not here' USING ERRCODE = '45000'; END $$; \
         CREATE TRIGGER refuse_one BEFORE INSERT ON messages FOR EACH ROW \
             WHEN (NEW.conversation_id = {refused}) EXECUTE FUNCTION refuse_one()"
    );
    connect(&app.database.url).await.batch_execute(&trigger).await.unwrap();
    let write = async |number: i64| {
        let conversation = if number % 8 == 0 { refused } else { free };
        let message = json!({
            "message": number.to_string(), "type": "text", "role": "agent",
            "conversationId": conversation.to_string()
        });
        (conversation, program.post("/api/message", &message).await)
    };
    // At once, so that they share batches.
    for (conversation, answer) in join_all((0..64).map(write)).await {
        if conversation == free {
            answer.ok();
        } else {
            assert_refused(&answer);
        }
    }
    app.stop().await;
}
