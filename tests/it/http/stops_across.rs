//! Stops and hand-overs at one server while another one answers, at each step of a question that a barrier holds.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::stops::Way;
use super::wire::column;
use crate::support::{
    Client, Database, Events, Fault, Model, PATIENCE, PostgresProxy, TestApp, is_append, until, within,
};

/// Where the question is when its answer is not wanted any more.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    /// Its append is on the way to the database.
    BeforeAppend,
    /// The bot is asked, and has said nothing.
    Asked,
    /// Some of the answer has come.
    Answering,
    /// The bot has answered; the answer's append is on the way to the database.
    BeforeStore,
    /// The answer is committed, and its server does not know yet.
    Stored,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Asker {
    Plain,
    Streamed,
}

/// Two servers: the first asks the bots, the changes are made at the second one.
struct Site {
    asking: TestApp,
    changing: TestApp,
    proxy: PostgresProxy,
    model: Model,
}

impl Site {
    async fn start() -> Self {
        let model = Model::start().await;
        // Their deadlines are beyond the test's: nothing but the other server ends an answer.
        let slow = "[[bot]]\nid = \"slow\"\nkind = \"http\"\nurl = \"{bot}\"\npublic = true\ntimeout_seconds = 300\n";
        let bots = model.bot() + slow;
        let (asking, proxy) = TestApp::behind_proxy(&bots).await;
        let changing = TestApp::on(Database::at(asking.database.url.clone()), &bots).await;
        Self { asking, changing, proxy, model }
    }

    /// All messages of a conversation, as operators see them.
    async fn messages(&self, conversation: &Value) -> Vec<Value> {
        let path = format!("/api/message?conversationId={}&limit=100", conversation.as_str().unwrap());
        self.changing.person().get(&path).await.ok()["data"].as_array().unwrap().clone()
    }
}

/// The asker's request, which is on its way.
type Asking = JoinHandle<Value>;

/// Sends a question; what its asker gets at last is the answer as JSON, in whatever form. Tells when these tokens have come
/// to who asks for a stream.
fn ask(
    client: &Client,
    asker: Asker,
    body: &Value,
    tokens: &'static str,
) -> (Asking, Arc<tokio::sync::Notify>) {
    let has_tokens = Arc::new(tokio::sync::Notify::new());
    let (client, body, notify) = (client.clone(), body.clone(), Arc::clone(&has_tokens));
    let asking = tokio::spawn(async move {
        if asker == Asker::Plain {
            return client.post("/api/questions", &body).await.ok();
        }
        let client = client.with("accept", "text/event-stream");
        let mut events: Events = client.post_for_events("/api/questions", &body).await;
        let (name, session) = events.next().await.unwrap();
        assert_eq!(name, "session");
        let mut shown = String::new();
        while shown != tokens {
            let (name, data) = events.next().await.unwrap();
            assert_eq!(name, "token", "{data}");
            shown += data["text"].as_str().unwrap();
        }
        notify.notify_one();
        let mut rest = events.rest().await;
        let (name, message) = rest.pop().unwrap();
        assert_eq!(name, "message", "{message}");
        assert!(rest.iter().all(|(name, _)| name == "token"), "{rest:?}");
        assert_eq!(message["question_id"], session["question_id"]);
        message
    });
    (asking, has_tokens)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_server_ends_the_answer_at_each_step() {
    let site = Site::start().await;
    let mut number = 0;
    for step in [Step::BeforeAppend, Step::Asked, Step::Answering, Step::BeforeStore, Step::Stored] {
        let plain = Way::STOPS.into_iter().chain(Way::HAND_OVERS).map(|way| (way, Asker::Plain));
        let streamed = [Way::VisitorStops, Way::OperatorClaims].map(|way| (way, Asker::Streamed));
        for (way, asker) in plain.chain(streamed) {
            number += 1;
            let case = Case { site: &site, step, way, asker, number };
            // On the heap: a test's stack is small.
            Box::pin(case.run()).await;
        }
    }
    site.changing.stop().await;
    site.asking.stop().await;
}

struct Case<'a> {
    site: &'a Site,
    step: Step,
    way: Way,
    asker: Asker,
    number: usize,
}

