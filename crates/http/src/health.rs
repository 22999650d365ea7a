//! Liveness (`/healthz`) and readiness (`/readyz`).

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wicara_service::{Error, Service};

use crate::Http;
use crate::contract::Done;
use crate::contract::errors::Refused;
use crate::error::Failure::{self, ChatbotApi};
use crate::json_body;

pub fn routes() -> OpenApiRouter<Http> {
    OpenApiRouter::new().routes(routes!(healthz)).routes(routes!(readyz))
}

/// The process is up
#[utoipa::path(
    get,
    path = "/healthz",
    operation_id = "healthz",
    tag = "Health",
    responses((status = 200, description = "It is", body = Done)),
    security(())
)]
async fn healthz() -> Response {
    json_body::ok(&Done::new())
}

/// The database can be read, and took what was written last
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "readyz",
    tag = "Health",
    responses(
        (status = 200, description = "It is", body = Done),
        (status = 503, description = "It is not", body = Refused, headers(("Retry-After" = u64)))
    ),
    security(())
)]
async fn readyz(State(service): State<Arc<Service>>) -> Result<Response, Failure> {
    service.ready().await.map_err(|_| ChatbotApi(Error::Unavailable))?;
    Ok(json_body::ok(&Done::new()))
}
