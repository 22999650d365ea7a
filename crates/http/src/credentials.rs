//! The credentials in a request's headers.

use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, COOKIE, HeaderValue};
use wicara_service::Credentials;

pub const SESSION_COOKIE: &str = "wicara_session";

/// The headers that hold a bare key. Clients do send the second one with an underscore.
const KEY_HEADERS: [&str; 2] = ["x-api-key", "api_key"];

/// The key and the cookie session of a request.
#[must_use]
pub fn credentials(headers: &HeaderMap) -> Credentials {
    Credentials { key: key(headers), session: session(headers) }
}

/// The key alone, for endpoints that pages of any origin may call: these must not act with a user's cookie.
#[must_use]
pub fn key_only(headers: &HeaderMap) -> Credentials {
    Credentials { key: key(headers), session: None }
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

fn session(headers: &HeaderMap) -> Option<String> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
        .find(|(name, value)| *name == SESSION_COOKIE && !value.is_empty())
        .map(|(_, value)| value.to_owned())
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
    fn a_session_is_found_among_other_cookies() {
        assert_eq!(of(&[("Cookie", "a=b; wicara_session=t1; c=d")]).session.as_deref(), Some("t1"));
        assert_eq!(of(&[("Cookie", "a=b"), ("Cookie", "wicara_session=t1")]).session.as_deref(), Some("t1"));
        assert_eq!(of(&[("Cookie", "wicara_session=; xwicara_session=t2")]).session, None);
        assert_eq!(of(&[]).session, None);
    }
}
