//! `/api/bot`, the configured bots as people see them, and `/api/widget`, what their widgets show.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{CACHE_CONTROL, HeaderValue};
use axum::response::Response;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wicara_metrics::HttpMetrics;
use wicara_service::{Asker, Reader, Service, Writer};

use crate::body::Body;
use crate::contract::bots::{BotList, BotTried, TrialEvent, TrialQuestion, WidgetQuery, WidgetShown};
use crate::contract::errors::{Forbidden, Refused, TrialFailed, ValidationFailure};
use crate::error::Failure::{self, ChatbotApi};
use crate::path_id::PathId;
use crate::query::Query;
use crate::{Http, events, json_body};

/// How long the settings of a widget may be kept.
const WIDGET_CACHE: HeaderValue = HeaderValue::from_static("public, max-age=60");

pub fn routes() -> OpenApiRouter<Http> {
    OpenApiRouter::new().routes(routes!(bot_list)).routes(routes!(bot_try))
}

/// For pages of any origin.
pub fn widget_routes() -> OpenApiRouter<Http> {
    OpenApiRouter::new().routes(routes!(widget_get))
}

#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "its shape is for the OpenAPI document")]
enum TrialBusy {
    Bot(TrialFailed),
    Server(Refused),
}

/// List the bots
///
/// Those of the caller that are configured, sorted by id, as the server that answers sees them. Where they are and their
/// secrets are told to nobody.
#[utoipa::path(
    get,
    path = "/api/bot",
    operation_id = "bot_list",
    tag = "Bots",
    responses((status = 200, description = "The bots", body = BotList))
)]
async fn bot_list(State(service): State<Arc<Service>>, reader: Reader) -> Response {
    json_body::ok(&BotList::new(&service.bot_list(&reader)))
}

/// Try a bot out
///
/// Asks it without storing anything. The call counts among the bot's calls. With `Accept: text/event-stream` the answer is
/// streamed: a `token` for each piece of text, then one `message` (the JSON that is answered otherwise) or `error`. A client
/// that leaves ends the call.
#[utoipa::path(
    post,
    path = "/api/bot/{id}/try",
    operation_id = "bot_try",
    tag = "Bots",
    params(("id" = String, Path)),
    request_body = TrialQuestion,
    responses(
        (status = 200, description = "The bot's answers", content(
            (BotTried = "application/json"),
            (TrialEvent = "text/event-stream"))),
        (status = 400, description = "Bad input", body = ValidationFailure),
        (status = 404, description = "The caller has no such bot", body = Refused),
        (status = 502, description = "The bot failed", body = TrialFailed),
        (status = 503, description = "The bot is busy, or the server cannot answer", body = TrialBusy,
            headers(("Retry-After" = u64))),
        (status = 504, description = "The bot did not answer in time", body = TrialFailed)
    )
)]
async fn bot_try(
    State(service): State<Arc<Service>>,
    State(metrics): State<Arc<HttpMetrics>>,
    writer: Writer,
    PathId(id): PathId,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let TrialQuestion { message } = body.parse(ChatbotApi, |input, _| TrialQuestion::read(input))?;
    let trial = service.bot_try(&writer, id, message).map_err(ChatbotApi)?;
    if events::are_accepted(&headers) {
        return Ok(events::trial_response(trial, &metrics));
    }
    Ok(json_body::ok(&BotTried::new(&trial.tried().await.map_err(ChatbotApi)?)))
}

/// Show what a widget shows
///
/// The settings of a bot's widget. Nobody needs credentials.
#[utoipa::path(
    get,
    path = "/api/widget",
    operation_id = "widget_get",
    tag = "Bots",
    params(WidgetQuery),
    responses(
        (status = 200, description = "The widget's settings", body = WidgetShown),
        (status = 400, description = "There is no such bot for visitors", body = ValidationFailure),
        (status = 403, description = "The bot is not for pages of this site", body = Forbidden)
    ),
    security(())
)]
async fn widget_get(
    State(service): State<Arc<Service>>,
    asker: Asker,
    mut query: Query,
) -> Result<Response, Failure> {
    let bot = WidgetQuery::read(&mut query);
    query.finish().map_err(ChatbotApi)?;
    let widget = service.widget_get(&asker, bot).map_err(ChatbotApi)?;
    let mut response = json_body::ok(&WidgetShown::new(&widget));
    response.headers_mut().insert(CACHE_CONTROL, WIDGET_CACHE);
    Ok(response)
}
