//! The Message API, example by example. Every answer has the fields of the document's, in the document's order, and ours
//! behind them.

use serde_json::{Value, json};
use wicara_model::{Api, Bots, Role};

use super::wire::{column, id};
use super::{CONVERSATION_ID_INVALID, MESSAGE_ID_INVALID, Shape, UNAUTHENTICATED};
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

const CHANGE: &str = r#"{"message":"hii!! updated","type":"text updated","role":"bot updated"}"#;

/// The document's example, in a conversation that exists.
fn new(conversation: i64) -> Value {
    json!({"message": "hii!!", "type": "text", "role": "bot", "conversationId": conversation.to_string()})
}

/// A message with these first fields, as it is shown.
fn shown(fields: &str, author: &str) -> String {
    format!(
        r#"{{{fields},"conversationId":"<id>","id":"<id>","replyTo":null,"payload":null,"failure":null,"feedback":null,"author":{author},"createdAt":"<time>","updatedAt":"<time>"}}"#
    )
}

/// The author of a client's messages.
async fn author(client: &Client) -> String {
    let me = client.get("/api/auth/me").await.ok()["data"].clone();
    if me.get("email").is_some() {
        return r#"{"id":"<id>","kind":"person","name":"admin"}"#.into();
    }
    let (id, name) = (me["id"].as_str().unwrap(), me["name"].as_str().unwrap());
    format!(r#"{{"id":"key-{id}","kind":"program","name":"{name}"}}"#)
}

async fn conversation(client: &Client) -> i64 {
    let new = json!({"room": "client1-123 + client2-123", "integrationType": "whatsapp"});
    id(&client.post("/api/conversation", new).await.ok())
}

async fn the_examples_for_a_person(engine: Engine) {
    let app = TestApp::start(engine).await;
    the_examples(&app, &app.person()).await;
    app.stop().await;
}

async fn the_examples_for_a_program(engine: Engine) {
    let app = TestApp::start(engine).await;
    the_examples(&app, &app.program()).await;
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
        client.post("/api/message", new(conversation)).await.ok();
    }
    let author = author(client).await;
    let message = shown(r#""message":"hii!!","type":"text","role":"bot""#, &author);
    let pagination = r#"{"page":1,"pageSize":2,"totalPages":5,"totalItems":10}"#;
    let list = format!(r#"{{"status":200,"data":[{message},{message}],"pagination":{pagination}}}"#);
    client.get(&format!("/api/message?page=&limit=2&conversationId={conversation}")).await.is(200, &list);

    let created = client.post("/api/message", new(conversation)).await;
    created
        .is(200, &format!(r#"{{"status":200,"message":"Message created succesfully!!","data":{message}}}"#));
    assert_eq!(created.ok()["data"]["conversationId"], conversation.to_string());
    let path = format!("/api/message/{}", id(&created.ok()));
    let detail = client.get(&path).await;
    detail.is(200, &format!(r#"{{"status":200,"data":{message}}}"#));
    assert_eq!(detail.ok()["data"], created.ok()["data"]);
    let changed = shown(CHANGE.trim_matches(['{', '}']), &author);
    let updated = format!(r#"{{"status":200,"message":"Message updated successufully!!","data":{changed}}}"#);
    client.patch(&path, CHANGE).await.is(200, &updated);

    let missing = ["message", "type", "role", "conversationId"].map(|field| ("required", field));
    client.post("/api/message", "{}").await.is(400, &Shape::Rooms.broken(&missing));
    let refused = Shape::Rooms.broken(&[("required", "message")]);
    client.patch(&path, r#"{"message":""}"#).await.is(400, &refused);

    client.delete(&path).await.is(200, r#"{"status":200,"message":"Message deleted Successfuly"}"#);
    for path in [path.as_str(), "/api/message/message-123", "/api/message/999999"] {
        client.get(path).await.is(400, MESSAGE_ID_INVALID);
        client.patch(path, CHANGE).await.is(400, MESSAGE_ID_INVALID);
        client.delete(path).await.is(400, MESSAGE_ID_INVALID);
    }
    assert_eq!(app.bot.asked(), 0);
}

async fn without_credentials_nothing_is_told(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (person, nobody) = (app.person(), app.anonymous());
    let conversation = conversation(&person).await;
    let path = format!("/api/message/{}", id(&person.post("/api/message", new(conversation)).await.ok()));
    nobody.post("/api/message", new(conversation)).await.is(401, UNAUTHENTICATED);
    nobody.get("/api/message").await.is(401, UNAUTHENTICATED);
    nobody.get(&path).await.is(401, UNAUTHENTICATED);
    nobody.patch(&path, CHANGE).await.is(401, UNAUTHENTICATED);
    nobody.delete(&path).await.is(401, UNAUTHENTICATED);
    nobody.get("/api/message/999999").await.is(401, UNAUTHENTICATED);
    app.stop().await;
}

async fn a_message_is_stored_and_no_bot_asked(engine: Engine) {
    let app = TestApp::start(engine).await;
    let person = app.person();
    let conversation = conversation(&person).await;
    for (role, kind) in [("client", "text"), ("agent", "voice"), ("somebody", "something")] {
        let new = json!({"message": " halo\n", "type": kind, "role": role, "conversationId": conversation});
        let created = person.post("/api/message", new).await.ok()["data"].clone();
        let [message, shown_role, shown_kind] = ["message", "role", "type"].map(|field| &created[field]);
        assert_eq!((message, shown_role, shown_kind), (&json!(" halo\n"), &json!(role), &json!(kind)));
    }
    let all = person.get("/api/message").await.ok();
    assert_eq!(column(&all, "role"), ["client", "agent", "somebody"]);
    assert_eq!(app.bot.asked(), 0);
    app.stop().await;
}

async fn the_conversation_of_a_message_has_to_be_known(engine: Engine) {
    let app = TestApp::start(engine).await;
    let person = app.person();
    let conversation = conversation(&person).await;
    let within = |id: Value| json!({"message": "hii!!", "type": "text", "role": "bot", "conversationId": id});
    for unknown in
        [json!("conversation-123"), json!("999999"), json!(999_999), json!(0), json!("1.5"), json!(-1)]
    {
        person.post("/api/message", within(unknown)).await.is(400, CONVERSATION_ID_INVALID);
    }
    let stranger = app.program_with(Role::Agent, Bots::Only(vec!["other".into()]), Api::Chatbot).await;
    stranger.post("/api/message", new(conversation)).await.is(400, CONVERSATION_ID_INVALID);
    let missing = Shape::Rooms.broken(&[("required", "conversationId")]);
    person.post("/api/message", within(json!(""))).await.is(400, &missing);
    assert_eq!(person.get("/api/message").await.ok()["pagination"]["totalItems"], 0);
    app.stop().await;
}

async fn an_update_changes_what_it_names(engine: Engine) {
    let app = TestApp::start(engine).await;
    let person = app.person();
    let (here, there) = (conversation(&person).await, conversation(&person).await);
    let created = person.post("/api/message", new(here)).await.ok();
    let path = format!("/api/message/{}", id(&created));
    for nothing in [json!({}), json!({"conversationId": there, "replyTo": "1", "payload": {}, "id": 1})] {
        assert_eq!(person.patch(&path, nothing).await.ok()["data"], created["data"]);
    }
    let mut expected = created["data"].clone();
    for (field, value) in [("message", "halo"), ("type", "image"), ("role", "client")] {
        let updated = person.patch(&path, json!({field: value})).await.ok();
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
    let program = app.program();
    program.post("/api/questions", json!({"message": format!("say [{SAID}]")})).await.ok();
    let list = program.get("/api/message").await;
    let listed = list.ok();
    assert!(list.text.contains(&format!(r#""payload":{SAID},"#)), "{}", list.text);
    assert_eq!(column(&listed, "role"), ["client", "bot"]);
    assert_eq!(column(&listed, "replyTo"), [&Value::Null, &listed["data"][0]["id"]]);
    assert_eq!(column(&listed, "message")[1], "halo 😊");
    assert_eq!(column(&listed, "failure"), [&Value::Null, &Value::Null]);
    let path = format!("/api/message/{}", listed["data"][1]["id"].as_str().unwrap());
    let author = r#"{"id":"echo","kind":"bot","name":"echo"}"#;
    let answer = shown(r#""message":"halo 😊","type":"text","role":"bot""#, author)
        .replace(r#""replyTo":null,"payload":null"#, &format!(r#""replyTo":"<id>","payload":{SAID}"#));
    program.get(&path).await.is(200, &format!(r#"{{"status":200,"data":{answer}}}"#));
    app.stop().await;
}

async fn a_new_text_becomes_the_payloads(engine: Engine) {
    let app = TestApp::start(engine).await;
    for client in [app.person(), app.program()] {
        let asked = client.post("/api/questions", json!({"message": format!("say [{SAID}]")})).await.ok();
        let newest = client.get("/api/message?order=desc&limit=1").await.ok();
        let path = format!("/api/message/{}", newest["data"][0]["id"].as_str().unwrap());
        let updated = client.patch(&path, json!({"message": "a \"new\" text"})).await;
        assert_eq!(updated.ok()["data"]["message"], "a \"new\" text");
        // The other fields keep their text; only the space between them is not kept.
        let payload =
            r#"{"text":"a \"new\" text","score":1.00,"z":[1e2, {"k":"\u0041"}],"category":"message"}"#;
        for answer in [
            updated,
            client.get(&path).await,
            app.program().get("/api/conversation").await,
            app.anonymous().get(&format!("/api/questions/{}", asked["session_id"].as_str().unwrap())).await,
        ] {
            assert!(answer.text.contains(payload), "{}: {}", answer.request, answer.text);
        }
    }
    app.stop().await;
}
