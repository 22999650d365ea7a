//! A request's client address: the peer of its connection or, behind a trusted proxy, the address in `X-Forwarded-For`.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Once;

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Request};
use wicara_model::Network;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address of a connection's other end, an extension of each of its requests.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

/// A client's address, as far as trusted proxies vouch for it: an extension of its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(IpAddr);

impl ClientAddress {
    #[must_use]
    pub fn of(parts: &Parts) -> Self {
        *parts.extensions.get::<Self>().expect("the middleware finds it")
    }

    /// Finds the address and leaves it as an extension. `None` where the accept loop has not named the peer.
    pub fn find<B>(request: &mut Request<B>, trusted: &[Network]) -> Option<Self> {
        let peer = request.extensions().get::<Peer>()?.0;
        let address = Self::new(peer, request.headers(), trusted);
        request.extensions_mut().insert(address);
        Some(address)
    }

    #[must_use]
    pub fn ip(self) -> IpAddr {
        self.0
    }

    fn new(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> Self {
        let peer = peer.to_canonical();
        let is_trusted = |address| trusted.iter().any(|network| network.contains(address));
        if headers.contains_key(X_FORWARDED_FOR) && is_near(peer) && !is_trusted(peer) {
            warn_once(peer);
        }
        // Each proxy appends the address of its peer. Read from the end, the first address that is no trusted proxy is
        // the client; entries before it may be forged.
        let mut entries = headers
            .get_all(X_FORWARDED_FOR)
            .iter()
            .rev()
            .flat_map(|line| line.to_str().unwrap_or_default().rsplit(','));
        let mut address = peer;
        while is_trusted(address)
            && let Some(before) = entries.next().and_then(parsed)
        {
            address = before;
        }
        Self(address)
    }

    /// The address that rate limits count: an IPv4 address, or the first one of an IPv6 /64, which one customer gets.
    #[must_use]
    pub fn network(&self) -> IpAddr {
        match self.0 {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        }
    }
}

/// An entry of X-Forwarded-For. Some proxies add the port.
fn parsed(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim();
    let bare = entry.strip_prefix('[').and_then(|entry| entry.strip_suffix(']')).unwrap_or(entry);
    let address = bare.parse().or_else(|_| entry.parse().map(|address: SocketAddr| address.ip()));
    address.ok().map(|address| address.to_canonical())
}

/// Whether it is an address where proxies usually run: loopback or private.
fn is_near(peer: IpAddr) -> bool {
    match peer {
        IpAddr::V4(peer) => peer.is_loopback() || peer.is_private(),
        IpAddr::V6(peer) => peer.is_loopback() || peer.is_unique_local(),
    }
}

fn warn_once(peer: IpAddr) {
    static WARNED: Once = Once::new();
    WARNED.call_once(|| {
        tracing::warn!(
            %peer,
            "a proxy that is not trusted sends X-Forwarded-For: all its clients count as one address. \
             If it is yours, name it in server.trusted_proxies"
        );
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The address behind some lines of X-Forwarded-For, with these proxies trusted: 127.0.0.1, 10.0.0.0/8 and ::1.
    fn behind(peer: &str, lines: &[&'static str]) -> String {
        let headers = lines.iter().map(|line| (X_FORWARDED_FOR, line.parse().unwrap())).collect();
        let trusted = ["127.0.0.1", "10.0.0.0/8", "::1"].map(|network| network.parse().unwrap());
        ClientAddress::new(peer.parse().unwrap(), &headers, &trusted).0.to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        for (peer, lines, expected) in [
            ("127.0.0.1", &[][..], "127.0.0.1"),
            ("127.0.0.1", &["192.0.2.7"], "192.0.2.7"),
            ("127.0.0.2", &["192.0.2.7"], "127.0.0.2"),
            ("198.51.100.1", &["192.0.2.7"], "198.51.100.1"),
            // What a client wrote itself stands before what the proxy added.
            ("127.0.0.1", &["192.0.2.1, 192.0.2.7"], "192.0.2.7"),
            ("127.0.0.1", &["192.0.2.1", "192.0.2.7"], "192.0.2.7"),
            ("127.0.0.1", &["192.0.2.1, 192.0.2.7 , 10.1.1.1", "10.2.2.2,::1"], "192.0.2.7"),
            ("127.0.0.1", &["10.1.1.1, 10.2.2.2"], "10.1.1.1"),
        ] {
            assert_eq!(behind(peer, lines), expected, "{peer} {lines:?}");
        }
    }

    #[test]
    fn what_is_no_address_ends_the_way_back() {
        for line in
            ["192.0.2.7, unknown", "unknown", "192.0.2.7,", "", "192.0.2.7, 10.1.1.1.1", "192.0.2.7, é"]
        {
            assert_eq!(behind("10.0.0.1", &[line]), "10.0.0.1", "{line}");
            assert_eq!(behind("10.0.0.1", &[line, "10.0.0.2"]), "10.0.0.2", "{line}");
        }
    }

    #[test]
    fn an_entry_may_have_a_port() {
        for (entry, expected) in [
            ("192.0.2.7:4711", "192.0.2.7"),
            ("2001:db8::7", "2001:db8::7"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("[2001:db8::7]:4711", "2001:db8::7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("[::ffff:192.0.2.7]:4711", "192.0.2.7"),
        ] {
            assert_eq!(behind("::ffff:127.0.0.1", &[entry]), expected, "{entry}");
        }
    }

    #[test]
    fn an_ipv6_address_counts_with_its_64_bit_network() {
        let network =
            |peer: &str| ClientAddress::new(peer.parse().unwrap(), &HeaderMap::new(), &[]).network();
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), network("2001:db8:1:2::"));
        assert_ne!(network("2001:db8:1:2::"), network("2001:db8:1:3::"));
        assert_ne!(network("192.0.2.7"), network("192.0.2.6"));
        assert_eq!(network("192.0.2.7"), network("::ffff:192.0.2.7"));
    }
}
