//! Signing in and out, and what every answer carries.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use reqwest::Method;
use serde_json::{Value, json};
use wicara_model::{Api, Bots, Role};

use super::{Chat, FORBIDDEN, FOREIGN_PAGE, Shape, UNAUTHENTICATED};
use crate::support::app::PASSWORD;
use crate::support::{Answer, Client, Engine, TestApp, manual_clock, on_both_engines};

on_both_engines!(
    signing_in_and_who_it_is,
    a_wrong_login_is_told_nothing,
    the_cookie_and_its_attributes,
    signing_out_ends_that_session_only,
    the_session_that_is_alive_is_found_among_cookies_of_one_name,
    signing_out_ends_the_sessions_of_all_cookies,
    a_session_ends_in_time,
    a_new_password_ends_sessions,
    people_change_their_own_password,
    wrong_old_passwords_are_limited,
    signing_out_everywhere_ends_all_sessions,
    every_answer_is_for_its_caller_alone,
);

async fn log_in(client: &Client, email: &str, password: &str) -> Answer {
    client.post("/api/auth/login", &json!({"email": email, "password": password})).await
}

/// The attributes of the cookie that an answer sets, without its token, and the token.
fn cookie(answer: &Answer) -> (Vec<String>, String) {
    let cookie = answer.header("set-cookie").expect("a cookie");
    let mut parts = cookie.split("; ").map(str::to_owned);
    let (name, token) =
        parts.next().unwrap().split_once('=').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    assert_eq!(name, "wicara_session");
    let mut attributes: Vec<_> = parts.collect();
    attributes.sort();
    (attributes, token)
}

async fn signing_in_and_who_it_is(engine: Engine) {
    let app = TestApp::start(engine).await;
    let bots = Bots::Only(vec!["echo".into(), "other".into()]);
    app.people().user_create("Ada@Example.ORG ", PASSWORD.into(), Role::Agent, bots.clone()).await.unwrap();
    for (email, role, bots) in [
        ("admin@localhost", "admin", Value::Null),
        (" ADMIN@localhost ", "admin", Value::Null),
        ("ada@example.org", "agent", json!(["echo", "other"])),
    ] {
        let answer = log_in(&app.anonymous(), email, PASSWORD).await;
        let body = answer.ok();
        let id = body["data"]["id"].clone();
        let email = email.trim().to_lowercase();
        let name = email.split_once('@').unwrap().0;
        let data = json!({"id": id, "email": email, "name": name, "role": role, "bots": bots});
        assert_eq!(body, json!({"status": 200, "message": "success", "data": data}));
        assert!(!answer.text.contains(PASSWORD) && !answer.text.contains("argon2"), "{}", answer.text);
        let (_, token) = cookie(&answer);
        let signed_in = app.anonymous().with("cookie", &format!("a=b; wicara_session={token}; c=d"));
        assert_eq!(signed_in.get("/api/auth/me").await.ok(), body);
    }
    let program = app.program_with(Role::Viewer, bots, Api::Conversation).await;
    let me = program.get("/api/auth/me").await.ok()["data"].clone();
    assert_eq!(
        (&me["role"], &me["bots"], &me["api"], &me["email"]),
        (&json!("viewer"), &json!(["echo", "other"]), &json!("conversation"), &Value::Null)
    );
    app.stop().await;
}

async fn a_wrong_login_is_told_nothing(engine: Engine) {
    let app = TestApp::start(engine).await;
    for (email, password) in [
        ("admin@localhost", "another password"),
        ("admin@localhost", "A LONG PASSWORD"),
        ("admin@localhost", " a long password"),
        ("admin@localhost", "a long passwor"),
        ("nobody@localhost", PASSWORD),
        ("admin", PASSWORD),
        ("' OR 1=1 --", PASSWORD),
        ("%", PASSWORD),
    ] {
        let answer = log_in(&app.anonymous(), email, password).await;
        answer.is(401, UNAUTHENTICATED);
        assert_eq!(answer.header("set-cookie"), None);
    }
    app.stop().await;
}

