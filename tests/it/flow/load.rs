//! More than the server can carry: what is beyond its bounds is refused at once, and nothing else is harmed.

use axum::body::Body;
use axum::http::Request;
use serde_json::json;
use tokio::sync::mpsc;
use wicara_model::{Api, Bots, Role};

use crate::support::database::connect;
use crate::support::{Answer, Engine, PATIENCE, Routed, on_both_engines, within};

on_both_engines!(writes_beyond_those_under_way_are_refused_and_leave_nothing);

/// Requests at once: more than all bounds together.
const REQUESTS: usize = 3000;
/// Questions that may be stored at once.
const WRITES: usize = 256;

/// Keeps everybody else from writing.
enum Lock {
    Sqlite(rusqlite::Connection),
    Postgres(tokio_postgres::Client),
}

impl Lock {
    async fn new(routed: &Routed) -> Self {
        if let Some(path) = routed.database.url.strip_prefix("sqlite:") {
            let connection = rusqlite::Connection::open(path).unwrap();
            connection.execute_batch("BEGIN IMMEDIATE").unwrap();
            return Lock::Sqlite(connection);
        }
        let client = connect(&routed.database.url).await;
        client.batch_execute("BEGIN; LOCK TABLE conversations IN EXCLUSIVE MODE").await.unwrap();
        Lock::Postgres(client)
    }

    async fn release(self) {
        match self {
            Lock::Sqlite(connection) => connection.execute_batch("ROLLBACK").unwrap(),
            Lock::Postgres(client) => client.batch_execute("ROLLBACK").await.unwrap(),
        }
    }
}

#[track_caller]
fn assert_refused(answer: &Answer) {
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    let error = "The server cannot answer just now. Nothing was stored.";
    assert_eq!(answer.json(), json!({"status": 503, "message": "unavailable", "error": error}));
}

fn question() -> Request<Body> {
    Request::post("/api/questions")
        .header("content-type", "application/json")
        .body(Body::from(r#"{"message":"What is Wicara?"}"#))
        .unwrap()
}

fn list(key: &str) -> Request<Body> {
    Request::get("/api/conversation").header("x-api-key", key).body(Body::empty()).unwrap()
}

async fn writes_beyond_those_under_way_are_refused_and_leave_nothing(engine: Engine) {
    let routed = Routed::new(engine).await;
    let (_, key) = routed.people.key_create("reader", Role::Viewer, Bots::All, Api::Chatbot).await.unwrap();
    let lock = Lock::new(&routed).await;
    let (sender, mut answers) = mpsc::unbounded_channel::<Answer>();
    for _ in 0..REQUESTS {
        let (router, sender) = (routed.router.clone(), sender.clone());
        tokio::spawn(async move { drop(sender.send(Routed::send(router, question()).await)) });
    }
    drop(sender);
    for _ in 0..REQUESTS - WRITES {
        let refused = within(PATIENCE, "those beyond the bound are answered", answers.recv()).await;
        assert_refused(&refused.unwrap());
    }
    lock.release().await;
    for _ in 0..WRITES {
        within(PATIENCE, "what waited is stored and answered", answers.recv()).await.unwrap().ok();
    }

    let listed = Routed::send(routed.router.clone(), list(&key)).await.ok();
    assert_eq!(listed["meta"]["total"], WRITES, "a refused question leaves nothing");
    assert_eq!(Routed::send(routed.router.clone(), question()).await.status, 200);
    routed.store.close().await;
}
