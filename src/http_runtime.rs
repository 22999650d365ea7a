//! The threads that serve HTTP connections, and the sockets that they listen on.

use std::io;
use std::net::SocketAddr;

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// Connections that wait in the kernel's accept queue; the kernel may allow fewer. A client that finds a full queue retries
/// only after a second, so a short queue would turn a burst of connections into slow answers.
const ACCEPT_QUEUE: u32 = 4096;

/// The kernel's buffer for an answer that the client has not read yet; Linux allocates twice as much for its bookkeeping.
/// Without this limit it grows to 4 MiB for each connection. It is enough for 10 Mbit/s over a round trip of 100
/// milliseconds.
const SEND_BUFFER_BYTES: u32 = 128 * 1024;

/// The Tokio runtime of connections. Questions are carried out on the process's main runtime, so that a flood of requests
/// that are refused does not delay the questions that were admitted.
///
/// Dropping it ends its tasks without waiting for them.
pub struct HttpRuntime(Option<Runtime>);

impl HttpRuntime {
    pub fn start() -> Result<Self> {
        let runtime = Builder::new_multi_thread().thread_name("connections").enable_all().build();
        Ok(Self(Some(runtime.context("cannot start threads for connections")?)))
    }

    fn runtime(&self) -> &Runtime {
        self.0.as_ref().expect("only drop takes the runtime out")
    }

    /// Listens on the address, and returns it with the port that the system chose where it was 0. `setting` names the
    /// address in an error.
    pub fn listen(&self, address: SocketAddr, setting: &str) -> Result<(TcpListener, SocketAddr)> {
        let listener = self.bind(address).map_err(|error| {
            let advice = match error.kind() {
                io::ErrorKind::AddrInUse => "another program listens there",
                io::ErrorKind::AddrNotAvailable => {
                    "this machine has no such address: 0.0.0.0 and [::] stand for all that it has"
                }
                io::ErrorKind::PermissionDenied if address.port() < 1024 => {
                    "ports below 1024 need a right: choose a higher one, or give the program CAP_NET_BIND_SERVICE"
                }
                _ => "",
            };
            let advice = if advice.is_empty() { String::new() } else { format!(" ({advice})") };
            anyhow::anyhow!("cannot listen on {address} ({setting}): {error}{advice}")
        })?;
        let address = listener.local_addr().context("the listener has no address")?;
        Ok((listener, address))
    }

    fn bind(&self, address: SocketAddr) -> io::Result<TcpListener> {
        // The listener registers with the I/O driver of the runtime that is entered here.
        let _entered = self.runtime().enter();
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
        socket.bind(address)?;
        socket.listen(ACCEPT_QUEUE)
    }

    pub fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.runtime().spawn(task)
    }
}

impl Drop for HttpRuntime {
    fn drop(&mut self) {
        // A blocking shutdown panics inside a task, and the shutdown of the server is one.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
