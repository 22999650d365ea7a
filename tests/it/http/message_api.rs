//! The Message API, example by example.

use serde_json::{Value, json};
use wicara_model::{Api, Bots, Role};

use super::wire::{Caller, assert_body, assert_documented, assert_wire_snapshot, column, example, id};
use crate::support::{Client, Engine, TestApp, on_both_engines};

on_both_engines!(
    the_examples_for_a_person,
    the_examples_for_a_program,
    the_examples_for_a_program_of_the_conversation_api,
    without_credentials_nothing_is_told,
    a_message_is_stored_and_no_bot_asked,
    the_conversation_of_a_message_has_to_be_known,
    an_update_changes_what_it_names,
    answers_carry_their_question_and_the_bots_own_words,
    a_new_text_becomes_the_payloads,
);

const CHANGE: &str = r#"{
        "message":"hii!! updated", //Optional
        "type":"text updated", //Optional
        "role":"bot updated", //Optional
}"#;

const INVALID_ID: &str = r#"{"status":400,"error":"MessageId is Invalid"}"#;
const INVALID_CONVERSATION: &str = r#"{"status":400,"error":"ConversationId is Invalid"}"#;

/// The document's example, in a conversation that exists.
fn new(conversation: i64) -> Value {
    let mut new = example(
        r#"{
            "message":"hii!!",
            "type":"text",
            "role":"bot",
            "conversationId":"conversation-123",
        }"#,
    );
    new["conversationId"] = conversation.to_string().into();
    new
}

async fn conversation(client: &Client) -> i64 {
    let new = json!({"room": "client1-123 + client2-123", "integrationType": "whatsapp"});
    id(&client.post("/api/conversation", &new).await.ok())
}

async fn the_examples_for_a_person(engine: Engine) {
    let app = TestApp::start(engine).await;
    the_examples(&app, &app.person().await).await;
    app.stop().await;
}

async fn the_examples_for_a_program(engine: Engine) {
    let app = TestApp::start(engine).await;
    the_examples(&app, &app.program().await).await;
    app.stop().await;
}

async fn the_examples_for_a_program_of_the_conversation_api(engine: Engine) {
    let app = TestApp::start(engine).await;
    the_examples(&app, &app.program_with(Role::Agent, Bots::All, Api::Conversation).await).await;
    app.stop().await;
}

