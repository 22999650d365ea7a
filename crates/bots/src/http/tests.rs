use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use uuid::Uuid;
use wicara_metrics::Metrics;
use wicara_model::{Answer, FailureReason, MessageId, Question};
use wicara_platform::Random;
use wiremock::matchers::{body_json, header, method, path};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use crate::{Error, Registry, Settings, tokens};

const SESSION: Uuid = Uuid::from_u128(7);

fn registry(url: &str, more: &str) -> Registry {
    let text = format!("id = 'a'\nkind = 'http'\ndefault = true\nurl = '{url}'\n{more}");
    let settings = Settings::from_table(text.parse().unwrap()).unwrap();
    Registry::new(vec![settings], "/guide", &Random::System, &Metrics::default()).unwrap()
}

async fn ask(url: &str, more: &str) -> Result<Vec<Answer>, Error> {
    registry(url, more).get("a").unwrap().ask(question("Berapa?"), &tokens::channel::<()>().0).await
}

fn question(text: &str) -> Question {
    Question { id: MessageId(1), session_id: SESSION, text: text.to_owned(), history: Vec::new() }
}

/// The result of asking a bot that answers with this body.
async fn ask_with_body(more: &str, body: impl Into<Vec<u8>>) -> Result<Vec<Answer>, Error> {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(200).set_body_raw(body.into(), "application/json"))
        .mount(&server)
        .await;
    ask(&server.uri(), more).await
}

