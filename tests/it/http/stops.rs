//! Answers that are stopped, and those that people cut off, at each step of a question.

use reqwest::Method;
use serde_json::{Value, json};
use wicara_model::{Api, Bots, Role};

use super::questions::ask;
use super::wire::column;
use crate::store::execute;
use crate::support::{Client, Engine, Events, Model, PATIENCE, TestApp, on_both_engines, until, within};

on_both_engines!(
    a_stop_with_nothing_stored_is_a_failure,
    a_hand_over_with_nothing_stored_is_none,
    what_had_come_is_stored_once,
    what_comes_after_the_end_of_the_wish_is_marked,
    a_failure_after_a_hand_over_is_none,
    a_retry_in_a_conversation_of_people_asks_nobody,
    another_server_ends_the_answer,
    a_stop_touches_nothing_else,
    a_model_is_told_who_said_what,
);

const KEY: &str = "0123456789abcdef";

/// A bot that says a piece when the test does.
async fn with_model(engine: Engine) -> (TestApp, Model) {
    let model = Model::start().await;
    (TestApp::with(engine, &model.bot()).await, model)
}

fn keyed(app: &TestApp) -> Client {
    app.anonymous().with("idempotency-key", KEY)
}

/// The only conversation, and the messages in it, as an operator sees them.
async fn stored(app: &TestApp) -> (Value, Vec<Value>) {
    let program = app.program_with(Role::Admin, Bots::All, Api::Conversation).await;
    let conversations = program.get("/api/conversation").await.ok()["data"].clone();
    assert_eq!(conversations.as_array().unwrap().len(), 1);
    let messages = program.get("/api/message").await.ok()["data"].as_array().unwrap().clone();
    (conversations[0].clone(), messages)
}

/// Ends an answer that is being given, in one of the ways there are.
#[derive(Debug, Clone, Copy)]
pub enum Way {
    VisitorStops,
    OperatorStops,
    VisitorHandsOver,
    OperatorClaims,
    OperatorHandsOver,
}

impl Way {
    pub const STOPS: [Self; 2] = [Self::VisitorStops, Self::OperatorStops];
    pub const HAND_OVERS: [Self; 3] = [Self::VisitorHandsOver, Self::OperatorClaims, Self::OperatorHandsOver];

    pub async fn go(self, app: &TestApp, conversation: &Value, session: &str) {
        let (visitor, person) = (app.anonymous(), app.person());
        let path = format!("/api/conversation/{}", conversation.as_str().unwrap());
        let thread = format!("/api/questions/{session}");
        match self {
            Self::VisitorStops => visitor.delete(&format!("{thread}/answer")).await,
            Self::OperatorStops => person.delete(&format!("{path}/answer")).await,
            Self::VisitorHandsOver => visitor.post(&format!("{thread}/handover"), "").await,
            Self::OperatorClaims => person.post(&format!("{path}/claim"), "{}").await,
            Self::OperatorHandsOver => person.patch(&path, json!({"handler": "human"})).await,
        }
        .ok();
    }
}

/// Asks what the bot holds, ends that, and returns what the asker got and what a retry gets.
async fn held_and_ended(app: &TestApp, way: Way) -> (Value, Value) {
    let question = json!({"message": "held 1"});
    let asking = {
        let (client, question) = (keyed(app), question.clone());
        tokio::spawn(async move { client.post("/api/questions", &question).await })
    };
    app.bot.until_asked(1).await;
    let (conversation, _) = stored(app).await;
    let session = app.program().get("/api/conversation").await.ok()["data"][0]["session_id"].clone();
    way.go(app, &conversation["id"], session.as_str().unwrap()).await;
    let answer = within(PATIENCE, "the asker is told", asking).await.unwrap().ok();
    let again = keyed(app).post("/api/questions", &question).await.ok();
    assert_eq!(app.bot.asked(), 1, "a retry asks nobody");
    app.bot.let_go();
    (answer, again)
}

async fn a_stop_with_nothing_stored_is_a_failure(engine: Engine) {
    for way in Way::STOPS {
        let app = TestApp::start(engine).await;
        let (answer, again) = held_and_ended(&app, way).await;
        assert_eq!(
            (&answer["data"], &answer["stopped"], answer.get("handler")),
            (&json!([]), &json!(true), None)
        );
        assert_eq!(again, answer);
        let (conversation, messages) = stored(&app).await;
        assert_eq!((messages.len(), &messages[0]["failure"]["reason"]), (1, &json!("stopped")), "{way:?}");
        assert_eq!(conversation["handler"], "bot");
        // The next one is answered.
        let session = &answer["session_id"];
        let next = json!({"message": "halo", "session_id": session});
        assert_eq!(column(&app.anonymous().post("/api/questions", next).await.ok(), "text"), ["echo: halo"]);
        app.stop().await;
    }
}

