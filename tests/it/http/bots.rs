//! The bots as people see them, trials of them, and what their widgets show and to whom.

use serde_json::{Value, json};
use wicara_model::{Api, Bots, Role};

use super::handover::conversation;
use super::questions::ask;
use super::{FORBIDDEN, NOT_FOUND, SESSION_NOT_FOUND, Shape};
use crate::support::{Answer, Client, Engine, PATIENCE, TestApp, on_both_engines, until};

on_both_engines!(a_bot_is_tried_out_without_a_trace, a_bot_is_for_the_pages_of_its_sites,);

/// Beside `echo`, the default.
const MORE: &str = "[[bot]]\nid = \"picky\"\nkind = \"http\"\nurl = \"{bot}\"\npublic = true\nconcurrency = 3\n\
    breaker_failures = 2\nbreaker_seconds = 3600\norigins = [\"https://Shop.example:443\", \"http://127.0.0.1:8080\"]\n\
    handover_visitors = false\n\
    widget = { title = \"Tanya\", greeting = \"Halo!\", suggestions = [\"Apa?\"], languages = [\"id\"], color = \"#0f766e\" }\n\
    [[bot]]\nid = \"closed\"\nkind = \"http\"\nurl = \"{bot}\"\ntimeout_seconds = 1\nretries = 0\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bots_are_listed_with_how_they_do_and_not_where_they_are() {
    let app = TestApp::with(Engine::Sqlite, MORE).await;
    let fresh = |id: &str, public: bool, concurrency: u32| {
        json!({"id": id, "kind": "http", "default": id == "echo", "public": public, "breaker": "closed", "calls": 0,
               "waiting": 0, "concurrency": concurrency, "firstTokenMs": null, "answerMs": null, "lastFailure": null})
    };
    let answer = app.person().get("/api/bot").await;
    let expected = [fresh("closed", false, 64), fresh("echo", false, 64), fresh("picky", true, 3)];
    assert_eq!(answer.ok(), json!({"status": 200, "message": "success", "data": expected}));

    ask(&app.anonymous(), "halo").await.ok();
    for _ in 0..2 {
        ask_on(&app.anonymous(), "status 500", "picky").await.has_status(502);
    }
    let held = {
        let visitor = app.anonymous();
        tokio::spawn(async move { ask(&visitor, "held 1").await })
    };
    app.bot.until_asked(4).await;
    let answer = app.person().get("/api/bot").await;
    assert!(!answer.text.contains("127.0.0.1") && !answer.text.contains("secret"), "{}", answer.text);
    let bots = answer.ok()["data"].clone();
    let (echo, picky) = (&bots[1], &bots[2]);
    assert_eq!((&echo["calls"], &echo["breaker"]), (&json!(1), &json!("closed")));
    let times = &echo["answerMs"];
    assert!(times["p50"].is_u64() && times["p95"].as_u64() >= times["p50"].as_u64(), "{echo}");
    assert_eq!((&picky["breaker"], &picky["lastFailure"]["reason"]), (&json!("open"), &json!("rejected")));
    assert!(picky["lastFailure"]["at"].is_string(), "{picky}");
    app.bot.let_go();
    held.await.unwrap().ok();

    // Each sees its own.
    let few = app.program_with(Role::Viewer, Bots::Only(vec!["picky".into()]), Api::Chatbot).await;
    let list = few.get("/api/bot").await.ok()["data"].clone();
    assert_eq!(list.as_array().unwrap().iter().map(|bot| &bot["id"]).collect::<Vec<_>>(), ["picky"]);
    app.stop().await;
}

async fn ask_on(client: &Client, text: &str, bot: &str) -> Answer {
    client.post("/api/questions", &json!({"message": text, "botId": bot})).await
}

fn counted(app: &TestApp) -> impl Future<Output = Value> {
    let admin = app.person();
    async move { admin.get("/api/message?limit=1").await.ok()["pagination"]["totalItems"].clone() }
}