fn unreadable(result: Result<Vec<Answer>, Error>) -> String {
    match result {
        Err(Error::Unreadable(why) | Error::NotJson { why, .. }) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn thoughts_are_left_out_of_the_answer_object_too() {
    let body = |text: &str| format!(r#"{{"data":{{"message":[{{"id":"5","text":"{text}"}}]}}}}"#);
    let thought = "<think>RAHASIA</think>\\n\\nJam buka";
    for (more, shown) in [("", "Jam buka"), ("hide_thoughts = false", thought)] {
        let answers = ask_with_body(more, body(thought)).await.unwrap();
        let payload = answers[0].payload.as_ref().unwrap().as_str();
        assert_eq!(payload, format!(r#"{{"id":"5","text":"{shown}"}}"#));
        assert_eq!(answers[0].text, shown.replace("\\n", "\n"));
    }
}

#[tokio::test]
async fn a_text_in_place_of_json_is_for_the_operator() {
    for body in ["Halo dunia", "{\"data\": Halo dunia}", "data: Halo dunia\n\ndata: lagi"] {
        let Err(error) = ask_with_body("", body).await else { panic!("{body} is an answer") };
        let Error::NotJson { body: found, .. } = &error else { panic!("{error:?}") };
        assert_eq!(found.reveal(), body);
        let logged = format!("{error}{error:?}");
        assert!(!logged.contains("Halo dunia"), "{logged}");
    }
}

#[tokio::test]
async fn a_list_of_answer_objects_keeps_their_text_byte_for_byte() {
    let first =
        r#"{ "z":1.0, "text":"Satu \u0041", "a" : [1e2, {"b":null}], "properties":{"z":0,"a":-0.0} }"#;
    let second = r#"{"text":"Dua","text2":9007199254740993}"#;
    let answers =
        ask_with_body("", format!(" {{\"data\": {{\"message\" : [\n{first} ,{second}\n]}}}}")).await.unwrap();
    let texts: Vec<_> = answers.iter().map(|answer| answer.text.as_str()).collect();
    assert_eq!(texts, ["Satu A", "Dua"]);
    let payloads: Vec<_> = answers.iter().map(|answer| answer.payload.as_ref().unwrap().as_str()).collect();
    assert_eq!(payloads, [first, second]);
}

#[tokio::test]
async fn an_answer_may_be_a_string_an_object_or_a_list_of_either() {
    for (pointer, body, expected) in [
        ("/text", r#"{"text":"Halo"}"#, vec![("Halo", None)]),
        ("/answer/0", r#"{"answer":["Halo \ud83d\ude00","no"]}"#, vec![("Halo 😀", None)]),
        ("", r#"{"text":"Halo","n":1}"#, vec![("Halo", Some(r#"{"text":"Halo","n":1}"#))]),
        ("/a~1b", r#"{"a/b":["x",{"text":"y"}]}"#, vec![("x", None), ("y", Some(r#"{"text":"y"}"#))]),
        // What is no answer is left out of a list.
        ("/data/message", r#"{"data":{"message":["Halo",""]}}"#, vec![("Halo", None)]),
        ("", r#"[null, "Halo", 5, {"id":"1"}]"#, vec![("Halo", None)]),
        ("/text", "\u{feff}{\"text\":\"Halo\",\"error\":{}}", vec![("Halo", None)]),
        (
            "/text",
            "event: ping\ndata: ping\n\ndata: {\"text\":\"Halo\"}\n\ndata: [DONE]\n\n",
            vec![("Halo", None)],
        ),
        ("", r#"{"text":null,"image":"i"}"#, vec![("", Some(r#"{"text":null,"image":"i"}"#))]),
        // An event's data may be anything, and a good answer may begin with the word.
        ("", "data: \"Error 404 artinya\"\n\n", vec![("Error 404 artinya", None)]),
        ("", "event: message\ndata: [\ndata: \"Halo\"\ndata: ]\n\n", vec![("Halo", None)]),
        // Words and numbers beside a text may be about what was asked for.
        (
            "",
            r#"{"text":"Loket 3","code":"450"}"#,
            vec![("Loket 3", Some(r#"{"text":"Loket 3","code":"450"}"#))],
        ),
        ("/text", r#"{"text":"Loket 3","code":"450"}"#, vec![("Loket 3", None)]),
        ("/data/answer", r#"{"data":{"answer":"Loket 3","code":450}}"#, vec![("Loket 3", None)]),
        // Errors that say success.
        (
            "/data/message",
            r#"{"error_code":"0","error_msg":"success","data":{"message":"Jam buka"}}"#,
            vec![("Jam buka", None)],
        ),
        (
            "/data/message",
            r#"{"code":200,"data":{"error":{"code":0,"message":"OK","requestId":"5"},"message":"Jam"}}"#,
            vec![("Jam", None)],
        ),
        ("/text", r#"{"text":"Halo","error":"none","Errors":["No error."],"err":"0"}"#, vec![("Halo", None)]),
        ("/0/a", r#"[{"a":"Halo","hasErrors":false,"errorMessage":"Berhasil"}]"#, vec![("Halo", None)]),
        // Beside what is shown, a text may be thoughts alone.
        ("", r#"{"text":"<think>x</think> ","image":"i"}"#, vec![("", Some(r#"{"text":"","image":"i"}"#))]),
        // Rasa sends pictures without a text.
        ("", r#"[{"image":"http://i"}]"#, vec![("", Some(r#"{"image":"http://i"}"#))]),
    ] {
        let answers = ask_with_body(&format!("answer = '{pointer}'"), body).await.unwrap();
        let found: Vec<_> = answers
            .iter()
            .map(|answer| (answer.text.as_str(), answer.payload.as_ref().map(|payload| payload.as_str())))
            .collect();
        assert_eq!(found, expected, "{body}");
    }
}

#[tokio::test]
async fn an_object_without_a_text_is_an_answer_where_it_shows_something() {
    for shown in [
        r#""image":"http://i""#,
        r#""imageUrl":"http://i""#,
        r#""video_url":"http://i","message":"Here it is""#,
        r#""audio":{"src":"a"}"#,
        r#""attachment":{"type":"image","payload":{"src":"a"}}"#,
        r#""buttons":[{"title":"OK"}]"#,
        r#""quick_replies":["OK"]"#,
        r#""quickReplies":["0"]"#,
        r#""suggest_links":[{"title":"a"}]"#,
        r#""custom":{"kind":"card"}"#,
        r#""custom":{"room":"A","code":"404","status":"failed"}"#,
        r#""type":"location","latitude":-6.2,"longitude":106.8"#,
        r#""url":"http://i""#,
        r#""tombol":["Ya"]"#,
        r#""Cards":[{"title":"a"}]"#,
    ] {
        for text in ["", r#","text":"""#, r#","text":null"#] {
            let body = format!("{{{shown}{text}}}");
            let answers = ask_with_body("answer = ''", body.clone()).await.unwrap();
            let [answer] = answers.as_slice() else { panic!("{answers:?}") };
            assert_eq!(
                (answer.text.as_str(), answer.payload.as_ref().unwrap().as_str()),
                ("", body.as_str())
            );
        }
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_used_says_why() {
    for (pointer, body, why) in [
        ("/data/message", r#"{"data":{"message":[]}}"#, "it is empty"),
        // Rasa's answer when it failed.
        ("", "[]", "it is empty"),
        ("/data/message", r#"{"data":{}}"#, "there is nothing at \"/data/message\", and no text"),
        (
            "/data/message",
            r#"{"data":{"answer":"a"},"id":"5"}"#,
            "there is nothing at \"/data/message\"; there are texts at \"/id\", \"/data/answer\"",
        ),
        ("/text", r#"{"text":5}"#, "neither a text"),
        ("/text", r#"{"text":null}"#, "neither a text"),
        ("/text", r#"{"text":"  "}"#, "neither a text"),
        ("", r#"{"text":5}"#, "neither a text"),
        ("", r#"[["x"]]"#, "neither a text"),
        ("", r#"[" ", 5, {"text":" "}]"#, "neither a text"),
        (
            "",
            r#"{"text":"","id":"5","properties":{"state":"complete"},"suggest_links":[]}"#,
            "neither a text",
        ),
        ("", r#"{"title":"One or more errors","traceId":"5"}"#, "neither a text"),
        ("", r#"{"answer":"Halo"}"#, "neither a text"),
        ("", r#"{"text":"","sources":["a.pdf"],"files":[],"custom":{"a":[null,""]}}"#, "neither a text"),
        ("", r#"{"text":"","image":true,"options":"none","images":0}"#, "neither a text"),
        (
            "/text",
            r#"{"Apakah Budi sudah membayar?":"a","628123456789":"b","data":{"nama lengkap":["c"],"x":"d"}}"#,
            "there are texts at \"/…\", \"/data/x\", \"/data/…/0\"",
        ),
        ("", "<html>", "a web page: is the address right?"),
        ("", "data: {\"text\":\"a\"}\n\ndata: {\"text\":\"b\"}\n\n", "it is not JSON"),
        ("", "", "it is not JSON"),
        ("", "<html>", "it is not JSON"),
        ("", r#""x" "y""#, "it is not JSON"),
    ] {
        let found = unreadable(ask_with_body(&format!("answer = '{pointer}'"), body).await);
        assert!(found.contains(why), "{body}: {found}");
    }
}

#[tokio::test]
async fn an_answer_with_something_around_it_is_not_lost() {
    const ANSWER: &str = r#"{"data":{"message":"Halo"}}"#;
    for (start, end) in [
        ("", " garbage"),
        ("", ";"),
        ("", "\0"),
        ("\0", "null"),
        ("", "\n{\"done\":true}"),
        ("", "\n{\"data\":{\"message\":\"Halo\"}}"),
        ("data: ", "\n\nevent: end\ndata: {}\n\n"),
        ("data: ", "\n\ndata: {\"done\":true}\n\n"),
        ("event: ping\ndata: {}\n\ndata: ", "\n\n"),
        ("event: ping\r\ndata: {}\r\n\r\ndata: [null,\r\ndata: ", "]\r\n\r\n"),
        ("\u{feff}\u{feff}", ""),
    ] {
        let pointer = if end.starts_with(']') { "/1/data/message" } else { "/data/message" };
        let body = format!("{start}{ANSWER}{end}");
        let answers = ask_with_body(&format!("answer = '{pointer}'"), body.clone()).await;
        assert_eq!(answers.unwrap_or_else(|error| panic!("{body:?}: {error}"))[0].text, "Halo");
    }
    for end in
        [",{\"data\":{\"message\":\"dunia\"}}", "\n{\"data\":{\"mess", " Error: away", "{\"error\":\"away\"}"]
    {
        let answers = ask_with_body("", format!("{ANSWER}{end}")).await;
        assert!(answers.is_err(), "{end}: {answers:?}");
    }
    for (body, text) in [
        (&b"{\"data\":{\"message\":\"Halo\tdunia\nlagi\",},\"score\":NaN}"[..], "Halo\tdunia\nlagi"),
        (b"{\"data\":{\"message\":\"caf\xe9\"}}", "caf\u{e9}"),
        (b"{\"data\":{\"message\":\"Halo\"},\"x\":\"\x98\"}", "Halo"),
    ] {
        assert_eq!(ask_with_body("", body.to_vec()).await.unwrap()[0].text, text);
    }
}

#[tokio::test]
async fn a_failure_with_a_status_of_success_is_no_answer() {
    for (pointer, body, said) in [
        ("", r#"{"error":"overloaded, key sk-123"}"#, "overloaded, key sk-123"),
        ("", r#"{"text":"","error":{"message":"overloaded"}}"#, "overloaded"),
        ("", r#"{"text":"Maaf","error":"overloaded"}"#, "overloaded"),
        ("", r#"[{"text":"Halo"},{"error":"overloaded"}]"#, "overloaded"),
        ("", r#"{"detail":"overloaded"}"#, "overloaded"),
        ("", r#"{"status":"error","message":"overloaded"}"#, "overloaded"),
        ("/message", r#"{"status":"error","message":"overloaded"}"#, "overloaded"),
        ("/message", r#"{"success":false,"message":"overloaded"}"#, "overloaded"),
        ("/data/message", r#"{"error":["overloaded"],"data":{"message":"Halo"}}"#, "overloaded"),
        ("/data/message", r#"{"data":{"message":[{"text":"overloaded","category":"error"}]}}"#, "overloaded"),
        ("/text", "event: error\ndata: overloaded\n\n", "overloaded"),
        ("/text", "data: [ERROR] overloaded\n\n", "overloaded"),
        // The event's name says it, also where the data is a good document, and where the name comes last.
        ("/message", "event: error\ndata: {\"message\":\"overloaded\"}\n\n", "overloaded"),
        ("/message", "data: {\"message\":\"overloaded\"}\nevent: error\n\n", "overloaded"),
        ("/message", "event: server_error\r\ndata: {\"message\":\"overloaded\"}", "overloaded"),
        ("", "event: Error\ndata: [\"overloaded\"]\n\n", "overloaded"),
        // On the way to the answer.
        ("/data/message", r#"{"data":{"error":{"code":502},"message":"overloaded"}}"#, "502"),
        ("/data/message", r#"{"data":{"success":false,"message":"overloaded"}}"#, "overloaded"),
        ("/data/message", r#"{"data":{"status":"failed","message":"overloaded"}}"#, "overloaded"),
        ("/data/message", r#"{"data":{"code":502,"message":"overloaded"}}"#, "overloaded"),
        ("/data/message", r#"{"data":{"type":"server_error","message":"overloaded"}}"#, "overloaded"),
        ("/data/message", r#"{"data":{"error":"overloaded"}}"#, "overloaded"),
        ("/0/message", r#"[{"error":"overloaded","message":"y"}]"#, "overloaded"),
        ("/a/0/b/c", r#"{"a":[{"Error":"overloaded","b":{"c":"x"}}]}"#, "overloaded"),
        ("/a/0/b/c", r#"{"a":[{"b":{"err_msg":"overloaded","c":[{"text":"x"}]}}]}"#, "overloaded"),
        // With names of other APIs.
        ("", r#"{"Error":"overloaded"}"#, "overloaded"),
        ("", r#"{"err":"overloaded"}"#, "overloaded"),
        ("", r#"{"errmsg":"overloaded","errcode":1}"#, "overloaded"),
        ("", r#"{"error_description":"overloaded"}"#, "overloaded"),
        ("", r#"{"Message":"overloaded"}"#, "overloaded"),
        ("", r#"{"Status":"Error","image":"overloaded"}"#, "overloaded"),
        ("", r#"{"message":"overloaded","url":"/v1/chat"}"#, "overloaded"),
        ("", r#"{"message":"overloaded","documentation_url":"http://d"}"#, "overloaded"),
        ("", r#"{"message":"overloaded","custom":{"error":"x"}}"#, "overloaded"),
        ("", r#"{"message":"overloaded","file":"/srv/bot.py","line":12}"#, "overloaded"),
        ("", r#"{"message":"overloaded","payload":{"question":"Berapa?"}}"#, "overloaded"),
        ("", r#"[{"text":"Halo"},{"ErrorMessage":"overloaded"}]"#, "overloaded"),
    ] {
        let answers = ask_with_body(&format!("answer = '{pointer}'"), body).await;
        let Err(Error::Failed(error)) = answers else { panic!("{body}: {answers:?}") };
        assert!(error.reveal().contains(said), "{body}: {}", error.reveal());
        assert!(!Error::Failed(error).to_string().contains("overloaded"));
    }
}

#[tokio::test]
async fn an_object_of_a_failure_in_any_words_is_no_answer() {
    for beside in [
        r#""Error":"x""#,
        r#""is_error":true"#,
        r#""hasError":true"#,
        r#""has_errors":true"#,
        r#""failed":true"#,
        r#""success":"false""#,
        r#""success":0"#,
        r#""status":false"#,
        r#""status":{"code":500}"#,
        r#""status":"500 Internal Server Error""#,
        r#""status":"timeout""#,
        r#""statusCode":502.0"#,
        r#""state":"error""#,
        r#""result":"error""#,
        r#""level":"error""#,
    ] {
        let answers = ask_with_body("", format!(r#"{{{beside},"data":{{"message":"away"}}}}"#)).await;
        assert!(matches!(answers, Err(Error::Failed(_))), "{beside}: {answers:?}");
    }
    for body in [
        r#"{"name":"Error","stack":"at x"}"#,
        r#"{"statusText":"Bad Gateway"}"#,
        r#"{"text":"","err":"away"}"#,
        r#"{"text":"","debug":"away"}"#,
        r#"{"cause":"away"}"#,
        r#"{"description":"away"}"#,
        r#"{"failure":"away"}"#,
        r#"{"data":{"error":"away"}}"#,
        r#"{"jsonrpc":"2.0","id":1}"#,
        r#"{"text":"","duration":5}"#,
        r#"{"text":"","loading":true}"#,
        r#"{"text":null,"traceback":"away"}"#,
    ] {
        let answers = ask_with_body("answer = ''", body).await;
        assert!(answers.is_err(), "{body}: {answers:?}");
    }
}

#[tokio::test]
async fn a_bot_recognises_a_question_that_it_is_asked_again() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(503))
        .up_to_n_times(1)
        .mount(&server)
        .await;
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(200).set_body_string("\"ok\""))
        .mount(&server)
        .await;
    ask(&server.uri(), "answer = ''\nbody = '{\"id\": {{question_id}}}'").await.unwrap();
    let key = question("Berapa?").key().to_string();
    let requests = server.received_requests().await.unwrap();
    assert_eq!(requests.len(), 2);
    for request in requests {
        assert_eq!(request.headers["idempotency-key"], key.as_str());
        assert_eq!(request.body, format!(r#"{{"id": "{key}"}}"#).into_bytes());
    }
}

#[tokio::test]
async fn an_answer_that_few_json_decoders_take_is_not_lost() {
    let lists = |levels| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let deep = format!(r#"{{"text":"x","deep":{}}}"#, lists(100_000));
    let cut = format!(r#"{{"text":"x","deep":{}null{}}}"#, "[".repeat(63), "]".repeat(63));
    let odd = r#"{"text":"x \ud83d","n":[1e999, -1E400,1.0],"\ude00":1,"text":"y\ud83d","a":{"b":1,"b":2}}"#;
    let fine = r#"{"text":"y\ufffd","n":["1e999", "-1E400",1.0],"\ufffd":1,"a":{"b":2}}"#;
    for (pointer, body, text, payload) in [
        ("", deep.clone(), "x", Some(cut.as_str())),
        ("/a/0/1", format!(r#"{{"a":[[1e999,{deep}]],"\ud83d":{}}}"#, lists(3000)), "x", Some(&cut)),
        ("", odd.to_owned(), "y\u{fffd}", Some(fine)),
        ("/a", format!(r#"{{"a":1,"\ud83d":2,"\ude00":3,"a":[{odd}]}}"#), "y\u{fffd}", Some(fine)),
        ("/\u{fffd}", format!(r#"{{"\ud83d":{odd}}}"#), "y\u{fffd}", Some(fine)),
        ("", r#""\ude00 x""#.to_owned(), "\u{fffd} x", None),
    ] {
        let answers = ask_with_body(&format!("answer = '{pointer}'"), body).await.unwrap();
        let [answer] = answers.as_slice() else { panic!("{pointer}: {answers:?}") };
        assert_eq!(answer.text, text, "{pointer}");
        assert_eq!(answer.payload.as_ref().map(|payload| payload.as_str()), payload, "{pointer}");
    }
}

#[tokio::test]
async fn an_answer_at_the_limit_is_taken_though_its_portable_form_is_longer() {
    let numbers = format!(r#"{{"text":"x","n":[{}0]}}"#, "1e999,".repeat(170));
    let nested = format!(r#"{{"text":"x","n":{}{}0{}}}"#, "[".repeat(63), "[],".repeat(280), "]".repeat(63));
    for body in [numbers, nested] {
        assert!(body.len() <= 1040, "{}", body.len());
        let answers = ask_with_body("answer = ''\nmax_answer_bytes = 1040", body).await.unwrap();
        assert!(answers[0].payload.as_ref().unwrap().as_str().len() > 1040);
    }
}

#[tokio::test]
async fn the_request_carries_the_question_the_session_and_the_headers() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/chat"))
        .and(header("authorization", "Bearer hush"))
        .and(header("content-type", "application/json"))
        .and(body_json(json!({"question": "Berapa?", "session_id": SESSION})))
        .respond_with(ResponseTemplate::new(201).set_body_string(r#"{"data":{"message":"Tiga"}}"#))
        .mount(&server)
        .await;
    let url = format!("{}/chat", server.uri());
    let answers = ask(&url, "headers = { Authorization = 'Bearer hush' }").await.unwrap();
    assert_eq!(answers, [Answer::text("Tiga")]);
}

#[tokio::test]
async fn the_operators_headers_replace_our_own() {
    let server = MockServer::start().await;
    Mock::given(header("content-type", "application/vnd.api+json"))
        .respond_with(ResponseTemplate::new(200).set_body_string("\"ok\""))
        .mount(&server)
        .await;
    let more = "answer = ''\nheaders = { Content-Type = 'application/vnd.api+json' }";
    assert_eq!(ask(&server.uri(), more).await.unwrap(), [Answer::text("ok")]);
}

#[tokio::test]
async fn any_text_reaches_the_bot_as_it_is() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .respond_with(|request: &Request| {
            let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
            ResponseTemplate::new(200).set_body_json(json!({"echo": body["q"][0]}))
        })
        .mount(&server)
        .await;
    let more = "answer = '/echo'\nbody = '{\"q\":[{{question}}], \"s\": {{session_id}}}'";
    let registry = registry(&server.uri(), more);
    for text in
        ["\"quoted\" \\ back", "two\nlines\t", "👨‍👩‍👧 e\u{301} \u{202e}rtl", "{{session_id}}", "{\"a\":1}"]
    {
        let bot = registry.get("a").unwrap();
        let answers = bot.ask(question(text), &tokens::channel::<()>().0).await.unwrap();
        assert_eq!(answers, [Answer::text(text)]);
    }
}

#[tokio::test]
async fn what_is_not_2xx_is_rejected_and_no_redirect_is_followed() {
    let server = MockServer::start().await;
    Mock::given(path("/elsewhere"))
        .respond_with(ResponseTemplate::new(200).set_body_string(r#"{"data":{"message":"no"}}"#))
        .mount(&server)
        .await;
    for status in [301, 302, 307, 308, 400, 401, 404, 429, 500, 503] {
        Mock::given(path("/"))
            .respond_with(
                ResponseTemplate::new(status)
                    .insert_header("location", "/elsewhere")
                    .set_body_string(r#"{"data":{"message":"no"}}"#),
            )
            .up_to_n_times(1)
            .mount(&server)
            .await;
        let error = ask(&server.uri(), "retries = 0").await.unwrap_err();
        assert!(
            matches!(error, Error::Rejected { status: found, .. } if found == status),
            "{status}: {error}"
        );
    }
}

#[tokio::test]
async fn an_answer_over_the_limit_is_refused_and_one_at_the_limit_is_taken() {
    let body = format!("\"{}\"", "x".repeat(1024));
    let more = "answer = ''\nmax_answer_bytes = 1024";
    assert_eq!(ask_with_body(more, body).await.unwrap()[0].text.len(), 1024);
    let long = format!(r#"{{"question":"{}","answer":"Halo"}}"#, "x".repeat(1_400_000));
    let more_at_answer = "answer = '/answer'\nmax_answer_bytes = 1024";
    assert_eq!(ask_with_body(more_at_answer, long).await.unwrap()[0].text, "Halo");
    let body = format!("\"{}\"", "x".repeat(1025));
    assert_eq!(
        unreadable(ask_with_body(more, body).await),
        "it is larger than 1024 bytes, as much as max_answer_bytes allows"
    );
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off_at_the_limit() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let _ = socket.read(&mut [0; 4096]).await;
        let _ = socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n\"").await;
        while socket.write_all(&[b'x'; 512]).await.is_ok() {}
    });
    assert_eq!(
        unreadable(ask(&url, "max_answer_bytes = 1024").await),
        "it is larger than 1024 bytes, as much as max_answer_bytes allows"
    );
}

#[tokio::test]
async fn a_bot_that_is_silent_past_its_deadline_is_a_timeout() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(200).set_delay(Duration::from_secs(600)))
        .mount(&server)
        .await;
    let error = ask(&server.uri(), "timeout_seconds = 1").await.unwrap_err();
    assert_eq!(error.reason(), FailureReason::Timeout);
}

/// A server that reads one request, writes these bytes and closes the connection. Returns its URL.
async fn closing_server(bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let _ = socket.read(&mut [0; 4096]).await;
        let _ = socket.write_all(bytes).await;
    });
    format!("http://{address}/?key=hush")
}

#[tokio::test]
async fn a_broken_connection_is_unreachable_and_tells_no_secret() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for url in [
        format!("http://user:hush@{nobody}/?key=hush"),
        closing_server(b"").await,
        closing_server(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"data\"").await,
    ] {
        let error = ask(&url, "headers = { Authorization = 'Bearer hush' }").await.unwrap_err();
        assert_eq!(error.reason(), FailureReason::Unreachable);
        assert!(!error.to_string().contains("hush"), "{error}");
    }
}

#[test]
fn settings_that_cannot_work_are_refused_and_tell_no_secret() {
    for (more, expected) in [
        ("url = 'ftp://host/'", "url: found an address that begins with ftp:"),
        ("url = 'example.org/hush'", "url: no address"),
        ("url = 'http://'", "url: no address"),
        ("url = 'http://h'\nanswer = 'data'", "answer: found \"data\"; a JSON Pointer begins with /"),
        ("url = 'http://h'\nbody = '{'", "body: filled in, it is no JSON"),
        ("url = 'http://h'\nbody = '{{no}}'", "body: there is nothing to fill in for {{no}}"),
        ("url = 'http://h'\nheaders = { 'a b' = 'hush' }", "headers.a b: no HTTP header can have this name"),
        ("url = 'http://h'\nheaders = { a = \"hush\\n\" }", "headers.a: no HTTP header can have this value"),
    ] {
        let text = format!("id = 'a'\nkind = 'http'\n{more}");
        let error = Settings::from_table(text.parse().unwrap()).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
        assert!(!error.contains("hush"), "{error}");
    }
    let text = "id = 'a'\nkind = 'http'\nurl = 'http://u:hush@h/?k=hush'\nheaders = { a = 'hush' }\n\
                body = '{\"k\": \"hush\"}'";
    let shown = format!("{:?}", Settings::from_table(text.parse().unwrap()).unwrap());
    assert!(!shown.contains("hush"), "{shown}");
}
