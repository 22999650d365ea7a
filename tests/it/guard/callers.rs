//! Everybody who might call.

use std::sync::atomic::{AtomicI64, Ordering};

use reqwest::Method;
use wicara_model::{Api, Bots, Role};

use crate::support::{Client, TestApp};

/// How a key is sent: a header, and what stands before the key.
const WAYS: [(&str, &str); 4] =
    [("authorization", "Bearer "), ("authorization", "bearer "), ("x-api-key", ""), ("api_key", "")];

pub const WEEK_IN_MILLIS: i64 = 168 * 3600 * 1000;

pub struct Caller {
    pub name: String,
    pub client: Client,
    pub is: Is,
}

/// What credentials amount to.
#[derive(Debug, Clone)]
pub enum Is {
    Nobody,
    /// A blank one too.
    WrongKey,
    Known(Rights),
}

#[derive(Debug, Clone)]
pub struct Rights {
    pub role: Role,
    pub bots: Bots,
    pub api: Api,
    /// Whether they come by a cookie.
    pub cookie: bool,
}

impl Rights {
    /// What somebody without credentials may, where they may anything.
    pub fn of_nobody(role: Role) -> Self {
        Self { role, bots: Bots::All, api: Api::Chatbot, cookie: false }
    }

    fn of_person(role: Role, bots: &Bots) -> Self {
        Self { role, bots: bots.clone(), api: Api::Conversation, cookie: true }
    }

    fn of_program(role: Role, bots: &Bots, api: Api) -> Self {
        Self { role, bots: bots.clone(), api, cookie: false }
    }
}

fn caller(name: impl Into<String>, client: Client, is: Is) -> Caller {
    Caller { name: name.into(), client, is }
}

/// Those whom the server does not know, and those with a wrong key.
pub async fn strangers(app: &TestApp, time: &AtomicI64) -> Vec<Caller> {
    let expired = app.sign_in("admin@localhost").await;
    time.fetch_add(WEEK_IN_MILLIS, Ordering::SeqCst);
    let good = app.sign_in("admin@localhost").await;
    let logged_out = app.sign_in("admin@localhost").await;
    logged_out.send(Method::POST, "/api/auth/logout", None).await.ok();
    let removed = app.person_with("removed@localhost", Role::Admin, Bots::All).await;
    removed.get("/api/auth/me").await.ok();
    app.people().user_delete("removed@localhost", false).await.unwrap();
    let key = app.key(Role::Admin, Bots::All, Api::Chatbot).await;
    let removed_key =
        app.people().key_create("removed", Role::Admin, Bots::All, Api::Chatbot).await.unwrap().1;
    app.people().key_delete("removed").await.unwrap();

    let anonymous = app.anonymous();
    let scheme = |scheme: &str| anonymous.with("authorization", &format!("{scheme} {key}"));
    let cookie = |cookie: &str| anonymous.with("cookie", cookie);
    let mut callers: Vec<_> = [
        ("nobody", anonymous.clone()),
        ("an expired session", expired),
        ("a logged-out session", logged_out),
        ("a removed person", removed),
        ("somebody else's cookie", cookie("wicara_session=0123456789abcdef; other=1")),
        ("a key as a cookie", cookie(&format!("wicara_session={key}"))),
        ("a key in the scheme Basic", scheme("Basic")),
        ("a key in the scheme Token", scheme("Token")),
        ("a key in no scheme", anonymous.with("authorization", &key)),
        ("a key in a header of another name", anonymous.with("x-key", &key).with("apikey", &key)),
    ]
    .map(|(name, client)| caller(name, client, Is::Nobody))
    .into();
    let half = &key[..key.len() / 2];
    for (header, before) in WAYS {
        for (name, key) in [("a wrong key", "wrong"), ("a blank key", ""), ("a key of blanks", "  ")] {
            for (beside, client) in [("", &anonymous), (" beside a good cookie", &good)] {
                let name = format!("{name} in {header}{beside}");
                callers.push(caller(name, client.with(header, &format!("{before}{key}")), Is::WrongKey));
            }
        }
    }
    for (name, client) in [
        ("a removed key", anonymous.with("x-api-key", &removed_key)),
        ("a key in upper case", anonymous.with("x-api-key", &key.to_uppercase())),
        ("half a key", anonymous.with("x-api-key", half)),
        ("two keys", anonymous.with("x-api-key", &key).with("api_key", "wrong")),
        ("a key twice in one header", anonymous.with("x-api-key", &format!("{key}, {key}"))),
        ("a good key after a wrong one", anonymous.with("x-api-key", "wrong").with("x-api-key", &key)),
        ("a good key beside a wrong bearer", scheme("Bearer").with("authorization", "Bearer wrong")),
    ] {
        callers.push(caller(name, client, Is::WrongKey));
    }
    callers
}

/// Everybody whom the server knows: each role, with all bots and with one that is not the default, each with a
/// cookie and by each way to send a key.
pub async fn known(app: &TestApp) -> Vec<Caller> {
    let (anonymous, mut callers) = (app.anonymous(), Vec::new());
    for role in [Role::Viewer, Role::Agent, Role::Admin] {
        for (scope, bots) in [("all", Bots::All), ("other", Bots::Only(vec!["other".into()]))] {
            let name = format!("{role} of {scope} bots");
            let person = app.person_with(&format!("{role}-{scope}@localhost"), role, bots.clone()).await;
            let rights = Rights::of_person(role, &bots);
            callers.push(caller(format!("a person, {name}"), person, Is::Known(rights)));
            for api in [Api::Chatbot, Api::Conversation] {
                let key = app.key(role, bots.clone(), api).await;
                let is = Is::Known(Rights::of_program(role, &bots, api));
                for (header, before) in WAYS {
                    let client = anonymous.with(header, &format!("{before}{key}"));
                    let name = format!("a program ({api}) by {header}, {name}");
                    callers.push(caller(name, client, is.clone()));
                }
            }
        }
    }
    callers.extend(mixed(app).await);
    callers
}

/// Those who bring two things of which one counts.
async fn mixed(app: &TestApp) -> Vec<Caller> {
    let person = app.sign_in("admin@localhost").await;
    let key = app.key(Role::Viewer, Bots::All, Api::Chatbot).await;
    let admin = Is::Known(Rights::of_person(Role::Admin, &Bots::All));
    let viewer = Is::Known(Rights::of_program(Role::Viewer, &Bots::All, Api::Chatbot));
    let with_key = |client: &Client| client.with("x-api-key", &key);
    vec![
        caller("a cookie beside a Basic login", person.with("authorization", "Basic YWRtaW4="), admin),
        caller("a viewer's key beside an admin's cookie", with_key(&person), viewer.clone()),
        caller(
            "a viewer's key beside a dead cookie",
            with_key(&app.anonymous().with("cookie", "wicara_session=x")),
            viewer.clone(),
        ),
        caller(
            "a viewer's key in two headers",
            with_key(&app.anonymous().with("authorization", &format!("Bearer {key}"))),
            viewer,
        ),
    ]
}
