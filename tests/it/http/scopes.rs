//! Whose conversations somebody sees: bots of one's own, and visitors with their sessions.

use reqwest::Method;
use serde_json::{Value, json};
use wicara_model::{Api, Bots, Role};

use super::{
    CONVERSATION_ID_INVALID, Chat, FORBIDDEN, MESSAGE_ID_INVALID, NOT_FOUND, SESSION_NOT_FOUND, Shape,
    UNKNOWN,
};
use crate::support::{Client, Engine, TestApp, on_both_engines};

on_both_engines!(
    foreign_answers_as_missing,
    lists_and_totals_are_of_ones_own_bots,
    nobody_writes_outside_their_bots,
    visitors_reach_what_questions_opened,
    visitors_reach_public_bots,
    cookies_do_not_count_where_the_public_asks,
    notes_stay_among_operators,
);

const UNKNOWN_SESSION: &str = "00000000-0000-4000-8000-000000000000";

fn only(bot_id: &str) -> Bots {
    Bots::Only(vec![bot_id.into()])
}

/// Agents of one bot: a person, and a program for each document.
async fn agents_of(app: &TestApp, bot_id: &str) -> [Client; 3] {
    [
        app.person_with("agent@localhost", Role::Agent, only(bot_id)).await,
        app.program_with(Role::Agent, only(bot_id), Api::Chatbot).await,
        app.program_with(Role::Agent, only(bot_id), Api::Conversation).await,
    ]
}

async fn foreign_answers_as_missing(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (admin, foreign) = (app.person(), Chat::on(&app, "other").await);
    Chat::on(&app, "echo").await;
    let missing = Chat { id: UNKNOWN, message: UNKNOWN, session: UNKNOWN_SESSION.into() };
    let requests = |Chat { id, message, session }: &Chat| {
        let none = || None::<Value>;
        vec![
            (Method::GET, format!("/api/conversation/{id}"), none()),
            (Method::PATCH, format!("/api/conversation/{id}"), Some(json!({}))),
            (Method::PATCH, format!("/api/conversation/{id}"), Some(json!({"room": "a"}))),
            (Method::PATCH, format!("/api/conversation/{id}"), Some(json!({"botId": "echo"}))),
            (Method::PATCH, format!("/api/conversation/{id}"), Some(json!({"botId": "other"}))),
            (Method::DELETE, format!("/api/conversation/{id}"), none()),
            (
                Method::POST,
                "/api/message".into(),
                Some(json!({"message": "a", "type": "text", "role": "bot", "conversationId": id})),
            ),
            (Method::GET, format!("/api/message?conversationId={id}"), none()),
            (Method::GET, format!("/api/message?conversationId={id}&order=desc&after=0"), none()),
            (Method::GET, format!("/api/message/{message}"), none()),
            (Method::PATCH, format!("/api/message/{message}"), Some(json!({}))),
            (Method::PATCH, format!("/api/message/{message}"), Some(json!({"message": "a"}))),
            (Method::DELETE, format!("/api/message/{message}"), none()),
            (Method::DELETE, format!("/api/conversation/message/{message}"), none()),
            (Method::GET, format!("/api/questions/{session}"), none()),
            (Method::POST, "/api/questions".into(), Some(json!({"message": "a", "session_id": session}))),
            (
                Method::POST,
                "/api/questions".into(),
                Some(json!({"message": "a", "session_id": session, "botId": "other"})),
            ),
        ]
    };
    for client in agents_of(&app, "echo").await {
        for ((method, path, body), (_, missing_path, missing_body)) in
            requests(&foreign).into_iter().zip(requests(&missing))
        {
            // A person's cookie is none at /api/questions: there the session is enough.
            if path.starts_with("/api/questions") && client.get("/api/auth/me").await.text.contains("email") {
                continue;
            }
            let send = async |path: &str, body: Option<Value>| {
                let body = body.map(|body| body.to_string().into_bytes());
                client.with("content-type", "application/json").send(method.clone(), path, body).await
            };
            let (of_foreign, of_missing) = (send(&path, body).await, send(&missing_path, missing_body).await);
            assert_eq!(of_foreign.without_its_own(), of_missing.without_its_own(), "{method} {path}");
            assert!(of_foreign.status != 403, "{method} {path}: that would say that it is there");
        }
    }
    let still = admin.get(&format!("/api/message/{}", foreign.message)).await.ok();
    assert_eq!(still["data"]["message"], "halo");
    assert_eq!(app.bot.asked(), 0);
    app.stop().await;
}

