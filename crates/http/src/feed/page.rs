//! A page of the feed: the same events as in a stream, as JSON.

use std::sync::Arc;
use std::time::Duration;

use axum::http::header::{CONNECTION, HeaderValue};
use axum::response::{IntoResponse, Response};
use wicara_service::{Credentials, FeedPage, FeedView, StreamOwner};

use super::block::json_of;
use super::frames::Frames;
use super::parameters::FeedListing;
use crate::Http;
use crate::contract::feed_events::{self, Resync};
use crate::contract::visitor_events::VisitorFeedPage;
use crate::contract::wording::SUCCESS;
use crate::error::Failure::{self, ChatbotApi};
use crate::json_body::json_bytes;
use crate::list_body::{Envelope, ListField};
use crate::socket::ConnectionState;

/// A page that has to wait is like a stream: it takes a place for one, and its connection counts in no limit of requests and
/// closes afterwards.
pub async fn response(
    http: &Http,
    view: FeedView,
    credentials: Option<Credentials>,
    listing: FeedListing,
    owner: StreamOwner,
    connection: Option<Arc<ConnectionState>>,
) -> Result<Response, Failure> {
    let FeedListing { position, limit, wait } = listing;
    let service = &http.service;
    let read = |position: Option<String>, wait| {
        let (view, credentials) = (view.clone(), credentials.clone());
        async move { service.feed_page(view, credentials, position.as_deref(), limit, wait).await }
    };
    let mut page = read(position, Duration::ZERO).await;
    let mut has_waited = false;
    if let Ok(empty) = &page
        && empty.items.is_empty()
        && empty.resync.is_none()
        && !wait.is_zero()
    {
        let _place = service.stream_place(owner).map_err(ChatbotApi)?;
        has_waited = true;
        if let Some(connection) = connection {
            connection.begin_stream();
        }
        let position = empty.cursor.to_string();
        page = read(Some(position), wait).await;
    }
    let mut response = match page {
        Ok(page) => {
            if let Some((_, reason)) = &page.resync {
                http.metrics.feed.resync(reason.as_str());
            }
            let is_visitors = view.is_visitors();
            json_bytes(200, body(&Frames::new(http, view), &page, is_visitors))
        }
        Err(error) => ChatbotApi(error).into_response(),
    };
    if has_waited {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

fn body(frames: &Frames, page: &FeedPage, is_visitors: bool) -> Vec<u8> {
    let FeedPage { items, cursor, .. } = page;
    let events: Vec<_> = items.iter().map(|item| frames.frame(item)).collect();
    let resync = page.resync.as_ref().map(|(cursor, reason)| Resync { cursor, reason: reason.as_str() });
    let envelope = if is_visitors {
        let data = ListField::default();
        Envelope::of(&VisitorFeedPage { status: 200, message: SUCCESS, data, cursor, resync })
    } else {
        let data = ListField::default();
        Envelope::of(&feed_events::FeedPage { status: 200, message: SUCCESS, data, cursor, resync })
    };
    envelope.filled(events.iter().map(|frame| json_of(frame)))
}
