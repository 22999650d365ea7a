//! The feed as operators follow it: streams and pages, positions, filters and scopes.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use wicara_model::{Api, Bots, Role};

use super::openapi::Schemas;
use super::questions::ask;
use super::{Chat, Shape};
use crate::support::{Client, Engine, Feed, Model, PATIENCE, TestApp, found, on_both_engines};

on_both_engines!(
    every_change_comes_with_its_content,
    a_reader_that_comes_back_misses_nothing_and_gets_nothing_twice,
    pages_are_the_stream,
    a_page_waits_for_the_first_event,
    what_cannot_be_gone_on_from_is_told,
    what_is_read_goes_on_where_it_says,
    a_feed_is_narrowed,
    a_conversation_that_moves_comes_and_goes,
    an_answer_is_followed_while_it_is_given,
    an_answer_begins_after_its_question,
    an_answer_is_hidden_from_those_who_lose_its_conversation,
    who_may_not_follow_any_longer_is_let_go,
);

const EVENTS: &str = "/api/events";

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["kind"].as_str().unwrap()).collect()
}

fn cursors(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["cursor"].as_str().unwrap()).collect()
}

async fn opened(client: &Client, path: &str) -> Feed {
    let mut feed = client.follow(path).await;
    assert_eq!(feed.next().await.unwrap()["kind"], "hello");
    feed
}

async fn page(client: &Client, query: &str) -> Value {
    client.with("accept", "application/json").get(&format!("{EVENTS}?{query}")).await.ok()
}

async fn say(client: &Client, conversation: &Value, role: &str, text: &str) -> Value {
    let message = json!({"message": text, "type": "text", "role": role, "conversationId": conversation});
    client.post("/api/message", &message).await.ok()["data"].clone()
}

async fn open_room(client: &Client, bot: &str) -> Value {
    let room = json!({"room": "r", "integrationType": "website", "botId": bot});
    client.post("/api/conversation", &room).await.ok()["data"]["id"].clone()
}

/// Changes that leave what they change, so that it can be shown later, and how many events they are.
async fn change_much(app: &TestApp) -> usize {
    let person = app.person();
    ask(&app.anonymous(), "halo").await.ok();
    ask(&app.anonymous(), "status 500").await;
    let room = open_room(&person, "echo").await;
    let path = format!("/api/conversation/{}", room.as_str().unwrap());
    let message = say(&person, &room, "agent", "line 1\nline 2").await["id"].clone();
    let message = format!("/api/message/{}", message.as_str().unwrap());
    person.patch(&message, &json!({"message": "changed"})).await.ok();
    person.patch(&path, &json!({"room": "renamed"})).await.ok();
    // Asked: opened, question, answer; and opened, question, its failure.
    3 + 3 + 4
}

