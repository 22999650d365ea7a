//! Questions and what becomes of them: which bot they reach, bots that fail, operators, and visitors who read on.

use serde_json::{Value, json};
use wicara_model::{Api, Bots, Role};

use super::wire::{column, id};
use super::{FORBIDDEN, Shape};
use crate::support::{Answer, Client, Engine, TestApp, on_both_engines};

on_both_engines!(
    visitors_choose_among_the_public_bots,
    programs_choose_among_their_bots,
    an_operator_answers_instead_of_the_bot,
    a_bot_that_fails_leaves_the_question_with_its_failure,
    a_busy_bot_is_asked_no_more,
    a_bot_that_keeps_failing_is_left_alone,
    a_visitor_reads_its_own_conversation,
    other_conversations_are_unknown_to_visitors,
);

pub async fn ask(client: &Client, text: &str) -> Answer {
    client.post("/api/questions", &json!({"message": text})).await
}

pub async fn ask_on(client: &Client, session: &Value, text: &str) -> Answer {
    client.post("/api/questions", &json!({"message": text, "session_id": session})).await
}

/// The ids of the question that an answer names, as they stand in it. Whether they are right is for
/// [`super::question_ids`] to say.
fn ids(answer: &Answer) -> String {
    let answer = answer.json();
    let (session, conversation) = (&answer["session_id"], &answer["conversation_id"]);
    format!(
        r#""session_id":{session},"conversation_id":{conversation},"question_id":{}"#,
        answer["question_id"]
    )
}

pub async fn messages(program: &Client) -> Value {
    program.get("/api/message?limit=100").await.ok()
}

const BOTS: &str = "[[bot]]\nid = \"open\"\nkind = \"http\"\nurl = \"{bot}\"\npublic = true\n\
                    [[bot]]\nid = \"inner\"\nkind = \"http\"\nurl = \"{bot}\"\n";

/// The answer to a `botId` that cannot be.
const NO_SUCH_BOT: &str = r#"{"status":400,"message":"Validation failure","errors":[{"rule":"exists","field":"botId","message":"exists validation failed"}]}"#;

async fn ask_bot(client: &Client, session: Option<&Value>, bot: &str) -> Answer {
    let mut body = json!({"message": "halo", "botId": bot});
    if let Some(session) = session {
        body["session_id"] = session.clone();
    }
    client.post("/api/questions", &body).await
}

async fn visitors_choose_among_the_public_bots(engine: Engine) {
    let app = TestApp::with(engine, BOTS).await;
    let (visitor, program) = (app.anonymous(), app.program());
    for (named, expected) in [("echo", "echo"), ("open", "open"), ("", "echo"), ("  ", "echo")] {
        let answer = ask_bot(&visitor, None, named).await.ok();
        assert_eq!(answer["data"][0]["properties"]["source"]["id"], expected);
        let chats = program.get("/api/conversation?limit=1").await.ok();
        assert_eq!(chats["data"][0]["botId"], expected);
        let session = Some(&answer["session_id"]);
        ask_bot(&visitor, session, expected).await.has_status(200);
        for other in ["echo", "open", "inner", "unknown"].into_iter().filter(|other| *other != expected) {
            ask_bot(&visitor, session, other).await.is(400, NO_SUCH_BOT);
        }
    }
    for closed in ["inner", "unknown", "ECHO"] {
        ask_bot(&visitor, None, closed).await.is(400, NO_SUCH_BOT);
        // A person's cookie does not count here.
        ask_bot(&app.person(), None, closed).await.is(400, NO_SUCH_BOT);
    }
    assert_eq!(app.bot.asked(), 8);
    app.stop().await;
}

async fn programs_choose_among_their_bots(engine: Engine) {
    let app = TestApp::with(engine, BOTS).await;
    let all = app.program();
    for bot in ["echo", "open", "inner"] {
        let answer = ask_bot(&all, None, bot).await.ok();
        assert_eq!(answer["data"][0]["properties"]["source"]["id"], bot);
        let other = if bot == "open" { "echo" } else { "open" };
        ask_bot(&all, Some(&answer["session_id"]), other).await.is(400, NO_SUCH_BOT);
    }
    ask_bot(&all, None, "unknown").await.is(400, NO_SUCH_BOT);
    let viewer = app.program_with(Role::Viewer, Bots::All, Api::Chatbot).await;
    ask_bot(&viewer, None, "inner").await.is(400, NO_SUCH_BOT);
    ask_bot(&viewer, None, "open").await.has_status(200);

    let scoped = app.program_with(Role::Agent, Bots::Only(vec!["inner".into()]), Api::Chatbot).await;
    ask_bot(&scoped, None, "inner").await.has_status(200);
    ask_bot(&scoped, None, "open").await.is(403, FORBIDDEN);
    ask(&scoped, "halo").await.is(403, FORBIDDEN);
    let outside = ask(&app.anonymous(), "halo").await.ok()["session_id"].clone();
    ask_on(&scoped, &outside, "halo").await.has_status(404);
    app.stop().await;
}

