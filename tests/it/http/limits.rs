//! How much strangers may do: questions, logins, and where both come from.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use wicara_model::{Api, Bots, Role};

use super::{Chat, UNAUTHENTICATED};
use crate::support::app::PASSWORD;
use crate::support::{Answer, Client, Engine, TestApp, manual_clock, on_both_engines};

on_both_engines!(
    a_conversation_takes_so_many_questions_a_minute,
    an_address_asks_so_many_questions_a_minute,
    an_address_logs_in_so_often_a_minute,
    wrong_passwords_slow_down_one_account_from_one_address,
    passwords_tried_at_once_are_counted,
);

const BEHIND_PROXY: &str = "server.trusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\"]\n";

/// So that only what follows wrong passwords limits them.
const MANY_LOGINS: &str = "limits.logins_per_minute_per_address = 1000\n";

async fn started(engine: Engine, config: &str) -> (TestApp, Arc<AtomicI64>) {
    let (clock, time) = manual_clock(1_752_470_016_351);
    (TestApp::at(engine, config, clock).await, time)
}

fn pass(time: &AtomicI64, seconds: i64) {
    time.fetch_add(seconds * 1000, Ordering::SeqCst);
}

async fn ask(client: &Client, session: Option<&str>) -> Answer {
    client.post("/api/questions", &json!({"message": "halo", "session_id": session})).await
}

async fn log_in(client: &Client, email: &str, password: &str) -> Answer {
    client.post("/api/auth/login", &json!({"email": email, "password": password})).await
}

fn from(app: &TestApp, address: &str) -> Client {
    app.anonymous().with("x-forwarded-for", address)
}

const TOO_MANY: &str = r#"{"status":429,"message":"too many requests","error":"More than the limits of this server allow. Try again later."}"#;

#[track_caller]
fn assert_too_many(answer: &Answer, retry_after: &str, case: &str) {
    answer.is(429, TOO_MANY);
    assert_eq!(answer.header("retry-after"), Some(retry_after), "{case}");
}

async fn a_conversation_takes_so_many_questions_a_minute(engine: Engine) {
    let (app, time) = started(engine, "limits.questions_per_minute = 2\n").await;
    let chat = Chat::on(&app, "echo").await;
    let session = Some(chat.session.as_str());
    let (visitor, program) = (app.anonymous(), app.program());
    ask(&visitor, session).await.ok();
    ask(&program, session).await.ok();
    assert_eq!(app.bot.asked(), 2);
    for client in [&visitor, &program] {
        assert_too_many(&ask(client, session).await, "30", "whoever asks");
    }
    let thread = visitor.get(&format!("/api/questions/{}", chat.session)).await.ok();
    let questions = thread["data"]["messages"].as_array().unwrap().iter();
    assert_eq!(questions.filter(|message| message["role"] == "client").count(), 3, "nothing was stored");
    assert_eq!(app.bot.asked(), 2);

    let other = ask(&visitor, None).await.ok()["session_id"].as_str().unwrap().to_owned();
    ask(&visitor, Some(&other)).await.ok();

    pass(&time, 29);
    assert_too_many(&ask(&visitor, session).await, "1", "a second too early");
    pass(&time, 1);
    ask(&visitor, session).await.ok();
    assert_too_many(&ask(&visitor, session).await, "30", "one only");
    app.stop().await;
}

async fn an_address_asks_so_many_questions_a_minute(engine: Engine) {
    let (app, time) = started(engine, "limits.questions_per_minute_per_address = 2\n").await;
    let visitor = app.anonymous();
    let session = ask(&visitor, None).await.ok()["session_id"].as_str().unwrap().to_owned();
    ask(&visitor, Some(&session)).await.ok();
    // A person's cookie does not count here; nobody believes a header that anybody can send.
    for client in [&visitor, &app.person(), &from(&app, "192.0.2.7")] {
        assert_too_many(&ask(client, Some(&session)).await, "30", "one address");
    }
    let unread = visitor.send(Method::POST, "/api/questions", Some(vec![b'x'; 2_000_000])).await;
    assert_too_many(&unread, "30", "before the body is looked at");
    let program = app.program_with(Role::Viewer, Bots::All, Api::Chatbot).await;
    for _ in 0..3 {
        ask(&program, Some(&session)).await.ok();
    }
    ask(&visitor.with("x-api-key", "wrong"), None).await.is(401, UNAUTHENTICATED);
    visitor.get(&format!("/api/questions/{session}")).await.ok();

    pass(&time, 30);
    ask(&visitor, Some(&session)).await.ok();
    assert_too_many(&ask(&visitor, Some(&session)).await, "30", "one only");
    app.stop().await;

    let (app, _) =
        started(engine, &format!("{BEHIND_PROXY}limits.questions_per_minute_per_address = 1\n")).await;
    for (address, allowed) in [
        ("192.0.2.7", true),
        ("192.0.2.7", false),
        ("192.0.2.8, 192.0.2.7", false),
        ("192.0.2.7, 10.0.0.1", false),
        ("192.0.2.7, 203.0.113.1", true),
        ("[2001:db8:1:2::1]:4711", true),
        ("2001:db8:1:2:3:4:5:6", false),
        ("2001:db8:1:3::1", true),
    ] {
        ask(&from(&app, address), None).await.has_status(if allowed { 200 } else { 429 });
    }
    app.stop().await;
}

