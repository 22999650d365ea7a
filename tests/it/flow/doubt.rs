//! Connections to PostgreSQL that break where it matters most: around COMMIT, and between a commit and what is read for
//! its answer; and a BEGIN that fails alone.

use std::time::Duration;

use serde_json::{Value, json};
use wicara_model::{Api, Bots, Role};

use super::writers::{Writer, assert_nothing_lost_or_doubled};
use crate::store::{create, totals_are_exact};
use crate::support::database::connect;
use crate::support::{
    Answer, Client, Database, Fault, PostgresProxy, TestApp, is_append, is_commit, side_by_side, until,
    within,
};

const PATIENCE: Duration = Duration::from_secs(20);
/// Longer than the outcome of a commit is looked up.
const GIVEN_UP: Duration = Duration::from_secs(40);
/// Reads after which each connection for reading has been used.
const CONNECTIONS: usize = 4;
const NOTHING: &str = "Nothing was stored";

struct Place {
    app: TestApp,
    proxy: PostgresProxy,
    program: Client,
    conversation: i64,
}

impl Place {
    async fn new() -> Self {
        let (app, proxy) = TestApp::behind_proxy("").await;
        let program = app.program();
        let conversation = create(app.store(), "echo", &["before"]).await.conversation.id.0;
        let place = Self { app, proxy, program, conversation };
        // So that all connections are there.
        place.program.post("/api/message", &place.message("first")).await.ok();
        for _ in 0..CONNECTIONS {
            place.program.get(&format!("/api/conversation/{}", place.conversation)).await.ok();
        }
        place
    }

    fn message(&self, text: &str) -> Value {
        json!({
            "message": text, "type": "text", "role": "client", "conversationId": self.conversation.to_string()
        })
    }

    /// Texts of all messages, whatever conversation they are in.
    async fn texts(&self) -> Vec<String> {
        let listed = self.program.get("/api/message?limit=100").await.ok();
        let messages = listed["data"].as_array().unwrap();
        assert_eq!(listed["pagination"]["totalItems"], messages.len());
        messages.iter().map(|message| message["message"].as_str().unwrap().to_owned()).collect()
    }

    async fn conversations(&self) -> i64 {
        self.program.get("/api/conversation").await.ok()["meta"]["total"].as_i64().unwrap()
    }
}

