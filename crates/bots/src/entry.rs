//! One configured bot, and the rules that hold for each whatever its kind: how many calls at once, how long a call may
//! wait and take, how large its answers may be, when it is asked again and when it is left alone.

use std::time::Duration;

use futures_util::stream::StreamExt;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use wicara_documents::Documents;
use wicara_metrics::{BotMetrics, Metrics};
use wicara_model::{Answer, Question};
use wicara_outbound::{Backoff, Breaker, Client};
use wicara_platform::Random;

use crate::{Bot, Error, Kind, Part, Settings, http, langflow, openai, tokens};

/// How long a question waits for a place among a bot's calls before it is refused.
const QUEUE_WAIT: Duration = Duration::from_secs(5);
/// Answers to one question: each is stored as a message of its own.
const MAX_ANSWERS: usize = 100;
/// How long the first retry waits at most; each further one twice as long.
const FIRST_BACKOFF: Duration = Duration::from_millis(400);
/// What is put between the texts of two answers for whoever looks on.
const BETWEEN_ANSWERS: &str = "\n\n";

/// One bot with its limits.
pub struct Entry {
    bot: Box<dyn Bot>,
    open_to_visitors: bool,
    timeout: Duration,
    first_token: Duration,
    retries: u32,
    max_answer_bytes: usize,
    breaker: Breaker,
    backoff: Backoff,
    /// One permit a call.
    places: Semaphore,
    /// One permit a question that waits for a place.
    queue: Semaphore,
    metrics: BotMetrics,
}

impl Entry {
    /// Makes the bot ready to be asked. The error is for the operator.
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

    fn with_bot(settings: &Settings, bot: Box<dyn Bot>, random: Random, metrics: BotMetrics) -> Self {
        Self {
            bot,
            open_to_visitors: settings.public || settings.default,
            timeout: settings.timeout,
            first_token: settings.first_token,
            retries: settings.retries,
            max_answer_bytes: settings.max_answer_bytes,
            breaker: Breaker::new(settings.breaker_failures, settings.breaker, metrics.breaker()),
            backoff: Backoff::new(FIRST_BACKOFF, random),
            places: Semaphore::new(settings.concurrency),
            queue: Semaphore::new(settings.concurrency),
            metrics,
        }
    }

    #[must_use]
    pub fn is_open_to_visitors(&self) -> bool {
        self.open_to_visitors
    }

    /// For the whole answer, from when the bot is asked: [`Entry::ask`] may wait for a place before.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// How many earlier messages the bot wants with a question.
    #[must_use]
    pub fn history(&self) -> usize {
        self.bot.history()
    }

    /// Asks the bot and waits for all its answers: at least one. Their text is sent on as it comes. Dropping the
    /// future frees its place.
    pub async fn ask(&self, question: Question, tokens: &dyn tokens::Sink) -> Result<Vec<Answer>, Error> {
        self.breaker.check()?;
        let _place = self.place().await?;
        let _call = self.metrics.calling();
        let deadline = Instant::now() + self.timeout;
        let mut pass = self.breaker.pass()?;
        let mut attempt = 0;
        loop {
            let mut hearing = Hearing::new(tokens, self.max_answer_bytes);
            let error = match self.hear(question.clone(), &mut hearing, deadline).await {
                Ok(()) => {
                    pass.succeeded();
                    return Ok(hearing.answers);
                }
                Err(error) => error,
            };
            if error.is_the_bots() {
                pass.failed();
            }
            let pause = self.backoff.pause(attempt).max(error.retry_after().unwrap_or_default());
            let may_retry = attempt < self.retries && !hearing.begun && error.is_passing();
            if !may_retry || pause >= deadline.saturating_duration_since(Instant::now()) {
                return Err(error);
            }
            tracing::debug!(%error, "asking a bot again");
            self.metrics.retried();
            sleep(pause).await;
            pass = match self.breaker.pass() {
                Ok(pass) => pass,
                Err(_) => return Err(error),
            };
            attempt += 1;
        }
    }

    async fn place(&self) -> Result<SemaphorePermit<'_>, Error> {
        if let Ok(place) = self.places.try_acquire() {
            return Ok(place);
        }
        let _waiting = self.queue.try_acquire().map_err(|_| Error::Busy)?;
        let _counted = self.metrics.waiting();
        match timeout(QUEUE_WAIT, self.places.acquire()).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(Error::Busy),
        }
    }

    /// Asks once.
    async fn hear(
        &self,
        question: Question,
        hearing: &mut Hearing<'_>,
        deadline: Instant,
    ) -> Result<(), Error> {
        let mut parts = self.bot.ask(question);
        let start = Instant::now();
        let first = deadline.min(start + self.first_token);
        loop {
            let until = if hearing.begun { deadline } else { first };
            let limit = if until == deadline { self.timeout } else { self.first_token };
            match timeout_at(until, parts.next()).await.map_err(|_| Error::Timeout(limit))? {
                Some(part) => {
                    let part = part?;
                    if !hearing.begun {
                        self.metrics.first_token(start.elapsed());
                    }
                    hearing.take(part)?;
                }
                None if hearing.answers.is_empty() => {
                    return Err(Error::Unreadable("it is empty".to_owned()));
                }
                None => {
                    self.metrics.answered(start.elapsed());
                    return Ok(());
                }
            }
        }
    }
}

