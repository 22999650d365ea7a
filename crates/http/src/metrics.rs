//! What Prometheus collects: with a key where all else is, and without one on an address of its own.

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequestParts, State};
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
use crate::credentials::credentials;
use crate::error::Failure::{self, ChatbotApi};
use crate::own_hosts::{self, OwnHosts};
use crate::share::Share;

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
    shown(service.metrics(&monitor))
}

fn shown(text: String) -> Response {
    ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response()
}

impl FromRequestParts<Http> for Monitor {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, http: &Http) -> Result<Self, Failure> {
        let caller = http.service.caller_get(&credentials(&parts.headers)).await.map_err(ChatbotApi)?;
        let monitor = http.service.monitor(&caller).map_err(ChatbotApi)?;
        Share::is_known(&parts.extensions);
        Ok(monitor)
    }
}

/// What is shown to everybody who reaches an address, and by which names. It holds nothing else of the server, so that
/// it answers without the database too.
#[derive(Clone)]
struct Open {
    metrics: Metrics,
    /// `None`: by any name.
    own_hosts: Option<Arc<OwnHosts>>,
}

/// The route for an address that needs no key.
pub fn open(metrics: Metrics, own_hosts: Option<OwnHosts>) -> Router {
    let open = Open { metrics, own_hosts: own_hosts.map(Arc::new) };
    Router::new().route(PATH, get(metrics_open)).with_state(open)
}

async fn metrics_open(State(open): State<Open>, parts: Parts) -> Result<Response, Failure> {
    if open.own_hosts.is_some_and(|hosts| !hosts.are_called(&parts)) {
        own_hosts::METRICS.warn_once(&parts);
        return Err(ChatbotApi(Error::Forbidden));
    }
    Ok(shown(open.metrics.text()))
}
