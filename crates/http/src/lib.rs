//! HTTP: sockets, routes, headers and credentials, and the three documents on the wire. What a request does is up to
//! the service.

mod access_log;
mod address;
#[doc(hidden)]
pub mod bench_api;
mod body;
mod bots;
mod budget;
mod connection_limit;
mod contract;
mod conversations;
mod cors;
mod credentials;
mod drain;
mod error;
mod events;
mod feed;
mod feedback;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod fuzz_wire;
mod guide;
mod handover;
mod health;
mod host;
mod input;
mod json_body;
mod list_body;
pub mod listener;
mod messages;
mod metrics;
mod middleware;
mod openapi;
mod openapi_examples;
mod origin;
mod own_hosts;
mod pages;
mod path_id;
mod principals;
mod query;
mod questions;
mod refusal;
mod request_memory;
mod security;
mod sessions;
mod socket;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::FromRef;
use axum::middleware::from_fn_with_state;
use tokio_util::sync::CancellationToken;
use tower_http::cors::CorsLayer;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use wicara_metrics::{HttpMetrics, Metrics};
use wicara_model::Network;
use wicara_service::Service;

use error::Failure;
use middleware::MiddlewareState;
use own_hosts::OwnHosts;
use request_memory::MemoryBudgets;

pub use address::Peer;

#[derive(Debug, Clone)]
pub struct Settings {
    /// The origin by which browsers reach the server; https here makes cookies Secure.
    pub public_url: Option<String>,
    /// Origins whose pages may call with credentials.
    pub allowed_origins: Vec<String>,
    /// Whether the open Chatbot API may be called by a `Host` that is not one of the server's own names.
    pub anonymous_anywhere: bool,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    pub cookie_same_site: CookieSameSite,
    /// The longest body that is accepted.
    pub body_bytes: usize,
    /// Bytes of all bodies in memory at once; `usize::MAX` is no limit.
    pub body_budget_bytes: usize,
    /// Bytes of all responses that clients have not taken yet.
    pub answer_budget_bytes: usize,
    /// How long a body may take to arrive.
    pub body_time: Duration,
}

impl Settings {
    fn own_hosts(&self) -> OwnHosts {
        OwnHosts::new(self.public_url.iter().chain(&self.allowed_origins))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CookieSameSite {
    Lax,
    /// For consoles on another site. Browsers accept it over https only.
    None,
}

/// State of all handlers.
#[derive(Clone)]
struct Http {
    service: Arc<Service>,
    metrics: Arc<HttpMetrics>,
    settings: Arc<Settings>,
    own_hosts: Arc<OwnHosts>,
    budgets: Arc<MemoryBudgets>,
    /// Cancelled: the server stops and waits for nothing any longer.
    abandoned: CancellationToken,
}

impl FromRef<Http> for Arc<Service> {
    fn from_ref(http: &Http) -> Self {
        Arc::clone(&http.service)
    }
}

impl FromRef<Http> for Arc<HttpMetrics> {
    fn from_ref(http: &Http) -> Self {
        Arc::clone(&http.metrics)
    }
}

impl FromRef<Http> for Arc<Settings> {
    fn from_ref(http: &Http) -> Self {
        Arc::clone(&http.settings)
    }
}

/// Every path of the server.
pub fn router(service: Arc<Service>, metrics: Arc<HttpMetrics>, settings: Settings) -> Router {
    let (router, document) = api(&settings.allowed_origins);
    let budgets = MemoryBudgets::new(
        settings.body_budget_bytes,
        settings.body_bytes,
        settings.answer_budget_bytes,
        &metrics,
    );
    let budgets = Arc::new(budgets);
    let abandoned = service.abandoned();
    let state = MiddlewareState {
        metrics: Arc::clone(&metrics),
        budgets: Arc::clone(&budgets),
        abandoned: abandoned.clone(),
        trusted_proxies: settings.trusted_proxies.clone().into(),
    };
    let own_hosts = Arc::new(settings.own_hosts());
    let http = Http { service, metrics, settings: Arc::new(settings), own_hosts, budgets, abandoned };

    router
        .merge(openapi::pages(document))
        .merge(guide::router(!has_pages()))
        .merge(pages::router())
        .fallback(no_such_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(state, middleware::apply))
        .with_state(http)
}

/// Whether the program has the console and the widget in it.
#[must_use]
pub fn has_pages() -> bool {
    wicara_pages::are_there()
}

/// The OpenAPI document, as a server shows it.
#[must_use]
pub fn openapi_json() -> String {
    openapi::json(api(&[]).1)
}

/// The one path of the address that shows the metrics without a key. `any_host`: whether it may be called by names that
/// are not the server's own. On a loopback address, only a stranger's page would do so (DNS rebinding).
///
/// Its requests are logged and not counted in the metrics, which would only show how often somebody collects them.
pub fn metrics_router(metrics: Metrics, settings: &Settings, any_host: bool) -> Router {
    let own_hosts = (!any_host).then(|| settings.own_hosts());
    let unseen = HttpMetrics::unregistered();
    // Its few connections need no budget.
    let budgets = Arc::new(MemoryBudgets::new(usize::MAX, usize::MAX, usize::MAX, &unseen));
    let state = MiddlewareState {
        metrics: unseen,
        budgets,
        abandoned: CancellationToken::new(),
        trusted_proxies: settings.trusted_proxies.clone().into(),
    };
    metrics::keyless_router(metrics, own_hosts)
        .fallback(no_such_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(state, middleware::apply))
}

/// The paths that the OpenAPI document describes, and the document.
fn api(allowed_origins: &[String]) -> (Router<Http>, OpenApi) {
    let (any_origin_routes, mut document) = OpenApiRouter::with_openapi(openapi::document())
        .merge(questions::routes())
        .merge(feed::visitor_routes())
        .merge(handover::visitors_routes())
        .merge(bots::widget_routes())
        .merge(feedback::routes())
        .split_for_parts();
    let (allowed_origin_routes, operations) = conversations::routes()
        .merge(handover::routes())
        .merge(messages::routes())
        .merge(sessions::routes())
        .merge(bots::routes())
        .merge(feed::routes())
        .split_for_parts();
    document.merge(operations);
    let (same_origin_routes, operations) = health::routes().merge(metrics::routes()).split_for_parts();
    document.merge(operations);

    let router = with_cors(cors::any_origin(), any_origin_routes)
        .merge(with_cors(cors::allowed_origins(allowed_origins), allowed_origin_routes))
        .merge(same_origin_routes);
    (router, document)
}

/// Applies CORS rules to routes, and to their response to a wrong method: a preflight (OPTIONS) is one.
fn with_cors<S: Clone + Send + Sync + 'static>(rules: CorsLayer, routes: Router<S>) -> Router<S> {
    routes.method_not_allowed_fallback(wrong_method).layer(rules)
}

async fn no_such_path() -> Failure {
    Failure::NoSuchPath
}

async fn wrong_method() -> Failure {
    Failure::WrongMethod
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
        ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, HeaderName,
    };
    use axum::http::{HeaderMap, Request, StatusCode};
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;

