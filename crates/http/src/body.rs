//! A request's JSON body: read within the limits on size, time and memory, and its idempotency key.

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::BodyExt;
use sha2::{Digest, Sha256};
use tokio::time::timeout;
use wicara_model::{Bounds, Breach, Rule};
use wicara_service::{Error, IdempotencyRequest};

use crate::Http;
use crate::budget::{BudgetExceeded, Reservation};
use crate::error::Failure::{self, ChatbotApi};
use crate::input::Input;
use crate::request_memory::RequestMemory;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const IDEMPOTENCY_KEY_CHARACTERS: usize = 255;

/// A body's buffer grows by at least this much.
const MIN_GROWTH_BYTES: usize = 1024;

/// A JSON body that is not parsed yet, and the values of the request's `Idempotency-Key` headers.
pub struct Body {
    bytes: Vec<u8>,
    keys: Vec<HeaderValue>,
    _reservation: Reservation,
}

impl FromRequest<Http> for Body {
    type Rejection = Failure;

    async fn from_request(request: Request, http: &Http) -> Result<Self, Failure> {
        let (is_json, body) = received(request, http).await?;
        if is_json { Ok(body) } else { Err(Failure::NotJson) }
    }
}

/// A JSON body that may be left out: nothing counts as `{}`.
pub struct OptionalBody(pub Body);

impl FromRequest<Http> for OptionalBody {
    type Rejection = Failure;

    async fn from_request(request: Request, http: &Http) -> Result<Self, Failure> {
        let (is_json, body) = received(request, http).await?;
        match body.bytes.is_empty() {
            true => Ok(Self(Body { bytes: b"{}".to_vec(), ..body })),
            false if is_json => Ok(Self(body)),
            false => Err(Failure::NotJson),
        }
    }
}

/// A JSON body of a request that is carried out whatever it brings: what is no JSON by its type counts as `{}`.
pub struct AnyBody(pub Body);

impl FromRequest<Http> for AnyBody {
    type Rejection = Failure;

    async fn from_request(request: Request, http: &Http) -> Result<Self, Failure> {
        let (is_json, body) = received(request, http).await?;
        let counts = is_json && !body.bytes.is_empty();
        Ok(Self(if counts { body } else { Body { bytes: b"{}".to_vec(), ..body } }))
    }
}

/// Reads a body; also whether the request says that it is JSON.
async fn received(request: Request, http: &Http) -> Result<(bool, Body), Failure> {
    let (mut parts, body) = request.into_parts();
    let Ok(memory) = RequestMemory::from_request_parts(&mut parts, http).await;
    let limit = http.settings.body_bytes.min(memory.body_limit());
    let declared = declared_length(&parts.headers);
    if declared.is_some_and(|length| length > limit as u64) {
        return Err(Failure::TooLarge);
    }
    let declared = declared.and_then(|length| usize::try_from(length).ok());
    let mut reservation = memory.body();
    let reading = read(body, limit, declared.unwrap_or(limit), &mut reservation);
    let bytes = tokio::select! {
        read = timeout(http.settings.body_time, reading) => read.map_err(|_| Failure::TooSlow)??,
        // The server stops; nothing was stored.
        () = http.abandoned.cancelled() => return Err(ChatbotApi(Error::Unavailable)),
    };
    let keys = parts.headers.get_all(IDEMPOTENCY_KEY).iter().cloned().collect();
    Ok((is_json(&parts.headers), Body { bytes, keys, _reservation: reservation }))
}

impl Body {
    /// Parses the body with `read` and releases its memory before the request goes on, which may take long.
    /// `as_failure` makes the answer to broken rules.
    pub fn parse<T>(
        self,
        as_failure: fn(Error) -> Failure,
        read: impl FnOnce(&mut Input, &Self) -> T,
    ) -> Result<T, Failure> {
        let mut input = Input::read(&self.bytes).map_err(as_failure)?;
        let parsed = read(&mut input, &self);
        input.finish().map_err(as_failure)?;
        Ok(parsed)
    }

    /// The idempotency key with a hash of the body. A malformed key is added to the broken rules.
    pub fn idempotency(&self, input: &mut Input) -> Option<IdempotencyRequest> {
        match idempotency_key(&self.keys)? {
            Ok(key) => Some(IdempotencyRequest { key, body_hash: Sha256::digest(&self.bytes).into() }),
            Err(breach) => {
                input.add_violation("Idempotency-Key", breach);
                None
            }
        }
    }
}

