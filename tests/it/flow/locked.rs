//! A row that somebody else holds: a session of an operator, a backup, another program.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use wicara_model::{Api, Bots, Role};

use super::writers::{Writer, assert_nothing_lost_or_doubled};
use crate::store::create;
use crate::support::database::connect;
use crate::support::{Engine, TestApp, until, within};

/// Longer than any statement of the server's may take.
const HELD: Duration = Duration::from_secs(15);
/// How long a write may take that has nothing to do with the row, on a machine that has much to do.
const UNHARMED: Duration = Duration::from_secs(6);
const PATIENCE: Duration = Duration::from_secs(20);
/// Changes that meet the row at once. Were each to wait for the lock before the next, the last would wait for longer than a
/// server is taken for alive without a sign of life.
const CHANGES: usize = 80;
/// Writers that meet the row at once: were each waited for by itself, the others would wait for all of them.
const BLOCKED: usize = 8;
const PAUSE: Duration = Duration::from_millis(50);

/// Writes until it is over, each message within `most`, and one more.
async fn write(mut writer: Writer, base: String, over: Arc<AtomicBool>, most: Duration) -> Writer {
    loop {
        let last = over.load(Ordering::SeqCst);
        let sent = async {
            while !writer.send(&base).await {
                tokio::time::sleep(PAUSE).await;
            }
        };
        within(most, "a message is taken", sent).await;
        if last {
            return writer;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Another node is storing a request with the same key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_just_being_taken_counts_as_running() {
    let app = TestApp::start(Engine::Postgres).await;
    let program = app.program();
    let conversation = create(app.store(), "echo", &[]).await.conversation.id;
    let message = json!({
        "message": "once", "type": "text", "role": "client", "conversationId": conversation.0.to_string()
    });
    let keyed = program.with("idempotency-key", "taken");
    let mut taking = connect(&app.database.url).await;
    let taken = taking.transaction().await.unwrap();
    let lock = "SELECT pg_advisory_xact_lock(hashtextextended('key-1 POST /api/message taken', 0))";
    taken.batch_execute(lock).await.unwrap();
    let running = keyed.post("/api/message", &message).await;
    assert_eq!(running.status, 409, "{}", running.text);
    assert!(running.header("retry-after").is_some());
    // Others do not wait for it.
    program.with("idempotency-key", "another").post("/api/message", &message).await.ok();
    taken.rollback().await.unwrap();
    let stored = keyed.post("/api/message", &message).await.ok();
    assert_eq!(keyed.post("/api/message", &message).await.ok(), stored);
    assert_eq!(program.get("/api/message").await.ok()["pagination"]["totalItems"], 2);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_conversation_harms_no_other() {
    let app = TestApp::start(Engine::Postgres).await;
    let key = app.key(Role::Agent, Bots::All, Api::Chatbot).await;
    let mut conversations = Vec::new();
    for _ in 0..3 {
        conversations.push(create(app.store(), "echo", &[]).await.conversation.id.0);
    }
    let (locked, others) = conversations.split_first().unwrap();
    let holder = connect(&app.database.url).await;
    let lock = format!("BEGIN; SELECT 1 FROM conversations WHERE id = {locked} FOR UPDATE");
    holder.batch_execute(&lock).await.unwrap();

    let over = Arc::new(AtomicBool::new(false));
    let start = |number: usize, conversation: i64, most| {
        let writer = Writer::new(number, conversation, key.clone());
        tokio::spawn(write(writer, app.base.clone(), Arc::clone(&over), most))
    };
    let blocked: Vec<_> = (0..BLOCKED).map(|number| start(number, *locked, HELD + PATIENCE)).collect();
    let free: Vec<_> = (0..4).map(|number| start(BLOCKED + number, others[number % 2], UNHARMED)).collect();
    tokio::time::sleep(HELD).await;
    over.store(true, Ordering::SeqCst);
    let mut writers = Vec::new();
    for writer in free {
        writers.push(within(PATIENCE, "the others write on", writer).await.unwrap());
    }
    assert!(blocked.iter().all(|writer| !writer.is_finished()), "nobody writes past the lock");
    holder.batch_execute("ROLLBACK").await.unwrap();
    for writer in blocked {
        let writer = within(PATIENCE, "the locked conversation is written to", writer).await.unwrap();
        assert!(writer.refused > 0, "that it has to wait is said");
        writers.push(writer);
    }
    assert_nothing_lost_or_doubled(app.store(), &writers).await;
    app.stop().await;
}

/// Changes of a locked conversation are refused while others, logins and the server's signs of life go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_a_locked_conversation_hold_up_no_others() {
    let app = TestApp::start(Engine::Postgres).await;
    let person = app.person();
    let locked = create(app.store(), "echo", &[]).await.conversation.id.0;
    let other = create(app.store(), "echo", &["a message"]).await.conversation.id.0;
    let holder = connect(&app.database.url).await;
    let lock = format!("BEGIN; SELECT 1 FROM conversations WHERE id = {locked} FOR UPDATE");
    holder.batch_execute(&lock).await.unwrap();
    let client = connect(&app.database.url).await;
    let renewed = async || {
        let sql = "SELECT max(renewed_at) FROM nodes";
        client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0)
    };

    let change = |number: usize| {
        let person = person.clone();
        let path = format!("/api/conversation/{locked}");
        tokio::spawn(async move { person.patch(&path, &json!({"room": format!("room {number}")})).await })
    };
    let changes: Vec<_> = (0..CHANGES).map(change).collect();
    let alive = renewed().await;
    let others = async {
        person.patch(&format!("/api/conversation/{other}"), &json!({"room": "changed"})).await.ok();
        app.sign_in("admin@localhost").await;
        until(PATIENCE, "the server says that it lives", async || renewed().await > alive).await;
    };
    within(PATIENCE, "others do not wait for the lock", others).await;
    for change in changes {
        let refused = within(PATIENCE, "a change is refused", change).await.unwrap();
        assert_eq!(refused.status, 503, "{}", refused.text);
        assert!(refused.header("retry-after").is_some());
    }

    // What comes while the row is locked for a moment only is made, in its order.
    let changes: Vec<_> = (0..3).map(change).collect();
    until(PATIENCE, "the changes wait", async || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
        client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) > 0
    })
    .await;
    holder.batch_execute("ROLLBACK").await.unwrap();
    for change in changes {
        within(PATIENCE, "a change is made", change).await.unwrap().ok();
    }
    app.stop().await;
}