async fn an_operator_answers_instead_of_the_bot(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (visitor, person) = (app.anonymous(), app.person());
    let session = ask(&visitor, "one").await.ok()["session_id"].clone();
    let list = person.get("/api/conversation").await.ok();
    let path = format!("/api/conversation/{}", list["data"][0]["id"].as_str().unwrap());
    person.patch(&path, &json!({"handler": "human"})).await.ok();

    let answer = ask_on(&visitor, &session, "is anybody there?").await;
    let ids = ids(&answer);
    let expected =
        format!(r#"{{"status":200,"message":"success",{ids},"message_ids":[],"data":[],"handler":"human"}}"#);
    answer.is(200, &expected);
    assert_eq!(answer.json()["session_id"], session);
    assert_eq!(app.bot.asked(), 1);
    let stored = messages(&person).await;
    assert_eq!(column(&stored, "message"), ["one", "echo: one", "is anybody there?"]);
    assert_eq!(stored["data"][2]["failure"], Value::Null);
    let thread = visitor.get(&format!("/api/questions/{}", session.as_str().unwrap())).await.ok();
    assert_eq!(thread["data"]["handler"], "human");

    person.patch(&path, &json!({"handler": "bot"})).await.ok();
    assert_eq!(column(&ask_on(&visitor, &session, "two").await.ok(), "text"), ["echo: two"]);
    app.stop().await;
}

async fn a_bot_that_fails_leaves_the_question_with_its_failure(engine: Engine) {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let unreachable = format!("http://{}/", closed.local_addr().unwrap());
    drop(closed);
    let bots = format!(
        "[[bot]]\nid = \"gone\"\nkind = \"http\"\nurl = \"{unreachable}\"\npublic = true\n\
         [[bot]]\nid = \"slow\"\nkind = \"http\"\nurl = \"{{bot}}\"\npublic = true\ntimeout_seconds = 1\n\
         [[bot]]\nid = \"short\"\nkind = \"http\"\nurl = \"{{bot}}\"\npublic = true\nmax_answer_bytes = 1024\n"
    );
    let app = TestApp::with(engine, &bots).await;
    let (visitor, program) = (app.anonymous(), app.program());
    let long = format!("say \"{}\"", "x".repeat(2000));
    let mut failed = 0;
    for (bot, text, status, error, reason) in [
        ("echo", "status 500", 502, "The bot answered with an error.", "rejected"),
        ("echo", "status 302", 502, "The bot answered with an error.", "rejected"),
        ("echo", "{", 502, "The bot's answer could not be understood.", "unreadable"),
        ("echo", "say []", 502, "The bot's answer could not be understood.", "unreadable"),
        ("echo", "say \" \"", 502, "The bot's answer could not be understood.", "unreadable"),
        ("echo", "say {\"text\":5}", 502, "The bot's answer could not be understood.", "unreadable"),
        ("short", &long, 502, "The bot's answer could not be understood.", "unreadable"),
        ("gone", "halo", 502, "The bot could not be reached.", "unreachable"),
        ("slow", "wait 60000", 504, "The bot did not answer in time.", "timeout"),
    ] {
        let answer = visitor.post("/api/questions", &json!({"message": text, "botId": bot})).await;
        let session =
            answer.json()["session_id"].as_str().unwrap_or_else(|| panic!("{}", answer.text)).to_owned();
        let ids = ids(&answer);
        let expected =
            format!(r#"{{"status":{status},"message":"bot unavailable","error":"{error}",{ids}}}"#);
        answer.is(status, &expected);

        failed += 1;
        let newest = program.get("/api/message?order=desc&limit=1").await.ok();
        assert_eq!(newest["pagination"]["totalItems"], failed, "the question is stored, once");
        let question = &newest["data"][0];
        assert_eq!((&question["message"], &question["role"]), (&json!(text), &json!("client")));
        assert_eq!(question["failure"]["reason"], reason, "{bot} {text}");
        let thread = visitor.get(&format!("/api/questions/{session}")).await;
        assert_eq!(thread.ok()["data"]["messages"][0]["text"], text);
    }
    let newest = program.get("/api/message?order=desc&limit=1").await;
    newest.is(
        200,
        r#"{"status":200,"data":[{"message":"wait 60000","type":"text","role":"client",
            "conversationId":"<id>","id":"<id>","replyTo":null,"payload":null,"failure":{"reason":"timeout",
            "at":"<time>"},"feedback":null,"author":null,"createdAt":"<time>","updatedAt":"<time>"}],"pagination":{"page":1,"pageSize":1,
            "totalPages":9,"totalItems":9}}"#,
    );
    let everything = messages(&program).await.to_string();
    assert!(!everything.contains("secret trouble") && !everything.contains(&app.bot.url));

    // The conversation goes on, and an answer of the next question leaves the failure of the last.
    let session = ask(&visitor, "status 500").await.json()["session_id"].clone();
    assert_eq!(column(&ask_on(&visitor, &session, "better?").await.ok(), "text"), ["echo: better?"]);
    let conversation = program.get("/api/conversation?limit=1").await.ok()["data"][0]["id"].clone();
    let stored = program.get(&format!("/api/message?conversationId={conversation}")).await.ok();
    let reasons: Vec<_> =
        column(&stored, "failure").iter().map(|failure| failure["reason"].clone()).collect();
    assert_eq!(reasons, [json!("rejected"), Value::Null, Value::Null]);

    // A bot that was in the configuration once, as far as anybody knows.
    let moved = json!({"botId": "retired"});
    program.patch(&format!("/api/conversation/{conversation}"), &moved).await.ok();
    let answer = ask_on(&visitor, &session, "still there?").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["message"]), (502, &json!("bot unavailable")));
    let newest = program.get("/api/message?order=desc&limit=1").await.ok();
    assert_eq!(newest["data"][0]["failure"]["reason"], "unconfigured");
    app.stop().await;
}