async fn an_address_logs_in_so_often_a_minute(engine: Engine) {
    let config = format!("{BEHIND_PROXY}limits.logins_per_minute_per_address = 3\n");
    let (app, time) = started(engine, &config).await;
    let here = from(&app, "192.0.2.7");
    log_in(&here, "admin@localhost", PASSWORD).await.ok();
    log_in(&here, "a@localhost", PASSWORD).await.is(401, UNAUTHENTICATED);
    log_in(&here, "b@localhost", PASSWORD).await.is(401, UNAUTHENTICATED);
    for email in ["admin@localhost", "c@localhost"] {
        assert_too_many(&log_in(&here, email, PASSWORD).await, "20", email);
    }
    log_in(&from(&app, "192.0.2.8"), "admin@localhost", PASSWORD).await.ok();
    pass(&time, 20);
    log_in(&here, "admin@localhost", PASSWORD).await.ok();
    assert_too_many(&log_in(&here, "admin@localhost", PASSWORD).await, "20", "one only");
    app.stop().await;
}

async fn wrong_passwords_slow_down_one_account_from_one_address(engine: Engine) {
    let (app, time) = started(engine, &format!("{BEHIND_PROXY}{MANY_LOGINS}")).await;
    let (stranger, owner) = (from(&app, "2001:db8:1:2::66"), from(&app, "192.0.2.7"));
    let neighbour = from(&app, "2001:db8:1:2::67");
    // Whether somebody has the e-mail makes no difference.
    for email in ["admin@localhost", "nobody@localhost"] {
        for _ in 0..5 {
            log_in(&stranger, email, "wrong word").await.is(401, UNAUTHENTICATED);
        }
        for password in ["wrong word", PASSWORD] {
            assert_too_many(&log_in(&stranger, email, password).await, "60", email);
        }
        assert_too_many(&log_in(&neighbour, &email.to_uppercase(), PASSWORD).await, "60", "the same /64");
    }
    log_in(&stranger, "b@localhost", PASSWORD).await.is(401, UNAUTHENTICATED);
    log_in(&owner, "admin@localhost", PASSWORD).await.ok();

    assert_too_many(&log_in(&stranger, "admin@localhost", PASSWORD).await, "60", "the owner's is his own");
    pass(&time, 60);
    // One more a minute, and no two.
    log_in(&stranger, "admin@localhost", "wrong word").await.is(401, UNAUTHENTICATED);
    assert_too_many(&log_in(&stranger, "admin@localhost", PASSWORD).await, "60", "one only");
    pass(&time, 60);
    log_in(&stranger, "admin@localhost", PASSWORD).await.ok();
    // The right password has made good for the wrong ones.
    for _ in 0..5 {
        log_in(&stranger, "admin@localhost", "wrong word").await.is(401, UNAUTHENTICATED);
    }
    app.stop().await;
}

async fn passwords_tried_at_once_are_counted(engine: Engine) {
    let (app, _) = started(engine, MANY_LOGINS).await;
    let client = app.anonymous();
    let tried = join_all((0..20).map(|_| log_in(&client, "admin@localhost", "wrong word"))).await;
    assert_eq!(tried.iter().filter(|answer| answer.status == 401).count(), 5);
    assert_eq!(tried.iter().filter(|answer| answer.status == 429).count(), 15);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_could_not_be_looked_at_is_not_wrong() {
    let (app, _) = started(Engine::Sqlite, MANY_LOGINS).await;
    let database = rusqlite::Connection::open(app.database.url.strip_prefix("sqlite:").unwrap()).unwrap();
    database.execute_batch("ALTER TABLE users RENAME TO away").unwrap();
    for _ in 0..6 {
        log_in(&app.anonymous(), "admin@localhost", PASSWORD).await.has_status(500);
    }
    database.execute_batch("ALTER TABLE away RENAME TO users").unwrap();
    log_in(&app.anonymous(), "admin@localhost", PASSWORD).await.ok();
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zero_is_no_limit() {
    let zero = "limits.questions_per_minute = 0\nlimits.questions_per_minute_per_address = 0\n\
                limits.logins_per_minute_per_address = 0\n";
    let (app, _) = started(Engine::Sqlite, zero).await;
    let visitor = app.anonymous();
    let first: Value = ask(&visitor, None).await.ok();
    for _ in 0..310 {
        ask(&visitor, first["session_id"].as_str()).await.ok();
    }
    for _ in 0..6 {
        log_in(&visitor, "admin@localhost", "wrong word").await.has_status(401);
        log_in(&visitor, "admin@localhost", PASSWORD).await.ok();
    }
    for _ in 0..6 {
        log_in(&visitor, "admin@localhost", "wrong word").await.has_status(401);
    }
    log_in(&visitor, "admin@localhost", PASSWORD).await.ok();
    app.stop().await;
}
