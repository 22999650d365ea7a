//! What Chromium lets pages of other origins do: it applies the Fetch standard to the server's answers.

use serde_json::{Value, json};

use crate::support::app::PASSWORD;
use crate::support::{Browser, Call, Engine, TestApp};

/// What pages set themselves, and what tracing, monitoring, libraries and caches add. None is safelisted, so that the
/// browser asks for them in a preflight.
const HEADERS: &[(&str, &str)] = &[
    ("baggage", "sentry-environment=production"),
    ("sentry-trace", "771a43a4192642f0b136d5159a501700-7cd4a9a5a1a2a3a4-1"),
    ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ("x-requested-with", "XMLHttpRequest"),
    ("cache-control", "no-cache"),
];
const CREDENTIALS: [&str; 3] = ["include", "same-origin", "omit"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_any_origin_ask() {
    let mut browser = Browser::start().await;
    let app = TestApp::start(Engine::Sqlite).await;
    let questions = format!("{}/api/questions", app.base);
    let asked = app.anonymous().post("/api/questions", json!({"message": "halo"})).await;
    let thread = format!("{questions}/{}", asked.ok()["session_id"].as_str().unwrap());
    let unknown = format!("{questions}/00000000-0000-4000-8000-000000000000");
    let [localhost, elsewhere] = browser.other_sites();
    for (number, origin) in [browser.neighbour(), localhost, elsewhere].iter().enumerate() {
        for credentials in CREDENTIALS {
            let get = |url: &str| Call::new("GET", url, credentials);
            let ask = |text: &str| Call::new("POST", &questions, credentials).json(&json!({"message": text}));
            let key = format!("a-retry-of-page-{number}-{credentials}");
            let keyed = ask("sekali").headers(HEADERS).headers(&[("idempotency-key", &key)]);
            let cases = [
                (ask("halo"), 200, "echo: halo"),
                (ask("halo").headers(HEADERS), 200, "echo: halo"),
                (keyed.clone(), 200, "echo: sekali"),
                (keyed, 200, "echo: sekali"),
                (ask("halo").headers(&[("accept", "text/event-stream")]), 200, "event: message"),
                (
                    ask("halo").headers(HEADERS).headers(&[("accept", "text/event-stream")]),
                    200,
                    "event: message",
                ),
                (get(&thread), 200, "echo: halo"),
                (get(&thread).headers(HEADERS), 200, "echo: halo"),
                // What went wrong is for the page too.
                (ask(""), 400, "required validation failed"),
                (get(&unknown), 404, "is not found"),
                (get(&unknown).headers(HEADERS), 404, "is not found"),
                (get(&thread).headers(&[("x-api-key", "wrong")]), 401, "Unathorized"),
                (ask("status 500"), 502, "bot unavailable"),
                (Call::new("PUT", &questions, credentials).headers(HEADERS), 405, "method not allowed"),
                (Call::new("DELETE", &questions, credentials).headers(HEADERS), 405, "method not allowed"),
            ];
            let calls: Vec<_> = cases.iter().map(|(call, ..)| call.clone()).collect();
            let asked = app.bot.asked();
            let seen = browser.visit(origin, &calls).await;
            for ((call, status, text), seen) in cases.iter().zip(&seen) {
                let case = format!("{origin}: {}: {seen:?}", call.name());
                assert_eq!(seen.status(), Some(*status), "{case}");
                assert!(seen.body().contains(text), "{case}");
                assert!(seen.header("x-request-id").is_some(), "{case}");
            }
            // The retry and the empty question are not put to the bot.
            assert_eq!(app.bot.asked() - asked, 6, "{origin}, {credentials}");
        }
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_has_to_wait_reads_for_how_long() {
    let mut browser = Browser::start().await;
    let app = TestApp::with(Engine::Sqlite, "limits.questions_per_minute_per_address = 1\n").await;
    let ask = Call::new("POST", &format!("{}/api/questions", app.base), "include");
    let ask = ask.json(&json!({"message": "halo"}));
    let origin = browser.neighbour();
    let seen = browser.visit(&origin, &[ask.clone(), ask]).await;
    assert_eq!((seen[0].status(), seen[1].status()), (Some(200), Some(429)), "{seen:?}");
    let seconds = seen[1].header("retry-after").unwrap_or_else(|| panic!("{seen:?}"));
    assert!(seconds.parse::<u64>().is_ok_and(|seconds| seconds > 0), "{seconds}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_persons_cookie_serves_allowed_pages_alone() {
    let mut browser = Browser::start().await;
    let console = browser.neighbour();
    let inner = "[[bot]]\nid = \"inner\"\nkind = \"http\"\nurl = \"{bot}\"\n";
    let more = format!("server.allowed_origins = [\"{console}\"]\n{inner}");
    let app = TestApp::with(Engine::Sqlite, &more).await;
    let room = json!({"room": "a room of operators", "integrationType": "website"});
    let made = app.person().post("/api/conversation", &room).await.ok()["data"]["id"].clone();
    let path = format!("/api/conversation/{}", made.as_str().unwrap());
    let session = app.program().get(&path).await.ok()["data"]["session_id"].as_str().unwrap().to_owned();
    let thread = format!("/api/questions/{session}");
    let call =
        |method, path: &str, credentials| Call::new(method, &format!("{}{path}", app.base), credentials);
    let opened = |method, path: &str| call(method, path, "include").with("mode", "no-cors");
    let whose = call("GET", "/api/auth/me", "include");
    let list = call("GET", "/api/conversation", "include");

    // The console logs in, and is who it is from then on.
    let login = json!({"email": "admin@localhost", "password": PASSWORD});
    let cases = [
        (whose.clone(), 401, "Unathorized"),
        (call("POST", "/api/auth/login", "include").json(&login), 200, "admin@localhost"),
        (whose.clone(), 200, "admin@localhost"),
        (list.clone(), 200, "a room of operators"),
        (list.clone().headers(HEADERS), 200, "a room of operators"),
        (call("PATCH", &path, "include").json(&json!({"room": "a room of ours"})), 200, "a room of ours"),
        (call("GET", &path, "include").headers(HEADERS), 200, "a room of ours"),
        (call("GET", "/api/conversation", "omit"), 401, "Unathorized"),
    ];
    let calls: Vec<_> = cases.iter().map(|(call, ..)| call.clone()).collect();
    let seen = browser.visit(&console, &calls).await;
    for ((call, status, text), seen) in cases.iter().zip(&seen) {
        assert_eq!(seen.status(), Some(*status), "{}: {seen:?}", call.name());
        assert!(seen.body().contains(text), "{}: {seen:?}", call.name());
    }

    // Every other page reads nothing and writes nothing, though the neighbour's calls have the cookie.
    let simple = |method, path: &str| opened(method, path).with("body", room.to_string());
    let unseen = [
        list.clone(),
        list.headers(HEADERS),
        whose.clone(),
        call("GET", "/api/conversation", "omit"),
        call("GET", &path, "include"),
        call("GET", "/api/message", "include"),
        call("POST", "/api/conversation", "include").json(&room),
        call("PATCH", &path, "include").json(&json!({"room": "a stranger's"})),
        call("DELETE", &path, "include"),
        call("POST", "/api/auth/login", "include").json(&login),
        // Sent without a preflight, as by a form.
        opened("GET", "/api/conversation"),
        simple("POST", "/api/conversation"),
        simple("POST", "/api/message"),
        opened("POST", "/api/auth/logout"),
    ];
    let mut calls = unseen.to_vec();
    // Where any page may ask, it is nobody's page.
    let inner = json!({"message": "halo", "botId": "inner"});
    calls.push(call("GET", &thread, "include"));
    calls.push(call("POST", "/api/questions", "include").json(&inner));
    let before = app.person().get("/api/conversation").await.ok()["data"].clone();
    let [localhost, elsewhere] = browser.other_sites();
    for origin in [browser.other_neighbour(), localhost, elsewhere] {
        let mut seen = browser.visit(&origin, &calls).await;
        for (call, seen) in unseen.iter().zip(seen.drain(..unseen.len())) {
            assert_eq!((seen.status(), seen.body()), (None, ""), "{origin}: {}: {seen:?}", call.name());
        }
        assert_eq!((seen[0].status(), seen[1].status()), (Some(404), Some(400)), "{origin}: {seen:?}");
    }
    let after: Value = app.person().get("/api/conversation").await.ok()["data"].clone();
    assert_eq!(after, before);
    let seen = browser.visit(&console, &[whose]).await;
    assert_eq!(seen[0].status(), Some(200), "the session has ended: {seen:?}");
    app.stop().await;
}
