//! Which pages may call, and with what.

use reqwest::Method;
use serde_json::json;

use super::{Chat, FORBIDDEN};
use crate::support::{Answer, Client, Engine, TestApp, on_both_engines};

on_both_engines!(a_public_url_is_the_own_origin, any_page_may_ask, allowed_pages_call_with_credentials,);

const CONSOLE: &str = "https://console.example";
const ALLOWED: &str = "server.allowed_origins = [\"https://console.example\"]\n";

async fn a_public_url_is_the_own_origin(engine: Engine) {
    let app = TestApp::with(engine, "server.public_url = \"https://chat.example.org/\"").await;
    let person = app.person();
    let new = json!({"room": "a", "integrationType": "website"});
    let post = async |origin: &str| person.with("origin", origin).post("/api/conversation", &new).await;
    post("https://chat.example.org").await.ok();
    for origin in [&app.base as &str, "http://chat.example.org", "https://chat.example.org:8443", CONSOLE] {
        post(origin).await.is(403, FORBIDDEN);
    }
    app.stop().await;
}

/// A browser's question whether it may send this.
async fn preflight(client: &Client, origin: &str, method: &str, path: &str) -> Answer {
    client
        .with("origin", origin)
        .with("access-control-request-method", method)
        .with(
            "access-control-request-headers",
            "content-type,idempotency-key,x-api-key,api_key,authorization",
        )
        .send(Method::OPTIONS, path, None)
        .await
}

#[track_caller]
fn assert_lists(answer: &Answer, header: &str, expected: &[&str]) {
    let listed = answer.header(header).unwrap_or_default().to_lowercase();
    let listed: Vec<_> = listed.split(',').map(str::trim).collect();
    for name in expected {
        assert!(listed.contains(&name.to_lowercase().as_str()), "{header}: {name} is not in {listed:?}");
    }
}

const HEADERS: &[&str] = &["content-type", "idempotency-key", "x-api-key", "api_key", "authorization"];

async fn any_page_may_ask(engine: Engine) {
    let app = TestApp::with(engine, ALLOWED).await;
    let client = app.anonymous();
    let chat = Chat::on(&app, "echo").await;
    let thread = format!("/api/questions/{}", chat.session);
    for origin in ["https://anywhere.example", CONSOLE, "null"] {
        for (path, method) in [("/api/questions", "POST"), (&thread, "GET")] {
            let answer = preflight(&client, origin, method, path).await;
            answer.has_status(200);
            assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
            assert_eq!(answer.header("access-control-allow-credentials"), None);
            assert_lists(&answer, "access-control-allow-methods", &[method]);
            assert_lists(&answer, "access-control-allow-headers", HEADERS);
        }
        // Errors too, or the page could not read what went wrong.
        let page = client.with("origin", origin);
        for (answer, status) in [
            (page.post("/api/questions", &json!({"message": "halo"})).await, 200),
            (page.get(&thread).await, 200),
            (page.post("/api/questions", &json!({})).await, 400),
            (page.with("x-api-key", "wrong").get(&thread).await, 401),
            (page.get("/api/questions/00000000-0000-4000-8000-000000000000").await, 404),
            (page.post("/api/questions", " ".repeat(1_048_577)).await, 413),
            (page.send(Method::POST, "/api/questions", None).await, 415),
            (page.send(Method::PUT, "/api/questions", None).await, 405),
            (page.post("/api/questions", &json!({"message": "status 500"})).await, 502),
        ] {
            answer.has_status(status);
            assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{status}");
            assert_eq!(answer.header("access-control-allow-credentials"), None);
            assert_lists(&answer, "access-control-expose-headers", &["x-request-id", "retry-after"]);
        }
    }
    app.stop().await;
}

async fn allowed_pages_call_with_credentials(engine: Engine) {
    let app = TestApp::with(engine, ALLOWED).await;
    let (person, chat) = (app.person(), Chat::on(&app, "echo").await);
    let conversation = format!("/api/conversation/{}", chat.id);
    let message = format!("/api/message/{}", chat.message);
    for (path, methods) in [
        ("/api/conversation", &["GET", "POST"][..]),
        (&conversation, &["GET", "PATCH", "DELETE"]),
        ("/api/conversation/message/1", &["DELETE"]),
        ("/api/message", &["GET", "POST"]),
        (&message, &["GET", "PATCH", "DELETE"]),
        ("/api/auth/login", &["POST"]),
        ("/api/auth/logout", &["POST"]),
        ("/api/auth/me", &["GET"]),
    ] {
        for method in methods {
            let answer = preflight(&app.anonymous(), CONSOLE, method, path).await;
            answer.has_status(200);
            assert_eq!(answer.header("access-control-allow-origin"), Some(CONSOLE), "{path}");
            assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
            assert_lists(&answer, "access-control-allow-methods", &[method]);
            assert_lists(&answer, "access-control-allow-headers", HEADERS);
        }
    }
    let page = person.with("origin", CONSOLE);
    let nobody = app.anonymous().with("origin", CONSOLE);
    for (answer, status) in [
        (page.get("/api/conversation").await, 200),
        (page.patch(&conversation, &json!({"room": "a"})).await, 200),
        (page.get("/api/message/0").await, 400),
        (nobody.get("/api/message").await, 401),
        (page.send(Method::PUT, "/api/message", None).await, 405),
        (page.post("/api/message", " ".repeat(1_048_577)).await, 413),
    ] {
        answer.has_status(status);
        assert_eq!(answer.header("access-control-allow-origin"), Some(CONSOLE), "{status}");
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
        assert_lists(&answer, "access-control-expose-headers", &["x-request-id", "retry-after"]);
        // A cache between must not hand one page's answer to another.
        assert_lists(&answer, "vary", &["origin"]);
    }
    app.stop().await;
}