/// Asks until it is answered; what comes instead may be tried again.
async fn retried(client: &Client, path: &str, body: &Value) -> Answer {
    let answered = async {
        loop {
            let answer = client.post(path, body).await;
            if answer.status == 200 {
                return answer;
            }
            assert_eq!(answer.status, 503, "{}", answer.text);
            assert!(answer.header("retry-after").is_some());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    within(PATIENCE, "a retry is answered", answered).await
}

/// Lets an append go that was held, and waits until the server has done with it.
async fn let_it_arrive(database: &Database, proxy: &PostgresProxy) {
    const LAST_APPENDED: &str = "SELECT pid FROM pg_stat_activity \
         WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE '%wicara_append\\_%'";
    const AS_BEFORE: &str = "SELECT count(*) FROM pg_stat_activity \
         WHERE pid = ANY($1) AND (state = 'active' OR extract(epoch FROM query_start)::float8 <= $2)";
    let client = connect(&database.url).await;
    let processes = client.query(LAST_APPENDED, &[]).await.unwrap();
    let processes: Vec<i32> = processes.iter().map(|row| row.get(0)).collect();
    let now = "SELECT extract(epoch FROM clock_timestamp())::float8";
    let now: f64 = client.query_one(now, &[]).await.unwrap().get(0);
    proxy.record();
    proxy.thaw();
    until(PATIENCE, "the call is over", async || {
        let as_before: i64 = client.query_one(AS_BEFORE, &[&processes, &now]).await.unwrap().get(0);
        as_before < processes.len() as i64
    })
    .await;
    let trips = proxy.round_trips();
    let arrived = trips.iter().any(|trip| trip.statements.iter().any(|sql| sql.contains("wicara_append_")));
    assert!(arrived, "the server has seen the call");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_commit_in_doubt_stored_is_stored_once() {
    let place = Place::new().await;
    for (number, fault) in [Fault::CutAfter, Fault::CutBefore].into_iter().enumerate() {
        let keyed = |what: &str| {
            place.program.with("idempotency-key", &format!("the {what} {number}").replace(' ', "-"))
        };
        let texts = place.texts().await.len();
        let conversations = place.conversations().await;

        let cut = place.proxy.at(is_commit, 1, fault);
        let text = format!("message {number}");
        let client = keyed("message");
        let answer = retried(&client, "/api/message", &place.message(&text)).await.ok();
        assert_eq!(retried(&client, "/api/message", &place.message(&text)).await.ok(), answer);
        assert_eq!(cut.sprung(), 1);
        assert_eq!(place.texts().await.iter().filter(|stored| **stored == text).count(), 1, "{fault:?}");

        let cut = place.proxy.at(is_commit, 1, fault);
        let room = json!({"room": format!("room {number}"), "integrationType": "website"});
        let client = keyed("conversation");
        let answer = retried(&client, "/api/conversation", &room).await.ok();
        assert_eq!(
            retried(&client, "/api/conversation", &room).await.ok()["data"]["id"],
            answer["data"]["id"]
        );
        assert_eq!(cut.sprung(), 1);
        assert_eq!(place.conversations().await, conversations + 1, "{fault:?}");

        // Its own commit, and then the commit of its answer.
        let cut = place.proxy.at(is_commit, 1, fault);
        let question = json!({"message": format!("question {number}")});
        let client = keyed("first question");
        let answer = retried(&client, "/api/questions", &question).await.ok();
        assert_eq!(answer["data"][0]["text"], format!("echo: question {number}"));
        assert_eq!(cut.sprung(), 1);

        let question = json!({"message": format!("held {number}"), "session_id": answer["session_id"]});
        let client = keyed("second question");
        place.app.bot.hold();
        let asked = place.app.bot.asked();
        let asking = tokio::spawn({
            let (client, question) = (client.clone(), question.clone());
            async move { client.post("/api/questions", &question).await }
        });
        place.app.bot.until_asked(asked + 1).await;
        let cut = place.proxy.at(is_commit, 1, fault);
        place.app.bot.let_go();
        let answer = asking.await.unwrap().ok();
        assert_eq!(answer["data"][0]["text"], format!("echo: held {number}"));
        assert_eq!(cut.sprung(), 1);
        assert_eq!(retried(&client, "/api/questions", &question).await.ok(), answer);
        assert_eq!(place.app.bot.asked(), asked + 1);
        assert_eq!(place.texts().await.len(), texts + 5, "{fault:?}");
    }
    place.app.stop().await;
}

/// The call arrives when its node has long asked what became of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_arrives_after_its_look_up_stores_nothing() {
    let place = Place::new().await;
    let held = place.proxy.at(is_append, 1, Fault::Held);
    let answer = place.program.post("/api/message", &place.message("late")).await;
    assert_eq!((held.sprung(), answer.status.as_u16()), (1, 503), "{}", answer.text);
    assert!(answer.text.contains(NOTHING), "{}", answer.text);
    let_it_arrive(&place.app.database, &place.proxy).await;
    place.program.post("/api/message", &place.message("next")).await.ok();
    assert_eq!(place.texts().await, ["before", "first", "next"]);
    totals_are_exact(&place.app.database).await;
    place.app.stop().await;
}

/// The call arrives when its node has stopped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_outlives_its_node_stores_nothing() {
    let place = Place::new().await;
    place.proxy.at(is_append, 1, Fault::Held);
    let answer = place.program.post("/api/message", &place.message("late")).await;
    assert!(answer.text.contains(NOTHING), "{}", answer.text);
    let database = place.app.stop().await;
    let_it_arrive(&database, &place.proxy).await;
    let stored = connect(&database.url).await.query("SELECT text FROM messages ORDER BY id", &[]).await;
    let texts: Vec<String> = stored.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(texts, ["before", "first"]);
    totals_are_exact(&database).await;
}

/// What the database says comes in as many pieces as the network makes of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_come_piece_by_piece_hold_up_nothing() {
    let place = Place::new().await;
    place.proxy.send_piecemeal();
    let written = async {
        for number in 0..3 {
            let text = format!("message {number}");
            place.program.post("/api/message", &place.message(&text)).await.ok();
            let question = json!({"message": format!("question {number}")});
            place.app.anonymous().post("/api/questions", &question).await.ok();
        }
    };
    within(PATIENCE, "all is written", written).await;
    place.app.stop().await;
}

/// Nobody can tell the client what became of it, so nobody says that nothing did.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outcome_that_cannot_be_looked_up_is_called_unknown() {
    let cases = [("stored", Fault::CutAfter), ("not stored", Fault::CutBefore)];
    side_by_side(cases.map(|(name, fault)| (name, unknown(fault)))).await;
}