async fn every_change_comes_with_its_content(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (person, schemas) = (app.person(), Schemas::of(&app).await);
    let mut feed = person.follow(EVENTS).await;
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store, no-transform"),
        ("x-accel-buffering", "no"),
        ("connection", "close"),
    ] {
        assert_eq!(feed.headers[name], value, "{name}");
    }
    let hello = feed.next().await.unwrap();
    assert_eq!(hello["kind"], "hello");
    assert!((1_000..=10_000).contains(&feed.retry.unwrap()));
    schemas.assert_describe_event(EVENTS, &hello);

    let asked = ask(&app.anonymous(), "halo").await.ok();
    let events = feed.take(3).await;
    assert_eq!(kinds(&events), ["conversation.created", "message.created", "message.created"]);
    let id = asked["conversation_id"].to_string();
    let conversation = shared(&person.get(&format!("/api/conversation/{id}")).await.ok()["data"]);
    assert_eq!(events[2]["conversation"], conversation);
    for (event, message) in events[1..].iter().zip([&asked["question_id"], &asked["message_ids"][0]]) {
        let message = person.get(&format!("/api/message/{message}")).await.ok()["data"].clone();
        assert_eq!(event["message"], message);
        assert_eq!(event["conversation"]["id"], conversation["id"]);
    }
    assert_eq!(events[2]["message"]["replyTo"], asked["question_id"].to_string());

    let room = open_room(&person, "echo").await;
    let text = "line 1\nline 2\r\u{2028}\u{0}".trim_end_matches('\0');
    let message = say(&person, &room, "note", text).await;
    let path = format!("/api/message/{}", message["id"].as_str().unwrap());
    let changed = person.patch(&path, &json!({"role": "agent"})).await.ok()["data"].clone();
    let conversation = format!("/api/conversation/{}", room.as_str().unwrap());
    let updated = shared(&person.patch(&conversation, &json!({"handler": "human"})).await.ok()["data"]);
    let more = feed.take(4).await;
    assert_eq!(more[0]["kind"], "conversation.created");
    assert_eq!(more[1]["message"]["message"], text);
    assert_eq!((&more[2]["kind"], &more[2]["message"]), (&json!("message.updated"), &changed));
    assert_eq!((&more[3]["kind"], &more[3]["conversation"]), (&json!("conversation.updated"), &updated));
    person.delete(&path).await.ok();
    let gone = feed.next().await.unwrap();
    let ids = json!({"id": message["id"], "conversationId": room});
    assert_eq!((&gone["kind"], &gone["message"]), (&json!("message.deleted"), &ids));
    assert_eq!(gone["conversation"]["messageCount"], 0);
    person.delete(&conversation).await.ok();
    let gone_too = feed.next().await.unwrap();
    assert_eq!(gone_too["kind"], "conversation.deleted");
    assert_eq!(gone_too["conversation"], json!({"id": room}));

    let mut all = events;
    all.extend(more);
    all.extend([gone, gone_too]);
    for event in &all {
        schemas.assert_describe_event(EVENTS, event);
        assert!(event.get("reload").is_none(), "{event}");
    }
    drop(feed);
    app.stop().await;
}

/// A conversation without what is the caller's alone: the feed is the same for all readers.
fn shared(conversation: &Value) -> Value {
    let mut conversation = conversation.clone();
    conversation.as_object_mut().unwrap().remove("unreadCount").expect("it is in answers to requests");
    conversation
}

async fn a_reader_that_comes_back_misses_nothing_and_gets_nothing_twice(engine: Engine) {
    let app = TestApp::start(engine).await;
    let person = app.person();
    let mut whole = opened(&person, EVENTS).await;
    let start = whole.position.clone().unwrap();
    let count = change_much(&app).await;
    let events = whole.take(count).await;
    let mut seen = cursors(&events);
    seen.dedup();
    assert_eq!(seen.len(), count, "{seen:?}");

    // By each name of a position, after each event; the header wins.
    let mut position = start.clone();
    for (number, event) in events.iter().enumerate() {
        let query = match number % 4 {
            0 => format!("{EVENTS}?after={position}"),
            1 => format!("{EVENTS}?last_event_id={position}"),
            2 => format!("{EVENTS}?lastEventId={position}"),
            _ => format!("{EVENTS}?after={start}"),
        };
        let client = if number % 4 == 3 { person.with("last-event-id", &position) } else { person.clone() };
        let mut feed = opened(&client, &query).await;
        let next = feed.next().await.unwrap();
        assert_eq!((&next["cursor"], &next["at"]), (&event["cursor"], &event["at"]), "{query}");
        position = feed.position.unwrap();
    }
    // From the last one there is nothing until something happens.
    let mut feed = opened(&person, &format!("{EVENTS}?after={position}")).await;
    ask(&app.anonymous(), "one more").await.ok();
    assert_eq!(kinds(&feed.take(3).await), ["conversation.created", "message.created", "message.created"]);
    drop((whole, feed));
    app.stop().await;
}

