//! Lists by activity and with filters, as operators use them, in each caller's shape.

use futures_util::future::join_all;
use serde_json::{Value, json};
use wicara_model::{Api, Bots, Role};

use super::questions::{ask, ask_on};
use super::wire::{column, id};
use super::{Shape, UNAUTHENTICATED};
use crate::support::app::manual_clock;
use crate::support::{Client, Engine, TestApp, on_both_engines};

on_both_engines!(
    the_inbox_shows_what_matters,
    a_list_is_walked_by_its_cursor,
    filters_of_lists_are_checked,
    messages_are_filtered_by_role_and_time,
    everybody_has_their_own_bots_alone,
    a_question_that_is_being_answered_does_not_wait,
    a_search_goes_on_behind_what_was_compared_in_vain,
);

fn ids(list: &Value) -> Vec<i64> {
    let number = |id: &Value| id.as_i64().unwrap_or_else(|| id.as_str().unwrap().parse().unwrap());
    column(list, "id").into_iter().map(number).collect()
}

async fn listed(client: &Client, query: &str) -> Vec<i64> {
    ids(&client.get(&format!("/api/conversation?{query}")).await.ok())
}

/// Queue, mine, unread, failed, unanswered.
async fn counts(client: &Client) -> Value {
    let counts = client.get("/api/conversation/counts").await.ok();
    assert_eq!((&counts["status"], &counts["message"]), (&json!(200), &json!("success")));
    let data = &counts["data"];
    assert!(data.get("indexedFrom").is_none());
    json!([data["queue"], data["mine"], data["unread"], data["failed"], data["unanswered"]])
}

async fn the_inbox_shows_what_matters(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (visitor, ani) = (app.anonymous(), app.person());
    let budi = app.program_with(Role::Agent, Bots::All, Api::Conversation).await;
    let asked = async |text: &str| {
        let answer = ask(&visitor, text).await.json();
        (answer["conversation_id"].as_i64().unwrap_or_default(), answer["session_id"].clone())
    };
    let (answered, session) = asked("halo").await;
    let failing = ask(&visitor, "status 500").await.json();
    let failed = ids(&ani.get("/api/conversation?failed=true").await.ok());
    assert_eq!(failed.len(), 1, "{failing}");
    let failed = failed[0];
    assert_eq!(counts(&ani).await, json!([0, 0, 0, 1, 1]));

    let session = session.as_str().unwrap();
    visitor.post(&format!("/api/questions/{session}/handover"), "{}").await.ok();
    assert_eq!(listed(&ani, "handler=human&assignee=none").await, [answered]);
    assert_eq!(counts(&ani).await, json!([1, 0, 0, 1, 1]));
    let question = ask_on(&visitor, &json!(session), "Ada orang?").await.ok();
    assert_eq!(question["handler"], "human");
    assert_eq!(listed(&ani, "unanswered=true&sort=activity").await, [answered, failed]);
    assert_eq!(listed(&ani, "unanswered=true&failed=false").await, [answered]);
    assert_eq!(counts(&ani).await, json!([1, 0, 1, 1, 2]));

    ani.post(&format!("/api/conversation/{answered}/claim"), "{}").await.ok();
    assert_eq!(
        (listed(&ani, "assignee=me").await, listed(&budi, "assignee=me").await),
        (vec![answered], vec![])
    );
    let me = ani.get("/api/auth/me").await.ok()["data"]["id"].as_str().unwrap().to_owned();
    assert_eq!(listed(&budi, &format!("assignee={me}")).await, [answered]);
    assert_eq!((counts(&ani).await, counts(&budi).await), (json!([0, 1, 1, 1, 2]), json!([0, 0, 1, 1, 2])));
    let seen = json!({"upTo": question["question_id"].to_string()});
    ani.post(&format!("/api/conversation/{answered}/seen"), seen).await.ok();
    assert_eq!(
        (listed(&ani, "unread=true").await, listed(&budi, "unread=true").await),
        (vec![], vec![answered])
    );
    assert_eq!(listed(&ani, "unread=false&sort=activity&order=asc").await.len(), 2);

    // A note is no answer; a reply is.
    for (role, waits) in [("note", 2), ("agent", 1)] {
        let said = json!({"message": "x", "type": "text", "role": role, "conversationId": answered});
        ani.post("/api/message", said).await.ok();
        assert_eq!(listed(&ani, "unanswered=true").await.len(), waits, "{role}");
    }
    ani.delete(&format!("/api/conversation/{failed}")).await.ok();
    assert_eq!(counts(&ani).await, json!([0, 1, 0, 0, 0]));
    app.stop().await;
}

