//! The server's memory under clients that begin and do not go on: it is bounded by budgets, not by their number.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use wicara_metrics::Metrics;
use wicara_model::{Api, Bots, ConversationId, NewMessage, Role, Timestamp};
use wicara_platform::{Clock, Random};
use wicara_service::People;
use wicara_store::{Append, Ask, Store, Target};

use super::process::Server;
use crate::store::create;
use crate::support::{Answer, Bot, Client, Database, Engine, found, until};

const MIB: usize = 1024 * 1024;

/// What the server may hold of bodies, by its configuration, and of answers.
const BODIES: usize = 8 * MIB;
const ANSWERS: usize = 64 * MIB;
/// What a connection takes besides: buffers for its head and for what is written, and its task, unoptimised.
const CONNECTION: usize = 64 * 1024;
/// What the allocator keeps of what was freed, threads and the database.
const SLACK: usize = 48 * MIB;

/// Each would hold a megabyte, a third of one of a conversation, or one and a half of a page's script.
const SENDERS: usize = 1500;
const READERS: usize = 1500;
const LOADERS: usize = 300;

struct Place {
    server: Server,
    key: String,
    conversation: i64,
    session: String,
    _folder: tempfile::TempDir,
    _bot: Bot,
    _database: Database,
}

impl Place {
    async fn new() -> Self {
        let database = Database::new(Engine::Sqlite).await;
        let bot = Bot::start().await;
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "server.listen = \"127.0.0.1:0\"\nstore.url = \"{}\"\nlimits.body_budget_bytes = {BODIES}\n\
             limits.questions_per_minute_per_address = 0\n\
             [[bot]]\nid = \"echo\"\nkind = \"http\"\nurl = \"{}\"\ndefault = true\n",
            database.url, bot.url
        );
        std::fs::write(folder.path().join("wicara.toml"), config).unwrap();
        let store =
            Store::open(&database.url, Duration::ZERO, &Random::System, &Metrics::default()).await.unwrap();
        let conversation = create(&store, "echo", &[]).await.conversation;
        let messages = (0..50).map(|_| NewMessage::question("a".repeat(64 * 1024))).collect();
        let target = Target::Existing(ConversationId(conversation.id.0));
        let append = Append { at: Timestamp(1_000), target, messages, ask: Ask::No, claim: None };
        store.append(append).await.unwrap();
        let people = People::new(store.clone(), Clock::System, Random::System);
        let (_, key) = people.key_create("reader", Role::Admin, Bots::All, Api::Chatbot).await.unwrap();
        store.close().await;
        let server = Server::start(&folder.path().join("wicara.toml"));
        let (conversation, session) = (conversation.id.0, conversation.session_id.to_string());
        Self { server, key, conversation, session, _folder: folder, _bot: bot, _database: database }
    }

    /// With so much memory for what is asked beyond what it takes when little is.
    async fn with_peak(more: usize) -> (Arc<Self>, Peak) {
        raise_descriptors();
        let place = Arc::new(Self::new().await);
        place.ends_well().await;
        let bound = place.memory() + more + SLACK;
        (Arc::clone(&place), Peak::new(place, bound))
    }

    fn visitor(&self) -> Client {
        Client::new(&self.server.base)
    }

    fn program(&self) -> Client {
        self.visitor().with("x-api-key", &self.key)
    }

    /// A connection of a client that takes in little and has sent this.
    async fn sent(&self, bytes: &[u8]) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(8 * 1024).unwrap();
        let address = self.server.base.strip_prefix("http://").unwrap().parse().unwrap();
        let mut stream = socket.connect(address).await.unwrap();
        // The server may close before it took everything.
        let _ = stream.write_all(bytes).await;
        stream
    }

    /// Resident memory of the server.
    fn memory(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.server.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
    }

    /// Those who ask for little, whatever others do.
    async fn is_well(&self) {
        let question = json!({"message": "well?"});
        assert_eq!(
            self.visitor().post("/api/questions", &question).await.ok()["data"][0]["text"],
            "echo: well?"
        );
        self.program().get("/api/conversation?limit=1&after=1").await.ok();
        self.visitor().get("/healthz").await.ok();
    }

    async fn held(&self, of: &str) -> usize {
        let text = self.program().get("/metrics").await.text;
        let series = format!("wicara_http_budget_bytes{{of=\"{of}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&series)).unwrap().parse().unwrap()
    }

    /// Everything is as before, and nothing is held.
    async fn ends_well(&self) {
        let free = async || self.held("bodies").await + self.held("answers").await == 0;
        until(Duration::from_secs(20), "nothing is held", free).await;
        self.whole_detail().await;
        self.is_well().await;
    }

    /// The conversation as a whole, as soon as there is room for it.
    async fn whole_detail(&self) -> Answer {
        // Long before slow readers are given up anyway.
        let path = format!("/api/conversation/{}", self.conversation);
        found(Duration::from_secs(20), "slow readers make room for others", async || {
            let answer = self.program().get(&path).await;
            if answer.status == 200 {
                assert_eq!(answer.json()["data"]["messages"].as_array().unwrap().len(), 50);
                return Some(answer);
            }
            assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, Some("2")));
            sleep(Duration::from_millis(500)).await;
            None
        })
        .await
    }
}