async fn pages_are_the_stream(engine: Engine) {
    let app = TestApp::start(engine).await;
    let person = app.person();
    let start = page(&person, "").await;
    assert_eq!((&start["status"], &start["message"]), (&json!(200), &json!("success")));
    assert_eq!((&start["data"], &start["resync"]), (&json!([]), &Value::Null));
    let start = start["cursor"].as_str().unwrap().to_owned();
    let count = change_much(&app).await;
    let streamed = opened(&person, &format!("{EVENTS}?after={start}")).await.take(count).await;
    for limit in [1, 2, 5, 500] {
        let (mut cursor, mut events) = (start.clone(), Vec::new());
        loop {
            let page = page(&person, &format!("after={cursor}&limit={limit}")).await;
            let data = page["data"].as_array().unwrap();
            assert!(data.len() <= limit, "{limit}");
            cursor = page["cursor"].as_str().unwrap().to_owned();
            if data.is_empty() {
                break;
            }
            events.extend(data.clone());
        }
        assert_eq!(events, streamed, "{limit}");
    }
    let all = page(&person, &format!("after={start}")).await;
    let schemas = Schemas::of(&app).await;
    let answer = person.with("accept", "application/json").get(&format!("{EVENTS}?after={start}")).await;
    schemas.assert_describe("get", EVENTS, &answer);
    assert_eq!(all["data"].as_array().unwrap().len(), count);
    app.stop().await;
}

async fn a_page_waits_for_the_first_event(engine: Engine) {
    let app = TestApp::start(engine).await;
    let person = app.person();
    let start = page(&person, "").await["cursor"].as_str().unwrap().to_owned();
    let query = format!("after={start}&wait=30");
    let (waited, asked) = tokio::join!(page(&person, &query), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        ask(&app.anonymous(), "halo").await
    });
    asked.ok();
    assert_eq!(waited["data"][0]["kind"], "conversation.created");
    let last = page(&person, &format!("after={start}")).await["cursor"].as_str().unwrap().to_owned();
    let none = page(&person, &format!("after={last}&wait=1")).await;
    assert_eq!((&none["data"], &none["resync"]), (&json!([]), &Value::Null));
    app.stop().await;
}

async fn what_cannot_be_gone_on_from_is_told(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (person, schemas) = (app.person(), Schemas::of(&app).await);
    let start = page(&person, "").await["cursor"].as_str().unwrap().to_owned();
    change_much(&app).await;
    let (epoch, number) = start.rsplit_once('.').unwrap();
    let above = format!("{epoch}.{}", i64::MAX);
    let other = format!("0{epoch}.{number}");
    let wrong = [&above, &other, "nothing", ".", "%00", "%F0%9F%98%80", &"x".repeat(5000), number, "-1"];
    for position in wrong {
        let page = page(&person, &format!("after={position}&wait=30")).await;
        assert_eq!((&page["data"], &page["resync"]["reason"]), (&json!([]), &json!("epoch")), "{position}");
        assert_eq!(page["resync"]["cursor"], page["cursor"]);
        let mut feed = opened(&person, &format!("{EVENTS}?after={position}")).await;
        let resync = feed.next().await.unwrap();
        schemas.assert_describe_event(EVENTS, &resync);
        assert_eq!((&resync["kind"], &resync["reason"]), (&json!("resync"), &json!("epoch")), "{position}");
        // The stream goes on by itself from there.
        let room = open_room(&person, "echo").await;
        assert_eq!(feed.next().await.unwrap()["conversation"]["id"], room);
    }
    app.store().event_expire(Duration::ZERO).await.unwrap();
    let resync = found(PATIENCE, "the position is not kept any more", async || {
        let page = page(&person, &format!("after={start}")).await;
        Some(page["resync"].clone()).filter(|resync| !resync.is_null())
    })
    .await;
    assert_eq!(resync["reason"], "expired");
    // Nothing is lost after the position that it names.
    let room = open_room(&person, "echo").await;
    let cursor = resync["cursor"].as_str().unwrap();
    let after = page(&person, &format!("after={cursor}")).await;
    assert_eq!(after["data"][0]["conversation"]["id"], room);
    app.stop().await;
}