async fn a_hand_over_with_nothing_stored_is_none(engine: Engine) {
    for way in Way::HAND_OVERS {
        let app = TestApp::start(engine).await;
        let (answer, again) = held_and_ended(&app, way).await;
        assert_eq!(
            (&answer["data"], &answer["handler"], answer.get("stopped")),
            (&json!([]), &json!("human"), None)
        );
        assert_eq!(again, answer);
        let (conversation, messages) = stored(&app).await;
        assert_eq!((messages.len(), &messages[0]["failure"]), (1, &Value::Null), "{way:?}");
        // Given back, a retry still gets what the first request got.
        let path = format!("/api/conversation/{}", conversation["id"].as_str().unwrap());
        app.person().patch(&path, json!({"handler": "bot"})).await.ok();
        let later = keyed(&app).post("/api/questions", json!({"message": "held 1"})).await.ok();
        assert_eq!((later, app.bot.asked()), (answer, 1));
        app.stop().await;
    }
}

/// Begins a streamed answer of which "Satu, " and "dua" have come.
async fn half_an_answer(app: &TestApp, model: &Model, question: &Value) -> (Events, Value) {
    model.say("Satu, ");
    let mut events =
        keyed(app).with("accept", "text/event-stream").post_for_events("/api/questions", question).await;
    let (name, session) = events.next().await.unwrap();
    assert_eq!(name, "session");
    assert_eq!(events.next().await.unwrap().1["text"], "Satu, ");
    model.say("dua");
    assert_eq!(events.next().await.unwrap().1["text"], "dua");
    (events, session)
}

async fn what_had_come_is_stored_once(engine: Engine) {
    for way in Way::STOPS.into_iter().chain(Way::HAND_OVERS) {
        let (app, model) = with_model(engine).await;
        let question = json!({"message": "count", "botId": "model"});
        let (events, session) = half_an_answer(&app, &model, &question).await;
        let (conversation, _) = stored(&app).await;
        way.go(&app, &conversation["id"], session["session_id"].as_str().unwrap()).await;
        let rest = within(PATIENCE, "the asker is told", events.rest()).await;
        let [(name, message)] = &rest[..] else { panic!("{way:?}: {rest:?}") };
        assert_eq!(
            (name.as_str(), column(message, "text")),
            ("message", vec![&json!("Satu, dua")]),
            "{way:?}"
        );
        assert_eq!(message["data"][0]["properties"]["state"], "partial");
        let is_stop = matches!(way, Way::VisitorStops | Way::OperatorStops);
        let expected = if is_stop { (json!(true), Value::Null) } else { (Value::Null, json!("human")) };
        assert_eq!((message["stopped"].clone(), message["handler"].clone()), expected, "{way:?}");
        // What comes later is nobody's.
        model.say(", tiga");
        model.end();
        assert_eq!(keyed(&app).post("/api/questions", &question).await.ok(), *message, "{way:?}: a retry");
        let (_, messages) = stored(&app).await;
        let texts: Vec<_> = messages.iter().map(|message| &message["message"]).collect();
        assert_eq!(texts, ["count", "Satu, dua"], "{way:?}");
        assert_eq!(messages[0]["failure"], Value::Null);
        assert_eq!(messages[1]["payload"], json!({"text": "Satu, dua", "properties": {"state": "partial"}}));
        assert_eq!(
            (&messages[1]["replyTo"], &messages[1]["author"]["id"]),
            (&messages[0]["id"], &json!("model"))
        );
        app.stop().await;
    }
}

/// The server has not heard that the answer is not wanted any more when it comes to the store with it.
async fn what_comes_after_the_end_of_the_wish_is_marked(engine: Engine) {
    for (change, stopped, handler) in [
        ("UPDATE asks SET stopped = 1", json!(true), Value::Null),
        (
            "UPDATE asks SET stopped = 2; UPDATE conversations SET handler = 'human'",
            Value::Null,
            json!("human"),
        ),
    ] {
        let app = TestApp::start(engine).await;
        let question = json!({"message": "held 1"});
        let asking = {
            let (client, question) = (keyed(&app), question.clone());
            tokio::spawn(async move { client.post("/api/questions", &question).await })
        };
        app.bot.until_asked(1).await;
        execute(&app.database, change).await;
        app.bot.let_go();
        let answer = within(PATIENCE, "the asker is told", asking).await.unwrap().ok();
        assert_eq!(column(&answer, "text"), ["echo: held 1"]);
        assert_eq!(answer["data"][0]["properties"]["state"], "partial");
        assert_eq!((answer["stopped"].clone(), answer["handler"].clone()), (stopped, handler));
        assert_eq!(keyed(&app).post("/api/questions", &question).await.ok(), answer);
        assert_eq!((stored(&app).await.1.len(), app.bot.asked()), (2, 1));
        app.stop().await;
    }
}

async fn a_failure_after_a_hand_over_is_none(engine: Engine) {
    let app = TestApp::start(engine).await;
    let asking = {
        let client = keyed(&app);
        tokio::spawn(async move { client.post("/api/questions", json!({"message": "failing 1"})).await })
    };
    app.bot.until_asked(1).await;
    execute(&app.database, "UPDATE asks SET stopped = 2; UPDATE conversations SET handler = 'human'").await;
    app.bot.let_go();
    let answer = within(PATIENCE, "the asker is told", asking).await.unwrap().ok();
    assert_eq!((&answer["data"], &answer["handler"]), (&json!([]), &json!("human")));
    let (_, messages) = stored(&app).await;
    assert_eq!((messages.len(), &messages[0]["failure"]), (1, &Value::Null));
    app.stop().await;
}

