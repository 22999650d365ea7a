//! A proxy before PostgreSQL. It reads the frames of the protocol (version 3), so that a test says at which statement a
//! connection breaks, hangs, or a statement fails.
//!
//! No error is made up: a statement that is to fail is replaced by one that raises the error, so that the server itself
//! answers it, in its turn among pipelined ones, and its transaction is in the state that such an error leaves.

use std::collections::{HashMap, VecDeque};
use std::io::{ErrorKind, Result};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

use super::Database;
use super::recording::{Recording, RoundTrip};

const PIECE: Duration = Duration::from_millis(1);

/// What happens at a statement.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// It fails with this SQLSTATE.
    Fails(&'static str),
    /// The connection is cut before the server sees the statement.
    CutBefore,
    /// The connection is cut when the server has answered, and the client never sees the answer.
    CutAfter,
    /// The server does not see it: nothing passes on this connection, either way, until [`PostgresProxy::thaw`].
    Held,
    /// The server sees it, and nothing that the server says passes on this connection until [`PostgresProxy::thaw`].
    AnswerHeld,
}

/// A statement on its way to the server.
pub struct Passing<'a> {
    pub sql: &'a str,
    /// Those before it on its connection, from the last BEGIN on.
    pub before: &'a [String],
}

/// A fault that waits for its statement.
pub struct Trap {
    matches: Box<dyn Fn(&Passing) -> bool + Send + Sync>,
    fault: Fault,
    left: AtomicUsize,
    sprung: AtomicUsize,
}

impl Trap {
    /// How often its statement has come.
    pub fn sprung(&self) -> usize {
        self.sprung.load(Ordering::SeqCst)
    }

    fn springs(&self, statement: &Passing) -> bool {
        let take = |left: usize| left.checked_sub(1);
        let springs = (self.matches)(statement)
            && self.left.try_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok();
        self.sprung.fetch_add(springs.into(), Ordering::SeqCst);
        springs
    }
}

pub fn is_begin(statement: &Passing) -> bool {
    begins(statement.sql, "BEGIN")
}

/// Stores what people say, by itself.
pub fn is_append(statement: &Passing) -> bool {
    statement.sql.contains("wicara_append_")
}

/// The end of what stores what people say, of an append or of a transaction: others come and go by themselves.
pub fn is_commit(statement: &Passing) -> bool {
    let of_people = |sql: &String| sql.contains("conversations") || sql.contains("messages");
    is_append(statement) || (begins(statement.sql, "COMMIT") && statement.before.iter().any(of_people))
}

fn begins(sql: &str, word: &str) -> bool {
    sql.trim_start().get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
}

pub struct PostgresProxy {
    /// Of the database, by way of the proxy.
    pub url: String,
    shared: Arc<Shared>,
}

struct Shared {
    server: String,
    traps: Mutex<Vec<Arc<Trap>>>,
    control: watch::Sender<Control>,
    connections: AtomicUsize,
    recording: Recording,
}

/// What holds for all connections, those that are yet to come too.
#[derive(Default)]
struct Control {
    frozen: bool,
    refusing: bool,
    piecemeal: bool,
    cuts: usize,
    thaws: usize,
}

