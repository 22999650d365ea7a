//! The Conversation API, example by example.

use serde_json::json;
use wicara_model::{Api, Bots, Role};

use super::wire::{Caller, assert_body, assert_documented, assert_wire_snapshot, column, example, id};
use crate::support::{Client, Engine, TestApp, on_both_engines};

on_both_engines!(
    the_examples_for_a_person,
    the_examples_for_a_program,
    a_program_of_the_chatbot_api_creates_and_updates_alike,
    without_credentials_nothing_is_told,
    what_is_left_out_gets_its_default,
    an_update_changes_what_it_names,
    the_newest_message_is_shown_in_short,
    a_deleted_conversation_takes_its_messages_along,
);

const NEW: &str = r#"{
    "room":"client1-123 + client2-123",
    "integrationType":"whatsapp",
    "botId":"bot-123",
}"#;

const CHANGE: &str = r#"{
    "room":"client3-123 + client4-123 updated", //Optional
    "integrationType":"whatsapp updated", //Optional
    "botId":"bot-123 updated", //Optional
}"#;

const INVALID_ID: &str = r#"{"status":400,"error":"ConversationId is Invalid"}"#;

async fn the_examples_for_a_person(engine: Engine) {
    let app = TestApp::start(engine).await;
    the_examples(&app.person().await).await;
    app.stop().await;
}

async fn the_examples_for_a_program(engine: Engine) {
    let app = TestApp::start(engine).await;
    the_examples(&app.program_with(Role::Agent, Bots::All, Api::Conversation).await).await;
    app.stop().await;
}

/// Adds what the document's lists need: ten conversations, the two that it shows newest.
async fn ten_conversations(client: &Client) {
    for number in (1..=10).rev() {
        let mut new = example(NEW);
        if number != 1 {
            new["room"] = format!("client{}-123 + client{}-123", 2 * number - 1, 2 * number).into();
        }
        client.post("/api/conversation", &new).await.ok();
    }
}

