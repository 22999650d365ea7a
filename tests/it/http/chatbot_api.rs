//! The Chatbot API, example by example: questions and what programs read of them.

use serde_json::{Value, json};
use uuid::Uuid;
use wiremock::matchers::body_json;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{ID_INVALID, NOT_FOUND, SESSION_NOT_FOUND, Shape};
use crate::support::{Client, Engine, TestApp, on_both_engines};

on_both_engines!(
    the_question_example_for_everybody,
    the_error_examples_of_a_question,
    the_list_and_detail_examples,
);

/// What the document's bot says, as the document has it.
pub const ANSWER: &str = r#"{
      "text":"I'm here to assist you with inquiries related to the Public Information Disclosure website and the Online Aspirations and Complaints Service in East Java. However, it seems your message doesn't contain a specific question or topic related to these                       services. Could you please clarify your inquiry? 😊",
      "properties":{
      "source": {
          "id": "OpenAIModel-b1JlZ",
          "display_name": "OpenAI",
          "source": "gpt-4o-mini"
      },
      "icon": "OpenAI",
      "allow_markdown": false,
      "state": "complete",
      "text_color": "",
      "background_color": ""
    },
      "category":"message",
      "id":"803966c8-c95c-4a6a-99af-1e9ef2bcda01",
      "flow_id":"52776abd-422d-40f0-a44a-dd074ecf6c40",
      "suggest_links":[]
    }"#;

/// The bot's answer as a value.
pub fn answer() -> Value {
    serde_json::from_str(ANSWER).unwrap()
}

