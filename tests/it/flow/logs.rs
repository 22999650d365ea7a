//! Whatever the log's level, no line holds what people write, nor a secret, nor a session.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use axum::http::header::CONTENT_TYPE;
use axum::routing::post;
use axum::{Json, Router};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use wicara_metrics::Metrics;
use wicara_model::{Api, Bots, Role};
use wicara_platform::{Clock, Random};
use wicara_service::People;
use wicara_store::Store;

use super::process::LoggedServer;
use crate::support::{Bot, Database, Engine, on_both_engines};

on_both_engines!(no_line_tells_a_secret);

/// Stands in everything that is sent or configured and is nobody's business.
const CANARY: &str = "canary";
/// `canary-user:canary-password` as a header carries it.
const BASE64: &str = "Y2FuYXJ5LXVzZXI6Y2FuYXJ5LXBhc3N3b3Jk";

const BOTS: &str = r#"
[[bot]]
id = "echo"
kind = "http"
default = true
url = "http://canary-user:canary-password@{bot}/?token=canary"
headers = { X-Token = "canary-token" }

[[bot]]
id = "elsewhere"
kind = "http"
public = true
url = "http://{bot}/canary/path?token=canary"
headers = { Authorization = "Bearer canary-token" }

[[bot]]
id = "away"
kind = "http"
public = true
url = "http://canary-user:canary-password@127.0.0.1:1/canary?token=canary"

[[bot]]
id = "model"
kind = "openai"
public = true
url = "{odd}/v1"
model = "canary"
api_key = "canary-key"
system = "canary"

[[bot]]
id = "flow"
kind = "langflow"
public = true
url = "{odd}"
flow = "canary"
api_key = "canary-key"
"#;

struct Place {
    server: LoggedServer,
    database: Database,
    key: String,
    _bot: Bot,
}

impl Place {
    async fn new(engine: Engine) -> Self {
        let database = Database::new(engine).await;
        let store =
            Store::open(&database.url, Duration::ZERO, &Random::System, &Metrics::default()).await.unwrap();
        let people = People::new(store.clone(), Clock::System, Random::System);
        let (_, key) =
            people.key_create("the keeper", Role::Agent, Bots::All, Api::Conversation).await.unwrap();
        store.close().await;

        let bot = Bot::start().await;
        let at = bot.url.trim_start_matches("http://").trim_end_matches('/');
        let url = database.url.replace("wicara@", "wicara:canary@");
        let config = format!(
            "server.listen = \"127.0.0.1:0\"\nstore.url = \"{url}\"\nauth.admin_email = \"keeper@localhost\"\n\
             auth.admin_password = \"canary password\"\n{}",
            BOTS.replace("{bot}", at).replace("{odd}", &odd().await)
        );
        Self { server: LoggedServer::start(&config, "trace"), database, key, _bot: bot }
    }

