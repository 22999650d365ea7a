//! Every operation for every kind of caller: who may do what, and that who may not changes nothing.

use reqwest::Method;
use serde_json::{Value, json};
use wicara::model::{Api, Bots, Role};

use super::{Chat, UNKNOWN, assert_refused, forbidden, not_found, unauthenticated};
use crate::support::{Client, Engine, TestApp, manual_clock, on_both_engines};

on_both_engines!(
    every_operation_for_every_caller,
    a_key_is_taken_from_each_of_three_headers,
    the_open_chatbot_api_is_that_and_no_more,
);

/// What an operation takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Read,
    Write,
    /// Nothing: the public asks.
    Ask,
}

struct Operation {
    method: Method,
    path: String,
    body: Option<Value>,
    need: Need,
    /// Whether the Chatbot API's document shows it.
    chatbot: bool,
}

impl Operation {
    /// All that work on conversations and messages, each with something to work on.
    fn all(chat: &Chat) -> Vec<Self> {
        let Chat { id, message, session } = chat;
        let operation =
            |need, chatbot, method: Method, path: String, body| Self { method, path, body, need, chatbot };
        let new_message = json!({"message": "a", "type": "text", "role": "bot", "conversationId": id});
        let new_conversation = json!({"room": "a", "integrationType": "website"});
        vec![
            operation(Need::Read, false, Method::GET, "/api/auth/me".into(), None),
            operation(Need::Read, true, Method::GET, "/api/conversation".into(), None),
            operation(Need::Read, true, Method::GET, format!("/api/conversation/{id}"), None),
            operation(Need::Read, false, Method::GET, "/api/message".into(), None),
            operation(Need::Read, false, Method::GET, format!("/api/message?conversationId={id}"), None),
            operation(Need::Read, false, Method::GET, format!("/api/message/{message}"), None),
            operation(Need::Ask, true, Method::GET, format!("/api/questions/{session}"), None),
            operation(
                Need::Ask,
                true,
                Method::POST,
                "/api/questions".into(),
                Some(json!({"message": "halo"})),
            ),
            operation(
                Need::Ask,
                true,
                Method::POST,
                "/api/questions".into(),
                Some(json!({"message": "halo", "session_id": session})),
            ),
            operation(Need::Write, false, Method::POST, "/api/conversation".into(), Some(new_conversation)),
            operation(
                Need::Write,
                false,
                Method::PATCH,
                format!("/api/conversation/{id}"),
                Some(json!({"room": "b", "handler": "human"})),
            ),
            operation(Need::Write, false, Method::POST, "/api/message".into(), Some(new_message)),
            operation(
                Need::Write,
                false,
                Method::PATCH,
                format!("/api/message/{message}"),
                Some(json!({"message": "changed"})),
            ),
            operation(
                Need::Write,
                true,
                Method::DELETE,
                format!("/api/conversation/message/{message}"),
                None,
            ),
            operation(Need::Write, false, Method::DELETE, format!("/api/message/{message}"), None),
            operation(Need::Write, true, Method::DELETE, format!("/api/conversation/{id}"), None),
        ]
    }

    async fn send(&self, client: &Client) -> crate::support::Answer {
        match &self.body {
            Some(body) => client.send_json(self.method.clone(), &self.path, body.to_string()).await,
            None => client.send(self.method.clone(), &self.path, None).await,
        }
    }
}

/// What credentials amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Nobody,
    WrongKey,
    Viewer,
    Writer,
}

fn expected(need: Need, class: Class) -> u16 {
    match (need, class) {
        (_, Class::WrongKey) => 401,
        (Need::Ask, _) => 200,
        (_, Class::Nobody) => 401,
        (Need::Write, Class::Viewer) => 403,
        _ => 200,
    }
}

/// All that is stored, as the administrator sees it.
async fn everything(admin: &Client) -> [Value; 2] {
    let conversations = admin.get("/api/conversation?limit=100").await.ok();
    [conversations, admin.get("/api/message?limit=100&order=desc").await.ok()]
}

const WEEK_IN_MILLIS: i64 = 168 * 3600 * 1000;

