//! A server that is started on what an earlier version left.

use std::time::Duration;

use refinery::Target;
use reqwest::Method;
use serde_json::{Value, json};
use wicara_metrics::Metrics;
use wicara_model::{ConversationId, MessageId, Timestamp};
use wicara_platform::{Clock, Random};
use wicara_store::{AskState, Attempt, Store};

use crate::support::database::connect;
use crate::support::{Answer, Client, Database, Engine, PATIENCE, TestApp, on_both_engines, until};

on_both_engines!(
    a_database_of_version_1_is_taken_up,
    conversations_that_people_had_wait_in_the_queue,
    questions_that_were_open_can_be_stopped,
    documents_without_heads_are_made_anew,
);

mod sqlite_migrations {
    refinery::embed_migrations!("migrations/sqlite");
}

mod postgres_migrations {
    refinery::embed_migrations!("migrations/postgres");
}

const CONTENT: &str = include_str!("version_1.sql");
const SQLITE_IDS: &str = "
    UPDATE sequences SET last = 302 WHERE name = 'conversation_ids';
    UPDATE sequences SET last = 8195 WHERE name = 'message_ids'";
const POSTGRES_IDS: &str = "
    SELECT setval('conversation_ids', 302), setval('message_ids', 8195);
    INSERT INTO batches (id) VALUES (uuid'2f1f7a37-8cf1-4a9a-b8ae-2f0c6e1ff3f5')";

const SESSION: &str = "9f534a11-1c17-453e-a126-05c63efc25af";
const AGENT: &str = "wicara_ca35c17871a2427c190ab11beb89993e97ac06822c84c1890d9de8af7c75ee1d";
/// Of the bot `guide` alone, and of the Conversation API.
const VIEWER: &str = "wicara_30d409f4974eb14dcf78cc5bc390b5e4dae6cff348970faf983433ad4298968b";
const COOKIE: &str = "wicara_session=6127d28e9d2430878056e361d7fb32ee168737ca40376417b82e1899523c6ee6";

/// A database as a version of the schema had it, with this content; `ids`: the last ones given, on each engine.
async fn database_of(engine: Engine, version: i32, content: &str, [sqlite, postgres]: [&str; 2]) -> Database {
    let database = Database::new(engine).await;
    let content = content.replace("{now}", &Clock::System.now().0.to_string());
    match engine {
        Engine::Sqlite => {
            let path = std::path::Path::new(database.url.strip_prefix("sqlite:").unwrap());
            std::fs::create_dir(path.parent().unwrap()).unwrap();
            let mut connection = rusqlite::Connection::open(path).unwrap();
            let runner = sqlite_migrations::migrations::runner().set_target(Target::Version(version));
            runner.run(&mut connection).unwrap();
            connection.execute_batch(&for_sqlite(&content)).unwrap();
            connection.execute_batch(sqlite).unwrap();
        }
        Engine::Postgres => {
            let mut client = connect(&database.url).await;
            let runner = postgres_migrations::migrations::runner().set_target(Target::Version(version));
            runner.run_async(&mut client).await.unwrap();
            client.batch_execute(&content.replace("bytes'", r"'\x")).await.unwrap();
            client.batch_execute(postgres).await.unwrap();
        }
    }
    database
}

/// `bytes'00'` and `uuid'…'` as SQLite has them.
fn for_sqlite(content: &str) -> String {
    let mut parts = content.split("uuid'");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (uuid, rest) = part.split_once('\'').expect("a string ends");
        text += &format!("x'{}'{rest}", uuid.replace('-', ""));
    }
    text.replace("bytes'", "x'")
}

/// Id, conversation, type, role, text, payload's text, id of the question and reason of the failure.
type Row<'a> =
    (&'a str, &'a str, &'a str, &'a str, &'a str, Option<&'a str>, Option<&'a str>, Option<&'a str>);

