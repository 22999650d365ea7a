//! Pages and walks through the three lists.

use serde_json::{Value, json};

use super::wire::{column, id};
use crate::support::{Client, Engine, TestApp, on_both_engines};

on_both_engines!(
    a_list_without_parameters_is_its_first_ten,
    the_limit_goes_from_1_to_100,
    every_page_of_conversations_follows_the_one_before,
    past_the_end_is_empty,
    where_nothing_is_there_is_no_page,
    filters_combine_and_stay_in_the_addresses,
    ids_lead_through_a_list_without_pages,
    messages_are_listed_from_the_oldest,
    messages_of_one_conversation,
);

/// Conversations by their ids, oldest first.
async fn conversations(client: &Client, count: usize) -> Vec<i64> {
    let mut ids = Vec::new();
    for number in 0..count {
        let new = json!({
            "room": format!("room & {}", number % 2), "integrationType": "telegram", "botId": format!("bot-{}", number % 3),
            "userId": "u1",
        });
        ids.push(id(&client.post("/api/conversation", &new).await.ok()));
    }
    ids
}

async fn message(client: &Client, conversation: i64, text: &str) -> i64 {
    let new = json!({"message": text, "type": "text", "role": "client", "conversationId": conversation});
    id(&client.post("/api/message", &new).await.ok())
}

/// The ids of a list, whichever API it is.
fn ids(list: &Value) -> Vec<i64> {
    let number = |id: &Value| id.as_i64().unwrap_or_else(|| id.as_str().unwrap().parse().unwrap());
    column(list, "id").into_iter().map(number).collect()
}

async fn a_list_without_parameters_is_its_first_ten(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (person, program) = (app.person(), app.program());
    let mut newest = conversations(&person, 11).await;
    let mut messages = Vec::new();
    for number in 0..11 {
        messages.push(message(&person, newest[0], &number.to_string()).await);
    }
    newest.reverse();
    for query in ["", "?", "?page=&limit=", "?page=1&limit=10", "?order=desc", "?order=&before=&after=&x=y"] {
        let list = person.get(&format!("/api/conversation{query}")).await.ok();
        assert_eq!(ids(&list), newest[..10], "{query}");
        let pagination = json!({"page": 1, "pageSize": 10, "totalPages": 2, "totalItems": 11});
        assert_eq!(list["pagination"], pagination, "{query}");

        let list = program.get(&format!("/api/conversation{query}")).await.ok();
        assert_eq!(ids(&list), newest[..10], "{query}");
        let meta = json!({
            "total": 11, "perPage": 10, "currentPage": 1, "lastPage": 2,
            "nextPageUrl": "/api/conversation?page=2&limit=10", "prevPageUrl": null,
        });
        assert_eq!(list["meta"], meta, "{query}");

        let list = person.get(&format!("/api/message{}", query.replace("desc", "asc"))).await.ok();
        assert_eq!(ids(&list), messages[..10], "{query}");
        assert_eq!(list["pagination"], pagination, "{query}");
    }
    app.stop().await;
}

async fn the_limit_goes_from_1_to_100(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (person, program) = (app.person(), app.program());
    let conversation = conversations(&person, 3).await[0];
    message(&person, conversation, "halo").await;
    message(&person, conversation, "halo").await;
    let lists = [(&person, "/api/conversation"), (&program, "/api/conversation"), (&person, "/api/message")];
    for (client, path) in lists {
        assert_eq!(ids(&client.get(&format!("{path}?limit=1")).await.ok()).len(), 1, "{path}");
        let all = client.get(&format!("{path}?limit=100")).await.ok();
        assert!(ids(&all).len() > 1, "{path}");
        for wrong in ["limit=0", "limit=101", "limit=-5", "limit=abc", "limit=1.5", "page=0", "page=abc"] {
            let refused = client.get(&format!("{path}?{wrong}")).await;
            refused.has_status(400);
            let field = wrong.split_once('=').unwrap().0;
            assert_eq!(refused.json()["errors"][0]["field"], field, "{path}?{wrong}");
        }
        for wrong in ["order=up", "before=abc", "after=1.5", "before=9223372036854775808"] {
            client.get(&format!("{path}?{wrong}")).await.has_status(400);
        }
    }
    let refused = person.get("/api/conversation?limit=0&page=x").await.json();
    assert_eq!(refused["error"], "Validation Error");
    assert_eq!(column(&json!({"data": refused["errors"]}), "field"), ["page", "limit"]);
    assert_eq!(program.get("/api/conversation?limit=0").await.json()["message"], "Validation failure");
    app.stop().await;
}