    /// Everything that the server logged until it ended.
    fn log(self) -> String {
        self.server.log()
    }

    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, Value) {
        let mut request = http().request(method, format!("{}{path}", self.server.base()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.header("content-type", "application/json").body(body.to_owned());
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default())
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> (u16, Value) {
        self.send(Method::POST, path, headers, &body.to_string()).await
    }
}

/// A model and a flow that say what they have to say where nobody looks for it.
async fn odd() -> String {
    let model = async || Json(json!({"choices": "a canary"}));
    let flow = async || ([(CONTENT_TYPE, "text/event-stream")], "data: \"a canary\"\n\n");
    let router =
        Router::new().route("/v1/chat/completions", post(model)).route("/api/v1/run/canary", post(flow));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

fn http() -> Client {
    wicara_platform::tls::install();
    Client::builder().no_proxy().build().unwrap()
}

/// What a bot is asked and how it answers, good and bad.
async fn ask(place: &Place) -> String {
    let (status, opened) = place.post("/api/questions", &[], &json!({"message": "canary?"})).await;
    assert_eq!(status, 200);
    let session = opened["session_id"].as_str().unwrap().to_owned();
    for (message, expected) in [
        (r#"say [{"text": "canary", "category": "canary"}]"#, 200),
        (r#"say {"text": "canary""#, 502),
        (r#"say "canary"#, 502),
        (r#"say {"canary": 1}"#, 502),
        ("say canary", 502),
        ("say []", 502),
        ("status 500 ", 502),
    ] {
        let body = json!({"message": message.trim(), "session_id": session});
        assert_eq!(place.post("/api/questions", &[], &body).await.0, expected, "{message}");
    }
    for bot in ["elsewhere", "away", "model", "flow"] {
        let (status, _) =
            place.post("/api/questions", &[], &json!({"message": "canary", "botId": bot})).await;
        assert_eq!(status, 502, "{bot}");
    }
    let key = [("idempotency-key", "canary-0123456789")];
    for message in ["canary", "canary", "another canary"] {
        place.post("/api/questions", &key, &json!({"message": message})).await;
    }
    place.post("/api/questions", &[("idempotency-key", "canary")], &json!({"message": "canary"})).await;
    for path in ["", "?before=canary", "/canary", "?canary"] {
        place.send(Method::GET, &format!("/api/questions/{session}{path}"), &[], "").await;
    }
    for body in [
        "canary",
        r#"{"message": canary}"#,
        r#"{"message": "canary"#,
        r#"{"message": {"canary": "canary"}}"#,
        r#"{"message": "canary", "session_id": "canary"}"#,
        r#"{"message": "canary", "botId": "canary"}"#,
        r#"{"message": "canary\u0000"}"#,
        r#""canary""#,
        r#"["canary", "\ud800"]"#,
    ] {
        assert_eq!(place.send(Method::POST, "/api/questions", &[], body).await.0, 400, "{body}");
    }
    session
}

/// Signs in, well and badly; returns the cookie's value.
async fn sign_in(place: &Place) -> String {
    for body in [
        json!({"email": "keeper@localhost", "password": "wrong canary"}),
        json!({"email": "canary@elsewhere", "password": "canary"}),
        json!({"email": ["canary"], "password": {"canary": 1}}),
    ] {
        assert!([400, 401].contains(&place.post("/api/auth/login", &[], &body).await.0));
    }
    let request = http().post(format!("{}/api/auth/login", place.server.base()));
    let body = json!({"email": "keeper@localhost", "password": "canary password"}).to_string();
    let response = request.header("content-type", "application/json").body(body).send().await.unwrap();
    let cookie = response.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let (name, token) = cookie.split_once('=').unwrap();
    let wrong = format!("{name}=canary");
    for cookie in [&cookie, &wrong] {
        place.send(Method::GET, "/api/auth/me", &[("cookie", cookie)], "").await;
        place
            .post(
                "/api/conversation",
                &[("cookie", cookie), ("origin", "https://elsewhere.example")],
                &json!({}),
            )
            .await;
    }
    token.to_owned()
}

/// Keeps conversations and messages, with the key sent each way.
async fn keep(place: &Place) {
    let bearer = format!("Bearer {}", place.key);
    let own = [("authorization", bearer.as_str()), ("x-api-key", &place.key), ("api_key", &place.key)];
    for header in own {
        let header = &[header][..];
        let room =
            json!({"room": "canary", "integrationType": "canary", "userId": "canary", "botId": "canary"});
        let (status, created) = place.post("/api/conversation", header, &room).await;
        assert_eq!(status, 200, "{created}");
        let id = created["data"]["id"].as_str().unwrap();
        let message = json!({"message": "canary", "type": "canary", "role": "canary", "conversationId": id});
        let (status, stored) = place.post("/api/message", header, &message).await;
        assert_eq!(status, 200, "{stored}");
        let message = format!("/api/message/{}", stored["data"]["id"].as_str().unwrap());
        let conversation = format!("/api/conversation/{id}");
        for path in
            [&message, &conversation, "/api/message?conversationId=canary", "/api/conversation?room=canary"]
        {
            place.send(Method::GET, path, header, "").await;
        }
        for body in [r#"{"message":"canary"}"#, r#"{"room":"canary"}"#, r#"{"room":canary}"#] {
            place.send(Method::PATCH, &message, header, body).await;
            place.send(Method::PATCH, &conversation, header, body).await;
        }
        place.send(Method::DELETE, &message, header, "").await;
        place.send(Method::DELETE, &conversation, header, "").await;
    }
    for name in ["authorization", "x-api-key", "api_key", "x-canary"] {
        place.send(Method::GET, "/api/conversation/canary", &[(name, "Bearer canary")], "").await;
        place.send(Method::DELETE, "/canary?canary", &[(name, "canary")], "canary").await;
    }
}

/// What is no HTTP.
async fn babble(place: &Place) {
    for bytes in [
        "canary\r\n\r\n",
        "GET /canary HTTP/9.9\r\n\r\n",
        "GET / HTTP/1.1\r\ncanary\r\n\r\n",
        "POST /api/questions HTTP/1.1\r\nHost: a\r\nContent-Length: canary\r\n\r\n",
        "POST /api/questions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\ncanary\r\n",
    ] {
        let at = place.server.base().strip_prefix("http://").unwrap();
        let mut stream = tokio::net::TcpStream::connect(at).await.unwrap();
        stream.write_all(bytes.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
}

/// Lets the store fail while it writes and reads.
async fn break_the_store(place: &Place) {
    let statement = match place.database.url.strip_prefix("sqlite:") {
        Some(path) => {
            let connection = rusqlite::Connection::open(path).unwrap();
            connection.execute_batch("ALTER TABLE messages RENAME TO moved").unwrap();
            500
        }
        None => {
            let (client, driver) =
                tokio_postgres::connect(&place.database.url, tokio_postgres::NoTls).await.unwrap();
            tokio::spawn(driver);
            client
                .batch_execute("ALTER TABLE messages ADD CONSTRAINT wrong CHECK (text <> 'canary') NOT VALID")
                .await
                .unwrap();
            500
        }
    };
    let (status, answer) = place.post("/api/questions", &[], &json!({"message": "canary"})).await;
    assert_eq!(status, statement, "{answer}");
}

async fn no_line_tells_a_secret(engine: Engine) {
    let place = Place::new(engine).await;
    let session = ask(&place).await;
    let token = sign_in(&place).await;
    keep(&place).await;
    babble(&place).await;
    break_the_store(&place).await;

    let key = place.key.clone();
    let log = place.log();
    for expected in
        ["/api/questions/{session_id}", "a bot gave no answer", "internal error", "\"level\":\"DEBUG\""]
    {
        assert!(log.contains(expected), "{expected:?} is not in the log: {log}");
    }
    for line in log.lines().filter(|line| line.contains("a bot gave no answer")) {
        assert!(line.contains("request_id"), "it names its request: {line}");
    }
    for secret in [CANARY, BASE64, &session, &session.replace('-', ""), &token, &key, "keeper@localhost"] {
        assert_untold(&log, secret);
    }
}

#[track_caller]
fn assert_untold(log: &str, secret: &str) {
    let line = log.lines().find(|line| line.to_lowercase().contains(&secret.to_lowercase()));
    assert_eq!(line, None, "tells {secret:?}");
}

/// What a start says that fails.
fn failed(folder: &Path, url: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_wicara"))
        .current_dir(folder)
        .env("WICARA_LOG", "trace")
        .env("WICARA_STORE__URL", url)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_start_that_fails_tells_no_password() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("wicara.toml"), "server.listen = \"127.0.0.1:0\"\n").unwrap();
    for url in [
        "postgres://user:canary@127.0.0.1:1/db",
        "postgres://user:canary@127.0.0.1:port/db",
        "postgres://user:canary@db.invalid/db",
        "postgres://user:canary@127.0.0.1/db?sslmode=loud",
        "postgres://user:canary@",
        "postgres://user:can%zzary@127.0.0.1/db",
        "mysql://user:canary@127.0.0.1/db",
        "canary",
    ] {
        let said = failed(folder.path(), url);
        assert!(!said.contains("can"), "{url}: {said}");
    }
}