impl Case<'_> {
    async fn run(self) {
        let Self { site, step, way, asker, number } = self;
        let name = format!("{step:?}, {way:?}, {asker:?}");
        let visitor = site.asking.anonymous();
        let bot = if step == Step::Answering { "model" } else { "slow" };
        let opened = site.open(bot).await;
        let (session, id) = (&opened["session_id"], json!(opened["conversation_id"].to_string()));
        let before = site.messages(&id).await.len();
        let text = match step {
            Step::BeforeAppend | Step::Answering => format!("question {number}"),
            _ => format!("held {number}"),
        };
        let body = json!({"message": text, "session_id": session});
        let keyed = visitor.with("idempotency-key", &format!("case-{number}"));

        let asked = site.asking.bot.asked();
        let answer = {
            let asking = site.hold_at(step, &keyed, asker, &body).await;
            way.go(&site.changing, &id, session.as_str().unwrap()).await;
            site.proxy.thaw();
            within(PATIENCE, &name, asking).await.unwrap()
        };
        site.asking.bot.hold();

        // What had come, and whether it is the whole answer.
        let is_stop =
            Way::STOPS.iter().any(|stop| std::mem::discriminant(stop) == std::mem::discriminant(&way));
        let echo = format!("echo: {text}");
        let (text, is_whole) = match step {
            // There was nothing to stop.
            Step::BeforeAppend if is_stop => (Some(echo), true),
            Step::BeforeAppend | Step::Asked => (None, false),
            Step::Answering => (Some("Satu, dua".to_owned()), false),
            Step::BeforeStore => (Some(echo), false),
            Step::Stored => (Some(echo), true),
        };
        let texts: Vec<&str> = column(&answer, "text").iter().map(|text| text.as_str().unwrap()).collect();
        assert_eq!(texts, text.iter().map(String::as_str).collect::<Vec<_>>(), "{name}");
        for object in answer["data"].as_array().unwrap() {
            assert_eq!(object["properties"]["state"] == "partial", !is_whole, "{name}: {object}");
        }
        let marks = (answer.get("stopped").cloned(), answer.get("handler").cloned());
        let expected = match (is_whole, is_stop) {
            (true, _) => (None, None),
            (false, true) => (Some(json!(true)), None),
            (false, false) => (None, Some(json!("human"))),
        };
        assert_eq!(marks, expected, "{name}: {answer}");

        // Nothing of a bot comes after it, whatever the bot says.
        site.asking.bot.let_go();
        let is_asked = usize::from(!(step == Step::Answering || (step == Step::BeforeAppend && !is_stop)));
        assert_eq!(site.asking.bot.asked() - asked, is_asked, "{name}");
        for app in [&site.asking, &site.changing] {
            let again = app.anonymous().with("idempotency-key", &format!("case-{number}"));
            for asker in [Asker::Plain, Asker::Streamed] {
                let (again, _) = ask(&again, asker, &body, "");
                assert_eq!(within(PATIENCE, &name, again).await.unwrap(), answer, "{name}: a retry");
            }
        }
        assert_eq!(site.asking.bot.asked() - asked, is_asked, "{name}: a retry asks nobody");
        assert_eq!(site.changing.bot.asked(), 0);
        let stored = site.messages(&id).await;
        let (question, answers) = stored[before..].split_first().unwrap();
        assert_eq!(question["id"], answer["question_id"].to_string(), "{name}");
        let stored: Vec<_> = answers.iter().map(|answer| &answer["message"]).collect();
        assert_eq!(stored, texts, "{name}");
        let failure = if is_stop && texts.is_empty() { json!("stopped") } else { Value::Null };
        assert_eq!(question["failure"]["reason"], failure, "{name}");
        let handler = if is_stop { "bot" } else { "human" };
        let path = format!("/api/conversation/{}", id.as_str().unwrap());
        assert_eq!(site.changing.person().get(&path).await.ok()["data"]["handler"], handler, "{name}");
        site.asking.bot.hold();
    }
}

impl Site {
    /// A conversation with one question, which has its answer.
    async fn open(&self, bot: &str) -> Value {
        let body = json!({"message": "halo", "botId": bot});
        let (visitor, asked) = (self.asking.anonymous(), self.model.asked());
        let says = async {
            if bot == "model" {
                self.model.told(asked).await;
                self.model.say("Halo");
                self.model.end();
            }
        };
        tokio::join!(visitor.post("/api/questions", &body), says).0.ok()
    }

    /// Asks, and returns when the question is at that step, where it is held.
    async fn hold_at(&self, step: Step, client: &Client, asker: Asker, body: &Value) -> Asking {
        let asked = self.asking.bot.asked();
        let held = |fault| self.proxy.at(is_append, 1, fault);
        let tokens = if step == Step::Answering { "Satu, dua" } else { "" };
        let told = self.model.asked();
        let at_append = (step == Step::BeforeAppend).then(|| held(Fault::Held));
        let (asking, has_tokens) = ask(client, asker, body, tokens);
        if step == Step::Answering {
            self.model.told(told).await;
            self.model.say("Satu, ");
            self.model.say("dua");
        }
        match step {
            Step::BeforeAppend => {
                let held = at_append.unwrap();
                until(PATIENCE, "the question is held", async || held.sprung() == 1).await;
            }
            Step::Asked => self.asking.bot.until_asked(asked + 1).await,
            Step::Answering if asker == Asker::Streamed => {
                within(PATIENCE, "tokens", has_tokens.notified()).await;
            }
            Step::Answering => self.until_shown("Satu, dua", body).await,
            Step::BeforeStore | Step::Stored => {
                self.asking.bot.until_asked(asked + 1).await;
                let fault = if step == Step::Stored { Fault::AnswerHeld } else { Fault::Held };
                let held = held(fault);
                self.asking.bot.let_go();
                until(PATIENCE, "the answer is held", async || held.sprung() == 1).await;
            }
        }
        asking
    }

    /// Waits until so much of the answer has come, as its visitor follows it.
    async fn until_shown(&self, text: &str, body: &Value) {
        let path = format!("/api/questions/{}/events", body["session_id"].as_str().unwrap());
        let mut feed = self.asking.anonymous().follow(&path).await;
        let mut shown = String::new();
        while shown != text {
            shown += feed.first("answer.delta").await["text"].as_str().unwrap();
        }
    }
}