async fn every_operation_for_every_caller(engine: Engine) {
    let (clock, time) = manual_clock(1_752_470_016_351);
    let app = TestApp::at(engine, "", clock).await;
    let expired = app.person().await;
    time.fetch_add(WEEK_IN_MILLIS, std::sync::atomic::Ordering::SeqCst);
    let admin = app.person().await;
    let logged_out = app.sign_in("admin@localhost").await;
    logged_out.send(Method::POST, "/api/auth/logout", None).await.ok();
    let removed = app.person_with("removed@localhost", Role::Admin, Bots::All).await;
    app.people().user_delete("removed@localhost").await.unwrap();
    let removed_key =
        app.people().key_create("removed", Role::Admin, Bots::All, Api::Chatbot).await.unwrap().1;
    app.people().key_delete("removed").await.unwrap();
    let good_key = app.key(Role::Admin, Bots::All, Api::Chatbot).await;

    let anonymous = app.anonymous();
    let mut callers = vec![
        ("anonymous", anonymous.clone(), Class::Nobody),
        ("basic", anonymous.with("authorization", "Basic YWRtaW46YWRtaW4="), Class::Nobody),
        (
            "a key in another scheme",
            anonymous.with("authorization", &format!("Token {good_key}")),
            Class::Nobody,
        ),
        ("a key as a cookie", anonymous.with("cookie", &format!("wicara_session={good_key}")), Class::Nobody),
        (
            "a foreign cookie",
            anonymous.with("cookie", "wicara_session=0123456789abcdef; other=1"),
            Class::Nobody,
        ),
        ("an expired session", expired, Class::Nobody),
        ("a logged-out session", logged_out, Class::Nobody),
        ("a removed person", removed, Class::Nobody),
        ("a removed key", anonymous.with("x-api-key", &removed_key), Class::WrongKey),
        ("a key in upper case", anonymous.with("x-api-key", &good_key.to_uppercase()), Class::WrongKey),
        ("half a key", anonymous.with("x-api-key", &good_key[..good_key.len() / 2]), Class::WrongKey),
        ("two keys", anonymous.with("x-api-key", &good_key).with("api_key", "wrong"), Class::WrongKey),
        ("a basic login beside a cookie", admin.with("authorization", "Basic YWRtaW4="), Class::Writer),
        (
            "a key beside a dead cookie",
            anonymous.with("x-api-key", &good_key).with("cookie", "wicara_session=x"),
            Class::Writer,
        ),
    ];
    for (header, value) in [
        ("x-api-key", "wrong"),
        ("x-api-key", ""),
        ("api_key", "wrong"),
        ("api_key", " "),
        ("authorization", "Bearer wrong"),
        ("authorization", "Bearer "),
        ("authorization", "Bearer"),
    ] {
        callers.push(("a wrong key", anonymous.with(header, value), Class::WrongKey));
        callers.push(("a wrong key beside a good cookie", admin.with(header, value), Class::WrongKey));
    }
    for (role, class) in
        [(Role::Viewer, Class::Viewer), (Role::Agent, Class::Writer), (Role::Admin, Class::Writer)]
    {
        for bots in [Bots::All, Bots::Only(vec!["none".into(), "echo".into()])] {
            let email = format!("{role}-{}@localhost", bots.list().is_some());
            callers.push(("a person", app.person_with(&email, role, bots.clone()).await, class));
            for api in [Api::Chatbot, Api::Conversation] {
                callers.push(("a program", app.program_with(role, bots.clone(), api).await, class));
            }
        }
    }

    for (name, client, class) in &callers {
        let mut chat = Chat::on(&app, "echo").await;
        for number in 0..Operation::all(&chat).len() {
            let operation = &Operation::all(&chat)[number];
            let case = format!("{name} ({class:?}): {} {}", operation.method, operation.path);
            let status = expected(operation.need, *class);
            let (before, asked) = (everything(&admin).await, app.bot.asked());
            let answer = operation.send(client).await;
            if status == 200 {
                assert_eq!(answer.status, 200, "{case}: {}", answer.text);
                assert_eq!(answer.json()["status"], 200, "{case}");
                if operation.method != Method::GET {
                    assert_ne!(everything(&admin).await, before, "{case}: it did something");
                    chat = Chat::on(&app, "echo").await;
                }
            } else {
                let body = if status == 401 { unauthenticated() } else { forbidden() };
                assert_refused(&answer, status, &body, &case);
                assert_eq!(
                    (everything(&admin).await, app.bot.asked()),
                    (before, asked),
                    "{case}: it did nothing"
                );
            }
        }
    }
    app.stop().await;
}