async fn a_retry_in_a_conversation_of_people_asks_nobody(engine: Engine) {
    let app = TestApp::start(engine).await;
    let question = json!({"message": "status 500"});
    keyed(&app).post("/api/questions", &question).await.has_status(502);
    let asked = app.bot.asked();
    let (conversation, _) = stored(&app).await;
    let path = format!("/api/conversation/{}", conversation["id"].as_str().unwrap());
    app.person().post(&format!("{path}/claim"), "{}").await.ok();
    let answer = keyed(&app).post("/api/questions", &question).await.ok();
    assert_eq!((&answer["data"], &answer["handler"]), (&json!([]), &json!("human")));
    app.person().patch(&path, json!({"handler": "bot"})).await.ok();
    assert_eq!(keyed(&app).post("/api/questions", &question).await.ok(), answer);
    assert_eq!((stored(&app).await.1.len(), app.bot.asked()), (1, asked));
    app.stop().await;
}

/// Another process makes the change: the one that asks the bot hears of it by the feed.
async fn another_server_ends_the_answer(engine: Engine) {
    let (app, model) = with_model(engine).await;
    let question = json!({"message": "count", "botId": "model"});
    let (events, _) = half_an_answer(&app, &model, &question).await;
    let (conversation, _) = stored(&app).await;
    let id = conversation["id"].as_str().unwrap().parse().unwrap();
    assert!(app.store().answers_stop(id).await.unwrap());
    let rest = within(PATIENCE, "the asker is told", events.rest()).await;
    let (_, message) = &rest[0];
    assert_eq!((column(message, "text"), &message["stopped"]), (vec![&json!("Satu, dua")], &json!(true)));
    app.stop().await;
}

async fn a_stop_touches_nothing_else(engine: Engine) {
    let app = TestApp::start(engine).await;
    let visitor = app.anonymous();
    let answered = ask(&visitor, "halo").await.ok();
    let thread = format!("/api/questions/{}", answered["session_id"].as_str().unwrap());
    let before = stored(&app).await;
    let first = visitor.delete(&format!("{thread}/answer")).await;
    let again = visitor.delete(&format!("{thread}/answer")).await;
    assert_eq!((first.ok(), stored(&app).await), (again.ok(), before), "there was nothing to stop");
    // What is being answered in another conversation goes on, and what is asked after a stop is answered.
    let asking = {
        let visitor = visitor.clone();
        tokio::spawn(async move { ask(&visitor, "held 1").await })
    };
    app.bot.until_asked(2).await;
    visitor.delete(&format!("{thread}/answer")).await.ok();
    app.bot.let_go();
    assert_eq!(column(&asking.await.unwrap().ok(), "text"), ["echo: held 1"]);
    app.stop().await;
}

async fn a_model_is_told_who_said_what(engine: Engine) {
    let model = wiremock::MockServer::start().await;
    let says = json!({"choices": [{"message": {"content": "Hi."}}]});
    wiremock::Mock::given(wiremock::matchers::method("POST"))
        .respond_with(wiremock::ResponseTemplate::new(200).set_body_json(says))
        .mount(&model)
        .await;
    let bot = format!(
        "[[bot]]\nid = 'model'\nkind = 'openai'\nurl = '{}/v1'\nmodel = 'm'\npublic = true\n",
        model.uri()
    );
    let app = TestApp::with(engine, &bot).await;
    let visitor = app.anonymous();
    let opened = visitor.post("/api/questions", json!({"message": "one", "botId": "model"})).await.ok();
    let path = format!("/api/conversation/{}", opened["conversation_id"]);
    let person = app.person();
    person.post(&format!("{path}/claim"), "{}").await.ok();
    let said = json!({"message": "It is on its way.", "type": "text", "role": "agent", "conversationId": opened["conversation_id"]});
    person.post("/api/message", said).await.ok();
    person.send(Method::POST, &format!("{path}/release"), None).await.ok();
    person.post(&format!("{path}/release"), json!({"to": "bot"})).await.ok();
    visitor.post("/api/questions", json!({"message": "two", "session_id": opened["session_id"]})).await.ok();
    let requests = model.received_requests().await.unwrap();
    let told = requests[1].body_json::<Value>().unwrap()["messages"].take();
    let text = told.to_string();
    let place = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part} is not told: {text}"));
    let places = [
        place("one"),
        place("Hi."),
        place("[A human operator answered:] It is on its way."),
        place("[The human operators gave the conversation back to you.]"),
        place("two"),
    ];
    assert!(places.is_sorted(), "{text}");
    until(PATIENCE, "both were asked", async || requests.len() == 2).await;
    app.stop().await;
}
