//! A TCP proxy that delays all that passes through it, so that PostgreSQL stands a network away.

use std::fs;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::process;

/// In each direction, so that a round trip takes a millisecond more.
const DELAY: Duration = Duration::from_micros(500);
/// Between two attempts to write to a socket whose buffer is full.
const FULL_PAUSE: Duration = Duration::from_micros(50);
/// The most that is read at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Bytes that are to be written once they are due. The delay is the same for all of them, so that the order of reading
/// is that of writing, and one queue serves all connections.
struct Chunk {
    due: Instant,
    to: Arc<TcpStream>,
    bytes: Vec<u8>,
}

/// A listening proxy; it ends with the process.
#[derive(Debug)]
pub struct Proxy {
    pub port: u16,
}

impl Proxy {
    /// One thread reads from all connections, another waits and writes: timers of tokio are no finer than a millisecond.
    pub fn start(target: u16) -> Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let (chunks, queue) = mpsc::channel();
        thread::Builder::new().name("proxy-writer".into()).spawn(move || write_when_due(&queue))?;
        let run = move || -> Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener)?;
                loop {
                    let (client, _) = listener.accept().await?;
                    let chunks = chunks.clone();
                    // A peer that leaves is no fault.
                    tokio::spawn(async move { connect(client, target, chunks).await.unwrap_or(()) });
                }
            })
        };
        thread::Builder::new().name("proxy-reader".into()).spawn(run)?;
        Ok(Self { port })
    }
}

/// Carries what both sides send until one of them closes, and closes the other once it has got all that was queued.
async fn connect(client: TcpStream, target: u16, chunks: Sender<Chunk>) -> Result<()> {
    let server = TcpStream::connect(("127.0.0.1", target)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (client, server) = (Arc::new(client), Arc::new(server));
    let mut directions = JoinSet::new();
    directions.spawn(read(Arc::clone(&client), Arc::clone(&server), chunks.clone()));
    directions.spawn(read(server, client, chunks));
    directions.join_next().await;
    Ok(())
}

async fn read(from: Arc<TcpStream>, to: Arc<TcpStream>, chunks: Sender<Chunk>) -> Result<()> {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        from.readable().await?;
        match from.try_read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => {
                let (due, bytes) = (Instant::now() + DELAY, buffer[..length].to_vec());
                chunks.send(Chunk { due, to: Arc::clone(&to), bytes })?;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "to wait is what this thread is for")]
fn write_when_due(queue: &Receiver<Chunk>) {
    // Where Linux does not take it, the way is somewhat longer.
    let _ = sleep_exactly();
    for Chunk { due, to, bytes } in queue {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        // A peer that has left needs it no more.
        let _ = write(&to, &bytes, || thread::sleep(FULL_PAUSE));
    }
}

/// Asks Linux to end this thread's sleeps when they are due, not up to 50 µs later.
fn sleep_exactly() -> Result<()> {
    let place = process::this_thread()?;
    let (_, id) = place.rsplit_once('/').context("a thread has a number")?;
    Ok(fs::write(format!("/proc/{id}/timerslack_ns"), "1")?)
}

fn write(to: &TcpStream, mut bytes: &[u8], pause: impl Fn()) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.try_write(bytes) {
            Ok(length) => bytes = &bytes[length..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => pause(),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn bytes_come_through_whole_in_both_directions_and_a_close_after_them() {
        let target = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy::start(target.local_addr().unwrap().port()).unwrap();
        // More than the sockets and one chunk hold.
        let sent: Vec<u8> = (0..8_000_000_u32).map(|place| (place % 251) as u8).collect();
        let mut client = TcpStream::connect(("127.0.0.1", proxy.port)).unwrap();
        let (mut server, _) = target.accept().unwrap();
        let mut writer = client.try_clone().unwrap();
        let bytes = sent.clone();
        let request = thread::spawn(move || writer.write_all(&bytes).unwrap());
        let mut received = vec![0; sent.len()];
        server.read_exact(&mut received).unwrap();
        assert!(received == sent);
        request.join().unwrap();
        let answer = thread::spawn(move || server.write_all(&received).unwrap());
        let mut answered = Vec::new();
        client.read_to_end(&mut answered).unwrap();
        assert!(answered == sent);
        answer.join().unwrap();
    }
}
