//! The line that the log has of each request: from where, by whom and about which conversation, and never a session.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use wicara_metrics::Metrics;
use wicara_model::{Api, Bots, Role};
use wicara_platform::{Clock, Random};
use wicara_service::People;
use wicara_store::Store;

use super::process::LoggedServer;
use crate::support::app::PASSWORD;
use crate::support::database::refuse_writes;
use crate::support::{Answer, Bot, Client, Database, Engine, on_both_engines};

on_both_engines!(
    a_line_tells_who_did_what,
    a_refused_question_names_its_conversation,
    a_refused_page_is_named_beside_the_server,
);

struct Place {
    server: LoggedServer,
    database: Database,
    key: String,
    bot: Bot,
}

impl Place {
    async fn new(engine: Engine) -> Self {
        Self::with(engine, "").await
    }

    async fn with(engine: Engine, more: &str) -> Self {
        let database = Database::new(engine).await;
        let store =
            Store::open(&database.url, Duration::ZERO, &Random::System, &Metrics::default()).await.unwrap();
        let people = People::new(store.clone(), Clock::System, Random::System);
        let (_, key) = people.key_create("the reporter", Role::Admin, Bots::All, Api::Chatbot).await.unwrap();
        people.user_create("siti@example.org", PASSWORD.into(), Role::Agent, Bots::All).await.unwrap();
        store.close().await;
        let bot = Bot::start().await;
        let config = format!(
            "server.listen = \"127.0.0.1:0\"\nserver.trusted_proxies = [\"127.0.0.1\"]\nstore.url = \"{}\"\n\
             {more}[[bot]]\nid = \"echo\"\nkind = \"http\"\nurl = \"{}\"\ndefault = true\n",
            database.url, bot.url
        );
        Self { server: LoggedServer::start(&config, "info"), database, key, bot }
    }

    fn visitor(&self) -> Client {
        Client::new(self.server.base())
    }

    /// The lines of the log until the server ended.
    fn lines(self) -> (Vec<Value>, Database) {
        let log = self.server.log();
        (log.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), self.database)
    }
}

/// The line of the request that got this answer.
#[track_caller]
fn line<'a>(lines: &'a [Value], answer: &Answer) -> &'a Value {
    let id = answer.header("x-request-id").unwrap();
    let mut found =
        lines.iter().filter(|line| line["message"] == "answered" && line["span"]["request_id"] == id);
    let line = found.next().unwrap_or_else(|| panic!("{}: no line", answer.request));
    assert_eq!(found.next(), None, "one line a request");
    line
}

