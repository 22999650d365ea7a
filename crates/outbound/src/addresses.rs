//! For bots that must be on the public internet (`private_addresses = false`): refuses IP addresses of this machine and its
//! private networks, in URLs and in the answers of DNS, against server-side request forgery.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::net::lookup_host;

const REMEDY: &str = "private_addresses = true allows it";

/// Networks that are not part of the public internet: <https://www.iana.org/assignments/iana-ipv4-special-registry>.
const SPECIAL_V4: [([u8; 4], u32); 15] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
];

/// Networks within [`UNICAST`] that are not public: <https://www.iana.org/assignments/iana-ipv6-special-registry>.
const SPECIAL_V6: [(Ipv6Addr, u32); 3] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];
/// Global unicast: everything outside it is special.
const UNICAST: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
const SIX_TO_FOUR: u16 = 0x2002;
const NAT64: [u16; 6] = [0x64, 0xff9b, 0, 0, 0, 0];

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match embedded_v4(address) {
            Some(embedded) => is_public_v4(embedded),
            None => {
                let is_in = |(network, bits): (Ipv6Addr, u32)| {
                    (address.to_bits() ^ network.to_bits()) >> (u128::BITS - bits) == 0
                };
                is_in(UNICAST) && !SPECIAL_V6.into_iter().any(is_in)
            }
        },
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let is_in = |(network, bits): ([u8; 4], u32)| {
        (address.to_bits() ^ u32::from_be_bytes(network)) >> (u32::BITS - bits) == 0
    };
    !SPECIAL_V4.into_iter().any(is_in)
}

/// The IPv4 address inside a 6to4, NAT64 or IPv4-mapped address.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let segments = address.segments();
    let at = |first: usize| {
        let [a, b] = segments[first].to_be_bytes();
        let [c, d] = segments[first + 1].to_be_bytes();
        Ipv4Addr::new(a, b, c, d)
    };
    if segments[0] == SIX_TO_FOUR {
        Some(at(1))
    } else if segments[..6] == NAT64 {
        Some(at(6))
    } else {
        address.to_ipv4_mapped()
    }
}

/// Refuses a URL whose host is a private IP address. Notations such as `0x7f.1` need no handling here: parsing the URL
/// normalised them.
pub fn check(url: &Url) -> Result<(), String> {
    let host = url.host_str().unwrap_or_default();
    match host.trim_start_matches('[').trim_end_matches(']').parse() {
        Ok(address) if !is_public(address) => Err(format!("found {host}, a private address; {REMEDY}")),
        _ => Ok(()),
    }
}

/// Resolves names to public addresses only. The client connects to the addresses that were checked and does not resolve the
/// name again, so a second answer of DNS cannot lead elsewhere (DNS rebinding).
pub struct PublicNames;

impl Resolve for PublicNames {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<_> = lookup_host((name.as_str(), 0)).await?.collect();
            let public: Vec<_> = found.into_iter().filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err(format!("{} leads to a private address; {REMEDY}", name.as_str()).into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_public_internet_is_public() {
        for private in "0.0.0.0 10.1.2.3 100.64.0.1 100.127.255.255 127.0.0.1 127.255.0.1 169.254.169.254 172.16.0.1 \
                        172.31.255.255 192.0.0.1 192.0.2.1 192.88.99.1 192.168.0.1 198.19.0.1 \
                        198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 \
                        :: ::1 ::127.0.0.1 ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:10.0.0.1 64:ff9b::7f00:1 \
                        64:ff9b::10.0.0.1 64:ff9b:1::1 100::1 2001::1 2001:db8::1 2002:7f00:1:: 2002:a00:1::1 \
                        3fff::1 4000::1 5f00::1 fc00::1 fd00::1 fe80::1 fec0::1 ff02::1"
            .split_whitespace()
        {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
        for public in
            "1.1.1.1 100.63.255.255 100.128.0.1 172.15.0.1 172.32.0.1 192.167.0.1 198.20.0.1 223.255.255.1 \
                       2606:4700::1111 2001:4860:4860::8888 ::ffff:8.8.8.8 64:ff9b::8.8.8.8 2002:808:808::1"
                .split_whitespace()
        {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn a_private_address_is_refused_in_every_notation() {
        for host in
            "127.0.0.1 127.1 127.0.0.1. 0x7f000001 0x7f.1 017700000001 2130706433 [::1] [::ffff:127.0.0.1] \
                     [::ffff:7f00:1] [64:ff9b::127.0.0.1] 0 10.0.0.1 user:x@127.0.0.1:80 \u{ff11}27.0.0.1"
                .split_whitespace()
        {
            let error = check(&Url::parse(&format!("http://{host}/x")).unwrap()).expect_err(host);
            assert!(error.ends_with("a private address; private_addresses = true allows it"), "{error}");
        }
        for host in ["example.org", "1.1.1.1", "[2606:4700::1111]", "127.0.0.1.example.org", "localhost"] {
            assert_eq!(check(&Url::parse(&format!("http://{host}/x")).unwrap()), Ok(()));
        }
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_this_machine_is_refused() {
        let error = PublicNames.resolve("localhost".parse().unwrap()).await.err().unwrap();
        assert_eq!(
            error.to_string(),
            "localhost leads to a private address; private_addresses = true allows it"
        );
    }
}
