//! What handlers ask for: proofs of who calls, ids, bodies. The order of a handler's arguments is the order of
//! errors, so that a body is read only after its sender was let in.

use std::convert::Infallible;
use std::net::IpAddr;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::BodyExt;
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use super::address::ClientAddress;
use super::credentials::{credentials, key_only};
use super::error::Failure::{self, ChatbotApi};
use super::input::Input;
use super::{Http, origin, own_hosts};
use crate::model::{Caller, Rule};
use crate::service::{Asker, Credentials, Door, Error, Once, Reader, Writer};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const IDEMPOTENCY_KEY_CHARACTERS: usize = 255;

/// An operation of the Chatbot API, which callers without credentials may use where it stands open.
pub struct OpenDoor<T>(pub T);

impl FromRequestParts<Http> for Reader {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, http: &Http) -> Result<Self, Failure> {
        reader(parts, http, Door::Closed).await
    }
}

impl FromRequestParts<Http> for OpenDoor<Reader> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, http: &Http) -> Result<Self, Failure> {
        reader(parts, http, chatbot_api(parts, http)).await.map(OpenDoor)
    }
}

impl FromRequestParts<Http> for Writer {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, http: &Http) -> Result<Self, Failure> {
        writer(parts, http, Door::Closed).await
    }
}

impl FromRequestParts<Http> for OpenDoor<Writer> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, http: &Http) -> Result<Self, Failure> {
        writer(parts, http, chatbot_api(parts, http)).await.map(OpenDoor)
    }
}

/// Any page may ask, so that cookies do not count here.
impl FromRequestParts<Http> for Asker {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, http: &Http) -> Result<Self, Failure> {
        let caller = caller(http, &key_only(&parts.headers)).await?;
        Ok(http.service.asker(caller))
    }
}

/// Who asks a question now: without a key, it counts against the address.
pub struct Questioner(pub Asker);

impl FromRequestParts<Http> for Questioner {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, http: &Http) -> Result<Self, Failure> {
        http.service.room_to_write().map_err(ChatbotApi)?;
        let asker = Asker::from_request_parts(parts, http).await?;
        if matches!(asker.caller(), Caller::Visitor) {
            let address = ClientAddress::of(parts, http).network();
            http.service.question_admit_from(address).map_err(ChatbotApi)?;
        }
        Ok(Self(asker))
    }
}

/// Where a login comes from: it counts against that address.
pub struct LoginAddress(pub IpAddr);

impl FromRequestParts<Http> for LoginAddress {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, http: &Http) -> Result<Self, Failure> {
        let address = ClientAddress::of(parts, http).network();
        http.service.login_admit_from(address).map_err(ChatbotApi)?;
        Ok(Self(address))
    }
}

/// A door that callers without credentials find open only if they know whom they call.
fn chatbot_api(parts: &Parts, http: &Http) -> Door {
    Door::ChatbotApi { by_own_name: http.settings.anonymous_anywhere || http.own_hosts.are_called(parts) }
}

async fn reader(parts: &Parts, http: &Http, door: Door) -> Result<Reader, Failure> {
    let caller = caller(http, &credentials(&parts.headers)).await?;
    let reader = http.service.reader(caller, door);
    if let Err(Error::Forbidden) = reader {
        // All others may read at least.
        own_hosts::CHATBOT_API.warn_once(parts);
    }
    reader.map_err(ChatbotApi)
}

async fn writer(parts: &Parts, http: &Http, door: Door) -> Result<Writer, Failure> {
    http.service.room_to_write().map_err(ChatbotApi)?;
    let reader = reader(parts, http, door).await?;
    let by_cookie = matches!(reader.caller(), Caller::Person(_));
    if by_cookie && !origin::may_write(&parts.headers, &http.settings) {
        return Err(ChatbotApi(Error::Forbidden));
    }
    http.service.writer(reader).map_err(ChatbotApi)
}

async fn caller(http: &Http, credentials: &Credentials) -> Result<Caller, Failure> {
    http.service.caller_get(credentials).await.map_err(ChatbotApi)
}

/// The id at the end of a path, as it came: what it has to be, and what is said if it is not, is the handler's.
pub struct PathId(pub String);