/// What has come of an answer so far.
struct Hearing<'a> {
    tokens: &'a dyn tokens::Sink,
    max_bytes: usize,
    answers: Vec<Answer>,
    answer_bytes: usize,
    token_bytes: usize,
    /// Something came: the question cannot be asked again without saying things twice.
    begun: bool,
    /// Tokens of the answer under way were sent on.
    streaming: bool,
}

impl<'a> Hearing<'a> {
    fn new(tokens: &'a dyn tokens::Sink, max_bytes: usize) -> Self {
        let (answers, answer_bytes, token_bytes) = (Vec::new(), 0, 0);
        Self { tokens, max_bytes, answers, answer_bytes, token_bytes, begun: false, streaming: false }
    }

    fn take(&mut self, part: Part) -> Result<(), Error> {
        self.begun = true;
        match part {
            Part::Token(text) => {
                self.token_bytes += text.len();
                if self.token_bytes > self.max_bytes {
                    return Err(Error::too_large(self.max_bytes));
                }
                self.send(&text);
            }
            Part::Answer(answer) => {
                self.answer_bytes += answer.bytes;
                if self.answers.len() == MAX_ANSWERS {
                    return Err(Error::Unreadable(format!("it has more than {MAX_ANSWERS} parts")));
                }
                if self.answer_bytes > self.max_bytes {
                    return Err(Error::too_large(self.max_bytes));
                }
                if !self.streaming {
                    self.send(&answer.text);
                }
                self.streaming = false;
                self.answers.push(answer);
            }
        }
        Ok(())
    }

