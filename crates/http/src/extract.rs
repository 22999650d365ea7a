//! What handlers ask for: proofs of who calls, ids, bodies. The order of a handler's arguments is the order of
//! errors, so that a body is read only after its sender was let in.

use std::convert::Infallible;
use std::net::IpAddr;

use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::BodyExt;
use sha2::{Digest, Sha256};
use tokio::time::timeout;
use wicara_model::{Caller, Rule};
use wicara_service::{Asker, Credentials, Door, Error, Once, Reader, Writer};

use crate::address::ClientAddress;
use crate::budget::{Full, Held};
use crate::credentials::{credentials, key_only};
use crate::error::Failure::{self, ChatbotApi};
use crate::input::Input;
use crate::share::Share;
use crate::{Http, origin, own_hosts};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const IDEMPOTENCY_KEY_CHARACTERS: usize = 255;

/// What a body's memory grows by, at the least.
const STEP_BYTES: usize = 1024;

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
        let caller = caller(parts, http, &key_only(&parts.headers)).await?;
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
    let caller = caller(parts, http, &credentials(&parts.headers)).await?;
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

/// Who calls. Whoever it is, other than a visitor, has the larger share of the memory from now on.
async fn caller(parts: &Parts, http: &Http, credentials: &Credentials) -> Result<Caller, Failure> {
    let caller = http.service.caller_get(credentials).await.map_err(ChatbotApi)?;
    if !matches!(caller, Caller::Visitor) {
        Share::is_known(&parts.extensions);
    }
    Ok(caller)
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

/// A JSON body, not looked at yet, and the idempotency key that came with it.
pub struct Body {
    bytes: Vec<u8>,
    keys: Vec<HeaderValue>,
    /// For as long as the bytes are there.
    _held: Held,
}

impl FromRequest<Http> for Body {
    type Rejection = Failure;

    async fn from_request(request: Request, http: &Http) -> Result<Self, Failure> {
        let (mut parts, body) = request.into_parts();
        let Ok(share) = Share::from_request_parts(&mut parts, http).await;
        let limit = http.settings.body_bytes.min(share.body_limit());
        let declared = declared_length(&parts.headers);
        if declared.is_some_and(|length| length > limit as u64) {
            return Err(Failure::TooLarge);
        }
        let declared = declared.and_then(|length| usize::try_from(length).ok());
        let mut held = share.body();
        let reading = read(body, limit, declared.unwrap_or(limit), &mut held);
        let bytes = tokio::select! {
            read = timeout(http.settings.body_time, reading) => read.map_err(|_| Failure::TooSlow)??,
            // The server stops, and nothing of it was stored.
            () = http.abandoned.cancelled() => return Err(ChatbotApi(Error::Unavailable)),
        };
        if !is_json(&parts.headers) {
            return Err(Failure::NotJson);
        }
        let keys = parts.headers.get_all(IDEMPOTENCY_KEY).iter().cloned().collect();
        Ok(Self { bytes, keys, _held: held })
    }
}

impl Body {
    /// Takes from the body what `read` makes of its fields, and frees its memory: what follows may take long. Broken
    /// rules are told in `words`.
    pub fn parse<T>(
        self,
        words: fn(Error) -> Failure,
        read: impl FnOnce(&mut Input, &Self) -> T,
    ) -> Result<T, Failure> {
        let mut input = Input::read(&self.bytes).map_err(words)?;
        let parsed = read(&mut input, &self);
        input.finish().map_err(words)?;
        Ok(parsed)
    }

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

/// Reads a body of at most `limit` bytes. What is allocated for it is held before, as it arrives: at most a quarter and
/// a little more than has arrived, and never more than `expected`.
///
/// What comes is copied: a frame of one byte would pin all of the buffer that it was received in.
async fn read(
    mut body: axum::body::Body,
    limit: usize,
    expected: usize,
    held: &mut Held,
) -> Result<Vec<u8>, Failure> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Failure::Broken)?.into_data() else { continue };
        let length = whole.len() + data.len();
        if length > limit {
            return Err(Failure::TooLarge);
        }
        if length > whole.capacity() {
            let capacity = (length + length / 4 + STEP_BYTES).min(expected).max(length);
            held.resize(capacity).map_err(|Full| ChatbotApi(Error::Unavailable))?;
            whole.reserve_exact(capacity - whole.len());
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole)
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
    use std::sync::Arc;

    use futures_util::stream;
    use tokio::sync::mpsc;
    use wicara_metrics::Metrics;

    use super::*;
    use crate::budget::{Budget, Class};

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

    fn budget(limit: usize) -> Arc<Budget> {
        Arc::new(Budget::new(limit, limit, Metrics::default().http.budget("bodies")))
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit() {
        let read = async |text: &'static str, limit| {
            let mut held = Held::nothing(&budget(1024), Class::Known);
            read(axum::body::Body::from(text), limit, limit, &mut held).await
        };
        assert_eq!(read("12345", 5).await.unwrap(), b"12345");
        assert!(matches!(read("123456", 5).await, Err(Failure::TooLarge)));
    }

    #[tokio::test]
    async fn a_body_holds_what_has_arrived_and_little_more() {
        const LIMIT: usize = 1024 * 1024;
        for piece in [1, 100, 4096, 100_000] {
            let budget = budget(LIMIT);
            let mut held = Held::nothing(&budget, Class::Known);
            let (sender, mut pieces) = mpsc::unbounded_channel();
            let pieces = stream::poll_fn(move |context| pieces.poll_recv(context));
            let body = axum::body::Body::from_stream(pieces);
            let mut reading = Box::pin(read(body, LIMIT, LIMIT, &mut held));
            for arrived in (piece..LIMIT).step_by(piece).take(1000) {
                sender.send(Ok::<_, Infallible>(vec![0; piece])).unwrap();
                // Tokio hands out only so much to a task that does not yield.
                tokio::task::yield_now().await;
                assert!(futures_util::poll!(reading.as_mut()).is_pending());
                let held = LIMIT - budget.left(Class::Known);
                assert!((arrived..=arrived + arrived / 4 + STEP_BYTES).contains(&held), "{arrived} {held}");
            }
            drop(reading);
            drop(held);
            assert_eq!(budget.left(Class::Known), LIMIT, "who leaves gives everything back");
        }
    }

    #[tokio::test]
    async fn a_body_without_room_is_refused() {
        let budget = budget(1024);
        let mut held = Held::nothing(&budget, Class::Visitor);
        let body = || axum::body::Body::from(vec![b' '; 600]);
        let refused = read(body(), 1024, 600, &mut held).await;
        assert!(matches!(refused, Err(ChatbotApi(Error::Unavailable))), "half is for visitors");
        let mut held = Held::nothing(&budget, Class::Known);
        assert_eq!(read(body(), 1024, 600, &mut held).await.unwrap().len(), 600);
    }
}
