use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::Method;
use serde_json::json;

use super::process::Site;
use super::writers::{Writer, assert_nothing_lost_or_doubled};
use crate::store::{create, execute};
use crate::support::{Client, Engine, PATIENCE, on_both_engines, until, within};

on_both_engines!(
    nothing_acknowledged_is_lost_to_kill_9,
    a_question_cut_off_by_a_crash_is_marked_and_taken_over
);

const ROUNDS: usize = 20;
const WRITERS: usize = 32;
const CONVERSATIONS: usize = 4;
/// Acknowledged messages after which a round ends, at the least.
const ROUND: usize = 64;

async fn nothing_acknowledged_is_lost_to_kill_9(engine: Engine) {
    let site = Site::new(engine).await;
    let mut conversations = Vec::new();
    for _ in 0..CONVERSATIONS {
        conversations.push(create(&site.store, "echo", &[]).await.conversation.id.0);
    }
    let mut writers: Vec<_> = (0..WRITERS)
        .map(|number| Writer::new(number, conversations[number % CONVERSATIONS], site.key.clone()))
        .collect();
    for round in 0..ROUNDS {
        let server = site.start();
        let count = Arc::new(AtomicUsize::new(0));
        let running: Vec<_> = writers
            .drain(..)
            .map(|writer| tokio::spawn(writer.send_until_refused(server.base.clone(), Arc::clone(&count))))
            .collect();
        // A little later each round, so that the kill falls on different moments of a batch.
        until(PATIENCE, "so much is acknowledged", async || {
            assert!(running.iter().any(|writer| !writer.is_finished()), "nobody writes any more");
            count.load(Ordering::SeqCst) >= ROUND + 7 * round
        })
        .await;
        server.kill_9();
        for writer in running {
            writers.push(within(PATIENCE, "a writer is told no", writer).await.unwrap());
        }
    }
    let server = site.start();
    for writer in &mut writers {
        assert!(writer.send(&server.base).await, "what was not acknowledged is taken now");
        assert_eq!(writer.refused, 0, "a crash refuses nothing");
    }
    assert_nothing_lost_or_doubled(&site.store, &writers).await;
}

async fn a_question_cut_off_by_a_crash_is_marked_and_taken_over(engine: Engine) {
    let site = Site::new(engine).await;
    let server = site.start();
    let question = json!({"message": "wait 1500"});
    let ask = |base: &str| {
        let visitor = Client::new(base).with("idempotency-key", "the-first-question-of-a-visitor");
        let visitor = visitor.with("content-type", "application/json");
        let body = question.to_string().into_bytes();
        async move { visitor.try_send(Method::POST, "/api/questions", Some(body)).await }
    };
    let asking = tokio::spawn(ask(&server.base));
    site.bot.until_asked(1).await;
    server.kill_9();
    assert!(asking.await.unwrap().is_err(), "no answer came");
    if engine == Engine::Postgres {
        // Another server could still be alive: it is dead a minute later.
        execute(&site.database, "UPDATE nodes SET renewed_at = renewed_at - 60000").await;
    }

    let server = site.start();
    let cut_off = site.program(&server).get("/api/message").await.ok();
    assert_eq!(cut_off["pagination"]["totalItems"], 1);
    assert_eq!(cut_off["data"][0]["failure"]["reason"], "interrupted");
    let answered = ask(&server.base).await.unwrap();
    assert_eq!(answered.status, 200, "a retry asks again at once");
    assert_eq!(site.bot.asked(), 2);
    let stored = site.program(&server).get("/api/message").await.ok();
    assert_eq!(stored["pagination"]["totalItems"], 2);
    assert_eq!(stored["data"][0]["failure"], serde_json::Value::Null);
}
