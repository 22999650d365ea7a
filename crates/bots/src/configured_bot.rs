//! One configured bot, with the rules that hold for every kind: a limit of concurrent calls with a bounded queue, deadlines
//! for the first token and for the whole answer, retries with backoff, and a circuit breaker.

use std::time::Duration;

use futures_util::stream::StreamExt;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep, timeout};
use wicara_documents::Documents;
use wicara_metrics::{BotMetrics, Metrics};
use wicara_model::{Answer, FailureReason, Question, Timestamp};
use wicara_outbound::{Backoff, Breaker, BreakerState, Client};
use wicara_platform::Random;

use crate::answer_collector::AnswerCollector;
use crate::deadlines::{CallDeadline, TimeOuts};
use crate::recent_calls::{RecentCalls, Times};
use crate::{Bot, Error, Kind, Settings, Widget, http, langflow, openai, tokens};

/// How long a question waits for a call permit before it is refused with [`Error::Busy`].
const MAX_QUEUE_TIME: Duration = Duration::from_secs(5);
/// The longest pause before the first retry. The limit doubles with each further retry.
const FIRST_BACKOFF: Duration = Duration::from_millis(400);

/// How a bot does, as this process sees it.
#[derive(Debug, Clone)]
pub struct BotStatus {
    pub breaker: BreakerState,
    /// Calls under way, of `concurrency` at once.
    pub calls: usize,
    /// Questions that wait for a place among them.
    pub waiting: usize,
    pub concurrency: usize,
    /// From the call to the first piece of the answer, of the newest calls.
    pub first_token: Option<Times>,
    /// The same to its end.
    pub answer: Option<Times>,
    pub last_failure: Option<(FailureReason, Timestamp)>,
}

/// One bot of the configuration, ready to be asked.
pub struct ConfiguredBot {
    bot: Box<dyn Bot>,
    kind: &'static str,
    public: bool,
    default: bool,
    time_outs: TimeOuts,
    max_retries: u32,
    max_answer_bytes: usize,
    hides_thoughts: bool,
    handover_visitors: bool,
    handover_after_failures: u32,
    origins: Vec<String>,
    widget: Widget,
    concurrency: usize,
    recent: RecentCalls,
    breaker: Breaker,
    backoff: Backoff,
    /// One permit for each call under way.
    call_permits: Semaphore,
    /// One permit for each question that waits for a call permit: bounds the queue.
    queue_permits: Semaphore,
    metrics: BotMetrics,
}

impl ConfiguredBot {
    /// Builds the bot from its settings, which for the kind `documents` reads its files. The error is a sentence for the
    /// operator.
    ///
    /// `guide_base`: the URL or path below which the built-in guide is served; the links of its answers begin with it.
    pub fn new(
        settings: &Settings,
        guide_base: &str,
        random: &Random,
        metrics: &Metrics,
    ) -> Result<Self, String> {
        let client = |url| Client::new(url, settings.private_addresses);
        let max_answer_bytes = settings.max_answer_bytes;
        let bot: Box<dyn Bot> = match &settings.kind {
            Kind::Documents(own) => Box::new(Documents::new(&settings.id, own, guide_base)?),
            Kind::Http(own) => Box::new(http::Http::new(own, client(own.url())?, max_answer_bytes)),
            Kind::Langflow(own) => {
                Box::new(langflow::Langflow::new(own, client(own.url())?, max_answer_bytes))
            }
            Kind::Openai(own) => Box::new(openai::Openai::new(own, client(own.url())?, max_answer_bytes)),
        };
        Ok(Self::with_bot(settings, bot, random.clone(), metrics.bot(&settings.id)))
    }

    pub(crate) fn with_bot(
        settings: &Settings,
        bot: Box<dyn Bot>,
        random: Random,
        metrics: BotMetrics,
    ) -> Self {
        Self {
            bot,
            kind: settings.kind.name(),
            public: settings.public,
            default: settings.default,
            time_outs: TimeOuts { answer: settings.timeout, first_token: settings.first_token },
            max_retries: settings.retries,
            max_answer_bytes: settings.max_answer_bytes,
            // A document that is about such tags has no thoughts.
            hides_thoughts: settings.hide_thoughts && !matches!(settings.kind, Kind::Documents(_)),
            handover_visitors: settings.handover_visitors,
            handover_after_failures: settings.handover_after_failures,
            origins: settings.origins.clone(),
            widget: settings.widget.clone(),
            concurrency: settings.concurrency,
            recent: RecentCalls::default(),
            breaker: Breaker::new(settings.breaker_failures, settings.breaker, metrics.breaker()),
            backoff: Backoff::new(FIRST_BACKOFF, random),
            call_permits: Semaphore::new(settings.concurrency),
            queue_permits: Semaphore::new(settings.concurrency),
            metrics,
        }
    }

