mod oddities;

use futures_util::FutureExt;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, prop_oneof};
use serde_json::{Value, json};
use wicara_fuzz::{fuzz, json, json_leaf, mutated};
use wicara_model::{Answer, FailureReason, Turn};
use wicara_outbound::sse::Frame;

use super::*;
use crate::StreamItem;
use crate::replay::{Recorded, Server, ask, cassette, question, registry};
use crate::{Error, Registry};

const ANSWER_TEXT: &str = "Opening hours: 08.00 to 16.00, café 😀";

fn bots(server: &Server, more: &str) -> Registry {
    registry(&format!("kind = 'openai'\nurl = '{}/v1'\nmodel = 'sample'\nretries = 0\n{more}", server.url))
}

/// The result of asking a server that sends this response: the answers' texts or the error, and the streamed text.
async fn ask_server(response: Recorded, chunk_bytes: usize) -> (Result<Vec<String>, Error>, String) {
    let server = Server::start(vec![response], chunk_bytes).await;
    let (answers, tokens) = ask(&bots(&server, ""), question("When?")).await;
    let texts = answers.map(|answers| {
        assert!(answers.iter().all(|answer| answer.payload.is_none()));
        answers.into_iter().map(|answer| answer.text).collect()
    });
    (texts, tokens)
}

fn chunk(delta: &str) -> String {
    format!("data: {{\"choices\":[{{\"delta\":{delta}}}]}}\n\n")
}

const STOP: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";

#[tokio::test]
async fn a_recorded_answer_is_the_same_however_it_is_cut() {
    for (name, text) in [("litellm/stream.txt", ANSWER_TEXT), ("litellm/stream-usage.txt", ANSWER_TEXT)] {
        for chunk_bytes in [1, 7, 1000, 1_000_000] {
            let (texts, tokens) = ask_server(Recorded::stream(cassette(name)), chunk_bytes).await;
            assert_eq!(
                (texts.unwrap(), tokens.as_str()),
                (vec![text.to_owned()], text),
                "{name}, {chunk_bytes}"
            );
        }
    }
    let (texts, tokens) = ask_server(Recorded::json(200, cassette("litellm/plain.txt")), 10).await;
    assert_eq!((texts.unwrap(), tokens.as_str()), (vec![ANSWER_TEXT.to_owned()], ANSWER_TEXT));
}