async fn a_busy_bot_is_asked_no_more(engine: Engine) {
    let bots = "[[bot]]\nid = \"one\"\nkind = \"http\"\nurl = \"{bot}\"\npublic = true\nconcurrency = 1\n";
    let app = TestApp::with(engine, bots).await;
    let (visitor, program) = (app.anonymous(), app.program());
    let ask = |text: &'static str| {
        let visitor = visitor.clone();
        tokio::spawn(async move {
            visitor.post("/api/questions", &json!({"message": text, "botId": "one"})).await
        })
    };
    // One is being answered, one waits, the third is refused: whichever of the last two came first.
    let first = ask("wait 3000");
    app.bot.until_asked(1).await;
    let (second, third) = tokio::join!(ask("two"), ask("two"));
    let (second, third) = (second.unwrap(), third.unwrap());
    let (waited, refused) = if second.status == 200 { (second, third) } else { (third, second) };
    assert_eq!(column(&first.await.unwrap().ok(), "text"), ["echo: wait 3000"]);
    assert_eq!(column(&waited.ok(), "text"), ["echo: two"]);
    refused.has_status(503);
    assert!(refused.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1);
    assert_eq!(refused.json()["message"], "bot unavailable");
    assert_eq!(app.bot.asked(), 2);
    let session = refused.json()["session_id"].clone();
    let chats = program.get("/api/conversation").await.ok();
    let chat = chats["data"].as_array().unwrap().iter().find(|chat| chat["session_id"] == session).unwrap();
    let stored = program.get(&format!("/api/message?conversationId={}", chat["id"])).await.ok();
    assert_eq!(stored["data"][0]["failure"]["reason"], "busy");
    assert_eq!(stored["pagination"]["totalItems"], 1);
    app.stop().await;
}

