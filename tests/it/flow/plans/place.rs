//! The server beside its filled database, and whoever calls it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::process::{Command, Stdio};
use std::time::Duration;

use reqwest::{Method, StatusCode, header};
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;
use wicara_metrics::Metrics;
use wicara_model::{Api, Bots, Role};
use wicara_platform::{Clock, Random};
use wicara_service::People;
use wicara_store::Store;
use xtask::postgres::Cluster;

use super::filled::{Direct, ELSEWHERE, RARE, SPARSE};
use super::statements::{Explain, Statements, may_be_of_a_list};
use crate::flow::process::Server;
use crate::support::app::PASSWORD;
use crate::support::{Answer, Bot, Client, Database, Engine, Model};

/// Sends what the statements of this session did to the server's log.
const AUTO_EXPLAIN: [(&str, &str); 7] = [
    ("session_preload_libraries", "auto_explain"),
    ("auto_explain.log_min_duration", "0"),
    ("auto_explain.log_analyze", "on"),
    ("auto_explain.log_timing", "off"),
    ("auto_explain.log_verbose", "on"),
    ("auto_explain.log_nested_statements", "on"),
    ("auto_explain.log_format", "json"),
];

pub struct Place {
    pub statements: Statements,
    operations: BTreeMap<String, (Method, String)>,
    driven: BTreeSet<String>,
    pub direct: Direct,
    pub visitor: Client,
    pub person: Client,
    pub program: Client,
    /// A program that sees the conversations of two bots.
    pub limited: Client,
    /// A program that sees those of one that has few.
    pub few: Client,
    /// A program that sees those of a bot that has one in three hundred, and of that.
    pub sparse: Client,
    pub bot: Bot,
    pub model: Model,
    folder: TempDir,
    _server: Server,
    _database: Database,
    _cluster: Option<Cluster>,
}

/// Statements of `GET /readyz`.
const OF_READYZ: usize = 1;
/// Statements of a list of 100 entries at the most, that one among them: who asks, four levels of the totals in one or two
/// steps each, entries of 100 buckets in up to 15 steps, and their messages in ten; and a few that the server runs beside
/// it. One statement a bucket would be a hundred.
const OF_A_LIST: usize = 40;

impl Place {
    pub async fn new(engine: Engine) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        File::create(&log).unwrap();
        let (cluster, database) = match engine {
            Engine::Sqlite => (None, Database::new(engine).await),
            Engine::Postgres => {
                let cluster = tokio::task::spawn_blocking(|| Cluster::start().unwrap()).await.unwrap();
                let database = Database::at(cluster.url("postgres"));
                (Some(cluster), database)
            }
        };
        let url = &database.url;
        let store = Store::open(url, Duration::ZERO, &Random::System, &Metrics::default()).await.unwrap();
        let people = People::new(store.clone(), Clock::System, Random::System);
        people.user_create("admin@localhost", PASSWORD.into(), Role::Admin, Bots::All).await.unwrap();
        let mut keys = Vec::new();
        for (name, bots) in [
            ("all", Bots::All),
            ("limited", Bots::Only(vec!["other".into(), RARE.into()])),
            ("few", Bots::Only(vec![RARE.into()])),
            ("sparse", Bots::Only(vec![SPARSE.into(), RARE.into()])),
        ] {
            keys.push(people.key_create(name, Role::Admin, bots, Api::Chatbot).await.unwrap().1);
        }
        store.close().await;

        let direct = Direct::open(&database).await;
        direct.fill().await;
        direct.fill_asks(ELSEWHERE, 3).await;
        let (explain, log) = match &cluster {
            None => (Explain::Sqlite(Connection::open(url.strip_prefix("sqlite:").unwrap()).unwrap()), log),
            Some(cluster) => {
                for (name, value) in AUTO_EXPLAIN {
                    direct.run(&format!("ALTER DATABASE postgres SET {name} = '{value}'")).await;
                }
                (Explain::Postgres, cluster.log())
            }
        };
        let mut statements = Statements::new(explain, log);

        let (bot, model) = (Bot::start().await, Model::start().await);
        let config = format!(
            "server.listen = \"127.0.0.1:0\"\nstore.url = \"{url}\"\nlimits.questions_per_minute = 0\n\
             limits.questions_per_minute_per_address = 0\nhandover.return_minutes = 60\n\
             [[bot]]\nid = \"echo\"\nkind = \"http\"\nurl = \"{}\"\ndefault = true\nretries = 0\n\
             [[bot]]\nid = \"weak\"\nkind = \"http\"\nurl = \"{}\"\npublic = true\nretries = 0\n\
             handover_after_failures = 1\n\
             [[bot]]\nid = \"other\"\nkind = \"openai\"\nurl = \"{}\"\nmodel = \"m\"\n",
            bot.url, bot.url, model.url
        );
        std::fs::write(folder.path().join("wicara.toml"), config).unwrap();
        let server = Server::run(&mut command(&folder, &[]));
        assert!(!statements.take("start").is_empty(), "the statements are not seen");
        direct.fill_asks(ELSEWHERE, 10_000).await;
        // What goes on beside what is asked for.
        statements.take("expiry");