#[tokio::test]
async fn what_servers_leave_out_or_add_does_no_harm() {
    let hello = chunk(r#"{"content":"Halo"}"#);
    for (body, text) in [
        (format!("{}{hello}{STOP}data: [DONE]\n\n", chunk(r#"{"role":"assistant","content":""}"#)), "Halo"),
        (format!("{hello}{}data: [DONE]\n\n", chunk(r#"{"content":null}"#)), "Halo"),
        (format!("{hello}{}data: [DONE]\n\n", chunk("null")), "Halo"),
        (format!("{hello}data: {{\"choices\":[],\"usage\":{{}}}}\n\ndata: {{}}\n\ndata: [DONE]\n\n"), "Halo"),
        (format!("{}{hello}{STOP}", chunk(r#"{"reasoning_content":"Hmm","content":null}"#)), "Halo"),
        (format!(": OPENROUTER PROCESSING\n\n{hello}{STOP}"), "Halo"),
        (format!("{hello}data:[DONE]\n\ndata: what is this\n\n"), "Halo"),
        (format!("{hello}data: [DONE]"), "Halo"),
        (format!("{hello}event: ping\ndata: ping\n\ndata: {{\"choices\n\n{STOP}"), "Halo"),
        (
            format!("{}{}{STOP}", chunk(r#"{"content":"Halo \ud83d"}"#), chunk(r#"{"content":"\ude0a!"}"#)),
            "Halo 😊!",
        ),
        (format!("{}{STOP}", chunk(r#"{"content":null,"refusal":"Maaf"}"#)), "Maaf"),
        (
            format!(
                "{}{STOP}",
                chunk(r#"{"content":[{"type":"thinking","thinking":"x"},{"type":"text","text":"Jam"}]}"#)
            ),
            "Jam",
        ),
        // What servers tell of their progress.
        (
            format!(
                "{hello}data: {{\"type\":\"ping\",\"message\":\"I work\"}}\n\ndata: {{\"message\":\"OK\"}}\n\n{STOP}"
            ),
            "Halo",
        ),
        (
            format!("{hello}data: {{\"message\":{{\"role\":\"assistant\",\"content\":\"\"}}}}\n\n{STOP}"),
            "Halo",
        ),
        (format!("{hello}{}", STOP.replace("\"stop\"", "\"wrapped_up\"")), "Halo"),
        (format!("{hello}{}", STOP.replace("\"stop\"", "{\"type\":\"stop\",\"matched\":2}")), "Halo"),
        (format!("{hello}{}", STOP.replace("}}]", "},\"error\":{\"code\":0,\"message\":\"OK\"}}]")), "Halo"),
        (hello.replace("}}]", "},\"error\":{}}],\"error\":{\"message\":null}") + STOP, "Halo"),
        ("data: {\"choices\":[{\"message\":{\"content\":\"Halo\"}}]}\n\n".to_owned(), "Halo"),
        (format!("{hello}{STOP}").replace("\n\n", "\n"), "Halo"),
        (
            format!(
                "data: {{\"error\":null,\"choices\":[{{\"delta\":{{\"content\":\"a\"}},\"finish_reason\":\"\",\"x\":[1]}}]}}\n\n{hello}{STOP}"
            ),
            "aHalo",
        ),
    ] {
        let (texts, tokens) = ask_server(Recorded::stream(body.clone()), 1000).await;
        assert_eq!((texts.unwrap(), tokens.as_str()), (vec![text.to_owned()], text), "{body}");
    }
}

#[tokio::test]
async fn an_answer_that_few_json_decoders_take_is_not_lost() {
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    let odd = |name: &str, content: &str| {
        format!(
            r#"{{"\ud83d":1e999,"x":{deep},"choices":1,"choices":[{{"{name}":{{"content":"a","content":"{content}"}}}}]}}"#
        )
    };
    let whole = Recorded::json(200, odd("message", r"Halo \ud83d"));
    let stream = format!("data: {}\n\ndata: {}\n\n{STOP}", odd("delta", "Halo "), odd("delta", r"\ud83d"));
    for answer in [whole, Recorded::stream(stream)] {
        let (texts, tokens) = ask_server(answer, 1 << 20).await;
        assert_eq!((texts.unwrap(), tokens.as_str()), (vec!["Halo \u{fffd}".to_owned()], "Halo \u{fffd}"));
    }
}

#[tokio::test]
async fn an_incomplete_answer_is_a_failure() {
    let hello = chunk(r#"{"content":"Halo"}"#);
    for (body, why, streamed) in [
        (hello.clone(), "it broke off", "Halo"),
        (String::new(), "it broke off", ""),
        ("<html>Welcome</html>\n\n".to_owned(), "a web page: is the address right?", ""),
        (hello.replace("}]", ",\"finish_reason\":\"\"}]"), "it broke off", "Halo"),
        (format!("{STOP}data: [DONE]\n\n"), "it is empty", ""),
        (format!("{}{STOP}", chunk(r#"{"content":" \n"}"#)), "it is empty", " \n"),
        ("data: nonsense\n\n".to_owned(), "it broke off", ""),
        (
            format!("data: {{\"choices\":[],\"x\":\"{}\"}}\n\n", "x".repeat(4_200_000)),
            "a piece of it is larger",
            "",
        ),
    ] {
        let server = Server::start(vec![Recorded::stream(body.clone())], 100_000).await;
        let (answers, tokens) = ask(&bots(&server, "max_answer_bytes = 1024"), question("When?")).await;
        let error = answers.unwrap_err();
        let (Error::Unreadable(found) | Error::NotJson { why: found, .. }) = &error else {
            panic!("{body}: {error}")
        };
        assert!(found.contains(why), "{body}: {error}");
        assert_eq!(tokens, streamed, "{body}");
    }
    for body in [r#"{"choices":[]}"#, r#"{"choices":[{"message":{"content":null}}]}"#, "{}"] {
        let (answers, _) = ask_server(Recorded::json(200, body), 1000).await;
        let Err(error) = answers else { panic!("{body}: {answers:?}") };
        assert_eq!(error.reason(), FailureReason::Unreadable, "{body}");
    }
}

#[tokio::test]
async fn a_text_in_place_of_a_completion_is_for_the_operator() {
    for body in ["Halo dunia", "[]", "\"Halo\""] {
        let (answers, tokens) = ask_server(Recorded::json(200, body), 1000).await;
        let Err(error @ Error::NotJson { body: found, .. }) = &answers else { panic!("{answers:?}") };
        assert_eq!((found.reveal(), tokens.as_str()), (body, ""));
        assert_eq!(error.reason(), FailureReason::Unreadable);
        let logged = format!("{error}{error:?}");
        assert!(!logged.contains(body), "{logged}");
    }
}

#[tokio::test]
async fn an_error_instead_of_an_answer_is_the_bots_failure() {
    let midway = cassette("litellm/stream-failed-midway.txt");
    let half = chunk(r#"{"content":"Syaratnya: KTP, "}"#);
    let after_half = |end: &str| Recorded::stream(format!("{half}data: {end}\n\ndata: [DONE]\n\n"));
    for end in [
        r#"{"choices":[{"delta":{"content":""},"finish_reason":"error","error":{"code":502,"message":"away"}}]}"#,
        r#"{"choices":[{"delta":{"content":""},"finish_reason":"error"}],"x":"away"}"#,
        r#"{"choices":[{"delta":{"error":"away"},"finish_reason":"stop"}]}"#,
        r#"{"choices":[{"message":{"error":{"message":"away"}},"finish_reason":"stop"}]}"#,
        r#"{"choices":[{"delta":{},"finish_reason":"abort"}],"x":"away"}"#,
        r#"{"error":"away"}"#,
        r#"{"error":{"message":"away"},"choices":[{"delta":{},"finish_reason":"stop"}]}"#,
        r#"{"object":"error","message":"away"}"#,
        r#""error: away""#,
        "[ERROR] away",
        "{}\nevent: error",
        // Without a choice in it.
        r#"{"type":"server_error","x":"away"}"#,
        r#"{"type":"server_error","message":"away"}"#,
        r#"{"message":"away"}"#,
        r#"{"choices":[],"msg":"away"}"#,
        r#"{"Error":"away"}"#,
        r#"{"status":"processing","code":17,"message":"away"}"#,
        r#"{"message":{"text":"away"}}"#,
        r#"{"ERROR":{"message":"away"}}"#,
        r#"{"failure":"away"}"#,
        r#"{"error_type":"away"}"#,
        r#"{"data":{"error":"away"}}"#,
        "{}\nevent: exception",
        "{}\nevent: fail",
        "Internal Server Error: away",
        "upstream request timeout: away",
        r#"[{"error":{"message":"away"}}]"#,
        r#"{"choices":[{"delta":{},"finish_reason":"stop","native_finish_reason":"error"}],"x":"away"}"#,
        r#"{"choices":[{"delta":{},"finish_reason":"internal"}],"x":"away"}"#,
        r#"{"choices":[{"delta":{},"finish_reason":"oom"}],"x":"away"}"#,
        // Reasons for an end that is none.
        r#"{"choices":[{"delta":{},"finish_reason":"exception"}],"x":"away"}"#,
        r#"{"choices":[{"delta":{},"finish_reason":"disconnected"}],"x":"away"}"#,
        r#"{"choices":[{"delta":{},"finish_reason":"server_shutdown"}],"x":"away"}"#,
        r#"{"choices":[{"delta":{},"finish_reason":{"type":"abort","message":"away"}}]}"#,
        r#"{"choices":[{"delta":{},"finish_reason":{"type":"stop","status":"failed","message":"away"}}]}"#,
    ] {
        let (answers, streamed) = ask_server(after_half(end), 100).await;
        let Err(Error::Failed(error)) = answers else { panic!("{end}: {answers:?}") };
        let said = error.reveal();
        assert!(
            said.contains("away") || said.is_empty() || end.contains(&format!(r#"finish_reason":"{said}""#)),
            "{end}: {said}"
        );
        assert_eq!(streamed, "Syaratnya: KTP, ");
    }
    for (answer, error_text, tokens) in [
        (Recorded::stream(midway), "half way", "Opening hours are"),
        (Recorded::stream("event: error\ndata: overloaded\n\n"), "overloaded", ""),
        (Recorded::json(200, r#"{"error":{"message":"no credit"}}"#), "no credit", ""),
    ] {
        let (answers, streamed) = ask_server(answer, 100).await;
        let Err(Error::Failed(error)) = answers else { panic!("{answers:?}") };
        assert!(error.reveal().contains(error_text), "{}", error.reveal());
        assert_eq!(streamed, tokens);
    }
    for (name, expected) in [
        ("unknown-model.txt", 400),
        ("wrong-key.txt", 400),
        ("rate-limited.txt", 429),
        ("upstream-away.txt", 500),
        ("no-key.txt", 500),
    ] {
        let (answers, _) =
            ask_server(Recorded::json(expected, cassette(&format!("litellm/{name}"))), 100).await;
        assert!(matches!(answers, Err(Error::Rejected { status, .. }) if status == expected), "{answers:?}");
    }
}

#[tokio::test]
async fn the_model_gets_the_earlier_messages() {
    let server = Server::start(vec![Recorded::stream(cassette("litellm/stream.txt"))], 1000).await;
    let bots = bots(&server, "api_key = 'hush'\nsystem = 'Be brief.'\nhistory = 7");
    assert_eq!(bots.get("a").unwrap().history(), 7);
    let turn = |speaker, text: &str| Turn { speaker, text: text.to_owned() };
    let mut asked = question("And \"now\"?\n");
    asked.history = vec![
        turn(Speaker::Assistant, "Welcome."),
        turn(Speaker::User, "Halo"),
        turn(Speaker::Assistant, "Hi."),
        turn(Speaker::Assistant, "How can I help?"),
        turn(Speaker::User, "When?"),
    ];
    ask(&bots, asked).await.0.unwrap();
    let request = server.requests().remove(0);
    assert!(request.head.starts_with("post /v1/chat/completions http/1.1\r\n"), "{}", request.head);
    assert!(request.head.contains("authorization: bearer hush\r\n"), "{}", request.head);
    assert_eq!(
        serde_json::from_str::<Value>(&request.body).unwrap(),
        json!({
            "model": "sample",
            "stream": true,
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Halo"},
                {"role": "assistant", "content": "Hi.\n\nHow can I help?"},
                {"role": "user", "content": "When?\n\nAnd \"now\"?\n"},
            ],
        })
    );
}

#[tokio::test]
async fn without_a_key_and_a_system_text_none_is_sent_and_the_query_stays() {
    let server = Server::start(vec![Recorded::stream(cassette("litellm/stream.txt"))], 1000).await;
    let url = format!("{}/openai/?api-version=1", server.url);
    let bots = registry(&format!("kind = 'openai'\nurl = '{url}'\nmodel = 'sample'"));
    ask(&bots, question("When?")).await.0.unwrap();
    let request = server.requests().remove(0);
    assert!(request.head.starts_with("post /openai/chat/completions?api-version=1 "), "{}", request.head);
    assert!(!request.head.contains("authorization"), "{}", request.head);
    let expected = r#"{"model":"sample","messages":[{"role":"user","content":"When?"}],"stream":true}"#;
    assert_eq!(request.body, expected);
}

#[test]
fn settings_that_cannot_work_are_refused_and_tell_no_secret() {
    for (more, expected) in [
        ("url = 'http://h'", "model is missing"),
        ("model = 'm'", "url is missing"),
        ("url = 'h'\nmodel = 'm'", "url: no address"),
        ("url = 'http://h'\nmodel = ' '", "model: it is empty"),
        (
            "url = 'http://h/v1/chat/completions/?a=b'\nmodel = 'm'",
            "url: it ends in /chat/completions, which is added",
        ),
        (
            "url = 'http://h'\nmodel = 'm'\nhistory = 201",
            "history: found 201, allowed are whole numbers from 0 to 200",
        ),
        ("url = 'http://h'\nmodel = 'm'\nhistory = -1", "history: found -1, allowed"),
        (
            "url = 'http://h'\nmodel = 'm'\napi_key = \"hush\\n\"",
            "api_key: no HTTP header can have this value",
        ),
        (
            "url = 'http://h'\nmodel = 'm'\nheaders = {}",
            "headers: there is no such setting; known are url, model",
        ),
    ] {
        let text = format!("id = 'a'\nkind = 'openai'\n{more}");
        let error = crate::Settings::from_table(text.parse().unwrap()).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
        assert!(!error.contains("hush"), "{error}");
    }
    let text = "id = 'a'\nkind = 'openai'\nurl = 'http://u:hush@h/?k=hush'\nmodel = 'm'\napi_key = 'hush'";
    let shown = format!("{:?}", crate::Settings::from_table(text.parse().unwrap()).unwrap());
    assert!(!shown.contains("hush"), "{shown}");
}

const NAMES: &[&str] = &["choices", "delta", "message", "content", "finish_reason", "error"];

/// The tokens in a stream of these frames, and its end.
fn decoded(frames: Vec<Frame>) -> (String, Result<Answer, Error>) {
    let items = decode(stream::iter(frames.into_iter().map(Ok))).collect::<Vec<_>>();
    let mut items = items.now_or_never().expect("nothing is waited for");
    let last = items.pop().expect("a stream ends in an answer or an error");
    let tokens = items.into_iter().map(|item| match item {
        Ok(StreamItem::Token(token)) => token,
        other => panic!("before the end: {other:?}"),
    });
    let last = last.map(|item| match item {
        StreamItem::Answer(answer) => answer,
        StreamItem::Token(_) => panic!("a token at the end"),
    });
    (tokens.collect(), last)
}

#[test]
fn fuzz_an_answer_is_the_text_of_its_tokens() {
    let delta =
        json_leaf().prop_map(|content| format!(r#"{{"choices":[{{"delta":{{"content":{content}}}}}]}}"#));
    let end = Just(r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#.to_owned());
    let data = prop_oneof![6 => delta, 2 => json(NAMES), 1 => end, 1 => Just("[DONE]".to_owned())];
    let frame = mutated(data).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    fuzz("completions", vec(frame, 0..8), |frames| {
        let frames = frames.into_iter().map(|data| Frame { event: String::new(), data, is_bare: true });
        let (tokens, end) = decoded(frames.collect());
        if let Ok(answer) = end {
            assert_eq!(answer.text.replace('\u{fffd}', "\0"), tokens.replace('\u{fffd}', "\0"));
            assert!(!tokens.trim().is_empty());
        }
    });
}

#[test]
fn fuzz_a_whole_completion_has_a_text_or_an_error() {
    fuzz("completion", mutated(json(NAMES)), |bytes| {
        let data = String::from_utf8_lossy(&bytes).into_owned();
        let (tokens, end) = decoded(vec![Frame { event: String::new(), data, is_bare: true }]);
        assert!(end.is_err() || !tokens.trim().is_empty());
    });
}

#[tokio::test]
async fn what_is_finished_is_answered_though_the_connection_stays_open() {
    let hello = chunk(r#"{"content":"Halo"}"#);
    let whole = r#"{"choices":[{"message":{"content":"Halo"},"finish_reason":"stop"}]}"#;
    for body in [
        format!("{hello}{STOP}"),
        format!("{hello}{}", STOP.trim_end()),
        format!("{hello}data: [DONE]"),
        "data: {\"choices\":[{\"delta\":{\"content\":\"Halo\"},\"finish_reason\":\"stop\"}]}".to_owned(),
        whole.to_owned(),
    ] {
        let (texts, _) = ask_server(Recorded { hangs: true, ..Recorded::stream(body.clone()) }, 1000).await;
        assert_eq!(texts.unwrap(), ["Halo"], "{body}");
    }
}

#[tokio::test]
async fn the_growing_message_in_each_piece_may_be_as_long_as_it_likes() {
    let mut body = String::new();
    let mut said = String::new();
    for piece in 0..3000 {
        said.push_str(&format!("{piece:07}. "));
        let piece = format!(r#""delta":{{"content":"{piece:07}. "}},"message":{{"content":"{said}"}}"#);
        body.push_str(&format!("data: {{\"choices\":[{{{piece}}}]}}\n\n"));
    }
    assert!(body.len() > 35 << 20);
    let (texts, _) = ask_server(Recorded::stream(body + STOP), 1 << 20).await;
    assert_eq!(texts.unwrap(), [said]);
    // Without pieces beside it.
    let growing = ["Ha", "Halo \\ud83d", "Halo \\ud83d\\ude0a"].map(|said| {
        format!(
            "data: {{\"choices\":[{{\"message\":{{\"content\":\"{said}\"}},\"finish_reason\":null}}]}}\n\n"
        )
    });
    let (texts, tokens) = ask_server(Recorded::stream(growing.concat() + STOP), 1000).await;
    assert_eq!((texts.unwrap(), tokens.as_str()), (vec!["Halo 😊".to_owned()], "Halo 😊"));
    let (cut, _) = ask_server(Recorded::stream(growing[..1].concat()), 1000).await;
    assert!(matches!(cut, Err(Error::Unreadable(_))), "{cut:?}");
}

#[tokio::test]
async fn thoughts_are_left_out_unless_the_operator_wants_them() {
    let pieces = ["<thi", "nk>RAHASIA</", "think>\\n\\nJam buka"];
    let body: String = pieces.map(|piece| chunk(&format!(r#"{{"content":"{piece}"}}"#))).concat() + STOP;
    let orphan = chunk(r#"{"content":"RAHASIA</think>Jam buka"}"#) + STOP;
    let thoughts = chunk(r#"{"content":"<think>RAHASIA"}"#) + STOP;
    for (body, more, text, streamed) in [
        (&body, "", "Jam buka", "Jam buka"),
        (&orphan, "", "Jam buka", "Jam buka"),
        (&orphan, "hide_thoughts = false", "RAHASIA</think>Jam buka", "RAHASIA</think>Jam buka"),
    ] {
        let server = Server::start(vec![Recorded::stream(body.clone())], 1000).await;
        let (answers, tokens) = ask(&bots(&server, more), question("When?")).await;
        assert_eq!((answers.unwrap()[0].text.as_str(), tokens.as_str()), (text, streamed));
    }
    let (answers, tokens) = ask_server(Recorded::stream(thoughts), 1000).await;
    assert!(matches!(&answers, Err(Error::Unreadable(why)) if why.contains("thoughts alone")), "{answers:?}");
    assert_eq!(tokens, "");
}
