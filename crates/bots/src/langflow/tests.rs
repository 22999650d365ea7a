mod oddities;

use std::collections::HashSet;

use futures_util::FutureExt;
use proptest::collection::vec;
use proptest::prelude::{Strategy, prop_oneof};
use proptest::sample::select;
use serde_json::{Value, json};
use wicara_fuzz::{fuzz, json, json_leaf, mutated};
use wicara_model::{Answer, Json};

use super::*;
use crate::replay::{Recorded, SESSION, Server, ask, cassette, question, registry};
use crate::{Error, Registry};

const ANSWER_TEXT: &str = "Opening hours: 08.00 to 16.00 café 😀";
const QUESTION_TEXT: &str = "When do you open?";

fn bots(server: &Server, more: &str) -> Registry {
    registry(&format!("kind = 'langflow'\nurl = '{}'\nflow = 'hours'\nretries = 0\n{more}", server.url))
}

/// The result of asking a server that sends this response, and the streamed text.
async fn ask_server(response: Recorded, chunk_bytes: usize) -> (Result<Vec<Answer>, Error>, String) {
    let server = Server::start(vec![response], chunk_bytes).await;
    ask(&bots(&server, ""), question(QUESTION_TEXT)).await
}

fn texts(answers: &[Answer]) -> Vec<&str> {
    answers.iter().map(|answer| answer.text.as_str()).collect()
}

