//! Search, as operators and programs use it.

use serde_json::{Value, json};
use wicara_model::{Api, Bots, Role};

use super::Chat;
use super::questions::ask;
use super::wire::column;
use crate::support::{Client, Engine, TestApp, on_both_engines};

on_both_engines!(
    what_was_said_is_found_in_its_conversation,
    messages_are_found_with_what_was_found_in_them,
    what_changes_is_found_as_it_is_now,
    everybody_finds_what_they_may_read,
    queries_are_checked,
    pages_of_hits_are_walked,
);

/// The ids of what is found.
async fn found(client: &Client, path: &str) -> Vec<i64> {
    let list = client.get(path).await.ok();
    let number = |id: &Value| id.as_i64().unwrap_or_else(|| id.as_str().unwrap().parse().unwrap());
    column(&list, "id").into_iter().map(number).collect()
}

async fn say(client: &Client, conversation: i64, role: &str, text: &str) -> i64 {
    let said = json!({"message": text, "type": "text", "role": role, "conversationId": conversation});
    let id = client.post("/api/message", said).await.ok()["data"]["id"].clone();
    id.as_str().unwrap().parse().unwrap()
}

/// A conversation in a room of this name.
async fn room(client: &Client, room: &str, bot: &str, user: &str) -> i64 {
    let new = json!({"room": room, "integrationType": "website", "botId": bot, "userId": user});
    let id = client.post("/api/conversation", new).await.ok()["data"]["id"].clone();
    id.as_str().unwrap().parse().unwrap()
}

async fn what_was_said_is_found_in_its_conversation(engine: Engine) {
    let app = TestApp::start(engine).await;
    let person = app.person();
    let asked = async |text: &str| ask(&app.anonymous(), text).await.ok()["conversation_id"].clone();
    let lost = asked("Kartu saya hilang, mohon dikirimkan yang baru").await.as_i64().unwrap();
    let other = asked("Jam buka kantor?").await.as_i64().unwrap();
    let again = asked("kartu keluarga").await.as_i64().unwrap();
    for (query, expected) in [
        ("kartu", vec![again, lost]),
        ("kirim", vec![lost]),
        ("KARTU%20-keluarga", vec![lost]),
        ("%22kartu%20saya%22", vec![lost]),
        ("kant*", vec![other]),
        ("kartu%20kantor", vec![]),
        (&format!("website-{other}"), vec![other]),
        ("!%3F", vec![]),
    ] {
        let path = format!("/api/conversation?q={query}");
        assert_eq!(found(&person, &path).await, expected, "{query}");
        let mut sorted = expected.clone();
        sorted.sort_unstable();
        let mut relevant = found(&person, &format!("{path}&sort=relevance")).await;
        relevant.sort_unstable();
        assert_eq!(relevant, sorted, "{query} by relevance");
        assert_eq!(found(&app.program(), &path).await, expected, "{query} by a program");
    }
    // The hit is the newest message that matches: the bot's echo.
    let list = person.get("/api/conversation?q=hilang").await.ok();
    let hit = &list["data"][0];
    assert_eq!(hit["excerpt"], "echo: Kartu saya hilang, mohon dikirimkan yang baru");
    assert_eq!(hit["highlights"], json!([[17, 23]]));
    assert_eq!(list["pagination"]["totalIsExact"], true);
    let list = app.program().get("/api/conversation?q=hilang").await.ok();
    assert_eq!(list["data"][0]["excerpt"], hit["excerpt"]);
    assert_eq!((&list["meta"]["total"], &list["meta"]["totalIsExact"]), (&json!(1), &json!(true)));
    let list = person.get("/api/conversation").await.ok();
    assert!(list["data"][0].get("excerpt").is_none() && list["data"][0].get("highlights").is_none());

    // With the rest of the filter.
    person.patch(&format!("/api/conversation/{lost}"), json!({"handler": "human"})).await.ok();
    assert_eq!(found(&person, "/api/conversation?q=kartu&handler=human").await, [lost]);
    assert_eq!(found(&person, "/api/conversation?q=kartu&handler=bot").await, [again]);
    assert_eq!(found(&person, "/api/conversation?q=kartu&until=2020-01-01").await, Vec::<i64>::new());
    app.stop().await;
}

