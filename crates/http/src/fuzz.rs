//! Generated input for what a client sends: bodies, queries, cookies and headers.

use std::collections::HashMap;
use std::net::IpAddr;

use axum::http::header::{AUTHORIZATION, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::value::RawValue;
use serde_json::{Value, from_slice};
use wicara_fuzz::{fuzz, json, json_leaf, json_object, mutated};
use wicara_model::{Bounds, Cursor, Handler, Rule, Violation};
use wicara_service::Error;

use crate::contract::conversation_api::ConversationQuery;
use crate::contract::message_api::{MessageQuery, NewMessage, UndoQuery};
use crate::credentials::{SESSION_COOKIE, credentials, key_only};
use crate::input::{self, BOT_ID, Input, ROOM};
use crate::own_hosts::OwnHosts;
use crate::query::{Query, percent_encoded};
use crate::{CookieSameSite, Settings, body, origin};

const FIELDS: &[&str] =
    &["message", "type", "role", "conversationId", "room", "botId", "handler", "session_id", "value"];
const PARAMETERS: &[&str] = &[
    "page",
    "limit",
    "userId",
    "botId",
    "integrationType",
    "room",
    "order",
    "before",
    "after",
    "conversationId",
    "sort",
    "handler",
    "assignee",
    "failed",
    "unanswered",
    "unread",
    "since",
    "until",
    "cursor",
    "role",
    "undo",
];

/// An object with the fields that are asked for, or any JSON.
fn body() -> impl Strategy<Value = Vec<u8>> {
    mutated(prop_oneof![4 => json_object(FIELDS, json_leaf()), 1 => json(FIELDS)])
}

fn violations(result: Result<(), Error>) -> Vec<(Rule, &'static str)> {
    match result {
        Ok(()) => Vec::new(),
        Err(Error::Invalid(violations)) => violations.iter().map(|v| (v.rule, v.field)).collect(),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_body_is_an_object_or_breaks_the_rule_json() {
    fuzz("body", body(), |bytes| {
        let is_object = from_slice::<HashMap<String, &RawValue>>(&bytes).is_ok();
        match Input::read(&bytes) {
            Ok(_) => assert!(is_object),
            Err(Error::Invalid(broken)) => {
                assert_eq!(broken, [Violation::new("body", Rule::Json)]);
                assert!(!is_object);
            }
            Err(error) => panic!("{error}"),
        }
    });
}

#[test]
fn a_text_is_taken_unchanged_or_its_field_is_named() {
    fuzz("text", body(), |bytes| {
        let Ok(mut input) = Input::read(&bytes) else { return };
        let text = input.required(ROOM);
        let broken = violations(input.finish());
        let sent = from_slice::<HashMap<String, Value>>(&bytes).ok().and_then(|mut body| body.remove("room"));
        match broken.as_slice() {
            [] => {
                assert!(!text.trim().is_empty() && !text.contains('\0') && text.chars().count() <= 255);
                assert!(sent.is_none_or(|sent| sent == Value::String(text)));
            }
            [(rule, "room")] => {
                assert_eq!(text, "");
                let Some(Value::String(sent)) = sent else { return };
                let expected = match sent {
                    sent if sent.contains('\0') => Rule::String,
                    sent if sent.trim().is_empty() => Rule::Required,
                    _ => Rule::MaxLength,
                };
                assert_eq!(*rule, expected);
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn every_reader_of_a_field_returns_what_was_sent() {
    fuzz("fields", body(), |bytes| {
        let Ok(mut input) = Input::read(&bytes) else { return };
        let new = NewMessage::read(&mut input);
        let (bot_id, room) = (input.optional(BOT_ID), input.patched(ROOM));
        let (handler, session) = (input.one_of::<Handler>("handler"), input.uuid("session_id"));
        let value = input.number("value", -1, 1);
        let broken = violations(input.finish());
        assert!(broken.iter().all(|(_, field)| FIELDS.contains(field)), "{broken:?}");

        let Ok(sent) = from_slice::<HashMap<String, Value>>(&bytes) else { return };
        let text = |name: &str| sent.get(name).and_then(Value::as_str);
        let is_broken = |name: &str| broken.iter().any(|(_, field)| *field == name);
        if !is_broken("message") {
            assert_eq!(Some(new.message.as_str()), text("message"));
        }
        if !is_broken("value") {
            assert!((-1..=1).contains(&value) && sent["value"].as_i64() == Some(value));
        }
        if let Ok(id) = new.conversation_id {
            let sent = &sent["conversationId"];
            let sent = sent.as_str().map_or_else(|| sent.to_string(), str::to_owned);
            assert_eq!(sent.parse(), Ok(id));
        }
        assert!(bot_id.is_none_or(|bot_id| text("botId") == Some(&bot_id)));
        assert!(room.is_none_or(|room| text("room") == Some(&room)));
        assert!(handler.is_none_or(|handler| text("handler") == Some(handler.as_str())));
        assert!(session.is_none_or(|id| text("session_id").unwrap().to_lowercase() == id.to_string()));
    });
}

#[test]
fn a_session_id_is_read_back_as_it_is_written() {
    let uuid = "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}";
    let form = "\\{?[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}\\}?";
    fuzz("session id", mutated(prop_oneof![uuid, form, "urn:uuid:[0-9a-f]{32}"]), |bytes| {
        let text = String::from_utf8_lossy(&bytes);
        let written = |place: usize, byte: u8| match place {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        };
        let well_formed =
            text.len() == 36 && text.bytes().enumerate().all(|(place, byte)| written(place, byte));
        let read = input::uuid(&text);
        assert_eq!(read.is_some(), well_formed);
        assert!(read.is_none_or(|uuid| uuid.to_string() == text.to_ascii_lowercase()));
    });
}

#[test]
fn a_query_is_within_its_limits_or_names_a_parameter() {
    let value = prop_oneof![
        "-?[0-9]{0,20}",
        "-?[0-9]",
        "asc|desc|activity|human|me|none|true",
        "[0-9a-f]{1,17}-[0-9a-f]{1,17}",
        "[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{1,12})?(Z|[+ -][0-9]{2}:[0-9]{2}))?",
        "[ -~]{0,70}",
        any::<String>()
    ];
    let encoded = value.prop_map(|value| percent_encoded(&value));
    let pair = (select(PARAMETERS), prop_oneof![4 => encoded, 1 => "[ -~]{0,4}"]);
    let text = vec(pair, 0..8).prop_map(|pairs| {
        pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
    });
    fuzz("query", mutated(text), |bytes| {
        let Ok(uri) = axum::http::Uri::try_from([b"/?", bytes.as_slice()].concat()) else { return };
        let mut query = Query::of(&uri);
        let (filter, listing, _) = ConversationQuery::read(&mut query);
        let (messages, _, _) = MessageQuery::read(&mut query);
        let undo = UndoQuery::read(&mut query);
        assert!(undo.is_none_or(|undo| (1..=300).contains(&undo.as_secs())));
        assert!((1..=100).contains(&listing.limit));
        match listing.cursor {
            Cursor::Page(page) => assert!(page >= 1 && listing.offset() >= 0),
            Cursor::Between { after, before } => {
                assert!([after, before].iter().flatten().all(|id| *id >= 0));
            }
        }
        assert!(messages.conversation_id.is_none_or(|id| id.0 >= 0));
        let texts = [&filter.user_id, &filter.bot_id, &filter.integration_type, &filter.room];
        assert!(texts.into_iter().flatten().all(|text| !text.is_empty() && !text.contains('\0')));
        let broken = violations(query.finish());
        assert!(broken.iter().all(|(_, field)| PARAMETERS.contains(field)), "{broken:?}");
    });
}

#[test]
fn a_parameter_is_read_back_as_it_is_encoded() {
    fuzz("parameter", any::<String>(), |text| {
        let uri = format!("/?room={}", percent_encoded(&text)).parse().unwrap();
        let mut query = Query::of(&uri);
        let read = query.text(ROOM);
        if violations(query.finish()).is_empty() {
            assert_eq!(read.unwrap_or_default(), text);
        }
    });
}

fn header(value: &[u8]) -> Option<HeaderValue> {
    HeaderValue::from_bytes(value).ok()
}

#[test]
fn a_session_is_never_part_of_another_cookie() {
    let name = prop_oneof![
        3 => Just(SESSION_COOKIE.to_owned()),
        1 => "x?wicara_sessio[nN]{0,2}",
        1 => "[a-z-]{0,8}"
    ];
    let value = prop_oneof!["[0-9a-f]{0,6}", "wicara_session=[a-z]{0,3}", "\"[ -:<-~]{0,6}\""];
    fuzz("cookies", vec(vec((name, value), 0..4), 0..3), |sent| {
        let line = |cookies: &Vec<(String, String)>| {
            let cookies: Vec<_> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            (COOKIE, HeaderValue::from_str(&cookies.join("; ")).unwrap())
        };
        let headers: HeaderMap = sent.iter().map(line).collect();
        let ours = sent.iter().flatten().filter(|(name, value)| name == SESSION_COOKIE && !value.is_empty());
        let mut expected = Vec::new();
        for (_, value) in ours {
            if !expected.contains(value) {
                expected.push(value.clone());
            }
        }
        assert_eq!(credentials(&headers).sessions, expected);
        assert_eq!(key_only(&headers).sessions, [""; 0]);
    });
}

#[test]
fn a_broken_cookie_header_gives_no_more_than_was_sent() {
    let cookies = "( ?[a-z_]{0,9}=[a-z0-9]{0,4};| ?wicara_session=[a-z0-9]{0,4};){0,4}";
    fuzz("cookie header", mutated(cookies), |bytes| {
        let headers = header(&bytes).map(|value| (COOKIE, value)).into_iter().collect();
        for session in credentials(&headers).sessions {
            assert!(!session.is_empty() && !session.contains(';'));
            let pair = format!("{SESSION_COOKIE}={session}");
            assert!(bytes.windows(pair.len()).any(|window| window == pair.as_bytes()), "{session}");
        }
    });
}

#[test]
fn keys_in_several_headers_agree_or_are_wrong() {
    let name = select(&["authorization", "x-api-key", "api_key"]);
    let key = prop_oneof![3 => Just("wk-1".to_owned()), 1 => Just(String::new()), 1 => "[!-~]{1,4}"];
    fuzz("keys", vec((name, key, "[ \t]?"), 0..4), |sent| {
        let headers: HeaderMap = sent
            .iter()
            .map(|(name, key, space)| {
                let scheme = if *name == "authorization" { "bEaReR " } else { "" };
                let value = format!("{space}{scheme}{space}{key}{space}");
                (HeaderName::from_static(name), HeaderValue::from_str(&value).unwrap())
            })
            .collect();
        let read = credentials(&headers).key;
        let mut keys = sent.iter().map(|(_, key, _)| key);
        let expected = match keys.next() {
            None => None,
            Some(first) if keys.all(|key| key == first) => Some(first.clone()),
            Some(_) => Some(String::new()),
        };
        assert_eq!(read, expected);
        assert_eq!(key_only(&headers).key, read);
    });
}

#[test]
fn a_broken_authorization_gives_no_more_than_was_sent() {
    fuzz("authorization", mutated("(Bearer|bearer|Basic|Bearerx) {0,2}[!-~]{0,6} ?"), |bytes| {
        let headers = header(&bytes).map(|value| (AUTHORIZATION, value)).into_iter().collect();
        if let Some(key) = credentials(&headers).key {
            assert!(bytes.trim_ascii_start().get(..6).unwrap().eq_ignore_ascii_case(b"bearer"));
            assert!(String::from_utf8_lossy(&bytes).contains(&key));
        }
    });
}

#[test]
fn a_page_may_write_only_from_our_origin_or_an_allowed_one() {
    let settings = Settings {
        public_url: None,
        allowed_origins: vec!["https://console.example".into()],
        anonymous_anywhere: false,
        cookie_same_site: CookieSameSite::Lax,
        body_bytes: 1024,
        body_budget_bytes: usize::MAX,
        answer_budget_bytes: usize::MAX,
        body_time: std::time::Duration::MAX,
        trusted_proxies: Vec::new(),
    };
    let host = select(&["a", "a.example:3333", "console.example", ""]);
    let origin = "(https?://)?(a|A.example:3333|console.example|console.example.a|null)(:80|/|@a)?";
    fuzz("origin", (host, mutated(origin)), |(host, bytes)| {
        let Some(origin) = header(&bytes) else { return };
        let headers = [(HOST, HeaderValue::from_static(host)), (ORIGIN, origin)].into_iter().collect();
        // Browsers write the scheme of what they call in lower case.
        let of_host = |scheme: &[u8]| bytes.strip_prefix(scheme).map(<[u8]>::to_ascii_lowercase);
        let called = of_host(b"http://").or_else(|| of_host(b"https://"));
        let expected = called.is_some_and(|called| called == host.as_bytes())
            || bytes.eq_ignore_ascii_case(b"https://console.example");
        assert_eq!(origin::may_write(&headers, &settings), expected);
    });
}

/// Whether a browser that opens this URL calls this machine or `chat.example`.
fn leads_to_us(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => ["localhost", "chat.example"].contains(&host.strip_suffix('.').unwrap_or(host)),
    }
}

#[test]
fn an_own_host_is_one_for_browsers_too() {
    let own = OwnHosts::new(&["https://chat.example".to_owned()]);
    let host = "(localhost|LocalHost|chat\\.example|127\\.[0-9.]{1,7}|0x7f[0-9.]{1,4}|[0-9]{8,10}|\\[[0-9a-f:.]{2,8}1\\]\
                |\\[::ffff:(127\\.0\\.0\\.1|7f00:[0-9a-f]{1,4})\\]|[a-z]{1,3}[.@][a-z]{1,3})\\.?(:[0-9]{0,5})?";
    fuzz("host", mutated(prop_oneof![3 => host, 1 => "[ -~]{0,12}"]), |bytes| {
        let url = String::from_utf8(bytes.clone()).ok();
        let url = url.and_then(|host| reqwest::Url::parse(&format!("http://{host}/")).ok());
        if own.contain(&bytes) {
            let url = url.as_ref().expect("browsers take it");
            assert!(leads_to_us(url), "{url}");
            assert_eq!((url.username(), url.password(), url.path()), ("", None, "/"));
        }
        // However a page spells it, this is what its browser sends.
        if let Some(url) = url {
            let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
            let sent = format!("{}{port}", url.host_str().unwrap());
            assert_eq!(own.contain(sent.as_bytes()), leads_to_us(&url), "{sent}");
        }
    });
}

#[test]
fn an_idempotency_key_is_taken_as_it_is() {
    let key = prop_oneof![2 => "[!-~]{0,20}", 1 => "[!-~]{0,4} [!-~]{0,4}", 1 => "[!-~]{250,260}"];
    fuzz("idempotency key", vec(mutated(key), 0..3), |sent| {
        let headers: Vec<_> = sent.iter().filter_map(|value| header(value)).collect();
        let Some(read) = body::idempotency_key(&headers) else {
            assert!(headers.is_empty());
            return;
        };
        let visible = |key: &str| key.bytes().all(|byte| byte.is_ascii_graphic());
        match read {
            Ok(key) => {
                assert!((1..=255).contains(&key.len()) && visible(&key));
                assert_eq!(headers, [HeaderValue::from_str(&key).unwrap()]);
            }
            Err(breach) if breach == Bounds::MaxLength(255).into() => assert!(headers[0].len() > 255),
            Err(breach) => {
                assert_eq!(breach, Rule::String.into());
                let key = headers[0].to_str().unwrap_or_default();
                assert!(headers.len() > 1 || key.is_empty() || !visible(key));
            }
        }
    });
}
