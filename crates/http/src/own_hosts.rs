//! Whether a request calls the server by one of its own names, against DNS rebinding: a stranger's page can point its
//! own domain at any address, also this machine's. The browser then takes the server for the page's own origin and lets
//! the page read every response; but `Host` still has the stranger's domain.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Once;

use axum::http::HeaderValue;
use axum::http::header::HOST;
use axum::http::request::Parts;

/// A text is no host, or has more than a host and a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidHost;

/// The host of `host:port`, as browsers send it. The port is ignored: it does not say who owns the name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// Canonical: an IPv4 address inside an IPv6 one is the IPv4 address.
    Address(IpAddr),
    /// In lower case, without a trailing dot.
    Name(String),
}

impl Host {
    const MAX_NAME_BYTES: usize = 253;

    /// Whether it always means this machine. `localhost` cannot be registered (RFC 6761), so that no page has it.
    fn is_loopback(&self) -> bool {
        match self {
            Host::Address(address) => address.is_loopback(),
            Host::Name(name) => name == "localhost",
        }
    }
}

impl FromStr for Host {
    type Err = InvalidHost;

    /// Strict: browsers send no user before an `@`, no other notation of an address (`0x7f.1`, `127.1`), no zone and no
    /// white space in `Host`.
    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']').ok_or(InvalidHost)?;
                let address: Ipv6Addr = address.parse().map_err(|_| InvalidHost)?;
                (Host::Address(IpAddr::V6(address).to_canonical()), port)
            }
            None => {
                let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
                match host.parse::<Ipv4Addr>() {
                    Ok(address) => (Host::Address(address.into()), port),
                    Err(_) => (Host::Name(name(host)?), port),
                }
            }
        };
        if port.is_empty() || port.strip_prefix(':').is_some_and(is_port) {
            Ok(host)
        } else {
            Err(InvalidHost)
        }
    }
}

fn name(text: &str) -> Result<String, InvalidHost> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || name.len() > Host::MAX_NAME_BYTES || !name.bytes().all(known) {
        return Err(InvalidHost);
    }
    Ok(name.to_ascii_lowercase())
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

/// The names that only this server has: those of this machine, and those that the operator configured.
#[derive(Debug, Clone)]
pub struct OwnHosts(Vec<Host>);

impl OwnHosts {
    /// This machine's names and the hosts of these origins.
    pub fn new<'a>(origins: impl IntoIterator<Item = &'a String>) -> Self {
        let host = |origin: &String| origin.split_once("://")?.1.parse().ok();
        Self(origins.into_iter().filter_map(host).collect())
    }

    /// Whether the request calls one of them. The target may name a host too (`GET http://host/`): then both have to be
    /// own names, since servers differ in which one counts. A request without any is not from a browser, and is
    /// refused.
    #[must_use]
    pub fn are_called(&self, parts: &Parts) -> bool {
        let mut called = called(parts).peekable();
        called.peek().is_some() && called.all(|host| self.contain(host))
    }

    pub(super) fn contain(&self, called: &[u8]) -> bool {
        let host = str::from_utf8(called).ok().and_then(|text| text.parse::<Host>().ok());
        host.is_some_and(|host| host.is_loopback() || self.0.contains(&host))
    }
}

/// Every host that the request names: in its target and in its `Host` headers.
fn called(parts: &Parts) -> impl Iterator<Item = &[u8]> {
    let target = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    target.into_iter().chain(parts.headers.get_all(HOST).iter().map(HeaderValue::as_bytes))
}

/// Warns once in the life of the process that a call by another name was refused.
pub struct RefusalWarning {
    /// The endpoint with its setting.
    what: &'static str,
    warned: Once,
}

pub static CHATBOT_API: RefusalWarning = RefusalWarning::new(
    "the open Chatbot API (auth.anonymous; with auth.anonymous_anywhere = true it answers by any name)",
);
pub static METRICS: RefusalWarning =
    RefusalWarning::new("the address that shows the metrics without a key (server.metrics_listen)");

