//! The server without its sockets: thousands of requests at once need no descriptor.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::header::HOST;
use axum::http::{HeaderMap, HeaderValue, Request};
use axum::{Extension, Router};
use tower::ServiceExt;
use wicara_bots as bots;
use wicara_http as http;
use wicara_metrics::Metrics;
use wicara_platform::{Clock, Random};
use wicara_service::{self as service, People, Service};
use wicara_store::Store;

use super::{Answer, Database, Engine};

pub struct Routed {
    pub router: Router,
    pub store: Store,
    pub people: People,
    pub database: Database,
}

impl Routed {
    /// With the built-in bot, which answers any number of questions at once.
    pub async fn new(engine: Engine) -> Self {
        Self::with_body_time(engine, Duration::from_secs(600)).await
    }

    pub async fn with_body_time(engine: Engine, body_time: Duration) -> Self {
        let database = Database::new(engine).await;
        let metrics = Metrics::default();
        let store = Store::open(&database.url, Duration::ZERO, &Random::System, &metrics).await.unwrap();
        let people = People::new(store.clone(), Clock::System, Random::System);
        let guide = "id = 'guide'\nkind = 'documents'\nfolder = ''\nlink_base = ''\ndefault = true\nconcurrency = 10000";
        let bot = bots::Settings::from_table(guide.parse().unwrap()).unwrap();
        let bots = bots::Registry::new(vec![bot], "", &Random::System, &metrics).unwrap();
        let limits =
            service::Limits { questions: 0, questions_per_address: 0, logins_per_address: 0, signals: 0 };
        let handover =
            service::HandoverSettings { show_names: false, return_after: None, return_text: String::new() };
        let settings = service::Settings {
            chatbot_api_open: false,
            session: Duration::from_secs(3600),
            limits,
            handover,
            streams: service::StreamLimits { all: 10, per_caller: 10 },
            keep_events: Duration::from_secs(3600),
        };
        let http_metrics = Arc::clone(&metrics.http);
        let service = Service::new(store.clone(), bots, Clock::System, Random::System, metrics, settings);
        let settings = http::Settings {
            public_url: None,
            allowed_origins: Vec::new(),
            anonymous_anywhere: false,
            trusted_proxies: Vec::new(),
            cookie_same_site: http::CookieSameSite::Lax,
            body_bytes: 1024 * 1024,
            body_budget_bytes: 64 * 1024 * 1024,
            answer_budget_bytes: 64 * 1024 * 1024,
            body_time,
        };
        let router = http::router(Arc::new(service), http_metrics, settings);
        let router = router.layer(Extension(http::Peer(Ipv4Addr::LOCALHOST.into())));
        Self { router, store, people, database }
    }

    pub async fn send(router: Router, mut request: Request<Body>) -> Answer {
        request.headers_mut().entry(HOST).or_insert(HeaderValue::from_static("a"));
        let sent = format!("{} {}", request.method(), request.uri());
        let (head, body) = router.oneshot(request).await.unwrap().into_parts();
        let text = String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().to_vec()).unwrap();
        // The client's types are the same crate's.
        let headers: HeaderMap = head.headers;
        Answer { request: sent, status: head.status, headers, text }
    }
}
