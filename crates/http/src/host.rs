//! A request has exactly one `Host` (RFC 9112, section 3.2). With two, a proxy may use one and the server behind it the
//! other.

use std::net::Ipv6Addr;

use axum::http::header::HOST;
use axum::http::{HeaderMap, Version};

use crate::error::Failure;

/// Refuses a request with no host, several, or a malformed one. Before HTTP/1.1 it may be missing.
///
/// An empty one is refused too, as by nginx: the standard allows it only for targets without an authority, and an HTTP
/// URI always has one.
pub fn check(version: Version, headers: &HeaderMap) -> Result<(), Failure> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if version < Version::HTTP_11 => Ok(()),
        (Some(host), None) if is_host(host.as_bytes()) => Ok(()),
        _ => Err(Failure::BadHost),
    }
}

/// A name or an address, with or without a port. A URI would allow more characters in a name; servers' names have only
/// letters, digits and `-._`, and a comma comes from two headers that a proxy joined.
fn is_host(host: &[u8]) -> bool {
    let Ok(host) = str::from_utf8(host) else { return false };
    let (is_name, port) = match host.strip_prefix('[').map(|host| host.split_once(']')) {
        Some(Some((address, port))) => (address.parse::<Ipv6Addr>().is_ok(), port),
        Some(None) => return false,
        None => {
            let (name, port) = host.split_at(host.find(':').unwrap_or(host.len()));
            let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            (!name.is_empty() && name.bytes().all(is_letter), port)
        }
    };
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    is_name && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderValue, Uri};
    use wicara_fuzz::{fuzz, mutated};

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
            ("[::1]a", false),
            ("[a]", false),
            ("[]", false),
            ("a b", false),
            ("a,b", false),
            ("a, b", false),
            ("%61", false),
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

    #[test]
    fn fuzz_what_is_taken_for_a_host_leads_to_that_host() {
        let host = r"([a-zA-Z0-9._-]{0,9}|\[[0-9a-f:]{0,9}\]|[!-~]{0,4})(:[0-9]{0,6})?";
        fuzz("host", mutated(host), |bytes| {
            if !is_host(&bytes) {
                return;
            }
            let host = str::from_utf8(&bytes).unwrap();
            let uri: Uri = format!("http://{host}/path").parse().unwrap();
            assert_eq!((uri.authority().unwrap().as_str(), uri.path()), (host, "/path"));
            assert!(!uri.host().unwrap().is_empty() && !host.contains(['@', ',', ' ']));
        });
    }
}