async fn the_examples(client: &Client) {
    ten_conversations(client).await;

    let list = client.get("/api/conversation?page=&limit=2&userId=&botId=").await;
    assert_documented(
        &list.ok(),
        r#"{
            "status":200,
            "data":[
                {
                    "room":"client1-123 + client2-123",
                    "integrationType":"whatsapp",
                    "botId":"bot-123",
                },
                {
                    "room":"client3-123 + client4-123",
                    "integrationType":"whatsapp",
                    "botId":"bot-123",
                },
            ],
            "pagination": {
                    "page": 1,
                    "pageSize": 2,
                    "totalPages": 5,
                    "totalItems": 10
            }
        }"#,
    );
    assert_wire_snapshot!(&list, @r#"
    {
      "status": 200,
      "data": [
        {
          "room": "client1-123 + client2-123",
          "integrationType": "whatsapp",
          "botId": "bot-123",
          "id": "<id>",
          "userId": "<caller>",
          "handler": "bot",
          "messageCount": 0,
          "lastMessage": null,
          "createdAt": "<time>",
          "updatedAt": "<time>"
        },
        {
          "room": "client3-123 + client4-123",
          "integrationType": "whatsapp",
          "botId": "bot-123",
          "id": "<id>",
          "userId": "<caller>",
          "handler": "bot",
          "messageCount": 0,
          "lastMessage": null,
          "createdAt": "<time>",
          "updatedAt": "<time>"
        }
      ],
      "pagination": {
        "page": 1,
        "pageSize": 2,
        "totalPages": 5,
        "totalItems": 10
      }
    }
    "#);

    let created = client.post("/api/conversation", &example(NEW)).await;
    assert_documented(
        &created.ok(),
        r#"{
            "status":200,
            "message":"Conversation created succesfully!!",
            "data":{
                "room":"client1-123 + client2-123",
                "integrationType":"whatsapp",
                "botId":"bot-123",
            },
        }"#,
    );
    assert_wire_snapshot!(&created, @r#"
    {
      "status": 200,
      "message": "Conversation created succesfully!!",
      "data": {
        "room": "client1-123 + client2-123",
        "integrationType": "whatsapp",
        "botId": "bot-123",
        "id": "<id>",
        "userId": "<caller>",
        "handler": "bot",
        "messageCount": 0,
        "lastMessage": null,
        "createdAt": "<time>",
        "updatedAt": "<time>"
      }
    }
    "#);

    let path = format!("/api/conversation/{}", id(&created.json()));
    let detail = client.get(&path).await;
    assert_eq!(detail.ok()["data"], created.json()["data"]);
    assert_wire_snapshot!(&detail, @r#"
    {
      "status": 200,
      "data": {
        "room": "client1-123 + client2-123",
        "integrationType": "whatsapp",
        "botId": "bot-123",
        "id": "<id>",
        "userId": "<caller>",
        "handler": "bot",
        "messageCount": 0,
        "lastMessage": null,
        "createdAt": "<time>",
        "updatedAt": "<time>"
      }
    }
    "#);

    let updated = client.patch(&path, &example(CHANGE)).await;
    assert_documented(
        &updated.ok(),
        r#"{
            "status":200,
            "message":"Conversation updated successufully!!",
            "data":{
                "room":"client3-123 + client4-123 updated",
                "integrationType":"whatsapp updated",
                "botId":"bot-123 updated",
            },
        }"#,
    );
    assert_wire_snapshot!(&updated, @r#"
    {
      "status": 200,
      "message": "Conversation updated successufully!!",
      "data": {
        "room": "client3-123 + client4-123 updated",
        "integrationType": "whatsapp updated",
        "botId": "bot-123 updated",
        "id": "<id>",
        "userId": "<caller>",
        "handler": "bot",
        "messageCount": 0,
        "lastMessage": null,
        "createdAt": "<time>",
        "updatedAt": "<time>"
      }
    }
    "#);

    let refused = client.post("/api/conversation", &json!({})).await;
    assert_eq!(refused.status, 400);
    assert_documented(&refused.json(), r#"{ "status":400, "error":"Validation Error", }"#);
    assert_wire_snapshot!(&refused, @r#"
    {
      "status": 400,
      "error": "Validation Error",
      "errors": [
        {
          "rule": "required",
          "field": "room",
          "message": "required validation failed"
        },
        {
          "rule": "required",
          "field": "integrationType",
          "message": "required validation failed"
        }
      ]
    }
    "#);
    let refused = client.patch(&path, &json!({"room": 5})).await;
    assert_eq!(refused.status, 400);
    assert_documented(&refused.json(), r#"{ "status":400, "error":"Validation Error", }"#);

    let deleted = client.delete(&path).await;
    assert_body(&deleted, 200, r#"{"status":200,"message":"Conversation deleted Successfuly"}"#);
    for path in [path.as_str(), "/api/conversation/conversation-123", "/api/conversation/999999"] {
        assert_body(&client.get(path).await, 400, INVALID_ID);
        assert_body(&client.patch(path, &example(CHANGE)).await, 400, INVALID_ID);
        assert_body(&client.delete(path).await, 400, INVALID_ID);
    }
}

async fn a_program_of_the_chatbot_api_creates_and_updates_alike(engine: Engine) {
    let app = TestApp::start(engine).await;
    let program = app.program().await;
    let created = program.post("/api/conversation", &example(NEW)).await;
    assert_wire_snapshot!(&created, @r#"
    {
      "status": 200,
      "message": "Conversation created succesfully!!",
      "data": {
        "room": "client1-123 + client2-123",
        "integrationType": "whatsapp",
        "botId": "bot-123",
        "id": "<id>",
        "userId": "<caller>",
        "handler": "bot",
        "messageCount": 0,
        "lastMessage": null,
        "createdAt": "<time>",
        "updatedAt": "<time>"
      }
    }
    "#);
    let path = format!("/api/conversation/{}", id(&created.ok()));
    assert_wire_snapshot!(&program.patch(&path, &example(CHANGE)).await, @r#"
    {
      "status": 200,
      "message": "Conversation updated successufully!!",
      "data": {
        "room": "client3-123 + client4-123 updated",
        "integrationType": "whatsapp updated",
        "botId": "bot-123 updated",
        "id": "<id>",
        "userId": "<caller>",
        "handler": "bot",
        "messageCount": 0,
        "lastMessage": null,
        "createdAt": "<time>",
        "updatedAt": "<time>"
      }
    }
    "#);
    let unknown = program.patch("/api/conversation/conversation-123", &example(CHANGE)).await;
    assert_body(&unknown, 400, INVALID_ID);
    app.stop().await;
}

async fn without_credentials_nothing_is_told(engine: Engine) {
    let app = TestApp::start(engine).await;
    let created = app.person().await.post("/api/conversation", &example(NEW)).await.ok();
    let path = format!("/api/conversation/{}", id(&created));
    let nobody = app.anonymous();
    for answer in [
        nobody.post("/api/conversation", &example(NEW)).await,
        nobody.get("/api/conversation").await,
        nobody.get(&path).await,
        nobody.patch(&path, &example(CHANGE)).await,
        nobody.delete(&path).await,
        nobody.delete("/api/conversation/999999").await,
    ] {
        assert_body(&answer, 401, r#"{"status":401,"message":"unauthenticated","error":"Unathorized"}"#);
        assert_documented(&answer.json(), r#"{ "status":401, "error":"Unathorized", }"#);
    }
    app.stop().await;
}

async fn what_is_left_out_gets_its_default(engine: Engine) {
    let app = TestApp::start(engine).await;
    let person = app.person().await;
    let me = person.get("/api/auth/me").await.ok()["data"]["id"].clone();
    let program = app.program().await;
    let key = program.get("/api/auth/me").await.ok()["data"]["id"].as_str().unwrap().to_owned();
    let callers: [(Caller, String); 2] =
        [(("a person", person), me.as_str().unwrap().into()), (("a program", program), format!("key-{key}"))];
    for ((who, client), caller_id) in callers {
        for blank in [json!(null), json!(""), json!("  ")] {
            let new = json!({"room": "r", "integrationType": "website", "botId": blank, "userId": blank});
            let created = client.post("/api/conversation", &new).await.ok();
            assert_eq!(created["data"]["userId"], caller_id.as_str(), "{who}");
            assert_eq!(created["data"]["botId"], "echo", "{who}");
            assert_eq!(created["data"]["handler"], "bot", "{who}");
        }
        let new = json!({
            "room": "r", "integrationType": "carrier pigeon", "botId": "nobody set it up", "userId": "aidj983j93jd0ojdnvjk8",
        });
        let created = client.post("/api/conversation", &new).await.ok();
        for field in ["room", "integrationType", "botId", "userId"] {
            assert_eq!(created["data"][field], new[field], "{who}");
        }
    }
    assert_eq!(app.bot.asked(), 0);
    app.stop().await;
}

async fn an_update_changes_what_it_names(engine: Engine) {
    let app = TestApp::start(engine).await;
    let person = app.person().await;
    let created = person.post("/api/conversation", &example(NEW)).await.ok();
    let path = format!("/api/conversation/{}", id(&created));

    let same = person.patch(&path, &json!({})).await.ok();
    assert_eq!(same["message"], "Conversation updated successufully!!");
    assert_eq!(same["data"], created["data"]);
    let unknown = person.patch(&path, &json!({"session_id": "x", "id": "1", "messageCount": 5})).await.ok();
    assert_eq!(unknown["data"], created["data"]);

    let mut expected = created["data"].clone();
    for (field, value) in [
        ("userId", "u1"),
        ("handler", "human"),
        ("room", "r"),
        ("botId", "b"),
        ("integrationType", "telegram"),
    ] {
        let updated = person.patch(&path, &json!({field: value})).await.ok();
        expected[field] = value.into();
        expected["updatedAt"] = updated["data"]["updatedAt"].clone();
        assert_eq!(updated["data"], expected);
        assert_eq!(person.get(&path).await.ok()["data"], expected);
    }

    let refused = person.patch(&path, &json!({"handler": "Human", "room": " ", "userId": 7})).await;
    assert_eq!(refused.status, 400);
    assert_wire_snapshot!(&refused, @r#"
    {
      "status": 400,
      "error": "Validation Error",
      "errors": [
        {
          "rule": "required",
          "field": "room",
          "message": "required validation failed"
        },
        {
          "rule": "string",
          "field": "userId",
          "message": "string validation failed"
        },
        {
          "rule": "enum",
          "field": "handler",
          "message": "enum validation failed"
        }
      ]
    }
    "#);
    assert_eq!(person.get(&path).await.ok()["data"], expected);
    app.stop().await;
}

async fn the_newest_message_is_shown_in_short(engine: Engine) {
    let app = TestApp::start(engine).await;
    let person = app.person().await;
    let conversation = id(&person.post("/api/conversation", &example(NEW)).await.ok());
    for (text, role) in [("halo", "client"), ("among us", "note")] {
        let new = json!({"message": text, "type": "text", "role": role, "conversationId": conversation});
        person.post("/api/message", &new).await.ok();
    }
    let detail = person.get(&format!("/api/conversation/{conversation}")).await;
    assert_wire_snapshot!(&detail, @r#"
    {
      "status": 200,
      "data": {
        "room": "client1-123 + client2-123",
        "integrationType": "whatsapp",
        "botId": "bot-123",
        "id": "<id>",
        "userId": "<caller>",
        "handler": "bot",
        "messageCount": 2,
        "lastMessage": {
          "id": "<id>",
          "message": "among us",
          "type": "text",
          "role": "note",
          "createdAt": "<time>"
        },
        "createdAt": "<time>",
        "updatedAt": "<time>"
      }
    }
    "#);
    assert_eq!(person.get("/api/conversation").await.ok()["data"][0], detail.json()["data"]);
    app.stop().await;
}

async fn a_deleted_conversation_takes_its_messages_along(engine: Engine) {
    let app = TestApp::start(engine).await;
    let person = app.person().await;
    let mut messages = Vec::new();
    let mut conversations = Vec::new();
    for _ in 0..2 {
        let conversation = id(&person.post("/api/conversation", &example(NEW)).await.ok());
        let new = json!({"message": "hi", "type": "text", "role": "client", "conversationId": conversation});
        messages.push(id(&person.post("/api/message", &new).await.ok()));
        conversations.push(conversation);
    }
    person.delete(&format!("/api/conversation/{}", conversations[0])).await.ok();
    let gone = person.get(&format!("/api/message/{}", messages[0])).await;
    assert_body(&gone, 400, r#"{"status":400,"error":"MessageId is Invalid"}"#);
    let left = person.get("/api/message").await.ok();
    assert_eq!(column(&left, "id"), [&json!(messages[1].to_string())]);
    assert_eq!(left["pagination"]["totalItems"], 1);
    assert_eq!(person.get("/api/conversation").await.ok()["pagination"]["totalItems"], 1);
    app.stop().await;
}
