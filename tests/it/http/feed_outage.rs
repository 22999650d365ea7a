//! Streams while the database is away: who reads them cannot be looked up.

use serde_json::json;
use wicara_model::{Api, Bots, Role};

use crate::support::{Model, PATIENCE, TestApp, until};

#[tokio::test(flavor = "multi_thread")]
async fn live_text_waits_until_the_database_says_who_reads() {
    let model = Model::start().await;
    let (app, proxy) = TestApp::behind_proxy(&model.bot()).await;
    let program = app.program_with(Role::Viewer, Bots::All, Api::Chatbot).await;
    let visitor = app.anonymous().with("accept", "text/event-stream");
    let mut answer =
        visitor.post_for_events("/api/questions", &json!({"message": "halo", "botId": "model"})).await;
    let (_, session) = answer.next().await.unwrap();
    let path = format!("/api/events?conversationId={}", session["conversation_id"]);
    let mut feed = program.follow(&path).await;
    model.say("a");
    answer.next().await.unwrap();
    assert_eq!(feed.first("answer.delta").await["text"], "a");

    proxy.refuse();
    proxy.cut();
    until(PATIENCE, "the key is not believed any more", async || {
        program.get("/api/auth/me").await.status == 503
    })
    .await;
    // Its asker has the text at once.
    for text in ["b", "c"] {
        model.say(text);
        answer.next().await.unwrap();
    }
    proxy.accept();
    let delta = feed.first("answer.delta").await;
    assert_eq!((&delta["text"], &delta["offset"]), (&json!("bc"), &json!(1)));
    model.end();
    let answered = feed.first("message.created").await;
    assert_eq!(answered["message"]["message"], "abc");
    answer.rest().await;
    drop(feed);
    app.stop().await;
}
