//! The configured bots, trials of them, and what the widget shows. The three documents do not have them.

use std::time::Duration;

use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use wicara_model::{FailureReason, Object, Timestamp};
use wicara_service::{BotView, BreakerState, Times, Tried, WidgetView};

use super::answer_object::{AnswerObject, answer_object_of};
use super::chatbot_api::AnswerToken;
use super::errors::TrialFailed;
use super::{shown, wording};
use crate::input::{BOT, Input, MESSAGE};
use crate::query::Query;

/// `GET /api/bot`: the answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct BotList<'a> {
    #[schema(example = 200)]
    status: u16,
    #[schema(example = "success")]
    message: &'static str,
    data: Vec<Bot<'a>>,
}

/// A configured bot, as the server that answers sees it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Bot<'a> {
    #[schema(example = "guide")]
    id: &'a str,
    /// `documents`, `http`, `langflow` or `openai`.
    #[schema(example = "documents")]
    kind: &'static str,
    /// It answers those who name no bot.
    #[schema(example = true)]
    default: bool,
    /// Visitors may choose it.
    #[schema(example = false)]
    public: bool,
    /// `closed`: it is asked; `open`: it failed too often and is left alone; `half-open`: the next question tries it out.
    #[schema(pattern = "^(closed|open|half-open)$", example = "closed")]
    breaker: &'static str,
    /// Calls under way, of `concurrency` at once.
    #[schema(minimum = 0, example = 0)]
    calls: usize,
    /// Questions that wait for a place among them.
    #[schema(minimum = 0, example = 0)]
    waiting: usize,
    #[schema(minimum = 1, example = 64)]
    concurrency: usize,
    /// From the call to the first piece of the answer, in milliseconds, of the newest 256 calls; null: there was none.
    #[schema(required)]
    first_token_ms: Option<Percentiles>,
    /// The same to the end of the answer.
    #[schema(required)]
    answer_ms: Option<Percentiles>,
    /// The newest time that it was asked and gave no answer, since the server started.
    #[schema(required)]
    last_failure: Option<BotFailure>,
}

/// What half of the calls, and 95 of a hundred, did not exceed.
#[derive(Debug, Serialize, ToSchema)]
struct Percentiles {
    #[schema(minimum = 0, example = 120)]
    p50: u64,
    #[schema(minimum = 0, example = 900)]
    p95: u64,
}

impl From<Times> for Percentiles {
    fn from(Times { p50, p95 }: Times) -> Self {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self { p50: millis(p50), p95: millis(p95) }
    }
}

/// Why a bot gave no answer, and when.
#[derive(Debug, Serialize, ToSchema)]
struct BotFailure {
    /// `timeout`, `unreachable`, `rejected` or `unreadable`.
    #[schema(value_type = String, example = "timeout")]
    reason: FailureReason,
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime, example = "2025-07-14T05:13:36.352+00:00")]
    at: Timestamp,
}

impl<'a> BotList<'a> {
    #[must_use]
    pub fn new(bots: &'a [BotView]) -> Self {
        let bot = |bot: &'a BotView| Bot {
            id: &bot.id,
            kind: bot.kind,
            default: bot.is_default,
            public: bot.is_public,
            breaker: match bot.status.breaker {
                BreakerState::Closed => "closed",
                BreakerState::Open => "open",
                BreakerState::HalfOpen => "half-open",
            },
            calls: bot.status.calls,
            waiting: bot.status.waiting,
            concurrency: bot.status.concurrency,
            first_token_ms: bot.status.first_token.map(Percentiles::from),
            answer_ms: bot.status.answer.map(Percentiles::from),
            last_failure: bot.status.last_failure.map(|(reason, at)| BotFailure { reason, at }),
        };
        Self { status: 200, message: wording::SUCCESS, data: bots.iter().map(bot).collect() }
    }
}

/// `POST /api/bot/:id/try`: the request.
#[derive(Debug, ToSchema)]
#[schema(example = json!({ "message": "halo" }))]
pub struct TrialQuestion {
    /// At most 64 KiB of UTF-8.
    pub message: String,
}

impl TrialQuestion {
    pub fn read(input: &mut Input) -> Self {
        Self { message: input.required(MESSAGE) }
    }
}

/// `POST /api/bot/:id/try`: the answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct BotTried {
    #[schema(example = 200)]
    status: u16,
    #[schema(example = "success")]
    message: &'static str,
    /// The bot's answers, as a question gets them.
    #[schema(value_type = Vec<AnswerObject>)]
    data: Vec<Object>,
}

impl BotTried {
    #[must_use]
    pub fn new(tried: &Tried) -> Self {
        let answers = tried.answers.iter();
        let data = answers
            .map(|(id, answer)| answer_object_of(answer.payload.as_ref(), &answer.text, *id, &tried.bot_id));
        Self { status: 200, message: wording::SUCCESS, data: data.collect() }
    }
}

/// What comes as events `token` (any number), then `message` or `error`, each with one of these as its data.
#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "its shape is for the OpenAPI document")]
pub enum TrialEvent {
    Token(AnswerToken),
    Message(BotTried),
    Error(TrialFailed),
}

/// `GET /api/widget`: the query.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "its shape is for the OpenAPI document")]
pub struct WidgetQuery {
    /// Left out: the default bot.
    #[param(max_length = 64)]
    pub bot: Option<String>,
}

impl WidgetQuery {
    pub fn read(query: &mut Query) -> Option<String> {
        query.text(BOT)
    }
}

/// `GET /api/widget`: the answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct WidgetShown<'a> {
    #[schema(example = 200)]
    status: u16,
    #[schema(example = "success")]
    message: &'static str,
    data: Widget<'a>,
}

/// What the widget shows before anybody has asked.
#[derive(Debug, Serialize, ToSchema)]
struct Widget<'a> {
    /// The bot that new conversations are with.
    #[schema(example = "guide")]
    bot: &'a str,
    /// The heading; null: the widget's own.
    #[schema(required)]
    title: Option<&'a str>,
    /// Shown as the first message; null: the widget's own.
    #[schema(required)]
    greeting: Option<&'a str>,
    /// Questions to choose from.
    suggestions: &'a [String],
    /// Those that a page may choose from; the first is taken where it names none of them.
    #[schema(example = json!(["id", "en"]))]
    languages: &'a [String],
    /// `#rrggbb`; null: the widget's own.
    #[schema(required, pattern = "^#[0-9A-Fa-f]{6}$", example = "#0f766e")]
    color: Option<&'a str>,
    /// Whether visitors may hand their conversations over to people.
    #[schema(example = true)]
    handover: bool,
}

impl<'a> WidgetShown<'a> {
    #[must_use]
    pub fn new(view: &'a WidgetView) -> Self {
        let or_none = |text: &'a str| (!text.trim().is_empty()).then_some(text);
        let data = Widget {
            bot: &view.bot_id,
            title: or_none(&view.widget.title),
            greeting: or_none(&view.widget.greeting),
            suggestions: &view.widget.suggestions,
            languages: &view.widget.languages,
            color: or_none(&view.widget.color),
            handover: view.may_hand_over,
        };
        Self { status: 200, message: wording::SUCCESS, data }
    }
}
