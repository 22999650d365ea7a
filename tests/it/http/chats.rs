//! The Chatbot API's examples of deleting, and to whom it shows what.

use serde_json::{Value, json};
use wicara_model::{Api, Bots, Role};
use wiremock::MockServer;

use super::chatbot_api::{ANSWER, answer, ask, newest, start, with_document};
use super::wire::{column, id};
use super::{CONVERSATION_ID_INVALID, ID_INVALID, NOT_FOUND, UNAUTHENTICATED};
use crate::support::{Engine, TestApp, on_both_engines};

on_both_engines!(
    the_delete_examples,
    a_message_is_deleted_in_these_words_for_everybody,
    the_newest_message_stands_as_the_text_or_the_object,
    each_caller_reads_its_own_document,
    without_credentials_the_lists_are_closed_unless_opened,
    notes_are_not_shown,
);

async fn the_delete_examples(engine: Engine) {
    let (app, _bot) = start(engine).await;
    let program = app.program();
    let (_, session) = ask(&app.anonymous()).await;
    let path = format!("/api/conversation/{}", newest(&program).await);
    let deleted = program.delete(&path).await;
    assert_eq!(deleted.json()["data"]["session_id"], session);
    deleted.is(
        200,
        &r#"{"status":200,"message":"success","data":{"id":<id>,"session_id":"<session>",
            "last_messages":ANSWER,"messageCount":2,"room":"website-<id>","integrationType":"website",
            "botId":"majadigi","handler":"bot","createdAt":"<time>","updatedAt":"<time>"}}"#
            .replace("ANSWER", ANSWER),
    );
    program.delete(&path).await.is(404, NOT_FOUND);
    program.get(&path).await.is(404, NOT_FOUND);
    program.delete("/api/conversation/conversation-123").await.is(400, ID_INVALID);
    app.anonymous().get(&format!("/api/questions/{session}")).await.has_status(404);
    assert_eq!(program.get("/api/message").await.ok()["pagination"]["totalItems"], 0);
    app.stop().await;
}

async fn a_message_is_deleted_in_these_words_for_everybody(engine: Engine) {
    let (app, _bot) = start(engine).await;
    let program = app.program();
    let other = app.program_with(Role::Agent, Bots::All, Api::Conversation).await;
    for caller in [app.person(), program.clone(), other] {
        let (_, session) = ask(&app.anonymous()).await;
        let conversation = newest(&program).await;
        let messages = program.get(&format!("/api/message?conversationId={conversation}")).await.ok();
        let message = messages["data"][1]["id"].as_str().unwrap();
        let path = format!("/api/conversation/message/{message}");
        let deleted = caller.delete(&path).await;
        assert_eq!(id(&deleted.json()).to_string(), message);
        assert_eq!(deleted.json()["data"]["conversation_id"], conversation);
        deleted.is(
            200,
            &r#"{"status":200,"message":"success","data":{"id":<id>,"sender_type":"answer","message":ANSWER,
                "created_at":"<time>","updated_at":"<time>","conversation_id":<id>}}"#
                .replace("ANSWER", ANSWER),
        );
        for path in [path.as_str(), "/api/conversation/message/999999"] {
            caller.delete(path).await.is(404, NOT_FOUND);
        }
        caller.delete("/api/conversation/message/message-123").await.is(400, ID_INVALID);
        let left = app.anonymous().get(&format!("/api/questions/{session}")).await.ok();
        assert_eq!(left["data"]["messages"].as_array().unwrap().len(), 1);
    }
    app.stop().await;
}

async fn the_newest_message_stands_as_the_text_or_the_object(engine: Engine) {
    let (app, _bot) = start(engine).await;
    let program = app.program();
    let opened =
        program.post("/api/conversation", &json!({"room": "r", "integrationType": "telegram"})).await;
    let conversation = id(&opened.ok());
    let path = format!("/api/conversation/{conversation}");
    let last = async || {
        let listed = program.get("/api/conversation?limit=1").await.ok()["data"][0]["last_messages"].clone();
        let detail = program.get(&path).await.ok()["data"]["lastMessages"].clone();
        assert_eq!(listed, detail);
        listed
    };
    assert_eq!(last().await, Value::Null);
    for (text, role, newest) in
        [("halo", "client", "halo"), ("psst", "note", "halo"), (r#"{"text":1}"#, "bot", r#"{"text":1}"#)]
    {
        let new = json!({"message": text, "type": "text", "role": role, "conversationId": conversation});
        program.post("/api/message", new).await.ok();
        assert_eq!(last().await, newest);
    }
    program.get(&path).await.is(
        200,
        r#"{"status":200,"message":"success","data":{"id":<id>,"session_id":"<session>",
            "lastMessages":"{\"text\":1}","messageCount":2,"room":"r","integrationType":"telegram",
            "botId":"echo","handler":"bot","createdAt":"<time>","updatedAt":"<time>","messages":[
                {"id":<id>,"sender_type":"question","message":"halo",
                    "createdAt":"<time>","updatedAt":"<time>","conversationId":<id>},
                {"id":<id>,"sender_type":"answer","message":"{\"text\":1}",
                    "createdAt":"<time>","updatedAt":"<time>","conversationId":<id>}]}}"#,
    );
    assert_eq!(program.delete(&path).await.ok()["data"]["last_messages"], "{\"text\":1}");
    app.stop().await;
}

