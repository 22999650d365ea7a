//! Deletions that are undone, and those whose time is over.

use serde_json::{Value, json};
use wicara_model::{Api, Bots, Role};

use super::questions::ask;
use super::wire::column;
use super::{CONVERSATION_ID_INVALID, MESSAGE_ID_INVALID, SESSION_NOT_FOUND};
use crate::store::{count, execute};
use crate::support::{Client, Engine, PATIENCE, TestApp, on_both_engines, until};

on_both_engines!(
    a_deleted_conversation_is_gone_and_comes_back_whole,
    a_deleted_message_is_gone_and_comes_back_to_its_place,
    what_is_not_brought_back_in_time_goes,
    who_had_it_may_be_gone,
);

async fn operator(app: &TestApp) -> Client {
    app.program_with(Role::Agent, Bots::All, Api::Conversation).await
}

/// What is said of a conversation wherever it is shown, with its messages.
async fn shown(client: &Client, id: &Value) -> Value {
    let conversation = client.get(&format!("/api/conversation/{id}")).await.ok()["data"].clone();
    let messages = client.get(&format!("/api/message?conversationId={id}")).await.ok();
    let list = client.get("/api/conversation").await.ok();
    let walked = client.get("/api/conversation?sort=activity").await.ok()["data"].clone();
    json!([conversation, messages, list, walked, client.get("/api/conversation/counts").await.ok()])
}

/// As if so much time had passed for what may be undone.
async fn end_undos(app: &TestApp) {
    execute(&app.database, "UPDATE undos SET until = until - 300000").await;
}

async fn a_deleted_conversation_is_gone_and_comes_back_whole(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (visitor, operator) = (app.anonymous(), operator(&app).await);
    let asked = ask(&visitor, "halo").await.ok();
    let (id, session) = (&asked["conversation_id"], asked["session_id"].as_str().unwrap());
    ask(&visitor, "another").await.ok();
    let note = json!({"message": "note", "type": "text", "role": "note", "conversationId": id});
    operator.post("/api/message", note).await.ok();
    operator.post(&format!("/api/conversation/{id}/seen"), json!({"upTo": asked["question_id"]})).await.ok();
    let path = format!("/api/conversation/{id}");
    operator.patch(&path, json!({"room": "mine", "userId": "u"})).await.ok();
    let before = shown(&operator, id).await;
    let mut feed = operator.follow("/api/events").await;
    feed.first("hello").await;

    let deleted = operator.delete(&format!("{path}?undo=30")).await;
    let plain = r#"{"status":200,"message":"Conversation deleted Successfuly"}"#;
    assert_eq!(deleted.ok()["status"], serde_json::from_str::<Value>(plain).unwrap()["status"]);
    assert_eq!(feed.first("conversation.deleted").await["conversation"], json!({"id": id.to_string()}));
    operator.get(&path).await.is(400, CONVERSATION_ID_INVALID);
    operator.get(&format!("/api/message/{}", asked["question_id"])).await.is(400, MESSAGE_ID_INVALID);
    visitor.get(&format!("/api/questions/{session}")).await.is(404, SESSION_NOT_FOUND);
    visitor.post("/api/questions", json!({"message": "halo", "session_id": session})).await.has_status(404);
    let list = operator.get("/api/conversation").await.ok();
    assert_eq!((column(&list, "room").len(), &list["pagination"]["totalItems"]), (1, &json!(1)));
    assert_eq!(operator.get(&format!("/api/message?conversationId={id}")).await.ok()["data"], json!([]));
    operator.delete(&path).await.is(400, CONVERSATION_ID_INVALID);

    let restored = operator.post(&format!("{path}/restore"), "").await.ok();
    assert_eq!((&restored["status"], &restored["message"]), (&json!(200), &json!("success")));
    assert_eq!(restored["data"], before[0]);
    assert_eq!(shown(&operator, id).await, before);
    let created = feed.first("conversation.created").await;
    assert_eq!((&created["reload"], &created["conversation"]["id"]), (&json!(true), &json!(id.to_string())));
    let answer = visitor.post("/api/questions", json!({"message": "halo", "session_id": session})).await.ok();
    assert_eq!(&answer["conversation_id"], id);
    // Again, it is as it is.
    operator.post(&format!("{path}/restore"), "").await.ok();
    // And once more, also after a start of the server.
    app.person().delete(&format!("{path}?undo=300")).await.ok();
    let database = app.stop().await;
    let app = TestApp::on(database, "").await;
    let person = app.person();
    person.get(&path).await.is(400, CONVERSATION_ID_INVALID);
    person.post(&format!("{path}/restore"), "").await.ok();
    let messages = person.get(&format!("/api/message?conversationId={id}")).await.ok();
    assert_eq!(column(&messages, "role"), ["client", "bot", "note", "client", "bot"]);
    app.stop().await;
}