    const CONSOLE: &str = "https://console.example";

    async fn call(rules: CorsLayer, method: &str, origin: &str) -> (StatusCode, HeaderMap) {
        let routes: Router = with_cors(rules, Router::new().route("/", get(|| async {})));
        let request = Request::builder()
            .method(method)
            .header("origin", origin)
            .header("access-control-request-method", "GET")
            .header("access-control-request-headers", "api_key,traceparent")
            .body(Body::empty())
            .unwrap();
        let response = routes.oneshot(request).await.unwrap();
        (response.status(), response.headers().clone())
    }

    fn header(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
        headers.get(name).map(|value| value.to_str().unwrap())
    }

    #[tokio::test]
    async fn any_page_may_ask_with_the_headers_that_it_likes() {
        for method in ["OPTIONS", "GET"] {
            let (status, headers) = call(cors::any_origin(), method, "https://x.example").await;
            assert_eq!(status, StatusCode::OK);
            assert_eq!(header(&headers, ACCESS_CONTROL_ALLOW_ORIGIN), Some("https://x.example"));
            assert_eq!(header(&headers, ACCESS_CONTROL_ALLOW_CREDENTIALS), Some("true"));
        }
        let (_, headers) = call(cors::any_origin(), "OPTIONS", "https://x.example").await;
        assert_eq!(header(&headers, ACCESS_CONTROL_ALLOW_METHODS), Some("GET,POST,PUT,DELETE"));
        assert_eq!(header(&headers, ACCESS_CONTROL_ALLOW_HEADERS), Some("api_key,traceparent"));
    }

    #[tokio::test]
    async fn credentials_come_from_allowed_pages_only() {
        let rules = || cors::allowed_origins(&[CONSOLE.to_owned()]);
        for method in ["OPTIONS", "GET"] {
            let (_, headers) = call(rules(), method, CONSOLE).await;
            assert_eq!(header(&headers, ACCESS_CONTROL_ALLOW_ORIGIN), Some(CONSOLE));
            assert_eq!(header(&headers, ACCESS_CONTROL_ALLOW_CREDENTIALS), Some("true"));
            let (_, headers) = call(rules(), method, "https://x.example").await;
            assert_eq!(header(&headers, ACCESS_CONTROL_ALLOW_ORIGIN), None);
            let (_, headers) = call(cors::allowed_origins(&[]), method, CONSOLE).await;
            assert_eq!(header(&headers, ACCESS_CONTROL_ALLOW_ORIGIN), None);
        }
    }

    #[tokio::test]
    async fn a_wrong_method_is_told_to_pages_too() {
        let (status, headers) = call(cors::any_origin(), "PUT", "https://x.example").await;
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(header(&headers, ALLOW), Some("GET,HEAD"));
        assert_eq!(header(&headers, ACCESS_CONTROL_ALLOW_ORIGIN), Some("https://x.example"));
    }
}
