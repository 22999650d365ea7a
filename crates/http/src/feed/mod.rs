//! The feed of changes: `GET /api/events` for operators, `GET /api/questions/:session_id/events` for visitors. Either is a
//! stream of server-sent events or, for `Accept: application/json`, a page.

mod block;
mod frames;
mod operator_frames;
mod page;
mod parameters;
mod reader;
mod stream;
mod subject;
mod visitor_frames;

use axum::extract::State;
use axum::http::header::{HeaderName, HeaderValue};
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wicara_model::{Rule, Violation};
use wicara_service::{Asker, Error, FeedCursor, FeedView, Reader};

use crate::Http;
use crate::access_log::AccessLog;
use crate::contract::errors::{Refused, ValidationFailure};
use crate::contract::feed_events::{FeedEvent, FeedPage};
use crate::contract::visitor_events::{VisitorEvent, VisitorFeedPage};
use crate::error::Failure::{self, ChatbotApi};
use crate::input;
use crate::path_id::PathId;
use crate::query::Query;

use parameters::{FeedQuery, VisitorFeedQuery};
use reader::FeedReader;

/// The header with the position in the feed up to which an answer is complete (contract, "The feed").
pub const CURSOR: HeaderName = HeaderName::from_static("x-wicara-cursor");

/// The path that only allowed origins may call.
pub fn routes() -> OpenApiRouter<Http> {
    OpenApiRouter::new().routes(routes!(feed_read))
}

/// The path that pages of any origin may call.
pub fn visitor_routes() -> OpenApiRouter<Http> {
    OpenApiRouter::new().routes(routes!(question_feed_read))
}

/// Follow what changes
///
/// A stream of all changes that the caller may see, in the order of their commits, for all readers the same. First comes
/// `hello`; then one event for each change, whose name is its `kind` and whose id is a position to come back with; every
/// 15 seconds an id alone. Without a position the stream begins now. With `Accept: application/json` the answer is a page:
/// `limit` and `wait` are for it.
///
/// A position that cannot be gone on from is answered with `resync`: load the state again, then go on from its `cursor`.
#[utoipa::path(
    get,
    path = "/api/events",
    operation_id = "feed_read",
    tag = "Feed",
    params(
        FeedQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "A position, as browsers send it when they come back; \
            it wins over the parameters")
    ),
    responses(
        (status = 200, description = "A page, or the stream", content(
            (FeedPage = "application/json"),
            (FeedEvent = "text/event-stream"))),
        (status = 400, description = "Bad input", body = ValidationFailure),
        (status = 429, description = "Too many streams of this caller", body = Refused, headers(("Retry-After" = u64)))
    )
)]
async fn feed_read(
    State(http): State<Http>,
    reader: Reader,
    mut from: FeedReader,
    mut query: Query,
) -> Result<Response, Failure> {
    let (interest, listing) = FeedQuery::read(&mut query);
    query.finish().map_err(ChatbotApi)?;
    from.is_known_as(reader.caller());
    let view = FeedView::of_reader(&reader, interest);
    from.answer(&http, view, listing).await
}

/// Follow one's conversation
///
/// A stream of what changes in the conversation, without operators' notes; ids are numbers, and messages those of
/// `GET /api/questions/:session_id`. It ends after `conversation.deleted`. With `Accept: application/json` the answer is a
/// page. Nobody needs credentials.
#[utoipa::path(
    get,
    path = "/api/questions/{session_id}/events",
    operation_id = "question_feed_read",
    tag = "Feed",
    params(
        ("session_id" = String, Path, format = "uuid"),
        VisitorFeedQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "A position, as browsers send it when they come back; \
            it wins over the parameters")
    ),
    responses(
        (status = 200, description = "A page, or the stream", content(
            (VisitorFeedPage = "application/json"),
            (VisitorEvent = "text/event-stream"))),
        (status = 400, description = "Bad input", body = ValidationFailure),
        (status = 404, description = "The session is unknown", body = Refused),
        (status = 429, description = "Too many streams from this address", body = Refused,
            headers(("Retry-After" = u64)))
    ),
    security(())
)]
async fn question_feed_read(
    State(http): State<Http>,
    asker: Asker,
    log: AccessLog,
    mut from: FeedReader,
    PathId(session): PathId,
    mut query: Query,
) -> Result<Response, Failure> {
    let listing = VisitorFeedQuery::read(&mut query);
    query.finish().map_err(ChatbotApi)?;
    let Some(session_id) = input::uuid(&session) else {
        let violation = Violation::new("session_id", Rule::Uuid);
        return Err(ChatbotApi(Error::Invalid(vec![violation])));
    };
    let joined = http.service.thread_join(&asker, session_id).await.map_err(ChatbotApi)?;
    log.conversation(joined.id);
    from.ignores_cookies();
    from.is_known_as(asker.caller());
    let view = FeedView::of_visitor(&asker, &joined);
    from.answer(&http, view, listing).await
}

/// Adds the position up to which an answer is complete. It has to be taken before what is answered is read.
pub fn with_cursor(mut response: Response, cursor: &FeedCursor) -> Response {
    if let Ok(value) = HeaderValue::try_from(cursor.to_string()) {
        response.headers_mut().insert(CURSOR, value);
    }
    response
}
