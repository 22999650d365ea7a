//! A key in use: requests with it that follow each other, an open stream, a page that waits for events.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use wicara_model::{Api, Bots, Role, Timestamp};
use wicara_platform::{Clock, Random};
use wicara_service::People;

use super::fleet::Fleet;
use super::readers::head;
use crate::cli::place::Place;
use crate::store::create;
use crate::support::{Answer, Client, PATIENCE, until, within};

const NAME: &str = "a key";
/// So long after its key was removed a request may still begin and pass.
pub const BELIEVED: Duration = Duration::from_secs(1);
/// Requests that are looked at before and after.
const MANY: usize = 40;

/// A request with the key.
#[derive(Debug, Clone, Copy)]
struct Knock {
    began: Instant,
    /// `None`: no answer.
    status: Option<u16>,
}

/// When the key was gone.
#[derive(Debug, Clone, Copy)]
pub struct Removed {
    at: Instant,
    time: Timestamp,
}

impl Removed {
    fn now() -> Self {
        Self { at: Instant::now(), time: Clock::System.now() }
    }
}

fn people(fleet: &Fleet) -> People {
    People::new(fleet.site.store.clone(), Clock::System, Random::System)
}

/// A key that a server knows.
pub struct KeyInUse {
    secret: String,
    client: Client,
    /// With another key, which stays; of the first server.
    other: Client,
    /// A conversation in which nothing happens.
    quiet: String,
    knocks: Arc<Mutex<Vec<Knock>>>,
    knocking: JoinSet<()>,
    /// Their events, and when each came.
    streams: Vec<JoinHandle<Vec<(Instant, Value)>>>,
    pages: Vec<JoinHandle<Answer>>,
}

impl KeyInUse {
    /// Makes the key and lets one server know it, by requests alone.
    pub async fn at(fleet: &Fleet, server: usize) -> Self {
        let (_, secret) = people(fleet).key_create(NAME, Role::Agent, Bots::All, Api::Chatbot).await.unwrap();
        let quiet = create(&fleet.site.store, "echo", &[]).await.conversation.id.0.to_string();
        let client = Client::new(&fleet.bases.get(server)).named(NAME).with("x-api-key", &secret);
        let (other, knocks) = (fleet.program_at(0), Arc::default());
        let (knocking, streams, pages) = (JoinSet::new(), Vec::new(), Vec::new());
        let mut key = Self { secret, client, other, quiet, knocks, knocking, streams, pages };
        key.knock(4);
        until(PATIENCE, "the key is known", async || key.begun_after(None).len() >= MANY).await;
        assert!(key.begun_after(None).iter().all(|knock| knock.status == Some(200)));
        key
    }

    /// Opens a stream of everything, and waits for events of the quiet conversation.
    pub async fn follow(&mut self) {
        self.try_follow().await.expect("the key is good");
        let path =
            format!("/api/events?after={}&conversationId={}&wait=30", head(&self.client).await, self.quiet);
        let client = self.client.with("accept", "application/json");
        self.pages.push(tokio::spawn(async move { client.get(&path).await }));
    }

    /// Opens a stream of everything; `None` where the key is refused.
    pub async fn try_follow(&mut self) -> Option<()> {
        let mut feed = self.client.try_follow("/api/events").await.unwrap()?;
        self.streams.push(tokio::spawn(async move {
            let mut events = Vec::new();
            while let Some(event) = feed.next().await {
                events.push((Instant::now(), event));
            }
            events
        }));
        Some(())
    }

    /// The answer to a GET, over a socket with small buffers, of which nothing is read yet.
    pub async fn unread(&self, path: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(16 * 1024).unwrap();
        let address = self.client.base().strip_prefix("http://").unwrap().parse().unwrap();
        let mut stream = socket.connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nX-API-Key: {}\r\n\r\n", self.secret);
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    /// So many more at once ask with the key, each again and again.
    pub fn knock(&mut self, count: usize) {
        for _ in 0..count {
            let (client, quiet, knocks) = (self.client.clone(), self.quiet.clone(), Arc::clone(&self.knocks));
            self.knocking.spawn(async move {
                for number in 0.. {
                    let began = Instant::now();
                    let answer = if number % 4 == 3 {
                        client.try_send(Method::GET, "/api/conversation?limit=1", None).await
                    } else {
                        client.try_send(Method::GET, &format!("/api/conversation/{quiet}"), None).await
                    };
                    let status = answer.ok().map(|answer| answer.status.as_u16());
                    knocks.lock().unwrap().push(Knock { began, status });
                }
            });
        }
    }

    fn begun_after(&self, instant: Option<Instant>) -> Vec<Knock> {
        let knocks = self.knocks.lock().unwrap();
        knocks.iter().filter(|knock| instant.is_none_or(|instant| knock.began > instant)).copied().collect()
    }

    /// `wicara key remove`, by the way of the database that the site has.
    pub fn remove(fleet: &Fleet) -> Removed {
        let place = Place::with_config(&format!("store.url = \"{}\"\n", fleet.site.database.url));
        place.run(&["key", "remove", NAME]).done();
        Removed::now()
    }

    /// What that command does, without the time that a process takes to start.
    pub async fn remove_at_once(fleet: &Fleet) -> Removed {
        people(fleet).key_delete(NAME).await.unwrap();
        Removed::now()
    }

    /// Waits until so many requests that began a second after the removal are answered: none is let in.
    pub async fn nothing_passes_after(&self, removed: Removed, count: usize) {
        let late = || self.begun_after(Some(removed.at + BELIEVED));
        until(PATIENCE, "late requests are answered", async || late().len() >= count).await;
        for knock in late() {
            let late = knock.began - removed.at;
            assert!(matches!(knock.status, Some(401 | 503) | None), "{late:?} after the removal: {knock:?}");
        }
    }

    /// The server knows that the key is gone: requests are refused, streams have ended, and what waited got nothing.
    /// `silent_since`: when the server began to hear again of what had happened, where it did not for longer than a second;
    /// its streams have shown nothing from then on.
    pub async fn assert_gone(mut self, removed: Removed, silent_since: Option<Instant>) {
        let refused =
            async || self.begun_after(Some(removed.at)).iter().any(|knock| knock.status == Some(401));
        until(PATIENCE, "the key is refused", refused).await;
        self.nothing_passes_after(removed, MANY).await;
        let message =
            json!({"message": "late", "type": "text", "role": "client", "conversationId": self.quiet});
        self.other.post("/api/message", &message).await.ok();
        for page in self.pages.drain(..) {
            let page = within(PATIENCE, "a page that waits is answered", page).await.unwrap();
            assert_eq!(page.ok()["data"], json!([]));
        }
        let last = Timestamp(removed.time.0 + 1000).to_string();
        for stream in self.streams.drain(..) {
            for (at, event) in within(PATIENCE, "a stream ends", stream).await.unwrap() {
                assert!(event["at"].as_str().unwrap() <= last.as_str(), "from after {last}: {event}");
                assert!(silent_since.is_none_or(|silent_since| at < silent_since), "too late: {event}");
            }
        }
        self.nothing_passes_after(removed, MANY).await;
    }
}