async fn lists_and_totals_are_of_ones_own_bots(engine: Engine) {
    let app = TestApp::start(engine).await;
    for bot_id in ["echo", "other", "echo", "third", "echo", "other"] {
        Chat::on(&app, bot_id).await;
    }
    let two = Bots::Only(vec!["echo".into(), "third".into(), "unused".into()]);
    for (bots, total) in
        [(Bots::All, 6), (only("echo"), 3), (two, 4), (only("unused"), 0), (Bots::Only(vec![]), 0)]
    {
        let email = format!("viewer-{total}-{}@localhost", bots.list().map_or(99, <[_]>::len));
        let person = app.person_with(&email, Role::Viewer, bots.clone()).await;
        for path in ["/api/conversation", "/api/message"] {
            let mut seen = 0;
            for page in 1..=3 {
                let list = person.get(&format!("{path}?limit=2&page={page}")).await.ok();
                assert_eq!(list["pagination"]["totalItems"], total, "{path} {bots:?}");
                assert_eq!(list["pagination"]["totalPages"], (total + 1) / 2);
                seen += list["data"].as_array().unwrap().len();
            }
            assert_eq!(seen, usize::try_from(total).unwrap());
            // Walking shows no more than pages.
            let walked = person.get(&format!("{path}?limit=100&after=0&order=asc")).await.ok();
            assert_eq!(walked["data"].as_array().unwrap().len(), seen);
        }
        let program = app.program_with(Role::Viewer, bots.clone(), Api::Chatbot).await;
        let list = program.get("/api/conversation?limit=100").await.ok();
        assert_eq!(list["meta"]["total"], total);
        assert_eq!(list["meta"]["lastPage"], 1);
        for chat in list["data"].as_array().unwrap() {
            assert!(bots.contain(chat["botId"].as_str().unwrap()), "{chat}");
        }
        // A filter searches among one's own.
        for (bot_id, count) in [("echo", 3), ("other", 2), ("third", 1), ("unused", 0)] {
            let count = if bots.contain(bot_id) { count } else { 0 };
            let found = person.get(&format!("/api/conversation?botId={bot_id}")).await.ok();
            assert_eq!(found["pagination"]["totalItems"], count, "{bot_id} for {bots:?}");
            assert_eq!(found["data"].as_array().unwrap().len(), count);
            let found = program.get(&format!("/api/conversation?botId={bot_id}")).await.ok();
            assert_eq!(found["meta"]["total"], count);
        }
    }
    app.stop().await;
}

