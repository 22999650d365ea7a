//! What happens around every request.

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
use wicara_platform::Random;
use wicara_service::Error;

use crate::drain::drain_body;
use crate::error::Failure;
use crate::host;
use crate::security::harden;
use crate::share::{Memory, Share};

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What [`around`] works with.
#[derive(Clone)]
pub struct Around {
    pub metrics: Arc<HttpMetrics>,
    pub memory: Arc<Memory>,
    /// The server stops, and waits for no handler any more.
    pub abandoned: CancellationToken,
}

/// Everything, in one layer: each has its price in every request.
///
/// Gives each request an id, which every line that is logged meanwhile carries, and logs and counts the request itself:
/// by the route's template, since a path may hold a visitor's session.
pub async fn around(
    State(Around { metrics, memory, abandoned }): State<Around>,
    mut request: Request,
    next: Next,
) -> Response {
    // It names lines of a log, which no test has to repeat.
    let id = Random::System.uuid().to_string();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let start = Instant::now();

    // At the level of errors, so that they name their request whatever else is logged.
    let span = tracing::error_span!("request", request_id = id);
    async move {
        let _in_flight = metrics.request();
        let share = Share::new(&memory, request.extensions());
        request.extensions_mut().insert(share.clone());
        let is_of_api = request.uri().path().starts_with("/api/");
        let is_safe = method.is_safe();
        let answer = |request: Request| async {
            if let Err(failure) = host::check(request.version(), request.headers()) {
                return failure.into_response();
            }
            tokio::select! {
                // A handler that ends for the same reason knows more.
                biased;
                response = catch_panic(next.run(request)) => response,
                () = abandoned.cancelled() => stopped(is_safe),
            }
        };
        let mut response = drain_body(request, &abandoned, answer).await;
        response = share.count(&method, response);
        harden(&mut response);
        if is_of_api {
            // What people say is not for caches, wherever they stand.
            response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        }
        let route = route.as_ref().map(MatchedPath::as_str);
        let (status, took) = (response.status().as_u16(), start.elapsed());
        metrics.answered(route, method.as_str(), status, took);
        tracing::info!(
            %method,
            route = route.unwrap_or("-"),
            status,
            milliseconds = took.as_millis() as u64,
            "answered"
        );
        let id = HeaderValue::try_from(id).expect("a UUID is visible ASCII");
        response.headers_mut().insert(REQUEST_ID, id);
        response
    }
    .instrument(span)
    .await
}

/// A panic in a handler is that request's alone.
async fn catch_panic(answer: impl Future<Output = Response>) -> Response {
    // What it says may hold what people wrote: that, and where it was, is told once, by `telemetry`.
    let failed = |_| Failure::ChatbotApi(Error::Internal("a panic".to_owned())).into_response();
    AssertUnwindSafe(answer).catch_unwind().await.unwrap_or_else(failed)
}

/// What a client gets whose request takes longer than the server runs. What it wanted written may be written.
fn stopped(is_safe: bool) -> Response {
    Failure::ChatbotApi(if is_safe { Error::Unavailable } else { Error::OutcomeUnknown }).into_response()
}

#[cfg(test)]
impl Around {
    /// With memory for everything.
    pub fn unlimited() -> Self {
        let metrics = wicara_metrics::Metrics::default().http;
        let memory = Arc::new(Memory::new(usize::MAX, usize::MAX, usize::MAX, &metrics));
        Self { metrics, memory, abandoned: CancellationToken::new() }
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
            .layer(from_fn_with_state(Around::unlimited(), around));
        let request = Request::get("/").header("host", "a").body(Body::empty()).unwrap();
        let response = app.oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(response.headers().contains_key(REQUEST_ID));
        let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
        let body = str::from_utf8(&body).unwrap();
        assert!(body.starts_with(r#"{"status":500,"message":"#) && !body.contains("secret"), "{body}");
    }
}