async fn each_caller_reads_its_own_document(engine: Engine) {
    let (app, _bot) = start(engine).await;
    ask(&app.anonymous()).await;
    let program = app.program();
    let path = format!("/api/conversation/{}", newest(&program).await);
    let rooms = [app.person(), app.program_with(Role::Viewer, Bots::All, Api::Conversation).await];
    for caller in rooms {
        let list = caller.get("/api/conversation").await;
        let detail = caller.get(&path).await;
        assert_eq!(list.ok()["data"][0], detail.ok()["data"]);
        assert!(!list.text.contains("session_id") && !detail.text.contains("session_id"));
        detail.is(
            200,
            r#"{"status":200,"data":{"room":"website-<id>","integrationType":"website","botId":"majadigi",
                "id":"<id>","userId":null,"handler":"bot","assignee":null,"handedOverAt":null,"handoverReason":null,"unreadCount":0,"seenByVisitorUpTo":null,"messageCount":2,"lastMessage":{"id":"<id>",
                "message":"I'm here to assist you with inquiries related to the Public Information Disclosure website and the Online Aspirations and Complaints Service in East Java. However, it seems your message doesn't contain a specific question or topic related to these                       services. Could you please clarify your inquiry? 😊",
                "type":"text","role":"bot","createdAt":"<time>"},"createdAt":"<time>","updatedAt":"<time>"}}"#);
        caller.get("/api/conversation/999999").await.is(400, CONVERSATION_ID_INVALID);
    }
    // A key beside a cookie is the one that counts.
    let both = app.person().with("x-api-key", &app.key(Role::Viewer, Bots::All, Api::Chatbot).await);
    assert_eq!(both.get(&path).await.text, program.get(&path).await.text);
    app.stop().await;
}

async fn without_credentials_the_lists_are_closed_unless_opened(engine: Engine) {
    let bot = MockServer::start().await;
    let app = with_document(engine, &bot, "auth.anonymous = \"chatbot-api\"\n").await;
    let closed = TestApp::start(engine).await;
    let (anonymous, program) = (app.anonymous(), app.program());
    anonymous.post("/api/questions", &json!({"message": "halo"})).await.ok();
    let conversation = newest(&anonymous).await;
    let path = format!("/api/conversation/{conversation}");
    for path in ["/api/conversation", path.as_str()] {
        assert_eq!(anonymous.get(path).await.text, program.get(path).await.text);
        closed.anonymous().get(path).await.is(401, UNAUTHENTICATED);
    }
    let messages = anonymous.get(&path).await.ok()["data"]["messages"].clone();
    let message = format!("/api/conversation/message/{}", messages[1]["id"]);
    for path in [message, path] {
        closed.anonymous().delete(&path).await.is(401, UNAUTHENTICATED);
        assert_eq!(anonymous.delete(&path).await.ok()["message"], "success");
    }
    for path in ["/api/message", "/api/auth/me"] {
        // No other document stands open.
        anonymous.get(path).await.is(401, UNAUTHENTICATED);
    }
    app.stop().await;
    closed.stop().await;
}

async fn notes_are_not_shown(engine: Engine) {
    let (app, _bot) = start(engine).await;
    let (person, program) = (app.person(), app.program());
    let (_, session) = ask(&app.anonymous()).await;
    let conversation = newest(&program).await;
    let mut ids = Vec::new();
    for role in ["note", "agent"] {
        let text = format!("by a {role}");
        let new = json!({"message": text, "type": "text", "role": role, "conversationId": conversation});
        ids.push(id(&person.post("/api/message", &new).await.ok()));
    }
    let path = format!("/api/conversation/{conversation}");
    for answer in [
        program.get("/api/conversation").await,
        program.get(&path).await,
        app.anonymous().get(&format!("/api/questions/{session}")).await,
    ] {
        let shown = answer.ok();
        let data = if shown["data"].is_array() { &shown["data"][0] } else { &shown["data"] };
        assert_eq!(data["messages"].as_array().unwrap().len(), 3);
        assert!(answer.text.contains("by a agent") && !answer.text.contains("by a note"), "{}", answer.text);
        assert!(data["messageCount"].is_null() || data["messageCount"] == 3);
        let sender = &data["messages"][2]["sender_type"];
        assert!(sender.is_null() || sender == "answer", "an operator answers: {}", answer.text);
    }
    assert_eq!(column(&person.get("/api/message").await.ok(), "role")[2..], ["note", "agent"]);
    // The note is the newest, and still not shown.
    person.delete(&format!("/api/message/{}", ids[1])).await.ok();
    let detail = program.get(&path).await.ok();
    assert_eq!(detail["data"]["lastMessages"], answer());
    assert_eq!(program.get("/api/conversation").await.ok()["data"][0]["last_messages"], answer());
    for caller in [&program, &person] {
        caller.delete(&format!("/api/conversation/message/{}", ids[0])).await.is(404, NOT_FOUND);
    }
    let deleted = program.delete(&path).await.ok();
    assert_eq!(deleted["data"]["last_messages"], answer());
    app.stop().await;
}
