//! Which pages of other origins may call, and with which headers and methods.

use std::time::Duration;

use axum::http::Method;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

use crate::middleware::REQUEST_ID;

/// How long a browser may cache a preflight.
const PREFLIGHT_MAX_AGE: Duration = Duration::from_secs(600);

/// Any page, without credentials.
pub fn any_origin() -> CorsLayer {
    shared().allow_origin(Any).allow_methods([Method::GET, Method::POST])
}

/// The allowed origins, with credentials. No other origin.
pub fn allowed_origins(origins: &[String]) -> CorsLayer {
    let origins = origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
    shared().allow_origin(AllowOrigin::list(origins)).allow_credentials(true).allow_methods([
        Method::GET,
        Method::POST,
        Method::PATCH,
        Method::DELETE,
    ])
}

fn shared() -> CorsLayer {
    CorsLayer::new()
        .allow_headers([
            CONTENT_TYPE,
            AUTHORIZATION,
            HeaderName::from_static("idempotency-key"),
            HeaderName::from_static("x-api-key"),
            HeaderName::from_static("api_key"),
        ])
        .expose_headers([REQUEST_ID, RETRY_AFTER])
        .max_age(PREFLIGHT_MAX_AGE)
}