/// A whole response of v1 with these outputs.
fn run(outputs: &str) -> Recorded {
    Recorded::json(200, format!(r#"{{"outputs":[{{"inputs":{{}},"outputs":[{outputs}]}}]}}"#))
}

#[tokio::test]
async fn a_recorded_stream_is_the_same_however_it_is_cut() {
    for (name, text) in [
        ("langflow-1.13/v1-stream.txt", ANSWER_TEXT),
        ("langflow-1.13/v1-stream-without-tokens.txt", QUESTION_TEXT),
        ("langflow-1.2/v1-stream.txt", ANSWER_TEXT),
        ("langflow-1.13/v2-stream.txt", ANSWER_TEXT),
        ("langflow-1.13/v2-stream-slow.txt", "slept"),
    ] {
        for chunk_bytes in [1, 61, 1_000_000] {
            let (answers, tokens) = ask_server(Recorded::stream(cassette(name)), chunk_bytes).await;
            assert_eq!(
                (texts(&answers.unwrap()), tokens.as_str()),
                (vec![text], text),
                "{name}, {chunk_bytes}"
            );
        }
    }
}

#[tokio::test]
async fn a_recorded_whole_answer_is_taken_too() {
    for name in ["langflow-1.13/v1-run.txt", "langflow-1.2/v1-run.txt", "langflow-1.13/v2-sync.txt"] {
        let (answers, tokens) = ask_server(Recorded::json(200, cassette(name)), 1000).await;
        assert_eq!(
            (texts(&answers.unwrap()), tokens.as_str()),
            (vec![QUESTION_TEXT], QUESTION_TEXT),
            "{name}"
        );
    }
}

#[tokio::test]
async fn the_answer_object_keeps_the_fields_for_visitors_alone() {
    let (answers, _) = ask_server(Recorded::stream(cassette("langflow-1.13/v1-stream.txt")), 1000).await;
    let payload = answers.unwrap().remove(0).payload.unwrap();
    assert_eq!(
        payload.as_str(),
        "{\"text\":\"Opening hours: 08.00 to 16.00 café 😀\",\"properties\":{\"edited\":false,\
         \"source\":{\"id\":\"Streaming-ccccc\",\"display_name\":\"Streaming\",\"source\":\"Streaming\"},\
         \"allow_markdown\":false,\"state\":\"complete\",\"targets\":[]},\"category\":\"message\",\
         \"id\":\"00000000-0000-4000-8000-000000000004\",\"flow_id\":\"00000000-0000-4000-8000-000000000003\"}"
    );
    let links = r#"[{"title":"A", "url":"https://a.example"}]"#;
    let more =
        format!(r#"{{"text":"a","id":"5","suggest_links":{links},"session_id":"s","content_blocks":[1]}}"#);
    let (answers, _) =
        ask_server(run(&format!(r#"{{"results":{{"message":{{"data":{more}}}}}}}"#)), 1000).await;
    let payload = answers.unwrap().remove(0).payload.unwrap();
    assert_eq!(payload.as_str(), format!(r#"{{"text":"a","id":"5","suggest_links":{links}}}"#));
}

#[tokio::test]
async fn a_text_is_found_in_each_of_its_fields() {
    for output in [
        r#"{"outputs":{"message":{"message":"Halo","type":"text"}}}"#,
        r#"{"outputs":{"message":{"message":{"text":"Halo"}}}}"#,
        r#"{"results":{"message":{"text":"Halo"}}}"#,
        r#"{"results":{"message":{"text":"","data":{"text":"Halo"}}}}"#,
        r#"{"results":{"message":null},"artifacts":{"message":"Halo"}}"#,
        r#"{"outputs":[],"results":5,"artifacts":[],"messages":[{"message":"Halo"}]}"#,
    ] {
        let (answers, _) = ask_server(run(output), 1000).await;
        assert_eq!(texts(&answers.unwrap()), ["Halo"], "{output}");
    }
}

#[tokio::test]
async fn an_answer_that_few_json_decoders_take_is_not_lost() {
    let deep = format!("{}1e999{}", "[".repeat(100_000), "]".repeat(100_000));
    let message = format!(
        r#"{{"text":"x","\ud83d":1,"text":"Halo \ud83d","properties":{{"deep":{deep},"n":1e999,"a":1,"a":2}}}}"#
    );
    let kept = format!(
        r#"{{"text":"Halo \ufffd","properties":{{"deep":{}null{},"n":"1e999","a":2}}}}"#,
        "[".repeat(62),
        "]".repeat(62)
    );
    let output =
        format!(r#"{{"results":{{"\ude00":0,"message":1,"message":{{"data":{message}}}}},"logs":{deep}}}"#);
    let response = format!(r#"{{"\ud83d":{deep},"outputs":[],"outputs":[{{"outputs":[{output}]}}]}}"#);
    let end = format!(
        "{{\"event\":\"end\",\"event\":\"end\",\"\\ud83d\":0,\"data\":{{\"result\":{response}}}}}\n\n"
    );
    for answer in [Recorded::json(200, response), Recorded::stream(end)] {
        let (answers, _) = ask_server(answer, 1 << 20).await;
        let answers = answers.unwrap();
        assert_eq!(texts(&answers), ["Halo \u{fffd}"]);
        let payload: Value = serde_json::from_str(answers[0].payload.as_ref().unwrap().as_str()).unwrap();
        assert_eq!(payload, serde_json::from_str::<Value>(&kept).unwrap());
    }
    let workflow =
        r#"{"status":"completed","\ud83d":1,"output":{"text":"a"},"output":{"text":"Halo \ud83d"}}"#;
    let token = r#"{"event":"token","event":"token","data":{"id":"1","chunk":"Ha\ud83d","x":1e999}}"#;
    let stream = format!("{token}\n\n{{\"event\":\"end\",\"data\":{{\"result\":{workflow}}}}}\n\n");
    let (answers, tokens) = ask_server(Recorded::stream(stream), 1000).await;
    assert_eq!((texts(&answers.unwrap()), tokens.as_str()), (vec!["Halo \u{fffd}"], "Ha\u{fffd}"));
}

#[tokio::test]
async fn each_output_is_an_answer_and_the_same_text_is_one() {
    let output = |text: &str| format!(r#"{{"results":{{"message":{{"text":"{text}"}}}}}}"#);
    let outputs = [output("one"), "{}".into(), output("two"), output("one"), output(" ")].join(",");
    let (answers, tokens) = ask_server(run(&outputs), 1000).await;
    assert_eq!((texts(&answers.unwrap()), tokens.as_str()), (vec!["one", "two"], "one\n\ntwo"));

    let several = r#"{"status":"completed","output":{"reason":"multiple","text":null},"has_errors":false,"outputs":{
        "B":{"status":"completed","content":"one"},"A":{"content":"two"},"C":{"content":{"no":"text"}}}}"#;
    let (answers, _) = ask_server(Recorded::json(200, several), 1000).await;
    assert_eq!(texts(&answers.unwrap()), ["one", "two"]);

    let event = |event: &str, data: &str| format!("data: {{\"event\":\"{event}\",\"data\":{data}}}\n\n");
    let stream = [
        event("token", r#"{"id":"1","chunk":"o"}"#),
        event("token", r#"{"id":"2","chunk":"never mind"}"#),
        event("token", r#"{"id":"1","chunk":"ne"}"#),
        event("output", r#"{"status":"completed","content":"one"}"#),
        event("output", r#"{"status":"completed","content":"one"}"#),
        event("output", r#"{"status":"completed","content":"two"}"#),
        event("end", "{}"),
        event("error", "{}"),
    ];
    let (answers, tokens) = ask_server(Recorded::stream(stream.concat()), 1000).await;
    assert_eq!((texts(&answers.unwrap()), tokens.as_str()), (vec!["one", "two"], "one\n\ntwo"));
}

#[tokio::test]
async fn an_error_instead_of_an_answer_is_the_bots_failure() {
    let stream = |name: &str| Recorded::stream(cassette(name));
    let whole = |name: &str| Recorded::json(200, cassette(name));
    let warning = r#"{"results":{"message":{"data":{"text":"no credit","category":"error"}}}}"#;
    for (answer, error_text, tokens) in [
        (stream("langflow-1.13/v1-stream-failed.txt"), "the model is away", ""),
        (stream("langflow-1.13/v1-stream-failed-midway.txt"), "failure half way", "Opening hours: "),
        (stream("langflow-1.13/v2-stream-failed.txt"), "the model is away", ""),
        (stream("langflow-1.13/v2-stream-failed-midway.txt"), "failure half way", "Opening hours: "),
        (whole("langflow-1.13/v2-sync-failed.txt"), "the model is away", ""),
        (
            Recorded::json(200, r#"{"status":"completed","has_errors":true,"output":{"text":"x"}}"#),
            "has_errors",
            "",
        ),
        (Recorded::json(200, r#"{"status":"suspended","output":{"text":"x"}}"#), "suspended", ""),
        (run(warning), "no credit", ""),
        (run(r#"{"results":{"message":{"text":"no credit","error":true}}}"#), "no credit", ""),
        (run(r#"{"outputs":{"message":{"message":"no credit","type":"error"}}}"#), "no credit", ""),
        (Recorded::json(200, r#"{"detail":"no credit"}"#), "no credit", ""),
        (Recorded::json(200, r#"{"outputs":[],"error":"no credit"}"#), "no credit", ""),
        (
            Recorded::json(200, r#"{"status":"completed","output":{"text":"x"},"errors":["no credit"]}"#),
            "no credit",
            "",
        ),
        (
            Recorded::stream(
                "{\"event\":\"add_message\",\"data\":{\"text\":\"no credit\",\"category\":\"error\"}}\n\n\
                 {\"event\":\"end\",\"data\":{}}\n\n",
            ),
            "no credit",
            "",
        ),
        (Recorded::stream("{\"event\":\"end\",\"data\":{\"error\":\"no credit\"}}\n\n"), "no credit", ""),
        (Recorded::stream("event: error\ndata: no credit\n\n"), "no credit", ""),
    ] {
        let (answers, streamed) = ask_server(answer, 1000).await;
        let Err(Error::Failed(error)) = answers else { panic!("{answers:?}") };
        assert!(error.reveal().contains(error_text), "{}", error.reveal());
        assert_eq!(streamed, tokens);
    }
    for (name, expected) in [("v1-run-failed.txt", 500), ("v1-wrong-key.txt", 403), ("v1-no-key.txt", 403)] {
        let recorded = Recorded::json(expected, cassette(&format!("langflow-1.13/{name}")));
        let (answers, _) = ask_server(recorded, 1000).await;
        assert!(matches!(answers, Err(Error::Rejected { status, .. }) if status == expected), "{answers:?}");
    }
}

#[tokio::test]
async fn what_was_streamed_whole_is_the_answer_where_the_end_has_none() {
    let token =
        |chunk: &str| format!("{{\"event\":\"token\",\"data\":{{\"id\":\"1\",\"chunk\":\"{chunk}\"}}}}\n\n");
    let tokens = token("Halo \\ud83d") + &token("\\ude0a!");
    let message = r#"{"event":"add_message","data":{"sender":"Machine","id":"1","text":"Halo 😊!","category":"message"}}"#;
    let asked = r#"{"event":"add_message","data":{"sender":"User","id":"0","text":"When?"}}"#;
    let no_text = r#"{"result":{"outputs":[{"outputs":[{"results":{"message":{"text":""}}}]}]}}"#;
    for (stream, has_object, streamed) in [
        (format!("{asked}\n\n{tokens}{message}\n\n"), true, "Halo 😊!"),
        (format!("{message}\n\n"), true, "Halo 😊!"),
        (tokens.clone(), false, "Halo 😊!"),
        // A message that was added before the last token is not the whole one.
        (message.replace("Halo 😊!", "Halo") + &tokens, false, "Halo 😊!"),
    ] {
        for end in [r#"{"text":""}"#, "{}", "null", no_text] {
            let stream = format!("{stream}{{\"event\":\"end\",\"data\":{end}}}\n\n");
            let (answers, tokens) = ask_server(Recorded::stream(stream.clone()), 1000).await;
            let answers = answers.unwrap_or_else(|error| panic!("{error}: {stream}"));
            assert_eq!((texts(&answers), tokens.as_str()), (vec!["Halo 😊!"], streamed), "{stream}");
            assert_eq!(answers[0].payload.is_some(), has_object, "{stream}");
        }
    }
    for stream in [format!("{asked}\n\n"), token(" ")] {
        let stream = format!("{stream}{{\"event\":\"end\",\"data\":{{}}}}\n\n");
        let (answers, _) = ask_server(Recorded::stream(stream), 1000).await;
        assert!(matches!(answers, Err(Error::Unreadable(_))), "{answers:?}");
    }
}

#[tokio::test]
async fn a_stream_without_its_end_is_no_answer() {
    let cut = |name: &str| {
        let whole = cassette(name);
        let end = whole.windows(6).rposition(|bytes| bytes == b"\"end\",").unwrap();
        Recorded::stream(&whole[..end])
    };
    for (answer, tokens) in [
        (Recorded::stream(cassette("langflow-1.2/v1-stream-failed.txt")), ""),
        (Recorded::stream(cassette("langflow-1.2/v1-stream-failed-midway.txt")), "Opening hours: "),
        (cut("langflow-1.13/v1-stream.txt"), ANSWER_TEXT),
        (cut("langflow-1.13/v2-stream.txt"), ANSWER_TEXT),
    ] {
        let (answers, streamed) = ask_server(answer, 1000).await;
        assert!(matches!(&answers, Err(Error::Unreadable(why)) if why == "it broke off"), "{answers:?}");
        assert_eq!(streamed, tokens);
    }
}

#[tokio::test]
async fn what_holds_no_answer_cannot_be_used() {
    for (answer, why) in [
        (Recorded::json(200, cassette("langflow-1.13/v1-run-empty.txt")), "there is no text in it"),
        (Recorded::json(200, "{}"), "there is no text in it"),
        (Recorded::json(200, ""), "it is empty"),
        (Recorded::json(200, r#"{"status":"completed"}"#), "there is no text in it"),
        (Recorded::json(200, "<html>"), "it is not JSON but a web page: is the address right?"),
        (Recorded::stream("{\"event\":\"end\",\"data\":{}}\n\n"), "there is no text in it"),
        (Recorded::stream("{\"event\":\"end\",\"data\":{\"result\":{}}}\n\n"), "there is no text in it"),
        (Recorded::stream("data: [DONE]\n\n"), "it broke off"),
        (Recorded::stream("data: {\"event\":5}\n\n"), "there is no text in it"),
        (
            Recorded::stream([b"data: ".to_vec(), vec![b'x'; 5 << 20]].concat()),
            "a piece of it is larger than 4199424 bytes",
        ),
        (Recorded::json(200, vec![b' '; 5 << 20]), "it is empty"),
    ] {
        let server = Server::start(vec![answer], 1 << 20).await;
        let (answers, _) = ask(&bots(&server, "max_answer_bytes = 1024"), question(QUESTION_TEXT)).await;
        assert!(
            matches!(&answers, Err(Error::Unreadable(found)) if found.contains(why)),
            "{why}: {answers:?}"
        );
    }
}

#[tokio::test]
async fn a_text_in_place_of_an_answer_is_for_the_operator() {
    for body in ["Halo dunia", "[1]"] {
        let server = Server::start(vec![Recorded::json(200, body)], 1000).await;
        let (answers, _) = ask(&bots(&server, ""), question(QUESTION_TEXT)).await;
        let Err(Error::NotJson { body: found, .. }) = &answers else { panic!("{answers:?}") };
        assert_eq!(found.reveal(), body);
        // Asked for whole, and by v2, before it is given up.
        assert_eq!(server.paths().len(), 3);
    }
}

#[tokio::test]
async fn long_logs_beside_a_short_answer_are_no_harm() {
    let output = r#"{"results":{"message":{"text":"Halo"}},"logs":{"message":["LOGS"]}}"#;
    let answer = run(&output.replace("LOGS", &"x".repeat(1 << 20)));
    let server = Server::start(vec![answer], 1 << 16).await;
    let (answers, _) = ask(&bots(&server, "max_answer_bytes = 1024"), question(QUESTION_TEXT)).await;
    assert_eq!(texts(&answers.unwrap()), ["Halo"]);
}

#[tokio::test]
async fn an_empty_stream_is_asked_for_whole_and_so_are_the_next() {
    let whole = Recorded::json(200, cassette("langflow-1.2/v1-run.txt"));
    let server = Server::start(vec![Recorded::stream(": hello\n\n"), whole], 1000).await;
    let bots = bots(&server, "");
    for _ in 0..2 {
        assert_eq!(texts(&ask(&bots, question(QUESTION_TEXT)).await.0.unwrap()), [QUESTION_TEXT]);
    }
    let path = "/api/v1/run/hours?stream=";
    assert_eq!(server.paths(), [format!("{path}true"), format!("{path}false"), format!("{path}false")]);

    let server = Server::start(vec![Recorded::stream("")], 1000).await;
    let (answers, _) = ask(&self::bots(&server, ""), question(QUESTION_TEXT)).await;
    assert!(matches!(answers, Err(Error::Unreadable(_))), "{answers:?}");
    assert_eq!(server.paths().len(), 3);
}

#[tokio::test]
async fn a_server_without_streams_is_asked_for_one_again_after_a_while() {
    let whole = || Recorded::json(200, cassette("langflow-1.2/v1-run.txt"));
    let stream = || Recorded::stream(cassette("langflow-1.13/v1-stream.txt"));
    let silent = || Recorded::stream("");
    let answers = vec![silent(), whole(), whole(), silent(), whole(), whole(), stream()];
    let server = Server::start(answers, 1000).await;
    let bots = bots(&server, "");
    let mut asked_before = 0;
    for (later, text, streams) in [
        (false, QUESTION_TEXT, &["true", "false"][..]),
        (false, QUESTION_TEXT, &["false"]),
        // The server still sends no stream.
        (true, QUESTION_TEXT, &["true", "false"]),
        (false, QUESTION_TEXT, &["false"]),
        // The server sends streams again.
        (true, ANSWER_TEXT, &["true"]),
        (false, ANSWER_TEXT, &["true"]),
    ] {
        if later {
            tokio::time::pause();
            tokio::time::advance(STREAM_RETRY_INTERVAL).await;
            tokio::time::resume();
        }
        assert_eq!(texts(&ask(&bots, question(QUESTION_TEXT)).await.0.unwrap()), [text]);
        let paths = server.paths().split_off(asked_before);
        let expected = streams.iter().map(|streams| format!("/api/v1/run/hours?stream={streams}"));
        assert_eq!(paths, expected.collect::<Vec<_>>());
        asked_before += paths.len();
    }
}

#[tokio::test(start_paused = true)]
async fn of_questions_at_once_one_tries_a_stream_again() {
    let settings = "url = 'http://127.0.0.1'\nflow = 'hours'".parse().unwrap();
    let settings = super::Settings::from_table(settings).unwrap();
    let client = Client::new(settings.url(), true).unwrap();
    let flow = Langflow::new(&settings, client, 1024).0;
    assert_eq!([(); 2].map(|()| flow.tries_a_stream()), [true, true], "it was never without");
    *flow.no_stream_until() = Some(Instant::now() + STREAM_RETRY_INTERVAL);
    assert!(!flow.tries_a_stream());
    for _ in 0..2 {
        tokio::time::advance(STREAM_RETRY_INTERVAL).await;
        assert_eq!([(); 3].map(|()| flow.tries_a_stream()), [true, false, false]);
    }
}

#[tokio::test]
async fn where_v1_is_missing_v2_is_asked_and_remembered() {
    for missing in [Recorded::json(404, r#"{"detail":"Not Found"}"#), Recorded::json(405, "")] {
        let stream = Recorded::stream(cassette("langflow-1.13/v2-stream.txt"));
        let server = Server::start(vec![missing, stream], 1000).await;
        let bots = bots(&server, "");
        for _ in 0..2 {
            assert_eq!(texts(&ask(&bots, question(QUESTION_TEXT)).await.0.unwrap()), [ANSWER_TEXT]);
        }
        let v2 = "/api/v2/workflows";
        assert_eq!(server.paths(), ["/api/v1/run/hours?stream=true", v2, v2]);
    }
}

#[tokio::test]
async fn where_v1_is_a_web_page_v2_is_asked() {
    let page = || Recorded {
        content_type: "text/html",
        ..Recorded::json(200, "\n<!doctype html><title>Langflow</title>")
    };
    let stream = Recorded::stream(cassette("langflow-1.13/v2-stream.txt"));
    let server = Server::start(vec![page(), stream], 1000).await;
    let bots = self::bots(&server, "");
    for _ in 0..2 {
        assert_eq!(texts(&ask(&bots, question(QUESTION_TEXT)).await.0.unwrap()), [ANSWER_TEXT]);
    }
    let v2 = "/api/v2/workflows";
    assert_eq!(server.paths(), ["/api/v1/run/hours?stream=true", v2, v2]);

    let is_page = "the bot's answer cannot be used: it is not JSON but a web page: is the address right?";
    let refused = |status| Recorded::json(status, r#"{"detail":"no key"}"#);
    for (second, error, said) in [
        (page(), is_page, ""),
        (refused(404), is_page, ""),
        (refused(403), "the bot answered with status 403", "no key"),
    ] {
        let server = Server::start(vec![page(), second], 1000).await;
        let (answers, _) = ask(&self::bots(&server, ""), question(QUESTION_TEXT)).await;
        let found = answers.unwrap_err();
        assert_eq!(found.to_string(), error);
        if let Error::Rejected { body, .. } = &found {
            assert!(body.reveal().contains(said), "{}", body.reveal());
        }
        assert_eq!(server.paths().len(), 2);
    }
    // What each version said reaches the operator.
    let [first, second] = ["not here", "no UUID"].map(|detail| format!(r#"{{"detail":"{detail}"}}"#));
    let server = Server::start(vec![Recorded::json(404, first), Recorded::json(422, second)], 1000).await;
    let (answers, _) = ask(&self::bots(&server, ""), question(QUESTION_TEXT)).await;
    let Err(Error::Rejected { status: 404, body, .. }) = answers else { panic!("{answers:?}") };
    assert!(body.reveal().contains("not here") && body.reveal().contains("no UUID"), "{}", body.reveal());
}

#[tokio::test]
async fn an_unknown_flow_is_the_servers_own_404() {
    let v1 = Recorded::json(404, cassette("langflow-1.13/v1-unknown-flow.txt"));
    let v2 = Recorded::json(404, cassette("langflow-1.13/v2-unknown-flow.txt"));
    for (answers, more, error_text, asked) in [
        (vec![v1.clone(), v2.clone()], "", "Flow identifier", 2),
        (vec![Recorded::json(405, "no"), v2.clone()], "", "FLOW_NOT_FOUND", 2),
        (vec![v1.clone(), Recorded::json(405, "no")], "", "Flow identifier", 2),
        (vec![v1.clone(), Recorded::json(422, "no UUID")], "", "Flow identifier", 2),
        (vec![v1], "api = 'v1'", "Flow identifier", 1),
        (vec![v2], "api = 'v2'", "FLOW_NOT_FOUND", 1),
    ] {
        let server = Server::start(answers, 1000).await;
        let (answers, _) = ask(&bots(&server, more), question(QUESTION_TEXT)).await;
        let Err(Error::Rejected { status: 404, body: found, .. }) = answers else { panic!("{answers:?}") };
        assert!(found.reveal().contains(error_text), "{}", found.reveal());
        assert_eq!(server.paths().len(), asked);
    }
}

#[tokio::test]
async fn the_request_is_what_langflow_expects() {
    let stream = Recorded::stream(cassette("langflow-1.13/v1-stream.txt"));
    let server = Server::start(vec![stream], 1000).await;
    let settings =
        format!("kind = 'langflow'\nurl = '{}/base/'\nflow = 'Jam buka/1?'\napi_key = 'hush'", server.url);
    ask(&registry(&settings), question(QUESTION_TEXT)).await.0.unwrap();
    ask(&bots(&server, "api = 'v2'"), question(QUESTION_TEXT)).await.0.unwrap();
    let [v1, v2] = server.requests().try_into().unwrap();
    assert!(v1.head.starts_with("post /base/api/v1/run/jam%20buka%2f1%3f?stream=true "), "{}", v1.head);
    assert!(v1.head.contains("x-api-key: hush\r\n"), "{}", v1.head);
    assert_eq!(
        serde_json::from_str::<Value>(&v1.body).unwrap(),
        json!({"input_value": QUESTION_TEXT, "input_type": "chat", "output_type": "chat", "session_id": SESSION})
    );
    assert!(!v2.head.contains("x-api-key"), "{}", v2.head);
    assert_eq!(
        serde_json::from_str::<Value>(&v2.body).unwrap(),
        json!({"flow_id": "hours", "session_id": SESSION, "mode": "stream", "input_value": QUESTION_TEXT})
    );
}

#[test]
fn settings_that_cannot_work_are_refused_and_tell_no_secret() {
    for (more, expected) in [
        ("url = 'http://h'", "flow is missing"),
        ("flow = 'f'", "url is missing"),
        ("url = 'ftp://h'\nflow = 'f'", "url: found an address that begins with ftp:"),
        ("url = 'http://h'\nflow = ''", "flow: it is empty"),
        (
            "url = 'http://h'\nflow = 'f'\napi_key = \"hush\\n\"",
            "api_key: no HTTP header can have this value",
        ),
        (
            "url = 'http://h'\nflow = 'f'\napi = 'v3'",
            "api: found \"v3\", allowed are \"auto\", \"v1\", \"v2\"",
        ),
        ("url = 'http://h'\nflow = 'f'\nkey = 'hush'", "key: there is no such setting; known are url, flow"),
        (
            "url = 'http://127.1'\nflow = 'f'\nprivate_addresses = false",
            "url: found 127.0.0.1, a private address",
        ),
    ] {
        let text = format!("id = 'a'\nkind = 'langflow'\n{more}");
        let error = crate::Settings::from_table(text.parse().unwrap()).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
        assert!(!error.contains("hush"), "{error}");
    }
    let text = "id = 'a'\nkind = 'langflow'\nurl = 'http://u:hush@h/?k=hush'\nflow = 'f'\napi_key = 'hush'";
    let shown = format!("{:?}", crate::Settings::from_table(text.parse().unwrap()).unwrap());
    assert!(!shown.contains("hush"), "{shown}");
}

#[tokio::test]
async fn a_name_that_resolves_to_this_machine_is_not_connected_to_unless_allowed() {
    let stream = Recorded::stream(cassette("langflow-1.13/v1-stream.txt"));
    let server = Server::start(vec![stream], 1000).await;
    let url = server.url.replace("127.0.0.1", "localhost");
    for (allowed, asked) in [(false, 0), (true, 1)] {
        let settings = format!(
            "kind = 'langflow'\nurl = '{url}'\nflow = 'f'\nprivate_addresses = {allowed}\nretries = 0"
        );
        let (answers, _) = ask(&registry(&settings), question(QUESTION_TEXT)).await;
        assert_eq!((answers.is_ok(), server.paths().len()), (allowed, asked), "{answers:?}");
        if let Err(error) = answers {
            assert!(error.to_string().contains("private_addresses = true"), "{error}");
        }
    }
}

const NAMES: &[&str] = &[
    "outputs",
    "results",
    "message",
    "messages",
    "data",
    "text",
    "artifacts",
    "status",
    "output",
    "content",
    "errors",
    "has_errors",
    "category",
    "properties",
    "source",
    "id",
    "event",
    "chunk",
    "result",
];

#[test]
fn fuzz_a_response_holds_different_texts_or_is_an_error() {
    let text = prop_oneof![select(&["\"a\"", "\"b\""]).prop_map(str::to_owned), json_leaf()]
        .prop_map(|text| format!(r#"{{"results":{{"message":{{"text":{text}}}}}}}"#));
    let output = prop_oneof![text, json(NAMES)];
    let run =
        vec(output, 0..4).prop_map(|all| format!(r#"{{"outputs":[{{"outputs":[{}]}}]}}"#, all.join(",")));
    let workflow = json(NAMES).prop_map(|output| format!(r#"{{"status":"completed","output":{output}}}"#));
    fuzz("langflow response", mutated(prop_oneof![run, workflow, json(NAMES)]), |bytes| {
        let Ok(document) = Json::parse(String::from_utf8_lossy(&bytes).into_owned()) else { return };
        let Ok(answers) = answers::of_response(document.as_str()) else { return };
        let texts: HashSet<_> = answers.iter().map(|answer| answer.text.as_str()).collect();
        assert_eq!(texts.len(), answers.len());
        assert!(texts.iter().all(|text| !text.trim().is_empty()));
        for payload in answers.iter().filter_map(|answer| answer.payload.as_ref()) {
            let payload: Value = serde_json::from_str(payload.as_str()).unwrap();
            assert!(payload["text"].is_string(), "{payload}");
        }
    });
}

#[test]
fn fuzz_a_stream_ends_in_answers_or_an_error() {
    let events = &["token", "output", "end", "error", "add_message", ""];
    let event = (select(events), json(NAMES))
        .prop_map(|(event, data)| format!(r#"{{"event":"{event}","data":{data}}}"#));
    let frame = mutated(event).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    fuzz("langflow stream", vec(frame, 0..8), |frames| {
        let frames = frames.into_iter().map(|data| Ok(Frame { event: String::new(), data, is_bare: true }));
        let items =
            decode(stream::iter(frames)).collect::<Vec<_>>().now_or_never().expect("nothing is waited for");
        let errors = items.iter().filter(|item| item.is_err()).count();
        assert!(errors == 0 || (errors == 1 && items.last().is_some_and(Result::is_err)));
    });
}
