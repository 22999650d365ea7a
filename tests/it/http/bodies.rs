//! Bodies as a whole, and which of several errors comes first.

use reqwest::Method;
use serde_json::{Value, json};
use wicara_model::{Api, Bots, Role};

use super::raw::{exchange, post, post_chunked};
use super::{Chat, FORBIDDEN, FOREIGN_PAGE, Shape, UNAUTHENTICATED};
use crate::support::{Client, Engine, TestApp, on_both_engines};

on_both_engines!(
    what_is_no_json_object,
    what_json_allows_is_taken,
    content_types,
    a_body_too_large,
    a_body_as_large_as_it_may_be,
    wrong_methods,
    unknown_paths,
    the_order_of_errors,
);

/// What takes a body, with one that it takes, and the shape of its errors.
async fn endpoints(app: &TestApp) -> Vec<(Client, Method, String, Value, Shape)> {
    let (person, chat) = (app.person(), Chat::on(app, "echo").await);
    let login = json!({"email": "admin@localhost", "password": crate::support::app::PASSWORD});
    let message = json!({"message": "a", "type": "text", "role": "bot", "conversationId": chat.id});
    let conversation = json!({"room": "a", "integrationType": "website"});
    let (conversation_path, message_path) =
        (format!("/api/conversation/{}", chat.id), format!("/api/message/{}", chat.message));
    vec![
        (person.clone(), Method::POST, "/api/conversation".into(), conversation, Shape::Rooms),
        (person.clone(), Method::PATCH, conversation_path, json!({}), Shape::Rooms),
        (person.clone(), Method::POST, "/api/message".into(), message, Shape::Rooms),
        (person, Method::PATCH, message_path, json!({}), Shape::Rooms),
        (app.anonymous(), Method::POST, "/api/questions".into(), json!({"message": "halo"}), Shape::Chatbot),
        (app.anonymous(), Method::POST, "/api/auth/login".into(), login, Shape::Chatbot),
    ]
}

fn deep(open: &str, close: &str) -> Vec<u8> {
    format!("{}{}", open.repeat(10_000), close.repeat(10_000)).into_bytes()
}

