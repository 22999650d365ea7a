//! Every parameter of the lists and every id in a path.

use serde_json::{Value, json};
use wicara_model::{Api, Bots, Role};

use super::{CONVERSATION_ID_INVALID, Chat, ID_INVALID, MESSAGE_ID_INVALID, NOT_FOUND, Shape};
use crate::support::{Client, Engine, TestApp, on_both_engines};

on_both_engines!(
    numbers_of_the_lists,
    words_of_the_lists,
    parameters_of_a_thread,
    ids_in_paths,
    what_is_past_the_end_is_empty,
);

/// The lists, each for one kind of caller, with the shape of its errors.
async fn lists(app: &TestApp) -> Vec<(Client, &'static str, Shape)> {
    let person = app.person();
    let program = app.program();
    let room_program = app.program_with(Role::Viewer, Bots::All, Api::Conversation).await;
    vec![
        (person.clone(), "/api/conversation", Shape::Rooms),
        (program.clone(), "/api/conversation", Shape::Chatbot),
        (room_program, "/api/conversation", Shape::Rooms),
        (person, "/api/message", Shape::Rooms),
        (program, "/api/message", Shape::Rooms),
    ]
}

async fn numbers_of_the_lists(engine: Engine) {
    let app = TestApp::start(engine).await;
    Chat::on(&app, "echo").await;
    for (client, path, shape) in lists(&app).await {
        for name in ["page", "limit", "before", "after", "conversationId"] {
            if name == "conversationId" && path != "/api/message" {
                continue;
            }
            let zero = if ["page", "limit"].contains(&name) { Some("range") } else { None };
            let million = if name == "limit" { Some("range") } else { None };
            for (value, rule) in [
                ("", None),
                ("1", None),
                ("100", None),
                ("0", zero),
                ("101", million),
                ("1000000", million),
                ("9223372036854775807", million),
                ("-5", Some("range")),
                ("9223372036854775808", Some("range")),
                ("99999999999999999999999999", Some("range")),
                ("abc", Some("number")),
                ("1.5", Some("number")),
                ("1e3", Some("number")),
                ("1abc", Some("number")),
                ("%00", Some("number")),
                ("%FF", Some("number")),
                ("%20", Some("number")),
                ("+1", Some("number")),
                ("%F0%9F%98%80", Some("number")),
                ("null", Some("number")),
            ] {
                let case = format!("{path}?{name}={value}");
                let answer = client.get(&case).await;
                match rule {
                    None => {
                        answer.has_status(200);
                    }
                    Some(rule) => answer.is(400, &shape.broken(&[(rule, name)])),
                }
            }
        }
        // Of a repeated parameter the last counts; all that is wrong is listed; what is unknown is ignored.
        client.get(&format!("{path}?page=abc&page=1&limit=0&limit=")).await.ok();
        client.get(&format!("{path}?nothing=%00&=&&a=b&limit=5")).await.ok();
        let answer = client.get(&format!("{path}?page=x&limit=0&order=up&before=-1&after=y")).await;
        let mut listed: Vec<Value> = answer.has_status(400).json()["errors"].as_array().unwrap().clone();
        listed.sort_by_key(|broken| broken["field"].as_str().unwrap().to_owned());
        let expected = shape.broken(&[
            ("number", "after"),
            ("range", "before"),
            ("range", "limit"),
            ("enum", "order"),
            ("number", "page"),
        ]);
        let expected: Value = serde_json::from_str(&expected).unwrap();
        assert_eq!(json!(listed), expected["errors"]);
    }
    app.stop().await;
}

async fn words_of_the_lists(engine: Engine) {
    let app = TestApp::start(engine).await;
    let chat = Chat::on(&app, "echo").await;
    for (client, path, shape) in lists(&app).await {
        for (value, rule) in
            [("", None), ("asc", None), ("desc", None), ("ASC", Some("enum")), ("%00", Some("enum"))]
        {
            let case = format!("{path}?order={value}");
            let answer = client.get(&case).await;
            match rule {
                None => {
                    answer.has_status(200);
                }
                Some(rule) => answer.is(400, &shape.broken(&[(rule, "order")])),
            }
        }
        if path == "/api/message" {
            continue;
        }
        let found = |answer: &Value| answer["data"].as_array().unwrap().len();
        for (name, limit, stored) in [
            ("userId", 64, None),
            ("botId", 64, Some("echo".to_owned())),
            ("integrationType", 64, Some("website".to_owned())),
            ("room", 255, Some(format!("website-{}", chat.id))),
        ] {
            let ask = async |value: &str| client.get(&format!("{path}?{name}={value}")).await;
            ask("a%00b").await.is(400, &shape.broken(&[("string", name)]));
            ask(&"a".repeat(limit + 1)).await.is(400, &shape.broken(&[("maxLength", name)]));
            let longest = "%C3%A9".repeat(limit);
            for value in [&longest as &str, "%20", "%FF", "%F0%9F%98%80", "%27%20OR%201%3D1--", "%25"] {
                assert_eq!(found(&ask(value).await.ok()), 0, "{name}={value}");
            }
            assert_eq!(found(&ask("").await.ok()), 1, "{name}: empty counts as absent");
            if let Some(stored) = stored {
                assert_eq!(found(&ask(&stored).await.ok()), 1, "{name}={stored}");
                assert_eq!(found(&ask(&format!("nothing&{name}={stored}")).await.ok()), 1, "the last counts");
            }
        }
    }
    app.stop().await;
}

