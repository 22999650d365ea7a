//! A test server that answers over a real socket with recorded responses, cut into chunks of a chosen size.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;
use wicara_metrics::Metrics;
use wicara_model::{Answer, MessageId, Question};
use wicara_platform::Random;

use crate::{Error, Registry, Settings, tokens};

pub const SESSION: Uuid = Uuid::from_u128(7);

/// A recorded response.
#[derive(Clone)]
pub struct Recorded {
    pub status: u16,
    pub content_type: &'static str,
    /// Header lines beside the type, each with its line end.
    pub headers: &'static str,
    pub body: Vec<u8>,
    /// The connection stays open behind the body, which has no end.
    pub hangs: bool,
    /// The connection is closed behind the body, which has no end.
    pub closes: bool,
}

impl Recorded {
    pub fn stream(body: impl Into<Vec<u8>>) -> Self {
        Self { content_type: "text/event-stream; charset=utf-8", ..Self::json(200, body) }
    }

    pub fn json(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            content_type: "application/json",
            headers: "",
            body: body.into(),
            hangs: false,
            closes: false,
        }
    }
}

/// The content of a file in `cassettes`.
pub fn cassette(name: &str) -> Vec<u8> {
    let path = format!("{}/cassettes/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub struct Server {
    pub url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

/// A received request: request line and headers as one lower-case text, and the body.
#[derive(Debug, Clone)]
pub struct Request {
    pub head: String,
    pub body: String,
}

impl Server {
    /// Answers one request after the other and repeats the last response. Bodies are sent in chunks of `chunk_bytes`.
    pub async fn start(answers: Vec<Recorded>, chunk_bytes: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        tokio::spawn(async move {
            let mut answers = answers.into_iter().peekable();
            let mut last = None;
            while let Ok((socket, _)) = listener.accept().await {
                let answer = answers.next().or(last).unwrap();
                last = Some(answer.clone());
                let seen = Arc::clone(&seen);
                tokio::spawn(async move {
                    let mut socket = BufReader::new(socket);
                    let request = read_request(&mut socket).await.unwrap();
                    seen.lock().unwrap_or_else(PoisonError::into_inner).push(request);
                    respond(&mut socket, &answer, chunk_bytes).await.unwrap();
                });
            }
        });
        Self { url, requests }
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The path of each request.
    pub fn paths(&self) -> Vec<String> {
        self.requests().iter().map(|request| request.head.split(' ').nth(1).unwrap().to_owned()).collect()
    }
}

pub async fn read_request(socket: &mut BufReader<TcpStream>) -> std::io::Result<Request> {
    socket.get_ref().set_nodelay(true)?;
    let mut head = String::new();
    while socket.read_line(&mut head).await? > 2 {}
    let head = head.to_lowercase();
    let length = head.split_once("content-length: ").and_then(|(_, rest)| rest.lines().next()?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    socket.read_exact(&mut body).await?;
    Ok(Request { head, body: String::from_utf8(body).unwrap() })
}

/// Sends the answer in chunks of `chunk_bytes`.
pub async fn respond(
    socket: &mut BufReader<TcpStream>,
    answer: &Recorded,
    chunk_bytes: usize,
) -> std::io::Result<()> {
    let head = format!(
        "HTTP/1.1 {} X\r\ncontent-type: {}\r\ntransfer-encoding: chunked\r\nconnection: close\r\n{}\r\n",
        answer.status, answer.content_type, answer.headers
    );
    socket.write_all(head.as_bytes()).await?;
    for data in answer.body.chunks(chunk_bytes) {
        let chunk = [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat();
        // A client that has read enough closes the connection.
        if socket.write_all(&chunk).await.is_err() {
            return Ok(());
        }
    }
    if answer.hangs {
        // Until the client leaves.
        let _ = socket.read(&mut [0; 16]).await;
        return Ok(());
    }
    if !answer.closes {
        let _ = socket.write_all(b"0\r\n\r\n").await;
    }
    Ok(())
}

/// A registry with the bot `a` that has these settings.
pub fn registry(settings: &str) -> Registry {
    let text = format!("id = 'a'\ndefault = true\n{settings}");
    let settings = Settings::from_table(text.parse().unwrap()).unwrap();
    Registry::new(vec![settings], "", &Random::System, &Metrics::default()).unwrap()
}

pub fn question(text: &str) -> Question {
    Question { id: MessageId(1), session_id: SESSION, text: text.to_owned(), history: Vec::new() }
}

/// Asks the bot `a`; its answers, and the text that it streamed.
pub async fn ask(bots: &Registry, question: Question) -> (Result<Vec<Answer>, Error>, String) {
    let (sender, mut receiver) = tokens::channel::<()>();
    let answers = bots.get("a").unwrap().ask(question, &sender).await;
    drop(sender);
    match receiver.next().await {
        Some(tokens::Event::Text(text)) => (answers, text),
        _ => (answers, String::new()),
    }
}
