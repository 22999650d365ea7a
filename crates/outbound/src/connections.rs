//! The connections to one server: kept between calls, and replaced where they died meanwhile.
//!
//! A server, or a proxy before it, may close a connection that it kept for a while at the moment of its next use, without a
//! byte or with the status 408. That says
//! nothing about the server, so such a call is repeated at once over a new connection, and all kept ones are dropped: they
//! are as old.

use std::cell::Cell;
use std::error::Error as StdError;
use std::io::ErrorKind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reqwest::{Client, ClientBuilder, Request, RequestBuilder, Response, StatusCode, Url};
use tower::util::MapResponseLayer;

tokio::task_local! {
    /// Whether the call under way has made a connection of its own.
    static HAS_CONNECTED: Cell<bool>;
}

type Builder = dyn Fn() -> ClientBuilder + Send + Sync;

/// A pool of connections, and a way around it.
pub struct Connections {
    builder: Box<Builder>,
    pooled: Mutex<Arc<Client>>,
    /// Makes a connection for each call.
    unpooled: Client,
}

impl Connections {
    pub fn new(builder: impl Fn() -> ClientBuilder + Send + Sync + 'static) -> reqwest::Result<Self> {
        let pooled = Mutex::new(Arc::new(pooled(&builder)?));
        let unpooled = builder().pool_max_idle_per_host(0).build()?;
        Ok(Self { builder: Box::new(builder), pooled, unpooled })
    }

    /// Begins a request for [`Connections::send`].
    pub fn post(&self, url: Url) -> RequestBuilder {
        self.unpooled.post(url)
    }

    /// Sends a request, whose body has to be in memory. The server may get it twice: first over a connection that it closed.
    pub async fn send(&self, request: Request) -> reqwest::Result<Response> {
        let pooled = Arc::clone(&self.pooled());
        let again = request.try_clone();
        let (sent, has_connected) = HAS_CONNECTED
            .scope(Cell::new(false), async {
                let sent = pooled.execute(request).await;
                (sent, HAS_CONNECTED.with(Cell::get))
            })
            .await;
        match (sent, again) {
            (sent, Some(again)) if !has_connected && is_closed(&sent) => {
                tracing::debug!("kept connections of a bot are closed, so a new one is made");
                self.drop_kept(&pooled)?;
                self.unpooled.execute(again).await
            }
            (sent, _) => sent,
        }
    }

    /// Drops the kept connections, unless another call did so since this pool was used.
    fn drop_kept(&self, used: &Arc<Client>) -> reqwest::Result<()> {
        let mut current = self.pooled();
        if Arc::ptr_eq(&current, used) {
            *current = Arc::new(pooled(&self.builder)?);
        }
        Ok(())
    }

