//! What a bot that wants to know is told of the conversation so far.

use serde_json::{Value, json};
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::support::{Engine, TestApp, on_both_engines};

on_both_engines!(a_model_is_told_the_conversation_so_far);

async fn a_model_is_told_the_conversation_so_far(engine: Engine) {
    let model = MockServer::start().await;
    Mock::given(method("POST"))
        .respond_with(
            ResponseTemplate::new(200).set_body_json(json!({"choices": [{"message": {"content": "Hi."}}]})),
        )
        .mount(&model)
        .await;
    let bot = format!(
        "[[bot]]\nid = 'model'\nkind = 'openai'\nurl = '{}/v1'\nmodel = 'm'\npublic = true\nhistory = 3\n",
        model.uri()
    );
    let app = TestApp::with(engine, &bot).await;
    let visitor = app.anonymous();
    let mut session = Value::Null;
    for text in ["one", "two", "three"] {
        let body = json!({"message": text, "botId": "model", "session_id": session});
        session = visitor.post("/api/questions", &body).await.ok()["session_id"].clone();
    }
    let requests = model.received_requests().await.unwrap();
    let told: Vec<Value> =
        requests.iter().map(|request| request.body_json::<Value>().unwrap()["messages"].take()).collect();
    let (user, model) = (
        |text: &str| json!({"role": "user", "content": text}),
        json!({"role": "assistant", "content": "Hi."}),
    );
    assert_eq!(told[0], json!([user("one")]));
    assert_eq!(told[1], json!([user("one"), model, user("two")]));
    // The three messages before it begin with an answer, which is left out.
    assert_eq!(told[2], json!([user("two"), model, user("three")]));
    app.stop().await;
}
