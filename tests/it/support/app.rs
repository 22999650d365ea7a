//! The production app on a free port, with clients for each kind of caller.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header;
use serde_json::json;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use wicara::app::App;
use wicara::config::Config;
use wicara_metrics::Metrics;
use wicara_model::{Api, Bots, Role, Timestamp};
use wicara_platform::{Clock, Random};
use wicara_service::People;
use wicara_store::Store;

use super::{Bot, Client, Database, Engine, PostgresProxy};

pub const PASSWORD: &str = "a long password";
const ADMIN: &str = "admin@localhost";

/// Configuration for [`TestApp::metrics`].
pub const METRICS: &str = "server.metrics_listen = \"127.0.0.1:0\"\n";

const LIMITS: [&str; 4] = [
    "limits.questions_per_minute ",
    "limits.questions_per_minute_per_address ",
    "limits.logins_per_minute_per_address ",
    "limits.signals_per_minute ",
];

pub struct TestApp {
    pub base: String,
    /// The default bot, `echo`, behind the kind `http`.
    pub bot: Bot,
    pub database: Database,
    person: Client,
    program: Client,
    people: People,
    store: Store,
    app: App,
    _folder: TempDir,
}

impl TestApp {
    pub async fn start(engine: Engine) -> Self {
        Self::with(engine, "").await
    }

    /// `more`: configuration beyond the database and the default bot, `{bot}` standing for the bot's address.
    pub async fn with(engine: Engine, more: &str) -> Self {
        Self::at(engine, more, Clock::System).await
    }

    pub async fn at(engine: Engine, more: &str, clock: Clock) -> Self {
        Self::on_at(Database::new(engine).await, more, clock).await
    }

    pub async fn on(database: Database, more: &str) -> Self {
        Self::on_at(database, more, Clock::System).await
    }

    pub async fn on_at(database: Database, more: &str, clock: Clock) -> Self {
        let url = database.url.clone();
        // On the heap: with this future in it, a test's own would not fit on its thread's stack.
        Box::pin(Self::build(database, &url, more, clock)).await
    }

    /// On PostgreSQL with a proxy in between, past which the test itself reaches the database.
    pub async fn behind_proxy(more: &str) -> (Self, PostgresProxy) {
        let database = Database::new(Engine::Postgres).await;
        let proxy = PostgresProxy::before(&database).await;
        (Self::build(database, &proxy.url, more, Clock::System).await, proxy)
    }

    /// `url`: how the app reaches the database.
    async fn build(database: Database, url: &str, more: &str, clock: Clock) -> Self {
        let bot = Bot::start().await;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wicara.toml");
        let bot_url = &bot.url;
        // What is off unless a test is about it: tests ask more than people do.
        let unlimited: String = LIMITS
            .iter()
            .filter(|limit| !more.contains(**limit))
            .map(|limit| format!("{limit} = 0\n"))
            .collect();
        let written = format!(
            "server.listen = \"127.0.0.1:0\"\nstore.url = \"{url}\"\nauth.admin_password = \"{PASSWORD}\"\n{unlimited}{}\n\
             [[bot]]\nid = \"echo\"\nkind = \"http\"\nurl = \"{bot_url}\"\ndefault = true\ntimeout_seconds = 20\n\
             breaker_failures = 0\n",
            more.replace("{bot}", bot_url)
        );
        std::fs::write(&path, written).unwrap();
        let config = Config::load(Some(&path)).unwrap_or_else(|error| panic!("{error}"));
        let app = App::start(config, clock.clone(), Random::System).await.unwrap();
        let store =
            Store::open(&database.url, Duration::ZERO, &Random::System, &Metrics::default()).await.unwrap();
        let people = People::new(store.clone(), clock, Random::System);
        // Where it listens: its public URL may lead elsewhere.
        let base = format!("http://{}", app.address);
        let anonymous = Client::new(&base);
        let session = session_create(&people, &store).await;
        let person = anonymous.named("a person").with("cookie", &format!("wicara_session={session}"));
        let key = key_create(&people, Role::Agent, Bots::All, Api::Chatbot).await;
        let program = anonymous.named("a program").with("x-api-key", &key);
        Self { base, bot, person, program, people, store, app, database, _folder: folder }
    }

    /// Behind the API: what tests arrange that no client can.
    pub fn store(&self) -> &Store {
        &self.store
    }

    pub fn people(&self) -> &People {
        &self.people
    }

    /// Leaves the database.
    pub async fn stop(self) -> Database {
        self.app.stop().await.unwrap();
        self.database
    }

    pub fn anonymous(&self) -> Client {
        Client::new(&self.base)
    }

    /// At the address that needs no key, where the configuration has one.
    pub fn metrics(&self) -> Client {
        Client::new(&format!("http://{}", self.app.metrics_address.expect("server.metrics_listen is set")))
    }

    /// The administrator, with one session for the whole test.
    pub fn person(&self) -> Client {
        self.person.clone()
    }

    /// A new person, signed in.
    pub async fn person_with(&self, email: &str, role: Role, bots: Bots) -> Client {
        self.people.user_create(email, PASSWORD.into(), role, bots).await.unwrap();
        self.sign_in(email).await
    }

    /// A session of its own, by the password.
    pub async fn sign_in(&self, email: &str) -> Client {
        let answer =
            self.anonymous().post("/api/auth/login", json!({"email": email, "password": PASSWORD})).await;
        answer.ok();
        let cookie = answer.headers[header::SET_COOKIE].to_str().unwrap();
        let (cookie, _) = cookie.split_once(';').unwrap();
        self.anonymous().named(email).with("cookie", cookie)
    }

    /// A session of the administrator's own: the cookie's value.
    pub async fn session(&self) -> String {
        session_create(&self.people, &self.store).await
    }

    /// An agent's key that speaks the Chatbot API, one for the whole test.
    pub fn program(&self) -> Client {
        self.program.clone()
    }

    /// A new key.
    pub async fn program_with(&self, role: Role, bots: Bots, api: Api) -> Client {
        let name = format!("a program ({role}, {api})");
        self.anonymous().named(&name).with("x-api-key", &self.key(role, bots, api).await)
    }

    pub async fn key(&self, role: Role, bots: Bots, api: Api) -> String {
        key_create(&self.people, role, bots, api).await
    }
}

/// Made behind the API, where no password is hashed, which is slow on purpose.
async fn session_create(people: &People, store: &Store) -> String {
    let admin = people.user_get(ADMIN).await.unwrap().person.id;
    let token = uuid::Uuid::new_v4().to_string();
    let (start, end) = (Timestamp(0), Timestamp(i64::MAX));
    store.session_create(admin, Sha256::digest(&token).into(), start, end).await.unwrap();
    token
}

async fn key_create(people: &People, role: Role, bots: Bots, api: Api) -> String {
    let name = uuid::Uuid::new_v4().to_string();
    people.key_create(&name, role, bots, api).await.unwrap().1
}

/// Keeps a clock that stands still.
pub fn manual_clock(millis: i64) -> (Clock, Arc<std::sync::atomic::AtomicI64>) {
    let time = Arc::new(std::sync::atomic::AtomicI64::new(millis));
    (Clock::Manual(Arc::clone(&time)), time)
}