pub async fn start(engine: Engine) -> (TestApp, MockServer) {
    let bot = MockServer::start().await;
    let app = with_document(engine, &bot, "").await;
    let body = format!(r#"{{"data":{{"message":[{ANSWER}]}}}}"#);
    Mock::given(wiremock::matchers::method("POST"))
        .respond_with(ResponseTemplate::new(200).set_body_raw(body, "application/json"))
        .with_priority(9)
        .mount(&bot)
        .await;
    (app, bot)
}

pub async fn with_document(engine: Engine, bot: &MockServer, more: &str) -> TestApp {
    let uri = bot.uri();
    let more =
        format!("{more}\n[[bot]]\nid = \"majadigi\"\nkind = \"http\"\nurl = \"{uri}\"\npublic = true\n");
    TestApp::with(engine, &more).await
}

pub async fn ask(client: &Client) -> (Value, String) {
    let asked = client.post("/api/questions", &json!({"message": "halo", "botId": "majadigi"})).await.ok();
    let session = asked["session_id"].as_str().unwrap().to_owned();
    (asked, session)
}

pub async fn newest(program: &Client) -> i64 {
    program.get("/api/conversation?limit=1").await.ok()["data"][0]["id"].as_i64().unwrap()
}

async fn the_question_example_for_everybody(engine: Engine) {
    let (app, bot) = start(engine).await;
    for caller in [app.anonymous(), app.person(), app.program()] {
        let (_, session) = ask(&app.anonymous()).await;
        let mut question = json!({"message": "halo", "session_id": session});
        let passed_on = json!({"question": "halo", "session_id": session});
        let said = format!(r#"{{"data":{{"message":[{ANSWER}]}}}}"#);
        Mock::given(body_json(passed_on))
            .respond_with(ResponseTemplate::new(200).set_body_raw(said, "application/json"))
            .with_priority(1)
            .expect(2)
            .mount(&bot)
            .await;
        // Nothing is added to a whole answer.
        let answer = caller.post("/api/questions", &question).await;
        let ids =
            r#""session_id":"<session>","conversation_id":<id>,"question_id":<id>,"message_ids":[<id>]"#;
        answer.is(200, &format!(r#"{{"status":200,"message":"success",{ids},"data":[{ANSWER}]}}"#));
        assert_eq!(answer.json()["session_id"], session);
        question["session_id"] = session.to_uppercase().into();
        assert_eq!(caller.post("/api/questions", &question).await.ok()["session_id"], session);
    }
    bot.verify().await;
    app.stop().await;
}

async fn the_error_examples_of_a_question(engine: Engine) {
    let app = TestApp::start(engine).await;
    let visitor = app.anonymous();
    visitor.post("/api/questions", "{}").await.is(400, &Shape::Chatbot.broken(&[("required", "message")]));
    let unknown = Uuid::new_v4();
    let question = json!({"message": "halo", "session_id": unknown});
    visitor.post("/api/questions", &question).await.is(404, SESSION_NOT_FOUND);
    visitor.get(&format!("/api/questions/{unknown}")).await.is(404, SESSION_NOT_FOUND);
    app.program().post("/api/questions", &question).await.is(404, SESSION_NOT_FOUND);
    assert_eq!(app.bot.asked(), 0);
    assert_eq!(app.program().get("/api/conversation").await.ok()["meta"]["total"], 0);
    app.stop().await;
}

async fn the_list_and_detail_examples(engine: Engine) {
    let (app, _bot) = start(engine).await;
    let program = app.program();
    for _ in 0..20 {
        ask(&app.anonymous()).await;
    }
    let list = program.get("/api/conversation?page=1&limit=10").await.ok();
    assert_eq!(list["data"].as_array().unwrap().len(), 10);
    let documented = json!({
        "total": 20, "perPage": 10, "currentPage": 1, "lastPage": 2,
        "nextPageUrl": "/api/conversation?page=2&limit=10", "prevPageUrl": null,
    });
    assert_eq!(list["meta"], documented);
    program.get("/api/conversation?page=20&limit=1").await.is(
        200,
        &r#"{"status":200,"message":"success",
            "meta":{"total":20,"perPage":1,"currentPage":20,"lastPage":20,
                "nextPageUrl":null,"prevPageUrl":"/api/conversation?page=19&limit=1"},
            "data":[{"id":<id>,"session_id":"<session>","last_messages":ANSWER,"messages":[
                {"id":<id>,"sender_type":"question","message":"halo",
                    "createdAt":"<time>","updatedAt":"<time>","conversationId":<id>},
                {"id":<id>,"sender_type":"answer","message":ANSWER,
                    "createdAt":"<time>","updatedAt":"<time>","conversationId":<id>}],
                "messageCount":2,"room":"website-<id>","integrationType":"website","botId":"majadigi",
                "handler":"bot","createdAt":"<time>","updatedAt":"<time>"}]}"#
            .replace("ANSWER", ANSWER),
    );

    let detail = program.get(&format!("/api/conversation/{}", newest(&program).await)).await;
    assert!(detail.text.contains(&format!(r#""message":{ANSWER},"#)), "byte for byte: {}", detail.text);
    detail.is(
        200,
        &r#"{"status":200,"message":"success","data":{"id":<id>,"session_id":"<session>",
            "lastMessages":ANSWER,"messageCount":2,"room":"website-<id>","integrationType":"website",
            "botId":"majadigi","handler":"bot","createdAt":"<time>","updatedAt":"<time>","messages":[
                {"id":<id>,"sender_type":"question","message":"halo",
                    "createdAt":"<time>","updatedAt":"<time>","conversationId":<id>},
                {"id":<id>,"sender_type":"answer","message":ANSWER,
                    "createdAt":"<time>","updatedAt":"<time>","conversationId":<id>}]}}"#
            .replace("ANSWER", ANSWER),
    );
    let data = &detail.json()["data"];
    assert_eq!(data["messages"][0]["conversationId"], data["id"]);

    for path in ["/api/conversation/abc", "/api/conversation/9223372036854775808"] {
        program.get(path).await.is(400, ID_INVALID);
    }
    for path in ["/api/conversation/0", "/api/conversation/999999"] {
        program.get(path).await.is(404, NOT_FOUND);
    }
    app.stop().await;
}