async fn a_deleted_message_is_gone_and_comes_back_to_its_place(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (visitor, operator) = (app.anonymous(), operator(&app).await);
    let asked = ask(&visitor, "halo").await.ok();
    let id = &asked["conversation_id"];
    let mut feed = operator.follow("/api/events").await;
    feed.first("hello").await;
    // The newest, and one in the middle.
    for message in [&asked["message_ids"][0], &asked["question_id"]] {
        let path = format!("/api/message/{message}");
        let before = shown(&operator, id).await;
        operator.delete(&format!("{path}?undo=30")).await.ok();
        operator.get(&path).await.is(400, MESSAGE_ID_INVALID);
        let messages = operator.get(&format!("/api/message?conversationId={id}")).await.ok();
        assert_eq!((column(&messages, "id").len(), &messages["pagination"]["totalItems"]), (1, &json!(1)));
        feed.first("message.deleted").await;
        let restored = operator.post(&format!("{path}/restore"), "").await.ok();
        assert_eq!(
            (&restored["message"], &restored["data"]["id"]),
            (&json!("success"), &json!(message.to_string()))
        );
        assert_eq!(feed.first("message.created").await["message"], restored["data"]);
        let mut after = shown(&operator, id).await;
        for conversation in [0, 2, 3] {
            // The conversation's last activity is that it came back.
            let place = match conversation {
                0 => "/updatedAt",
                2 => "/data/0/updatedAt",
                _ => "/0/updatedAt",
            };
            let was = before[conversation].pointer(place).unwrap().clone();
            *after[conversation].pointer_mut(place).unwrap() = was;
        }
        assert_eq!(after, before);
        operator.post(&format!("{path}/restore"), "").await.ok();
    }
    let answer = ask(&visitor, "more").await.ok();
    assert!(answer["question_id"].as_i64() > asked["message_ids"][0].as_i64());
    // Not without its conversation, and not by those who do not see that.
    let path = format!("/api/message/{}", asked["question_id"]);
    operator.delete(&format!("{path}?undo=300")).await.ok();
    let other = app.program_with(Role::Agent, Bots::Only(vec!["other".into()]), Api::Conversation).await;
    other.post(&format!("{path}/restore"), "").await.is(400, MESSAGE_ID_INVALID);
    operator.delete(&format!("/api/conversation/{id}?undo=300")).await.ok();
    other.post(&format!("/api/conversation/{id}/restore"), "").await.is(400, CONVERSATION_ID_INVALID);
    operator.post(&format!("{path}/restore"), "").await.is(400, MESSAGE_ID_INVALID);
    operator.post(&format!("/api/conversation/{id}/restore"), "").await.ok();
    operator.post(&format!("{path}/restore"), "").await.ok();
    app.stop().await;
}

async fn what_is_not_brought_back_in_time_goes(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (visitor, operator) = (app.anonymous(), operator(&app).await);
    let gone = ask(&visitor, "halo").await.ok();
    let stays = ask(&visitor, "halo").await.ok();
    let conversation = format!("/api/conversation/{}", gone["conversation_id"]);
    let message = format!("/api/message/{}", stays["question_id"]);
    for (path, refused) in [(&conversation, "301"), (&message, "0"), (&conversation, "x"), (&message, "-1")] {
        let answer = operator.delete(&format!("{path}?undo={refused}")).await;
        assert_eq!(answer.has_status(400).json()["errors"][0]["field"], "undo", "{}", answer.text);
    }
    operator.delete(&format!("{conversation}?undo=1")).await.ok();
    operator.delete(&format!("{message}?undo=1")).await.ok();
    end_undos(&app).await;
    operator.post(&format!("{conversation}/restore"), "").await.is(400, CONVERSATION_ID_INVALID);
    operator.post(&format!("{message}/restore"), "").await.is(400, MESSAGE_ID_INVALID);
    // The rows go, and the totals with them.
    until(PATIENCE, "nothing is left of it", async || {
        operator.get("/api/message").await.ok()["pagination"]["totalItems"] == 1
    })
    .await;
    for table in ["undos", "deletions"] {
        until(PATIENCE, table, async || count(&app.database, table).await == 0).await;
    }
    assert_eq!(count(&app.database, "messages").await, 1);
    app.stop().await;
}

async fn who_had_it_may_be_gone(engine: Engine) {
    let app = TestApp::start(engine).await;
    let asked = ask(&app.anonymous(), "halo").await.ok();
    let path = format!("/api/conversation/{}", asked["conversation_id"]);
    let agent = app.person_with("agent@localhost", Role::Agent, Bots::All).await;
    agent.post(&format!("{path}/claim"), "{}").await.ok();
    agent.delete(&format!("{path}?undo=30")).await.ok();
    app.people().user_delete("agent@localhost", false).await.unwrap();
    let restored = app.person().post(&format!("{path}/restore"), "").await.ok();
    let data = &restored["data"];
    assert_eq!((&data["handler"], &data["assignee"]), (&json!("human"), &Value::Null));
    app.stop().await;
}
