//! What a page reaches that has pointed a name of its own at this machine: nothing that stands open here because only
//! this machine gets here.

use std::process::Command;

use reqwest::Method;
use wicara_model::{Api, Bots, Role};

use super::{Everything, Object, Operations, ROWS, Request, Row, Who};
use crate::flow::process::Server;
use crate::http::FORBIDDEN;
use crate::http::raw::exchange;
use crate::support::{Client, Engine, TestApp, on_both_engines};

on_both_engines!(a_page_of_another_name_uses_nothing_that_stands_open);

const OPEN: &str = "auth.anonymous = \"chatbot-api\"\n";
const FOREIGN: &str = "rebound.example:3333";

/// The rows that `auth.anonymous` opens.
fn opened() -> impl Iterator<Item = &'static Row> {
    let of_the_chatbot_api =
        |row: &&Row| matches!(row.document, super::Document::Chatbot | super::Document::Either);
    ROWS.iter().filter(of_the_chatbot_api).filter(|row| matches!(row.who, Who::Readers | Who::Writers))
}

async fn a_page_of_another_name_uses_nothing_that_stands_open(engine: Engine) {
    let app = TestApp::with(engine, OPEN).await;
    let operations = Operations::of(&app).await;
    let admin = app.program_with(Role::Admin, Bots::All, Api::Conversation).await;
    let object = Object::new(&app, "to echo", "echo", true).await;
    let before = Everything::of(&app, &admin).await;
    let nobody = app.anonymous();
    let expired = nobody.with("cookie", "wicara_session=0123456789abcdef");
    for row in opened() {
        for client in [&nobody, &expired] {
            let request = operations.request(row, &object);
            request.send(&client.with("host", FOREIGN)).await.is(403, FORBIDDEN);
            let head = Request { method: Method::HEAD, ..operations.request(row, &object) };
            if request.method == Method::GET {
                head.send(&client.with("host", FOREIGN)).await.has_status(403);
            }
        }
    }
    assert_eq!(Everything::of(&app, &admin).await, before);

    // Everything else is as by any name.
    let known = [nobody, app.person(), app.program(), app.anonymous().with("x-api-key", "wrong")];
    for (number, client) in known.iter().enumerate() {
        for row in ROWS.iter().filter(|row| row.operation != "logout") {
            if number == 0 && opened().any(|opened| opened.operation == row.operation) {
                continue;
            }
            let mut statuses = Vec::new();
            for client in [client, &client.with("host", FOREIGN)] {
                let object = object.copy(&app).await;
                statuses.push(operations.request(row, &object).send(client).await.status.as_u16());
            }
            assert_eq!(statuses[0], statuses[1], "{}", row.operation);
        }
    }
    app.stop().await;
}

async fn list(client: &Client, host: &str) -> u16 {
    client.with("host", host).get("/api/conversation").await.status.as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_the_operator_gave_are_the_servers_own() {
    let own = ["localhost:1", "LOCALHOST", "127.0.0.1", "127.9.9.9:5", "[::1]:3333"];
    let given = ["chat.example.org", "Chat.Example.org:8443", "console.example"];
    let foreign =
        ["org", "evil.example", "chat.example.org.evil.example", "10.0.0.1", "2130706433", "localhost.x"];
    let names = "server.public_url = \"https://chat.example.org\"\n\
                 server.allowed_origins = [\"https://console.example:8080\"]\n";
    let anywhere = "auth.anonymous_anywhere = true\n";
    for (more, open) in [
        (OPEN.to_owned(), [200, 403, 403]),
        (format!("{OPEN}{names}"), [200, 200, 403]),
        (format!("{OPEN}{anywhere}"), [200, 200, 200]),
        (names.to_owned(), [401, 401, 401]),
    ] {
        let app = TestApp::with(Engine::Sqlite, &more).await;
        for (hosts, expected) in [&own[..], &given, &foreign].into_iter().zip(open) {
            for host in hosts {
                assert_eq!(list(&app.anonymous(), host).await, expected, "{more} {host}");
            }
        }
        app.stop().await;
    }
}

/// A target with a host of its own is what other servers go by.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_host_of_a_request_has_to_be_an_own_one() {
    let app = TestApp::with(Engine::Sqlite, OPEN).await;
    for (target, hosts, expected) in [
        ("/api/conversation", &["localhost"][..], 200),
        ("http://localhost/api/conversation", &["127.0.0.1"], 200),
        ("http://rebound.example/api/conversation", &["localhost"], 403),
        ("http://localhost/api/conversation", &["rebound.example"], 403),
        ("http://a@localhost/api/conversation", &["localhost"], 403),
        // These are refused whoever calls, and whatever stands open.
        ("/api/conversation", &["localhost", "rebound.example"], 400),
        ("/api/conversation", &["a@localhost"], 400),
        ("/api/conversation", &["localhost\u{e9}"], 400),
        ("/api/conversation", &[""], 400),
        ("/api/conversation", &[], 400),
    ] {
        let lines: String = hosts.iter().map(|host| format!("Host: {host}\r\n")).collect();
        let request = format!("GET {target} HTTP/1.1\r\n{lines}Connection: close\r\n\r\n");
        let answer = exchange(&app, request.as_bytes()).await;
        assert_eq!(answer.status, expected, "{target} {hosts:?}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_says_once_why_and_what_to_set() {
    let folder = tempfile::tempdir().unwrap();
    let config = format!("server.listen = \"127.0.0.1:0\"\nstore.url = \"sqlite:wicara.db\"\n{OPEN}");
    std::fs::write(folder.path().join("wicara.toml"), config).unwrap();
    let log = std::fs::File::create(folder.path().join("log")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_wicara"));
    let server = Server::run(command.current_dir(folder.path()).env_remove("WICARA_LOG").stderr(log));
    let client = Client::new(&server.base);
    let wrong = client.with("x-api-key", "wrong");
    assert_eq!((list(&client, "localhost").await, list(&wrong, FOREIGN).await), (200, 401));
    for _ in 0..3 {
        assert_eq!(list(&client, FOREIGN).await, 403);
    }
    server.terminate();
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("auth.anonymous_anywhere")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    for part in ["rebound.example", "server.public_url", "server.allowed_origins"] {
        assert!(lines[0].contains(part), "{part}: {}", lines[0]);
    }
}