/// Read, then subscribe: what the answer does not have, the feed has.
async fn what_is_read_goes_on_where_it_says(engine: Engine) {
    let app = TestApp::start(engine).await;
    let chat = Chat::on(&app, "echo").await;
    let (person, program, visitor) = (app.person(), app.program(), app.anonymous());
    let Chat { id, message, session } = &chat;
    for (client, path) in [
        (&person, "/api/conversation".to_owned()),
        (&program, "/api/conversation".to_owned()),
        (&person, format!("/api/conversation/{id}")),
        (&program, format!("/api/conversation/{id}")),
        (&person, format!("/api/message?conversationId={id}")),
        (&person, format!("/api/message/{message}")),
        (&visitor, format!("/api/questions/{session}")),
    ] {
        let before = ask(&visitor, "before").await.ok();
        let answer = client.get(&path).await;
        answer.ok();
        let cursor = answer.header("x-wicara-cursor").unwrap_or_else(|| panic!("{path}: no position"));
        let after = ask(&visitor, "after").await.ok();
        let events = page(&person, &format!("after={cursor}&limit=500")).await;
        assert_eq!(events["resync"], Value::Null, "{path}");
        let ids: Vec<_> =
            events["data"].as_array().unwrap().iter().map(|event| &event["message"]["id"]).collect();
        assert!(ids.contains(&&json!(after["message_ids"][0].to_string())), "{path}");
        if path == "/api/conversation" {
            // It may lie before what the answer has, and never after it.
            let listed = answer.text.contains(&format!("\"{}\"", before["conversation_id"]))
                || answer.text.contains(&format!("\"id\":{}", before["conversation_id"]));
            assert!(listed, "{path}: {}", answer.text);
        }
    }
    assert_eq!(person.get("/api/message/0").await.header("x-wicara-cursor"), None);
    app.stop().await;
}

async fn a_feed_is_narrowed(engine: Engine) {
    let app = TestApp::start(engine).await;
    let person = app.person();
    let start = page(&person, "").await["cursor"].as_str().unwrap().to_owned();
    let (one, two, three) =
        (open_room(&person, "echo").await, open_room(&person, "echo").await, open_room(&person, "b").await);
    for room in [&one, &two, &three] {
        say(&person, room, "agent", "x").await;
    }
    let text = |room: &Value| room.as_str().unwrap().to_owned();
    for (query, expected) in [
        (format!("conversationId={}", text(&one)), vec![&one, &one]),
        (format!("conversationId={},{}", text(&one), text(&three)), vec![&one, &three, &one, &three]),
        ("conversationId=0".to_owned(), vec![]),
        ("botId=b".to_owned(), vec![&three, &three]),
        (format!("botId=b&conversationId={}", text(&one)), vec![]),
        ("kinds=conversation.*".to_owned(), vec![&one, &two, &three]),
        ("kinds=message.created,conversation.deleted".to_owned(), vec![&one, &two, &three]),
        (format!("kinds=message.*&conversationId={}", text(&two)), vec![&two]),
    ] {
        let page = page(&person, &format!("after={start}&{query}")).await;
        let found: Vec<_> =
            page["data"].as_array().unwrap().iter().map(|event| &event["conversation"]["id"]).collect();
        assert_eq!(found, expected, "{query}");
    }
    for (query, rule, field) in [
        ("limit=0", "range", "limit"),
        ("wait=x", "number", "wait"),
        ("conversationId=x", "number", "conversationId"),
    ] {
        let refused = person.get(&format!("{EVENTS}?{query}")).await;
        let error = &refused.has_status(400).json()["errors"][0];
        assert_eq!((&error["rule"], &error["field"]), (&json!(rule), &json!(field)), "{query}");
    }
    person.get(&format!("{EVENTS}?botId=%00")).await.is(400, &Shape::Chatbot.broken(&[("string", "botId")]));
    app.stop().await;
}