    fn send(&mut self, text: &str) {
        if !self.streaming && !self.answers.is_empty() {
            self.tokens.send(BETWEEN_ANSWERS);
        }
        self.streaming = true;
        self.tokens.send(text);
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
    use crate::Parts;

    type Attempt = Vec<Result<Part, Error>>;

    /// Gives one list of parts an attempt, the last one again and again; an empty list is never answered.
    struct Scripted(Mutex<Vec<Attempt>>, Arc<AtomicUsize>);

    impl Bot for Scripted {
        fn ask(&self, _: Question) -> Parts {
            self.1.fetch_add(1, Ordering::Relaxed);
            let mut attempts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let attempt = if attempts.len() > 1 { attempts.remove(0) } else { attempts[0].clone() };
            if attempt.is_empty() { stream::pending().boxed() } else { stream::iter(attempt).boxed() }
        }
    }

    fn with_bot(settings: &Settings, bot: Box<dyn Bot>) -> Entry {
        Entry::with_bot(settings, bot, Random::System, Metrics::default().bot(&settings.id))
    }

    fn entry(attempts: Vec<Attempt>, more: &str) -> (Entry, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let bot = Scripted(Mutex::new(attempts), Arc::clone(&asked));
        let text = format!("id = 'a'\nkind = 'http'\nurl = 'http://localhost'\n{more}");
        let settings = Settings::from_table(text.parse().unwrap()).unwrap();
        (with_bot(&settings, Box::new(bot)), asked)
    }

    fn token(text: &str) -> Result<Part, Error> {
        Ok(Part::Token(text.to_owned()))
    }

    fn answer(text: &str) -> Result<Part, Error> {
        Ok(Part::Answer(Answer::text(text)))
    }

    fn unreachable() -> Result<Part, Error> {
        Err(Error::Unreachable("refused".to_owned()))
    }

    fn rejected(status: u16) -> Result<Part, Error> {
        Err(Error::Rejected { status, retry_after: None, body: ErrorText::new("") })
    }

    fn question() -> Question {
        let id = wicara_model::MessageId(1);
        Question { id, session_id: uuid::Uuid::nil(), text: "?".to_owned(), history: Vec::new() }
    }

    /// Asks, and returns the texts of the answers and what was sent on.
    async fn ask(entry: &Entry) -> (Result<Vec<String>, Error>, String) {
        let (sender, mut receiver) = tokens::channel::<()>();
        let answers = entry.ask(question(), &sender).await;
        drop(sender);
        let texts = answers.map(|answers| answers.into_iter().map(|answer| answer.text).collect());
        match receiver.next().await {
            Some(tokens::Event::Text(text)) => (texts, text),
            _ => (texts, String::new()),
        }
    }

    #[tokio::test]
    async fn what_was_not_streamed_is_sent_on_whole() {
        for (parts, sent) in [
            (vec![answer("whole")], "whole"),
            (vec![token("wh"), token("ole"), answer("whole")], "whole"),
            (
                vec![answer("one"), token("tw"), token("o"), answer("two"), answer("three")],
                "one\n\ntwo\n\nthree",
            ),
        ] {
            let (answers, heard) = ask(&entry(vec![parts], "").0).await;
            assert_eq!((answers.unwrap().join("\n\n").as_str(), heard.as_str()), (sent, sent));
        }
    }

    #[tokio::test]
    async fn an_answer_without_parts_or_of_too_many_is_none() {
        assert_eq!(
            ask(&entry(vec![vec![answer("x"); MAX_ANSWERS]], "").0).await.0.unwrap().len(),
            MAX_ANSWERS
        );
        for parts in [vec![answer("x"); MAX_ANSWERS + 1], vec![token("x")]] {
            let (refused, _) = ask(&entry(vec![parts], "").0).await;
            assert!(matches!(refused, Err(Error::Unreadable(_))), "{refused:?}");
        }
    }

    #[tokio::test]
    async fn all_answers_together_and_all_tokens_together_stay_under_the_limit() {
        let half = "x".repeat(512);
        let limit = "max_answer_bytes = 1024";
        assert_eq!(ask(&entry(vec![vec![answer(&half), answer(&half)]], limit).0).await.0.unwrap().len(), 2);
        for parts in [
            vec![answer(&half), answer(&half), answer("x")],
            vec![token(&half), token(&half), token("x"), answer("x")],
        ] {
            let (refused, _) = ask(&entry(vec![parts], limit).0).await;
            assert!(matches!(refused, Err(Error::Unreadable(_))), "{refused:?}");
        }
    }

    #[tokio::test]
    async fn a_question_beyond_the_places_waits_and_one_beyond_the_queue_is_refused() {
        let (entry, asked) = entry(vec![vec![]], "concurrency = 1");
        let mut first = ask(&entry).boxed();
        assert!(poll!(&mut first).is_pending());
        let mut second = ask(&entry).boxed();
        assert!(poll!(&mut second).is_pending());
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        assert!(matches!(poll!(ask(&entry).boxed()), Poll::Ready((Err(Error::Busy), _))));

        drop(first);
        assert!(poll!(&mut second).is_pending());
        assert_eq!(asked.load(Ordering::Relaxed), 2);

        drop(second);
        assert!(poll!(ask(&entry).boxed()).is_pending());
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
            let (entry, count) = entry(vec![first, vec![answer("late")]], "first_token_seconds = 5");
            let (answers, _) = ask(&entry).await;
            assert_eq!((count.load(Ordering::Relaxed), answers.is_ok()), (asked, succeeds), "{description}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn retries_are_counted_and_end_before_the_deadline() {
        let (entry_, count) = entry(vec![vec![unreachable()]], "retries = 3");
        assert!(matches!(ask(&entry_).await.0, Err(Error::Unreachable(_))));
        assert_eq!(count.load(Ordering::Relaxed), 4);

        for seconds in [31, u64::MAX] {
            let retry_after = Some(Duration::from_secs(seconds));
            let later = Error::Rejected { status: 503, retry_after, body: ErrorText::new("") };
            let (entry_, count) = entry(vec![vec![Err(later)]], "retries = 3");
            assert!(matches!(ask(&entry_).await.0, Err(Error::Rejected { .. })));
            assert_eq!(count.load(Ordering::Relaxed), 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_whole_answer_has_a_deadline_and_its_first_piece_too() {
        let (silent, _) = entry(vec![vec![]], "first_token_seconds = 3\nretries = 0");
        let start = Instant::now();
        assert!(matches!(ask(&silent).await.0, Err(Error::Timeout(_))));
        assert_eq!(start.elapsed().as_secs(), 3);

        struct Slow;
        impl Bot for Slow {
            fn ask(&self, _: Question) -> Parts {
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
        let (late, heard) = ask(&with_bot(&settings, Box::new(Slow))).await;
        assert!(matches!(late, Err(Error::Timeout(_))), "{late:?}");
        assert_eq!((start.elapsed().as_secs(), heard.len()), (10, 6));
    }

    #[tokio::test(start_paused = true)]
    async fn a_bot_that_keeps_failing_is_left_alone_and_tried_again() {
        let failures = vec![vec![rejected(500)], vec![rejected(500)], vec![answer("back")]];
        let (entry, count) = entry(failures, "breaker_failures = 2");
        for _ in 0..2 {
            assert!(matches!(ask(&entry).await.0, Err(Error::Rejected { .. })));
        }
        assert!(matches!(ask(&entry).await.0, Err(Error::Suspended { .. })));
        assert_eq!(count.load(Ordering::Relaxed), 2);
        sleep(Duration::from_secs(15)).await;
        assert_eq!(ask(&entry).await.0.unwrap(), ["back"]);
        assert!(ask(&entry).await.0.is_ok());
    }

    #[tokio::test]
    async fn one_bad_question_does_not_stop_the_bot_for_others() {
        let (entry, _) = entry(vec![vec![rejected(400)]], "breaker_failures = 1");
        for _ in 0..3 {
            assert!(matches!(ask(&entry).await.0, Err(Error::Rejected { .. })));
        }
    }
}
