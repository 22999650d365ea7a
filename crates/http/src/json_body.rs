//! JSON responses that are sent as a whole.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::http::{Response as HttpResponse, StatusCode};
use axum::response::Response;
use serde::Serialize;

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

#[must_use]
pub fn json<T: Serialize + ?Sized>(status: u16, body: &T) -> Response {
    json_bytes(status, serde_json::to_vec(body).expect("plain data serialises"))
}

/// For a body that is serialised already.
#[must_use]
pub fn json_bytes(status: u16, body: Vec<u8>) -> Response {
    with_body(status, Body::from(body))
}

pub fn ok<T: Serialize + ?Sized>(body: &T) -> Response {
    json(200, body)
}

/// Adds the JSON content type to a body.
pub fn with_body(status: u16, body: Body) -> Response {
    let mut response = HttpResponse::new(body);
    *response.status_mut() = StatusCode::from_u16(status).expect("a status named in this program");
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}
