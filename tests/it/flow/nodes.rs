//! Several servers on one PostgreSQL, of which some die, freeze, or have another idea of the time.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinHandle;
use wicara_model::{Api, Bots, Role};
use wicara_platform::Clock;

use super::process::Site;
use super::writers::{Writer, assert_nothing_lost_or_doubled};
use crate::store::{create, totals_are_exact};
use crate::support::{
    Client, Database, Engine, Fault, PATIENCE, PostgresProxy, TestApp, is_append, manual_clock, side_by_side,
    until, within,
};

const WRITERS: usize = 16;
const CONVERSATIONS: usize = 4;
const PAUSE: Duration = Duration::from_millis(20);

/// Writers that go to one of several servers, and to the next one when they get no message through.
struct Crowd {
    bases: Arc<Mutex<Vec<String>>>,
    acknowledged: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    running: Vec<JoinHandle<Writer>>,
}

impl Crowd {
    /// `first`: the number of the first of `count` writers.
    fn start(site: &Site, bases: Vec<String>, conversations: &[i64], first: usize, count: usize) -> Self {
        let bases = Arc::new(Mutex::new(bases));
        let (acknowledged, over) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let running = (first..first + count).map(|number| {
            let writer = Writer::new(number, conversations[number % conversations.len()], site.key.clone());
            let (bases, acknowledged, over) =
                (Arc::clone(&bases), Arc::clone(&acknowledged), Arc::clone(&over));
            tokio::spawn(write(writer, bases, acknowledged, over))
        });
        let running = running.collect();
        Self { bases, acknowledged, over, running }
    }