async fn nobody_writes_outside_their_bots(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (admin, own) = (app.person(), Chat::on(&app, "mine").await);
    let new = |bot_id: Option<&str>| json!({"room": "a", "integrationType": "website", "botId": bot_id});
    let total = async || admin.get("/api/conversation").await.ok()["pagination"]["totalItems"].clone();
    for client in agents_of(&app, "mine").await {
        let before = total().await;
        // The default bot is another one, so that leaving the bot away is outside too.
        for outside in [Some("echo"), Some("nobody"), Some("MINE"), Some("mine "), None] {
            client.post("/api/conversation", &new(outside)).await.is(403, FORBIDDEN);
        }
        assert_eq!(total().await, before);
        let created = client.post("/api/conversation", &new(Some("mine"))).await.ok();
        assert_eq!(created["data"]["botId"], "mine");

        let path = format!("/api/conversation/{}", own.id);
        client.patch(&path, &json!({"botId": "echo", "room": "moved"})).await.is(403, FORBIDDEN);
        let kept = admin.get(&path).await.ok()["data"].clone();
        assert_eq!((&kept["botId"], &kept["room"]), (&json!("mine"), &json!(format!("website-{}", own.id))));
        assert_eq!(client.patch(&path, &json!({"botId": "mine"})).await.ok()["data"]["botId"], "mine");
    }
    // Who has all bots moves wherever they like, and the one whose bot it was sees it no more.
    let path = format!("/api/conversation/{}", own.id);
    admin.patch(&path, &json!({"botId": "nobody"})).await.ok();
    let agent = app.sign_in("agent@localhost").await;
    agent.get(&path).await.is(400, CONVERSATION_ID_INVALID);
    let message = agent.get(&format!("/api/message/{}", own.message)).await;
    message.is(400, MESSAGE_ID_INVALID);

    let program = app.program_with(Role::Agent, only("mine"), Api::Chatbot).await;
    for body in [json!({"message": "a"}), json!({"message": "a", "botId": "echo"})] {
        program.post("/api/questions", &body).await.is(403, FORBIDDEN);
    }
    assert_eq!(app.bot.asked(), 0);
    app.stop().await;
}

async fn visitors_reach_what_questions_opened(engine: Engine) {
    let app = TestApp::start(engine).await;
    let visitor = app.anonymous();
    let opened = visitor.post("/api/questions", &json!({"message": "halo"})).await.ok();
    let by_visitor = opened["session_id"].as_str().unwrap().to_owned();
    let agent = app.program();
    let conversation = json!({"room": "a", "integrationType": "website"});
    agent.post("/api/conversation", &conversation).await.ok();
    let by_agent = agent.get("/api/conversation?limit=1").await.ok()["data"][0]["session_id"].clone();
    let by_agent = by_agent.as_str().unwrap().to_owned();

    let viewer = app.program_with(Role::Viewer, Bots::All, Api::Chatbot).await;
    let go_on = async |client: &Client, session: &str| {
        let asked = client.post("/api/questions", &json!({"message": "and?", "session_id": session})).await;
        [asked, client.get(&format!("/api/questions/{session}")).await]
    };
    for client in [&visitor, &viewer, &agent] {
        for answer in go_on(client, &by_visitor).await {
            answer.ok();
        }
    }
    let before = agent.get("/api/conversation?limit=1").await.ok();
    for client in [&visitor, &viewer] {
        for session in [&by_agent as &str, UNKNOWN_SESSION] {
            for answer in go_on(client, session).await {
                answer.is(404, SESSION_NOT_FOUND);
            }
        }
    }
    assert_eq!(agent.get("/api/conversation?limit=1").await.ok(), before);
    for answer in go_on(&agent, &by_agent).await {
        answer.ok();
    }

    // A conversation that is gone is unknown.
    let id = agent.get("/api/conversation?order=asc").await.ok()["data"][0]["id"].clone();
    agent.delete(&format!("/api/conversation/{id}")).await.ok();
    for answer in go_on(&visitor, &by_visitor).await {
        answer.is(404, SESSION_NOT_FOUND);
    }
    app.stop().await;
}

