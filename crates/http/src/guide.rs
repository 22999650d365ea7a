//! The guide as web pages: the built-in bot's links lead to them.

use std::fmt::Write;

use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::map_response;
use axum::response::{Html, Redirect};
use axum::routing::get;
use pulldown_cmark::Event;
use wicara_guide::{self as guide, Language, Page, markdown};

use crate::security;

/// `/guide` and `/guide/{page}`, and `/`, which redirects there. Links are relative, so that a proxy may serve the
/// guide below another path.
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", get(|| async { Redirect::to("guide") }))
        .route("/guide/", get(|| async { Redirect::to("../guide") }))
        .route("/guide", get(guide_index))
        .route("/guide/style.css", get(|| async { ([(CONTENT_TYPE, "text/css; charset=utf-8")], STYLE) }))
        .route("/guide/{page}", get(guide_page))
        .layer(map_response(security::guide))
}

async fn guide_index() -> Html<String> {
    let mut body = String::from("<h1>Wicara</h1>\n");
    for language in Language::ALL {
        let (code, name) = (language.code(), language.name());
        let _ = write!(body, "<section lang=\"{code}\">\n<h2 id=\"{code}\">{name}</h2>\n<ul>\n");
        for page in guide::pages().iter().filter(|page| page.language == language) {
            let _ = writeln!(body, "<li><a href=\"guide/{}\">{}</a></li>", page.slug, escape(&page.title));
        }
        body.push_str("</ul>\n</section>\n");
    }
    html(Language::English, "Wicara", "guide/style.css", &body)
}

async fn guide_page(Path(slug): Path<String>) -> (StatusCode, Html<String>) {
    match guide::page(&slug) {
        Some(page) => (StatusCode::OK, show(page)),
        None => {
            let body = "<h1>No such page</h1>\n<p>The guide has no page of this name. \
                        <a href=\"../guide\">All pages</a></p>\n\
                        <p lang=\"id\">Panduan ini tidak punya halaman dengan nama itu. \
                        <a href=\"../guide#id\">Semua halaman</a></p>\n";
            (StatusCode::NOT_FOUND, html(Language::English, "No such page", "style.css", body))
        }
    }
}

fn show(page: &Page) -> Html<String> {
    let code = page.language.code();
    let all = match page.language {
        Language::English => "All pages",
        Language::Indonesian => "Semua halaman",
    };
    let mut body = format!("<nav><a href=\"../guide#{code}\">{all}</a>");
    if let Some(other) = page.translation() {
        let (code, name) = (other.language.code(), other.language.name());
        let slug = &other.slug;
        let _ = write!(body, " <a href=\"{slug}\" lang=\"{code}\" hreflang=\"{code}\">{name}</a>");
    }
    body.push_str("</nav>\n<main>\n");
    let events = markdown::events(&page.markdown).into_iter().map(|(event, _)| event);
    let shown = events.filter(|event| !matches!(event, Event::Html(_) | Event::InlineHtml(_)));
    pulldown_cmark::html::push_html(&mut body, shown);
    body.push_str("</main>\n");
    html(page.language, &page.title, "style.css", &body)
}

/// `style`: the relative URL of [`STYLE`]. It is a file of its own, since the page's policy forbids inline styles.
fn html(language: Language, title: &str, style: &str, body: &str) -> Html<String> {
    let (code, title) = (language.code(), escape(title));
    Html(format!(
        "<!DOCTYPE html>\n<html lang=\"{code}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<link rel=\"stylesheet\" href=\"{style}\">\n</head>\n<body>\n{body}</body>\n</html>\n"
    ))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

const STYLE: &str = "
:root { color-scheme: light dark; --line: #8884; }
body { font: 1rem/1.6 system-ui, sans-serif; max-width: 44rem; margin: 0 auto; padding: 1rem; }
h1, h2, h3 { line-height: 1.25; margin: 1.8em 0 .6em; scroll-margin-top: 1rem; }
h1 { font-size: 1.8rem; margin-top: .8em; }
:target { background: #fc03; }
nav { display: flex; flex-wrap: wrap; gap: 1rem; justify-content: space-between; }
code { font-size: .9em; overflow-wrap: anywhere; }
pre { overflow-x: auto; padding: .8rem; border: 1px solid var(--line); border-radius: .4rem; }
pre code { overflow-wrap: normal; }
table { display: block; overflow-x: auto; border-collapse: collapse; }
th, td { padding: .3rem .6rem; border: 1px solid var(--line); text-align: left; vertical-align: top; }
";

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn get(path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router::<()>().oneshot(request).await.unwrap();
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
                if let Event::Start(pulldown_cmark::Tag::Heading { id, .. }) = event {
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
            let response = router::<()>().oneshot(request).await.unwrap();
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