async fn a_bot_that_keeps_failing_is_left_alone(engine: Engine) {
    let bots =
        "[[bot]]\nid = \"weak\"\nkind = \"http\"\nurl = \"{bot}\"\npublic = true\nbreaker_failures = 2\n";
    let app = TestApp::with(engine, bots).await;
    let (visitor, program) = (app.anonymous(), app.program());
    let ask_weak =
        async |text: &str| visitor.post("/api/questions", &json!({"message": text, "botId": "weak"})).await;
    for _ in 0..2 {
        ask_weak("status 500").await.has_status(502);
    }
    let refused = ask_weak("halo").await;
    let ids = ids(&refused);
    let error = "The bot has failed too often and is left alone for a while.";
    let expected = format!(r#"{{"status":503,"message":"bot unavailable","error":"{error}",{ids}}}"#);
    refused.is(503, &expected);
    let wait: u32 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=15).contains(&wait), "{wait}");
    assert_eq!(app.bot.asked(), 2);
    let newest = program.get("/api/message?order=desc&limit=1").await.ok();
    assert_eq!(newest["data"][0]["failure"]["reason"], "suspended");
    assert_eq!(
        column(&ask(&visitor, "halo").await.ok(), "text"),
        ["echo: halo"],
        "another bot at the same address"
    );
    app.stop().await;
}

async fn a_visitor_reads_its_own_conversation(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (visitor, program) = (app.anonymous(), app.program());
    let session = ask(&visitor, r#"say {"text":"a", "z" : 1.0}"#).await.ok()["session_id"].clone();
    let path = format!("/api/questions/{}", session.as_str().unwrap());
    let thread = visitor.get(&path).await;
    assert_eq!(thread.ok()["data"]["session_id"], session);
    assert!(thread.text.contains(r#""payload":{"text":"a", "z" : 1.0}"#));
    assert_eq!(thread.header("cache-control"), Some("no-store"));
    thread.is(
        200,
        r#"{"status":200,"message":"success","data":{"session_id":"<session>","conversation_id":<id>,"handler":"bot","handover":true,"messages":[
            {"id":<id>,"role":"client","text":"say {\"text\":\"a\", \"z\" : 1.0}","payload":null,
                "replyTo":null,"failure":null,"feedback":null,"author":null,"createdAt":"<time>"},
            {"id":<id>,"role":"bot","text":"a","payload":{"text":"a", "z" : 1.0},"replyTo":<id>,"failure":null,"feedback":null,
                "author":null,"createdAt":"<time>"}]}}"#,
    );
    let upper = visitor
        .get(&path.replace(session.as_str().unwrap(), &session.as_str().unwrap().to_uppercase()))
        .await;
    assert_eq!(upper.text, thread.text);

    let conversation = program.get("/api/conversation").await.ok()["data"][0]["id"].clone();
    for number in 0..60 {
        let new = json!({"message": number.to_string(), "type": "text", "role": "agent", "conversationId": conversation});
        program.post("/api/message", &new).await.ok();
    }
    let texts = |thread: &Value| -> Vec<String> {
        let messages = thread["data"]["messages"].as_array().unwrap().iter();
        messages.map(|message| message["text"].as_str().unwrap().to_owned()).collect()
    };
    let newest = visitor.get(&path).await.ok();
    assert_eq!(texts(&newest), (10..60).map(|number| number.to_string()).collect::<Vec<_>>());
    let before = &newest["data"]["messages"][0]["id"];
    let older = visitor.get(&format!("{path}?before={before}")).await.ok();
    assert_eq!(texts(&older).len(), 12);
    assert_eq!(texts(&older)[1..3], ["a", "0"]);
    for wrong in ["before=abc", "before=-1"] {
        visitor.get(&format!("{path}?{wrong}")).await.has_status(400);
    }
    let malformed = visitor.get("/api/questions/1309c142").await;
    malformed.is(400, &Shape::Chatbot.broken(&[("uuid", "session_id")]));
    app.stop().await;
}

async fn other_conversations_are_unknown_to_visitors(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (visitor, program) = (app.anonymous(), app.program());
    let opened =
        program.post("/api/conversation", &json!({"room": "r", "integrationType": "whatsapp"})).await.ok();
    let path = format!("/api/conversation/{}", id(&opened));
    let session = program.get(&path).await.ok()["data"]["session_id"].clone();
    let thread = format!("/api/questions/{}", session.as_str().unwrap());
    for client in [&visitor, &app.person()] {
        ask_on(client, &session, "halo").await.has_status(404);
        client.get(&thread).await.has_status(404);
    }
    let asked = ask_on(&program, &session, "halo").await.ok();
    assert_eq!((&asked["session_id"], column(&asked, "text")), (&session, vec![&json!("echo: halo")]));
    assert_eq!(program.get(&thread).await.ok()["data"]["messages"][0]["text"], "halo");
    assert_eq!(app.bot.asked(), 1);
    app.stop().await;
}