async fn every_page_of_conversations_follows_the_one_before(engine: Engine) {
    let app = TestApp::start(engine).await;
    let program = app.program();
    let mut expected = conversations(&program, 7).await;
    for order in ["asc", "desc"] {
        let (mut found, mut forth, mut back) = (Vec::new(), Vec::new(), Vec::new());
        let mut next = Some(format!("/api/conversation?limit=3&order={order}"));
        while let Some(path) = next {
            let page = program.get(&path).await.ok();
            found.extend(ids(&page));
            forth.push(ids(&page));
            assert_eq!((&page["meta"]["total"], &page["meta"]["lastPage"]), (&json!(7), &json!(3)));
            assert_eq!(page["meta"]["currentPage"], forth.len());
            next = page["meta"]["nextPageUrl"].as_str().map(Into::into);
        }
        assert_eq!(found, expected, "{order}");
        let mut previous = Some(format!("/api/conversation?page=3&limit=3&order={order}"));
        while let Some(path) = previous {
            let page = program.get(&path).await.ok();
            back.push(ids(&page));
            previous = page["meta"]["prevPageUrl"].as_str().map(Into::into);
        }
        back.reverse();
        assert_eq!(back, forth, "{order}");
        expected.reverse();
    }
    app.stop().await;
}

async fn past_the_end_is_empty(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (person, program) = (app.person(), app.program());
    let conversation = conversations(&person, 3).await[0];
    for text in ["a", "b", "c"] {
        message(&person, conversation, text).await;
    }
    for page in [3, 1_000_000, i64::MAX] {
        for path in ["/api/conversation", "/api/message"] {
            let list = person.get(&format!("{path}?limit=2&page={page}")).await.ok();
            assert_eq!(list["data"], json!([]));
            let pagination = json!({"page": page, "pageSize": 2, "totalPages": 2, "totalItems": 3});
            assert_eq!(list["pagination"], pagination);
        }
        let list = program.get(&format!("/api/conversation?limit=2&page={page}")).await.ok();
        let meta = json!({
            "total": 3, "perPage": 2, "currentPage": page, "lastPage": 2,
            "nextPageUrl": null, "prevPageUrl": "/api/conversation?page=2&limit=2",
        });
        assert_eq!((&list["data"], &list["meta"]), (&json!([]), &meta));
    }
    app.stop().await;
}

async fn where_nothing_is_there_is_no_page(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (person, program) = (app.person(), app.program());
    let nothing = json!({"page": 1, "pageSize": 10, "totalPages": 0, "totalItems": 0});
    let meta = json!({
        "total": 0, "perPage": 10, "currentPage": 1, "lastPage": 1, "nextPageUrl": null, "prevPageUrl": null,
    });
    for _ in 0..2 {
        for path in ["/api/conversation?botId=nobody", "/api/message?conversationId=999999"] {
            let list = person.get(path).await.ok();
            assert_eq!(list, json!({"status": 200, "data": [], "pagination": nothing}));
        }
        let list = program.get("/api/conversation?room=nowhere").await.ok();
        assert_eq!(list, json!({"status": 200, "message": "success", "meta": meta, "data": []}));
        // The same with something else there.
        message(&person, conversations(&person, 1).await[0], "halo").await;
    }
    assert_eq!(person.get("/api/message").await.ok()["pagination"]["totalItems"], 2);
    app.stop().await;
}

async fn filters_combine_and_stay_in_the_addresses(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (person, program) = (app.person(), app.program());
    let ids_of = conversations(&person, 12).await;
    let asked = program.post("/api/questions", &json!({"message": "halo"})).await.ok();
    assert_eq!(asked["status"], 200);
    let of = |test: &dyn Fn(usize) -> bool| -> Vec<i64> {
        (0..12).rev().filter(|&number| test(number)).map(|number| ids_of[number]).collect()
    };
    for (query, expected) in [
        ("botId=bot-1", of(&|number| number % 3 == 1)),
        ("room=room%20%26%200", of(&|number| number % 2 == 0)),
        ("room=room+%26+1&botId=bot-2", of(&|number| number % 6 == 5)),
        ("integrationType=telegram&userId=u1", of(&|_| true)),
        ("integrationType=telegram&userId=u2", vec![]),
        ("botId=bot", vec![]),
        ("botId=BOT-1", vec![]),
        ("userId=%25", vec![]),
    ] {
        for client in [&person, &program] {
            let list = client.get(&format!("/api/conversation?limit=100&{query}")).await.ok();
            assert_eq!(ids(&list), expected, "{query}");
        }
    }
    let website = person.get("/api/conversation?integrationType=website").await.ok();
    assert_eq!(website["pagination"]["totalItems"], 1);

    let filters = "userId=u1&botId=bot-0&integrationType=telegram&room=room%20%26%200";
    let list = program.get(&format!("/api/conversation?{filters}&page=2&limit=1&order=asc")).await.ok();
    assert_eq!(ids(&list), [ids_of[6]]);
    let none = program.get(&format!("/api/conversation?{filters}&page=9&limit=1&order=asc")).await.ok();
    for (address, page) in [(&none["meta"]["prevPageUrl"], 2), (&list["meta"]["prevPageUrl"], 1)] {
        assert_eq!(*address, format!("/api/conversation?page={page}&limit=1&{filters}&order=asc"));
    }
    let first = program.get(list["meta"]["prevPageUrl"].as_str().unwrap()).await.ok();
    assert_eq!(ids(&first), [ids_of[0]]);
    assert_eq!(first["meta"]["nextPageUrl"], format!("/api/conversation?page=2&limit=1&{filters}&order=asc"));
    app.stop().await;
}