impl PostgresProxy {
    pub async fn before(database: &Database) -> Self {
        let (user, place) = database.url.split_once('@').expect("postgres://USER@HOST:PORT/DATABASE");
        let (server, name) = place.split_once('/').expect("postgres://USER@HOST:PORT/DATABASE");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("{user}@{}/{name}", listener.local_addr().unwrap());
        let (control, _) = watch::channel(Control::default());
        let shared = Arc::new(Shared {
            server: server.to_owned(),
            traps: Mutex::default(),
            control,
            connections: AtomicUsize::new(0),
            recording: Recording::default(),
        });
        tokio::spawn({
            let shared = Arc::clone(&shared);
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    if shared.control.borrow().refusing {
                        client.set_zero_linger().unwrap();
                    } else {
                        // Either side may leave at any moment.
                        tokio::spawn(carry(client, Arc::clone(&shared)));
                    }
                }
            }
        });
        Self { url, shared }
    }

    /// The next `times` that such a statement passes (at its execution, if it was prepared) this happens to it.
    pub fn at(
        &self,
        matches: impl Fn(&Passing) -> bool + Send + Sync + 'static,
        times: usize,
        fault: Fault,
    ) -> Arc<Trap> {
        let matches = Box::new(matches);
        let trap = Arc::new(Trap { matches, fault, left: times.into(), sprung: 0.into() });
        lock(&self.shared.traps).push(Arc::clone(&trap));
        trap
    }

    /// Whatever waits for its statement does so no longer.
    pub fn clear(&self) {
        lock(&self.shared.traps).clear();
    }

    /// Records round trips from now on; what was recorded before is forgotten.
    pub fn record(&self) {
        self.shared.recording.start();
    }

    /// Those since [`PostgresProxy::record`] whose statements have passed on to the server.
    pub fn round_trips(&self) -> Vec<RoundTrip> {
        self.shared.recording.round_trips()
    }

    /// Nothing passes any more, either way; nothing is closed either.
    pub fn freeze(&self) {
        self.shared.control.send_modify(|control| control.frozen = true);
    }

    /// Lets go what was held back, here or at a statement.
    pub fn thaw(&self) {
        self.shared.control.send_modify(|control| {
            control.frozen = false;
            control.thaws += 1;
        });
    }

    /// Each message that the server sends is a packet of its own, as it may be on its way over a network.
    pub fn send_piecemeal(&self) {
        self.shared.control.send_modify(|control| control.piecemeal = true);
    }

    /// Closes all connections.
    pub fn cut(&self) {
        self.shared.control.send_modify(|control| control.cuts += 1);
    }

    /// Closes new connections at once; those that are open stay.
    pub fn refuse(&self) {
        self.shared.control.send_modify(|control| control.refusing = true);
    }

    pub fn accept(&self) {
        self.shared.control.send_modify(|control| control.refusing = false);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

/// One connection of a client and its own to the server.
struct Connection {
    shared: Arc<Shared>,
    number: usize,
    /// What the client has asked for and the server has yet to answer: each ends in one `ReadyForQuery`.
    turns: Mutex<VecDeque<Turn>>,
    /// The number of the thaw that ends the holding; 0: not held.
    requests_held: AtomicUsize,
    answers_held: AtomicUsize,
}

#[derive(Default)]
struct Turn {
    /// The client does not know that a statement was parsed in it.
    parsed: bool,
    cut: bool,
}

enum Passes {
    Yes,
    No,
    /// Nothing does from here on.
    End,
}

async fn carry(client: TcpStream, shared: Arc<Shared>) -> Result<()> {
    let server = TcpStream::connect(&shared.server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut control = shared.control.subscribe();
    let cuts = control.borrow().cuts;
    let number = shared.connections.fetch_add(1, Ordering::SeqCst);
    let connection = Connection {
        shared,
        number,
        turns: Mutex::default(),
        requests_held: AtomicUsize::new(0),
        answers_held: AtomicUsize::new(0),
    };
    tokio::select! {
        ended = connection.requests(BufReader::new(from_client), to_server) => ended,
        ended = connection.answers(BufReader::new(from_server), to_client) => ended,
        _ = control.wait_for(|control| control.cuts > cuts) => Ok(()),
    }
}

impl Connection {
    async fn requests(&self, mut client: BufReader<OwnedReadHalf>, mut server: OwnedWriteHalf) -> Result<()> {
        // The first message has no type.
        let start = read_body(&mut client).await?;
        lock(&self.turns).push_back(Turn::default());
        self.pass(&self.requests_held).await;
        server.write_all(&[length(&start).as_slice(), start.as_slice()].concat()).await?;

        let mut prepared: HashMap<String, String> = HashMap::new();
        let (mut turn, mut before, mut trip) = (Turn::default(), Vec::new(), Vec::new());
        while let Some((kind, body)) = read(&mut client).await? {
            let mut message = frame(kind, &body);
            let sql = match kind {
                b'Q' => Some(text(&body, 0)),
                b'P' => {
                    prepared.insert(text(&body, 0), text(&body, 1));
                    None
                }
                b'B' => prepared.get(&text(&body, 1)).cloned(),
                _ => None,
            };
            trip.extend(sql.clone());
            match sql.and_then(|sql| self.fault(sql, &mut before)) {
                None => {}
                Some(Fault::Fails(code)) if kind == b'Q' => message = frame(b'Q', &raise(code)),
                Some(Fault::Fails(code)) => {
                    turn.parsed = true;
                    let parse = frame(b'P', &[b"\0", raise(code).as_slice(), b"\0\0"].concat());
                    // The unnamed portal of the unnamed statement, without parameters.
                    message = [parse, frame(b'B', b"\0\0\0\0\0\0\0\0")].concat();
                }
                Some(Fault::CutBefore) => return Ok(()),
                Some(Fault::CutAfter) => turn.cut = true,
                Some(Fault::Held) => {
                    self.hold(&self.requests_held);
                    self.hold(&self.answers_held);
                }
                Some(Fault::AnswerHeld) => self.hold(&self.answers_held),
            }
            if matches!(kind, b'Q' | b'S') {
                lock(&self.turns).push_back(std::mem::take(&mut turn));
            }
            self.pass(&self.requests_held).await;
            if matches!(kind, b'Q' | b'S') {
                self.shared.recording.add(self.number, std::mem::take(&mut trip));
            }
            server.write_all(&message).await?;
        }
        Ok(())
    }

    async fn answers(&self, mut server: BufReader<OwnedReadHalf>, mut client: OwnedWriteHalf) -> Result<()> {
        // What the server sent together goes on together.
        let mut together = Vec::new();
        while let Some((kind, body)) = read(&mut server).await? {
            match self.answered(kind) {
                Passes::Yes => together.extend(frame(kind, &body)),
                Passes::No => {}
                Passes::End => {
                    self.pass(&self.answers_held).await;
                    return client.write_all(&together).await;
                }
            }
            let piecemeal = self.shared.control.borrow().piecemeal;
            if server.buffer().is_empty() || piecemeal {
                self.pass(&self.answers_held).await;
                client.write_all(&together).await?;
                together.clear();
            }
            if piecemeal {
                // Or the client's system puts the pieces together again.
                sleep(PIECE).await;
            }
        }
        Ok(())
    }

    /// What becomes of the server's next message.
    fn answered(&self, kind: u8) -> Passes {
        let mut turns = lock(&self.turns);
        let turn = turns.front_mut();
        let cut = turn.as_ref().is_some_and(|turn| turn.cut);
        // `ParseComplete` of a statement that the client did not send.
        if kind == b'1'
            && let Some(turn @ Turn { parsed: true, .. }) = turn
        {
            turn.parsed = false;
            return Passes::No;
        }
        if kind == b'Z' {
            turns.pop_front();
        }
        match (cut, kind) {
            (true, b'Z') => Passes::End,
            (true, _) => Passes::No,
            (false, _) => Passes::Yes,
        }
    }

    fn fault(&self, sql: String, before: &mut Vec<String>) -> Option<Fault> {
        if begins(&sql, "BEGIN") {
            before.clear();
        }
        let traps = lock(&self.shared.traps);
        let fault =
            traps.iter().find(|trap| trap.springs(&Passing { sql: &sql, before })).map(|trap| trap.fault);
        before.push(sql);
        fault
    }

    fn hold(&self, held: &AtomicUsize) {
        held.store(self.shared.control.borrow().thaws + 1, Ordering::SeqCst);
    }

    /// Waits while this direction is held, or everything is.
    async fn pass(&self, held: &AtomicUsize) {
        let mut control = self.shared.control.subscribe();
        let free = |control: &Control| !control.frozen && held.load(Ordering::SeqCst) <= control.thaws;
        // The proxy itself may be gone at the end of a test.
        let _ = control.wait_for(free).await;
    }
}

/// A statement that fails, as a C string.
fn raise(code: &str) -> Vec<u8> {
    format!("DO $$ BEGIN RAISE EXCEPTION 'a fault of the test' USING ERRCODE = '{code}'; END $$\0")
        .into_bytes()
}

/// The C string at this place of a message.
fn text(body: &[u8], place: usize) -> String {
    let text = body.split(|byte| *byte == 0).nth(place).unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

/// The length that stands before a body, which includes its own.
fn length(body: &[u8]) -> [u8; 4] {
    u32::try_from(body.len() + 4).unwrap().to_be_bytes()
}

fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind], length(body).as_slice(), body].concat()
}

