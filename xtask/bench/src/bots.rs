//! The bots that are asked: small servers in this process, a thread each, so that they cost as little as they can.

use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval};

use crate::process;
use crate::times::now;

/// Tokens of a streamed answer, and the time between two.
pub const TOKENS: usize = 20;
pub const TOKEN_PAUSE: Duration = Duration::from_millis(50);

const ANSWER: &str = r#"{"data":{"message":[{"text":"The office is open from Monday to Friday, from eight in the morning to four in the afternoon."}]}}"#;

/// A bot that listens.
#[derive(Debug)]
pub struct Bot {
    pub port: u16,
    /// Its thread's place in `/proc`.
    pub thread: String,
}

#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Answers at once, as the kind `http` expects it.
    Instant,
    /// Streams tokens that say when they were sent, as the kind `openai` expects it.
    Streaming,
}

impl Bot {
    /// Starts one; it ends with the process.
    pub fn start(kind: Kind) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let (sender, receiver) = mpsc::channel();
        let run = move || -> Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            sender.send(process::this_thread()?)?;
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                loop {
                    let (stream, _) = listener.accept().await?;
                    // A client that leaves is no fault.
                    tokio::spawn(async move { serve(kind, stream).await.unwrap_or(()) });
                }
            })
        };
        thread::Builder::new().name("bot".into()).spawn(run)?;
        let thread = receiver.recv().context("a bot did not start")?;
        Ok(Self { port, thread })
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

async fn serve(kind: Kind, mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{ANSWER}",
        ANSWER.len()
    );
    let mut buffer = Vec::with_capacity(4096);
    loop {
        while let Some(end) = request_end(&buffer) {
            buffer.drain(..end);
            match kind {
                Kind::Instant => stream.write_all(answer.as_bytes()).await?,
                Kind::Streaming => stream_tokens(&mut stream).await?,
            }
        }
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}

/// Where the first request in the buffer ends, once all of it is there.
fn request_end(buffer: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"content-length:";
    let head = buffer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let lines = buffer[..head].split(|&byte| byte == b'\n');
    let length = lines.filter(|line| line.len() > NAME.len()).find_map(|line| {
        let (name, value) = line.split_at(NAME.len());
        name.eq_ignore_ascii_case(NAME).then(|| str::from_utf8(value).ok()?.trim().parse::<usize>().ok())?
    });
    let end = head + length.unwrap_or(0);
    (buffer.len() >= end).then_some(end)
}

async fn stream_tokens(stream: &mut TcpStream) -> Result<()> {
    const HEAD: &str =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(HEAD.as_bytes()).await?;
    let mut pace = interval(TOKEN_PAUSE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for _ in 0..TOKENS {
        pace.tick().await;
        let content = format!("@{}@ ", now().as_nanos());
        let frame = format!(r#"data: {{"choices":[{{"index":0,"delta":{{"content":"{content}"}}}}]}}"#);
        write_chunk(stream, &frame).await?;
    }
    write_chunk(stream, r#"data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#).await?;
    write_chunk(stream, "data: [DONE]").await?;
    Ok(stream.write_all(b"0\r\n\r\n").await?)
}

async fn write_chunk(stream: &mut TcpStream, frame: &str) -> Result<()> {
    let chunk = format!("{:x}\r\n{frame}\n\n\r\n", frame.len() + 2);
    Ok(stream.write_all(chunk.as_bytes()).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_ends_with_its_body() {
        let request = b"POST / HTTP/1.1\r\nContent-Length: 3\r\nHost: x\r\n\r\nabc";
        assert_eq!(request_end(request), Some(request.len()));
        assert_eq!(request_end(&request[..request.len() - 1]), None);
        assert_eq!(request_end(b"GET / HTTP/1.1\r\n\r\nGET"), Some(18));
    }
}
