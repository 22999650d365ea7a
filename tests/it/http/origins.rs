//! Which pages may call, and with what.

use reqwest::Method;
use serde_json::json;
use wicara_model::{Bots, Role};

use super::{Chat, FORBIDDEN, FOREIGN_PAGE};
use crate::support::{Answer, Client, Engine, TestApp, on_both_engines};

on_both_engines!(
    a_public_url_is_the_own_origin,
    a_page_of_another_origin_is_told_what_to_set,
    any_page_may_ask,
    a_cookie_is_nobody_where_any_page_may_ask,
    allowed_pages_call_with_credentials,
);

const CONSOLE: &str = "https://console.example";
const ALLOWED: &str = "server.allowed_origins = [\"https://console.example\"]\n";

async fn a_public_url_is_the_own_origin(engine: Engine) {
    let app = TestApp::with(engine, "server.public_url = \"https://chat.example.org/\"").await;
    let person = app.person();
    let new = json!({"room": "a", "integrationType": "website"});
    let post = async |origin: &str| person.with("origin", origin).post("/api/conversation", &new).await;
    post("https://chat.example.org").await.ok();
    for origin in [&app.base as &str, "http://chat.example.org", "https://chat.example.org:8443", CONSOLE] {
        let hint =
            r#""hint":"The page's origin is neither server.public_url nor one of server.allowed_origins.""#;
        let refused = format!(r#"{{"status":403,"message":"forbidden","error":"Forbidden",{hint}}}"#);
        post(origin).await.is(403, &refused);
    }
    app.stop().await;
}

/// As behind a proxy that does not forward `Host`, before a public URL is set.
async fn a_page_of_another_origin_is_told_what_to_set(engine: Engine) {
    let app = TestApp::start(engine).await;
    let page = app.person().with("origin", "https://chat.example.org");
    let room = json!({"room": "a", "integrationType": "website"});
    let chat = Chat::on(&app, "echo").await;
    let conversation = format!("/api/conversation/{}", chat.id);
    for answer in [
        page.post("/api/conversation", &room).await,
        page.patch(&conversation, &room).await,
        page.delete(&conversation).await,
        page.delete(&format!("/api/message/{}", chat.message)).await,
        page.delete(&format!("/api/conversation/message/{}", chat.message)).await,
        page.send(Method::POST, "/api/auth/logout", None).await,
    ] {
        answer.is(403, FOREIGN_PAGE);
    }
    // With the name that the browser called, it writes.
    let host = page.with("host", "chat.example.org");
    host.post("/api/conversation", &room).await.ok();
    // An origin that is no site, or a role that may not write, is nothing to set.
    app.person().with("origin", "null").post("/api/conversation", &room).await.is(403, FORBIDDEN);
    let viewer = app.person_with("viewer@localhost", Role::Viewer, Bots::All).await;
    viewer.post("/api/conversation", &room).await.is(403, FORBIDDEN);
    app.stop().await;
}

/// A page's request as its browser makes it: what the Fetch standard lets the page do and read.
struct Page<'a> {
    client: &'a Client,
    origin: &'a str,
    /// Of `credentials: "include"`.
    include: bool,
}

impl Page<'_> {
    fn client(&self) -> Client {
        self.client.with("origin", self.origin)
    }

    /// "CORS check": whether the page may see this response.
    fn sees(&self, answer: &Answer) -> Result<(), String> {
        let shown_to = answer.header("access-control-allow-origin");
        let with_credentials = answer.header("access-control-allow-credentials");
        let is_seen = match shown_to {
            Some("*") => !self.include,
            Some(origin) => origin == self.origin && (!self.include || with_credentials == Some("true")),
            None => false,
        };
        if is_seen { Ok(()) } else { Err(format!("shown to {shown_to:?}, credentials {with_credentials:?}")) }
    }

    /// "CORS-preflight fetch": whether the browser sends this request. `headers`: those that are not safelisted.
    async fn may_send(&self, method: &str, path: &str, headers: &[&str]) -> Result<(), String> {
        let mut names: Vec<_> = headers.iter().map(|name| name.to_lowercase()).collect();
        names.sort();
        let mut client = self.client().with("access-control-request-method", method);
        if !names.is_empty() {
            client = client.with("access-control-request-headers", &names.join(","));
        }
        let answer = client.send(Method::OPTIONS, path, None).await;
        self.sees(&answer)?;
        if !answer.status.is_success() {
            return Err(format!("the preflight got {}", answer.status));
        }
        let listed = |header| -> Vec<String> {
            let list = answer.header(header).unwrap_or_default();
            list.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
        };
        let methods = listed("access-control-allow-methods");
        let wildcard = |list: &[String]| !self.include && list.iter().any(|name| name == "*");
        let is_safe = ["GET", "HEAD", "POST"].contains(&method);
        if !is_safe && !methods.iter().any(|name| name == method) && !wildcard(&methods) {
            return Err(format!("{method} is none of {methods:?}"));
        }
        let allowed = listed("access-control-allow-headers");
        for name in names {
            let is_listed = allowed.iter().any(|other| other.eq_ignore_ascii_case(&name));
            if !is_listed && (name == "authorization" || !wildcard(&allowed)) {
                return Err(format!("{name} is none of {allowed:?}"));
            }
        }
        Ok(())
    }
}

#[track_caller]
fn assert_lists(answer: &Answer, header: &str, expected: &[&str]) {
    let listed = answer.header(header).unwrap_or_default().to_lowercase();
    let listed: Vec<_> = listed.split(',').map(str::trim).collect();
    for name in expected {
        assert!(listed.contains(&name.to_lowercase().as_str()), "{header}: {name} is not in {listed:?}");
    }
}

