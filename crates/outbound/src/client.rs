//! HTTP outward. Nothing that a server sends is trusted: no redirect is followed, nothing is unpacked, and nothing is read beyond its limit.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{Stream, StreamExt};
use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{ClientBuilder, Response, Url};
use wicara_model::{Json, json};
use wicara_platform::tls;

use crate::{Error, ErrorText, addresses};

/// How long a connection may take to stand; the whole answer has the bot's own deadline.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// What is read of an error: enough to see what it is about.
const ERROR_BYTES: usize = 4 * 1024;
/// How long the text of an error may take.
const ERROR_TIME: Duration = Duration::from_secs(2);

/// Connections to one server, kept for the next call.
pub struct Client(reqwest::Client);

impl Client {
    /// A client for one address. Without `private_addresses`, its host must be checked already where it is no name.
    /// The error is for the operator.
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

    /// Sends JSON. Anything but a success is an error, a redirect too: followed, it could lead a secret elsewhere.
    pub async fn post(&self, url: Url, more: HeaderMap, body: String) -> Result<Reply, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.extend(more);
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

/// A success whose body was not read yet.
pub struct Reply(Response);

impl Reply {
    /// Whether it is one JSON document rather than a stream.
    pub fn is_json(&self) -> bool {
        let declared = self.0.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let name = declared.and_then(|value| value.split(';').next()).unwrap_or_default();
        name.trim().eq_ignore_ascii_case("application/json")
    }

    /// The whole body, of at most `max_bytes`.
    pub async fn text(self, max_bytes: usize) -> Result<String, Error> {
        let mut body = Vec::new();
        let mut chunks = self.chunks(max_bytes);
        while let Some(chunk) = chunks.next().await {
            body.extend_from_slice(&chunk?);
        }
        String::from_utf8(body).map_err(|_| Error::Unreadable("it is not UTF-8".to_owned()))
    }

    /// The whole body as JSON, of at most `max_bytes`.
    pub async fn json(self, max_bytes: usize) -> Result<Json, Error> {
        let text = self.text(max_bytes).await?;
        Json::decodable(&text)
            .map_err(|error| Error::Unreadable(format!("it is not JSON ({})", json::fault(&error))))
    }

    /// The body as it comes; more than `max_bytes` in all is an error.
    pub fn chunks(
        self,
        max_bytes: usize,
    ) -> impl Stream<Item = Result<Bytes, Error>> + Unpin + Send + 'static {
        let mut left = max_bytes;
        self.0.bytes_stream().map(move |chunk| {
            let chunk = chunk.map_err(|error| Error::Unreachable(cause(error)))?;
            left = left.checked_sub(chunk.len()).ok_or(Error::TooLarge { max_bytes })?;
            Ok(chunk)
        })
    }
}

async fn rejected(response: Response) -> Error {
    let status = response.status().as_u16();
    // The other form, a date, is rare, and asking a little too early does no harm.
    let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let mut body = Vec::new();
    let mut chunks = response.bytes_stream();
    let read = async {
        while let Some(Ok(chunk)) = chunks.next().await
            && body.len() < ERROR_BYTES
        {
            body.extend_from_slice(&chunk);
        }
    };
    // What has come by then is all the same the beginning of the truth.
    let _ = tokio::time::timeout(ERROR_TIME, read).await;
    body.truncate(ERROR_BYTES);
    let body = ErrorText::new(&String::from_utf8_lossy(&body));
    Error::Rejected { status, retry_after: seconds.map(Duration::from_secs), body }
}

/// An HTTP client's beginnings for one address.
///
/// The system's certificates are read only where they are needed, so that plain HTTP works on a machine that has
/// none. A client made for an `http` address therefore trusts no `https` address: do not let it follow redirects.
pub fn client_for(url: &Url) -> ClientBuilder {
    tls::install();
    let builder = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    if url.scheme() == "https" { builder } else { builder.tls_certs_only([]) }
}

/// What went wrong underneath, without the address, which may hold a secret.
#[must_use]
pub fn cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut deepest: &dyn std::error::Error = &error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

/// A secret as a header's value. The error does not show it.
pub fn secret_header(text: &str) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::try_from(text).map_err(|_| {
        "no HTTP header can have this value: it holds a line break or control character".to_owned()
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// The address of something below another one; its query stays.
pub fn below(url: &Url, path: &[&str]) -> Url {
    let mut below = url.clone();
    // Only addresses that cannot have a path, such as mailto:, have none.
    if let Ok(mut segments) = below.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    below
}

/// The address itself is left out of the error: it may hold a password.
pub fn parse_url(text: &str) -> Result<Url, String> {
    let allowed = "expected an address such as https://example.org/chat";
    let url = Url::parse(text).map_err(|error| format!("no address ({error}); {allowed}"))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        scheme => Err(format!("found an address that begins with {scheme}:, {allowed}")),
    }
}

/// An address as it may be shown: host and port, without what may be secret.
#[must_use]
pub fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}
