//! A bot that does everything wrong that a bot can, over a raw socket. Its path says what.

use std::io::Result;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

/// What it can do: the first part of the path. The words `hush` are never to be seen by anybody.
pub const WAYS: &[&str] = &[
    "bytes-one-a-second",
    "chunk-of-no-size",
    "chunk-too-large",
    "closed-after-reading",
    "closed-in-the-body",
    "closed-in-the-headers",
    "empty",
    "encoded-gzip",
    "endless-answer",
    "endless-comments",
    "endless-document",
    "endless-headers",
    "endless-interim-answers",
    "endless-line",
    "endless-refusal",
    "garbage",
    "html",
    "length-too-large",
    "many-headers",
    "no-content",
    "not-utf-8",
    "redirect",
    "redirect-with-the-question",
    "reset-after-text",
    "reset-at-once",
    "silent",
    "unfinished",
];

/// A hundred thousand zeros, packed: this, 96 zeros and the tail.
const PACKED: (&[u8], usize, &[u8]) = (
    b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xed\xc1\x31\x01\x00\x00\x00\xc2\xa0\xf5\x4f\x6d\x0d\x0f\xa0",
    96,
    b"\x80\x57\x03\x7d\x95\x11\xd4\xa0\x86\x01\x00",
);

pub struct Hostile {
    /// Without a path; with a password.
    pub url: String,
    /// What no answer may tell.
    pub place: String,
}

impl Hostile {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                // Whoever asked may leave at any moment.
                tokio::spawn(async move { serve(socket).await.ok() });
            }
        });
        Self { url: format!("http://hush:hush@{place}"), place }
    }
}

async fn serve(mut socket: TcpStream) -> Result<()> {
    let mut reader = BufReader::new(&mut socket);
    let mut head = String::new();
    while reader.read_line(&mut head).await? > 2 {}
    let head = head.to_lowercase();
    let path = head.split(' ').nth(1).unwrap_or_default();
    let (_, way) = path.split_once('/').unwrap_or_default();
    let (way, api) = way.split_once('/').unwrap_or((way, ""));
    let length = head.split_once("content-length: ").and_then(|(_, rest)| rest.lines().next()?.parse().ok());
    reader.read_exact(&mut vec![0; length.unwrap_or(0)]).await?;
    if way.starts_with("reset") {
        socket.set_zero_linger()?;
    }

    let (content_type, piece) = match api {
        "" => ("application/json", "tok "),
        "chat/completions" => {
            ("text/event-stream", "data: {\"choices\":[{\"delta\":{\"content\":\"tok \"}}]}\n\n")
        }
        _ => ("text/event-stream", "{\"event\":\"token\",\"data\":{\"chunk\":\"tok \"}}\n\n"),
    };
    let start = if api.is_empty() { r#"{"hush":"hush","data":{"message":""# } else { ": hush\n" };
    let ok = format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\nx-hush: hush\r\n");
    let body = format!("{ok}\r\n{start}");
    let chunked = format!("{ok}transfer-encoding: chunked\r\n\r\n");
    let json = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{\"hush\":\"";
    match way {
        "bytes-one-a-second" => {
            say(&mut socket, &body).await?;
            loop {
                say(&mut socket, "h").await?;
                sleep(Duration::from_secs(1)).await;
            }
        }
        "chunk-of-no-size" => say(&mut socket, format!("{chunked}hush\r\n{piece}")).await,
        "chunk-too-large" => {
            say(&mut socket, format!("{chunked}ffffffffffffffff\r\n{start}")).await?;
            forever(&mut socket, piece).await
        }
        "closed-after-reading" => Ok(()),
        "closed-in-the-body" => {
            say(&mut socket, format!("{ok}content-length: 1000\r\n\r\n{start}{piece}")).await
        }
        "closed-in-the-headers" => say(&mut socket, ok).await,
        "empty" => say(&mut socket, format!("{ok}content-length: 0\r\n\r\n")).await,
        "encoded-gzip" => {
            let (start, zeros, end) = PACKED;
            say(&mut socket, format!("{ok}content-encoding: gzip\r\n\r\n")).await?;
            say(&mut socket, [start, &vec![0; zeros], end].concat()).await
        }
        "endless-answer" => {
            say(&mut socket, body).await?;
            forever(&mut socket, piece).await
        }
        "endless-comments" => {
            say(&mut socket, body).await?;
            forever(&mut socket, ": hush\n\n").await
        }
        "endless-document" => {
            say(&mut socket, json).await?;
            forever(&mut socket, "hush").await
        }
        "endless-headers" => {
            say(&mut socket, ok).await?;
            forever(&mut socket, "x-more: hush\r\n").await
        }
        "endless-interim-answers" => forever(&mut socket, "HTTP/1.1 100 Continue\r\nx: hush\r\n\r\n").await,
        "endless-line" => {
            say(&mut socket, format!("{body}\ndata: ")).await?;
            forever(&mut socket, "hush").await
        }
        "endless-refusal" => {
            say(&mut socket, "HTTP/1.1 500 hush\r\nretry-after: 99999999999999999999\r\n\r\n").await?;
            forever(&mut socket, "hush ").await
        }
        "garbage" => say(&mut socket, "hush, this is no HTTP\n").await,
        "html" => say(&mut socket, "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n\r\n<p>hush</p>\n\n").await,
        "length-too-large" => {
            say(&mut socket, format!("{ok}content-length: 99999999999999999999\r\n\r\n{start}{piece}")).await
        }
        "many-headers" => {
            say(&mut socket, format!("{ok}{}\r\n{start}", "x-more: hush\r\n".repeat(2000))).await
        }
        "no-content" => say(&mut socket, "HTTP/1.1 204 hush\r\n\r\n").await,
        "not-utf-8" => {
            say(&mut socket, body).await?;
            // The text is cut off there.
            say(&mut socket, b"\xff\xfe\n\n").await
        }
        "redirect" => {
            say(&mut socket, "HTTP/1.1 302 Found\r\nlocation: /hush\r\ncontent-length: 0\r\n\r\n").await
        }
        "redirect-with-the-question" => {
            say(&mut socket, "HTTP/1.1 307 X\r\nlocation: http://hush.example/\r\ncontent-length: 0\r\n\r\n")
                .await
        }
        "reset-after-text" => {
            say(&mut socket, format!("{body}{piece}{piece}")).await?;
            sleep(Duration::from_millis(50)).await;
            Ok(())
        }
        "silent" => std::future::pending().await,
        "unfinished" => say(&mut socket, format!("{body}{piece}{piece}")).await,
        // "reset-at-once"
        _ => Ok(()),
    }
}

async fn say(socket: &mut TcpStream, bytes: impl AsRef<[u8]>) -> Result<()> {
    socket.write_all(bytes.as_ref()).await
}

/// Until the other side has had enough, but no faster than a test machine can take.
async fn forever(socket: &mut TcpStream, piece: &str) -> Result<()> {
    let pieces = piece.repeat(16 * 1024 / piece.len());
    loop {
        say(socket, &pieces).await?;
        sleep(Duration::from_millis(4)).await;
    }
}
