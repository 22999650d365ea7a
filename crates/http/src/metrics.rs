//! `/metrics` for Prometheus: with a key among the other paths, and without one on an address of its own.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wicara_metrics::{CONTENT_TYPE as OPEN_METRICS, Metrics};
use wicara_service::{Error, Monitor, Service};

use crate::Http;
use crate::contract::errors::Refused;
use crate::error::Failure::{self, ChatbotApi};
use crate::own_hosts::{self, OwnHosts};

const PATH: &str = "/metrics";

pub fn routes() -> OpenApiRouter<Http> {
    OpenApiRouter::new().routes(routes!(metrics))
}

/// What the server counts and measures, for Prometheus
///
/// For keys of administrators. On the address `server.metrics_listen`, if there is one, no key is needed.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "metrics",
    tag = "Health",
    responses(
        (status = 200, description = "In the OpenMetrics text format", body = String, content_type = "application/openmetrics-text"),
        (status = 401, description = "No key, or a wrong one", body = Refused),
        (status = 403, description = "Not a key of an administrator", body = Refused),
        (status = 503, description = "The key cannot be checked just now", body = Refused, headers(("Retry-After" = u64)))
    ),
    security(("bearer" = []), ("X-API-Key" = []), ("API_KEY" = []))
)]
async fn metrics(monitor: Monitor, State(service): State<Arc<Service>>) -> Response {
    open_metrics(service.metrics(&monitor))
}

fn open_metrics(text: String) -> Response {
    ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response()
}

/// State of the route without a key. It has no service, so that it works without the database.
#[derive(Clone)]
struct KeylessMetrics {
    metrics: Metrics,
    /// The names that it may be called by; `None`: any.
    own_hosts: Option<Arc<OwnHosts>>,
}

/// The route of an address that needs no key.
pub fn keyless_router(metrics: Metrics, own_hosts: Option<OwnHosts>) -> Router {
    let state = KeylessMetrics { metrics, own_hosts: own_hosts.map(Arc::new) };
    Router::new().route(PATH, get(metrics_keyless)).with_state(state)
}

async fn metrics_keyless(State(state): State<KeylessMetrics>, parts: Parts) -> Result<Response, Failure> {
    if state.own_hosts.is_some_and(|hosts| !hosts.are_called(&parts)) {
        own_hosts::METRICS.warn_once(&parts);
        return Err(ChatbotApi(Error::Forbidden));
    }
    Ok(open_metrics(state.metrics.text()))
}
