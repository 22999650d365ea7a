//! Who types, as both sides of a conversation follow it.

use serde_json::{Value, json};
use wicara_model::{Api, Bots, Role};

use super::Chat;
use super::openapi::Schemas;
use crate::support::{Answer, Client, Engine, Feed, TestApp, on_both_engines};

on_both_engines!(both_sides_are_told_who_types, others_are_not_told_who_types, nothing_is_kept_of_who_types,);

const OPERATORS: &str = "/api/events";
const VISITORS: &str = "/api/questions/{session_id}/events";

async fn opened(client: &Client, path: &str) -> Feed {
    let mut feed = client.follow(path).await;
    assert_eq!(feed.next().await.unwrap()["kind"], "hello");
    feed
}

async fn visitors(app: &TestApp, chat: &Chat) -> Feed {
    opened(&app.anonymous(), &format!("/api/questions/{}/events", chat.session)).await
}

async fn type_as_visitor(app: &TestApp, chat: &Chat) -> Answer {
    let answer = app.anonymous().post(&format!("/api/questions/{}/typing", chat.session), "").await;
    answer.is(
        200,
        &format!(
            r#"{{"status":200,"message":"success","data":{{"conversationId":{},"session_id":"{}"}}}}"#,
            chat.id, chat.session
        ),
    );
    answer
}

async fn type_as_agent(app: &TestApp, chat: &Chat) -> Answer {
    let answer = app.person().post(&format!("/api/conversation/{}/typing", chat.id), "").await;
    answer.is(
        200,
        &format!(r#"{{"status":200,"message":"success","data":{{"conversationId":"{}"}}}}"#, chat.id),
    );
    answer
}

/// The fields of an event but for its time.
fn untimed(event: &Value) -> Value {
    let mut event = event.clone();
    event.as_object_mut().unwrap().remove("at").expect("every event has a time");
    event
}

async fn both_sides_are_told_who_types(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (chat, schemas) = (Chat::on(&app, "echo").await, Schemas::of(&app).await);
    let mut visitor = visitors(&app, &chat).await;
    let mut operator = opened(&app.person(), &format!("{OPERATORS}?conversationId={}", chat.id)).await;
    for by in ["visitor", "agent"] {
        let (answer, path) = match by {
            "visitor" => (type_as_visitor(&app, &chat).await, "/api/questions/{session_id}/typing"),
            _ => (type_as_agent(&app, &chat).await, "/api/conversation/{id}/typing"),
        };
        schemas.assert_describe("post", path, &answer);
        let shown = operator.first("typing").await;
        let id = chat.id.to_string();
        assert_eq!(untimed(&shown), json!({"kind": "typing", "conversationId": id, "by": by}));
        schemas.assert_describe_event(OPERATORS, &shown);
        let shown = visitor.first("typing").await;
        assert_eq!(untimed(&shown), json!({"kind": "typing", "conversationId": chat.id, "by": by}));
        schemas.assert_describe_event(VISITORS, &shown);
    }
    drop((visitor, operator));
    app.stop().await;
}

/// What is typed afterwards in a conversation of their own is the first that they are told.
async fn others_are_not_told_who_types(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (chat, own) = (Chat::on(&app, "echo").await, Chat::on(&app, "b").await);
    let reader = app.program_with(Role::Viewer, Bots::Only(vec!["b".into()]), Api::Conversation).await;
    let path = format!("{OPERATORS}?conversationId={},{}", chat.id, own.id);
    let (mut reader, mut visitor) = (opened(&reader, &path).await, visitors(&app, &own).await);
    type_as_visitor(&app, &chat).await;
    type_as_agent(&app, &chat).await;
    type_as_agent(&app, &own).await;
    assert_eq!(reader.first("typing").await["conversationId"], own.id.to_string());
    assert_eq!(visitor.first("typing").await["conversationId"], own.id);
    drop((reader, visitor));
    app.stop().await;
}

async fn nothing_is_kept_of_who_types(engine: Engine) {
    let app = TestApp::start(engine).await;
    let chat = Chat::on(&app, "echo").await;
    let path = format!("/api/conversation/{}", chat.id);
    let before = app.person().get(&path).await;
    let mut all = opened(&app.person(), OPERATORS).await;
    let start = all.position.clone().unwrap();
    type_as_visitor(&app, &chat).await;
    type_as_agent(&app, &chat).await;
    assert_eq!(app.person().get(&path).await.ok(), before.ok());
    // Neither pages nor streams that follow everything have it.
    app.person().delete(&path).await.ok();
    let streamed = all.up_to("conversation.deleted").await;
    let pages = app.person().with("accept", "application/json");
    let paged = pages.get(&format!("{OPERATORS}?after={start}&conversationId={}", chat.id)).await.ok();
    for event in streamed.iter().chain(paged["data"].as_array().unwrap()) {
        assert_ne!(event["kind"], "typing", "{event}");
    }
    drop(all);
    app.stop().await;
}
