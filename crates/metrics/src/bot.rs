//! Questions, and the bots that answer them.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::{Held, UNKNOWN, Words};

/// How a question ends that did not fail.
pub const ANSWERED: &str = "answered";
/// A human has the conversation.
pub const HUMAN: &str = "human";

/// From the built-in bot, which takes about a millisecond, to a model on a slow machine.
const SECONDS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Question {
    bot: Arc<str>,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Bot {
    bot: Arc<str>,
}

pub(super) struct Bots {
    /// The configured bots.
    ids: Words,
    unknown: Arc<str>,
    questions: Family<Question, Counter>,
    first_tokens: Family<Bot, Histogram>,
    answers: Family<Bot, Histogram>,
    calls: Family<Bot, Gauge>,
    waiting: Family<Bot, Gauge>,
    retries: Family<Bot, Counter>,
    breakers: Family<Bot, Gauge>,
}

impl Bots {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let times = || Family::<Bot, Histogram>::new_with_constructor(|| Histogram::new(SECONDS));
        let new = Self {
            ids: Words::default(),
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
        let bot = Bot { bot: self.ids.get_or_add(id) };
        BotMetrics {
            first_token: self.first_tokens.get_or_create_owned(&bot),
            answer: self.answers.get_or_create_owned(&bot),
            calls: self.calls.get_or_create_owned(&bot),
            waiting: self.waiting.get_or_create_owned(&bot),
            retries: self.retries.get_or_create_owned(&bot),
            breaker: self.breakers.get_or_create_owned(&bot),
        }
    }

    pub(super) fn question_count(&self, bot_id: &str, outcome: &'static str) {
        let bot = self.ids.get(bot_id).unwrap_or_else(|| Arc::clone(&self.unknown));
        self.questions.get_or_create(&Question { bot, outcome }).inc();
    }
}

/// Whether a bot's breaker is open.
#[derive(Debug)]
pub struct BreakerMetric(Gauge);

impl BreakerMetric {
    pub fn set(&self, open: bool) {
        self.0.set(i64::from(open));
    }
}

/// One bot's measures.
pub struct BotMetrics {
    first_token: Histogram,
    answer: Histogram,
    calls: Gauge,
    waiting: Gauge,
    retries: Counter,
    breaker: Gauge,
}

impl BotMetrics {
    /// The first piece of an answer is there, so long after the call began.
    pub fn first_token(&self, took: Duration) {
        self.first_token.observe(took.as_secs_f64());
    }

    /// The whole answer is there, so long after the call began. A call that failed has none.
    pub fn answered(&self, took: Duration) {
        self.answer.observe(took.as_secs_f64());
    }

    /// A call that failed is tried again.
    pub fn retried(&self) {
        self.retries.inc();
    }

    #[must_use]
    pub fn breaker(&self) -> BreakerMetric {
        BreakerMetric(self.breaker.clone())
    }

    /// To be held while the bot is called.
    #[must_use]
    pub fn calling(&self) -> Held {
        Held::new(&self.calls)
    }

    /// To be held while a question waits for its place.
    #[must_use]
    pub fn waiting(&self) -> Held {
        Held::new(&self.waiting)
    }
}
