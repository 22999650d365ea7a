//! Answers that come piece by piece.

use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::http::questions::messages;
use crate::http::wire::column;
use crate::support::{Engine, Events, Model, PATIENCE, TestApp, on_both_engines, until};

on_both_engines!(
    each_piece_is_passed_on_when_it_comes,
    what_a_client_leaves_behind_is_finished_and_stored,
    every_kind_of_bot_streams,
);

async fn with_model(engine: Engine) -> (TestApp, Model) {
    let model = Model::start().await;
    let bot = format!(
        "[[bot]]\nid = 'model'\nkind = 'openai'\nurl = '{}'\nmodel = 'm'\npublic = true\n",
        model.url
    );
    (TestApp::with(engine, &bot).await, model)
}

async fn stream(app: &TestApp, bot: &str, text: &str) -> Events {
    let visitor = app.anonymous().with("accept", "text/event-stream");
    visitor.post_for_events("/api/questions", &json!({"message": text, "botId": bot})).await
}

async fn each_piece_is_passed_on_when_it_comes(engine: Engine) {
    let (app, model) = with_model(engine).await;
    let mut events = stream(&app, "model", "halo").await;
    let mut next =
        async || timeout(Duration::from_secs(60), events.next()).await.expect("nothing is held back");
    assert_eq!(next().await.unwrap().0, "session");
    for piece in ["Ha", "lo", " \u{1f44b}\n", "  ", "\"x\""] {
        model.say(piece);
        assert_eq!(next().await, Some(("token".to_owned(), json!({"text": piece}))));
    }
    model.end();
    let (name, message) = next().await.unwrap();
    assert_eq!(name, "message");
    assert_eq!(column(&message, "text"), ["Halo \u{1f44b}\n  \"x\""]);
    assert_eq!(next().await, None);
    app.stop().await;
}

async fn what_a_client_leaves_behind_is_finished_and_stored(engine: Engine) {
    let (app, model) = with_model(engine).await;
    let program = app.program();
    let mut events = stream(&app, "model", "halo").await;
    model.say("Ha");
    events.next().await.unwrap();
    assert_eq!(events.next().await.unwrap().1, json!({"text": "Ha"}));
    drop(events);
    model.say("lo");
    model.end();
    let stored = async || messages(&program).await["pagination"]["totalItems"] == 2;
    until(PATIENCE, "the answer is stored", stored).await;
    assert_eq!(column(&messages(&program).await, "message"), ["halo", "Halo"]);
    app.stop().await;
}

/// A Langflow that answers as a real one did.
async fn langflow() -> String {
    let recorded = std::fs::read("crates/bots/cassettes/langflow-1.13/v1-stream.txt").unwrap();
    let answer = async move || ([(CONTENT_TYPE, "text/event-stream; charset=utf-8")], recorded);
    let router = Router::new().route("/api/v1/run/hours", post(answer));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

async fn every_kind_of_bot_streams(engine: Engine) {
    let (model, langflow) = (Model::start().await, langflow().await);
    let bots = format!(
        "[[bot]]\nid = 'guide'\nkind = 'documents'\npublic = true\n\
         [[bot]]\nid = 'flow'\nkind = 'langflow'\nurl = '{langflow}'\nflow = 'hours'\npublic = true\n\
         [[bot]]\nid = 'model'\nkind = 'openai'\nurl = '{}'\nmodel = 'm'\npublic = true\n",
        model.url
    );
    let app = TestApp::with(engine, &bots).await;
    model.say("A server for conversations.");
    model.end();
    for (bot, expected) in [
        ("guide", "Wicara"),
        ("echo", "echo: What is Wicara?"),
        ("flow", "Opening hours: 08.00 to 16.00"),
        ("model", "A server for conversations."),
    ] {
        let events = stream(&app, bot, "What is Wicara?").await.rest().await;
        let names: Vec<_> = events.iter().map(|(name, _)| name.as_str()).collect();
        let ([first, tokens @ .., last], true) = (names.as_slice(), names.len() > 2) else {
            panic!("{events:?}")
        };
        assert_eq!((*first, *last), ("session", "message"), "{bot}");
        assert!(tokens.iter().all(|name| *name == "token"), "{bot}");
        let said: String =
            events.iter().filter(|(name, _)| name == "token").map(|(_, data)| text(data)).collect();
        let answered: Vec<_> = column(&events.last().unwrap().1, "text").into_iter().map(text_of).collect();
        assert_eq!(said, answered.join("\n\n"), "{bot}");
        assert!(said.contains(expected), "{bot}: {said}");
    }
    app.stop().await;
}

fn text(token: &Value) -> String {
    text_of(&token["text"])
}

fn text_of(text: &Value) -> String {
    text.as_str().unwrap().to_owned()
}