async fn a_key_is_taken_from_each_of_three_headers(engine: Engine) {
    let app = TestApp::start(engine).await;
    let key = app.key(Role::Viewer, Bots::All, Api::Chatbot).await;
    for (header, value) in [
        ("Authorization", format!("Bearer {key}")),
        ("authorization", format!("bearer  {key} ")),
        ("X-API-Key", key.clone()),
        ("x-api-key", format!(" {key} ")),
        ("API_KEY", key.clone()),
        ("api_key", key.clone()),
    ] {
        let client = app.anonymous().with(header, &value);
        assert_eq!(client.get("/api/auth/me").await.ok()["data"]["role"], "viewer", "{header}: {value}");
        // Also where no page's cookie counts.
        client.post("/api/questions", &json!({"message": "halo"})).await.ok();
    }
    // The key's, not the cookie's.
    let both = app.person().await.with("x-api-key", &key);
    assert_eq!(both.get("/api/auth/me").await.ok()["data"]["api"], "chatbot");
    assert_eq!(both.get("/api/conversation").await.ok()["meta"]["currentPage"], 1);
    assert_refused(&both.delete("/api/conversation/0").await, 403, &forbidden(), "a viewer's key");
    app.stop().await;
}

async fn the_open_chatbot_api_is_that_and_no_more(engine: Engine) {
    let app = TestApp::with(engine, "auth.anonymous = \"chatbot-api\"").await;
    let (anonymous, admin) = (app.anonymous(), app.person().await);
    let dead_cookie = anonymous.with("cookie", "wicara_session=x");
    for client in [&anonymous, &dead_cookie] {
        let mut chat = Chat::on(&app, "echo").await;
        for number in 0..Operation::all(&chat).len() {
            let operation = &Operation::all(&chat)[number];
            let case = format!("{} {}", operation.method, operation.path);
            let before = everything(&admin).await;
            let answer = operation.send(client).await;
            if operation.chatbot {
                assert_eq!(answer.status, 200, "{case}: {}", answer.text);
                assert_eq!(answer.json()["message"], "success", "{case}: the Chatbot API answers");
                if operation.method != Method::GET {
                    chat = Chat::on(&app, "echo").await;
                }
            } else {
                assert_refused(&answer, 401, &unauthenticated(), &case);
                assert_eq!(everything(&admin).await, before, "{case}: it did nothing");
            }
        }
        let unknown = client.get(&format!("/api/conversation/{UNKNOWN}")).await;
        assert_refused(&unknown, 404, &not_found(), "unknown");
    }

    // Whoever has credentials is who they say: wrong ones stay wrong, and nobody gains a right.
    let chat = Chat::on(&app, "other").await;
    let wrong = anonymous.with("x-api-key", "wrong");
    let viewer = app.program_with(Role::Viewer, Bots::All, Api::Chatbot).await;
    let elsewhere = app.program_with(Role::Agent, Bots::Only(vec!["echo".into()]), Api::Chatbot).await;
    let path = format!("/api/conversation/{}", chat.id);
    assert_refused(&wrong.get(&path).await, 401, &unauthenticated(), "a wrong key");
    assert_refused(&viewer.delete(&path).await, 403, &forbidden(), "a viewer's key");
    assert_refused(&elsewhere.get(&path).await, 404, &not_found(), "another bot's key");
    assert_refused(&elsewhere.delete(&path).await, 404, &not_found(), "another bot's key");
    let other_site = admin.with("origin", "https://elsewhere.example");
    assert_refused(&other_site.delete(&path).await, 403, &forbidden(), "another page with a cookie");
    assert_eq!(anonymous.get(&path).await.ok()["data"]["session_id"], chat.session);
    app.stop().await;
}