    fn pooled(&self) -> MutexGuard<'_, Arc<Client>> {
        self.pooled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pooled(builder: &(impl Fn() -> ClientBuilder + ?Sized)) -> reqwest::Result<Client> {
    builder().connector_layer(MapResponseLayer::new(note_connection)).build()
}

/// Runs in the task of the call that connects. A connection that is made for a call and then left to the pool, because
/// another one became free first, ends outside of it and is not noted.
fn note_connection<C>(connection: C) -> C {
    let _ = HAS_CONNECTED.try_with(|has_connected| has_connected.set(true));
    connection
}

/// Whether a connection ended before there was a response to its request: some servers say 408 when they close one that was
/// kept for too long.
fn is_closed(sent: &reqwest::Result<Response>) -> bool {
    let error = match sent {
        Ok(response) => return response.status() == StatusCode::REQUEST_TIMEOUT,
        Err(error) if error.is_connect() => return false,
        Err(error) => error,
    };
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        let is_incomplete = error
            .downcast_ref::<hyper::Error>()
            .is_some_and(|error| error.is_incomplete_message() || error.is_canceled());
        let is_broken = error.downcast_ref::<std::io::Error>().is_some_and(|error| {
            matches!(
                error.kind(),
                ErrorKind::ConnectionReset
                    | ErrorKind::ConnectionAborted
                    | ErrorKind::BrokenPipe
                    | ErrorKind::NotConnected
                    | ErrorKind::UnexpectedEof
            )
        });
        if is_incomplete || is_broken {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::sleep;
    use wicara_platform::tls;

    use super::*;

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

    /// A server whose connections answer `per_connection` requests and are closed when the next one has come. It answers none
    /// before there were `at_once`.
    async fn server(per_connection: usize, at_once: usize) -> (Url, Arc<AtomicUsize>, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let counts = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
        let [connections, requests] = counts.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                counts[0].fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(socket, per_connection, at_once, Arc::clone(&counts[1])));
            }
        });
        (url, connections, requests)
    }

    const LATE: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

    #[tokio::test]
    async fn a_kept_connection_that_times_out_at_its_next_use_is_replaced() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                tokio::spawn(async move {
                    for answer in [ANSWER, LATE] {
                        let _ = socket.read(&mut [0; 4096]).await;
                        let _ = socket.write_all(answer).await;
                    }
                });
            }
        });
        let connections = connections();
        for _ in 0..3 {
            assert_eq!(post(&connections, &url).await.unwrap(), "ok");
            // A connection is kept a moment after its answer was read.
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn serve(mut socket: TcpStream, per_connection: usize, at_once: usize, requests: Arc<AtomicUsize>) {
        for request in 0.. {
            let mut buffer = [0; 4096];
            let (mut head, mut read) = (Vec::new(), 1);
            while read > 0 && !head.ends_with(b"\r\n\r\nhi") {
                read = socket.read(&mut buffer).await.unwrap_or(0);
                head.extend_from_slice(&buffer[..read]);
            }
            if read > 0 {
                requests.fetch_add(1, Ordering::SeqCst);
            }
            while read > 0 && requests.load(Ordering::SeqCst) < at_once {
                sleep(Duration::from_millis(1)).await;
            }
            if read == 0 || request >= per_connection || socket.write_all(ANSWER).await.is_err() {
                return;
            }
        }
    }

    async fn post(connections: &Connections, url: &Url) -> reqwest::Result<String> {
        let request = connections.post(url.clone()).body("hi").build()?;
        connections.send(request).await?.text().await
    }

    fn connections() -> Connections {
        tls::install();
        Connections::new(|| Client::builder().no_proxy().tls_certs_only([])).unwrap()
    }

    #[tokio::test]
    async fn a_kept_connection_that_gives_no_byte_is_replaced() {
        let (url, made, requests) = server(1, 20).await;
        let connections = connections();
        let first = futures_util::future::join_all((0..20).map(|_| post(&connections, &url))).await;
        assert!(first.iter().all(|answer| answer.as_ref().is_ok_and(|text| text == "ok")), "{first:?}");
        // A connection is kept a moment after its answer was read.
        sleep(Duration::from_millis(100)).await;
        let counts = || (made.load(Ordering::SeqCst), requests.load(Ordering::SeqCst));
        assert_eq!(counts(), (20, 20));
        assert_eq!(post(&connections, &url).await.unwrap(), "ok");
        assert_eq!(counts(), (21, 22));
        // The other kept connections went with the first.
        assert_eq!(post(&connections, &url).await.unwrap(), "ok");
        assert_eq!(counts(), (22, 23));
    }

    #[tokio::test]
    async fn a_new_connection_that_gives_no_byte_is_an_error_at_once() {
        let (url, made, requests) = server(0, 0).await;
        let connections = connections();
        for _ in 0..3 {
            assert!(post(&connections, &url).await.is_err());
        }
        assert_eq!((made.load(Ordering::SeqCst), requests.load(Ordering::SeqCst)), (3, 3));
    }

    #[tokio::test]
    async fn a_connection_that_works_is_kept() {
        let (url, made, requests) = server(1000, 0).await;
        let connections = connections();
        for _ in 0..10 {
            assert_eq!(post(&connections, &url).await.unwrap(), "ok");
        }
        assert_eq!((made.load(Ordering::SeqCst), requests.load(Ordering::SeqCst)), (1, 10));
    }
}