/// The idempotency key, or the rule that it breaks; `None` where the header is missing.
pub(super) fn idempotency_key(keys: &[HeaderValue]) -> Option<Result<String, Breach>> {
    let (key, others) = keys.split_first()?;
    let key = key.as_bytes();
    Some(if !others.is_empty() || key.is_empty() || !key.iter().all(u8::is_ascii_graphic) {
        Err(Rule::String.into())
    } else if key.len() > IDEMPOTENCY_KEY_CHARACTERS {
        Err(Bounds::MaxLength(IDEMPOTENCY_KEY_CHARACTERS).into())
    } else {
        Ok(key.iter().copied().map(char::from).collect())
    })
}

fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads a body of at most `limit` bytes. Its memory is reserved before it is allocated, as the body arrives: at most a
/// quarter and [`MIN_GROWTH_BYTES`] more than has arrived, and no more than `expected`.
///
/// Each frame is copied: it points into the connection's read buffer, so that a frame of one byte would keep all of it.
async fn read(
    mut body: axum::body::Body,
    limit: usize,
    expected: usize,
    reservation: &mut Reservation,
) -> Result<Vec<u8>, Failure> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Failure::Broken)?.into_data() else { continue };
        let length = whole.len() + data.len();
        if length > limit {
            return Err(Failure::TooLarge);
        }
        if length > whole.capacity() {
            let capacity = (length + length / 4 + MIN_GROWTH_BYTES).min(expected).max(length);
            reservation.resize(capacity).map_err(|BudgetExceeded| ChatbotApi(Error::Unavailable))?;
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
    use std::convert::Infallible;
    use std::sync::Arc;

    use futures_util::stream;
    use tokio::sync::mpsc;
    use wicara_metrics::Metrics;

    use super::*;
    use crate::budget::{Budget, CallerClass};

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
        let read = |values: &[&str]| {
            let values: Vec<_> =
                values.iter().map(|v| HeaderValue::from_bytes(v.as_bytes()).unwrap()).collect();
            idempotency_key(&values)
        };
        assert_eq!(read(&[]), None);
        assert_eq!(read(&["a!~"]), Some(Ok("a!~".into())));
        assert_eq!(read(&[&"k".repeat(255)]), Some(Ok("k".repeat(255))));
        assert_eq!(read(&[&"k".repeat(256)]), Some(Err(Bounds::MaxLength(255).into())));
        for values in [&[""][..], &["a b"], &["é"], &["a", "a"]] {
            assert_eq!(read(values), Some(Err(Rule::String.into())), "{values:?}");
        }
    }

    fn budget(limit: usize) -> Arc<Budget> {
        Arc::new(Budget::new(limit, limit, Metrics::default().http.budget("bodies")))
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit() {
        let read = async |text: &'static str, limit| {
            let mut held = Reservation::empty(&budget(1024), CallerClass::Authenticated);
            read(axum::body::Body::from(text), limit, limit, &mut held).await
        };
        assert_eq!(read("12345", 5).await.unwrap(), b"12345");
        assert!(matches!(read("123456", 5).await, Err(Failure::TooLarge)));
    }

    #[tokio::test]
    async fn a_body_holds_what_has_arrived_and_little_more() {
        const LIMIT: usize = 1024 * 1024;
        for frame in [1, 100, 4096, 100_000] {
            let budget = budget(LIMIT);
            let mut held = Reservation::empty(&budget, CallerClass::Authenticated);
            let (sender, mut frames) = mpsc::unbounded_channel();
            let frames = stream::poll_fn(move |context| frames.poll_recv(context));
            let body = axum::body::Body::from_stream(frames);
            let mut reading = Box::pin(read(body, LIMIT, LIMIT, &mut held));
            for arrived in (frame..LIMIT).step_by(frame).take(1000) {
                sender.send(Ok::<_, Infallible>(vec![0; frame])).unwrap();
                // Tokio's cooperative budget: without a yield, the channel would be pending although it has more.
                tokio::task::yield_now().await;
                assert!(futures_util::poll!(reading.as_mut()).is_pending());
                let held = LIMIT - budget.left(CallerClass::Authenticated);
                assert!(
                    (arrived..=arrived + arrived / 4 + MIN_GROWTH_BYTES).contains(&held),
                    "{arrived} {held}"
                );
            }
            drop(reading);
            drop(held);
            assert_eq!(budget.left(CallerClass::Authenticated), LIMIT, "who leaves gives everything back");
        }
    }

    #[tokio::test]
    async fn a_body_without_room_is_refused() {
        let budget = budget(1024);
        let mut held = Reservation::empty(&budget, CallerClass::Visitor);
        let body = || axum::body::Body::from(vec![b' '; 600]);
        let refused = read(body(), 1024, 600, &mut held).await;
        assert!(matches!(refused, Err(ChatbotApi(Error::Unavailable))), "half is for visitors");
        let mut held = Reservation::empty(&budget, CallerClass::Authenticated);
        assert_eq!(read(body(), 1024, 600, &mut held).await.unwrap().len(), 600);
    }
}
