//! Answers: of any form, to questions at once, to nobody who waits.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::SESSION_NOT_FOUND;
use super::questions::{ask, ask_on, messages};
use super::wire::column;
use crate::support::{Engine, PATIENCE, TestApp, on_both_engines, until};

on_both_engines!(
    what_a_bot_leaves_out_gets_its_default,
    what_a_bot_sends_beyond_passes_through,
    what_a_bot_sends_beyond_is_json_for_any_reader,
    two_answers_to_one_question,
    questions_asked_at_once_are_told_apart,
    the_second_question_keeps_its_conversation,
    an_answer_is_stored_though_nobody_waits_for_it,
    a_conversation_deleted_while_the_bot_answers,
);

async fn what_a_bot_leaves_out_gets_its_default(engine: Engine) {
    let app = TestApp::start(engine).await;
    let said = r#"{"text":"a","properties":{"icon":"X","source":{"id":"M"}}}"#;
    let partial = ask(&app.anonymous(), &format!("say {said}")).await;
    partial.is(
        200,
        r#"{"status":200,"message":"success","session_id":"<session>","conversation_id":<id>,
            "question_id":<id>,"message_ids":[<id>],"data":[{"text":"a",
            "properties":{"icon":"X","source":{"id":"M","display_name":"echo","source":"echo"},
            "allow_markdown":false,"state":"complete","text_color":"","background_color":""},
            "category":"message","id":"<uuid>","flow_id":"8f0685f9-5f2d-5132-870f-99024fc2726b",
            "suggest_links":[]}]}"#,
    );
    let text = ask(&app.anonymous(), r#"say "halo *you*""#).await;
    text.is(
        200,
        r#"{"status":200,"message":"success","session_id":"<session>","conversation_id":<id>,
            "question_id":<id>,"message_ids":[<id>],"data":[{"text":"halo *you*",
            "properties":{"source":{"id":"echo","display_name":"echo","source":"echo"},"icon":"",
            "allow_markdown":false,"state":"complete","text_color":"","background_color":""},
            "category":"message","id":"<uuid>","flow_id":"8f0685f9-5f2d-5132-870f-99024fc2726b",
            "suggest_links":[]}]}"#,
    );
    assert_ne!(partial.json()["data"][0]["id"], text.json()["data"][0]["id"]);
    // An object with nothing to show is no answer.
    ask(&app.anonymous(), "say {}").await.has_status(502);

    // What is stored is what was said.
    let program = app.program();
    let list = program.get("/api/message").await;
    assert!(list.text.contains(&format!(r#""payload":{said},"#)), "{}", list.text);
    assert_eq!(column(&list.ok(), "payload")[3], &Value::Null);
    assert_eq!(column(&list.ok(), "message")[3], "halo *you*");
    let chats = program.get("/api/conversation?order=asc").await.ok();
    let shown = column(&chats, "last_messages");
    assert_eq!(shown[..2], [&serde_json::from_str::<Value>(said).unwrap(), &json!("halo *you*")]);
    app.stop().await;
}

async fn what_a_bot_sends_beyond_passes_through(engine: Engine) {
    let app = TestApp::start(engine).await;
    let link = r#"{"title":"T","url":"https://example.org/?a=1&b=2","kind":"page"}"#;
    let said =
        format!(r#"{{"score":1.00,"text":"a","suggest_links":[{link}],"flow_id":7,"properties":"odd"}}"#);
    let answer = ask(&app.anonymous(), &format!("say [{said}]")).await;
    answer.is(
        200,
        r#"{"status":200,"message":"success","session_id":"<session>","conversation_id":<id>,
            "question_id":<id>,"message_ids":[<id>],"data":[{"score":1.00,"text":"a",
            "suggest_links":[{"title":"T","url":"https://example.org/?a=1&b=2","kind":"page"}],"flow_id":7,
            "properties":"odd","category":"message","id":"<uuid>"}]}"#,
    );
    assert!(answer.text.contains(&said[..said.len() - 1]), "{}", answer.text);
    app.stop().await;
}

async fn what_a_bot_sends_beyond_is_json_for_any_reader(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (visitor, program) = (app.anonymous(), app.program());
    let said = format!(
        r#"{{"text":"a","z":1.0,"deep":{}{},"n":[1e999,2E2],"s":"\ud83d","z":1e2,"o":{{"\ud83d":1,"\ude00":2}}}}"#,
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    let kept = format!(
        r#"{{"text":"a","z":1e2,"deep":{}null{},"n":["1e999",2E2],"s":"\ufffd","o":{{"\ufffd":2}}"#,
        "[".repeat(63),
        "]".repeat(63)
    );
    let answer = ask(&visitor, &format!("say [{said},{said}]")).await;
    let asked = answer.ok();
    assert_eq!(asked["data"].as_array().unwrap().len(), 2);
    let session = asked["session_id"].as_str().unwrap();
    let thread = visitor.get(&format!("/api/questions/{session}")).await;
    let list = program.get("/api/message").await;
    let id = &list.ok()["data"][0]["conversationId"];
    let chat = program.get(&format!("/api/conversation/{}", id.as_str().unwrap())).await;
    for shown in [answer, thread, list, chat, program.get("/api/conversation").await] {
        shown.ok();
        assert!(shown.text.contains(&kept), "{}", shown.text);
    }
    app.stop().await;
}

async fn two_answers_to_one_question(engine: Engine) {
    let app = TestApp::start(engine).await;
    let asked = ask(&app.anonymous(), r#"say [{"text":"one"},"two",{"text":"three"}]"#).await.ok();
    assert_eq!(column(&asked, "text"), ["one", "two", "three"]);
    let stored = messages(&app.program()).await;
    assert_eq!(column(&stored, "message")[1..], ["one", "two", "three"]);
    let question = &stored["data"][0]["id"];
    assert_eq!(column(&stored, "replyTo"), [&Value::Null, question, question, question]);
    app.stop().await;
}

async fn questions_asked_at_once_are_told_apart(engine: Engine) {
    let app = TestApp::start(engine).await;
    let visitor = app.anonymous();
    let session = ask(&visitor, "first").await.ok()["session_id"].clone();
    // The later ones are answered first.
    let asking = (0..8).map(|number| {
        let (visitor, session) = (visitor.clone(), session.clone());
        async move {
            let text = format!("wait {}", 400 - 50 * number);
            let answer = ask_on(&visitor, &session, &text).await.ok();
            assert_eq!(answer["session_id"], session);
            assert_eq!(column(&answer, "text"), [&json!(format!("echo: {text}"))]);
        }
    });
    join_all(asking).await;
    let stored = messages(&app.program()).await;
    let stored = stored["data"].as_array().unwrap();
    assert_eq!(stored.len(), 18);
    for answer in stored.iter().filter(|message| message["role"] == "bot") {
        let question = stored.iter().find(|message| message["id"] == answer["replyTo"]).unwrap();
        assert_eq!(answer["message"], format!("echo: {}", question["message"].as_str().unwrap()));
        assert_eq!(answer["conversationId"], question["conversationId"]);
    }
    app.stop().await;
}

async fn the_second_question_keeps_its_conversation(engine: Engine) {
    let app = TestApp::start(engine).await;
    let visitor = app.anonymous();
    let session = ask(&visitor, "one").await.ok()["session_id"].clone();
    assert_eq!(ask_on(&visitor, &session, "two").await.ok()["session_id"], session);
    let chats = app.program().get("/api/conversation").await;
    assert_eq!(chats.ok()["meta"]["total"], 1);
    assert_eq!(chats.json()["data"][0]["session_id"], session);
    chats.is(
        200,
        r#"{"status":200,"message":"success",
            "meta":{"total":1,"perPage":10,"currentPage":1,"lastPage":1,"nextPageUrl":null,"prevPageUrl":null},
            "data":[{"id":<id>,"session_id":"<session>","last_messages":{"text":"echo: two"},"messages":[
                {"id":<id>,"sender_type":"question","message":"one",
                    "createdAt":"<time>","updatedAt":"<time>","conversationId":<id>},
                {"id":<id>,"sender_type":"answer","message":{"text":"echo: one"},
                    "createdAt":"<time>","updatedAt":"<time>","conversationId":<id>},
                {"id":<id>,"sender_type":"question","message":"two",
                    "createdAt":"<time>","updatedAt":"<time>","conversationId":<id>},
                {"id":<id>,"sender_type":"answer","message":{"text":"echo: two"},
                    "createdAt":"<time>","updatedAt":"<time>","conversationId":<id>}],
                "messageCount":4,"room":"website-<id>","integrationType":"website","botId":"echo",
                "handler":"bot","createdAt":"<time>","updatedAt":"<time>"}]}"#,
    );
    assert_ne!(ask(&visitor, "three").await.ok()["session_id"], session);
    assert_eq!(app.program().get("/api/conversation").await.ok()["meta"]["total"], 2);
    app.stop().await;
}

async fn an_answer_is_stored_though_nobody_waits_for_it(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (visitor, program) = (app.anonymous(), app.program());
    let asking = tokio::spawn(async move { ask(&visitor, "wait 1500").await });
    app.bot.until_asked(1).await;
    asking.abort();
    assert!(asking.await.unwrap_err().is_cancelled());
    let stored = async || messages(&program).await["pagination"]["totalItems"] == 2;
    until(PATIENCE, "the answer is stored", stored).await;
    let stored = messages(&program).await;
    assert_eq!(column(&stored, "message"), ["wait 1500", "echo: wait 1500"]);
    assert_eq!(stored["data"][1]["replyTo"], stored["data"][0]["id"]);
    app.stop().await;
}

async fn a_conversation_deleted_while_the_bot_answers(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (visitor, program) = (app.anonymous(), app.program());
    let asking = tokio::spawn(async move { ask(&visitor, "wait 2000").await });
    app.bot.until_asked(1).await;
    let chats = program.get("/api/conversation").await.ok();
    program.delete(&format!("/api/conversation/{}", chats["data"][0]["id"])).await.ok();
    asking.await.unwrap().is(404, SESSION_NOT_FOUND);
    assert_eq!(messages(&program).await["pagination"]["totalItems"], 0);
    assert_eq!(program.get("/api/conversation").await.ok()["meta"]["total"], 0);
    app.stop().await;
}