async fn parameters_of_a_thread(engine: Engine) {
    let app = TestApp::start(engine).await;
    let chat = Chat::on(&app, "echo").await;
    let path = format!("/api/questions/{}", chat.session);
    let client = app.anonymous();
    let count = |answer: Value| answer["data"]["messages"].as_array().unwrap().len();
    for (value, expected) in [
        ("", Ok(1)),
        ("0", Ok(0)),
        ("1000000000000", Ok(1)),
        ("9223372036854775807", Ok(1)),
        ("-1", Err("range")),
        ("9223372036854775808", Err("range")),
        ("abc", Err("number")),
        ("1.5", Err("number")),
        ("%00", Err("number")),
    ] {
        let answer = client.get(&format!("{path}?before={value}")).await;
        match expected {
            Ok(expected) => assert_eq!(count(answer.ok()), expected, "{value}"),
            Err(rule) => answer.is(400, &Shape::Chatbot.broken(&[(rule, "before")])),
        }
    }
    assert_eq!(count(client.get(&format!("{path}?before={}", chat.message)).await.ok()), 0);
    app.stop().await;
}

/// What stands in a path where an id should; whether it could be one.
const IDS: &[(&str, bool)] = &[
    ("0", true),
    ("99999999999", true),
    ("9223372036854775807", true),
    ("-1", false),
    ("1.5", false),
    ("1e3", false),
    ("1abc", false),
    ("abc", false),
    ("conversation-123", false),
    ("%00", false),
    ("1%00", false),
    ("%FF", false),
    ("%20", false),
    ("+1", false),
    ("1%2F1", false),
    ("%F0%9F%98%80", false),
    ("%D9%A3", false),
    ("9223372036854775808", false),
    ("00000000000000000001", false),
];

async fn ids_in_paths(engine: Engine) {
    let app = TestApp::start(engine).await;
    Chat::on(&app, "echo").await;
    let (person, program) = (app.person(), app.program());
    let speaks_rooms = app.program_with(Role::Agent, Bots::All, Api::Conversation).await;
    for (id, possible) in IDS {
        let conversation = format!("/api/conversation/{id}");
        for client in [&person, &speaks_rooms] {
            client.get(&conversation).await.is(400, CONVERSATION_ID_INVALID);
            client.delete(&conversation).await.is(400, CONVERSATION_ID_INVALID);
        }
        let (status, told) = if *possible { (404, NOT_FOUND) } else { (400, ID_INVALID) };
        program.get(&conversation).await.is(status, told);
        program.delete(&conversation).await.is(status, told);
        let message = format!("/api/message/{id}");
        let in_a_chat = format!("/api/conversation/message/{id}");
        for client in [&person, &program] {
            client.patch(&conversation, "{}").await.is(400, CONVERSATION_ID_INVALID);
            client.get(&message).await.is(400, MESSAGE_ID_INVALID);
            client.patch(&message, "{}").await.is(400, MESSAGE_ID_INVALID);
            client.delete(&message).await.is(400, MESSAGE_ID_INVALID);
            client.delete(&in_a_chat).await.is(status, told);
        }
        let session = format!("/api/questions/{id}");
        let broken = Shape::Chatbot.broken(&[("uuid", "session_id")]);
        app.anonymous().get(&session).await.is(400, &broken);
    }
    assert_eq!(person.get("/api/message").await.ok()["pagination"]["totalItems"], 1, "nothing was deleted");
    app.stop().await;
}

async fn what_is_past_the_end_is_empty(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (person, program) = (app.person(), app.program());
    let empty = |page: i64| json!({"page": page, "pageSize": 10, "totalPages": 0, "totalItems": 0});
    for path in ["/api/conversation", "/api/message"] {
        let nothing = person.get(path).await.ok();
        assert_eq!((&nothing["data"], &nothing["pagination"]), (&json!([]), &empty(1)));
    }
    let nothing = program.get("/api/conversation").await.ok();
    assert_eq!((&nothing["data"], &nothing["meta"]["lastPage"]), (&json!([]), &json!(1)));
    for _ in 0..3 {
        Chat::on(&app, "echo").await;
    }
    for page in [3, 1_000_000, i64::MAX] {
        for path in ["/api/conversation", "/api/message"] {
            let past = person.get(&format!("{path}?limit=2&page={page}")).await.ok();
            assert_eq!(past["data"], json!([]));
            let expected = json!({"page": page, "pageSize": 2, "totalPages": 2, "totalItems": 3});
            assert_eq!(past["pagination"], expected);
        }
        let past = program.get(&format!("/api/conversation?limit=2&page={page}")).await.ok();
        assert_eq!((&past["data"], &past["meta"]["total"]), (&json!([]), &json!(3)));
        assert_eq!(past["meta"]["nextPageUrl"], Value::Null);
    }
    app.stop().await;
}
