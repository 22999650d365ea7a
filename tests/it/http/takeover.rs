//! The whole story of a conversation that people take over in the middle of an answer, from outside: visitor and operator
//! know nothing but what HTTP tells them. On PostgreSQL they are at two servers.

use serde_json::{Value, json};

use super::openapi::Schemas;
use super::wire::column;
use crate::support::{Client, Database, Engine, Feed, Model, PATIENCE, TestApp, on_both_engines, within};

on_both_engines!(people_take_over_in_the_middle_of_an_answer);

const OPERATORS: &str = "/api/events";
const VISITORS: &str = "/api/questions/{session_id}/events";

/// A reader that looks at every event.
struct Watcher<'a> {
    feed: Feed,
    path: &'static str,
    schemas: &'a Schemas,
}

impl<'a> Watcher<'a> {
    async fn new(client: &Client, path: &'static str, query: &str, schemas: &'a Schemas) -> Self {
        let mut feed = client.follow(query).await;
        assert_eq!(feed.next().await.unwrap()["kind"], "hello");
        Self { feed, path, schemas }
    }

    /// The next event, which is of this kind.
    async fn next(&mut self, kind: &str) -> Value {
        let event = self.feed.next().await.unwrap();
        assert_eq!(event["kind"], kind, "{event}");
        self.schemas.assert_describe_event(self.path, &event);
        event
    }

    /// The first event of this kind.
    async fn first(&mut self, kind: &str) -> Value {
        let event = self.feed.first(kind).await;
        self.schemas.assert_describe_event(self.path, &event);
        event
    }

    /// Follows an answer until it has this text from its beginning; the offsets leave nothing out.
    async fn deltas(&mut self, shown: &mut String, text: &str) {
        while shown != text {
            let delta = self.next("answer.delta").await;
            assert_eq!(delta["offset"], shown.encode_utf16().count(), "{delta}");
            shown.push_str(delta["text"].as_str().unwrap());
            assert!(text.starts_with(shown.as_str()), "{shown}");
        }
    }
}

