//! What a bot says in place of an answer, with a status of success.

use serde_json::json;

use crate::support::{Engine, TestApp, on_both_engines};

on_both_engines!(a_failure_is_stored_as_one);

async fn a_failure_is_stored_as_one(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (visitor, program) = (app.anonymous(), app.program());
    for said in [
        r#"{"error":"overloaded, key sk-123"}"#,
        r#"[{"text":"","error":{"message":"key sk-123"}}]"#,
        r#"{"id":"sk-123","suggest_links":[]}"#,
        r#"{"text":"key sk-123","category":"error"}"#,
    ] {
        let asked = json!({"message": format!("say {said}")});
        let failed = visitor.post("/api/questions", &asked).await;
        failed.has_status(502);
        assert!(!failed.text.contains("sk-123"), "{}", failed.text);
        let session = failed.json()["session_id"].as_str().unwrap().to_owned();
        let thread = visitor.get(&format!("/api/questions/{session}")).await.ok();
        let messages = thread["data"]["messages"].as_array().unwrap();
        assert_eq!(messages.len(), 1, "{thread}");
        assert!(messages[0]["failure"]["reason"].is_string(), "{thread}");
        let list = program.get("/api/message").await.ok();
        assert!(list["data"].as_array().unwrap().iter().all(|message| message["role"] == "client"), "{list}");
    }
    app.stop().await;
}
