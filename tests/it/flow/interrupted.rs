//! Servers that end or freeze while they are being waited for, beside one that lives on.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::process::{Server, Site};
use crate::support::database::connect;
use crate::support::{Answer, Client, Engine, until, within};

/// Longer than it takes until somebody looks whether others are alive.
const SWEPT: Duration = Duration::from_secs(75);
const PATIENCE: Duration = Duration::from_secs(30);

/// The servers that are known to the database.
async fn nodes(url: &str) -> Vec<i64> {
    let client = connect(url).await;
    let known = client.query_one("SELECT to_regclass('nodes') IS NOT NULL", &[]).await.unwrap();
    if !known.get::<_, bool>(0) {
        return Vec::new();
    }
    let rows = client.query("SELECT node FROM nodes", &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// As if these servers had not been heard of for long.
async fn forget(url: &str, nodes: &[i64]) {
    if !nodes.is_empty() {
        let sql = "UPDATE nodes SET renewed_at = 0 WHERE node = ANY($1)";
        connect(url).await.execute(sql, &[&nodes]).await.unwrap();
    }
}

/// A first question of a visitor's own.
struct Asked {
    text: String,
    key: String,
}

impl Asked {
    fn new(number: usize) -> Self {
        Self { text: format!("held {number}"), key: format!("the-first-question-of-visitor-{number}") }
    }

    /// Asks a server: the same request each time.
    fn ask(&self, server: &Server) -> JoinHandle<Result<Answer, reqwest::Error>> {
        let visitor = Client::new(&server.base).with("idempotency-key", &self.key);
        let visitor = visitor.with("content-type", "application/json");
        let body = json!({"message": self.text}).to_string();
        tokio::spawn(async move { visitor.try_send(Method::POST, "/api/questions", Some(body.into())).await })
    }

    /// The question as it is stored, and the answers that it has.
    async fn stored(&self, program: &Client) -> (Value, Vec<Value>) {
        let listed = program.get("/api/message?limit=100").await.ok();
        let messages = listed["data"].as_array().unwrap();
        let mut questions = messages.iter().filter(|message| message["message"] == self.text);
        let question = questions.next().expect("the question is stored").clone();
        assert!(questions.next().is_none(), "the question is stored once");
        let answers = messages.iter().filter(|message| message["replyTo"] == question["id"]).cloned();
        let answers = answers.collect();
        (question, answers)
    }

    #[track_caller]
    fn assert_answered(&self, answer: &Value) {
        assert_eq!(answer["data"][0]["text"], format!("echo: {}", self.text), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_of_servers_that_are_gone_or_frozen_are_interrupted_by_one_that_lives() {
    let site = Site::new(Engine::Postgres).await;
    let url = &site.database.url;
    let (first, second, third) = (site.start(), site.start(), site.start());
    let lost = nodes(url).await;
    let living = site.start();
    let program = site.program(&living);
    let questions: [_; 3] = std::array::from_fn(Asked::new);
    let [killed, late, again] = &questions;

    let (asked_first, asked_second, asked_third) = (killed.ask(&first), late.ask(&second), again.ask(&third));
    site.bot.until_asked(3).await;
    // The bot answers all three, and nobody hears it.
    first.kill_9();
    second.freeze();
    third.freeze();
    site.bot.let_go();
    assert!(asked_first.await.unwrap().is_err(), "no answer came");
    forget(url, &lost).await;
    let interrupted = async || {
        for question in &questions {
            if question.stored(&program).await.0["failure"]["reason"] != "interrupted" {
                return false;
            }
        }
        true
    };
    until(SWEPT, "the questions are interrupted", interrupted).await;

    // A retry asks at once, and not only when the lease of the first request is over.
    let (retried_first, retried_third) = (killed.ask(&living), again.ask(&living));
    let retried_first = within(PATIENCE, "the retry is answered", retried_first).await.unwrap().unwrap().ok();
    killed.assert_answered(&retried_first);
    let retried_third = within(PATIENCE, "the retry is answered", retried_third).await.unwrap().unwrap().ok();
    again.assert_answered(&retried_third);
    assert_eq!(site.bot.asked(), 5);

    // What was given up and not asked again takes its answer after all; what was has one already.
    second.thaw();
    third.thaw();
    let answer = within(PATIENCE, "the late answer comes", asked_second).await.unwrap().unwrap().ok();
    late.assert_answered(&answer);
    let answer = within(PATIENCE, "the later answer comes", asked_third).await.unwrap().unwrap().ok();
    assert_eq!(answer["data"], retried_third["data"], "the answers are those of the retry");
    for question in &questions {
        let (stored, answers) = question.stored(&program).await;
        assert_eq!(stored["failure"], Value::Null);
        assert_eq!(answers.len(), 1, "{answers:?}");
    }
    assert_eq!(program.get("/api/message").await.ok()["pagination"]["totalItems"], 6);
    assert_eq!(site.bot.asked(), 5);
}
