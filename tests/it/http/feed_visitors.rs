//! A visitor's feed: its own conversation, without what is among operators.

use serde_json::{Value, json};

use super::openapi::Schemas;
use super::questions::ask;
use super::{Chat, SESSION_NOT_FOUND};
use crate::support::{Client, Engine, Feed, Model, TestApp, on_both_engines};

on_both_engines!(
    a_visitor_sees_its_own_conversation_alone,
    notes_never_reach_a_visitor,
    a_visitor_follows_its_answer,
    a_visitors_stream_ends_with_its_conversation,
    pages_of_any_origin_may_follow,
);

const PATH: &str = "/api/questions/{session_id}/events";

fn path(session: &str) -> String {
    format!("/api/questions/{session}/events")
}

async fn opened(client: &Client, path: &str) -> Feed {
    let mut feed = client.follow(path).await;
    assert_eq!(feed.next().await.unwrap()["kind"], "hello");
    feed
}

async fn page(client: &Client, session: &str, query: &str) -> Value {
    client.with("accept", "application/json").get(&format!("{}?{query}", path(session))).await.ok()
}

async fn say(app: &TestApp, chat: &Chat, role: &str, text: &str) -> String {
    let message = json!({"message": text, "type": "text", "role": role, "conversationId": chat.id});
    let stored = app.person().post("/api/message", &message).await.ok();
    stored["data"]["id"].as_str().unwrap().to_owned()
}

async fn a_visitor_sees_its_own_conversation_alone(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (visitor, schemas) = (app.anonymous(), Schemas::of(&app).await);
    let (chat, other) = (Chat::on(&app, "echo").await, Chat::on(&app, "echo").await);
    let thread = visitor.get(&format!("/api/questions/{}", chat.session)).await;
    let cursor = thread.header("x-wicara-cursor").unwrap().to_owned();
    let mut feed = opened(&visitor, &format!("{}?after={cursor}", path(&chat.session))).await;
    // Each kind of reader gets an event in its own shape, whoever of them is first.
    let mut operators = opened(&app.person(), &format!("/api/events?conversationId={}", chat.id)).await;
    say(&app, &other, "agent", "elsewhere").await;
    let body = json!({"message": "halo", "session_id": chat.session});
    let asked = visitor.post("/api/questions", &body).await.ok();
    let conversation = format!("/api/conversation/{}", chat.id);
    app.person().patch(&conversation, &json!({"handler": "human"})).await.ok();
    let mut events = feed.up_to("conversation.updated").await;
    // How the conversation began, which this server learns as late as the test does, and what is live.
    events.retain(|event| {
        let is_new =
            event["message"]["id"].as_i64().is_none_or(|id| id >= asked["question_id"].as_i64().unwrap());
        is_new && event.get("cursor").is_some() && event["kind"] != "conversation.created"
    });
    let thread = visitor.get(&format!("/api/questions/{}", chat.session)).await.ok();
    let messages = &thread["data"]["messages"];
    for (event, message) in events.iter().zip([&messages[1], &messages[2]]) {
        assert_eq!((&event["kind"], &event["message"]), (&json!("message.created"), message));
    }
    assert_eq!(events[0]["message"]["id"], asked["question_id"]);
    let shown = json!({
        "conversationId": chat.id, "session_id": chat.session, "handler": "human", "handover": true, "assignee": null
    });
    assert_eq!(events[2]["conversation"], shown);
    let paged = page(&visitor, &chat.session, &format!("after={cursor}")).await;
    let paged = paged["data"].as_array().unwrap();
    assert_eq!(paged[paged.len() - events.len()..], events);
    let answer = visitor.with("accept", "application/json").get(&path(&chat.session)).await;
    schemas.assert_describe("get", PATH, &answer);
    for event in &events {
        schemas.assert_describe_event(PATH, event);
    }
    for event in operators.up_to("conversation.updated").await {
        schemas.assert_describe_event("/api/events", &event);
    }
    visitor.get(&path("00000000-0000-4000-8000-000000000000")).await.is(404, SESSION_NOT_FOUND);
    let refused = visitor.get(&path("x")).await;
    assert_eq!(refused.has_status(400).json()["errors"][0]["rule"], "uuid");
    drop((feed, operators));
    app.stop().await;
}

