//! A language model behind the form of OpenAI's API, which says a piece when the test does.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures_util::stream;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};

pub struct Model {
    pub url: String,
    pieces: mpsc::UnboundedSender<String>,
}

type Pieces = Arc<Mutex<mpsc::UnboundedReceiver<String>>>;

impl Model {
    pub async fn start() -> Self {
        let (pieces, said) = mpsc::unbounded_channel();
        let said = Arc::new(Mutex::new(said));
        let router = Router::new().route("/v1/chat/completions", post(complete)).with_state(said);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, pieces }
    }

    pub fn say(&self, text: &str) {
        let piece = json!({"choices": [{"delta": {"content": text}}]});
        self.pieces.send(format!("data: {piece}\n\n")).unwrap();
    }

    pub fn end(&self) {
        self.pieces.send("data: [DONE]\n\n".into()).unwrap();
    }
}

async fn complete(State(said): State<Pieces>) -> Response {
    let pieces = stream::unfold(Some(said), |said| async {
        let said = said?;
        let piece = said.lock().await.recv().await?;
        let more = (!piece.contains("[DONE]")).then_some(said);
        Some((Ok::<_, Infallible>(piece), more))
    });
    ([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(pieces)).into_response()
}
