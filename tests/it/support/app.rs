//! The production app on a free port, with clients for each kind of caller.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use wicara::app::App;
use wicara::config::Config;
use wicara_metrics::Metrics;
use wicara_model::{Api, Bots, Role, Timestamp};
use wicara_platform::{Clock, Random};
use wicara_service::People;
use wicara_store::Store;

use super::{Bot, Database, Engine, Events, PostgresProxy};

pub const PASSWORD: &str = "a long password";
/// What takes longer than this hangs.
const LONGEST_ANSWER: Duration = Duration::from_secs(120);

/// Configuration for [`TestApp::metrics`].
pub const METRICS: &str = "server.metrics_listen = \"127.0.0.1:0\"\n";

const LIMITS: [&str; 3] = [
    "limits.questions_per_minute ",
    "limits.questions_per_minute_per_address ",
    "limits.logins_per_minute_per_address ",
];

pub struct TestApp {
    pub base: String,
    /// The default bot, `echo`, behind the kind `http`.
    pub bot: Bot,
    pub database: Database,
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
        Self::build(database, &url, more, clock).await
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
        Self { base, bot, people, store, app, database, _folder: folder }
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

    /// The administrator, signed in.
    pub async fn person(&self) -> Client {
        self.sign_in("admin@localhost").await
    }

    /// A new person, signed in.
    pub async fn person_with(&self, email: &str, role: Role, bots: Bots) -> Client {
        self.people.user_create(email, PASSWORD.into(), role, bots).await.unwrap();
        self.sign_in(email).await
    }

    pub async fn sign_in(&self, email: &str) -> Client {
        let body = json!({"email": email, "password": PASSWORD});
        let answer = self.anonymous().post("/api/auth/login", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let cookie = answer.headers[header::SET_COOKIE].to_str().unwrap();
        let (cookie, _) = cookie.split_once(';').unwrap();
        self.anonymous().with("cookie", cookie)
    }

    /// A session of the administrator, made behind the API, where hashing a password for each would take long: the
    /// cookie's value.
    pub async fn session(&self) -> String {
        let admin = self.people.user_get("admin@localhost").await.unwrap().person.id;
        let token = uuid::Uuid::new_v4().to_string();
        let (start, end) = (Timestamp(0), Timestamp(i64::MAX));
        self.store.session_create(admin, Sha256::digest(&token).into(), start, end).await.unwrap();
        token
    }

    /// An agent's key that speaks the Chatbot API.
    pub async fn program(&self) -> Client {
        self.program_with(Role::Agent, Bots::All, Api::Chatbot).await
    }

    pub async fn program_with(&self, role: Role, bots: Bots, api: Api) -> Client {
        let key = self.key(role, bots, api).await;
        self.anonymous().with("x-api-key", &key)
    }

    pub async fn key(&self, role: Role, bots: Bots, api: Api) -> String {
        let name = uuid::Uuid::new_v4().to_string();
        self.people.key_create(&name, role, bots, api).await.unwrap().1
    }
}

fn http() -> reqwest::Client {
    wicara_platform::tls::install();
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(LONGEST_ANSWER)
        .build()
        .unwrap()
}

/// A client that sends the same headers with each request.
#[derive(Clone)]
pub struct Client {
    base: String,
    http: reqwest::Client,
    headers: Vec<(String, String)>,
}

impl Client {
    /// Without credentials.
    pub fn new(base: &str) -> Self {
        Self { base: base.to_owned(), http: http(), headers: Vec::new() }
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut client = self.clone();
        client.headers.push((name.into(), value.into()));
        client
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send_json(Method::POST, path, body.to_string()).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send_json(Method::PATCH, path, body.to_string()).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None).await
    }

    /// A JSON body, byte for byte.
    pub async fn send_json(&self, method: Method, path: &str, body: impl Into<Vec<u8>>) -> Answer {
        self.with("content-type", "application/json").send(method, path, Some(body.into())).await
    }

    pub async fn send(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> Answer {
        self.try_send(method, path, body).await.unwrap_or_else(|error| panic!("{path}: no answer: {error:?}"))
    }

    /// Asks for events, and gets them.
    pub async fn post_for_events(&self, path: &str, body: &Value) -> Events {
        let client = self.with("content-type", "application/json");
        let response =
            client.request(Method::POST, path, Some(body.to_string().into())).send().await.unwrap();
        assert_eq!(response.status(), 200);
        Events::new(response)
    }

    fn request(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> reqwest::RequestBuilder {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        match body {
            Some(body) => request.body(body),
            None => request,
        }
    }

    pub async fn try_send(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Answer, reqwest::Error> {
        let response = self.request(method, path, body).send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        Ok(Answer { status, headers, text: response.text().await? })
    }
}

#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: header::HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {:?}", self.text))
    }

    /// The JSON of a success.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        self.json()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// All of it but what differs from request to request.
    pub fn without_its_own(&self) -> (u16, Vec<(String, String)>, &str) {
        let mut headers: Vec<_> = self
            .headers
            .iter()
            .filter(|(name, _)| !["date", "x-request-id"].contains(&name.as_str()))
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        headers.sort();
        (self.status.as_u16(), headers, &self.text)
    }
}

/// Keeps a clock that stands still.
pub fn manual_clock(millis: i64) -> (Clock, Arc<std::sync::atomic::AtomicI64>) {
    let time = Arc::new(std::sync::atomic::AtomicI64::new(millis));
    (Clock::Manual(Arc::clone(&time)), time)
}