/// The next message's type and body; `None` at the end.
async fn read(from: &mut BufReader<OwnedReadHalf>) -> Result<Option<(u8, Vec<u8>)>> {
    match from.read_u8().await {
        Ok(kind) => Ok(Some((kind, read_body(from).await?))),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

async fn read_body(from: &mut BufReader<OwnedReadHalf>) -> Result<Vec<u8>> {
    let length = from.read_u32().await?.saturating_sub(4);
    let mut body = vec![0; usize::try_from(length).unwrap()];
    from.read_exact(&mut body).await?;
    Ok(body)
}

#[cfg(test)]
mod tests {
    use futures_util::future::join3;
    use tokio::time::timeout;
    use tokio_postgres::Client;

    use super::*;
    use crate::support::{Engine, database, until};

    async fn proxy() -> (PostgresProxy, Client) {
        let database = Database::new(Engine::Postgres).await;
        let proxy = PostgresProxy::before(&database).await;
        let client = database::connect(&proxy.url).await;
        client.batch_execute("CREATE TABLE messages (number integer)").await.unwrap();
        (proxy, client)
    }

    fn is_insert(statement: &Passing) -> bool {
        begins(statement.sql, "INSERT")
    }

    async fn count(client: &Client) -> i64 {
        client.query_one("SELECT count(*) FROM messages", &[]).await.unwrap().get(0)
    }

    fn code(failed: Option<tokio_postgres::Error>) -> String {
        failed.unwrap().code().unwrap().code().to_owned()
    }

    #[tokio::test]
    async fn a_statement_fails_as_it_is_told_and_in_its_turn() {
        let (proxy, client) = proxy().await;
        let insert = client.prepare("INSERT INTO messages VALUES ($1)").await.unwrap();
        let select = client.prepare("SELECT 7").await.unwrap();
        let failing = proxy.at(is_insert, 1, Fault::Fails("53100"));
        let pipelined = join3(
            client.query_one(&select, &[]),
            client.execute(&insert, &[&1]),
            client.query_one(&select, &[]),
        );
        let (before, failed, after) = pipelined.await;
        assert_eq!(code(failed.err()), "53100");
        assert_eq!([before.unwrap().get::<_, i32>(0), after.unwrap().get(0)], [7, 7]);
        proxy.at(is_insert, 1, Fault::Fails("53200"));
        proxy.clear();
        assert_eq!(client.execute(&insert, &[&1]).await.unwrap(), 1, "once was enough");
        assert_eq!((failing.sprung(), count(&client).await), (1, 1));

        proxy.at(is_begin, 1, Fault::Fails("57014"));
        assert_eq!(code(client.batch_execute("BEGIN").await.err()), "57014");
        client.batch_execute("INSERT INTO messages VALUES (2)").await.unwrap();
        let other = database::connect(&proxy.url).await;
        assert_eq!(count(&other).await, 2, "there is no transaction");

        proxy.at(is_insert, 1, Fault::Fails("22000"));
        client.batch_execute("BEGIN").await.unwrap();
        assert_eq!(code(client.batch_execute("INSERT INTO messages VALUES (3)").await.err()), "22000");
        assert_eq!(code(client.batch_execute("SELECT 1").await.err()), "25P02", "the transaction has failed");
    }

    #[tokio::test]
    async fn a_connection_is_cut_on_either_side_of_a_commit() {
        for (fault, stored) in [(Fault::CutBefore, 0), (Fault::CutAfter, 1)] {
            let (proxy, client) = proxy().await;
            proxy.at(is_commit, 1, fault);
            client.batch_execute("BEGIN; INSERT INTO messages VALUES (1)").await.unwrap();
            let failed = client.batch_execute("COMMIT").await.unwrap_err();
            assert!(failed.code().is_none(), "{failed:?}");
            assert_eq!(count(&database::connect(&proxy.url).await).await, stored, "{fault:?}");
        }
    }

    #[tokio::test]
    async fn what_is_held_goes_on_later() {
        let (proxy, client) = proxy().await;
        let other = database::connect(&proxy.url).await;
        for (fault, stored) in [(Fault::Held, 0), (Fault::AnswerHeld, 1)] {
            client.batch_execute("DELETE FROM messages").await.unwrap();
            let held = proxy.at(is_insert, 1, fault);
            let insert = client.batch_execute("INSERT INTO messages VALUES (1)");
            let hold = async {
                until(Duration::from_secs(10), "the statement comes", async || held.sprung() == 1).await;
                until(Duration::from_secs(10), "it is stored or not", async || count(&other).await == stored)
                    .await;
                proxy.thaw();
            };
            let (inserted, ()) = tokio::join!(insert, hold);
            inserted.unwrap();
            assert_eq!(count(&other).await, 1);
        }
        proxy.send_piecemeal();
        assert_eq!(count(&client).await, 1);
        proxy.freeze();
        let mut counted = std::pin::pin!(count(&client));
        assert!(timeout(Duration::from_millis(100), &mut counted).await.is_err());
        proxy.thaw();
        assert_eq!(counted.await, 1);
    }

    #[tokio::test]
    async fn connections_are_cut_refused_and_accepted_again() {
        let (proxy, client) = proxy().await;
        proxy.refuse();
        assert!(tokio_postgres::connect(&proxy.url, tokio_postgres::NoTls).await.is_err());
        assert_eq!(count(&client).await, 0, "what is open stays");
        proxy.cut();
        assert!(client.batch_execute("SELECT 1").await.is_err());
        proxy.accept();
        assert_eq!(count(&database::connect(&proxy.url).await).await, 0);
    }
}