    #[must_use]
    pub fn is_open_to_visitors(&self) -> bool {
        self.public || self.default
    }

    /// Visitors may choose it by `botId`.
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.public
    }

    #[must_use]
    pub fn is_default(&self) -> bool {
        self.default
    }

    /// As the configuration has it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Whether pages of this origin may talk with it.
    #[must_use]
    pub fn allows_origin(&self, origin: &str) -> bool {
        self.origins.is_empty() || self.origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
    }

    #[must_use]
    pub fn widget(&self) -> &Widget {
        &self.widget
    }

    #[must_use]
    pub fn status(&self) -> BotStatus {
        let (first_token, answer) = self.recent.times();
        let taken = |permits: &Semaphore| self.concurrency.saturating_sub(permits.available_permits());
        BotStatus {
            breaker: self.breaker.now(),
            calls: taken(&self.call_permits),
            waiting: taken(&self.queue_permits),
            concurrency: self.concurrency,
            first_token,
            answer,
            last_failure: self.recent.last_failure(),
        }
    }

    /// Keeps why a question got no answer, for [`ConfiguredBot::status`].
    pub fn failed(&self, reason: FailureReason, at: Timestamp) {
        self.recent.failed(reason, at);
    }

    /// Whether visitors may hand their conversations with it over to people.
    #[must_use]
    pub fn lets_visitors_hand_over(&self) -> bool {
        self.handover_visitors
    }

    /// The number of failures in a row after which a conversation with it is handed over to people; 0: never.
    #[must_use]
    pub fn handover_after_failures(&self) -> u32 {
        self.handover_after_failures
    }

    /// The deadline for the whole answer, retries included. It starts when [`ConfiguredBot::ask`] has its call permit, so the
    /// time in the queue comes on top.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.time_outs.answer
    }

    /// The number of earlier messages that the bot wants with a question.
    #[must_use]
    pub fn history(&self) -> usize {
        self.bot.history()
    }

    /// Asks the bot and waits for all its answers: at least one. Their text goes to `tokens` as it arrives. Dropping the
    /// future cancels the call and frees its permit.
    pub async fn ask(&self, question: Question, tokens: &dyn tokens::Sink) -> Result<Vec<Answer>, Error> {
        self.breaker.check()?;
        let _call_permit = self.call_permit().await?;
        let _call_count = self.metrics.calling();
        let deadline = self.time_outs.start();
        let mut breaker_permit = self.breaker.acquire()?;
        let mut attempt = 0;
        loop {
            let mut collector = AnswerCollector::new(tokens, self.max_answer_bytes, self.hides_thoughts);
            let error = match self.call_bot(question.clone(), &mut collector, deadline).await {
                Ok(()) => {
                    breaker_permit.succeeded();
                    return Ok(collector.into_answers());
                }
                Err(error) => error,
            };
            if error.counts_for_breaker() {
                breaker_permit.failed();
            }
            let pause = self.backoff.pause(attempt).max(error.retry_after().unwrap_or_default());
            // After the first token a retry would show the reader the beginning of an answer twice.
            let may_retry = attempt < self.max_retries && !collector.has_begun() && error.is_transient();
            if !may_retry || pause >= deadline.remaining() {
                return Err(error);
            }
            tracing::debug!(%error, "asking a bot again");
            self.metrics.retried();
            sleep(pause).await;
            breaker_permit = match self.breaker.acquire() {
                Ok(permit) => permit,
                Err(_) => return Err(error),
            };
            attempt += 1;
        }
    }

    /// Waits in the bounded queue until fewer than `concurrency` calls are under way.
    async fn call_permit(&self) -> Result<SemaphorePermit<'_>, Error> {
        if let Ok(permit) = self.call_permits.try_acquire() {
            return Ok(permit);
        }
        let _queue_permit = self.queue_permits.try_acquire().map_err(|_| Error::Busy)?;
        let _waiting_count = self.metrics.waiting();
        match timeout(MAX_QUEUE_TIME, self.call_permits.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(Error::Busy),
        }
    }

    /// One attempt: calls the bot and collects its answers until its stream ends.
    async fn call_bot(
        &self,
        question: Question,
        collector: &mut AnswerCollector<'_>,
        deadline: CallDeadline,
    ) -> Result<(), Error> {
        let mut items = self.bot.ask(question);
        let (start, deadlines) = (Instant::now(), deadline.start_attempt());
        loop {
            match deadlines.limit(items.next(), collector.has_begun()).await? {
                Some(item) => {
                    let item = item?;
                    if !collector.has_begun() {
                        self.metrics.first_token(start.elapsed());
                        self.recent.first_token(start.elapsed());
                    }
                    collector.add(item)?;
                }
                None => {
                    collector.check_answered()?;
                    self.metrics.answered(start.elapsed());
                    self.recent.answered(start.elapsed());
                    return Ok(());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, PoisonError};
    use std::task::Poll;

    use futures_util::stream;
    use futures_util::{FutureExt, poll};
    use wicara_outbound::ErrorText;

    use super::*;
    use crate::answer_collector::MAX_ANSWERS;
    use crate::{AnswerStream, StreamItem};

    type Attempt = Vec<Result<StreamItem, Error>>;

    /// Each call gets the next list of items, and the last list repeats. An empty list never answers.
    struct ScriptedBot {
        attempts: Mutex<Vec<Attempt>>,
        calls: Arc<AtomicUsize>,
    }

    impl Bot for ScriptedBot {
        fn ask(&self, _: Question) -> AnswerStream {
            self.calls.fetch_add(1, Ordering::Relaxed);
            let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
            let attempt = if attempts.len() > 1 { attempts.remove(0) } else { attempts[0].clone() };
            if attempt.is_empty() { stream::pending().boxed() } else { stream::iter(attempt).boxed() }
        }
    }

    fn configured(settings: &Settings, bot: Box<dyn Bot>) -> ConfiguredBot {
        ConfiguredBot::with_bot(settings, bot, Random::System, Metrics::default().bot(&settings.id))
    }

    fn scripted(attempts: Vec<Attempt>, more: &str) -> (ConfiguredBot, Arc<AtomicUsize>) {
        let calls = Arc::new(AtomicUsize::new(0));
        let bot = ScriptedBot { attempts: Mutex::new(attempts), calls: Arc::clone(&calls) };
        let text = format!("id = 'a'\nkind = 'http'\nurl = 'http://localhost'\n{more}");
        let settings = Settings::from_table(text.parse().unwrap()).unwrap();
        (configured(&settings, Box::new(bot)), calls)
    }

    fn token(text: &str) -> Result<StreamItem, Error> {
        Ok(StreamItem::Token(text.to_owned()))
    }

    fn answer(text: &str) -> Result<StreamItem, Error> {
        Ok(StreamItem::Answer(Answer::text(text)))
    }

    fn unreachable() -> Result<StreamItem, Error> {
        Err(Error::Unreachable("refused".to_owned()))
    }

    fn rejected(status: u16) -> Result<StreamItem, Error> {
        Err(Error::Rejected { status, retry_after: None, body: ErrorText::new("") })
    }

    fn question() -> Question {
        let id = wicara_model::MessageId(1);
        Question { id, session_id: uuid::Uuid::nil(), text: "?".to_owned(), history: Vec::new() }
    }

    /// The texts of the answers, and the text that was streamed.
    async fn ask(bot: &ConfiguredBot) -> (Result<Vec<String>, Error>, String) {
        let (sender, mut receiver) = tokens::channel::<()>();
        let answers = bot.ask(question(), &sender).await;
        drop(sender);
        let texts = answers.map(|answers| answers.into_iter().map(|answer| answer.text).collect());
        match receiver.next().await {
            Some(tokens::Event::Text(text)) => (texts, text),
            _ => (texts, String::new()),
        }
    }

    #[tokio::test]
    async fn what_was_not_streamed_is_sent_on_whole() {
        for (items, text) in [
            (vec![answer("whole")], "whole"),
            (vec![token("wh"), token("ole"), answer("whole")], "whole"),
            (
                vec![answer("one"), token("tw"), token("o"), answer("two"), answer("three")],
                "one\n\ntwo\n\nthree",
            ),
        ] {
            let (answers, streamed) = ask(&scripted(vec![items], "").0).await;
            assert_eq!((answers.unwrap().join("\n\n").as_str(), streamed.as_str()), (text, text));
        }
    }

    #[tokio::test]
    async fn an_answer_without_parts_or_of_too_many_is_none() {
        assert_eq!(
            ask(&scripted(vec![vec![answer("x"); MAX_ANSWERS]], "").0).await.0.unwrap().len(),
            MAX_ANSWERS
        );
        for items in [vec![answer("x"); MAX_ANSWERS + 1], vec![token("x")]] {
            let (refused, _) = ask(&scripted(vec![items], "").0).await;
            assert!(matches!(refused, Err(Error::Unreadable(_))), "{refused:?}");
        }
    }

    #[tokio::test]
    async fn all_answers_together_and_all_tokens_together_stay_under_the_limit() {
        let half = "x".repeat(512);
        let limit = "max_answer_bytes = 1024";
        assert_eq!(
            ask(&scripted(vec![vec![answer(&half), answer(&half)]], limit).0).await.0.unwrap().len(),
            2
        );
        for items in [
            vec![answer(&half), answer(&half), answer("x")],
            vec![token(&half), token(&half), token("x"), answer("x")],
        ] {
            let (refused, _) = ask(&scripted(vec![items], limit).0).await;
            assert!(matches!(refused, Err(Error::Unreadable(_))), "{refused:?}");
        }
    }

    #[tokio::test]
    async fn a_question_beyond_the_permits_waits_and_one_beyond_the_queue_is_refused() {
        let (bot, asked) = scripted(vec![vec![]], "concurrency = 1");
        let mut first = ask(&bot).boxed();
        assert!(poll!(&mut first).is_pending());
        let mut second = ask(&bot).boxed();
        assert!(poll!(&mut second).is_pending());
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        assert!(matches!(poll!(ask(&bot).boxed()), Poll::Ready((Err(Error::Busy), _))));

        drop(first);
        assert!(poll!(&mut second).is_pending());
        assert_eq!(asked.load(Ordering::Relaxed), 2);

        drop(second);
        assert!(poll!(ask(&bot).boxed()).is_pending());
        assert_eq!(asked.load(Ordering::Relaxed), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_asked_again_only_where_that_can_help_and_nothing_was_said_twice() {
        for (first, asked, succeeds) in [
            (vec![unreachable()], 2, true),
            (vec![rejected(503)], 2, true),
            (vec![rejected(429)], 2, true),
            (vec![], 2, true),
            (vec![rejected(500)], 1, false),
            (vec![rejected(400)], 1, false),
            (vec![Err(Error::Unreadable(String::new()))], 1, false),
            (vec![token("Hal"), unreachable()], 1, false),
            (vec![answer("Halo"), unreachable()], 1, false),
        ] {
            let description = format!("{first:?}");
            let (bot, count) = scripted(vec![first, vec![answer("late")]], "first_token_seconds = 5");
            let (answers, _) = ask(&bot).await;
            assert_eq!((count.load(Ordering::Relaxed), answers.is_ok()), (asked, succeeds), "{description}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn retries_are_counted_and_end_before_the_deadline() {
        let (bot, count) = scripted(vec![vec![unreachable()]], "retries = 3");
        assert!(matches!(ask(&bot).await.0, Err(Error::Unreachable(_))));
        assert_eq!(count.load(Ordering::Relaxed), 4);

        for seconds in [31, u64::MAX] {
            let retry_after = Some(Duration::from_secs(seconds));
            let later = Error::Rejected { status: 503, retry_after, body: ErrorText::new("") };
            let (bot, count) = scripted(vec![vec![Err(later)]], "retries = 3");
            assert!(matches!(ask(&bot).await.0, Err(Error::Rejected { .. })));
            assert_eq!(count.load(Ordering::Relaxed), 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_whole_answer_has_a_deadline_and_its_first_piece_too() {
        let (silent, _) = scripted(vec![vec![]], "first_token_seconds = 3\nretries = 0");
        let start = Instant::now();
        assert!(matches!(ask(&silent).await.0, Err(Error::Timeout(_))));
        assert_eq!(start.elapsed().as_secs(), 3);

        struct Slow;
        impl Bot for Slow {
            fn ask(&self, _: Question) -> AnswerStream {
                stream::repeat(())
                    .then(|()| async {
                        sleep(Duration::from_millis(1500)).await;
                        token("x")
                    })
                    .boxed()
            }
        }
        let text = "id = 'a'\nkind = 'http'\nurl = 'http://localhost'\ntimeout_seconds = 10";
        let settings = Settings::from_table(text.parse().unwrap()).unwrap();
        let start = Instant::now();
        let (late, streamed) = ask(&configured(&settings, Box::new(Slow))).await;
        assert!(matches!(late, Err(Error::Timeout(_))), "{late:?}");
        assert_eq!((start.elapsed().as_secs(), streamed.len()), (10, 6));
    }

    #[tokio::test(start_paused = true)]
    async fn a_bot_that_keeps_failing_is_left_alone_and_tried_again() {
        let failures = vec![vec![rejected(500)], vec![rejected(500)], vec![answer("back")]];
        let (bot, count) = scripted(failures, "breaker_failures = 2");
        for _ in 0..2 {
            assert!(matches!(ask(&bot).await.0, Err(Error::Rejected { .. })));
        }
        assert!(matches!(ask(&bot).await.0, Err(Error::Suspended { .. })));
        assert_eq!(count.load(Ordering::Relaxed), 2);
        sleep(Duration::from_secs(15)).await;
        assert_eq!(ask(&bot).await.0.unwrap(), ["back"]);
        assert!(ask(&bot).await.0.is_ok());
    }

    #[tokio::test]
    async fn one_bad_question_does_not_stop_the_bot_for_others() {
        let (bot, _) = scripted(vec![vec![rejected(400)]], "breaker_failures = 1");
        for _ in 0..3 {
            assert!(matches!(ask(&bot).await.0, Err(Error::Rejected { .. })));
        }
    }
}