async fn a_bot_is_tried_out_without_a_trace(engine: Engine) {
    let app = TestApp::with(engine, MORE).await;
    let agent = app.person_with("agent@localhost", Role::Agent, Bots::Only(vec!["closed".into()])).await;
    let tried = agent.post("/api/bot/closed/try", json!({"message": "halo"})).await.ok();
    assert_eq!((&tried["status"], &tried["message"]), (&json!(200), &json!("success")));
    let object = &tried["data"][0];
    assert_eq!(
        (&object["text"], &object["properties"]["source"]["id"]),
        (&json!("echo: halo"), &json!("closed"))
    );
    assert!(object["id"].is_string() && object["suggest_links"].is_array(), "{object}");
    assert_eq!(tried.as_object().unwrap().len(), 3, "{tried}");

    let stream = agent.with("accept", "text/event-stream");
    let events =
        stream.post_for_events("/api/bot/closed/try", &json!({"message": "halo"})).await.rest().await;
    let last = events.last().unwrap();
    assert_eq!((last.0.as_str(), &last.1["data"][0]["text"]), ("message", &json!("echo: halo")));
    let said: String = events[..events.len() - 1]
        .iter()
        .map(|(name, data)| {
            assert_eq!(name, "token");
            data["text"].as_str().unwrap()
        })
        .collect();
    assert_eq!(said, "echo: halo");

    for (said, status, reason) in [("status 500", 502, "rejected"), ("wait 5000", 504, "timeout")] {
        let answer = agent.post("/api/bot/closed/try", json!({"message": said})).await;
        answer.has_status(status);
        let body = answer.json();
        assert_eq!((&body["message"], &body["reason"]), (&json!("bot unavailable"), &json!(reason)));
        assert!(
            !answer.text.contains("secret trouble") && !answer.text.contains("127.0.0.1"),
            "{}",
            answer.text
        );
    }
    let events =
        stream.post_for_events("/api/bot/closed/try", &json!({"message": "status 500"})).await.rest().await;
    assert_eq!((events[0].0.as_str(), &events[0].1["status"]), ("error", &json!(502)));
    assert_eq!(counted(&app).await, json!(0), "nothing is stored");

    agent.post("/api/bot/echo/try", json!({"message": "halo"})).await.is(404, NOT_FOUND);
    for id in ["none", "%ff", "%00"] {
        agent.post(&format!("/api/bot/{id}/try"), json!({"message": "halo"})).await.is(404, NOT_FOUND);
    }
    agent
        .post("/api/bot/closed/try", json!({"message": " "}))
        .await
        .is(400, &Shape::Chatbot.broken(&[("required", "message")]));
    let viewer = app.person_with("viewer@localhost", Role::Viewer, Bots::All).await;
    viewer.post("/api/bot/closed/try", json!({"message": "halo"})).await.is(403, FORBIDDEN);
    app.stop().await;
}

