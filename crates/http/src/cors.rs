//! Which pages of other origins may call, and with which headers and methods.

use std::time::Duration;

use axum::http::Method;
use axum::http::header::{HeaderValue, RETRY_AFTER};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use crate::feed::CURSOR;
use crate::middleware::REQUEST_ID;

/// How long a browser may cache a preflight.
const PREFLIGHT_MAX_AGE: Duration = Duration::from_secs(600);

/// Any page. A browser takes the answer to a request with credentials only where its own origin is named, and not a
/// wildcard (Fetch, "CORS check"); libraries send all requests with credentials once one needs them. Nothing is given
/// away by that: handlers behind this ignore cookies ([`crate::credentials::key_only`]).
pub fn any_origin() -> CorsLayer {
    shared().allow_origin(AllowOrigin::mirror_request()).allow_methods([
        Method::GET,
        Method::POST,
        Method::PUT,
        Method::DELETE,
    ])
}

/// The allowed origins. No other origin.
pub fn allowed_origins(origins: &[String]) -> CorsLayer {
    let origins = origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
    shared().allow_origin(AllowOrigin::list(origins)).allow_methods([
        Method::GET,
        Method::POST,
        Method::PATCH,
        Method::DELETE,
    ])
}

/// A preflight gets the headers that it asks for: what monitoring, tracing and proxies of a page add to its requests
/// (`traceparent`, `baggage`, `sentry-trace`, `x-requested-with` and others) is no list that ends, and a header gives a
/// page no right that its origin does not have.
fn shared() -> CorsLayer {
    CorsLayer::new()
        .allow_credentials(true)
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([REQUEST_ID, RETRY_AFTER, CURSOR])
        .max_age(PREFLIGHT_MAX_AGE)
}
