//! The Conversation API, example by example. Every answer has the fields of the document's, in the document's order, and
//! ours behind them.

use serde_json::{Value, json};
use wicara_model::{Api, Bots, Role};

use super::wire::{column, id};
use super::{CONVERSATION_ID_INVALID, MESSAGE_ID_INVALID, Shape, UNAUTHENTICATED};
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

/// The document's examples of what is sent, of which each answer shows the fields first.
const NEW: &str = r#"{"room":"client1-123 + client2-123","integrationType":"whatsapp","botId":"bot-123"}"#;
const SECOND: &str = r#"{"room":"client3-123 + client4-123","integrationType":"whatsapp","botId":"bot-123"}"#;
const CHANGE: &str = r#"{"room":"client3-123 + client4-123 updated","integrationType":"whatsapp updated","botId":"bot-123 updated"}"#;

/// A conversation without messages, as it is shown after this was sent.
fn shown(sent: &str) -> String {
    let sent = sent.strip_suffix('}').unwrap();
    format!(
        r#"{sent},"id":"<id>","userId":"<caller>","handler":"bot","assignee":null,"handedOverAt":null,"handoverReason":null,"unreadCount":0,"seenByVisitorUpTo":null,"messageCount":0,"lastMessage":null,"createdAt":"<time>","updatedAt":"<time>"}}"#
    )
}