/// A trial takes one of the bot's places, and gives it back when its client leaves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trial_is_one_of_the_bots_calls_and_ends_with_its_client() {
    let app = TestApp::with(Engine::Sqlite, MORE).await;
    let person = app.person();
    let events = person
        .with("accept", "text/event-stream")
        .post_for_events("/api/bot/picky/try", &json!({"message": "held 1"}))
        .await;
    let calls = async || person.get("/api/bot").await.ok()["data"][2]["calls"].clone();
    app.bot.until_asked(1).await;
    assert_eq!(calls().await, json!(1));
    drop(events);
    until(PATIENCE, "the call ends", async || calls().await == json!(0)).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_widget_is_told_what_to_show() {
    let app = TestApp::with(Engine::Sqlite, MORE).await;
    let visitor = app.anonymous();
    let plain = visitor.get("/api/widget").await;
    assert_eq!(plain.header("cache-control"), Some("public, max-age=60"));
    plain.is(200, r#"{"status":200,"message":"success","data":{"bot":"echo","title":null,"greeting":null,"suggestions":[],"languages":["id","en"],"color":null,"handover":true}}"#);
    for path in ["/api/widget?bot=echo", "/api/widget?bot="] {
        assert_eq!(visitor.get(path).await.text, plain.text, "{path}");
    }
    visitor.get("/api/widget?bot=picky").await.is(200, r##"{"status":200,"message":"success","data":{"bot":"picky","title":"Tanya","greeting":"Halo!","suggestions":["Apa?"],"languages":["id"],"color":"#0f766e","handover":false}}"##);
    // What visitors cannot ask shows nothing.
    for bot in ["closed", "none"] {
        visitor
            .get(&format!("/api/widget?bot={bot}"))
            .await
            .is(400, &Shape::Chatbot.broken(&[("exists", "bot")]));
    }
    let page = visitor.with("origin", "https://anywhere.example").get("/api/widget").await;
    assert_eq!(page.header("access-control-allow-origin"), Some("https://anywhere.example"));
    app.stop().await;
}

/// All that a page does with a session.
async fn of_a_session(client: &Client, session: &str) -> Vec<u16> {
    let path = format!("/api/questions/{session}");
    let feed = client.with("accept", "application/json");
    let answers = [
        client.post("/api/questions", json!({"message": "halo", "session_id": session})).await,
        client.get(&path).await,
        feed.get(&format!("{path}/events")).await,
        client.post(&format!("{path}/typing"), "{}").await,
        client.post(&format!("{path}/seen"), json!({"upTo": 1})).await,
        client.delete(&format!("{path}/answer")).await,
    ];
    let refused = answers.iter().filter(|answer| answer.status == 403);
    refused.for_each(|answer| answer.is(403, FORBIDDEN));
    answers.iter().map(|answer| answer.status.as_u16()).collect()
}

async fn a_bot_is_for_the_pages_of_its_sites(engine: Engine) {
    let app = TestApp::with(engine, MORE).await;
    let opened = ask_on(&app.anonymous(), "halo", "picky").await.ok();
    let session = opened["session_id"].as_str().unwrap();
    let asked = app.bot.asked();
    let own = app.base.clone();
    for (origin, may) in [
        ("https://shop.example", true),
        ("https://SHOP.example", true),
        ("http://127.0.0.1:8080", true),
        // The server's own pages.
        (own.as_str(), true),
        ("https://evil.example", false),
        ("http://shop.example", false),
        ("https://shop.example.evil.example", false),
        ("https://shop.example:8443", false),
        ("null", false),
        ("", false),
    ] {
        let page = app.anonymous().with("origin", origin);
        let (status, count) = if may { (200, 6) } else { (403, 6) };
        assert_eq!(of_a_session(&page, session).await, vec![status; count], "{origin}");
        ask_on(&page, "halo", "picky").await.has_status(status);
        page.get("/api/widget?bot=picky").await.has_status(status);
        // The page can read why, and other bots are for all.
        let told = page.get(&format!("/api/questions/{session}")).await;
        assert_eq!(told.header("access-control-allow-origin"), Some(origin));
        ask(&page, "halo").await.ok();
    }
    // A key does not make a page another one, and no page sees what is not there.
    let page = app.program().with("origin", "https://evil.example");
    page.get(&format!("/api/questions/{session}")).await.is(403, FORBIDDEN);
    page.get("/api/questions/00000000-0000-4000-8000-000000000000").await.is(404, SESSION_NOT_FOUND);
    // Programs are no pages.
    assert_eq!(of_a_session(&app.anonymous(), session).await, [200; 6]);
    assert!(app.bot.asked() > asked);

    // The conversation's bot counts, whichever it was opened with.
    let (path, moved) = conversation(&app).await;
    app.person().patch(&path, json!({"botId": "picky"})).await.ok();
    let evil = app.anonymous().with("origin", "https://evil.example");
    assert_eq!(of_a_session(&evil, moved.as_str().unwrap()).await, [403; 6]);
    app.stop().await;
}