/// The most memory that the server takes, and may take.
struct Peak {
    most: Arc<AtomicUsize>,
    bound: usize,
    watching: JoinHandle<()>,
}

impl Peak {
    fn new(place: Arc<Place>, bound: usize) -> Self {
        let most = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&most);
        let watching = tokio::spawn(async move {
            loop {
                seen.fetch_max(place.memory(), Ordering::Relaxed);
                sleep(Duration::from_millis(10)).await;
            }
        });
        Self { most, bound, watching }
    }

    #[track_caller]
    fn assert_held(self) {
        self.watching.abort();
        let (most, bound) = (self.most.load(Ordering::Relaxed) / MIB, self.bound / MIB);
        eprintln!("{most} MiB, of {bound} MiB that are allowed");
        assert!((1..=bound).contains(&most), "{most} MiB, of {bound} MiB that are allowed");
    }
}

/// The status of an answer of which no more is read; 0 where the connection ends without one.
async fn status(stream: &mut TcpStream) -> u16 {
    let mut line = [0; 12];
    let read = timeout(Duration::from_secs(20), stream.read_exact(&mut line)).await.expect("nobody waits");
    if read.is_err() {
        return 0;
    }
    str::from_utf8(&line[9..]).unwrap().parse().unwrap()
}

async fn statuses(streams: &mut [TcpStream], of: u16) -> usize {
    let statuses = join_all(streams.iter_mut().map(status)).await;
    statuses.into_iter().filter(|status| *status == of).count()
}

/// As many descriptors as the system grants.
fn raise_descriptors() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_do_not_end_hold_no_more_than_their_budget() {
    let (place, peak) = Place::with_peak(BODIES + SENDERS * CONNECTION).await;
    let mut body = format!(
        "POST /api/questions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {MIB}\r\n\r\n"
    )
    .into_bytes();
    // The last byte does not come.
    body.resize(body.len() + MIB - 1, b' ');
    let mut streams = join_all((0..SENDERS).map(|_| place.sent(&body))).await;
    place.is_well().await;
    assert!(place.held("bodies").await <= BODIES / 2);
    // Those that were let in are waited for.
    let held = BODIES / 2 / MIB;
    let answered = streams.iter_mut().map(|stream| timeout(Duration::from_secs(6), status(stream)));
    let answered: Vec<_> = join_all(answered).await.into_iter().flatten().collect();
    assert!(answered.len() >= SENDERS - held, "{} were answered", answered.len());
    assert!(answered.iter().all(|status| *status == 503), "{answered:?}");
    peak.assert_held();
    drop(streams);
    place.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_that_nobody_reads_hold_no_more_than_their_budget() {
    let (place, peak) = Place::with_peak(ANSWERS + READERS * CONNECTION).await;
    let detail = format!(
        "GET /api/conversation/{} HTTP/1.1\r\nHost: a\r\nX-API-Key: {}\r\n\r\n",
        place.conversation, place.key
    );
    let thread = format!("GET /api/questions/{} HTTP/1.1\r\nHost: a\r\n\r\n", place.session);
    let ask = |request: &str| {
        let (place, request) = (Arc::clone(&place), request.to_owned());
        async move { join_all((0..READERS / 2).map(|_| place.sent(request.as_bytes()))).await }
    };
    // What visitors hold already leaves half of the budget to programs. The other way round nobody is promised a part.
    let mut visitors = ask(&thread).await;
    let refused_visitors = statuses(&mut visitors, 503).await;
    let mut programs = ask(&detail).await;
    let refused_programs = statuses(&mut programs, 503).await;
    for refused in [refused_visitors, refused_programs] {
        assert!((1..READERS / 2).contains(&refused), "{refused} of {} were refused", READERS / 2);
    }
    assert!(place.held("answers").await <= ANSWERS);
    place.is_well().await;
    // Who reads gets the room of those who do not.
    place.whole_detail().await;
    peak.assert_held();
    drop((programs, visitors));
    place.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_that_nobody_reads_are_held_once() {
    let (place, peak) = Place::with_peak(LOADERS * CONNECTION).await;
    let script = b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut loaders = join_all((0..LOADERS).map(|_| place.sent(script))).await;
    assert_eq!(statuses(&mut loaders, 200).await, LOADERS);
    peak.assert_held();
    drop(loaders);
    place.ends_well().await;
}