    fn acknowledged(&self) -> usize {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// Waits until so many more are acknowledged.
    async fn write(&self, messages: usize, most: Duration) {
        let before = self.acknowledged();
        until(most, "all goes on", async || self.acknowledged() >= before + messages).await;
    }

    /// When each has had one more message acknowledged.
    async fn end(self) -> Vec<Writer> {
        self.over.store(true, Ordering::SeqCst);
        let mut writers = Vec::new();
        for writer in self.running {
            writers.push(within(PATIENCE, "a writer ends", writer).await.unwrap());
        }
        writers
    }
}

async fn write(
    mut writer: Writer,
    bases: Arc<Mutex<Vec<String>>>,
    acknowledged: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
) -> Writer {
    let mut tries = 0;
    loop {
        let last = over.load(Ordering::SeqCst);
        loop {
            let base = {
                let bases = bases.lock().unwrap();
                bases[tries % bases.len()].clone()
            };
            if writer.send(&base).await {
                break;
            }
            tries += 1;
            tokio::time::sleep(PAUSE).await;
        }
        acknowledged.fetch_add(1, Ordering::SeqCst);
        if last {
            return writer;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn conversations(site: &Site) -> Vec<i64> {
    let mut conversations = Vec::new();
    for _ in 0..CONVERSATIONS {
        conversations.push(create(&site.store, "echo", &[]).await.conversation.id.0);
    }
    conversations
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_are_killed_beside_another_lose_and_double_nothing() {
    const ROUNDS: usize = 6;
    let site = Site::new(Engine::Postgres).await;
    let conversations = conversations(&site).await;
    let mut servers = [Some(site.start()), Some(site.start())];
    let bases = servers.iter().flatten().map(|server| server.base.clone()).collect();
    let crowd = Crowd::start(&site, bases, &conversations, 0, WRITERS);
    for round in 0..ROUNDS {
        // A little later each round, so that the kill falls on different moments of a batch.
        crowd.write(100 + 7 * round, PATIENCE).await;
        servers[round % 2].take().expect("it was started again").kill_9();
        crowd.write(50, PATIENCE).await;
        let server = site.start();
        crowd.bases.lock().unwrap()[round % 2] = server.base.clone();
        servers[round % 2] = Some(server);
    }
    let writers = crowd.end().await;
    assert!(writers.iter().all(|writer| writer.acknowledged.len() > ROUNDS));
    assert_nothing_lost_or_doubled(&site.store, &writers).await;
}

/// How long a server is frozen: longer than anybody waits for a commit whose outcome is not known.
const FROZEN: Duration = Duration::from_secs(30);
/// How long it keeps others from writing, at most, and some time for a machine that has much to do.
const HARMED: Duration = Duration::from_secs(3 + 2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_freezes_in_the_middle_of_a_batch_does_not_hold_up_the_others() {
    let cases = [
        ("before a batch arrives", Freezes::BeforeCall),
        ("while a batch's result is on its way", Freezes::AfterCall),
        ("with the lock of a conversation", Freezes::WithLock),
    ];
    side_by_side(cases.map(|(name, at)| (name, freezes(at)))).await;
}

#[derive(Clone, Copy, PartialEq)]
enum Freezes {
    BeforeCall,
    AfterCall,
    /// In the transaction of a change.
    WithLock,
}

async fn freezes(at: Freezes) {
    let site = Site::new(Engine::Postgres).await;
    let conversations = conversations(&site).await;
    let proxy = PostgresProxy::before(&site.database).await;
    let (frozen, living) = (site.start_with(&proxy.url, ""), site.start());
    let of_frozen = Crowd::start(&site, vec![frozen.base.clone()], &conversations, 0, 4);
    // One for each conversation.
    let of_living: Vec<_> = (0..CONVERSATIONS)
        .map(|number| Crowd::start(&site, vec![living.base.clone()], &conversations, 4 + number, 1))
        .collect();
    of_frozen.write(20, PATIENCE).await;

    let held = match at {
        Freezes::BeforeCall => proxy.at(is_append, 1, Fault::Held),
        Freezes::AfterCall => proxy.at(is_append, 1, Fault::AnswerHeld),
        Freezes::WithLock => proxy.at(|statement| statement.sql.contains("FOR UPDATE"), 1, Fault::AnswerHeld),
    };
    let changing = (at == Freezes::WithLock).then(|| {
        let client = Client::new(&frozen.base).with("x-api-key", &site.key);
        let path = format!("/api/conversation/{}", conversations[0]);
        tokio::spawn(async move { client.patch(&path, &json!({"room": "changed"})).await })
    });
    until(PATIENCE, "it is in the middle of a batch", async || held.sprung() == 1).await;
    frozen.freeze();
    for writer in &of_living {
        writer.write(2, HARMED).await;
    }
    tokio::time::sleep(FROZEN - HARMED).await;
    for writer in &of_living {
        writer.write(2, HARMED).await;
    }
    proxy.thaw();
    frozen.thaw();
    of_frozen.write(20, PATIENCE).await;

    let mut writers = of_frozen.end().await;
    for writer in of_living {
        writers.extend(writer.end().await);
    }
    assert_nothing_lost_or_doubled(&site.store, &writers).await;
    totals_are_exact(&site.database).await;
    if let Some(changing) = changing {
        let answer = within(PATIENCE, "the change is answered", changing).await.unwrap();
        assert!([200, 503].contains(&answer.status.as_u16()), "{}", answer.text);
    }
}

/// Keys age by the database's clock, which all servers share.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_one_key_to_servers_whose_clocks_differ() {
    const HOUR: i64 = 60 * 60 * 1000;
    let now = Clock::System.now().0;
    let first = TestApp::start(Engine::Postgres).await;
    let key = first.key(Role::Agent, Bots::All, Api::Chatbot).await;
    let conversation = create(first.store(), "echo", &[]).await.conversation.id.0;
    let at = async |hours: i64| {
        let (clock, _) = manual_clock(now + hours * HOUR);
        TestApp::on_at(Database::at(first.database.url.clone()), "", clock).await
    };
    let (ahead, behind) = (at(25).await, at(-25).await);
    let apps = [&first, &ahead, &behind];
    let message = |text: &str| json!({"message": text, "type": "text", "role": "client", "conversationId": conversation.to_string()});
    let program = |app: &TestApp, number: usize| {
        let client = app.anonymous().with("x-api-key", &key);
        client.with("idempotency-key", &format!("the-key-of-server-{number}"))
    };
    let mut answers = Vec::new();
    for (number, app) in apps.into_iter().enumerate() {
        let text = number.to_string();
        answers.push(program(app, number).post("/api/message", &message(&text)).await.ok());
    }
    // One that starts now looks at once for what is old.
    let newcomer = at(25).await;
    for app in [&newcomer, &ahead, &behind, &first] {
        for (number, answer) in answers.iter().enumerate() {
            let text = number.to_string();
            let again = program(app, number).post("/api/message", &message(&text)).await.ok();
            assert_eq!(again, *answer, "the key of server {number}");
        }
    }
    let listed = first.program().get("/api/message").await.ok();
    assert_eq!(listed["pagination"]["totalItems"], 3);

    // Of a question, the lease too.
    for (number, (asked, retried)) in [(&first, &ahead), (&behind, &first)].into_iter().enumerate() {
        let question = json!({"message": format!("held {number}")});
        let visitor =
            |app: &TestApp| app.anonymous().with("idempotency-key", &format!("the-first-question-{number}"));
        let (before, both) = (asked.bot.asked(), asked.bot.asked() + retried.bot.asked());
        let asking = tokio::spawn({
            let (visitor, question) = (visitor(asked), question.clone());
            async move { visitor.post("/api/questions", &question).await }
        });
        asked.bot.until_asked(before + 1).await;
        let running = visitor(retried).post("/api/questions", &question).await;
        assert_eq!(running.status, 409, "{}", running.text);
        asked.bot.let_go();
        let answer = asking.await.unwrap().ok();
        assert_eq!(visitor(retried).post("/api/questions", &question).await.ok(), answer);
        assert_eq!(asked.bot.asked() + retried.bot.asked(), both + 1, "asked once");
    }
    for app in [newcomer, ahead, behind, first] {
        app.stop().await;
    }
}
