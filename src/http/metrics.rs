//! What Prometheus collects.

use std::sync::Arc;

use axum::extract::{FromRequestParts, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Http;
use super::address::ClientAddress;
use super::contract::errors::Refused;
use super::credentials::credentials;
use super::error::Failure::{self, ChatbotApi};
use crate::metrics::CONTENT_TYPE as OPEN_METRICS;
use crate::service::{Monitor, Service};

pub fn routes() -> OpenApiRouter<Http> {
    OpenApiRouter::new().routes(routes!(metrics))
}

/// What the server counts and measures, for Prometheus
///
/// For programs on the server's own machine, which need no credentials, and for keys of administrators.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "metrics",
    tag = "Health",
    responses(
        (status = 200, description = "In the OpenMetrics text format", body = String, content_type = "application/openmetrics-text"),
        (status = 401, description = "No key, or a wrong one, from another machine", body = Refused),
        (status = 403, description = "Not a key of an administrator", body = Refused),
        (status = 503, description = "The key cannot be checked just now", body = Refused, headers(("Retry-After" = u64)))
    ),
    security((), ("bearer" = []), ("X-API-Key" = []), ("API_KEY" = []))
)]
async fn metrics(monitor: Monitor, State(service): State<Arc<Service>>) -> Response {
    ([(CONTENT_TYPE, OPEN_METRICS)], service.metrics(&monitor)).into_response()
}

impl FromRequestParts<Http> for Monitor {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, http: &Http) -> Result<Self, Failure> {
        // Needs no database, so that it can be seen how the server does without one.
        if ClientAddress::of(parts, http).is_local() {
            return Ok(http.service.local_monitor());
        }
        let caller = http.service.caller_get(&credentials(&parts.headers)).await.map_err(ChatbotApi)?;
        http.service.monitor(&caller).map_err(ChatbotApi)
    }
}
