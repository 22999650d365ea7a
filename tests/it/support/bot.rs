//! A bot behind a real HTTP socket, in the form of the documents' own (`/data/message`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use axum::routing::post;
use axum::{Router, extract};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::until;

const PATIENCE: Duration = Duration::from_secs(60);

/// Answers with what it was asked, unless the question says otherwise:
///
/// - `status 500` is answered with that status, `{` with what is no JSON;
/// - `wait 300` waits that many milliseconds before it is answered;
/// - `held 1` is answered after [`Bot::let_go`], and `failing 1` gets the status 500 after it;
/// - `say <JSON>` puts that JSON at `/data/message`.
pub struct Bot {
    pub url: String,
    state: Arc<State>,
}

struct State {
    asked: AtomicUsize,
    free: watch::Sender<bool>,
}

impl Bot {
    pub async fn start() -> Self {
        let state = Arc::new(State { asked: AtomicUsize::new(0), free: watch::channel(false).0 });
        let router = Router::new().route("/", post(answer)).with_state(Arc::clone(&state));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, state }
    }

    /// Questions asked so far.
    pub fn asked(&self) -> usize {
        self.state.asked.load(Ordering::SeqCst)
    }

    /// Answers what it holds, and whatever comes before [`Bot::hold`].
    pub fn let_go(&self) {
        self.state.free.send_replace(true);
    }

    pub fn hold(&self) {
        self.state.free.send_replace(false);
    }

    /// Waits until it was asked so many in all.
    pub async fn until_asked(&self, count: usize) {
        until(PATIENCE, "the bot is asked", async || self.asked() >= count).await;
    }
}

async fn answer(extract::State(bot): extract::State<Arc<State>>, body: String) -> (StatusCode, String) {
    bot.asked.fetch_add(1, Ordering::SeqCst);
    let body: Value = serde_json::from_str(&body).unwrap();
    let question = body["question"].as_str().unwrap();
    match question.split_once(' ') {
        Some(("status", status)) => return (status.parse().unwrap(), "secret trouble".into()),
        Some(("say", message)) => return (StatusCode::OK, format!(r#"{{"data":{{"message":{message}}}}}"#)),
        Some(("wait", millis)) => tokio::time::sleep(Duration::from_millis(millis.parse().unwrap())).await,
        Some((how @ ("held" | "failing"), _)) => {
            bot.free.subscribe().wait_for(|free| *free).await.unwrap();
            if how == "failing" {
                return (StatusCode::INTERNAL_SERVER_ERROR, "secret trouble".into());
            }
        }
        _ if question == "{" => return (StatusCode::OK, "{".into()),
        _ => {}
    }
    let message = json!([{"text": format!("echo: {question}")}]);
    (StatusCode::OK, json!({"data": {"message": message}}).to_string())
}
