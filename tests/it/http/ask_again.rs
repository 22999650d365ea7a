//! Stored questions without an answer that an operator has the bot asked again.

use serde_json::{Value, json};
use wicara_model::{Api, Bots, Role};

use super::questions::ask;
use super::wire::column;
use super::{FORBIDDEN, MESSAGE_ID_INVALID};
use crate::support::{Client, Engine, PATIENCE, TestApp, on_both_engines, until};

on_both_engines!(a_failed_question_is_asked_again, of_many_askings_one_counts);

fn conflict(error: &str) -> String {
    format!(r#"{{"status":409,"message":"conflict","error":"{error}"}}"#)
}

async fn operator(app: &TestApp) -> Client {
    app.program_with(Role::Agent, Bots::All, Api::Conversation).await
}

async fn messages(client: &Client, conversation: &Value) -> Value {
    client.get(&format!("/api/message?conversationId={conversation}")).await.ok()
}

async fn a_failed_question_is_asked_again(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (visitor, operator) = (app.anonymous(), operator(&app).await);
    app.bot.hold();
    let failed = ask(&visitor, "status 500").await;
    let failed = failed.has_status(502).json();
    let (conversation, question) = (&failed["conversation_id"], &failed["question_id"]);
    let path = format!("/api/message/{question}/ask");
    // What it is asked has to lead to an answer this time.
    operator.patch(&format!("/api/message/{question}"), json!({"message": "held 1"})).await.ok();
    let unanswered = "/api/conversation/counts";
    assert_eq!(operator.get(unanswered).await.ok()["data"]["failed"], 1);

    let mut feed = operator.follow("/api/events").await;
    feed.first("hello").await;
    let asked = app.bot.asked();
    let begun = operator.post(&path, "").await.ok();
    assert_eq!((&begun["status"], &begun["message"]), (&json!(200), &json!("success")));
    assert_eq!(
        (&begun["data"]["id"], &begun["data"]["failure"]),
        (&json!(question.to_string()), &Value::Null)
    );
    let updated = feed.first("message.updated").await;
    assert_eq!(updated["message"], begun["data"]);
    app.bot.until_asked(asked + 1).await;
    operator.post(&path, "").await.is(409, &conflict("answering"));
    assert_eq!(operator.get(unanswered).await.ok()["data"]["unanswered"], 0, "a bot is answering");

    app.bot.let_go();
    let answer = feed.first("message.created").await["message"].clone();
    assert_eq!(
        (&answer["replyTo"], &answer["message"]),
        (&json!(question.to_string()), &json!("echo: held 1"))
    );
    operator.post(&path, "").await.is(409, &conflict("answered"));
    assert_eq!(app.bot.asked(), asked + 1);
    let stored = messages(&operator, conversation).await;
    assert_eq!(column(&stored, "role"), ["client", "bot"]);

    // What was only stored is asked too; what is no question is not.
    let message =
        |role: &str| json!({"message": "halo", "type": "text", "role": role, "conversationId": conversation});
    let stored = operator.post("/api/message", message("client")).await.ok()["data"]["id"].clone();
    let path = format!("/api/message/{}/ask", stored.as_str().unwrap());
    let person = app.person();
    let conversation_path = format!("/api/conversation/{conversation}");
    person.patch(&conversation_path, json!({"handler": "human"})).await.ok();
    operator.post(&path, "").await.is(409, &conflict("human"));
    person.patch(&conversation_path, json!({"handler": "bot"})).await.ok();
    operator.post(&path, "").await.ok();
    until(PATIENCE, "the answer is stored", async || {
        column(&messages(&operator, conversation).await, "role").len() == 4
    })
    .await;
    for role in ["agent", "bot", "note"] {
        let other = operator.post("/api/message", message(role)).await.ok()["data"]["id"].clone();
        let path = format!("/api/message/{}/ask", other.as_str().unwrap());
        operator.post(&path, "").await.is(400, MESSAGE_ID_INVALID);
    }
    let viewer = app.program_with(Role::Viewer, Bots::All, Api::Conversation).await;
    viewer.post(&path, "").await.is(403, FORBIDDEN);
    app.stop().await;
}

async fn of_many_askings_one_counts(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (visitor, operator) = (app.anonymous(), operator(&app).await);
    let failed = ask(&visitor, "status 500").await.has_status(502).json();
    let question = &failed["question_id"];
    operator.patch(&format!("/api/message/{question}"), json!({"message": "held 1"})).await.ok();
    app.bot.hold();
    let asked = app.bot.asked();
    let path = format!("/api/message/{question}/ask");
    let askings = futures_util::future::join_all((0..20).map(|_| operator.post(&path, ""))).await;
    let mut statuses: Vec<_> = askings.iter().map(|answer| answer.status.as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!((statuses[0], &statuses[1..]), (200, &[409; 19][..]));
    app.bot.let_go();
    until(PATIENCE, "the answer is stored", async || {
        column(&messages(&operator, &failed["conversation_id"]).await, "role") == ["client", "bot"]
    })
    .await;
    assert_eq!(app.bot.asked(), asked + 1);

    // One that fails again says so.
    let failed = ask(&visitor, "status 500").await.has_status(502).json();
    let question = &failed["question_id"];
    let first = operator.get(&format!("/api/message/{question}")).await.ok()["data"]["failure"]["at"].clone();
    operator.post(&format!("/api/message/{question}/ask"), "").await.ok();
    until(PATIENCE, "the failure is stored", async || {
        let stored = operator.get(&format!("/api/message/{question}")).await.ok();
        let failure = &stored["data"]["failure"];
        failure["reason"] == "rejected" && failure["at"] != first
    })
    .await;
    app.stop().await;
}