impl<S: Send + Sync> FromRequestParts<S> for PathId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        // What is not UTF-8 becomes the empty id, which is as malformed.
        let id = Path::from_request_parts(parts, state).await.map(|Path(id)| id);
        Ok(Self(id.unwrap_or_default()))
    }
}

/// A JSON body, not read yet, and the idempotency key that came with it.
#[derive(Debug)]
pub struct Body {
    pub bytes: Bytes,
    keys: Vec<HeaderValue>,
}

impl FromRequest<Http> for Body {
    type Rejection = Failure;

    async fn from_request(request: Request, http: &Http) -> Result<Self, Failure> {
        let (parts, body) = request.into_parts();
        let limit = http.settings.body_bytes;
        if declared_length(&parts.headers).is_some_and(|length| length > limit as u64) {
            return Err(Failure::TooLarge);
        }
        let bytes =
            timeout(http.settings.body_time, read(body, limit)).await.map_err(|_| Failure::TooSlow)??;
        if !is_json(&parts.headers) {
            return Err(Failure::NotJson);
        }
        let keys = parts.headers.get_all(IDEMPOTENCY_KEY).iter().cloned().collect();
        Ok(Self { bytes, keys })
    }
}

impl Body {
    /// The idempotency key with what it protects; a bad one is noted as a broken rule.
    pub fn once(&self, input: &mut Input) -> Option<Once> {
        match key(&self.keys)? {
            Ok(key) => Some(Once { key, body: Sha256::digest(&self.bytes).into() }),
            Err(rule) => {
                input.broken("Idempotency-Key", rule);
                None
            }
        }
    }
}

/// The idempotency key, if there is one, or the rule that it breaks.
pub(super) fn key(keys: &[HeaderValue]) -> Option<Result<String, Rule>> {
    let (key, others) = keys.split_first()?;
    let key = key.as_bytes();
    Some(if !others.is_empty() || key.is_empty() || !key.iter().all(u8::is_ascii_graphic) {
        Err(Rule::String)
    } else if key.len() > IDEMPOTENCY_KEY_CHARACTERS {
        Err(Rule::MaxLength)
    } else {
        Ok(key.iter().copied().map(char::from).collect())
    })
}

fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn read(mut body: axum::body::Body, limit: usize) -> Result<Bytes, Failure> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Failure::Broken)?.into_data() else { continue };
        if whole.len() + data.len() > limit {
            return Err(Failure::TooLarge);
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.into())
}

/// `application/json` or anything `+json`, whatever its parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(content_type)) = headers.get(CONTENT_TYPE).map(HeaderValue::to_str) else { return false };
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match media_type.split_once('/') {
        Some(("application", "json")) => true,
        Some((_, subtype)) => subtype.ends_with("+json"),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_known_by_its_media_type() {
        for (content_type, expected) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/problem+json", true),
            ("application/vnd.x+json;v=1", true),
            ("text/json", false),
            ("application/jsonl", false),
            ("text/plain", false),
            ("application/x-www-form-urlencoded", false),
            ("json", false),
            ("", false),
        ] {
            let headers = [(CONTENT_TYPE, HeaderValue::from_static(content_type))].into_iter().collect();
            assert_eq!(is_json(&headers), expected, "{content_type}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }

    #[test]
    fn an_idempotency_key_is_visible_ascii() {
        let key = |values: &[&str]| {
            let values: Vec<_> =
                values.iter().map(|v| HeaderValue::from_bytes(v.as_bytes()).unwrap()).collect();
            key(&values)
        };
        assert_eq!(key(&[]), None);
        assert_eq!(key(&["a!~"]), Some(Ok("a!~".into())));
        assert_eq!(key(&[&"k".repeat(255)]), Some(Ok("k".repeat(255))));
        assert_eq!(key(&[&"k".repeat(256)]), Some(Err(Rule::MaxLength)));
        for values in [&[""][..], &["a b"], &["é"], &["a", "a"]] {
            assert_eq!(key(values), Some(Err(Rule::String)), "{values:?}");
        }
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit() {
        let read = async |text: &'static str, limit| read(axum::body::Body::from(text), limit).await;
        assert_eq!(read("12345", 5).await.unwrap(), "12345");
        assert!(matches!(read("123456", 5).await, Err(Failure::TooLarge)));
    }
}
