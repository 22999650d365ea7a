//! An HTTP client for servers that are not trusted: it follows no redirect, decompresses nothing, and stops reading at a
//! limit. What a body is, its first byte says: servers declare JSON as an event stream and an event stream as JSON.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::stream::{Stream, StreamExt};
use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{ClientBuilder, Response, Url};
use tokio::time::{Instant, timeout_at};
use wicara_platform::tls;

use crate::charset::in_utf8;
use crate::connections::Connections;
use crate::encoding::text_of;
use crate::sse::{self, Frame, Parser};
use crate::{Error, ErrorText, Nesting, addresses};

/// The limit for connecting, TLS included. The whole answer has the bot's own deadline.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The bytes that are read of an error's body.
const MAX_ERROR_BYTES: usize = 4 * 1024;
/// How long what follows a complete answer is waited for: an error, or the proper end of the body, after which its connection
/// can be used again. Some servers leave the connection open instead.
const AFTER_END: Duration = Duration::from_millis(500);
const COMPRESSIONS: [&[u8]; 9] =
    [b"gzip", b"x-gzip", b"deflate", b"compress", b"x-compress", b"br", b"zstd", b"dcb", b"dcz"];
/// How long reading an error's body may take.
const ERROR_BODY_TIMEOUT: Duration = Duration::from_secs(2);

/// A client for one server, with a pool of its connections.
pub struct Client(Connections);

impl Client {
    /// Without `private_addresses`, connects to public addresses only. This is checked for host *names*; the caller checks a
    /// host that is an IP address with [`check_address`](crate::check_address). The error is a sentence for the operator.
    pub fn new(url: &Url, private_addresses: bool) -> Result<Self, String> {
        let url = url.clone();
        let builder = move || {
            let builder = client_for(&url)
                .connect_timeout(CONNECT_TIMEOUT)
                .user_agent(concat!("wicara/", env!("CARGO_PKG_VERSION")));
            if private_addresses { builder } else { builder.dns_resolver(addresses::PublicNames) }
        };
        let connections = Connections::new(builder)
            .map_err(|error| format!("no HTTP client can be made: {}", cause(error)))?;
        Ok(Self(connections))
    }

    /// Sends JSON. Every status but a success is an error. So is a redirect, because following it could send a secret to
    /// another server. Where a kept connection turns out to be closed, the server may get it twice.
    pub async fn post(&self, url: Url, extra_headers: HeaderMap, body: String) -> Result<Reply, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.extend(extra_headers);
        let request = self.0.post(url).headers(headers).body(body).build();
        let sent = async { self.0.send(request?).await };
        let response = sent.await.map_err(|error| Error::Unreachable(cause(error)))?;
        if !response.status().is_success() {
            return Err(rejected(response).await);
        }
        if is_encoded(response.headers()) {
            return Err(Error::Unreadable("it is compressed, which it was asked not to be".to_owned()));
        }
        Ok(Reply(response))
    }
}

/// Whether the body is compressed. Servers also name a charset there, or no encoding in words.
fn is_encoded(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_ENCODING).iter().any(|value| {
        let mut codings = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        codings.any(|coding| COMPRESSIONS.iter().any(|name| coding.eq_ignore_ascii_case(name)))
    })
}

/// A response with a success status, whose body is not read yet.
pub struct Reply(Response);

impl Reply {
    /// The whole body: see [`whole_text`].
    pub async fn text(self, max_bytes: usize) -> Result<String, Error> {
        whole_text(self.chunks(), max_bytes).await
    }

    /// The body as frames: see [`sse::frames`]. A whole JSON object is one.
    pub fn frames(
        self,
        max_frame_bytes: usize,
    ) -> impl Stream<Item = Result<Frame, Error>> + Unpin + Send + 'static {
        sse::frames(self.chunks(), max_frame_bytes)
    }

    fn chunks(self) -> impl Stream<Item = Result<Bytes, Error>> + Unpin + Send + 'static {
        chunks(self.0)
    }
}

/// The body as it arrives, in UTF-8, without a limit.
fn chunks(response: Response) -> impl Stream<Item = Result<Bytes, Error>> + Unpin + Send + 'static {
    let content_type = response.headers().get(CONTENT_TYPE).cloned();
    let chunks = response.bytes_stream().map(|chunk| chunk.map_err(|error| Error::Unreachable(cause(error))));
    in_utf8(content_type, chunks)
}