async fn visitors_reach_public_bots(engine: Engine) {
    let bot = |id: &str, more: &str| {
        format!("[[bot]]\nid = \"{id}\"\nkind = \"http\"\nurl = \"{{bot}}\"\n{more}\n")
    };
    let more = format!("{}{}", bot("public", "public = true"), bot("hidden", ""));
    let app = TestApp::with(engine, &more).await;
    let (visitor, agent) = (app.anonymous(), app.program());
    let viewer = app.program_with(Role::Viewer, Bots::All, Api::Chatbot).await;
    let ask = async |client: &Client, bot_id: &str| {
        client.post("/api/questions", &json!({"message": "halo", "botId": bot_id})).await
    };
    let unknown = Shape::Chatbot.broken(&[("exists", "botId")]);
    for client in [&visitor, &viewer] {
        for bot_id in ["echo", "public"] {
            ask(client, bot_id).await.ok();
        }
        for bot_id in ["hidden", "nobody", "ECHO"] {
            ask(client, bot_id).await.is(400, &unknown);
        }
    }
    for bot_id in ["echo", "public", "hidden"] {
        ask(&agent, bot_id).await.ok();
    }
    ask(&agent, "nobody").await.is(400, &unknown);

    // A conversation goes on with its own bot and no other.
    let session = ask(&visitor, "public").await.ok()["session_id"].clone();
    for (bot_id, same) in
        [(json!("public"), true), (Value::Null, true), (json!("echo"), false), (json!("nobody"), false)]
    {
        let body = json!({"message": "and?", "session_id": session, "botId": bot_id});
        let answer = visitor.post("/api/questions", &body).await;
        if same {
            assert_eq!(answer.ok()["session_id"], session);
        } else {
            answer.is(400, &unknown);
        }
    }
    app.stop().await;
}

async fn cookies_do_not_count_where_the_public_asks(engine: Engine) {
    let app = TestApp::start(engine).await;
    let admin = app.person();
    let elsewhere = app.person_with("elsewhere@localhost", Role::Viewer, only("other")).await;
    let from_a_page = admin.with("origin", "https://elsewhere.example").with("sec-fetch-site", "cross-site");
    for client in [&admin, &elsewhere, &from_a_page] {
        let asked = client.post("/api/questions", &json!({"message": "halo"})).await.ok();
        let session = asked["session_id"].as_str().unwrap();
        client.get(&format!("/api/questions/{session}")).await.ok();
        client.post("/api/questions", &json!({"message": "halo", "botId": "other"})).await.has_status(400);
    }
    // An administrator's cookie gives no more than a visitor has.
    let new = json!({"room": "a", "integrationType": "website"});
    admin.post("/api/conversation", &new).await.ok();
    let session = app.program().get("/api/conversation?limit=1").await.ok()["data"][0]["session_id"].clone();
    let path = format!("/api/questions/{}", session.as_str().unwrap());
    admin.get(&path).await.is(404, SESSION_NOT_FOUND);
    app.stop().await;
}

async fn notes_stay_among_operators(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (person, program, visitor) = (app.person(), app.program(), app.anonymous());
    let session =
        visitor.post("/api/questions", &json!({"message": "halo"})).await.ok()["session_id"].clone();
    let id = program.get("/api/conversation").await.ok()["data"][0]["id"].clone();
    let note = json!({"message": "a secret note", "type": "text", "role": "note", "conversationId": id});
    let note = person.post("/api/message", &note).await.ok()["data"]["id"].clone();
    let note = note.as_str().unwrap();

    let chats = program.get("/api/conversation").await;
    let chat = program.get(&format!("/api/conversation/{id}")).await;
    let thread = visitor.get(&format!("/api/questions/{}", session.as_str().unwrap())).await;
    for shown in [&chats, &chat, &thread] {
        shown.ok();
        assert!(!shown.text.contains("secret"), "{}", shown.text);
    }
    assert_eq!(chat.ok()["data"]["messageCount"], 2);
    program.delete(&format!("/api/conversation/message/{note}")).await.is(404, NOT_FOUND);

    let room = person.get(&format!("/api/conversation/{id}")).await.ok()["data"].clone();
    assert_eq!(
        (&room["messageCount"], &room["lastMessage"]["message"]),
        (&json!(3), &json!("a secret note"))
    );
    assert_eq!(person.get(&format!("/api/message/{note}")).await.ok()["data"]["role"], "note");
    let gone = program.delete(&format!("/api/conversation/{id}")).await;
    gone.ok();
    assert!(!gone.text.contains("secret"), "{}", gone.text);
    app.stop().await;
}
