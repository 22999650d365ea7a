//! A disk that is full: writes are refused, reads go on, and when there is room again so do writes.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::json;
use wicara_metrics::Metrics;
use wicara_model::{Api, Bots, MessageId, Role};
use wicara_platform::{Clock, Random};
use wicara_service::People;
use wicara_store::Store;

use super::process::Server;
use crate::store::create;
use crate::support::{Database, Engine, PATIENCE, within};

/// The log is folded into the database at 32 MB: the first time there is room for both, the second time not in the
/// database, and from then on the log grows until there is no room in it either.
const ROOM: u64 = 38 * 1024 * 1024;
const WRITERS: usize = 8;
const TEXT_BYTES: usize = 60_000;

/// As a full disk does, it fails whatever makes a file longer.
fn limit_files(server: &Server, bytes: Option<u64>) {
    let pid = Pid::from_raw(server.id().try_into().unwrap());
    prlimit(pid, Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
}

#[derive(Clone)]
struct Program {
    http: reqwest::Client,
    base: String,
    key: String,
    conversation: i64,
}

impl Program {
    /// The new message's id, or `None` where it was refused as it should be.
    async fn write(&self, text: &str) -> Option<MessageId> {
        let conversation = self.conversation.to_string();
        let body = json!({"message": text, "type": "text", "role": "client", "conversationId": conversation});
        let request = self.http.post(format!("{}/api/message", self.base)).body(body.to_string());
        let response =
            request.header("x-api-key", &self.key).header("content-type", "application/json").send().await;
        let response = response.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let answer: serde_json::Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        if status == StatusCode::OK {
            return Some(MessageId(answer["data"]["id"].as_str().unwrap().parse().unwrap()));
        }
        assert_eq!((status.as_u16(), &answer["status"]), (503, &json!(503)), "{answer}");
        assert!(headers.contains_key("retry-after"));
        None
    }

    async fn get(&self, path: &str) -> u16 {
        let request = self.http.get(format!("{}{path}", self.base)).header("x-api-key", &self.key);
        request.send().await.unwrap().status().as_u16()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_writes_until_there_is_room() {
    let database = Database::new(Engine::Sqlite).await;
    let store =
        Store::open(&database.url, Duration::ZERO, &Random::System, &Metrics::default()).await.unwrap();
    let people = People::new(store.clone(), Clock::System, Random::System);
    let (_, key) = people.key_create("writers", Role::Agent, Bots::All, Api::Conversation).await.unwrap();
    let conversation = create(&store, "guide", &[]).await.conversation.id.0;
    // Its connections would fold the log.
    store.close().await;
    drop((store, people));

    let folder = tempfile::tempdir().unwrap();
    let config = format!("server.listen = \"127.0.0.1:0\"\nstore.url = \"{}\"\n", database.url);
    std::fs::write(folder.path().join("wicara.toml"), config).unwrap();
    // Where a full disk only fails a write, this limit also sends a signal, which would end the process.
    let ignoring = "trap '' XFSZ; exec \"$0\" --config wicara.toml";
    let server = Server::run(
        Command::new("sh")
            .args(["-c", ignoring, env!("CARGO_BIN_EXE_wicara")])
            .current_dir(folder.path())
            .env("WICARA_LOG", "off"),
    );
    limit_files(&server, Some(ROOM));

    wicara_platform::tls::install();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let program = Program { http, base: server.base.clone(), key, conversation };
    let text = Arc::new("x".repeat(TEXT_BYTES));
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let (program, text) = (program.clone(), Arc::clone(&text));
            tokio::spawn(async move {
                let mut stored = Vec::new();
                while let Some(id) = program.write(&text).await {
                    stored.push(id);
                }
                stored
            })
        })
        .collect();
    let mut stored = Vec::new();
    for writer in writers {
        stored.extend(within(PATIENCE, "a writer is refused", writer).await.unwrap());
    }
    let length = |ending: &str| {
        let path = format!("{}{ending}", database.url.strip_prefix("sqlite:").unwrap());
        std::fs::metadata(path).unwrap().len()
    };
    let folded = u64::try_from(stored.len() * TEXT_BYTES).unwrap();
    assert!(folded > ROOM && length("") <= ROOM, "the log could not be folded a second time");

    assert_eq!(program.write(&text).await, None, "still refused");
    assert_eq!(program.get("/readyz").await, 503, "what was written last was refused");
    for path in [
        "/healthz".to_owned(),
        "/api/conversation".to_owned(),
        format!("/api/conversation/{conversation}"),
        "/api/message?page=2".to_owned(),
        format!("/api/message/{}", stored[0].0),
    ] {
        assert_eq!(program.get(&path).await, 200, "{path}");
    }

    limit_files(&server, None);
    for _ in 0..WRITERS {
        stored.push(program.write(&text).await.expect("there is room again"));
    }
    assert_eq!(program.get("/readyz").await, 200);
    server.kill_9();

    let store =
        Store::open(&database.url, Duration::ZERO, &Random::System, &Metrics::default()).await.unwrap();
    for id in &stored {
        assert_eq!(store.message_get(*id).await.unwrap().expect("nothing is lost").message.text, *text);
    }
    let conversation =
        store.conversation_get(wicara_model::ConversationId(conversation)).await.unwrap().unwrap();
    assert_eq!(
        conversation.message_count,
        i64::try_from(stored.len()).unwrap(),
        "nothing refused was stored"
    );
    let connection = rusqlite::Connection::open(database.url.strip_prefix("sqlite:").unwrap()).unwrap();
    let checked: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(checked, "ok");
}
