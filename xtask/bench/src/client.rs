//! An HTTP client of one connection, which costs next to nothing and sees each piece when it comes.

use std::future::Future;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Runs it on this thread, with timers and sockets.
pub fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}

#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    /// What has come and belongs to no answer yet.
    buffer: Vec<u8>,
}

/// An answer, whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// As it came: names in the case that the server sends.
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (known, value) = line.split_once(':')?;
        known.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

impl Client {
    pub async fn connect(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(64 * 1024) })
    }

    pub async fn ask(&mut self, request: &str) -> Result<Answer> {
        self.stream.write_all(request.as_bytes()).await?;
        let (status, head) = self.head().await?;
        let body = match header(&head, "content-length") {
            Some(length) => {
                let length = length.parse().context("the length is no number")?;
                while self.buffer.len() < length {
                    self.more().await?;
                }
                self.buffer.drain(..length).collect()
            }
            None => self.chunks(|_| ()).await?,
        };
        Ok(Answer { status, head, body })
    }

    /// Asks for a stream and shows each piece of it as it comes, with the bytes between the pieces.
    pub async fn ask_stream(&mut self, request: &str, see: impl FnMut(&[u8])) -> Result<u16> {
        self.stream.write_all(request.as_bytes()).await?;
        let (status, _) = self.head().await?;
        self.chunks(see).await?;
        Ok(status)
    }

    async fn head(&mut self) -> Result<(u16, String)> {
        let end = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end + 4;
            }
            self.more().await?;
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drain(..end);
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok((status.with_context(|| format!("no status in {head:?}"))?, head))
    }

    /// The pieces of a body of unknown length, put together.
    async fn chunks(&mut self, mut see: impl FnMut(&[u8])) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        let mut at = 0;
        loop {
            let line = loop {
                if let Some(line) = find(&self.buffer[at..], b"\r\n") {
                    break line;
                }
                self.more().await?;
            };
            let size = str::from_utf8(&self.buffer[at..at + line]).ok();
            let size = size.and_then(|size| usize::from_str_radix(size.trim(), 16).ok());
            let size = size.context("the answer comes neither with its length nor in pieces")?;
            let (start, end) = (at + line + 2, at + line + 2 + size);
            while self.buffer.len() < end + 2 {
                self.more().await?;
            }
            at = end + 2;
            if size == 0 {
                self.buffer.drain(..at);
                return Ok(body);
            }
            see(&self.buffer[start..end]);
            body.extend_from_slice(&self.buffer[start..end]);
        }
    }

    async fn more(&mut self) -> Result<()> {
        let read = self.stream.read_buf(&mut self.buffer).await?;
        ensure!(read > 0, "the server closed the connection");
        Ok(())
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