async fn a_list_is_walked_by_its_cursor(engine: Engine) {
    let (clock, now) = manual_clock(1_780_000_000_000);
    let app = TestApp::at(engine, "", clock).await;
    let (person, program) = (app.person(), app.program());
    let mut all = Vec::new();
    for number in 0..5 {
        now.store(1_780_000_000_000 + number * 120_000, std::sync::atomic::Ordering::SeqCst);
        let new = json!({"room": format!("r&{number}"), "integrationType": "website", "botId": "echo"});
        all.push(id(&person.post("/api/conversation", new).await.ok()));
    }
    all.reverse();
    // Documented lists stay as they are documented.
    for query in ["", "sort=created"] {
        let list = person.get(&format!("/api/conversation?{query}")).await.ok();
        let pagination = json!({"page": 1, "pageSize": 10, "totalPages": 1, "totalItems": 5});
        assert_eq!(list["pagination"], pagination, "{query}");
        let list = program.get(&format!("/api/conversation?{query}")).await.ok();
        assert_eq!(list["meta"].as_object().unwrap().len(), 6, "{query}");
    }
    let (mut found, mut query) = (Vec::new(), "sort=activity&limit=2".to_owned());
    loop {
        let list = person.get(&format!("/api/conversation?{query}")).await.ok();
        found.extend(ids(&list));
        let pagination = &list["pagination"];
        assert_eq!((&pagination["totalItems"], &pagination["totalIsExact"]), (&json!(5), &json!(true)));
        match pagination["nextCursor"].as_str() {
            Some(next) => query = format!("sort=activity&limit=2&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(found, all);
    assert_eq!(listed(&person, "sort=activity&limit=2&page=2").await, all[2..4]);

    let list = program.get("/api/conversation?sort=activity&handler=bot&limit=2&page=2&room=").await.ok();
    assert_eq!(ids(&list), all[2..4]);
    let next = list["meta"]["nextCursor"].as_str().unwrap().to_owned();
    let meta = json!({
        "total": 5, "perPage": 2, "currentPage": 2, "lastPage": 3,
        "nextPageUrl": "/api/conversation?page=3&limit=2&sort=activity&handler=bot",
        "prevPageUrl": "/api/conversation?page=1&limit=2&sort=activity&handler=bot",
        "totalIsExact": true, "nextCursor": next,
    });
    assert_eq!(list["meta"], meta);
    let list =
        program.get(&format!("/api/conversation?sort=activity&handler=bot&limit=2&cursor={next}")).await.ok();
    assert_eq!(ids(&list), all[4..]);
    let [next_url, next] = ["nextPageUrl", "nextCursor"].map(|name| list["meta"][name].clone());
    assert_eq!((next_url, next), (Value::Null, Value::Null));

    // What is said in one moves it to the front.
    let said = json!({"message": "x", "type": "text", "role": "bot", "conversationId": all[4]});
    now.fetch_add(120_000, std::sync::atomic::Ordering::SeqCst);
    person.post("/api/message", said).await.ok();
    assert_eq!(listed(&person, "sort=activity&limit=2").await, [all[4], all[0]]);
    // 1780000000 is 2026-05-28T20:26:40Z; the conversations are two minutes from each other.
    for (query, expected) in [
        ("since=2026-05-28T20:30:40Z", vec![all[0], all[1], all[2], all[4]]),
        ("since=2026-05-28T20:30:40.001Z", vec![all[0], all[1], all[4]]),
        ("until=2026-05-28T20:30:40%2B00:00", vec![all[2], all[3]]),
        ("until=2026-05-28T20:30:39.999 00:00", vec![all[3]]),
        ("since=2026-05-29T03:30:40%2B07:00&until=2026-05-28T20:32:40Z", vec![all[1], all[2]]),
        ("since=2026-05-28&until=2026-05-28", all.clone()),
        ("since=2026-05-29", vec![]),
        ("until=2026-05-27", vec![]),
    ] {
        assert_eq!(listed(&person, &query.replace(' ', "+")).await, expected, "{query}");
    }
    app.stop().await;
}

async fn filters_of_lists_are_checked(engine: Engine) {
    let app = TestApp::start(engine).await;
    let rooms = app.program_with(Role::Viewer, Bots::All, Api::Conversation).await;
    let long = "a".repeat(65);
    for (client, path, shape) in [
        (app.person(), "/api/conversation", Shape::Rooms),
        (app.program(), "/api/conversation", Shape::Chatbot),
        (rooms, "/api/conversation", Shape::Rooms),
        (app.program(), "/api/message", Shape::Rooms),
    ] {
        let of_conversations = [
            ("handler", "x", "enum"),
            ("handler", "HUMAN", "enum"),
            ("assignee", long.as_str(), "maxLength"),
            ("assignee", "%00", "string"),
            ("failed", "1", "boolean"),
            ("unanswered", "yes", "boolean"),
            ("unread", "True", "boolean"),
        ];
        let of_messages = [
            ("role", long.as_str(), "maxLength"),
            ("role", "a%00", "string"),
            ("botId", long.as_str(), "maxLength"),
        ];
        let of_both = [
            ("since", "yesterday", "date"),
            ("since", "2026-02-30", "date"),
            ("since", "2026-05-28T20:26:40", "date"),
            ("until", "1780000000", "date"),
            ("until", "%00", "date"),
            ("cursor", "x", "cursor"),
            ("cursor", "1-", "cursor"),
            ("cursor", "-1-1", "cursor"),
            ("cursor", "ffffffffffffffff-1", "cursor"),
        ];
        let own = if path == "/api/message" { &of_messages[..] } else { &of_conversations[..] };
        for (name, value, rule) in own.iter().chain(&of_both) {
            client.get(&format!("{path}?{name}={value}")).await.is(400, &shape.broken(&[(rule, name)]));
        }
        client.get(&format!("{path}?since=&until=&cursor=&role=&handler=&sort=")).await.ok();
    }
    for (query, choices) in [
        ("conversation?sort=up", json!(["activity", "created"])),
        ("conversation?sort=relevance", json!(["activity", "created"])),
        ("conversation?q=a&sort=up", json!(["activity", "created", "relevance"])),
        ("message?sort=relevance", json!(["created"])),
        ("message?q=a&sort=activity", json!(["created", "relevance"])),
    ] {
        let answer = app.person().get(&format!("/api/{query}")).await;
        let args = &answer.has_status(400).json()["errors"][0]["args"];
        assert_eq!(args, &json!({"choices": choices}), "{query}");
    }
    app.stop().await;
}

async fn messages_are_filtered_by_role_and_time(engine: Engine) {
    let app = TestApp::start(engine).await;
    let person = app.person();
    let asked = ask(&app.anonymous(), "halo").await.ok();
    let conversation = asked["conversation_id"].as_i64().unwrap();
    ask(&app.anonymous(), "apa kabar?").await.ok();
    let list = person.get("/api/message?role=client&order=desc&limit=1").await.ok();
    let pagination = &list["pagination"];
    assert_eq!(
        (column(&list, "message"), &pagination["totalItems"]),
        (vec![&json!("apa kabar?")], &json!(2))
    );
    assert_eq!(pagination["totalIsExact"], true);
    let next = pagination["nextCursor"].as_str().unwrap();
    let list = person.get(&format!("/api/message?role=client&order=desc&limit=1&cursor={next}")).await.ok();
    assert_eq!(column(&list, "message"), [&json!("halo")]);
    assert_eq!(list["pagination"]["nextCursor"], Value::Null);
    let list = person.get(&format!("/api/message?role=bot&conversationId={conversation}")).await.ok();
    assert_eq!(column(&list, "message"), [&json!("echo: halo")]);
    let list = person.get("/api/message?role=bot&conversationId=999999").await.ok();
    assert_eq!((ids(&list).len(), &list["pagination"]["totalItems"]), (0, &json!(0)));
    assert_eq!(ids(&person.get("/api/message?since=2020-01-01").await.ok()).len(), 4);
    assert_eq!(ids(&person.get("/api/message?until=2020-01-01").await.ok()).len(), 0);
    app.stop().await;
}

async fn everybody_has_their_own_bots_alone(engine: Engine) {
    let app = TestApp::start(engine).await;
    let mut of = Vec::new();
    for bot in ["echo", "other", "echo", "third"] {
        of.push(super::Chat::on(&app, bot).await.id);
    }
    let only = |bots: &[&str]| Bots::Only(bots.iter().map(|bot| (*bot).to_owned()).collect());
    let echo = app.program_with(Role::Viewer, only(&["echo"]), Api::Conversation).await;
    let two = app.program_with(Role::Viewer, only(&["other", "third"]), Api::Chatbot).await;
    for query in ["sort=activity&order=asc", "unanswered=true&order=asc", "handler=bot&order=asc"] {
        assert_eq!(listed(&echo, query).await, [of[0], of[2]], "{query}");
        assert_eq!(listed(&two, query).await, [of[1], of[3]], "{query}");
        assert_eq!(listed(&echo, &format!("{query}&botId=other")).await, Vec::<i64>::new(), "{query}");
    }
    assert_eq!(counts(&echo).await, json!([0, 0, 0, 0, 2]));
    let list = echo.get("/api/message?role=client").await.ok();
    assert_eq!((ids(&list).len(), &list["pagination"]["totalItems"]), (2, &json!(2)));
    for (client, query, expected) in [
        (&echo, "botId=echo".to_owned(), 2),
        (&echo, "botId=other".to_owned(), 0),
        (&app.person(), "botId=other".to_owned(), 1),
        (&app.person(), "botId=none".to_owned(), 0),
        (&echo, format!("botId=echo&conversationId={}", of[2]), 1),
        (&two, format!("botId=third&conversationId={}", of[1]), 0),
    ] {
        let list = client.get(&format!("/api/message?{query}")).await.ok();
        assert_eq!(
            (ids(&list).len(), &list["pagination"]["totalItems"]),
            (expected, &json!(expected)),
            "{query}"
        );
    }
    app.anonymous().get("/api/conversation/counts").await.is(401, UNAUTHENTICATED);
    let nobody = app.program_with(Role::Viewer, only(&[]), Api::Conversation).await;
    assert_eq!(
        (counts(&nobody).await, listed(&nobody, "sort=activity").await),
        (json!([0, 0, 0, 0, 0]), vec![])
    );
    app.stop().await;
}

async fn a_question_that_is_being_answered_does_not_wait(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (visitor, person, asked) = (app.anonymous(), app.person(), app.bot.asked());
    let asking = tokio::spawn(async move { ask(&visitor, "wait 500").await });
    app.bot.until_asked(asked + 1).await;
    assert_eq!(listed(&person, "sort=activity").await.len(), 1);
    assert_eq!(listed(&person, "unanswered=true").await.len(), 0, "a bot is at it");
    asking.await.unwrap().ok();
    assert_eq!(listed(&person, "unanswered=true").await.len(), 0);
    app.stop().await;
}

/// A search in one conversation compares 2,000 messages for a page.
async fn a_search_goes_on_behind_what_was_compared_in_vain(engine: Engine) {
    let app = TestApp::start(engine).await;
    let conversation = super::Chat::on(&app, "echo").await.id;
    let program = app.program();
    let say = async |text: &str| {
        let new = json!({"message": text, "type": "text", "role": "client", "conversationId": conversation});
        program.post("/api/message", new).await.ok()["data"]["id"].clone()
    };
    let wanted = say("kuda lari").await;
    for _ in 0..21 {
        join_all((0..100).map(|_| say("jalan kaki"))).await;
    }
    let (mut found, mut cursor) = (Vec::new(), String::new());
    for page in 0.. {
        assert!(page < 5, "the list does not end");
        let query = format!("q=kuda&conversationId={conversation}{cursor}");
        let list = program.get(&format!("/api/message?{query}")).await.ok();
        found.extend(column(&list, "id").into_iter().cloned());
        let Some(next) = list["pagination"]["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(found, [wanted]);
    app.stop().await;
}
