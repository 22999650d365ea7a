//! Generated input for the feed's parameters and the bodies of hand-over: what breaks a rule is named, all else is answered.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::from_slice;
use serde_json::value::RawValue;
use tokio::runtime::Handle;
use tokio::task::block_in_place;
use wicara_fuzz::{fuzz, json, json_object, mutated};

use super::Chat;
use crate::support::{Answer, Client, Engine, TestApp, on_both_engines};

on_both_engines!(parameters_of_the_feed, bodies_of_hand_over);

/// Positions and what is none. `wait` has no value here that would have to be waited for.
const VALUES: &[(&str, &[&str])] = &[
    ("after", &["0.0", ".", "1.9223372036854775807", "\0", "-1"]),
    ("last_event_id", &["x.1", "\u{1F600}", "1.-1"]),
    ("lastEventId", &["", "1", "1.1.1"]),
    ("conversationId", &["1", "1,2", "1,", ",", "0", "-1", "9223372036854775808", "1,1,1", " 1", "00"]),
    ("botId", &["echo", "b", "\0", " ", "a\nb"]),
    (
        "kinds",
        &[
            "message.*",
            "typing",
            "conversation.created,answer.delta",
            "*",
            ".*",
            "message",
            "hello",
            "typing,",
        ],
    ),
    ("limit", &["1", "500", "501", "0", "-1", "1e3", "9223372036854775808"]),
    ("wait", &["0", "00", "-0", "31", "-1", "0.5", "9223372036854775808"]),
];

const KINDS: [&str; 14] = [
    "conversation.created",
    "conversation.updated",
    "conversation.deleted",
    "conversation.seen",
    "message.created",
    "message.updated",
    "message.deleted",
    "answer.started",
    "answer.delta",
    "answer.finished",
    "typing",
    "conversation.*",
    "message.*",
    "answer.*",
];

/// Parameters, each with a value that is one of its own, many of these, or any text.
fn parameters() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let parameter = select(VALUES).prop_flat_map(|(name, values)| {
        let own = select(values).prop_map(str::to_owned);
        let many = vec(select(values), 2..25).prop_map(|values| values.join(","));
        // Numbers that are in range would be waited for.
        let any = any::<String>()
            .prop_filter("is waited for", |text| !text.contains(|sign: char| sign.is_numeric()));
        (Just(name), prop_oneof![3 => own, 1 => many, 1 => any])
    });
    vec(parameter, 0..6)
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Whether a value keeps the rule of its parameter.
fn is_good(name: &str, value: &str) -> bool {
    let number = |text: &str, least: i64, most: i64| {
        let digits = text.strip_prefix('-').unwrap_or(text);
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number && text.parse().is_ok_and(|number: i64| (least..=most).contains(&number))
    };
    match name {
        _ if value.is_empty() => true,
        "conversationId" => {
            value.split(',').count() <= 20 && value.split(',').all(|id| number(id, 0, i64::MAX))
        }
        "botId" => value.chars().count() <= 64 && !value.contains('\0'),
        "kinds" => value.split(',').all(|kind| KINDS.contains(&kind)),
        "limit" => number(value, 1, 500),
        "wait" => number(value, 0, 30),
        // What is no position is answered with `resync`.
        _ => true,
    }
}

/// The fields that the answer to a request with these parameters names.
fn broken(parameters: &[(&'static str, String)], known: &[&str]) -> BTreeSet<&'static str> {
    let mut last = BTreeMap::new();
    for (name, value) in parameters.iter().filter(|(name, _)| known.contains(name)) {
        last.insert(*name, value);
    }
    last.into_iter().filter(|(name, value)| !is_good(name, value)).map(|(name, _)| name).collect()
}

async fn parameters_of_the_feed(engine: Engine) {
    let app = TestApp::start(engine).await;
    let chat = Chat::on(&app, "echo").await;
    let (person, visitor) = (app.person(), app.anonymous());
    let names: Vec<_> = VALUES.iter().map(|(name, _)| *name).collect();
    let thread = format!("/api/questions/{}/events", chat.session);
    let visitors: Vec<_> =
        names.iter().copied().filter(|name| !["conversationId", "botId", "kinds"].contains(name)).collect();
    let readers = [(&person, "/api/events".to_owned(), names), (&visitor, thread, visitors)];
    block_in_place(|| {
        fuzz("parameters of the feed", parameters(), |parameters| {
            let query: Vec<_> =
                parameters.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
            for (client, path, names) in &readers {
                let path = format!("{path}?{}", query.join("&"));
                let broken = broken(&parameters, names);
                Handle::current().block_on(Box::pin(read(client, &path, &broken)));
            }
        });
    });
    app.stop().await;
}

/// Reads a page and a stream.
async fn read(client: &Client, path: &str, broken: &BTreeSet<&str>) {
    let page = client.with("accept", "application/json").get(path).await;
    if broken.is_empty() {
        let page = page.ok();
        assert!(page["cursor"].is_string() && page["data"].is_array(), "{path}");
        let mut feed = client.follow(path).await;
        assert_eq!(feed.next().await.unwrap()["kind"], "hello", "{path}");
        return;
    }
    names(&page, broken);
    // Only now: a stream that was not refused would not end.
    names(&client.get(path).await, broken);
}

fn names(answer: &Answer, broken: &BTreeSet<&str>) {
    let errors = answer.has_status(400).json()["errors"].clone();
    let named: BTreeSet<_> =
        errors.as_array().unwrap().iter().map(|error| error["field"].as_str().unwrap()).collect();
    assert_eq!(&named, broken, "{}", answer.request);
}

async fn bodies_of_hand_over(engine: Engine) {
    const FIELDS: &[&str] = &["upTo", "force", "to"];
    let app = TestApp::start(engine).await;
    let chat = Chat::on(&app, "echo").await;
    let (person, visitor) = (app.person(), app.anonymous());
    let value = prop_oneof![
        select(&["1", "\"1\"", "true", "false", "null", "\"bot\"", "\"queue\"", "0", "-1", "1.0", "1e0"][..])
            .prop_map(str::to_owned),
        json(FIELDS),
    ];
    let bodies = mutated(prop_oneof![4 => json_object(FIELDS, value), 1 => json(FIELDS)]);
    let calls =
        ["claim", "release", "seen", "typing"].map(|what| format!("/api/conversation/{}/{what}", chat.id));
    let visitors =
        ["seen", "handover", "typing"].map(|what| format!("/api/questions/{}/{what}", chat.session));
    block_in_place(|| {
        fuzz("bodies of hand-over", bodies, |body| {
            let send = async {
                for (client, path) in calls
                    .iter()
                    .map(|path| (&person, path))
                    .chain(visitors.iter().map(|path| (&visitor, path)))
                {
                    let answer = client.send_json(reqwest::Method::POST, path, body.clone()).await;
                    assert!(
                        [200, 400].contains(&answer.status.as_u16()),
                        "{}: {}",
                        answer.request,
                        answer.text
                    );
                    assert_eq!(answer.json()["status"], answer.status.as_u16(), "{}", answer.request);
                    let is_read = !path.ends_with("typing") && !path.ends_with("handover");
                    if is_read && !body.is_empty() && answer.status == 200 {
                        assert!(
                            from_slice::<HashMap<String, &RawValue>>(&body).is_ok(),
                            "{}",
                            answer.request
                        );
                    }
                }
            };
            Handle::current().block_on(Box::pin(send));
        });
    });
    let path = format!("/api/conversation/{}", chat.id);
    person.get(&path).await.ok();
    app.stop().await;
}