async fn notes_never_reach_a_visitor(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (visitor, person, schemas) = (app.anonymous(), app.person(), Schemas::of(&app).await);
    let chat = Chat::on(&app, "echo").await;
    let mut feed = opened(&visitor, &path(&chat.session)).await;
    let start = feed.position.clone().unwrap();
    let note = say(&app, &chat, "note", "among us").await;
    let message = format!("/api/message/{note}");
    person.patch(&message, &json!({"message": "still among us"})).await.ok();
    person.patch(&message, &json!({"role": "agent", "message": "to you"})).await.ok();
    let entered = feed.next().await.unwrap();
    assert_eq!(
        (&entered["kind"], &entered["message"]["text"]),
        (&json!("message.created"), &json!("to you"))
    );
    assert_eq!(entered["message"]["id"].to_string(), note);
    person.patch(&message, &json!({"role": "note", "message": "no longer"})).await.ok();
    let left = feed.next().await.unwrap();
    let ids = json!({"id": entered["message"]["id"], "conversationId": chat.id});
    assert_eq!((&left["kind"], &left["message"]), (&json!("message.deleted"), &ids));
    say(&app, &chat, "agent", "the end").await;
    assert_eq!(feed.next().await.unwrap()["message"]["text"], "the end");
    for event in [&entered, &left] {
        schemas.assert_describe_event(PATH, event);
    }
    let later = page(&visitor, &chat.session, &format!("after={start}")).await.to_string();
    assert!(later.contains("the end"));
    for secret in ["among us", "no longer", "to you"] {
        assert!(!later.contains(secret), "{secret}: {later}");
    }
    drop(feed);
    app.stop().await;
}

async fn a_visitor_follows_its_answer(engine: Engine) {
    let model = Model::start().await;
    let app = TestApp::with(engine, &model.bot()).await;
    let (visitor, schemas) = (app.anonymous(), Schemas::of(&app).await);
    let streaming = visitor.with("accept", "text/event-stream");
    let question = json!({"message": "halo", "botId": "model"});
    let mut answer = streaming.post_for_events("/api/questions", &question).await;
    let (_, session) = answer.next().await.unwrap();
    model.say("Halo");
    answer.next().await.unwrap();
    let mut feed = opened(&visitor, &path(session["session_id"].as_str().unwrap())).await;
    let events = feed.take(2).await;
    for (event, kind) in events.iter().zip(["answer.started", "answer.delta"]) {
        assert_eq!(event["kind"], kind);
        assert_eq!(event["conversationId"], session["conversation_id"]);
        assert_eq!(event["replyTo"], session["question_id"]);
        schemas.assert_describe_event(PATH, event);
    }
    assert_eq!((&events[1]["text"], &events[1]["offset"]), (&json!("Halo"), &json!(0)));
    model.end();
    answer.rest().await;
    let stored = feed.first("message.created").await;
    assert_eq!((&stored["message"]["text"], &stored["message"]["role"]), (&json!("Halo"), &json!("bot")));
    drop(feed);
    app.stop().await;
}

async fn a_visitors_stream_ends_with_its_conversation(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (visitor, schemas) = (app.anonymous(), Schemas::of(&app).await);
    let chat = Chat::on(&app, "echo").await;
    let feed = opened(&visitor, &path(&chat.session)).await;
    app.person().delete(&format!("/api/conversation/{}", chat.id)).await.ok();
    let events = feed.rest().await;
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0]["conversation"], json!({"id": chat.id}));
    schemas.assert_describe_event(PATH, &events[0]);
    visitor.get(&path(&chat.session)).await.is(404, SESSION_NOT_FOUND);
    app.stop().await;
}

async fn pages_of_any_origin_may_follow(engine: Engine) {
    let app = TestApp::with(engine, "server.allowed_origins = [\"https://console.example\"]\n").await;
    let chat = Chat::on(&app, "echo").await;
    let exposed = |headers: &reqwest::header::HeaderMap| -> Vec<String> {
        let exposed = headers["access-control-expose-headers"].to_str().unwrap().to_lowercase();
        exposed.split(',').map(|name| name.trim().to_owned()).collect()
    };
    let read = ["retry-after", "x-request-id", "x-wicara-cursor"];
    let page = app.anonymous().with("origin", "https://any.example");
    let feed = opened(&page, &path(&chat.session)).await;
    assert_eq!(feed.headers["access-control-allow-origin"], "https://any.example");
    let thread = page.get(&format!("/api/questions/{}", chat.session)).await;
    for headers in [&feed.headers, &thread.headers] {
        assert!(read.iter().all(|name| exposed(headers).contains(&(*name).to_owned())), "{headers:?}");
    }
    // A cookie gives no right there, and is none.
    let by_cookie = app.person().with("origin", "https://any.example");
    drop(opened(&by_cookie, &path(&chat.session)).await);

    let console = app.person().with("origin", "https://console.example");
    let feed = opened(&console, "/api/events").await;
    assert_eq!(feed.headers["access-control-allow-origin"], "https://console.example");
    assert!(read.iter().all(|name| exposed(&feed.headers).contains(&(*name).to_owned())));
    let stranger = app.person().with("origin", "https://any.example").follow("/api/events").await;
    assert_eq!(stranger.headers.get("access-control-allow-origin"), None);
    ask(&app.anonymous(), "halo").await.ok();
    drop((feed, stranger));
    app.stop().await;
}