async fn the_examples(app: &TestApp, client: &Client) {
    let conversation = conversation(client).await;
    for _ in 0..10 {
        client.post("/api/message", &new(conversation)).await.ok();
    }
    let list = client.get(&format!("/api/message?page=&limit=2&conversationId={conversation}")).await;
    let listed = list.ok();
    assert_documented(
        &listed,
        r#"{
            "status":200,
            "data":[
                {
                    "message":"hii!!",
                    "type":"text",
                    "role":"bot",
                    "conversationId":"conversation-123",
                },
                {
                    "message":"hii!!",
                    "type":"text",
                    "role":"bot",
                    "conversationId":"conversation-123",
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
          "message": "hii!!",
          "type": "text",
          "role": "bot",
          "conversationId": "<id>",
          "id": "<id>",
          "replyTo": null,
          "payload": null,
          "failure": null,
          "createdAt": "<time>",
          "updatedAt": "<time>"
        },
        {
          "message": "hii!!",
          "type": "text",
          "role": "bot",
          "conversationId": "<id>",
          "id": "<id>",
          "replyTo": null,
          "payload": null,
          "failure": null,
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

    let created = client.post("/api/message", &new(conversation)).await;
    assert_documented(
        &created.ok(),
        r#"{
            "status":200,
            "message":"Message created succesfully!!",
            "data":{
                "message":"hii!!",
                "type":"text",
                "role":"bot",
                "conversationId":"conversation-123",
            },
        }"#,
    );
    assert_eq!(created.json()["data"]["conversationId"], conversation.to_string());
    assert_wire_snapshot!(&created, @r#"
    {
      "status": 200,
      "message": "Message created succesfully!!",
      "data": {
        "message": "hii!!",
        "type": "text",
        "role": "bot",
        "conversationId": "<id>",
        "id": "<id>",
        "replyTo": null,
        "payload": null,
        "failure": null,
        "createdAt": "<time>",
        "updatedAt": "<time>"
      }
    }
    "#);

    let path = format!("/api/message/{}", id(&created.json()));
    let detail = client.get(&path).await;
    assert_eq!(detail.ok()["data"], created.json()["data"]);
    assert_wire_snapshot!(&detail, @r#"
    {
      "status": 200,
      "data": {
        "message": "hii!!",
        "type": "text",
        "role": "bot",
        "conversationId": "<id>",
        "id": "<id>",
        "replyTo": null,
        "payload": null,
        "failure": null,
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
            "message":"Message updated successufully!!",
            "data":{
                    "message":"hii!! updated",
                    "type":"text updated",
                    "role":"bot updated",
            },
        }"#,
    );
    assert_wire_snapshot!(&updated, @r#"
    {
      "status": 200,
      "message": "Message updated successufully!!",
      "data": {
        "message": "hii!! updated",
        "type": "text updated",
        "role": "bot updated",
        "conversationId": "<id>",
        "id": "<id>",
        "replyTo": null,
        "payload": null,
        "failure": null,
        "createdAt": "<time>",
        "updatedAt": "<time>"
      }
    }
    "#);

    let refused = client.post("/api/message", &json!({})).await;
    assert_eq!(refused.status, 400);
    assert_documented(&refused.json(), r#"{ "status":400, "error":"Validation Error", }"#);
    assert_wire_snapshot!(&refused, @r#"
    {
      "status": 400,
      "error": "Validation Error",
      "errors": [
        {
          "rule": "required",
          "field": "message",
          "message": "required validation failed"
        },
        {
          "rule": "required",
          "field": "type",
          "message": "required validation failed"
        },
        {
          "rule": "required",
          "field": "role",
          "message": "required validation failed"
        },
        {
          "rule": "required",
          "field": "conversationId",
          "message": "required validation failed"
        }
      ]
    }
    "#);
    let refused = client.patch(&path, &json!({"message": ""})).await;
    assert_eq!(refused.status, 400);
    assert_documented(&refused.json(), r#"{ "status":400, "error":"Validation Error", }"#);

    let deleted = client.delete(&path).await;
    assert_body(&deleted, 200, r#"{"status":200,"message":"Message deleted Successfuly"}"#);
    for path in [path.as_str(), "/api/message/message-123", "/api/message/999999"] {
        assert_body(&client.get(path).await, 400, INVALID_ID);
        assert_body(&client.patch(path, &example(CHANGE)).await, 400, INVALID_ID);
        assert_body(&client.delete(path).await, 400, INVALID_ID);
    }
    assert_eq!(app.bot.asked(), 0);
}

async fn without_credentials_nothing_is_told(engine: Engine) {
    let app = TestApp::start(engine).await;
    let person = app.person().await;
    let conversation = conversation(&person).await;
    let path = format!("/api/message/{}", id(&person.post("/api/message", &new(conversation)).await.ok()));
    let nobody = app.anonymous();
    for answer in [
        nobody.post("/api/message", &new(conversation)).await,
        nobody.get("/api/message").await,
        nobody.get(&path).await,
        nobody.patch(&path, &example(CHANGE)).await,
        nobody.delete(&path).await,
        nobody.get("/api/message/999999").await,
    ] {
        assert_body(&answer, 401, r#"{"status":401,"message":"unauthenticated","error":"Unathorized"}"#);
        assert_documented(&answer.json(), r#"{ "status":401, "error":"Unathorized", }"#);
    }
    app.stop().await;
}

async fn a_message_is_stored_and_no_bot_asked(engine: Engine) {
    let app = TestApp::start(engine).await;
    let person = app.person().await;
    let conversation = conversation(&person).await;
    for (role, kind) in [("client", "text"), ("agent", "voice"), ("somebody", "something")] {
        let new = json!({"message": " halo\n", "type": kind, "role": role, "conversationId": conversation});
        let created = person.post("/api/message", &new).await.ok();
        assert_eq!(created["data"]["message"], " halo\n");
        assert_eq!((&created["data"]["role"], &created["data"]["type"]), (&json!(role), &json!(kind)));
    }
    let all = person.get("/api/message").await.ok();
    assert_eq!(column(&all, "role"), ["client", "agent", "somebody"]);
    assert_eq!(app.bot.asked(), 0);
    app.stop().await;
}

async fn the_conversation_of_a_message_has_to_be_known(engine: Engine) {
    let app = TestApp::start(engine).await;
    let person = app.person().await;
    let conversation = conversation(&person).await;
    for unknown in
        [json!("conversation-123"), json!("999999"), json!(999_999), json!(0), json!("1.5"), json!(-1)]
    {
        let mut new = new(conversation);
        new["conversationId"] = unknown;
        assert_body(&person.post("/api/message", &new).await, 400, INVALID_CONVERSATION);
    }
    let stranger = app.program_with(Role::Agent, Bots::Only(vec!["other".into()]), Api::Chatbot).await;
    assert_body(&stranger.post("/api/message", &new(conversation)).await, 400, INVALID_CONVERSATION);
    let mut without = new(conversation);
    without["conversationId"] = "".into();
    let refused = person.post("/api/message", &without).await;
    assert_eq!(refused.status, 400);
    assert_eq!(refused.json()["errors"][0]["field"], "conversationId");
    assert_eq!(refused.json()["errors"][0]["message"], "required validation failed");
    assert_eq!(person.get("/api/message").await.ok()["pagination"]["totalItems"], 0);
    app.stop().await;
}

async fn an_update_changes_what_it_names(engine: Engine) {
    let app = TestApp::start(engine).await;
    let person = app.person().await;
    let (here, there) = (conversation(&person).await, conversation(&person).await);
    let created = person.post("/api/message", &new(here)).await.ok();
    let path = format!("/api/message/{}", id(&created));
    for nothing in [json!({}), json!({"conversationId": there, "replyTo": "1", "payload": {}, "id": 1})] {
        let same = person.patch(&path, &nothing).await.ok();
        assert_eq!(same["data"], created["data"]);
    }
    let mut expected = created["data"].clone();
    for (field, value) in [("message", "halo"), ("type", "image"), ("role", "client")] {
        let updated = person.patch(&path, &json!({field: value})).await.ok();
        expected[field] = value.into();
        expected["updatedAt"] = updated["data"]["updatedAt"].clone();
        assert_eq!(updated["data"], expected);
        assert_eq!(person.get(&path).await.ok()["data"], expected);
    }
    app.stop().await;
}

/// What a bot says, spaced and numbered as no serialiser would.
const SAID: &str =
    r#"{"text":"halo \ud83d\ude0a", "score" : 1.00,"z":[1e2, {"k":"\u0041"}],"category":"message"}"#;

async fn answers_carry_their_question_and_the_bots_own_words(engine: Engine) {
    let app = TestApp::start(engine).await;
    let program = app.program().await;
    program.post("/api/questions", &json!({"message": format!("say [{SAID}]")})).await.ok();
    let list = program.get("/api/message").await;
    let listed = list.ok();
    assert!(list.text.contains(&format!(r#""payload":{SAID},"#)), "{}", list.text);
    assert_eq!(column(&listed, "role"), ["client", "bot"]);
    assert_eq!(column(&listed, "replyTo"), [&Value::Null, &listed["data"][0]["id"]]);
    assert_eq!(column(&listed, "message")[1], "halo 😊");
    assert_eq!(column(&listed, "failure"), [&Value::Null, &Value::Null]);
    let path = format!("/api/message/{}", listed["data"][1]["id"].as_str().unwrap());
    assert_wire_snapshot!(&program.get(&path).await, @r#"
    {
      "status": 200,
      "data": {
        "message": "halo 😊",
        "type": "text",
        "role": "bot",
        "conversationId": "<id>",
        "id": "<id>",
        "replyTo": "<id>",
        "payload": {
          "text": "halo \ud83d\ude0a",
          "score": 1.00,
          "z": [
            1e2,
            {
              "k": "\u0041"
            }
          ],
          "category": "message"
        },
        "failure": null,
        "createdAt": "<time>",
        "updatedAt": "<time>"
      }
    }
    "#);
    app.stop().await;
}

async fn a_new_text_becomes_the_payloads(engine: Engine) {
    let app = TestApp::start(engine).await;
    let callers: [Caller; 2] = [("a person", app.person().await), ("a program", app.program().await)];
    for (who, client) in callers {
        let asked = client.post("/api/questions", &json!({"message": format!("say [{SAID}]")})).await.ok();
        let newest = client.get("/api/message?order=desc&limit=1").await.ok();
        let path = format!("/api/message/{}", newest["data"][0]["id"].as_str().unwrap());
        let updated = client.patch(&path, &json!({"message": "a \"new\" text"})).await;
        assert_eq!(updated.ok()["data"]["message"], "a \"new\" text");
        // The other fields keep their text; only the space between them is not kept.
        let payload =
            r#"{"text":"a \"new\" text","score":1.00,"z":[1e2, {"k":"\u0041"}],"category":"message"}"#;
        for answer in [
            updated,
            client.get(&path).await,
            app.program().await.get("/api/conversation").await,
            app.anonymous().get(&format!("/api/questions/{}", asked["session_id"].as_str().unwrap())).await,
        ] {
            assert!(answer.text.contains(payload), "{who}: {}", answer.text);
        }
    }
    app.stop().await;
}
