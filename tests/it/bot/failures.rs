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
        let list = program.get("/api/message").await.ok();
        for message in list["data"].as_array().unwrap() {
            assert_eq!(message["role"], "client", "{list}");
            assert!(message["failure"]["reason"].is_string(), "{list}");
        }
    }
    app.stop().await;
}
