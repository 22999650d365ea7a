//! Whom a request is for: one host, said once (RFC 9112, section 3.2). Two of them are how a request means one server
//! to a proxy and another to the one behind it.

use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Version};

use super::error::Failure;

/// Refuses a request that names no host or several, or where the name is none. Before HTTP/1.1 there may be none.
///
/// An empty name is refused too: the standard keeps it for targets without an authority, which HTTP's never are, and
/// nginx does the same.
pub fn check(version: Version, headers: &HeaderMap) -> Result<(), Failure> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if version < Version::HTTP_11 => Ok(()),
        (Some(host), None) if is_host(host.as_bytes()) => Ok(()),
        _ => Err(Failure::BadHost),
    }
}

/// A name or an address, and perhaps a port.
fn is_host(host: &[u8]) -> bool {
    let Ok(authority) = Authority::try_from(host) else { return false };
    let Some(port) = authority.as_str().strip_prefix(authority.host()) else { return false };
    !authority.host().is_empty()
        && (port.is_empty()
            || port.strip_prefix(':').is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit())))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn allowed(version: Version, hosts: &[&[u8]]) -> bool {
        let hosts = hosts.iter().map(|host| (HOST, HeaderValue::from_bytes(host).unwrap()));
        check(version, &hosts.collect()).is_ok()
    }

    #[test]
    fn one_host_is_named_once() {
        for (hosts, expected) in [
            (&[&b"a"[..]][..], true),
            (&[], false),
            (&[b"a", b"a"], false),
            (&[b"a", b"b"], false),
            (&[b"", b"a"], false),
        ] {
            assert_eq!(allowed(Version::HTTP_11, hosts), expected, "{hosts:?}");
            assert_eq!(allowed(Version::HTTP_10, hosts), expected || hosts.is_empty(), "{hosts:?}");
        }
    }

    #[test]
    fn a_host_is_a_name_or_an_address_with_or_without_a_port() {
        for (host, expected) in [
            ("chat.example.org", true),
            ("CHAT.example.org.:443", true),
            ("my_service:3333", true),
            ("127.0.0.1:3333", true),
            ("[::1]", true),
            ("[::1]:3333", true),
            ("a:", true),
            ("", false),
            (" ", false),
            (":80", false),
            ("a:b", false),
            ("a:80:80", false),
            ("::1", false),
            ("[::1", false),
            ("a b", false),
            ("a, b", false),
            ("a/b", false),
            ("a?b", false),
            ("user@a", false),
            ("http://a", false),
            ("a#b", false),
            ("\u{e9}", false),
        ] {
            assert_eq!(allowed(Version::HTTP_11, &[host.as_bytes()]), expected, "{host:?}");
        }
        assert!(!allowed(Version::HTTP_11, &[b"\xff"]));
    }
}