async fn messages_are_found_with_what_was_found_in_them(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (person, chat) = (app.person(), Chat::on(&app, "echo").await);
    let note = say(&person, chat.id, "note", "😀 Rahasia: KÁRTU hilang").await;
    let agent = say(&person, chat.id, "agent", "Kartu baru dikirim").await;
    let list = person.get("/api/message?q=kartu").await.ok();
    assert_eq!(column(&list, "id"), [&json!(agent.to_string()), &json!(note.to_string())]);
    assert_eq!(list["data"][1]["excerpt"], "😀 Rahasia: KÁRTU hilang");
    assert_eq!(list["data"][1]["highlights"], json!([[12, 17]]));
    for (query, expected) in [
        ("q=kartu&role=note", vec![note]),
        ("q=kartu&role=client", vec![]),
        ("q=kartu&order=asc", vec![agent, note]),
        ("q=kartu&sort=relevance", vec![agent, note]),
        (&format!("q=kartu&conversationId={}", chat.id), vec![agent, note]),
        ("q=kartu&conversationId=999999", vec![]),
        ("q=kartu&since=2020-01-01", vec![agent, note]),
        ("q=kartu&until=2020-01-01", vec![]),
        (&format!("q=kartu&before={agent}"), vec![note]),
    ] {
        let mut found = found(&person, &format!("/api/message?{query}")).await;
        if query.contains("relevance") {
            found.sort_by_key(|id| std::cmp::Reverse(*id));
        }
        assert_eq!(found, expected, "{query}");
    }
    app.stop().await;
}

async fn what_changes_is_found_as_it_is_now(engine: Engine) {
    let app = TestApp::start(engine).await;
    let person = app.person();
    let id = room(&person, "Loket Timur", "echo", "budi-7").await;
    let message = say(&person, id, "client", "paspor").await;
    let finds = async |query: &str| !found(&person, &format!("/api/conversation?q={query}")).await.is_empty();
    let messages = async |query: &str| found(&person, &format!("/api/message?q={query}")).await;
    assert!(finds("loket").await && finds("budi-7").await && finds("paspor").await);

    person.patch(&format!("/api/message/{message}"), json!({"message": "kitas"})).await.ok();
    assert_eq!((messages("paspor").await, messages("kitas").await), (vec![], vec![message]));
    person
        .patch(&format!("/api/conversation/{id}"), json!({"room": "Loket Barat", "userId": "ani"}))
        .await
        .ok();
    assert!(finds("barat").await && finds("ani").await && !finds("timur").await && !finds("budi").await);
    // A hit by its name shows the name.
    let list = person.get("/api/conversation?q=barat").await.ok();
    assert_eq!(
        (&list["data"][0]["excerpt"], &list["data"][0]["highlights"]),
        (&json!("Loket Barat ani"), &json!([[6, 11]]))
    );
    say(&person, id, "agent", "ke arah barat").await;
    let list = person.get("/api/conversation?q=barat").await.ok();
    assert_eq!(list["data"][0]["excerpt"], "ke arah barat");

    // What is deleted is not found, and found again where that is undone.
    person.delete(&format!("/api/message/{message}?undo=60")).await.ok();
    assert_eq!(messages("kitas").await, Vec::<i64>::new());
    person.post(&format!("/api/message/{message}/restore"), "{}").await.ok();
    assert_eq!(messages("kitas").await, [message]);
    person.delete(&format!("/api/conversation/{id}?undo=60")).await.ok();
    assert!(!finds("loket").await && !finds("kitas").await && messages("kitas").await.is_empty());
    person.post(&format!("/api/conversation/{id}/restore"), "{}").await.ok();
    assert!(finds("loket").await && finds("kitas").await && messages("kitas").await == [message]);

    person.delete(&format!("/api/message/{message}")).await.ok();
    assert_eq!(messages("kitas").await, Vec::<i64>::new());
    // Nothing of it is counted: it is not in the index any more.
    let list = person.get("/api/message?q=kitas").await.ok();
    assert_eq!(list["pagination"]["totalItems"], 0);
    person.delete(&format!("/api/conversation/{id}")).await.ok();
    assert!(!finds("barat").await && messages("arah").await.is_empty());
    app.stop().await;
}

async fn everybody_finds_what_they_may_read(engine: Engine) {
    let app = TestApp::start(engine).await;
    let person = app.person();
    let only = |bot: &str| Bots::Only(vec![bot.to_owned()]);
    let echo = app.program_with(Role::Viewer, only("echo"), Api::Conversation).await;
    let other = app.program_with(Role::Viewer, only("other"), Api::Conversation).await;
    let chatbot = app.program_with(Role::Viewer, Bots::All, Api::Chatbot).await;
    let id = room(&person, "a", "echo", "u").await;
    say(&person, id, "client", "kartu hilang").await;
    say(&person, id, "note", "orangnya galak").await;
    assert_eq!(found(&echo, "/api/conversation?q=kartu").await, [id]);
    assert_eq!(found(&other, "/api/conversation?q=kartu").await, Vec::<i64>::new());
    assert_eq!(found(&other, "/api/message?q=kartu").await, Vec::<i64>::new());
    assert_eq!(found(&other, "/api/conversation?q=kartu&botId=echo").await, Vec::<i64>::new());

    // Notes are found on the Message API and by the Conversation API's callers, never through the Chatbot API.
    assert_eq!(found(&person, "/api/conversation?q=galak").await, [id]);
    assert_eq!(found(&chatbot, "/api/conversation?q=galak").await, Vec::<i64>::new());
    assert_eq!(found(&chatbot, "/api/message?q=galak").await.len(), 1);

    // It moves, and with it who finds it.
    person.patch(&format!("/api/conversation/{id}"), json!({"botId": "other"})).await.ok();
    assert_eq!(found(&echo, "/api/conversation?q=kartu").await, Vec::<i64>::new());
    assert_eq!(found(&other, "/api/conversation?q=kartu").await, [id]);
    assert_eq!(found(&other, "/api/message?q=kartu").await.len(), 1);
    app.stop().await;
}