/// The headers of a request that its page sets, and those that monitoring, tracing, libraries and caches add to it.
const HEADERS: &[&[&str]] = &[
    &[],
    &["content-type"],
    &["content-type", "idempotency-key", "x-api-key", "api_key", "authorization"],
    &["baggage", "content-type", "sentry-trace"],
    &["traceparent", "tracestate", "content-type"],
    &["x-requested-with", "cache-control", "pragma", "expires", "if-none-match"],
    &["x-datadog-trace-id", "x-datadog-origin", "b3", "newrelic", "request-id", "elastic-apm-traceparent"],
    &["x-b3-traceid", "x-cloud-trace-context", "x-amzn-trace-id", "x-csrf-token", "x-of-my-own"],
];
const EXPOSED: &[&str] = &["x-request-id", "retry-after", "x-wicara-cursor"];

async fn any_page_may_ask(engine: Engine) {
    let app = TestApp::with(engine, ALLOWED).await;
    let client = app.anonymous();
    let chat = Chat::on(&app, "echo").await;
    let thread = format!("/api/questions/{}", chat.session);
    for (origin, include) in [
        ("https://anywhere.example", true),
        ("https://anywhere.example", false),
        ("http://127.0.0.1:8080", true),
        (CONSOLE, true),
        ("null", true),
    ] {
        let page = Page { client: &client, origin, include };
        for (path, method) in
            [("/api/questions", "POST"), (&thread, "GET"), (&thread, "PUT"), (&thread, "DELETE")]
        {
            for headers in HEADERS {
                assert_eq!(page.may_send(method, path, headers).await, Ok(()), "{method} {path} {headers:?}");
            }
        }
        // Errors too, or the page could not read what went wrong.
        let sending = page.client();
        for (answer, status) in [
            (sending.post("/api/questions", &json!({"message": "halo"})).await, 200),
            (sending.get(&thread).await, 200),
            (sending.post("/api/questions", &json!({})).await, 400),
            (sending.with("x-api-key", "wrong").get(&thread).await, 401),
            (sending.get("/api/questions/00000000-0000-4000-8000-000000000000").await, 404),
            (sending.post("/api/questions", " ".repeat(1_048_577)).await, 413),
            (sending.send(Method::POST, "/api/questions", None).await, 415),
            (sending.send(Method::PUT, "/api/questions", None).await, 405),
            (sending.post("/api/questions", &json!({"message": "status 500"})).await, 502),
        ] {
            answer.has_status(status);
            assert_eq!(page.sees(&answer), Ok(()), "{status}");
            assert_lists(&answer, "access-control-expose-headers", EXPOSED);
            // A cache between must not hand one page's answer to another.
            assert_lists(&answer, "vary", &["origin"]);
        }
        let events = sending.with("accept", "text/event-stream");
        let events = events.post_for_events("/api/questions", &json!({"message": "halo"})).await;
        assert_eq!(events.headers["access-control-allow-origin"], origin);
        assert_eq!(events.headers["access-control-allow-credentials"], "true");
    }
    // Without an origin there is no page to show it to, but a cache may keep it for one.
    let answer = client.get(&thread).await;
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert_lists(&answer, "vary", &["origin"]);
    app.stop().await;
}

/// A browser sends its user's cookie with `credentials: "include"`, to whatever page asks.
async fn a_cookie_is_nobody_where_any_page_may_ask(engine: Engine) {
    let app = TestApp::with(engine, "[[bot]]\nid = \"inner\"\nkind = \"http\"\nurl = \"{bot}\"\n").await;
    let (person, visitor) = (app.person(), app.anonymous());
    let room = json!({"room": "r", "integrationType": "website"});
    let opened = person.post("/api/conversation", room).await.ok()["data"]["id"].clone();
    let path = format!("/api/conversation/{}", opened.as_str().unwrap());
    let session = app.program().get(&path).await.ok()["data"]["session_id"].as_str().unwrap().to_owned();
    for origin in [None, Some("https://anywhere.example")] {
        let page = |client: &Client| origin.map_or(client.clone(), |origin| client.with("origin", origin));
        let (with, without) = (page(&person), page(&visitor));
        for body in [
            json!({"message": "halo", "session_id": session}),
            json!({"message": "halo", "botId": "inner"}),
            json!({"message": ""}),
        ] {
            let (with, without) =
                (with.post("/api/questions", &body).await, without.post("/api/questions", &body).await);
            assert_eq!(with.without_its_own(), without.without_its_own());
            assert_ne!(with.status, 200);
            assert_eq!(with.header("set-cookie"), None);
        }
        let thread = format!("/api/questions/{session}");
        let (with, without) = (with.get(&thread).await, without.get(&thread).await);
        assert_eq!(with.without_its_own(), without.without_its_own());
        with.has_status(404);
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
            let anonymous = app.anonymous();
            let page = Page { client: &anonymous, origin: CONSOLE, include: true };
            let other = Page { origin: "https://anywhere.example", ..page };
            for headers in HEADERS {
                assert_eq!(page.may_send(method, path, headers).await, Ok(()), "{method} {path} {headers:?}");
                assert!(other.may_send(method, path, headers).await.is_err(), "{method} {path} {headers:?}");
            }
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
        assert_lists(&answer, "access-control-expose-headers", EXPOSED);
        // A cache between must not hand one page's answer to another.
        assert_lists(&answer, "vary", &["origin"]);
    }
    app.stop().await;
}
