//! A function for each type of value: checks what the operator wrote and converts it to what the program uses.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use wicara_model::account::{self, MAX_EMAIL_CHARS, PASSWORD_CHARS};
use wicara_model::{Network, Rule};
use wicara_store::DatabaseUrl;

use super::show::mask_url;

const SECONDS: RangeInclusive<u64> = 0..=3600;
const SESSION_HOURS: RangeInclusive<u64> = 1..=8760;
/// An hour to thirty days.
const KEEP_HOURS: RangeInclusive<u64> = 1..=720;
const STREAMS: RangeInclusive<usize> = 1..=1_000_000;
const PER_MINUTE: RangeInclusive<u64> = 0..=1_000_000;
const RETURN_MINUTES: RangeInclusive<u64> = 0..=10_080;
const RETURN_TEXT_CHARS: usize = 4096;
/// 1 KiB to 64 MiB.
const BODY_BYTES: RangeInclusive<usize> = 1024..=67_108_864;
/// 2 KiB to 64 GiB.
const BODY_BUDGET_BYTES: RangeInclusive<usize> = 2048..=68_719_476_736;

pub(super) fn listen<'de, D: Deserializer<'de>>(input: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(input)?;
    text.parse().map_err(|_| {
        D::Error::custom(format!(
            "found {text:?}, expected an IP address and a port such as \"127.0.0.1:3333\" or \"[::]:3333\""
        ))
    })
}

/// An empty text is `None`.
pub(super) fn optional_listen<'de, D: Deserializer<'de>>(input: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(input)?;
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        D::Error::custom(format!(
            "found {text:?}, expected an IP address and a port such as \"127.0.0.1:9464\", or \"\" for none"
        ))
    })
}

pub(super) fn public_url<'de, D: Deserializer<'de>>(input: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(input)?;
    if text.is_empty() { Ok(None) } else { origin(&text).map(Some).map_err(D::Error::custom) }
}

pub(super) fn origins<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<String>, D::Error> {
    let list = Vec::<String>::deserialize(input)?;
    list.iter().map(|text| origin(text)).collect::<Result<_, _>>().map_err(D::Error::custom)
}

/// An origin as browsers send it: lower case, no default port, no slash at the end.
fn origin(text: &str) -> Result<String, String> {
    wicara_bots::origin(text).ok_or_else(|| {
        let found = mask_url(text);
        format!(
            "found {found:?}, expected http:// or https://, a host and no path: \"https://chat.example.org\""
        )
    })
}

pub(super) fn networks<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<Network>, D::Error> {
    let network = |text: &String| {
        text.parse().map_err(|_| {
            D::Error::custom(format!(
                "found {text:?}, expected an IP address such as \"127.0.0.1\" or a network such as \"10.0.0.0/8\""
            ))
        })
    };
    Vec::<String>::deserialize(input)?.iter().map(network).collect()
}

/// The address as it is written. The errors show no value of it, because it may hold a password.
pub(super) fn store_url<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    let text = String::deserialize(input)?;
    DatabaseUrl::parse(&text).map_err(D::Error::custom)?;
    Ok(text)
}

pub(super) fn seconds<'de, D: Deserializer<'de>>(input: D) -> Result<Duration, D::Error> {
    within(input, SECONDS).map(Duration::from_secs)
}

pub(super) fn session_hours<'de, D: Deserializer<'de>>(input: D) -> Result<Duration, D::Error> {
    within(input, SESSION_HOURS).map(|hours| Duration::from_secs(hours * 3600))
}

pub(super) fn keep_hours<'de, D: Deserializer<'de>>(input: D) -> Result<Duration, D::Error> {
    within(input, KEEP_HOURS).map(|hours| Duration::from_secs(hours * 3600))
}

/// 0 is `None`.
pub(super) fn return_minutes<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Duration>, D::Error> {
    let minutes = within(input, RETURN_MINUTES)?;
    Ok((minutes > 0).then(|| Duration::from_secs(60 * minutes)))
}

pub(super) fn return_text<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    let text = String::deserialize(input)?;
    if text.chars().count() > RETURN_TEXT_CHARS || text.contains('\0') {
        let expected = format!("expected at most {RETURN_TEXT_CHARS} characters and no NUL");
        return Err(D::Error::custom(expected));
    }
    Ok(if text.trim().is_empty() { String::new() } else { text })
}

pub(super) fn per_minute<'de, D: Deserializer<'de>>(input: D) -> Result<u32, D::Error> {
    within(input, PER_MINUTE).map(|number| u32::try_from(number).expect("PER_MINUTE is within u32"))
}

pub(super) fn body_bytes<'de, D: Deserializer<'de>>(input: D) -> Result<usize, D::Error> {
    or_unlimited(input, BODY_BYTES)
}

pub(super) fn body_budget_bytes<'de, D: Deserializer<'de>>(input: D) -> Result<usize, D::Error> {
    or_unlimited(input, BODY_BUDGET_BYTES)
}

pub(super) fn streams<'de, D: Deserializer<'de>>(input: D) -> Result<usize, D::Error> {
    or_unlimited(input, STREAMS)
}

/// 0 means no limit and becomes `usize::MAX`.
fn or_unlimited<'de, D: Deserializer<'de>>(
    input: D,
    allowed: RangeInclusive<usize>,
) -> Result<usize, D::Error> {
    let found = i64::deserialize(input)?;
    if found == 0 {
        return Ok(usize::MAX);
    }
    usize::try_from(found).ok().filter(|number| allowed.contains(number)).ok_or_else(|| {
        let (from, to) = (allowed.start(), allowed.end());
        D::Error::custom(format!(
            "found {found}, allowed are whole numbers from {from} to {to}, and 0 for no limit"
        ))
    })
}

fn within<'de, D: Deserializer<'de>>(input: D, allowed: RangeInclusive<u64>) -> Result<u64, D::Error> {
    let found = i64::deserialize(input)?;
    u64::try_from(found).ok().filter(|number| allowed.contains(number)).ok_or_else(|| {
        let (from, to) = (allowed.start(), allowed.end());
        D::Error::custom(format!("found {found}, allowed are whole numbers from {from} to {to}"))
    })
}

/// The errors show no part of the text, because it is a secret.
pub(super) fn admin_password<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    let text = String::deserialize(input)?;
    if text.is_empty() || account::check_password(&text).is_ok() {
        Ok(text)
    } else {
        let (from, to) = (PASSWORD_CHARS.start(), PASSWORD_CHARS.end());
        Err(D::Error::custom(format!(
            "expected {from} to {to} characters that are not all blank, or \"\" to have one generated"
        )))
    }
}

pub(super) fn email<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    let text = String::deserialize(input)?;
    account::email(&text).map_err(|rule| {
        D::Error::custom(match rule {
            Rule::MaxLength => {
                format!(
                    "found {text:?}, allowed are e-mail addresses of at most {MAX_EMAIL_CHARS} characters"
                )
            }
            _ => format!("found {text:?}, expected an e-mail address such as \"admin@example.org\""),
        })
    })
}