async fn queries_are_checked(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (person, program) = (app.person(), app.program());
    let broken = async |client: &Client, path: &str| {
        let body = client.get(path).await.has_status(400).json();
        let error = body["errors"][0].clone();
        (error["rule"].clone(), error["field"].clone(), error["args"].clone())
    };
    let long = "a".repeat(201);
    let many = vec!["a"; 17].join("+");
    for path in ["/api/conversation", "/api/message"] {
        let (rule, field, _) = broken(&person, &format!("{path}?q=-kartu")).await;
        assert_eq!((rule, field), (json!("query"), json!("q")), "{path}");
        let (rule, ..) = broken(&person, &format!("{path}?q={many}")).await;
        assert_eq!(rule, "query", "{path}");
        let (rule, _, args) = broken(&person, &format!("{path}?q={long}")).await;
        assert_eq!((rule, args), (json!("maxLength"), json!({"maxLength": 200})), "{path}");
        let (rule, field, _) = broken(&person, &format!("{path}?q=a&sort=best")).await;
        assert_eq!((rule, field), (json!("enum"), json!("sort")), "{path}");
        let (rule, ..) = broken(&person, &format!("{path}?q=a%00b")).await;
        assert_eq!(rule, "string", "{path}");
        // An empty one is none.
        person.get(&format!("{path}?q=")).await.ok();
        // Anything else is text.
        for text in [
            "%27%3B--",
            "%22",
            "*",
            "a%20OR%20b",
            "NEAR(a%20b)",
            "terms%3A%20a",
            "%28%28",
            "%5C",
            "%F0%9F%91%8D",
        ] {
            person.get(&format!("{path}?q={text}")).await.ok();
            person.get(&format!("{path}?q={text}&sort=relevance")).await.ok();
        }
    }
    let (rule, ..) = broken(&program, "/api/conversation?q=-kartu").await;
    assert_eq!(rule, "query");
    assert_eq!(broken(&person, "/api/conversation?sort=relevance").await.0, "enum");
    app.stop().await;
}

async fn pages_of_hits_are_walked(engine: Engine) {
    let app = TestApp::start(engine).await;
    let person = app.person();
    let mut all = Vec::new();
    for number in 0..5 {
        let id = room(&person, &format!("r{number}"), "echo", "u").await;
        for _ in 0..3 {
            say(&person, id, "client", "kartu").await;
        }
        all.insert(0, id);
    }
    for sort in ["", "&sort=relevance"] {
        let (mut walked, mut cursor) = (Vec::<i64>::new(), String::new());
        loop {
            let list = person.get(&format!("/api/conversation?q=kartu&limit=2{sort}{cursor}")).await.ok();
            assert_eq!(list["pagination"]["totalItems"], 5);
            walked.extend(
                column(&list, "id").into_iter().map(|id| id.as_str().unwrap().parse::<i64>().unwrap()),
            );
            match list["pagination"]["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(walked, all, "{sort}");
    }
    assert_eq!(found(&person, "/api/conversation?q=kartu&limit=2&page=3").await, all[4..]);
    let list = app.program().get("/api/conversation?q=kartu&limit=2&page=2").await.ok();
    let next = "/api/conversation?page=3&limit=2&q=kartu";
    assert_eq!((column(&list, "id").len(), &list["meta"]["nextPageUrl"]), (2, &json!(next)));

    // What is said meanwhile comes before the pages that are walked.
    let list = person.get("/api/conversation?q=kartu&limit=2").await.ok();
    let cursor = list["pagination"]["nextCursor"].as_str().unwrap().to_owned();
    say(&person, all[4], "client", "kartu").await;
    let rest = found(&person, &format!("/api/conversation?q=kartu&limit=10&cursor={cursor}")).await;
    assert_eq!(rest, all[2..4]);
    assert_eq!(found(&person, "/api/conversation?q=kartu&limit=1").await, all[4..]);
    app.stop().await;
}
