//! Who reads the feed, over which connection, and how it is answered.

use std::convert::Infallible;
use std::sync::{Arc, Weak};

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, HeaderName};
use axum::http::request::Parts;
use axum::response::Response;
use wicara_model::Caller;
use wicara_service::{Credentials, CutOff, FeedView, StreamOwner};

use super::parameters::FeedListing;
use super::{page, stream};
use crate::address::ClientAddress;
use crate::credentials::credentials;
use crate::error::Failure::{self, ChatbotApi};
use crate::request_memory::Connection;
use crate::socket::ConnectionState;
use crate::{Http, events};

/// The position that a browser comes back with (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What of a request is not its query.
pub struct FeedReader {
    position: Option<String>,
    /// It asks for a page, and not for a stream.
    wants_page: bool,
    credentials: Credentials,
    owner: StreamOwner,
    connection: Option<Arc<ConnectionState>>,
}

impl FromRequestParts<Http> for FeedReader {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Http) -> Result<Self, Infallible> {
        let position =
            parts.headers.get(LAST_EVENT_ID).map(|value| String::from_utf8_lossy(value.as_bytes()));
        let connection = parts.extensions.get::<Connection>();
        Ok(Self {
            position: position.filter(|position| !position.is_empty()).map(String::from),
            wants_page: !events::are_accepted(&parts.headers) && accepts_json(&parts.headers),
            credentials: credentials(&parts.headers),
            owner: StreamOwner::Address(ClientAddress::of(parts).network()),
            connection: connection.map(|Connection(connection)| connection).and_then(Weak::upgrade),
        })
    }
}

/// Whether `Accept` has `application/json` literally, and not by a wildcard.
fn accepts_json(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut names = values.flat_map(|value| value.split(',')).filter_map(|range| range.split(';').next());
    names.any(|name| name.trim().eq_ignore_ascii_case("application/json"))
}

impl FeedReader {
    /// Its streams count in the limit of this caller, and not of its address.
    pub fn is_known_as(&mut self, caller: &Caller) {
        if let Some(id) = caller.id() {
            self.owner = StreamOwner::Caller(id);
        }
    }

    /// Cookies give no rights where pages of any origin may call.
    pub fn ignores_cookies(&mut self) {
        self.credentials.sessions.clear();
    }

    pub async fn answer(
        self,
        http: &Http,
        view: FeedView,
        listing: FeedListing,
    ) -> Result<Response, Failure> {
        let Self { position, wants_page, credentials, owner, connection } = self;
        let listing = FeedListing { position: position.or(listing.position), ..listing };
        // Visitors have no rights that could end.
        let credentials = matches!(owner, StreamOwner::Caller(_)).then_some(credentials);
        if wants_page {
            return page::response(http, view, credentials, listing, owner, connection).await;
        }
        let service = &http.service;
        let place = service.stream_place(owner).map_err(ChatbotApi)?;
        let cut = connection.clone().map(|connection| connection as Arc<dyn CutOff>);
        let opened = service.feed_open(view.clone(), credentials, listing.position.as_deref(), place, cut);
        let opened = opened.await.map_err(ChatbotApi)?;
        if let Some(connection) = &connection {
            connection.begin_stream();
        }
        Ok(stream::response(http, opened, view))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_page_is_asked_for_by_its_name() {
        for (accept, expected) in [
            ("application/json", true),
            ("text/html, Application/JSON; q=0.9", true),
            ("*/*", false),
            ("application/*", false),
            ("text/event-stream", false),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(accepts_json(&headers), expected, "{accept}");
        }
        assert!(!accepts_json(&HeaderMap::new()));
    }
}