impl RefusalWarning {
    const fn new(what: &'static str) -> Self {
        Self { what, warned: Once::new() }
    }

    pub fn warn_once(&self, parts: &Parts) {
        self.warned.call_once(|| {
            let called: Vec<_> =
                called(parts).map(|host| String::from_utf8_lossy(shortened(host))).collect();
            tracing::warn!(
                ?called,
                "{} was called by another name than this machine's, as a stranger's page could do: it was refused. \
                 If the name is yours, put it into server.public_url or server.allowed_origins",
                self.what
            );
        });
    }
}

/// For the log: a client may send a name of any length.
fn shortened(host: &[u8]) -> &[u8] {
    &host[..host.len().min(Host::MAX_NAME_BYTES)]
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn own() -> OwnHosts {
        let origins = [
            "https://chat.example.org",
            "http://console.example:8080",
            "http://[2001:db8::1]",
            "http://192.0.2.7",
        ];
        OwnHosts::new(&origins.map(str::to_owned))
    }

    fn are_called(target: &str, hosts: &[&str]) -> bool {
        let mut request = Request::get(target);
        for host in hosts {
            request = request.header(HOST, HeaderValue::from_bytes(host.as_bytes()).unwrap());
        }
        own().are_called(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn names_of_this_machine_and_names_that_were_given_are_own() {
        for host in [
            "localhost",
            "LocalHost:3333",
            "localhost.",
            "localhost.:3333",
            "127.0.0.1",
            "127.0.0.1:3333",
            "127.255.1.2:65535",
            "[::1]",
            "[::1]:3333",
            "[0:0:0:0:0:0:0:1]:1",
            "[::ffff:127.0.0.1]:3333",
            "[::ffff:7f00:1]",
            "chat.example.org",
            "Chat.Example.ORG.:8443",
            "console.example",
            "[2001:db8::1]:3333",
            "[2001:DB8:0::1]",
            "192.0.2.7:80",
            "[::ffff:192.0.2.7]",
        ] {
            assert!(are_called("/", &[host]), "{host}");
        }
    }

    #[test]
    fn every_other_name_is_a_strangers() {
        for host in [
            "",
            ".",
            ":3333",
            "evil.example",
            "evil.example:3333",
            "localhost.evil.example",
            "evil.localhost",
            "localhost..",
            "localhost:",
            "localhost:+80",
            "localhost:65536",
            "localhost:80:80",
            "localhost:80/",
            "localhost/",
            " localhost",
            "localhost,evil.example",
            "evil.example@localhost",
            "localhost@evil.example",
            "localhost#evil.example",
            "localhos\u{74}\u{301}",
            "chat.example.org.evil.example",
            "example.org",
            "10.0.0.1",
            "0.0.0.0",
            "127.0.0.1.",
            "127.0.0.01",
            "127.1",
            "127.0.0.1.evil.example",
            "2130706433",
            "0x7f000001",
            "017700000001",
            "::1",
            "[::1",
            "::1]",
            "[::1]]",
            "[::1]x",
            "[::1%lo]",
            "[127.0.0.1]",
            "[localhost]",
            "[::]",
            "[::2]",
            "[::127.0.0.1]",
            "[64:ff9b::7f00:1]",
        ] {
            assert!(!are_called("/", &[host]), "{host:?}");
        }
        assert!(!are_called("/", &[]));
    }

    #[test]
    fn a_request_that_names_several_hosts_has_to_mean_this_server_each_time() {
        assert!(are_called("http://localhost:3333/", &["127.0.0.1:3333"]));
        assert!(are_called("http://localhost:3333/", &[]));
        for (target, hosts) in [
            ("http://evil.example/", &["localhost"][..]),
            ("http://evil.example/", &[]),
            ("http://localhost/", &["evil.example"]),
            ("http://a@localhost/", &["localhost"]),
            ("/", &["localhost", "evil.example"]),
            ("/", &["evil.example", "localhost"]),
        ] {
            assert!(!are_called(target, hosts), "{target} {hosts:?}");
        }
    }
}
