//! The console, the widget and the page that shows it: files that the program has in it, with what browsers are told about
//! keeping and running them.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::http::header::{
    ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG,
    HeaderName, HeaderValue, IF_NONE_MATCH, VARY,
};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use wicara_pages::File;

use crate::error::Failure;
use crate::{request_memory, security};

const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// The console: one page, whose script reads the rest of the address.
const SHELL: &str = "index.html";

/// Asked about each time, and taken anew where it has changed.
const ASKED: HeaderValue = HeaderValue::from_static("no-cache");
/// Of files whose name changes with their content.
const FOREVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// Of files that other sites name: they see a new version of the server within five minutes.
const SHORT: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// `/` and all pages; no route at all in a program without pages.
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    if !wicara_pages::are_there() {
        return Router::new();
    }
    let page = |path: &'static str| get(move |headers| async move { send(&headers, path, ASKED) });
    let pages = Router::new()
        .route("/", page(SHELL))
        .route("/login", page(SHELL))
        .route("/inbox", page(SHELL))
        .route("/inbox/", page(SHELL))
        .route("/inbox/{*rest}", page(SHELL))
        .route("/demo", page("demo.html"))
        .layer(map_response(security::pages));
    let files = Router::new()
        .route("/assets/{*file}", get(|path, headers| below("assets", path, headers)))
        .route("/favicon.svg", get(|headers| async move { send(&headers, "favicon.svg", SHORT) }));
    // What pages of other sites load.
    let widget = Router::new()
        .route("/widget.js", get(|headers| async move { send(&headers, "widget.js", SHORT) }))
        .route("/widget/{*file}", get(|path, headers| below("widget", path, headers)))
        .layer(map_response(any_site));
    pages.merge(files).merge(widget).layer(map_response(request_memory::shared))
}

/// A file of a folder whose names change with their content.
async fn below(folder: &str, Path(file): Path<String>, headers: HeaderMap) -> Response {
    send(&headers, &format!("{folder}/{file}"), FOREVER)
}

fn send(request: &HeaderMap, path: &str, keep: HeaderValue) -> Response {
    match wicara_pages::file(path) {
        Some(file) => respond(request, file, keep),
        None => Failure::NoSuchPath.into_response(),
    }
}

/// The file in the encoding that takes the fewest bytes, or 304 where the client has it.
fn respond(request: &HeaderMap, file: &File, keep: HeaderValue) -> Response {
    let accepts = |encoding| accepts(request, encoding);
    let (encoding, bytes) = match (file.brotli, file.gzip) {
        (Some(bytes), _) if accepts("br") => (Some("br"), bytes),
        (_, Some(bytes)) if accepts("gzip") => (Some("gzip"), bytes),
        _ => (None, file.plain),
    };
    // Each encoding has a tag of its own (RFC 9110, section 8.8.3.3).
    let tag = format!("\"{:016x}{}\"", file.hash, encoding.map(|it| format!("-{it}")).unwrap_or_default());
    let known = is_known(request, &tag);

    let mut response =
        Response::new(if known { Body::empty() } else { Body::from(Bytes::from_static(bytes)) });
    let headers = response.headers_mut();
    headers.insert(ETAG, HeaderValue::try_from(tag).expect("a number is visible ASCII"));
    headers.insert(CACHE_CONTROL, keep);
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type(file.path)));
    if let Some(encoding) = encoding {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    response
}

/// Whether the client takes this encoding: it names it, or all, and not with the weight 0 (RFC 9110, section 12.5.3).
fn accepts(request: &HeaderMap, encoding: &str) -> bool {
    let mut by_star = false;
    for value in request.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()) {
        for choice in value.split(',') {
            let mut parts = choice.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
            let wanted = weight.is_none_or(|weight| weight.parse().is_ok_and(|weight: f32| weight > 0.0));
            if name.eq_ignore_ascii_case(encoding) {
                return wanted;
            }
            by_star |= name == "*" && wanted;
        }
    }
    by_star
}

/// Whether `If-None-Match` names the tag, in the weak comparison (RFC 9110, section 13.1.2).
fn is_known(request: &HeaderMap, tag: &str) -> bool {
    let values = request.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = values.flat_map(|value| value.split(',')).map(str::trim);
    tags.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json" | "map") => "application/json; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("webp") => "image/webp",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// Any site may load it, also one that isolates itself from others (`Cross-Origin-Embedder-Policy`).
async fn any_site(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn an_encoding_is_taken_where_the_client_names_it() {
        for (values, br, gzip) in [
            (&["gzip, deflate, br"][..], true, true),
            (&["gzip;q=1.0, br;q=0"], false, true),
            (&["br; q=0.000, *"], false, true),
            (&["*;q=0, gzip"], false, true),
            (&["identity", "GZIP"], false, true),
            (&["br;q=x"], false, false),
            (&[""], false, false),
            (&[], false, false),
        ] {
            let request = headers(ACCEPT_ENCODING, values);
            assert_eq!((accepts(&request, "br"), accepts(&request, "gzip")), (br, gzip), "{values:?}");
        }
    }

    #[test]
    fn a_tag_is_known_in_any_place_of_the_header() {
        for (values, expected) in [
            (&["\"b\", W/\"a\""][..], true),
            (&["\"b\"", "\"a\""], true),
            (&["*"], true),
            (&["\"ab\""], false),
            (&["a"], false),
            (&[], false),
        ] {
            assert_eq!(is_known(&headers(IF_NONE_MATCH, values), "\"a\""), expected, "{values:?}");
        }
    }

    const FILE: File =
        File { path: "widget.js", hash: 1, plain: b"plain", gzip: Some(b"gzip"), brotli: None };

    fn sent(request: &HeaderMap, file: &File) -> (StatusCode, Option<String>, String) {
        let response = respond(request, file, SHORT);
        let header = |name| response.headers().get(name).map(|it| it.to_str().unwrap().to_owned());
        (response.status(), header(CONTENT_ENCODING), header(ETAG).unwrap())
    }

    #[test]
    fn each_encoding_has_its_own_tag_and_is_known_by_it_alone() {
        let (ok, known) = (StatusCode::OK, StatusCode::NOT_MODIFIED);
        let mut request = headers(ACCEPT_ENCODING, &["gzip, br"]);
        let packed = "\"0000000000000001-gzip\"".to_owned();
        assert_eq!(sent(&request, &FILE), (ok, Some("gzip".into()), packed.clone()));
        request.insert(IF_NONE_MATCH, HeaderValue::try_from(&packed).unwrap());
        assert_eq!(sent(&request, &FILE), (known, None, packed));
        request.remove(ACCEPT_ENCODING);
        assert_eq!(sent(&request, &FILE), (ok, None, "\"0000000000000001\"".into()));
    }
}
