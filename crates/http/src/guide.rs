//! The guide as web pages: the built-in bot's links lead to them.

use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::map_response;
use axum::response::{Html, Redirect};
use axum::routing::get;
use wicara_guide::{self as guide, render};

use crate::security;

/// `/guide` and `/guide/{page}`. Links are relative, so that a proxy may serve the guide below another path.
///
/// `at_root`: whether `/` leads to the guide, for want of other pages.
pub fn router<S: Clone + Send + Sync + 'static>(at_root: bool) -> Router<S> {
    let root = if at_root {
        Router::new().route("/", get(|| async { Redirect::to("guide") }))
    } else {
        Router::new()
    };
    root.route("/guide/", get(|| async { Redirect::to("../guide") }))
        .route("/guide", get(guide_index))
        .route(
            "/guide/style.css",
            get(|| async { ([(CONTENT_TYPE, "text/css; charset=utf-8")], render::STYLE) }),
        )
        .route("/guide/{page}", get(guide_page))
        .layer(map_response(security::guide))
}

async fn guide_index() -> Html<String> {
    Html(render::index())
}

async fn guide_page(Path(slug): Path<String>) -> (StatusCode, Html<String>) {
    match guide::page(&slug) {
        Some(page) => (StatusCode::OK, Html(render::page(page))),
        None => (StatusCode::NOT_FOUND, Html(render::unknown_page())),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt;
    use pulldown_cmark::{Event, Tag};
    use tower::ServiceExt;
    use wicara_guide::markdown;

    use super::*;

    async fn get(path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router::<()>(true).oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn the_index_lists_every_page_and_every_page_opens() {
        let (status, index) = get("/guide").await;
        assert_eq!(status, StatusCode::OK);
        for page in guide::pages() {
            assert!(index.contains(&format!("href=\"guide/{}\"", page.slug)), "{}", page.slug);
            let (status, html) = get(&format!("/guide/{}", page.slug)).await;
            assert_eq!(status, StatusCode::OK);
            assert!(html.contains(&format!("<html lang=\"{}\">", page.language.code())), "{}", page.slug);
            for (event, _) in markdown::events(&page.markdown) {
                if let Event::Start(Tag::Heading { id, .. }) = event {
                    let id = id.expect("every heading has an id");
                    assert_eq!(html.matches(&format!(" id=\"{id}\"")).count(), 1, "{}#{id}", page.slug);
                }
            }
        }
    }

    #[tokio::test]
    async fn whoever_opens_the_address_alone_is_led_to_the_guide() {
        for path in ["/", "/guide/"] {
            let request = Request::get(path).body(Body::empty()).unwrap();
            let response = router::<()>(true).oneshot(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::SEE_OTHER);
            let location = response.headers()["location"].to_str().unwrap();
            let base = reqwest::Url::parse(&format!("http://h{path}")).unwrap();
            assert_eq!(base.join(location).unwrap().path(), "/guide", "{path}");
        }
    }

    #[tokio::test]
    async fn an_unknown_page_is_not_found() {
        let (status, html) = get("/guide/no-such-page").await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert!(html.contains("href=\"../guide\""), "{html}");
    }
}