const FAMILY: &str = "and 👩‍👩‍👧";
const MESSAGES: [Row; 12] = [
    ("1", "1", "text", "client", "hello", None, None, None),
    ("2", "1", "text", "bot", "echo: hello", Some("echo: hello"), Some("1"), None),
    (
        "3",
        "1",
        "text",
        "client",
        r#"say [{"text": "two", "z": 1.00, "a": 1e3, "n": "\u0000"}, {"text": "and 👩‍👩‍👧"}]"#,
        None,
        None,
        None,
    ),
    ("4", "1", "text", "bot", "two", Some("two"), Some("3"), None),
    ("5", "1", "text", "bot", FAMILY, Some(FAMILY), Some("3"), None),
    ("6", "1", "text", "note", "a note", None, None, None),
    ("7", "2", "text", "client", "edited", None, None, None),
    ("8", "3", "text", "client", "asked once", None, None, Some("rejected")),
    ("8191", "301", "image", "agent", "far 0", None, None, None),
    ("8193", "301", "image", "agent", "far 2", None, None, None),
    ("8194", "301", "image", "agent", "far 3", None, None, None),
    ("8195", "302", "text", "client", "still open", None, None, Some("interrupted")),
];

fn row(message: &Value) -> Row<'_> {
    let text = |name: &str| message[name].as_str().unwrap();
    (
        text("id"),
        text("conversationId"),
        text("type"),
        text("role"),
        text("message"),
        message["payload"]["text"].as_str(),
        message["replyTo"].as_str(),
        message["failure"]["reason"].as_str(),
    )
}

fn items(listed: &Value) -> &[Value] {
    listed["data"].as_array().unwrap()
}

/// Before hand-over: a conversation that an operator took at 2000, with a question from before and one from after it; one of
/// the bot's; and one with a question that is being answered.
const VERSION_3: &str = "
    INSERT INTO conversations (id, session_id, by_visitor, room, integration_type, bot_id, user_id, handler, next_seq,
        message_count, note_count, message_bytes, created_at, updated_at, newest_id) VALUES
        (1, uuid'00000000-0000-4000-8000-000000000001', 1, 'website-1', 'website', 'echo', NULL, 'human', 2, 1, 0, 3, 1000, 2000, 1),
        (2, uuid'00000000-0000-4000-8000-000000000002', 1, 'website-2', 'website', 'echo', NULL, 'bot', 1, 0, 0, 0, 1000, 1000, 0),
        (3, uuid'00000000-0000-4000-8000-000000000003', 1, 'website-3', 'website', 'echo', NULL, 'bot', 1, 0, 0, 0, 1000, 1000, 0);
    INSERT INTO messages (id, conversation_id, seq, role, kind, text, bytes, message_count, note_count, message_bytes,
        created_at, updated_at) VALUES
        (1, 1, 1, 'client', 'text', 'one', 3, 1, 0, 3, 1000, 1000),
        (2, 1, 2, 'client', 'text', 'two', 3, 2, 0, 6, 3000, 3000),
        (3, 2, 1, 'client', 'text', 'one', 3, 1, 0, 3, 1000, 1000),
        (4, 3, 1, 'client', 'text', 'one', 3, 1, 0, 3, 1000, 1000);
    INSERT INTO asks (message_id, node, attempt, asked_at) VALUES
        (4, 7, uuid'00000000-0000-4000-8000-000000000004', 1000)";
const VERSION_3_IDS: [&str; 2] = [
    "UPDATE sequences SET last = 3 WHERE name = 'conversation_ids'; \
     UPDATE sequences SET last = 4 WHERE name = 'message_ids'",
    "SELECT setval('conversation_ids', 3), setval('message_ids', 4)",
];

