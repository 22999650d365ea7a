//! Metrics of questions and of the calls to bots: `wicara_questions`, `wicara_bot_…`.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::{GaugeGuard, LabelPool, UNKNOWN};

/// The outcome of a question that its bot answered.
pub const ANSWERED: &str = "answered";
/// The outcome of a question in a conversation that a human handles: no bot was asked, or its answer was cut off.
pub const HUMAN: &str = "human";

/// Histogram buckets: from the built-in bot, which takes about a millisecond, to a language model on a slow machine.
const SECONDS_BUCKETS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QuestionLabels {
    bot: Arc<str>,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BotLabels {
    bot: Arc<str>,
}

pub(super) struct Bots {
    /// The configured bots.
    ids: LabelPool,
    unknown: Arc<str>,
    questions: Family<QuestionLabels, Counter>,
    first_tokens: Family<BotLabels, Histogram>,
    answers: Family<BotLabels, Histogram>,
    calls: Family<BotLabels, Gauge>,
    waiting: Family<BotLabels, Gauge>,
    retries: Family<BotLabels, Counter>,
    breakers: Family<BotLabels, Gauge>,
}

impl Bots {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let times =
            || Family::<BotLabels, Histogram>::new_with_constructor(|| Histogram::new(SECONDS_BUCKETS));
        let new = Self {
            ids: LabelPool::default(),
            unknown: UNKNOWN.into(),
            questions: Family::default(),
            first_tokens: times(),
            answers: times(),
            calls: Family::default(),
            waiting: Family::default(),
            retries: Family::default(),
            breakers: Family::default(),
        };
        registry.register("wicara_questions", "Questions by how they ended", new.questions.clone());
        registry.register(
            "wicara_bot_first_token_seconds",
            "Time from the call of the bot to the first piece of its answer",
            new.first_tokens.clone(),
        );
        registry.register(
            "wicara_bot_answer_seconds",
            "Time from the call of the bot to the end of its answer",
            new.answers.clone(),
        );
        registry.register("wicara_bot_calls_in_flight", "Calls of the bot under way", new.calls.clone());
        registry.register(
            "wicara_bot_calls_waiting",
            "Questions that wait for a place among the calls",
            new.waiting.clone(),
        );
        registry.register("wicara_bot_retries", "Calls that were tried again", new.retries.clone());
        registry.register(
            "wicara_bot_breaker_open",
            "Whether the bot failed too often and has not answered since",
            new.breakers.clone(),
        );
        new
    }

    pub(super) fn configured(&self, id: &str) -> BotMetrics {
        let labels = BotLabels { bot: self.ids.get_or_add(id) };
        BotMetrics {
            first_token: self.first_tokens.get_or_create_owned(&labels),
            answer: self.answers.get_or_create_owned(&labels),
            calls: self.calls.get_or_create_owned(&labels),
            waiting: self.waiting.get_or_create_owned(&labels),
            retries: self.retries.get_or_create_owned(&labels),
            breaker: self.breakers.get_or_create_owned(&labels),
        }
    }

    pub(super) fn question_count(&self, bot_id: &str, outcome: &'static str) {
        let bot = self.ids.get(bot_id).unwrap_or_else(|| Arc::clone(&self.unknown));
        self.questions.get_or_create(&QuestionLabels { bot, outcome }).inc();
    }
}

/// The gauge of a bot's circuit breaker: 1 while it is open.
#[derive(Debug)]
pub struct BreakerMetric(Gauge);

impl BreakerMetric {
    pub fn set(&self, open: bool) {
        self.0.set(i64::from(open));
    }
}

/// The metrics of one configured bot.
pub struct BotMetrics {
    first_token: Histogram,
    answer: Histogram,
    calls: Gauge,
    waiting: Gauge,
    retries: Counter,
    breaker: Gauge,
}

impl BotMetrics {
    /// Observes the time from the call to the first text of the answer.
    pub fn first_token(&self, took: Duration) {
        self.first_token.observe(took.as_secs_f64());
    }

    /// Observes the time from the call to the end of the answer. Not for a call that failed.
    pub fn answered(&self, took: Duration) {
        self.answer.observe(took.as_secs_f64());
    }

    /// Counts a retry.
    pub fn retried(&self) {
        self.retries.inc();
    }

    #[must_use]
    pub fn breaker(&self) -> BreakerMetric {
        BreakerMetric(self.breaker.clone())
    }

    /// Counts a call under way until the guard is dropped.
    #[must_use]
    pub fn calling(&self) -> GaugeGuard {
        GaugeGuard::new(&self.calls)
    }

    /// Counts a question that waits for a call permit until the guard is dropped.
    #[must_use]
    pub fn waiting(&self) -> GaugeGuard {
        GaugeGuard::new(&self.waiting)
    }
}