async fn the_cookie_and_its_attributes(engine: Engine) {
    let https = "server.public_url = \"https://chat.example.org\"\n";
    let plain = ["HttpOnly", "Max-Age=604800", "Path=/", "SameSite=Lax"];
    for (config, expected) in [
        (String::new(), plain.to_vec()),
        ("server.public_url = \"http://chat.example.org\"\n".into(), plain.to_vec()),
        (https.to_owned(), [&plain[..], &["Secure"]].concat()),
        (
            format!("{https}auth.cookie_same_site = \"none\"\nauth.session_hours = 1\n"),
            vec!["HttpOnly", "Max-Age=3600", "Path=/", "SameSite=None", "Secure"],
        ),
    ] {
        let app = TestApp::with(engine, &config).await;
        let (attributes, token) = cookie(&log_in(&app.anonymous(), "admin@localhost", PASSWORD).await);
        assert_eq!(attributes, expected, "{config}");
        assert!(token.len() >= 32, "{token}");
        // What takes the cookie away has to have the attributes that set it.
        let client = app.anonymous().with("cookie", &format!("wicara_session={token}"));
        let (cleared, token) = cookie(&client.send(Method::POST, "/api/auth/logout", None).await);
        let expected: Vec<_> = expected
            .iter()
            .map(|attribute| if attribute.starts_with("Max-Age") { "Max-Age=0" } else { attribute })
            .collect();
        assert_eq!((cleared.iter().map(String::as_str).collect(), token.as_str()), (expected, ""));
        app.stop().await;
    }
}

async fn signing_out_ends_that_session_only(engine: Engine) {
    let app = TestApp::start(engine).await;
    let admin = "admin@localhost";
    let (first, second) = (app.sign_in(admin).await, app.sign_in(admin).await);
    let log_out = async |client: &Client| client.send(Method::POST, "/api/auth/logout", None).await;
    let done = json!({"status": 200, "message": "success"});
    // Another page cannot sign somebody out.
    log_out(&first.with("origin", "https://elsewhere.example")).await.is(403, FOREIGN_PAGE);
    log_out(&first.with("sec-fetch-site", "cross-site")).await.is(403, FORBIDDEN);
    first.get("/api/auth/me").await.ok();
    for _ in 0..2 {
        assert_eq!(log_out(&first).await.ok(), done);
        first.get("/api/auth/me").await.is(401, UNAUTHENTICATED);
    }
    second.get("/api/auth/me").await.ok();
    assert_eq!(log_out(&app.anonymous()).await.ok(), done);
    // A request with a key is the key's: no cookie's session ends.
    let wrong = second.with("x-api-key", "wrong");
    log_out(&wrong).await.is(401, UNAUTHENTICATED);
    let key = app.key(Role::Viewer, Bots::All, Api::Chatbot).await;
    assert_eq!(log_out(&second.with("x-api-key", &key)).await.ok(), done);
    second.get("/api/auth/me").await.ok();
    app.stop().await;
}

/// Cookies of one name, as a browser sends them that got one from another server on this host, or from a parent domain.
fn cookies(tokens: &[&str]) -> String {
    tokens.iter().map(|token| format!("wicara_session={token}")).collect::<Vec<_>>().join("; ")
}