async fn people_take_over_in_the_middle_of_an_answer(engine: Engine) {
    let model = Model::start().await;
    let bot = model.bot();
    let first = TestApp::with(engine, &bot).await;
    let second = match engine {
        Engine::Postgres => Some(TestApp::on(Database::at(first.database.url.clone()), &bot).await),
        Engine::Sqlite => None,
    };
    let schemas = Schemas::of(&first).await;
    let visitor = first.anonymous();
    let operator = second.as_ref().unwrap_or(&first).person();
    let me = operator.get("/api/auth/me").await.ok()["data"].clone();

    // The operator sees the question, and the answer while it is given.
    let mut desk = Watcher::new(&operator, OPERATORS, OPERATORS, &schemas).await;
    let answers = format!("{OPERATORS}?kinds=answer.*");
    let mut live = Watcher::new(&operator, OPERATORS, &answers, &schemas).await;
    let streaming = visitor.with("accept", "text/event-stream");
    let question = json!({"message": "Count, please.", "botId": "model"});
    let mut answer = streaming.post_for_events("/api/questions", &question).await;
    let (_, session) = answer.next().await.unwrap();
    let id = session["conversation_id"].to_string();
    assert_eq!(desk.next("conversation.created").await["conversation"]["id"], id);
    let asked = desk.next("message.created").await["message"].clone();
    assert_eq!((&asked["message"], &asked["role"]), (&json!("Count, please."), &json!("client")));
    assert_eq!(live.next("answer.started").await["replyTo"], asked["id"]);
    let mut at_desk = String::new();
    model.say("Satu 😀");
    assert_eq!(answer.next().await.unwrap().1["text"], "Satu 😀");
    live.deltas(&mut at_desk, "Satu 😀").await;

    // Who joins has all of it, and what comes then.
    let path = format!("/api/questions/{}/events", session["session_id"].as_str().unwrap());
    let mut page = Watcher::new(&visitor, VISITORS, &path, &schemas).await;
    let of_one = format!("{OPERATORS}?conversationId={id}");
    let mut joined = Watcher::new(&operator, OPERATORS, &of_one, &schemas).await;
    let mut at_joined = String::new();
    assert_eq!(joined.next("answer.started").await["conversationId"], id);
    let all = joined.next("answer.delta").await;
    assert_eq!((&all["text"], &all["offset"]), (&json!("Satu 😀"), &json!(0)));
    at_joined.push_str(all["text"].as_str().unwrap());
    model.say(", dua");
    assert_eq!(answer.next().await.unwrap().1["text"], ", dua");
    live.deltas(&mut at_desk, "Satu 😀, dua").await;
    joined.deltas(&mut at_joined, "Satu 😀, dua").await;

    // It is taken over: the visitor has what had come.
    let claimed = operator.post(&format!("/api/conversation/{id}/claim"), "{}").await.ok();
    let assignee = json!({"id": me["id"].as_str().unwrap(), "kind": "person", "name": me["name"]});
    assert_eq!(claimed["data"]["assignee"], assignee);
    let rest = within(PATIENCE, "the asker is told", answer.rest()).await;
    let [(name, message)] = &rest[..] else { panic!("{rest:?}") };
    assert_eq!((name.as_str(), &message["handler"]), ("message", &json!("human")));
    assert_eq!(column(message, "text"), ["Satu 😀, dua"]);
    assert_eq!(live.next("answer.finished").await["replyTo"], asked["id"]);
    for watcher in [&mut desk, &mut joined] {
        let handed_over = watcher.first("conversation.updated").await["conversation"].clone();
        assert_eq!((&handed_over["handler"], &handed_over["assignee"]), (&json!("human"), &assignee));
        let partial = watcher.first("message.created").await["message"].clone();
        assert_eq!((&partial["message"], &partial["replyTo"]), (&json!("Satu 😀, dua"), &asked["id"]));
        assert_eq!(partial["payload"]["properties"]["state"], "partial");
    }
    assert_eq!(page.first("conversation.updated").await["conversation"]["handler"], "human");
    assert_eq!(page.first("message.created").await["message"]["text"], "Satu 😀, dua");
    model.say(", never");

    // Both write.
    let said = json!({"message": "Tiga, says Ani.", "type": "text", "role": "agent", "conversationId": id});
    operator.post("/api/message", said).await.ok();
    let shown = page.first("message.created").await["message"].clone();
    assert_eq!((&shown["text"], &shown["role"]), (&json!("Tiga, says Ani."), &json!("agent")));
    desk.first("message.created").await;
    let note = json!({"message": "Among us.", "type": "text", "role": "note", "conversationId": id});
    operator.post("/api/message", note).await.ok();
    assert_eq!(desk.first("message.created").await["message"]["message"], "Among us.");
    let session = &session["session_id"];
    let reply = json!({"message": "Thank you, Ani.", "session_id": session});
    let reply = visitor.post("/api/questions", reply).await.ok();
    assert_eq!((&reply["data"], &reply["handler"]), (&json!([]), &json!("human")));
    let shown = desk.first("message.created").await["message"].clone();
    assert_eq!((&shown["message"], &shown["role"]), (&json!("Thank you, Ani."), &json!("client")));
    assert_eq!(page.first("message.created").await["message"]["text"], "Thank you, Ani.");

    // It is given back: the bot knows what was said.
    operator.post(&format!("/api/conversation/{id}/release"), json!({"to": "bot"})).await.ok();
    assert_eq!(page.first("conversation.updated").await["conversation"]["handler"], "bot");
    assert_eq!(desk.first("conversation.updated").await["conversation"]["assignee"], Value::Null);
    let question = json!({"message": "And now?", "session_id": session});
    let asking = tokio::spawn(async move { visitor.post("/api/questions", question).await });
    let told = model.told(1).await;
    // Of what the bot was saying when it was cut off, some may not have been read.
    model.say("Empat");
    model.end();
    let answered = asking.await.unwrap().ok();
    let text = column(&answered, "text")[0].as_str().unwrap();
    assert!(text.ends_with("Empat"), "{text}");
    assert_eq!(desk.first("message.created").await["message"]["message"], "And now?");
    assert_eq!(desk.first("message.created").await["message"]["message"], text);
    let told = told.join("\n");
    let place = |part: &str| told.find(part).unwrap_or_else(|| panic!("{part} is not told: {told}"));
    let places = [
        place("Count, please."),
        place("Satu 😀, dua"),
        place("[A human operator answered:] Tiga, says Ani."),
        place("Thank you, Ani."),
        place("[The human operators gave the conversation back to you.]"),
        place("And now?"),
    ];
    assert!(places.is_sorted(), "{told}");
    assert!(!told.contains("Among us."), "{told}");

    drop((desk, live, joined, page));
    if let Some(second) = second {
        second.stop().await;
    }
    first.stop().await;
}
