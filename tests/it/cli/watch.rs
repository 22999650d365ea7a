//! `wicara watch`.

use std::fs::File;

use serde_json::{Value, json};

use super::place::{Place, Server, finished};
use crate::support::process::Running;
use crate::support::{Client, Engine, PATIENCE, found, on_both_engines};

on_both_engines!(what_happens_is_shown_as_it_happens);

/// A command that is run beside the test, with its output in files.
struct Watching<'a> {
    _process: Running,
    place: &'a Place,
    name: &'static str,
}

impl<'a> Watching<'a> {
    fn start(place: &'a Place, name: &'static str, key: &str, arguments: &[&str]) -> Self {
        let file = |end: &str| File::create(place.path().join(format!("{name}.{end}"))).unwrap();
        let mut command = place.command(&[&["watch"], arguments].concat());
        let command = command.env("WICARA_KEY", key).stdout(file("out")).stderr(file("err"));
        Self { _process: Running(command.spawn().unwrap()), place, name }
    }

    fn said(&self, end: &str) -> String {
        std::fs::read_to_string(self.place.path().join(format!("{}.{end}", self.name))).unwrap()
    }

    /// What it has printed once this text is in it and its last line is whole.
    async fn until(&self, end: &str, text: &str) -> String {
        let is_whole = |said: &String| said.contains(text) && said.ends_with('\n');
        found(PATIENCE, text, async || Some(self.said(end)).filter(is_whole)).await
    }
}

async fn ask(server: &Server, text: &str) -> Value {
    Client::new(&server.base).post("/api/questions", json!({"message": text})).await.ok()
}

async fn what_happens_is_shown_as_it_happens(engine: Engine) {
    let place = Place::new(engine, "").await;
    let server = place.serve();
    let added = place.run(&["key", "add", "watcher"]).done();
    let key = added.trim_end().lines().last().unwrap().to_owned();
    let people = Watching::start(&place, "people", &key, &["--server", &server.base]);
    let program = Watching::start(&place, "program", &key, &["--server", &server.base, "--json"]);
    people.until("err", "Following").await;
    program.until("out", "hello").await;

    let asked = ask(&server, "What is\nWicara? \u{1b}[2J").await;
    let id = &asked["conversation_id"];
    let said = people.until("out", "  bot: ").await;
    let lines: Vec<_> = said.lines().map(|line| &line[10..]).collect();
    assert!(
        lines[0].starts_with(&format!("conversation.created  conversation {id}  website-{id}, bot guide")),
        "{said}"
    );
    assert_eq!(
        lines[1],
        format!("message.created       conversation {id}  client: What is Wicara? \\u{{1b}}[2J")
    );
    assert_eq!(lines.len(), 3, "{said}");

    let printed = program.until("out", "\"replyTo\":\"").await;
    let events: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<_> = events.iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["hello", "conversation.created", "message.created", "message.created"]);
    assert_eq!(events[2]["message"]["message"], "What is\nWicara? \u{1b}[2J");
    assert!(!printed.contains('\u{1b}'));

    // A key that is removed ends it, with what to do.
    place.run(&["key", "remove", "watcher"]).done();
    people.until("err", "does not know the key in WICARA_KEY").await;
}

/// On the same port, which another server may take meanwhile: then the test says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_goes_on_where_it_was() {
    let place = Place::new(Engine::Sqlite, "").await;
    let server = place.serve();
    let added = place.run(&["key", "add", "watcher"]).done();
    let key = added.trim_end().lines().last().unwrap().to_owned();
    let watching = Watching::start(&place, "watch", &key, &["--server", &server.base]);
    watching.until("err", "Following").await;
    ask(&server, "first").await;
    watching.until("out", "client: first").await;

    let listen = server.base.strip_prefix("http://").unwrap().to_owned();
    server.terminate();
    watching.until("err", "trying again").await;
    let server = place.serve_with(&[("WICARA_SERVER__LISTEN", &listen)]);
    ask(&server, "second").await;
    let said = watching.until("out", "client: second").await;
    for text in ["client: first", "client: second"] {
        assert_eq!(said.matches(text).count(), 1, "{said}");
    }
    watching.until("err", "Connected again").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_said() {
    let place = Place::new(Engine::Sqlite, "").await;
    let server = place.serve();
    let watch = |key: Option<&str>, server: &str| {
        let mut command = place.command(&["watch", "--server", server]);
        if let Some(key) = key {
            command.env("WICARA_KEY", key);
        }
        finished(&mut command)
    };
    for key in [None, Some(""), Some("\n")] {
        let missing = watch(key, &server.base).failed(2);
        assert!(missing.contains("WICARA_KEY is not set") && missing.contains("wicara key add"), "{missing}");
    }
    let unknown = watch(Some("wk-unknown"), &server.base).failed(1);
    assert!(unknown.contains("does not know the key"), "{unknown}");
    assert!(!unknown.contains("wk-unknown"), "{unknown}");
    let base = server.base.clone();
    server.terminate();
    let gone = watch(Some("wk-unknown"), &base).failed(1);
    assert!(gone.contains("no server answers") && gone.contains("wicara serve"), "{gone}");
}