        let visitor = Client::new(&server.base);
        let [program, limited, few, sparse] = [0, 1, 2, 3].map(|key| visitor.with("x-api-key", &keys[key]));
        let operations = operations(&visitor).await;
        let mut place = Self {
            statements,
            operations,
            driven: BTreeSet::new(),
            direct,
            person: visitor.clone(),
            visitor,
            program,
            limited,
            few,
            sparse,
            bot,
            model,
            folder,
            _server: server,
            _database: database,
            _cluster: cluster,
        };
        place.person = place.sign_in().await;
        place
    }

    pub async fn sign_in(&mut self) -> Client {
        let visitor = self.visitor.clone();
        let login = json!({"email": "admin@localhost", "password": PASSWORD});
        let answer = self.call(&visitor, "login", "", Some(login)).await;
        let cookie = answer.headers[header::SET_COOKIE].to_str().unwrap().split(';').next().unwrap();
        visitor.with("cookie", cookie)
    }

    /// Calls an operation, perhaps with a query, on an id or a session, and takes what was run for it.
    pub async fn try_call(
        &mut self,
        client: &Client,
        what: &str,
        id: impl ToString,
        body: Option<Value>,
    ) -> Answer {
        let (operation, query) = what.split_at(what.find('?').unwrap_or(what.len()));
        let (method, path) = &self.operations[operation];
        let id = id.to_string();
        // Of a message in a session: both.
        let (session, id) = id.split_once('/').unwrap_or((&id, &id));
        let path = path.replace("{id}", id).replace("{session_id}", session) + query;
        let body = body.map(|body| body.to_string().into_bytes());
        let client = client.with("content-type", "application/json");
        let answer = client.send(method.clone(), &path, body).await;
        self.driven.insert(operation.to_owned());
        // Lines of the log come in their order, a little later than answers.
        let ready = client.send(Method::GET, "/readyz", None).await;
        self.statements.wait_for(ready.headers["x-request-id"].to_str().unwrap()).await;
        let run = self.statements.take(what);
        // Some run none where their caller is known from before.
        let may_run_none = ["healthz", "bot_list", "bot_try", "widget_get"].contains(&operation);
        assert!(run.len() > OF_READYZ || may_run_none, "{what}: its statements are not seen");
        if operation.ends_with("_list") {
            let own: Vec<_> = run.iter().filter(|sql| may_be_of_a_list(sql)).collect();
            assert!(own.len() <= OF_A_LIST, "{what}: {} statements: {own:#?}", own.len());
        }
        answer
    }

    /// The same, which is done.
    pub async fn call(
        &mut self,
        client: &Client,
        what: &str,
        id: impl ToString,
        body: Option<Value>,
    ) -> Answer {
        let answer = self.try_call(client, what, id, body).await;
        assert_eq!(answer.status, StatusCode::OK, "{what}: {}", answer.text);
        answer
    }

    /// Runs a command of the program's to its end.
    pub fn run(&mut self, operation: &str, arguments: &[&str]) {
        let status = command(&self.folder, arguments).env("WICARA_PASSWORD", PASSWORD).status().unwrap();
        assert!(status.success(), "{arguments:?}: {status}");
        assert!(!self.statements.take(operation).is_empty(), "{operation}: its statements are not seen");
    }

    pub fn assert_good(&self) {
        let operations: BTreeSet<&String> = self.operations.keys().collect();
        assert_eq!(self.driven.iter().collect::<BTreeSet<_>>(), operations, "every operation is called");
        self.statements.assert_good();
    }
}

/// The program with these arguments, its log added to the others'.
fn command(folder: &TempDir, arguments: &[&str]) -> Command {
    let log = File::options().append(true).open(folder.path().join("log")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_wicara"));
    command.args(arguments).current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.env("WICARA_LOG", "error,wicara_http::middleware=info,wicara_store::engine::sqlite=trace");
    command
}

/// The operations that the server's own document names, by their `operationId`.
async fn operations(client: &Client) -> BTreeMap<String, (Method, String)> {
    let document = client.get("/api/openapi.json").await.ok();
    let mut operations = BTreeMap::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            operations.insert(operation["operationId"].as_str().unwrap().to_owned(), (method, path.clone()));
        }
    }
    operations
}
