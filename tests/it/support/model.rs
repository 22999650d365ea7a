//! A language model behind the form of OpenAI's API, which says a piece when the test does.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc, watch};

use super::{PATIENCE, within};

pub struct Model {
    pub url: String,
    pieces: mpsc::UnboundedSender<String>,
    requests: watch::Receiver<Vec<Value>>,
}

struct Answering {
    said: Pieces,
    requests: watch::Sender<Vec<Value>>,
}

type Pieces = Arc<Mutex<mpsc::UnboundedReceiver<String>>>;

impl Model {
    pub async fn start() -> Self {
        let (pieces, said) = mpsc::unbounded_channel();
        let (sender, requests) = watch::channel(Vec::new());
        let answering = Answering { said: Arc::new(Mutex::new(said)), requests: sender };
        let router =
            Router::new().route("/v1/chat/completions", post(complete)).with_state(Arc::new(answering));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, pieces, requests }
    }

    /// The section of a public bot `model` that asks it, with a deadline beyond a test's; more settings may follow.
    pub fn bot(&self) -> String {
        format!(
            "[[bot]]\nid = \"model\"\nkind = \"openai\"\nurl = \"{}\"\nmodel = \"m\"\npublic = true\n\
             timeout_seconds = 300\n",
            self.url
        )
    }

    /// Questions asked so far.
    pub fn asked(&self) -> usize {
        self.requests.borrow().len()
    }

    /// What it was sent at its nth question, from 0: the texts of all messages. Waits until it is asked.
    pub async fn told(&self, nth: usize) -> Vec<String> {
        let mut requests = self.requests.clone();
        let asked = requests.wait_for(|requests| requests.len() > nth);
        let requests = within(PATIENCE, "the model is asked", asked).await.unwrap();
        let messages = requests[nth]["messages"].as_array().unwrap();
        messages.iter().map(|message| message["content"].as_str().unwrap().to_owned()).collect()
    }

    pub fn say(&self, text: &str) {
        let piece = json!({"choices": [{"delta": {"content": text}}]});
        self.pieces.send(format!("data: {piece}\n\n")).unwrap();
    }

    pub fn end(&self) {
        self.pieces.send("data: [DONE]\n\n".into()).unwrap();
    }
}

/// What is said goes to the newest question: an earlier one whose client has left may not have noticed yet.
async fn complete(State(answering): State<Arc<Answering>>, Json(request): Json<Value>) -> Response {
    answering.requests.send_modify(|requests| requests.push(request));
    let newer = answering.requests.subscribe();
    let own = newer.borrow().len();
    let state = Some((Arc::clone(&answering.said), newer));
    let pieces = stream::unfold(state, move |state| async move {
        let (said, mut newer) = state?;
        let piece = tokio::select! {
            biased;
            _ = newer.wait_for(|requests| requests.len() > own) => None,
            piece = async { said.lock().await.recv().await } => piece,
        }?;
        let more = (!piece.contains("[DONE]")).then_some((said, newer));
        Some((Ok::<_, Infallible>(piece), more))
    });
    ([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(pieces)).into_response()
}