async fn a_line_tells_who_did_what(engine: Engine) {
    let place = Place::new(engine).await;
    let visitor = place.visitor();
    let program = visitor.with("x-api-key", &place.key);
    let login = json!({"email": "siti@example.org", "password": PASSWORD});
    let logged_in = visitor.post("/api/auth/login", &login).await;
    let person = logged_in.ok()["data"]["id"].as_str().unwrap().to_owned();
    let cookie = logged_in.header("set-cookie").unwrap().split_once(';').unwrap().0.to_owned();
    let siti = visitor.with("cookie", &cookie);
    let key = format!("key-{}", program.get("/api/auth/me").await.ok()["data"]["id"].as_str().unwrap());

    let asked = visitor.post("/api/questions", json!({"message": "halo"})).await;
    let session = asked.ok()["session_id"].as_str().unwrap().to_owned();
    let conversation = asked.ok()["conversation_id"].clone();
    let (question, answer) = (asked.ok()["question_id"].clone(), asked.ok()["message_ids"][0].clone());
    let thread = format!("/api/questions/{session}");
    let room = format!("/api/conversation/{conversation}");
    let opened = program.post("/api/questions", json!({"message": "status 500"})).await;
    let other = opened.has_status(502).json()["conversation_id"].clone();
    let new_room = siti.post("/api/conversation", json!({"room": "r", "integrationType": "w"})).await;
    let new_id: i64 = new_room.ok()["data"]["id"].as_str().unwrap().parse().unwrap();
    let new_id = json!(new_id);
    let message = json!({"message": "a", "type": "text", "role": "agent", "conversationId": conversation});
    let unseen = "/api/conversation/999999";

    let (nobody, by_key, by_siti) =
        ((None, None), (Some(key.as_str()), Some("the reporter")), (Some(person.as_str()), Some("siti")));
    let none = Value::Null;
    let expected = [
        (logged_in, by_siti, &none),
        (asked, nobody, &conversation),
        (opened, by_key, &other),
        (new_room, by_siti, &new_id),
        (visitor.get(&thread).await, nobody, &conversation),
        (visitor.get("/api/questions/x").await, nobody, &none),
        (visitor.get("/api/conversation").await, nobody, &none),
        (visitor.with("x-api-key", "wrong").get("/api/message").await, nobody, &none),
        (siti.get(&room).await, by_siti, &conversation),
        (program.get(&room).await, by_key, &conversation),
        (siti.get(unseen).await, by_siti, &none),
        (program.get(unseen).await, by_key, &none),
        (siti.patch(&room, json!({"room": "s"})).await, by_siti, &conversation),
        (siti.post("/api/message", &message).await, by_siti, &conversation),
        (siti.get(&format!("/api/message?conversationId={conversation}")).await, by_siti, &conversation),
        (siti.get(&format!("/api/message/{question}")).await, by_siti, &conversation),
        (
            siti.patch(&format!("/api/message/{question}"), json!({"message": "b"})).await,
            by_siti,
            &conversation,
        ),
        (program.delete(&format!("/api/conversation/message/{answer}")).await, by_key, &conversation),
        (siti.delete(&format!("/api/message/{question}")).await, by_siti, &conversation),
        (program.delete(&room).await, by_key, &conversation),
        (program.get("/metrics").await, by_key, &none),
        (siti.send(Method::POST, "/api/auth/logout", None).await, by_siti, &none),
        (siti.get("/api/auth/me").await, nobody, &none),
    ];
    // As a trusted proxy vouches for it.
    let behind = visitor.with("x-forwarded-for", "203.0.113.7").get("/healthz").await;
    let streamed = visitor.with("accept", "text/event-stream").with("content-type", "application/json");
    let body = json!({"message": "halo"}).to_string();
    let streamed = streamed.send(Method::POST, "/api/questions", Some(body.into_bytes())).await;

    let mut over_tls = TcpStream::connect(place.server.base().trim_start_matches("http://")).unwrap();
    over_tls.write_all(b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03").unwrap();
    over_tls.shutdown(Shutdown::Write).unwrap();
    over_tls.read_to_end(&mut Vec::new()).unwrap();

    let (lines, _database) = place.lines();
    let reasons: Vec<_> = lines.iter().filter_map(|line| line["reason"].as_str()).collect();
    assert!(matches!(reasons[..], [reason] if reason.contains("TLS")), "{reasons:?}");
    for (answer, (caller, name), conversation) in &expected {
        let line = line(&lines, answer);
        let said = (line["caller"].as_str(), line["caller_name"].as_str(), &line["conversation"]);
        assert_eq!(said, (*caller, *name, *conversation), "{}: {line}", answer.request);
        assert_eq!(line["address"], "127.0.0.1");
        assert_eq!(line["status"], answer.status.as_u16());
    }
    assert_eq!(line(&lines, &behind)["address"], "203.0.113.7");
    assert!(line(&lines, &streamed)["conversation"].is_i64());
    for secret in [session.as_str(), cookie.split_once('=').unwrap().1, "siti@example.org"] {
        for line in &lines {
            assert!(!line.to_string().contains(secret), "{line} tells {secret}");
        }
    }
}

/// Nothing is stored of what is refused here, but the conversation that it was for is known.
async fn a_refused_question_names_its_conversation(engine: Engine) {
    let place = Place::with(engine, "limits.questions_per_minute = 2\n").await;
    let visitor = place.visitor();
    let ask = |key: &str, body: &Value| {
        let (client, body) = (visitor.with("idempotency-key", key), body.clone());
        async move { client.post("/api/questions", body).await }
    };
    // A question that is being answered, one that was, and two conversations of them.
    let first = json!({"message": "held 1"});
    let running = tokio::spawn(ask("the-first-question", &first));
    place.bot.until_asked(1).await;
    let again = ask("the-first-question", &first).await;
    let stored = visitor.post("/api/questions", json!({"message": "halo"})).await;
    let (session, conversation) = (stored.ok()["session_id"].clone(), stored.ok()["conversation_id"].clone());
    let further = |text: &str| json!({"message": text, "session_id": session});
    let held = tokio::spawn(ask("the-second-question", &further("held 2")));
    place.bot.until_asked(3).await;
    let mut elsewhere = further("halo");
    elsewhere["botId"] = json!("another");
    let message = |text: &str| json!({"message": text, "type": "text", "role": "agent", "conversationId": conversation});
    let program = visitor.with("x-api-key", &place.key).with("idempotency-key", "a-message");
    program.post("/api/message", message("a")).await.ok();
    let refused = [
        (ask("the-second-question", &further("held 2")).await, 409),
        (ask("the-second-question", &further("halo")).await, 422),
        (visitor.post("/api/questions", &elsewhere).await, 400),
        (program.post("/api/message", message("b")).await, 422),
        (visitor.post("/api/questions", further("satu")).await, 200),
        (visitor.post("/api/questions", further("dua")).await, 429),
    ];
    let unknown = json!({"message": "halo", "session_id": "00000000-0000-4000-8000-000000000000"});
    let unknown = visitor.post("/api/questions", unknown).await;
    place.bot.let_go();
    let first = running.await.unwrap().ok()["conversation_id"].clone();
    held.await.unwrap().ok();

    let (lines, _database) = place.lines();
    for (answer, status) in &refused {
        let line = line(&lines, answer.has_status(*status));
        assert_eq!(line["conversation"], conversation, "{line}");
    }
    assert_eq!(line(&lines, again.has_status(409))["conversation"], first);
    assert_eq!(line(&lines, unknown.has_status(404))["conversation"], Value::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_the_database_refuses_names_its_conversation() {
    let place = Place::new(Engine::Postgres).await;
    let asked = place.visitor().post("/api/questions", json!({"message": "halo"})).await;
    let further = json!({"message": "halo", "session_id": asked.ok()["session_id"]});
    // As where the disk is full.
    refuse_writes(&place.database.url, "53100").await;
    let refused = place.visitor().post("/api/questions", further).await;
    let (lines, _database) = place.lines();
    assert_eq!(line(&lines, refused.has_status(503))["conversation"], asked.ok()["conversation_id"]);
}

/// As behind a proxy that does not forward `Host`.
async fn a_refused_page_is_named_beside_the_server(engine: Engine) {
    let place = Place::new(engine).await;
    let login = json!({"email": "siti@example.org", "password": PASSWORD});
    let logged_in = place.visitor().post("/api/auth/login", &login).await;
    let cookie = logged_in.header("set-cookie").unwrap().split_once(';').unwrap().0.to_owned();
    let own = place.server.base().to_owned();
    let page = place.visitor().with("cookie", &cookie).with("origin", "https://chat.example.org");
    let room = json!({"room": "r", "integrationType": "w"});
    let refused = page.post("/api/conversation", &room).await;
    refused.has_status(403);
    let long = format!("https://{}.example", "a".repeat(4000));
    place.visitor().with("cookie", &cookie).with("origin", &long).post("/api/conversation", &room).await;
    let (lines, _database) = place.lines();
    let warnings: Vec<_> = lines.iter().filter(|line| line["page"].is_string()).collect();
    assert_eq!(warnings.len(), 2, "{lines:?}");
    assert_eq!(warnings[0]["level"], "WARN");
    assert_eq!(
        (&warnings[0]["page"], &warnings[0]["own"]),
        (&json!("https://chat.example.org"), &json!(own))
    );
    assert_eq!(warnings[0]["span"]["request_id"], refused.header("x-request-id").unwrap());
    assert!(warnings[0]["message"].as_str().unwrap().contains("server.public_url"), "{}", warnings[0]);
    assert!(warnings[1]["page"].as_str().unwrap().len() < 300);
}