async fn a_conversation_that_moves_comes_and_goes(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (person, schemas) = (app.person(), Schemas::of(&app).await);
    let other = app.program_with(Role::Viewer, Bots::Only(vec!["b".into()]), Api::Conversation).await;
    let mut feed = opened(&other, EVENTS).await;
    let start = feed.position.clone().unwrap();
    let room = open_room(&person, "echo").await;
    say(&person, &room, "agent", "unseen").await;
    let path = format!("/api/conversation/{}", room.as_str().unwrap());
    person.patch(&path, &json!({"botId": "b"})).await.ok();
    let entered = feed.next().await.unwrap();
    assert_eq!((&entered["kind"], &entered["reload"]), (&json!("conversation.created"), &json!(true)));
    assert_eq!((&entered["conversation"]["id"], &entered["conversation"]["botId"]), (&room, &json!("b")));
    say(&person, &room, "agent", "for b alone").await;
    assert_eq!(feed.next().await.unwrap()["message"]["message"], "for b alone");
    person.patch(&path, &json!({"botId": "echo"})).await.ok();
    let left = feed.next().await.unwrap();
    assert_eq!(
        (&left["kind"], &left["conversation"]),
        (&json!("conversation.deleted"), &json!({"id": room}))
    );
    say(&person, &room, "agent", "not any more").await;
    let own = open_room(&person, "b").await;
    assert_eq!(feed.next().await.unwrap()["conversation"]["id"], own);
    for event in [&entered, &left] {
        schemas.assert_describe_event(EVENTS, event);
    }
    // Who comes later gets nothing of what is not to be seen any more.
    let late = page(&other, &format!("after={start}")).await;
    let late = late["data"].as_array().unwrap();
    assert!(
        !late
            .iter()
            .any(|event| event.to_string().contains("for b alone") || event.to_string().contains("any more"))
    );
    for event in late.iter().filter(|event| event["conversation"]["id"] == room) {
        assert_eq!(event["kind"], "conversation.deleted");
    }
    drop(feed);
    app.stop().await;
}

async fn an_answer_is_followed_while_it_is_given(engine: Engine) {
    let model = Model::start().await;
    let app = TestApp::with(engine, &model.bot()).await;
    let (person, schemas) = (app.person(), Schemas::of(&app).await);
    let mut all = opened(&person, EVENTS).await;
    let visitor = app.anonymous().with("accept", "text/event-stream");
    let question = json!({"message": "halo", "botId": "model"});
    let mut answer = visitor.post_for_events("/api/questions", &question).await;
    let (_, session) = answer.next().await.unwrap();
    let (id, asked) = (session["conversation_id"].to_string(), session["question_id"].to_string());
    model.say("Halo 😀");
    answer.next().await.unwrap();

    // Who joins in the middle first gets all of it.
    let mut feed = opened(&person, &format!("{EVENTS}?conversationId={id}")).await;
    let mut events = feed.take(2).await;
    model.say(" dunia");
    events.extend(feed.take(1).await);
    model.end();
    answer.rest().await;
    events.extend(feed.up_to("answer.finished").await);
    let deltas: Vec<_> = events.iter().filter(|event| event["kind"] == "answer.delta").collect();
    let (mut text, mut units) = (String::new(), 0);
    for delta in deltas {
        assert_eq!(delta["offset"], units);
        text.push_str(delta["text"].as_str().unwrap());
        units = text.encode_utf16().count();
    }
    assert_eq!(text, "Halo 😀 dunia");
    assert_eq!(
        (events[0]["kind"].as_str(), events[1]["kind"].as_str()),
        (Some("answer.started"), Some("answer.delta"))
    );
    for event in &events {
        schemas.assert_describe_event(EVENTS, event);
        if event["kind"].as_str().unwrap().starts_with("answer.") {
            assert_eq!((&event["conversationId"], &event["replyTo"]), (&json!(id), &json!(asked)));
            assert!(event.get("cursor").is_none());
        }
    }
    // Who follows everything gets no live events, but for those of a kind that it names.
    assert_eq!(kinds(&all.take(3).await), ["conversation.created", "message.created", "message.created"]);
    drop((all, feed));
    app.stop().await;
}