/// A whole body; more than `max_bytes` is an error, and so is a web page. A byte order mark is left out. Of a body that stays
/// open behind one whole JSON object, list or string, the end is not waited for.
pub async fn whole_text(
    mut chunks: impl Stream<Item = Result<Bytes, Error>> + Unpin,
    max_bytes: usize,
) -> Result<String, Error> {
    let mut body = Vec::new();
    let mut end = DocumentEnd::new(max_bytes);
    loop {
        let chunk = match end.at {
            Some(at) => match shortly(chunks.next(), at).await {
                Some(Some(Ok(chunk))) => chunk,
                _ => break,
            },
            None => match chunks.next().await {
                Some(chunk) => chunk?,
                None => break,
            },
        };
        body.extend_from_slice(&chunk);
        if body.len() > max_bytes {
            return Err(Error::TooLarge { max_bytes });
        }
        end.read(&chunk);
    }
    let text = text_of(&body);
    let text = text.trim_start_matches(['\u{feff}', '\0']);
    if text.trim_start().starts_with('<') { Err(Error::WebPage) } else { Ok(text.to_owned()) }
}

/// Finds the end of a JSON document while it arrives, bare or as server-sent events.
struct DocumentEnd {
    form: Option<Form>,
    max_bytes: usize,
    /// When the document was complete.
    at: Option<Instant>,
}

enum Form {
    /// An object, a list or a string.
    Nested(Nesting),
    Events(Parser),
}

impl DocumentEnd {
    fn new(max_bytes: usize) -> Self {
        Self { form: None, max_bytes, at: None }
    }

    fn read(&mut self, chunk: &[u8]) {
        let mut rest = chunk;
        if self.form.is_none() {
            let is_before = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, 0 | 0xef | 0xbb | 0xbf);
            let Some(start) = chunk.iter().position(|byte| !is_before(byte)) else { return };
            rest = &chunk[start..];
            let is_nested = matches!(rest[0], b'{' | b'[' | b'"');
            let form = if is_nested {
                Form::Nested(Nesting::default())
            } else {
                Form::Events(Parser::new(self.max_bytes))
            };
            self.form = Some(form);
        }
        let ends = match &mut self.form {
            Some(Form::Nested(nesting)) => self.at.is_none() && nesting.read(rest).is_some(),
            Some(Form::Events(parser)) => {
                let mut frames = Vec::new();
                let parsed = parser.push(rest, &mut frames);
                parsed.is_ok() && frames.iter().any(|frame| Nesting::is_whole(&frame.data))
            }
            None => false,
        };
        if ends && self.at.is_none() {
            self.at = Some(Instant::now());
        }
    }
}

/// What `next` gives, unless it takes longer than what follows an answer may take. `end`: when the answer was complete.
pub async fn shortly<T>(mut next: impl Future<Output = T> + Unpin, end: Instant) -> Option<T> {
    let until = end + AFTER_END;
    if Instant::now() >= until {
        return None;
    }
    match (&mut next).now_or_never() {
        Some(next) => Some(next),
        None => timeout_at(until, next).await.ok(),
    }
}

async fn rejected(response: Response) -> Error {
    let status = response.status().as_u16();
    // `Retry-After` may also be a date; that form is rare and ignored, because an early retry does no harm.
    let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let mut body = Vec::new();
    let mut chunks = chunks(response);
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

/// The text of the innermost error, without the URL, which may hold a secret; with what to change where the port speaks the
/// other of `http` and `https`.
#[must_use]
pub fn cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut deepest: &dyn std::error::Error = &error;
    let mut is_no_http = false;
    while let Some(source) = deepest.source() {
        deepest = source;
        is_no_http |= deepest.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse);
    }
    let text = deepest.to_string();
    // rustls' name for a first byte that begins no record of TLS.
    if text.contains("InvalidContentType") {
        format!("the port does not speak https: is the address http://? ({text})")
    } else if is_no_http {
        format!("the port does not answer as http does: is the address https://? ({text})")
    } else {
        text
    }
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// The error of a request to a port that answers every connection with these bytes.
    async fn error_of(scheme: &str, answer: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("{scheme}://{}", listener.local_addr().unwrap()).parse().unwrap();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let _ = socket.read(&mut [0; 4096]).await;
                let _ = socket.write_all(answer).await;
            }
        });
        let client = Client::new(&url, true).unwrap();
        match client.post(url, HeaderMap::new(), String::new()).await {
            Err(Error::Unreachable(why)) => why,
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("it is answered"),
        }
    }

    #[tokio::test]
    async fn the_wrong_one_of_http_and_https_is_named() {
        let plain = error_of("https", b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
        assert!(plain.contains("is the address http://?"), "{plain}");
        // The alert of a TLS server that got an HTTP request.
        let tls = error_of("http", &[0x15, 3, 1, 0, 2, 2, 22]).await;
        assert!(tls.contains("is the address https://?"), "{tls}");
    }
}