async fn the_session_that_is_alive_is_found_among_cookies_of_one_name(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (good, other) = (app.session().await, app.session().await);
    let ended = app.session().await;
    let log_out = app.anonymous().with("cookie", &cookies(&[&ended]));
    log_out.send(Method::POST, "/api/auth/logout", None).await.ok();
    let many: Vec<String> = (0..10).map(|number| format!("old{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).chain([good.as_str()]).collect();
    for tokens in [
        &[good.as_str(), "old"][..],
        &["old", &good],
        &[&ended, &good],
        &["old", "", &ended, &good, "older"],
        &[&good, &other],
        &["old", "old", &good],
        &many,
    ] {
        let client = app.anonymous().with("cookie", &format!("a=b; {}; name=José", cookies(tokens)));
        client.get("/api/auth/me").await.ok();
        let new = json!({"room": "r", "integrationType": "website"});
        client.post("/api/conversation", new).await.ok();
        // In headers of their own, as a proxy may split them.
        let apart =
            tokens.iter().fold(app.anonymous(), |client, token| client.with("cookie", &cookies(&[token])));
        apart.get("/api/auth/me").await.ok();
    }
    // A key still wins over all of them, and those that are over make nobody.
    let client = app.anonymous().with("cookie", &cookies(&["old", &good]));
    client.with("x-api-key", "wrong").get("/api/auth/me").await.is(401, UNAUTHENTICATED);
    let over = app.anonymous().with("cookie", &cookies(&["old", &ended]));
    over.get("/api/auth/me").await.is(401, UNAUTHENTICATED);
    // No request makes the server look for ever.
    let flood: Vec<String> = (0..200).map(|number| format!("old{number}")).collect();
    let flood: Vec<&str> = flood.iter().map(String::as_str).chain([good.as_str()]).collect();
    app.anonymous().with("cookie", &cookies(&flood)).get("/api/auth/me").await.is(401, UNAUTHENTICATED);
    app.stop().await;
}

async fn signing_out_ends_the_sessions_of_all_cookies(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (first, second, untouched) = (app.session().await, app.session().await, app.session().await);
    let client = app.anonymous().with("cookie", &cookies(&["old", &first, "", &second]));
    let answer = client.send(Method::POST, "/api/auth/logout", None).await;
    answer.ok();
    assert_eq!(cookie(&answer).1, "", "the cookie is taken away");
    for token in [&first, &second] {
        let client = app.anonymous().with("cookie", &cookies(&[token]));
        client.get("/api/auth/me").await.is(401, UNAUTHENTICATED);
    }
    app.anonymous().with("cookie", &cookies(&[&untouched])).get("/api/auth/me").await.ok();
    app.stop().await;
}

async fn a_session_ends_in_time(engine: Engine) {
    let (clock, time) = manual_clock(1_752_470_016_351);
    let app = TestApp::at(engine, "auth.session_hours = 2", clock).await;
    let client = app.sign_in("admin@localhost").await;
    let two_hours = 2 * 3600 * 1000;
    time.fetch_add(two_hours - 1, Ordering::SeqCst);
    client.get("/api/auth/me").await.ok();
    time.fetch_add(1, Ordering::SeqCst);
    client.get("/api/auth/me").await.is(401, UNAUTHENTICATED);
    time.fetch_add(-two_hours, Ordering::SeqCst);
    client.get("/api/auth/me").await.ok();
    app.stop().await;
}

async fn a_new_password_ends_sessions(engine: Engine) {
    let app = TestApp::start(engine).await;
    let sessions = [app.sign_in("admin@localhost").await, app.sign_in("admin@localhost").await];
    let other = app.person_with("other@localhost", Role::Viewer, Bots::All).await;
    app.people().user_password("Admin@LOCALHOST", "quite another one".into()).await.unwrap();
    for session in sessions {
        session.get("/api/auth/me").await.is(401, UNAUTHENTICATED);
    }
    other.get("/api/auth/me").await.ok();
    log_in(&app.anonymous(), "admin@localhost", PASSWORD).await.is(401, UNAUTHENTICATED);
    log_in(&app.anonymous(), "admin@localhost", "quite another one").await.ok();
    app.stop().await;
}

async fn people_change_their_own_password(engine: Engine) {
    let app = TestApp::start(engine).await;
    let admin = "admin@localhost";
    let (here, there) = (app.sign_in(admin).await, app.sign_in(admin).await);
    let other = app.person_with("other@localhost", Role::Viewer, Bots::All).await;
    let change = async |client: &Client, old: &str, new: &str| {
        client.post("/api/auth/password", json!({"old": old, "new": new})).await
    };
    let broken = |rules: &[(&str, &str)]| Shape::Chatbot.broken(rules);
    change(&here, "wrong", "quite another one").await.is(400, &broken(&[("password", "old")]));
    change(&here, "", "").await.is(400, &broken(&[("required", "old"), ("required", "new")]));
    let short = r#"{"status":400,"message":"Validation failure","errors":[{"rule":"minLength","field":"new","message":"minLength validation failed","args":{"minLength":8}}]}"#;
    change(&here, PASSWORD, "1234567").await.is(400, short);
    change(&here.with("origin", "https://elsewhere.example"), PASSWORD, "quite another one")
        .await
        .is(403, FOREIGN_PAGE);
    change(&app.program(), PASSWORD, "quite another one").await.is(403, FORBIDDEN);
    change(&app.anonymous(), PASSWORD, "quite another one").await.is(401, UNAUTHENTICATED);
    there.get("/api/auth/me").await.ok();

    let done = change(&here, PASSWORD, "quite another one").await;
    assert_eq!(done.ok(), json!({"status": 200, "message": "success"}));
    here.get("/api/auth/me").await.ok();
    there.get("/api/auth/me").await.is(401, UNAUTHENTICATED);
    other.get("/api/auth/me").await.ok();
    log_in(&app.anonymous(), admin, PASSWORD).await.is(401, UNAUTHENTICATED);
    log_in(&app.anonymous(), admin, "quite another one").await.ok();
    change(&here, PASSWORD, "a third password").await.is(400, &broken(&[("password", "old")]));
    app.stop().await;
}

/// As wrong logins are: whoever has got hold of a session does not find the password out.
async fn wrong_old_passwords_are_limited(engine: Engine) {
    let app = TestApp::with(engine, "limits.logins_per_minute_per_address = 60\n").await;
    let person = app.sign_in("admin@localhost").await;
    let mut statuses = Vec::new();
    for _ in 0..40 {
        let body = json!({"old": "wrong", "new": "quite another one"});
        let answer = person.post("/api/auth/password", body).await;
        statuses.push(answer.status.as_u16());
        if answer.status == 429 {
            assert!(answer.header("retry-after").is_some());
            break;
        }
    }
    assert_eq!((statuses[0], statuses.last()), (400, Some(&429)), "{statuses:?}");
    let body = json!({"old": PASSWORD, "new": "quite another one"});
    person.post("/api/auth/password", body).await.has_status(429);
    app.stop().await;
}

async fn signing_out_everywhere_ends_all_sessions(engine: Engine) {
    let app = TestApp::start(engine).await;
    let admin = "admin@localhost";
    let (here, there) = (app.sign_in(admin).await, app.sign_in(admin).await);
    let other = app.person_with("other@localhost", Role::Viewer, Bots::All).await;
    let stream = there.follow("/api/events").await;
    let log_out = async |client: &Client, body: Value| client.post("/api/auth/logout", body).await;
    let boolean = Shape::Chatbot.broken(&[("boolean", "everywhere")]);
    log_out(&here, json!({"everywhere": "yes"})).await.is(400, &boolean);
    log_out(&here.with("origin", "https://elsewhere.example"), json!({"everywhere": true}))
        .await
        .is(403, FOREIGN_PAGE);
    let key = app.key(Role::Admin, Bots::All, Api::Chatbot).await;
    log_out(&here.with("x-api-key", &key), json!({"everywhere": true})).await.ok();
    log_out(&app.anonymous(), json!({"everywhere": true})).await.ok();
    there.get("/api/auth/me").await.ok();

    let answer = log_out(&here, json!({"everywhere": true})).await;
    assert_eq!(answer.ok(), json!({"status": 200, "message": "success"}));
    assert_eq!(cookie(&answer).1, "", "the cookie is taken away");
    for client in [&here, &there] {
        client.get("/api/auth/me").await.is(401, UNAUTHENTICATED);
    }
    other.get("/api/auth/me").await.ok();
    stream.rest().await;
    app.stop().await;
}

/// Not for caches, with a request id of its own and a type that browsers do not guess at.
async fn every_answer_is_for_its_caller_alone(engine: Engine) {
    let app = TestApp::start(engine).await;
    let (person, program, visitor) = (app.person(), app.program(), app.anonymous());
    let chat = Chat::on(&app, "echo").await;
    let mut ids = HashSet::new();
    for (client, method, path) in [
        (&person, Method::GET, "/api/conversation".to_owned()),
        (&program, Method::GET, "/api/conversation".into()),
        (&program, Method::GET, format!("/api/conversation/{}", chat.id)),
        (&person, Method::GET, "/api/message".into()),
        (&person, Method::GET, "/api/message/0".into()),
        (&person, Method::GET, "/api/auth/me".into()),
        (&visitor, Method::GET, "/api/auth/me".into()),
        (&visitor, Method::GET, format!("/api/questions/{}", chat.session)),
        (&visitor, Method::GET, "/api/questions/x".into()),
        (&visitor, Method::POST, "/api/questions".into()),
        (&visitor, Method::POST, "/api/auth/login".into()),
        (&visitor, Method::PUT, "/api/message".into()),
        (&visitor, Method::GET, "/api/nothing".into()),
    ] {
        let answer = client.send(method.clone(), &path, None).await;
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{method} {path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
        // A client's own id is not taken over: it could write what it likes into the log.
        let named = client.with("x-request-id", "mine").send(method, &path, None).await;
        for answer in [answer, named] {
            let id = answer.header("x-request-id").unwrap();
            assert!(id.parse::<uuid::Uuid>().is_ok(), "{id}");
            assert!(ids.insert(id.to_owned()), "twice: {id}");
        }
    }
    for path in ["/healthz", "/readyz"] {
        let answer = visitor.get(path).await;
        assert_eq!(answer.ok(), json!({"status": 200, "message": "success"}));
        assert!(answer.header("x-request-id").is_some());
    }
    app.stop().await;
}
