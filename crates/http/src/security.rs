//! Security headers: what a browser must not do with a response.

use axum::http::HeaderMap;
use axum::http::header::{
    CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::response::Response;

const CROSS_ORIGIN_OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// For responses that are no pages: a browser that shows one as a page loads nothing.
const DATA: &str = "default-src 'none'; frame-ancestors 'none'";
const GUIDE: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const PAGES: &str = "default-src 'self'; base-uri 'none'; form-action 'self'; object-src 'none'; \
                     frame-ancestors 'none'";
/// The hash is that of the inline style in the page's logo.
const DOCS: &str = "default-src 'none'; script-src 'self'; \
                    style-src 'self' 'sha256-RL3ie0nH+Lzz2YNqQN83mnU0J1ot4QL7b99vMdIX99w='; \
                    img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
                    frame-ancestors 'none'";

/// For every response. The policies of pages, which are set before, stay.
pub fn harden(response: &mut Response) {
    let headers = response.headers_mut();
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(DATA));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
}

pub async fn guide(mut response: Response) -> Response {
    page(response.headers_mut(), GUIDE);
    response
}

pub async fn docs(mut response: Response) -> Response {
    page(response.headers_mut(), DOCS);
    response
}

/// The console and the page that shows the widget.
pub async fn pages(mut response: Response) -> Response {
    page(response.headers_mut(), PAGES);
    response
}

fn page(headers: &mut HeaderMap, policy: &'static str) {
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(CROSS_ORIGIN_OPENER_POLICY, HeaderValue::from_static("same-origin"));
}
