//! The credentials in a request's headers.

use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, COOKIE, HeaderValue};
use wicara_service::Credentials;

pub const SESSION_COOKIE: &str = "wicara_session";

/// Session cookies of a request that are tried: each costs a read. A browser sends a second one where another server
/// ran on this host, or a parent domain's; more than a few come from nobody.
const MAX_SESSIONS: usize = 16;

/// The headers that hold a bare key. Clients do send the second one with an underscore.
const KEY_HEADERS: [&str; 2] = ["x-api-key", "api_key"];

/// The key and the cookie sessions of a request.
#[must_use]
pub fn credentials(headers: &HeaderMap) -> Credentials {
    Credentials { key: key(headers), sessions: sessions(headers) }
}

/// The key alone, for endpoints that pages of any origin may call: these must not act with a user's cookie.
#[must_use]
pub fn key_only(headers: &HeaderMap) -> Credentials {
    Credentials { key: key(headers), sessions: Vec::new() }
}

/// `Some("")`, which is always a wrong key, where it is blank or not UTF-8, or two headers differ.
fn key(headers: &HeaderMap) -> Option<String> {
    let bearers = headers.get_all(AUTHORIZATION).iter().filter_map(bearer);
    let others = KEY_HEADERS.iter().flat_map(|name| headers.get_all(*name)).map(HeaderValue::as_bytes);
    let mut keys = bearers.chain(others).map(<[u8]>::trim_ascii);
    let first = keys.next()?;
    let agreed = keys.all(|key| key == first);
    let key = str::from_utf8(first).ok().filter(|_| agreed);
    Some(key.unwrap_or_default().to_owned())
}

/// The text after `Bearer`; `None` for another scheme.
fn bearer(value: &HeaderValue) -> Option<&[u8]> {
    let value = value.as_bytes().trim_ascii();
    let end = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
    let (scheme, key) = value.split_at(end);
    scheme.eq_ignore_ascii_case(b"bearer").then_some(key)
}

/// The first [`MAX_SESSIONS`] different values. Cookies of others on this host may hold any bytes, and hide no session.
fn sessions(headers: &HeaderMap) -> Vec<String> {
    let cookies =
        headers.get_all(COOKIE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    let mut sessions = Vec::new();
    for cookie in cookies {
        let Some(value) = session(cookie) else { continue };
        if sessions.len() < MAX_SESSIONS && !sessions.iter().any(|known| known == value) {
            sessions.push(value.to_owned());
        }
    }
    sessions
}

/// The value of a session cookie; `None` for another cookie, and where it is empty.
fn session(cookie: &[u8]) -> Option<&str> {
    let (name, value) = str::from_utf8(cookie.trim_ascii()).ok()?.split_once('=')?;
    (name == SESSION_COOKIE && !value.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    fn of(headers: &[(&str, &str)]) -> Credentials {
        let headers = headers
            .iter()
            .map(|(name, value)| {
                (name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap())
            })
            .collect();
        credentials(&headers)
    }

    #[test]
    fn a_key_is_taken_from_each_of_the_three_headers() {
        for header in [
            ("Authorization", "Bearer wk-1"),
            ("authorization", "bearer  wk-1 "),
            ("X-API-Key", "wk-1"),
            ("API_KEY", "wk-1"),
        ] {
            assert_eq!(of(&[header]).key.as_deref(), Some("wk-1"), "{header:?}");
        }
    }

    #[test]
    fn a_blank_key_is_a_key() {
        for header in
            [("Authorization", "Bearer"), ("Authorization", "Bearer "), ("X-API-Key", ""), ("API_KEY", " ")]
        {
            assert_eq!(of(&[header, ("Cookie", "wicara_session=t")]).key.as_deref(), Some(""), "{header:?}");
        }
    }

    #[test]
    fn another_scheme_is_no_key() {
        for value in ["Basic dTpw", "Bearerwk-1", "", "Digest Bearer"] {
            assert_eq!(of(&[("Authorization", value)]).key, None, "{value}");
        }
        assert_eq!(of(&[("Authorization", "Basic dTpw"), ("API_KEY", "wk-1")]).key.as_deref(), Some("wk-1"));
    }

    #[test]
    fn keys_that_differ_are_a_wrong_key() {
        assert_eq!(of(&[("X-API-Key", "wk-1"), ("API_KEY", "wk-2")]).key.as_deref(), Some(""));
        assert_eq!(of(&[("X-API-Key", "wk-1"), ("X-API-Key", "wk-2")]).key.as_deref(), Some(""));
        assert_eq!(
            of(&[("X-API-Key", "wk-1"), ("Authorization", "Bearer wk-1")]).key.as_deref(),
            Some("wk-1")
        );
        assert_eq!(of(&[("API_KEY", "\u{e9}")]).key.as_deref(), Some("é"));
    }

    #[test]
    fn sessions_are_found_among_other_cookies() {
        for (cookies, expected) in [
            (&["a=b; wicara_session=t1; c=d"][..], &["t1"][..]),
            (&["a=b", "wicara_session=t1"], &["t1"]),
            (&["wicara_session=; xwicara_session=t2"], &[]),
            (&[], &[]),
            (&["wicara_session=t1; wicara_session=t2"], &["t1", "t2"]),
            (&["wicara_session=t2;wicara_session=t1", "wicara_session=t3"], &["t2", "t1", "t3"]),
            (&["wicara_session=t1; wicara_session=; wicara_session=t1"], &["t1"]),
            (&["name=José; wicara_session=t1"], &["t1"]),
        ] {
            let headers: Vec<_> = cookies.iter().map(|cookies| ("Cookie", *cookies)).collect();
            assert_eq!(of(&headers).sessions, expected, "{cookies:?}");
        }
    }

    #[test]
    fn a_bounded_number_of_sessions_is_tried() {
        let cookies: Vec<_> = (0..1000).map(|number| format!("wicara_session=t{number}")).collect();
        let sessions = of(&[("Cookie", &cookies.join("; "))]).sessions;
        let first: Vec<_> = (0..MAX_SESSIONS).map(|number| format!("t{number}")).collect();
        assert_eq!(sessions, first);
    }
}