async fn an_answer_begins_after_its_question(engine: Engine) {
    const QUESTIONS: usize = 10;
    let app = TestApp::start(engine).await;
    let mut feed = opened(&app.person(), &format!("{EVENTS}?kinds=message.created,answer.started")).await;
    let asked: Vec<_> = (0..QUESTIONS)
        .map(|_| {
            let visitor = app.anonymous();
            tokio::spawn(async move { ask(&visitor, "held 1").await.ok() })
        })
        .collect();
    let (mut known, mut started) = (BTreeSet::new(), 0);
    while started < QUESTIONS {
        let event = feed.next().await.unwrap();
        if event["kind"] == "message.created" {
            known.insert(event["message"]["id"].to_string());
        } else {
            assert!(known.contains(&event["replyTo"].to_string()), "{event} after {known:?}");
            started += 1;
        }
    }
    app.bot.let_go();
    join_all(asked).await.into_iter().for_each(|asked| drop(asked.unwrap()));
    drop(feed);
    app.stop().await;
}

async fn an_answer_is_hidden_from_those_who_lose_its_conversation(engine: Engine) {
    let model = Model::start().await;
    let app = TestApp::with(engine, &model.bot()).await;
    let of_model = Bots::Only(["model".to_owned()].into());
    let program = app.program_with(Role::Viewer, of_model, Api::Chatbot).await;
    let visitor = app.anonymous().with("accept", "text/event-stream");
    let question = json!({"message": "halo", "botId": "model"});
    let mut answer = visitor.post_for_events("/api/questions", &question).await;
    let (_, session) = answer.next().await.unwrap();
    let id = session["conversation_id"].to_string();
    let mut feed = opened(&program, &format!("{EVENTS}?conversationId={id}")).await;
    model.say("a");
    assert_eq!(feed.first("answer.delta").await["text"], "a");

    app.person().patch(&format!("/api/conversation/{id}"), &json!({"botId": "echo"})).await.ok();
    let left = feed.up_to("conversation.deleted").await;
    answer.next().await.unwrap();
    model.say("b");
    answer.next().await.unwrap();
    model.end();
    answer.rest().await;
    // In whatever order the end of what it saw comes.
    let mut seen = kinds(&left);
    let rest = if seen.contains(&"answer.finished") { vec![] } else { feed.up_to("answer.finished").await };
    seen.extend(kinds(&rest));
    seen.sort_unstable();
    assert_eq!(seen, ["answer.finished", "conversation.deleted"]);
    drop(feed);
    app.stop().await;
}

async fn who_may_not_follow_any_longer_is_let_go(engine: Engine) {
    let app = TestApp::start(engine).await;
    let person = app.person_with("agent@localhost", Role::Agent, Bots::All).await;
    let mut feed = opened(&person, EVENTS).await;
    person.post("/api/auth/logout", json!({})).await.ok();
    assert_eq!(feed.next().await, None);

    let (key, secret) = app.people().key_create("gone", Role::Viewer, Bots::All, Api::Chatbot).await.unwrap();
    let program = app.anonymous().with("x-api-key", &secret);
    let mut feed = opened(&program, EVENTS).await;
    app.people().key_delete(&key.program.name).await.unwrap();
    assert_eq!(feed.next().await, None);
    program.get(EVENTS).await.has_status(401);
    app.stop().await;
}