fn created() -> String {
    let data = shown(NEW);
    format!(r#"{{"status":200,"message":"Conversation created succesfully!!","data":{data}}}"#)
}

fn updated() -> String {
    let data = shown(CHANGE);
    format!(r#"{{"status":200,"message":"Conversation updated successufully!!","data":{data}}}"#)
}

async fn the_examples_for_a_person(engine: Engine) {
    let app = TestApp::start(engine).await;
    the_examples(&app.person()).await;
    app.stop().await;
}

async fn the_examples_for_a_program(engine: Engine) {
    let app = TestApp::start(engine).await;
    the_examples(&app.program_with(Role::Agent, Bots::All, Api::Conversation).await).await;
    app.stop().await;
}

async fn the_examples(client: &Client) {
    // Ten conversations, of which the document's list shows the two newest.
    for number in 3..=10 {
        let new =
            json!({"room": format!("room {number}"), "integrationType": "whatsapp", "botId": "bot-123"});
        client.post("/api/conversation", new).await.ok();
    }
    client.post("/api/conversation", SECOND).await.ok();
    client.post("/api/conversation", NEW).await.ok();
    let (first, second) = (shown(NEW), shown(SECOND));
    let pagination = r#"{"page":1,"pageSize":2,"totalPages":5,"totalItems":10}"#;
    let list = format!(r#"{{"status":200,"data":[{first},{second}],"pagination":{pagination}}}"#);
    client.get("/api/conversation?page=&limit=2&userId=&botId=").await.is(200, &list);

    let new = client.post("/api/conversation", NEW).await;
    new.is(200, &created());
    let path = format!("/api/conversation/{}", id(&new.ok()));
    let detail = client.get(&path).await;
    detail.is(200, &format!(r#"{{"status":200,"data":{first}}}"#));
    assert_eq!(detail.ok()["data"], new.ok()["data"]);
    client.patch(&path, CHANGE).await.is(200, &updated());

    let refused = Shape::Rooms.broken(&[("required", "room"), ("required", "integrationType")]);
    client.post("/api/conversation", "{}").await.is(400, &refused);
    client.patch(&path, r#"{"room":5}"#).await.is(400, &Shape::Rooms.broken(&[("string", "room")]));

    let deleted = r#"{"status":200,"message":"Conversation deleted Successfuly"}"#;
    client.delete(&path).await.is(200, deleted);
    for path in [path.as_str(), "/api/conversation/conversation-123", "/api/conversation/999999"] {
        client.get(path).await.is(400, CONVERSATION_ID_INVALID);
        client.patch(path, CHANGE).await.is(400, CONVERSATION_ID_INVALID);
        client.delete(path).await.is(400, CONVERSATION_ID_INVALID);
    }
}

async fn a_program_of_the_chatbot_api_creates_and_updates_alike(engine: Engine) {
    let app = TestApp::start(engine).await;
    let program = app.program();
    let new = program.post("/api/conversation", NEW).await;
    new.is(200, &created());
    program.patch(&format!("/api/conversation/{}", id(&new.ok())), CHANGE).await.is(200, &updated());
    program.patch("/api/conversation/conversation-123", CHANGE).await.is(400, CONVERSATION_ID_INVALID);
    app.stop().await;
}

async fn without_credentials_nothing_is_told(engine: Engine) {
    let app = TestApp::start(engine).await;
    let new = app.person().post("/api/conversation", NEW).await.ok();
    let path = format!("/api/conversation/{}", id(&new));
    let nobody = app.anonymous();
    nobody.post("/api/conversation", NEW).await.is(401, UNAUTHENTICATED);
    nobody.get("/api/conversation").await.is(401, UNAUTHENTICATED);
    nobody.get(&path).await.is(401, UNAUTHENTICATED);
    nobody.patch(&path, CHANGE).await.is(401, UNAUTHENTICATED);
    nobody.delete(&path).await.is(401, UNAUTHENTICATED);
    nobody.delete("/api/conversation/999999").await.is(401, UNAUTHENTICATED);
    app.stop().await;
}

async fn what_is_left_out_gets_its_default(engine: Engine) {
    let app = TestApp::start(engine).await;
    let me = async |client: &Client| client.get("/api/auth/me").await.ok()["data"]["id"].clone();
    let person = me(&app.person()).await.as_str().unwrap().to_owned();
    let key = format!("key-{}", me(&app.program()).await.as_str().unwrap());
    for (client, caller) in [(app.person(), person), (app.program(), key)] {
        let caller = Value::from(caller);
        for blank in [json!(null), json!(""), json!("  ")] {
            let new = json!({"room": "r", "integrationType": "website", "botId": blank, "userId": blank});
            let created = client.post("/api/conversation", new).await.ok()["data"].clone();
            for (field, default) in
                [("userId", &caller), ("botId", &json!("echo")), ("handler", &json!("bot"))]
            {
                assert_eq!(created[field], *default, "{field}");
            }
        }
        let new = json!({
            "room": "r", "integrationType": "carrier pigeon", "botId": "nobody set it up", "userId": "aidj983j93jd0ojdnvjk8",
        });
        let created = client.post("/api/conversation", &new).await.ok()["data"].clone();
        for field in ["room", "integrationType", "botId", "userId"] {
            assert_eq!(created[field], new[field]);
        }
    }
    assert_eq!(app.bot.asked(), 0);
    app.stop().await;
}

async fn an_update_changes_what_it_names(engine: Engine) {
    let app = TestApp::start(engine).await;
    let person = app.person();
    let created = person.post("/api/conversation", NEW).await.ok();
    let path = format!("/api/conversation/{}", id(&created));

    for nothing in [json!({}), json!({"session_id": "x", "id": "1", "messageCount": 5})] {
        let same = person.patch(&path, nothing).await.ok();
        assert_eq!(same["message"], "Conversation updated successufully!!");
        assert_eq!(same["data"], created["data"]);
    }

    let mut expected = created["data"].clone();
    for (field, value) in [
        ("userId", "u1"),
        ("handler", "human"),
        ("room", "r"),
        ("botId", "b"),
        ("integrationType", "telegram"),
    ] {
        let updated = person.patch(&path, json!({field: value})).await.ok();
        expected[field] = value.into();
        if field == "handler" {
            expected["handoverReason"] = "operator".into();
            expected["handedOverAt"] = updated["data"]["updatedAt"].clone();
        }
        expected["updatedAt"] = updated["data"]["updatedAt"].clone();
        assert_eq!(updated["data"], expected);
        assert_eq!(person.get(&path).await.ok()["data"], expected);
    }

    let wrong = json!({"handler": "Human", "room": " ", "userId": 7});
    let refused = Shape::Rooms.broken(&[("required", "room"), ("string", "userId"), ("enum", "handler")]);
    person.patch(&path, wrong).await.is(400, &refused);
    assert_eq!(person.get(&path).await.ok()["data"], expected);
    app.stop().await;
}

async fn the_newest_message_is_shown_in_short(engine: Engine) {
    let app = TestApp::start(engine).await;
    let person = app.person();
    let conversation = id(&person.post("/api/conversation", NEW).await.ok());
    for (text, role) in [("halo", "client"), ("among us", "note")] {
        let new = json!({"message": text, "type": "text", "role": role, "conversationId": conversation});
        person.post("/api/message", new).await.ok();
    }
    let newest = r#"{"id":"<id>","message":"among us","type":"text","role":"note","createdAt":"<time>"}"#;
    let data = shown(NEW).replace(
        r#""messageCount":0,"lastMessage":null"#,
        &format!(r#""messageCount":2,"lastMessage":{newest}"#),
    );
    let detail = person.get(&format!("/api/conversation/{conversation}")).await;
    detail.is(200, &format!(r#"{{"status":200,"data":{data}}}"#));
    assert_eq!(person.get("/api/conversation").await.ok()["data"][0], detail.ok()["data"]);
    app.stop().await;
}

async fn a_deleted_conversation_takes_its_messages_along(engine: Engine) {
    let app = TestApp::start(engine).await;
    let person = app.person();
    let mut chats = Vec::new();
    for _ in 0..2 {
        let conversation = id(&person.post("/api/conversation", NEW).await.ok());
        let new = json!({"message": "hi", "type": "text", "role": "client", "conversationId": conversation});
        chats.push((conversation, id(&person.post("/api/message", new).await.ok())));
    }
    let [(deleted, gone), (_, left)] = chats[..] else { unreachable!("two were made") };
    person.delete(&format!("/api/conversation/{deleted}")).await.ok();
    person.get(&format!("/api/message/{gone}")).await.is(400, MESSAGE_ID_INVALID);
    let messages = person.get("/api/message").await.ok();
    assert_eq!(column(&messages, "id"), [&json!(left.to_string())]);
    assert_eq!(messages["pagination"]["totalItems"], 1);
    assert_eq!(person.get("/api/conversation").await.ok()["pagination"]["totalItems"], 1);
    app.stop().await;
}