async fn conversations_that_people_had_wait_in_the_queue(engine: Engine) {
    let database = database_of(engine, 3, VERSION_3, VERSION_3_IDS).await;
    let app = TestApp::on(database, "").await;
    let person = app.person();
    let at = |millis: i64| json!(format!("1970-01-01T00:00:0{}.000+00:00", millis / 1000));
    for (id, handler, since, reason, unread) in
        [("1", "human", at(2000), json!("operator"), 1), ("2", "bot", Value::Null, Value::Null, 0)]
    {
        let conversation = person.get(&format!("/api/conversation/{id}")).await.ok()["data"].clone();
        assert_eq!(conversation["handler"], handler);
        assert_eq!(
            (&conversation["handedOverAt"], &conversation["handoverReason"]),
            (&since, &reason),
            "{id}"
        );
        assert_eq!(
            (&conversation["assignee"], &conversation["seenByVisitorUpTo"]),
            (&Value::Null, &Value::Null)
        );
        assert_eq!(conversation["unreadCount"], unread, "{id}: those since people have it");
    }
    let one = person.get("/api/conversation/1").await.ok()["data"].clone();
    assert_eq!((&one["updatedAt"], &one["messageCount"]), (&at(3000), &json!(2)));
    // It waits in the queue since then, from which one goes back to its bot, or to who claims it.
    for (since, returned) in [(1999, 0), (2000, 1)] {
        let store = app.store();
        let back = store.conversation_return(Timestamp(since), "", Timestamp(4000)).await.unwrap();
        assert_eq!(back, returned, "{since}");
    }
    person.patch("/api/conversation/1", json!({"handler": "human"})).await.ok();
    let claimed = person.post("/api/conversation/1/claim", "{}").await.ok()["data"].clone();
    assert_eq!(claimed["assignee"]["kind"], "person");
    app.stop().await;
}

async fn questions_that_were_open_can_be_stopped(engine: Engine) {
    let database = database_of(engine, 3, VERSION_3, VERSION_3_IDS).await;
    let store =
        Store::open(&database.url, Duration::ZERO, &Random::System, &Metrics::default()).await.unwrap();
    let (conversation, question) = (ConversationId(3), MessageId(4));
    let attempt = Attempt { question, id: "00000000-0000-4000-8000-000000000004".parse().unwrap() };
    assert_eq!(store.ask_state(conversation, attempt).await.unwrap(), AskState::Wanted);
    assert!(store.answers_stop(conversation).await.unwrap());
    assert_eq!(store.ask_state(conversation, attempt).await.unwrap(), AskState::Stopped);
    store.close().await;
}

/// Documents as version 7 had them, without the heads of words, which all counted as searchable.
const VERSION_7_DOCUMENTS: [&str; 2] = [
    "INSERT INTO search_documents (rowid, conversation_id, terms, scope) VALUES \
         (2, 1, 'kartunya _kartu', 'b6563686f'), (72057594037927937, 1, 'website 1', 'b6563686f'); \
     UPDATE search_index SET messages_below = 0, conversations_below = 0",
    "INSERT INTO search_documents (id, conversation_id, terms, place) VALUES \
         (2, 1, 'kartunya:1 _kartu', wicara_place_1(2, 'echo', 0)), \
         (72057594037927937, 1, 'website:1 1:2', wicara_place_1(72057594037927937, 'echo', 0)); \
     UPDATE search_index SET messages_below = 0, conversations_below = 0",
];

async fn documents_without_heads_are_made_anew(engine: Engine) {
    let content = VERSION_3.replace("'two', 3", "'kartunya', 8");
    let database = database_of(engine, 7, &content, VERSION_7_DOCUMENTS).await;
    let app = TestApp::on(database, "").await;
    let person = app.person();
    until(PATIENCE, "everything is searchable", async || {
        person.get("/api/message?q=one").await.ok()["pagination"].get("indexedFrom").is_none()
    })
    .await;
    for (query, found) in [("kar*", 1), ("kartu*", 1), ("kartu", 1), ("one*", 3), ("web*", 0)] {
        let list = person.get(&format!("/api/message?q={query}")).await.ok();
        assert_eq!(list["pagination"]["totalItems"], found, "{query}: {list}");
    }
    let list = person.get("/api/conversation?q=web*").await.ok();
    assert_eq!(list["pagination"]["totalItems"], 3, "{list}");
    app.stop().await;
}

/// What a server of version 1 or 2 does first in each batch.
const OLD_BATCH: &str = "WITH before AS (DELETE FROM batches WHERE id = NULL) \
     INSERT INTO batches (id) VALUES (uuid'2f1f7a37-8cf1-4a9a-b8ae-2f0c6e1ff3f6')";

