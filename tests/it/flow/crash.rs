use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use wicara::metrics::Metrics;
use wicara::model::{Api, Bots, Clock, Random, Role};
use wicara::service::People;
use wicara::store::Store;

use super::process::Server;
use super::writers::{Writer, assert_nothing_lost_or_doubled};
use crate::store::{create, execute};
use crate::support::{Bot, Database, Engine, on_both_engines};

on_both_engines!(
    nothing_acknowledged_is_lost_to_kill_9,
    a_question_cut_off_by_a_crash_is_marked_and_taken_over
);

const ROUNDS: usize = 20;
const WRITERS: usize = 32;
const CONVERSATIONS: usize = 4;
/// Acknowledged messages after which a round ends, at the least.
const ROUND: usize = 64;

struct Setup {
    folder: tempfile::TempDir,
    store: Store,
    key: String,
    bot: Bot,
    database: Database,
}

impl Setup {
    async fn new(engine: Engine) -> Self {
        let database = Database::new(engine).await;
        let bot = Bot::start().await;
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "server.listen = \"127.0.0.1:0\"\nstore.url = \"{}\"\n[[bot]]\nid = \"echo\"\nkind = \"http\"\n\
             url = \"{}\"\ndefault = true\n",
            database.url, bot.url
        );
        std::fs::write(folder.path().join("wicara.toml"), config).unwrap();
        let store =
            Store::open(&database.url, Duration::ZERO, &Random::System, &Metrics::default()).await.unwrap();
        let people = People::new(store.clone(), Clock::System, Random::System);
        let (_, key) = people.key_create("writers", Role::Agent, Bots::All, Api::Chatbot).await.unwrap();
        Self { folder, store, key, bot, database }
    }

    fn start(&self) -> Server {
        Server::start(&self.folder.path().join("wicara.toml"))
    }
}

async fn nothing_acknowledged_is_lost_to_kill_9(engine: Engine) {
    let setup = Setup::new(engine).await;
    let mut conversations = Vec::new();
    for _ in 0..CONVERSATIONS {
        conversations.push(create(&setup.store, "echo", &[]).await.conversation.id.0);
    }
    let mut writers: Vec<_> = (0..WRITERS)
        .map(|number| Writer::new(number, conversations[number % CONVERSATIONS], setup.key.clone()))
        .collect();
    for round in 0..ROUNDS {
        let server = setup.start();
        let count = Arc::new(AtomicUsize::new(0));
        let running: Vec<_> = writers
            .drain(..)
            .map(|writer| tokio::spawn(writer.send_until_refused(server.base.clone(), Arc::clone(&count))))
            .collect();
        // A little later each round, so that the kill falls on different moments of a batch.
        while count.load(Ordering::SeqCst) < ROUND + 7 * round {
            assert!(running.iter().any(|writer| !writer.is_finished()), "nobody writes any more");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        server.kill_9();
        for writer in running {
            writers.push(writer.await.unwrap());
        }
    }
    let server = setup.start();
    for writer in &mut writers {
        assert!(writer.send(&server.base).await, "what was not acknowledged is taken now");
        assert_eq!(writer.refused, 0, "a crash refuses nothing");
    }
    assert_nothing_lost_or_doubled(&setup.store, &writers).await;
}

async fn a_question_cut_off_by_a_crash_is_marked_and_taken_over(engine: Engine) {
    let setup = Setup::new(engine).await;
    let server = setup.start();
    let ask = |base: &str| {
        reqwest::Client::builder()
            .no_proxy()
            .build()
            .unwrap()
            .post(format!("{base}/api/questions"))
            .header("content-type", "application/json")
            .header("idempotency-key", "the-first-question-of-a-visitor")
            .body(r#"{"message":"wait 1500"}"#)
            .send()
    };
    let asking = tokio::spawn(ask(&server.base));
    while setup.bot.asked() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.kill_9();
    assert!(asking.await.unwrap().is_err(), "no answer came");
    if engine == Engine::Postgres {
        // Another server could still be alive: it is dead a minute later.
        execute(&setup.database, "UPDATE nodes SET renewed_at = renewed_at - 60000").await;
    }

    let server = setup.start();
    let listed = || async {
        let response = reqwest::Client::builder()
            .no_proxy()
            .build()
            .unwrap()
            .get(format!("{}/api/message", server.base))
            .header("x-api-key", &setup.key)
            .send()
            .await
            .unwrap();
        serde_json::from_str::<serde_json::Value>(&response.text().await.unwrap()).unwrap()
    };
    let cut_off = listed().await;
    assert_eq!(cut_off["pagination"]["totalItems"], 1);
    assert_eq!(cut_off["data"][0]["failure"]["reason"], "interrupted");
    let answered = ask(&server.base).await.unwrap();
    assert_eq!(answered.status(), 200, "a retry asks again at once");
    assert_eq!(setup.bot.asked(), 2);
    let stored = listed().await;
    assert_eq!(stored["pagination"]["totalItems"], 2);
    assert_eq!(stored["data"][0]["failure"], serde_json::Value::Null);
}
