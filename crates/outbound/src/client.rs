//! An HTTP client for servers that are not trusted: it follows no redirect, decompresses nothing, and stops reading at a
//! limit.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{Stream, StreamExt};
use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{ClientBuilder, Response, Url};
use wicara_model::{Json, json};
use wicara_platform::tls;

use crate::{Error, ErrorText, addresses};

/// The limit for connecting, TLS included. The whole answer has the bot's own deadline.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The bytes that are read of an error's body.
const MAX_ERROR_BYTES: usize = 4 * 1024;
/// How long reading an error's body may take.
const ERROR_BODY_TIMEOUT: Duration = Duration::from_secs(2);

/// A client for one server, with a pool of its connections.
pub struct Client(reqwest::Client);

impl Client {
    /// Without `private_addresses`, connects to public addresses only. This is checked for host *names*; the caller checks a
    /// host that is an IP address with [`check_address`](crate::check_address). The error is a sentence for the operator.
    pub fn new(url: &Url, private_addresses: bool) -> Result<Self, String> {
        let mut builder = client_for(url)
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("wicara/", env!("CARGO_PKG_VERSION")));
        if !private_addresses {
            builder = builder.dns_resolver(addresses::PublicNames);
        }
        let client =
            builder.build().map_err(|error| format!("no HTTP client can be made: {}", cause(error)))?;
        Ok(Self(client))
    }

    /// Sends JSON. Every status but a success is an error. So is a redirect, because following it could send a secret to
    /// another server.
    pub async fn post(&self, url: Url, extra_headers: HeaderMap, body: String) -> Result<Reply, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.extend(extra_headers);
        let response = self
            .0
            .post(url)
            .headers(headers)
            .body(body)
            .send()
            .await
            .map_err(|error| Error::Unreachable(cause(error)))?;
        if !response.status().is_success() {
            return Err(rejected(response).await);
        }
        match response.headers().get(CONTENT_ENCODING) {
            Some(encoding) if encoding != "identity" => {
                Err(Error::Unreadable("it is compressed, which it was asked not to be".to_owned()))
            }
            _ => Ok(Reply(response)),
        }
    }
}

/// A response with a success status, whose body is not read yet.
pub struct Reply(Response);

impl Reply {
    /// Whether the body is one JSON document rather than a stream, by its media type.
    pub fn is_json(&self) -> bool {
        let declared = self.0.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = declared.and_then(|value| value.split(';').next()).unwrap_or_default();
        media_type.trim().eq_ignore_ascii_case("application/json")
    }

    /// The whole body; more than `max_bytes` is an error.
    pub async fn text(self, max_bytes: usize) -> Result<String, Error> {
        let mut body = Vec::new();
        let mut chunks = self.chunks(max_bytes);
        while let Some(chunk) = chunks.next().await {
            body.extend_from_slice(&chunk?);
        }
        String::from_utf8(body).map_err(|_| Error::Unreadable("it is not UTF-8".to_owned()))
    }

    /// The whole body as JSON; more than `max_bytes` is an error.
    pub async fn json(self, max_bytes: usize) -> Result<Json, Error> {
        let text = self.text(max_bytes).await?;
        Json::decodable(&text)
            .map_err(|error| Error::Unreadable(format!("it is not JSON ({})", json::fault(&error))))
    }

    /// The body as it arrives; more than `max_bytes` in total is an error.
    pub fn chunks(
        self,
        max_bytes: usize,
    ) -> impl Stream<Item = Result<Bytes, Error>> + Unpin + Send + 'static {
        let mut remaining = max_bytes;
        self.0.bytes_stream().map(move |chunk| {
            let chunk = chunk.map_err(|error| Error::Unreachable(cause(error)))?;
            remaining = remaining.checked_sub(chunk.len()).ok_or(Error::TooLarge { max_bytes })?;
            Ok(chunk)
        })
    }
}

async fn rejected(response: Response) -> Error {
    let status = response.status().as_u16();
    // `Retry-After` may also be a date; that form is rare and ignored, because an early retry does no harm.
    let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let mut body = Vec::new();
    let mut chunks = response.bytes_stream();
    let read = async {
        while let Some(Ok(chunk)) = chunks.next().await
            && body.len() < MAX_ERROR_BYTES
        {
            body.extend_from_slice(&chunk);
        }
    };
    // After a timeout the beginning of the body is still useful.
    let _ = tokio::time::timeout(ERROR_BODY_TIMEOUT, read).await;
    body.truncate(MAX_ERROR_BYTES);
    let body = ErrorText::new(&String::from_utf8_lossy(&body));
    Error::Rejected { status, retry_after: seconds.map(Duration::from_secs), body }
}

/// A client builder for one URL, without proxy and redirects.
///
/// The system's root certificates are loaded only for `https`, so that plain HTTP works on a machine without any. A client
/// for an `http` URL therefore trusts no certificate at all: do not let it follow redirects.
pub fn client_for(url: &Url) -> ClientBuilder {
    tls::install();
    let builder = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    if url.scheme() == "https" { builder } else { builder.tls_certs_only([]) }
}

/// The text of the innermost error, without the URL, which may hold a secret.
#[must_use]
pub fn cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut deepest: &dyn std::error::Error = &error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

/// A secret as a header's value, marked as sensitive. The error does not contain it.
pub fn secret_header(text: &str) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::try_from(text).map_err(|_| {
        "no HTTP header can have this value: it holds a line break or control character".to_owned()
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// The URL with further path segments; its query stays.
pub fn below(url: &Url, path: &[&str]) -> Url {
    let mut below = url.clone();
    // Fails only for URLs that cannot have a path, such as mailto:, which `parse_url` refuses.
    if let Ok(mut segments) = below.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    below
}

/// Parses an `http` or `https` URL. The error leaves the URL out, because it may hold a password.
pub fn parse_url(text: &str) -> Result<Url, String> {
    let allowed = "expected an address such as https://example.org/chat";
    let url = Url::parse(text).map_err(|error| format!("no address ({error}); {allowed}"))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        scheme => Err(format!("found an address that begins with {scheme}:, {allowed}")),
    }
}

/// The part of a URL that may be shown: host and port.
#[must_use]
pub fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}
