//! A bot behind a real HTTP socket, in the form of the documents' own (`/data/message`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::until;

const PATIENCE: Duration = Duration::from_secs(60);

/// Answers with what it was asked, unless the question says otherwise:
///
/// - `status 500` is answered with that status, `{` with what is no JSON;
/// - `wait 300` waits that many milliseconds before it is answered;
/// - `say <JSON>` puts that JSON at `/data/message`.
pub struct Bot {
    pub url: String,
    asked: Arc<AtomicUsize>,
}

impl Bot {
    pub async fn start() -> Self {
        let asked = Arc::new(AtomicUsize::new(0));
        let router = Router::new().route("/", post(answer)).with_state(Arc::clone(&asked));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, asked }
    }

    /// Questions asked so far.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Waits until it was asked so many in all.
    pub async fn until_asked(&self, count: usize) {
        until(PATIENCE, "the bot is asked", async || self.asked() >= count).await;
    }
}

async fn answer(State(asked): State<Arc<AtomicUsize>>, body: String) -> (StatusCode, String) {
    asked.fetch_add(1, Ordering::SeqCst);
    let body: Value = serde_json::from_str(&body).unwrap();
    let question = body["question"].as_str().unwrap();
    match question.split_once(' ') {
        Some(("status", status)) => return (status.parse().unwrap(), "secret trouble".into()),
        Some(("say", message)) => return (StatusCode::OK, format!(r#"{{"data":{{"message":{message}}}}}"#)),
        Some(("wait", millis)) => tokio::time::sleep(Duration::from_millis(millis.parse().unwrap())).await,
        _ if question == "{" => return (StatusCode::OK, "{".into()),
        _ => {}
    }
    let message = json!([{"text": format!("echo: {question}")}]);
    (StatusCode::OK, json!({"data": {"message": message}}).to_string())
}