async fn unknown(fault: Fault) {
    let place = Place::new().await;
    let client = place.program.with("idempotency-key", "in-doubt");
    let message = place.message("in doubt");
    // Those that are open stay, so that the client is known.
    place.proxy.refuse();
    let cut = place.proxy.at(is_commit, 1, fault);
    let answer = within(GIVEN_UP, "looking up is given up", client.post("/api/message", &message)).await;
    assert_eq!(cut.sprung(), 1);
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert!(answer.header("retry-after").is_some());
    let error = answer.json()["error"].as_str().unwrap().to_owned();
    assert!(!error.contains(NOTHING), "{error}");
    assert!(error.contains("known") && error.contains("Idempotency-Key"), "it says what to do: {error}");

    place.proxy.accept();
    let stored = retried(&client, "/api/message", &message).await.ok();
    assert_eq!(stored["data"]["message"], "in doubt");
    assert_eq!(place.texts().await, ["before", "first", "in doubt"]);
    place.app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_that_fails_leaves_nothing_and_is_tried_again() {
    let cases = ["57014", "53200"].into_iter().flat_map(|code| [1, 5].map(|times| (code, times)));
    let cases = cases.map(|(code, times)| (format!("{code}, {times} times"), append_fails(code, times)));
    side_by_side(cases.collect::<Vec<_>>()).await;
}

const WRITERS: usize = 6;
const MESSAGES: usize = 4;

async fn append_fails(code: &'static str, times: usize) {
    let place = Place::new().await;
    let key = place.app.key(Role::Agent, Bots::All, Api::Chatbot).await;
    let mut conversations = Vec::new();
    for _ in 0..2 {
        conversations.push(create(place.app.store(), "echo", &[]).await.conversation.id.0);
    }
    let failing = place.proxy.at(is_append, times, Fault::Fails(code));
    let writers = (0..WRITERS).map(|number| {
        let mut writer = Writer::new(number, conversations[number % 2], key.clone());
        let base = place.app.base.clone();
        tokio::spawn(async move {
            while writer.acknowledged.len() < MESSAGES {
                if !writer.send(&base).await {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            writer
        })
    });
    let writers: Vec<_> = writers.collect();
    // Without a key: what is answered with 503 was not stored.
    let mut acknowledged = vec!["before".to_owned(), "first".to_owned()];
    for number in 0..MESSAGES {
        let text = format!("without a key {number}");
        let answer = place.program.post("/api/message", &place.message(&text)).await;
        match answer.status.as_u16() {
            200 => acknowledged.push(text),
            503 => assert!(answer.text.contains(NOTHING), "{}", answer.text),
            _ => panic!("{answer:?}"),
        }
    }
    let mut finished = Vec::new();
    for writer in writers {
        finished.push(within(PATIENCE, "a writer's messages are taken", writer).await.unwrap());
    }
    // The first question of a visitor opens its conversation.
    let visitor = place.app.anonymous().with("idempotency-key", "the-first-question-of-all");
    until(PATIENCE, "all have failed that were to", async || {
        place.program.post("/api/conversation", &json!({"room": "r", "integrationType": "website"})).await;
        failing.sprung() == times
    })
    .await;
    let conversations = place.conversations().await;
    let failing = place.proxy.at(is_append, times, Fault::Fails(code));
    let question = json!({"message": "the first question"});
    let answer = retried(&visitor, "/api/questions", &question).await.ok();
    assert_eq!(failing.sprung(), times);
    assert_eq!(answer["data"][0]["text"], "echo: the first question");
    assert_eq!(place.conversations().await, conversations + 1);

    assert_nothing_lost_or_doubled(place.app.store(), &finished).await;
    let path = format!("/api/message?limit=100&conversationId={}", place.conversation);
    let listed = place.program.get(&path).await.ok();
    let messages = listed["data"].as_array().unwrap();
    let texts: Vec<_> = messages.iter().map(|message| message["message"].as_str().unwrap()).collect();
    assert_eq!(texts, acknowledged);
    assert_eq!(listed["pagination"]["totalItems"], acknowledged.len());
    assert_eq!(place.texts().await.len(), acknowledged.len() + WRITERS * MESSAGES + 2);
    place.app.stop().await;
}

/// The change is there, whatever becomes of its answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_whose_answer_cannot_be_read_is_not_called_undone() {
    let place = Place::new().await;
    let person = place.app.person();
    for (number, (path, body)) in [
        (format!("/api/conversation/{}", place.conversation), json!({"room": "changed"})),
        (format!("/api/conversation/{}", place.conversation), json!({"handler": "human"})),
    ]
    .into_iter()
    .enumerate()
    {
        let committed = place.proxy.at(is_commit, 1, Fault::AnswerHeld);
        let changing = tokio::spawn({
            let (person, path, body) = (person.clone(), path.clone(), body.clone());
            async move { person.patch(&path, &body).await }
        });
        until(PATIENCE, "the change is committed", async || committed.sprung() == 1).await;
        // Every further statement ends its connection, and no new one is to be had.
        place.proxy.at(|_| true, usize::MAX, Fault::CutBefore);
        place.proxy.refuse();
        place.proxy.thaw();
        let answer = changing.await.unwrap();
        place.proxy.clear();
        place.proxy.accept();
        assert!(!answer.text.contains(NOTHING), "{}", answer.text);
        if answer.status != 200 {
            assert_eq!(answer.status, 503, "{}", answer.text);
            assert!(answer.header("retry-after").is_some());
        }
        let field = body.as_object().unwrap().keys().next().unwrap();
        let changed = async || person.get(&path).await.status == 200;
        until(PATIENCE, "it can be read again", changed).await;
        assert_eq!(person.get(&path).await.ok()["data"][field], body[field], "{number}");
    }
    place.app.stop().await;
}