async fn ids_lead_through_a_list_without_pages(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (person, program) = (app.person(), app.program());
    let conversations = conversations(&person, 6).await;
    let mut messages = Vec::new();
    for number in 0..6 {
        messages.push(message(&person, conversations[0], &number.to_string()).await);
    }
    let lists = [
        (&person, "/api/conversation", &conversations),
        (&program, "/api/conversation", &conversations),
        (&person, "/api/message", &messages),
    ];
    for (client, path, all) in lists {
        for (query, expected) in [
            (format!("order=desc&before={}", all[4]), vec![all[3], all[2]]),
            (format!("order=asc&after={}", all[1]), vec![all[2], all[3]]),
            (format!("order=asc&after={}&before={}", all[1], all[3]), vec![all[2]]),
            // The page counts for nothing beside them.
            (format!("order=desc&before={}&page=7", all[1]), vec![all[0]]),
            (format!("order=asc&after={}", all[5]), vec![]),
            ("order=desc&before=0".into(), vec![]),
        ] {
            let list = client.get(&format!("{path}?limit=2&{query}")).await.ok();
            assert_eq!(ids(&list), expected, "{path}?{query}");
            let total = if list["meta"].is_object() {
                &list["meta"]["total"]
            } else {
                &list["pagination"]["totalItems"]
            };
            assert_eq!(*total, 6, "{path}?{query}");
        }
        let mut walked = Vec::new();
        let mut next = client.get(&format!("{path}?limit=4&order=desc")).await.ok();
        while let Some(last) = ids(&next).last() {
            walked.extend(ids(&next));
            next = client.get(&format!("{path}?limit=4&order=desc&before={last}")).await.ok();
        }
        assert!(walked.iter().rev().eq(all), "{path}");
    }
    app.stop().await;
}

async fn messages_are_listed_from_the_oldest(engine: Engine) {
    let app = TestApp::start(engine).await;
    let person = app.person();
    let conversations = conversations(&person, 2).await;
    let mut expected = Vec::new();
    for number in 0..5 {
        expected.push(message(&person, conversations[number % 2], &number.to_string()).await);
    }
    let pages = |order: &'static str| {
        let person = person.clone();
        async move {
            let mut found = Vec::new();
            for page in 1..=3 {
                found
                    .extend(ids(&person.get(&format!("/api/message?limit=2&page={page}{order}")).await.ok()));
            }
            found
        }
    };
    assert_eq!(pages("").await, expected);
    assert_eq!(pages("&order=asc").await, expected);
    expected.reverse();
    assert_eq!(pages("&order=desc").await, expected);
    app.stop().await;
}

async fn messages_of_one_conversation(engine: Engine) {
    let app = TestApp::start(engine).await;
    let program = app.program();
    let conversations = conversations(&program, 2).await;
    let mut expected = [Vec::new(), Vec::new()];
    for number in 0..7 {
        expected[number % 2].push(message(&program, conversations[number % 2], "halo").await);
    }
    for (conversation, expected) in conversations.iter().zip(&expected) {
        let list =
            program.get(&format!("/api/message?conversationId={conversation}&limit=2&page=2")).await.ok();
        assert_eq!(ids(&list), expected[2..expected.len().min(4)]);
        assert_eq!(list["pagination"]["totalItems"], expected.len());
        let conversation = conversation.to_string();
        assert!(column(&list, "conversationId").iter().all(|found| **found == conversation));
    }
    for malformed in ["conversation-123", "-1", "1.5", "1abc", "%00", "9223372036854775808"] {
        let refused = program.get(&format!("/api/message?conversationId={malformed}")).await;
        refused.has_status(400);
        assert_eq!(refused.json()["errors"][0]["field"], "conversationId", "{malformed}");
    }
    app.stop().await;
}