async fn what_is_no_json_object(engine: Engine) {
    let app = TestApp::start(engine).await;
    let bodies: Vec<Vec<u8>> = vec![
        b"".into(),
        b" ".into(),
        b"null".into(),
        b"true".into(),
        b"5".into(),
        b"1e309".into(),
        b"\"text\"".into(),
        b"[]".into(),
        br#"[{"message":"a"}]"#.into(),
        b"{".into(),
        b"}".into(),
        br#"{"message":"a",}"#.into(),
        br#"{"message":"a"} {"message":"b"}"#.into(),
        br#"{"message":"a"}x"#.into(),
        br"{'message':'a'}".into(),
        br#"{message:"a"}"#.into(),
        br#"{"message":"a" // comment"#.into(),
        br#"{"message":NaN}"#.into(),
        br#"{"message":01}"#.into(),
        br#"{"message":"\x"}"#.into(),
        br#"{"message":"\u12"}"#.into(),
        b"{\"message\":\"a\0b\"}".into(),
        b"{\"message\":\"a\nb\"}".into(),
        b"{\"message\":\"\xff\"}".into(),
        b"{\"message\":\"\xed\xa0\x80\"}".into(),
        b"{\"\xc3\x28\":1}".into(),
        b"\xef\xbb\xbf".into(),
        b"\xef\xbb\xbf\xef\xbb\xbf{}".into(),
        b"\xff\xfe{\0}\0".into(),
        b"\0".into(),
        deep("[", "]"),
        deep("[", ""),
        deep(r#"{"a":"#, ""),
        b"message=a&session_id=b".into(),
    ];
    for (client, method, path, _, shape) in endpoints(&app).await {
        for body in &bodies {
            let answer = client.send_json(method.clone(), &path, body.clone()).await;
            answer.is(400, &shape.broken(&[("json", "body")]));
        }
    }
    assert_eq!(app.bot.asked(), 0);
    app.stop().await;
}

async fn what_json_allows_is_taken(engine: Engine) {
    let app = TestApp::start(engine).await;
    let deep_arrays = String::from_utf8(deep("[", "]")).unwrap();
    let deep_objects = format!("{}1{}", r#"{"a":"#.repeat(10_000), "}".repeat(10_000));
    let beyond = [
        r#""more":1e309"#.to_owned(),
        r#""more":123456789012345678901234567890.5e-999"#.into(),
        r#""more":"\u0000\ud800""#.into(),
        r#""":null,"\u0000":1"#.into(),
        format!(r#""more":{deep_arrays}"#),
        format!(r#""more":{deep_objects}"#),
        // Of a name that stands twice the last value counts.
        r#""status":1,"status":2"#.into(),
    ];
    for (client, method, path, body, _) in endpoints(&app).await {
        let good = body.to_string();
        let inside = good.trim_matches(['{', '}']);
        let comma = if inside.is_empty() { "" } else { "," };
        client.send_json(method.clone(), &path, format!("\u{feff}{good}")).await.has_status(200);
        for more in &beyond {
            for body in
                [format!("{{{more}{comma}{inside}}}"), format!(" {{ {inside}{comma}\r\n\t{more} }} \n")]
            {
                client.send_json(method.clone(), &path, body).await.has_status(200);
            }
        }
    }
    let client = app.person();
    let twice = r#"{"room":5,"room":"\u0000","room":"last","integrationType":"a","integrationType":"b"}"#;
    let created = client.post("/api/conversation", twice).await.ok();
    assert_eq!(
        (&created["data"]["room"], &created["data"]["integrationType"]),
        (&json!("last"), &json!("b"))
    );
    let twice = r#"{"message":"first","message":"last"}"#;
    let answered = app.anonymous().post("/api/questions", twice).await.ok();
    assert_eq!(answered["data"][0]["text"], "echo: last");
    app.stop().await;
}

const NOT_JSON: &str =
    r#"{"status":415,"message":"unsupported media type","error":"The body has to be application/json."}"#;
const TOO_LARGE: &str =
    r#"{"status":413,"message":"payload too large","error":"The body is larger than this server takes."}"#;
const WRONG_METHOD: &str =
    r#"{"status":405,"message":"method not allowed","error":"The header Allow names the methods."}"#;
pub const NO_SUCH_PATH: &str =
    r#"{"status":404,"message":"not found","error":"There is nothing at this path."}"#;

async fn content_types(engine: Engine) {
    let app = TestApp::start(engine).await;
    for (client, method, path, body, _) in endpoints(&app).await {
        let send = async |content_type: Option<&str>| {
            let client = content_type.map_or(client.clone(), |value| client.with("content-type", value));
            client.send(method.clone(), &path, Some(body.to_string().into())).await
        };
        for content_type in [
            None,
            Some(""),
            Some("text/plain"),
            Some("text/plain;charset=UTF-8"),
            Some("text/json"),
            Some("application/x-www-form-urlencoded"),
            Some("multipart/form-data; boundary=a"),
            Some("application/jsonx"),
            Some("json"),
        ] {
            send(content_type).await.is(415, NOT_JSON);
        }
        for content_type in ["application/json", "APPLICATION/JSON;charset=utf-8", "application/vnd.api+json"]
        {
            send(Some(content_type)).await.ok();
        }
    }
    app.stop().await;
}

const LIMIT: usize = 1_048_576;

/// A question in a body of this length.
fn question_of(length: usize) -> String {
    let question = r#"{"message":"halo"}"#;
    format!("{question}{}", " ".repeat(length - question.len()))
}

async fn a_body_too_large(engine: Engine) {
    let app = TestApp::start(engine).await;
    for length in [LIMIT + 1, 8 * LIMIT] {
        for bytes in [
            post("/api/questions", &question_of(length)),
            post_chunked("/api/questions", &question_of(length)),
            post("/api/auth/login", &question_of(length)),
        ] {
            exchange(&app, &bytes).await.is(413, TOO_LARGE);
        }
    }
    for (client, method, path, _, _) in endpoints(&app).await {
        client.send_json(method, &path, question_of(LIMIT + 1)).await.is(413, TOO_LARGE);
    }
    assert_eq!(app.bot.asked(), 0);
    app.stop().await;
}

async fn a_body_as_large_as_it_may_be(engine: Engine) {
    let app = TestApp::start(engine).await;
    for bytes in
        [post("/api/questions", &question_of(LIMIT)), post_chunked("/api/questions", &question_of(LIMIT))]
    {
        assert_eq!(exchange(&app, &bytes).await.json()["data"][0]["text"], "echo: halo");
    }
    app.stop().await;
}

async fn wrong_methods(engine: Engine) {
    let app = TestApp::start(engine).await;
    let person = app.person();
    for (path, allowed) in [
        ("/api/conversation", &["GET", "POST"][..]),
        ("/api/conversation/1", &["GET", "PATCH", "DELETE"]),
        ("/api/conversation/abc", &["GET", "PATCH", "DELETE"]),
        ("/api/conversation/message/1", &["DELETE"]),
        ("/api/message", &["GET", "POST"]),
        ("/api/message/1", &["GET", "PATCH", "DELETE"]),
        ("/api/questions", &["POST"]),
        ("/api/questions/1", &["GET"]),
        ("/api/auth/login", &["POST"]),
        ("/api/auth/logout", &["POST"]),
        ("/api/auth/me", &["GET"]),
        ("/api/openapi.json", &["GET"]),
        ("/healthz", &["GET"]),
        ("/readyz", &["GET"]),
    ] {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW"] {
            if allowed.contains(&method) {
                continue;
            }
            let case = format!("{method} {path}");
            for client in [&app.anonymous(), &person] {
                let answer = client.send(method.parse().unwrap(), path, None).await;
                answer.is(405, WRONG_METHOD);
                let mut named: Vec<_> =
                    answer.header("allow").expect(&case).split(',').map(str::trim).collect();
                named.retain(|name| *name != "HEAD");
                named.sort_unstable();
                let mut allowed = allowed.to_vec();
                allowed.sort_unstable();
                assert_eq!(named, allowed, "{case}");
            }
        }
    }
    app.stop().await;
}

async fn unknown_paths(engine: Engine) {
    let app = TestApp::start(engine).await;
    let person = app.person();
    for path in [
        "/api",
        "/api/",
        "/api/nothing",
        "/api/conversations",
        "/api/Conversation",
        "/api/conversation/",
        "/api/conversation/1/",
        "/api/conversation/1/message",
        "/api/conversation/message/1/2",
        "//api/conversation",
        "/api//conversation",
        "/api/message/",
        "/api/message/1/2",
        "/api/questions/",
        "/api/questions/a/b",
        "/api/auth",
        "/api/auth/register",
        "/api%2Fconversation",
        "/%00",
        "/%FF",
        "/metrics/x",
        "/.git/config",
        "/guide/../../etc/passwd",
        "/guide/..%2F..%2Fetc%2Fpasswd",
    ] {
        for method in [Method::GET, Method::POST, Method::DELETE, Method::OPTIONS] {
            for client in [&app.anonymous(), &person] {
                let answer = client.send(method.clone(), path, None).await;
                // A page of the guide that is not there may be told in its own way, but not be there.
                if path.starts_with("/guide") {
                    assert!([404, 405].contains(&answer.status.as_u16()), "{method} {path}: {}", answer.text);
                } else {
                    answer.is(404, NO_SUCH_PATH);
                }
            }
        }
    }
    app.stop().await;
}

/// Each request breaks everything that comes after the error that is expected.
async fn the_order_of_errors(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (chat, person) = (Chat::on(&app, "echo").await, app.person());
    let viewer = app.person_with("viewer@localhost", Role::Viewer, Bots::All).await;
    let viewer_key = app.program_with(Role::Viewer, Bots::All, Api::Chatbot).await;
    let wrong_key = app.anonymous().with("x-api-key", "wrong");
    let foreign_page = person.with("origin", "https://elsewhere.example");
    let large = || Some(vec![b'x'; LIMIT + 1]);
    let broken = || Some(b"{".to_vec());
    for (method, path) in [
        (Method::POST, "/api/conversation".to_owned()),
        (Method::PATCH, format!("/api/conversation/{}", chat.id)),
        (Method::PATCH, "/api/conversation/0".into()),
        (Method::PATCH, "/api/conversation/abc".into()),
        (Method::POST, "/api/message".into()),
        (Method::PATCH, format!("/api/message/{}", chat.message)),
        (Method::PATCH, "/api/message/abc".into()),
    ] {
        let text = |client: &Client| client.with("content-type", "text/plain");
        for client in [&app.anonymous(), &wrong_key] {
            let client = text(client);
            client.send(method.clone(), &format!("{path}/a/b"), large()).await.is(404, NO_SUCH_PATH);
            client.send(Method::PUT, &path, large()).await.is(405, WRONG_METHOD);
            client.send(method.clone(), &path, large()).await.is(401, UNAUTHENTICATED);
        }
        for (client, refusal) in
            [(&viewer, FORBIDDEN), (&viewer_key, FORBIDDEN), (&foreign_page, FOREIGN_PAGE)]
        {
            text(client).send(method.clone(), &path, large()).await.is(403, refusal);
        }
        let client = text(&person);
        client.send(method.clone(), &path, large()).await.is(413, TOO_LARGE);
        client.send(method.clone(), &path, broken()).await.is(415, NOT_JSON);
        person.send_json(method, &path, "{").await.has_status(400);
    }
    // Without a length it shows only while the body is read, and still before the body's type.
    let chunked = String::from_utf8(post_chunked("/api/questions", &question_of(LIMIT + 1))).unwrap();
    let answer = exchange(&app, chunked.replacen("application/json", "text/plain", 1).as_bytes()).await;
    answer.is(413, TOO_LARGE);
    let answer =
        wrong_key.with("content-type", "text/plain").send(Method::POST, "/api/questions", large()).await;
    answer.is(401, UNAUTHENTICATED);
    app.stop().await;
}