async fn a_database_of_version_1_is_taken_up(engine: Engine) {
    let database = database_of(engine, 1, CONTENT, [SQLITE_IDS, POSTGRES_IDS]).await;
    let app = TestApp::on(database, "").await;
    if engine == Engine::Postgres {
        let refused = connect(&app.database.url).await.batch_execute(OLD_BATCH).await.unwrap_err();
        // It answers that with 503.
        assert_eq!(refused.code().unwrap().code(), "42P01", "{refused}");
        // And those of version 4 and 7 whatever they commit with an event.
        for call in [
            "wicara_append_2(1)",
            "wicara_feed_1(0, NULL, NULL, NULL, NULL, NULL, NULL)",
            "wicara_append_4(1)",
            "wicara_feed_3(0, NULL, NULL, NULL, NULL, NULL, NULL)",
        ] {
            let refused = connect(&app.database.url).await.batch_execute(&format!("SELECT {call}")).await;
            let refused = refused.unwrap_err();
            assert_eq!(refused.code().unwrap().code(), "42883", "{refused}");
        }
    }
    let agent = app.anonymous().with("x-api-key", AGENT);
    let viewer = app.anonymous().with("x-api-key", VIEWER);

    everything_is_read(&app, &agent, &viewer).await;
    everything_is_listed_by_activity(&agent, &viewer).await;
    keys_are_remembered(&app, &agent).await;

    let note = r#"{"conversationId":"1","message":"new","role":"agent","type":"text"}"#;
    let new = agent.send_json(Method::POST, "/api/message", note).await.ok();
    assert!(new["data"]["id"].as_str().unwrap().parse::<i64>().unwrap() > 8195, "{new}");
    let room = r#"{"room":"new","integrationType":"website"}"#;
    let new = agent.send_json(Method::POST, "/api/conversation", room).await.ok();
    assert!(new["data"]["id"].as_str().unwrap().parse::<i64>().unwrap() > 302, "{new}");
    // The two that were asked again have got their answers, too.
    assert_eq!(agent.get("/api/message").await.ok()["pagination"]["totalItems"], 12 + 2 + 1);
    assert_eq!(agent.get("/api/conversation").await.ok()["meta"]["total"], 5 + 1);
    app.stop().await;
}

