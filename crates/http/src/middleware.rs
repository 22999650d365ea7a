//! The one middleware of every request: request id, log line, metrics, memory, host check, panics, security headers.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{CACHE_CONTROL, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use wicara_metrics::HttpMetrics;
use wicara_model::Network;
use wicara_platform::Random;
use wicara_service::Error;

use crate::access_log::AccessLog;
use crate::address::ClientAddress;
use crate::drain::drain_body;
use crate::error::Failure;
use crate::host;
use crate::request_memory::{MemoryBudgets, RequestMemory};
use crate::security::harden;

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// State of [`apply`].
#[derive(Clone)]
pub struct MiddlewareState {
    pub metrics: Arc<HttpMetrics>,
    pub budgets: Arc<MemoryBudgets>,
    /// Cancelled: the server stops and does not wait for handlers any longer.
    pub abandoned: CancellationToken,
    pub trusted_proxies: Arc<[Network]>,
}

/// One layer instead of one for each of these: every layer costs a boxed future in every request.
///
/// The request id is a field of all log lines of the request. Log line and metrics name the route's template instead of
/// the path, which may contain a visitor's session.
pub async fn apply(
    State(MiddlewareState { metrics, budgets, abandoned, trusted_proxies }): State<MiddlewareState>,
    mut request: Request,
    next: Next,
) -> Response {
    // The system's randomness: the id only names log lines, and no test depends on it.
    let id = Random::System.uuid().to_string();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let start = Instant::now();

    // A span at error level is enabled whatever level is logged.
    let span = tracing::error_span!("request", request_id = id);
    async move {
        let _in_flight = metrics.request();
        let memory = RequestMemory::new(&budgets, request.extensions());
        request.extensions_mut().insert(memory.clone());
        let address = ClientAddress::find(&mut request, &trusted_proxies).map(ClientAddress::ip);
        let access_log = AccessLog::default();
        request.extensions_mut().insert(access_log.clone());
        let is_of_api = request.uri().path().starts_with("/api/");
        let is_safe = method.is_safe();
        let answer = |request: Request| async {
            if let Err(failure) = host::check(request.version(), request.headers()) {
                return failure.into_response();
            }
            tokio::select! {
                // A handler that ends for the same reason has the more precise answer.
                biased;
                response = catch_panic(next.run(request)) => response,
                () = abandoned.cancelled() => stopped(is_safe),
            }
        };
        let mut response = drain_body(request, &abandoned, answer).await;
        response = memory.count(&method, response);
        harden(&mut response);
        if is_of_api {
            // No cache, private or shared, may keep what people wrote.
            response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        }
        let route = route.as_ref().map(MatchedPath::as_str);
        let (status, took) = (response.status().as_u16(), start.elapsed());
        metrics.answered(route, method.as_str(), status, took);
        access_log.write(&method, route, status, took, address);
        let id = HeaderValue::try_from(id).expect("a UUID is visible ASCII");
        response.headers_mut().insert(REQUEST_ID, id);
        response
    }
    .instrument(span)
    .await
}

/// Turns a panic in a handler into a 500, so that only this request fails.
async fn catch_panic(answer: impl Future<Output = Response>) -> Response {
    // The panic hook in `telemetry` logs where it was. Its message is left out: it may quote what people wrote.
    let internal_error = |_| Failure::ChatbotApi(Error::Internal("a panic".to_owned())).into_response();
    AssertUnwindSafe(answer).catch_unwind().await.unwrap_or_else(internal_error)
}

/// The response to a request that is still in progress when the server stops. A write may be committed or not.
fn stopped(is_safe: bool) -> Response {
    Failure::ChatbotApi(if is_safe { Error::Unavailable } else { Error::OutcomeUnknown }).into_response()
}

#[cfg(test)]
impl MiddlewareState {
    /// Without limits on memory.
    pub fn unlimited() -> Self {
        let metrics = wicara_metrics::Metrics::default().http;
        let budgets = Arc::new(MemoryBudgets::new(usize::MAX, usize::MAX, usize::MAX, &metrics));
        Self { metrics, budgets, abandoned: CancellationToken::new(), trusted_proxies: Arc::default() }
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::http::StatusCode;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_answered() {
        let app: Router = Router::new()
            .route("/", get(|| async { panic!("secret") as () }))
            .layer(from_fn_with_state(MiddlewareState::unlimited(), apply));
        let request = Request::get("/").header("host", "a").body(Body::empty()).unwrap();
        let response = app.oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(response.headers().contains_key(REQUEST_ID));
        let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
        let body = str::from_utf8(&body).unwrap();
        assert!(body.starts_with(r#"{"status":500,"message":"#) && !body.contains("secret"), "{body}");
    }
}
