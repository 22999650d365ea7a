use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use wicara_model::{Api, Bots, Role};
use xtask::postgres::Cluster;

use super::writers::{Writer, assert_nothing_lost_or_doubled};
use crate::store::create;
use crate::support::app::METRICS;
use crate::support::{Database, PATIENCE, TestApp, until, within};

const WRITERS: usize = 16;
const ROUNDS: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_restart_is_survived() {
    let cluster = Arc::new(tokio::task::spawn_blocking(|| Cluster::start().unwrap()).await.unwrap());
    let app = TestApp::on(Database::at(cluster.url("postgres")), METRICS).await;
    let monitor = app.anonymous().with("x-api-key", &app.key(Role::Admin, Bots::All, Api::Chatbot).await);
    let key = app.key(Role::Agent, Bots::All, Api::Chatbot).await;
    let conversation = create(app.store(), "echo", &[]).await.conversation.id.0;
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let done = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..WRITERS)
        .map(|number| {
            let mut writer = Writer::new(number, conversation, key.clone());
            let (base, acknowledged, done) = (app.base.clone(), Arc::clone(&acknowledged), Arc::clone(&done));
            tokio::spawn(async move {
                loop {
                    if writer.send(&base).await {
                        acknowledged.fetch_add(1, Ordering::SeqCst);
                        if done.load(Ordering::SeqCst) {
                            return writer;
                        }
                    } else {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                }
            })
        })
        .collect();

    // Started before an outage, answered by the bot in the middle of it: the answer waits for the database.
    let client = app.anonymous();
    for _ in 0..ROUNDS {
        let before = acknowledged.load(Ordering::SeqCst);
        until(PATIENCE, "all goes on", async || acknowledged.load(Ordering::SeqCst) > before + 100).await;
        let asked = app.bot.asked();
        let asking = {
            let client = client.clone();
            tokio::spawn(async move { client.post("/api/questions", &json!({"message": "wait 500"})).await })
        };
        app.bot.until_asked(asked + 1).await;

        let stopped = Arc::clone(&cluster);
        tokio::task::spawn_blocking(move || stopped.stop_immediately().unwrap()).await.unwrap();
        let program = app.anonymous().with("x-api-key", &key);
        for refused in [
            program.get("/api/message").await,
            client.post("/api/questions", &json!({"message": "now?"})).await,
            client.get("/readyz").await,
            monitor.get("/metrics").await,
        ] {
            assert_eq!(refused.status, 503, "{}", refused.text);
            assert!(refused.header("retry-after").is_some());
        }
        assert_eq!(client.get("/healthz").await.status, 200);
        // Where no key has to be looked up, the figures are there all the same.
        let figures = app.metrics().get("/metrics").await;
        assert!(figures.status == 200 && figures.text.ends_with("# EOF\n"), "{}", figures.text);

        let restarted = Arc::clone(&cluster);
        tokio::task::spawn_blocking(move || restarted.restart().unwrap()).await.unwrap();
        let answer = asking.await.unwrap().ok();
        assert_eq!(answer["data"][0]["text"], "echo: wait 500");
    }
    let before = acknowledged.load(Ordering::SeqCst);
    until(PATIENCE, "all goes on", async || acknowledged.load(Ordering::SeqCst) > before + 100).await;
    done.store(true, Ordering::SeqCst);
    let mut finished = Vec::new();
    for writer in writers {
        finished.push(within(PATIENCE, "a writer ends", writer).await.unwrap());
    }
    assert!(finished.iter().any(|writer| writer.refused > 0), "the outage was noticed");
    assert_nothing_lost_or_doubled(app.store(), &finished).await;
    app.stop().await;
}