async fn everything_is_read(app: &TestApp, agent: &Client, viewer: &Client) {
    let listed = agent.get("/api/message?limit=100").await.ok();
    assert_eq!(items(&listed).iter().map(row).collect::<Vec<_>>(), MESSAGES);
    assert_eq!(listed["pagination"]["totalItems"], 12);
    for page in [1, 2, 3] {
        let listed = agent.get(&format!("/api/message?limit=5&page={page}")).await.ok();
        let expected = MESSAGES.chunks(5).nth(page - 1).unwrap();
        assert_eq!(items(&listed).iter().map(row).collect::<Vec<_>>(), expected);
    }
    let exact = agent.get("/api/message/4").await;
    assert!(exact.text.contains(r#"{"text": "two", "z": 1.00, "a": 1e3, "n": "\u0000"}"#), "{}", exact.text);

    let conversations = agent.get("/api/conversation").await.ok();
    let ids: Vec<_> = items(&conversations).iter().map(|it| it["id"].as_i64().unwrap()).collect();
    assert_eq!((ids, &conversations["meta"]["total"]), (vec![302, 301, 3, 2, 1], &json!(5)));
    let moved = agent.get("/api/conversation/301").await.ok();
    assert_eq!([&moved["data"]["room"], &moved["data"]["botId"]], ["moved", "guide"]);
    // Whoever sees one bot's alone has the totals of that one.
    let seen = viewer.get("/api/conversation").await.ok();
    assert_eq!(seen["pagination"]["totalItems"], 2);
    assert_eq!(items(&seen)[0]["handler"], "human");
    let seen = viewer.get("/api/message").await.ok();
    assert_eq!(seen["pagination"]["totalItems"], 4);
    assert_eq!(
        items(&seen).iter().map(row).collect::<Vec<_>>(),
        [MESSAGES[6], MESSAGES[8], MESSAGES[9], MESSAGES[10]]
    );

    let thread = app.anonymous().get(&format!("/api/questions/{SESSION}")).await.ok();
    assert_eq!(thread["data"]["messages"].as_array().unwrap().len(), 5, "without the note");
    let person = app.anonymous().with("cookie", COOKIE);
    assert_eq!(person.get("/api/auth/me").await.ok()["data"]["email"], "admin@localhost");
    app.person();
    let login = json!({"email": "viewer@example.org", "password": "another long password"});
    let login = app.anonymous().post("/api/auth/login", &login).await.ok();
    assert_eq!(login["data"]["bots"], json!(["guide", "echo"]));
}

/// The server indexes what it finds while it is at work.
async fn everything_is_listed_by_activity(agent: &Client, viewer: &Client) {
    until(PATIENCE, "all is indexed", async || {
        let list = agent.get("/api/conversation?sort=activity").await.ok();
        list["meta"].get("indexedFrom").is_none()
    })
    .await;
    let listed = async |client: &Client, query: &str| {
        let list = client.get(&format!("/api/conversation?{query}")).await.ok();
        let id =
            |it: &Value| it["id"].as_i64().unwrap_or_else(|| it["id"].as_str().unwrap().parse().unwrap());
        items(&list).iter().map(id).collect::<Vec<_>>()
    };
    // The last activity of each is in version_1.sql; of the last, that its question was given up is no activity.
    assert_eq!(listed(agent, "sort=activity").await, [302, 301, 3, 2, 1]);
    assert_eq!(listed(agent, "failed=true").await, [302, 3]);
    assert_eq!(listed(agent, "unanswered=true").await, [302, 3, 2]);
    assert_eq!(listed(viewer, "handler=human").await, [301]);
    let counts = agent.get("/api/conversation/counts").await.ok();
    assert_eq!(counts["data"], json!({"queue": 1, "mine": 0, "unread": 0, "failed": 2, "unanswered": 3}));
}

/// Each request as it was sent to the earlier version.
async fn keys_are_remembered(app: &TestApp, agent: &Client) {
    let again = async |client: &Client, key: &str, path: &str, body: &str| -> Answer {
        client.with("idempotency-key", key).send_json(Method::POST, path, body).await
    };
    let visitor = app.anonymous();
    let questions = "/api/questions";

    let answer =
        again(&visitor, "the-first-question-answered", questions, r#"{"message":"hello"}"#).await.ok();
    assert_eq!((&answer["data"][0]["text"], &answer["session_id"]), (&json!("echo: hello"), &json!(SESSION)));
    let note = r#"{"conversationId":"1","message":"a note","role":"note","type":"text"}"#;
    assert_eq!(again(agent, "a-note", "/api/message", note).await.ok()["data"]["id"], "6");
    let other = r#"{"conversationId":"1","message":"another","role":"note","type":"text"}"#;
    assert_eq!(again(agent, "a-note", "/api/message", other).await.status, 422);
    let room = r#"{"botId":"guide","integrationType":"whatsapp","room":"room-7","userId":"u-1"}"#;
    assert_eq!(again(agent, "a-conversation", "/api/conversation", room).await.ok()["data"]["id"], "2");
    let gone = again(&visitor, "the-first-question-deleted", questions, r#"{"message":"deleted"}"#).await;
    assert_eq!(gone.status, 404, "{}", gone.text);
    assert_eq!(app.bot.asked(), 0);

    for (asked, (key, text, id)) in
        [("the-first-question-failed", "asked once", "8"), ("the-first-question-open", "still open", "8195")]
            .into_iter()
            .enumerate()
    {
        let body = format!(r#"{{"message":"{text}"}}"#);
        let answer = again(&visitor, key, questions, &body).await.ok();
        assert_eq!(answer["data"][0]["text"], format!("echo: {text}"));
        assert_eq!(app.bot.asked(), asked + 1);
        assert_eq!(again(&visitor, key, questions, &body).await.ok(), answer);
        let question = agent.get(&format!("/api/message/{id}")).await.ok();
        assert_eq!(question["data"]["failure"], Value::Null);
    }
}
