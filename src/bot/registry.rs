//! The configured bots, and the rules that hold for each of them whatever its kind: how many calls at once, how long
//! a call may wait and take, how large its answers may be.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::stream::StreamExt;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::model::Answer;

use super::{Bot, Error, Kind, Question, Settings, documents, http};

/// How long a question waits for a place among a bot's calls before it is refused.
const QUEUE_WAIT: Duration = Duration::from_secs(5);
/// Answers to one question: each is stored as a message of its own.
const MAX_ANSWERS: usize = 100;

/// The bots by id.
pub struct Registry {
    entries: BTreeMap<String, Entry>,
    default_id: String,
}

impl Registry {
    /// Makes every bot ready to be asked. The error is for the operator: it names the bot and what is wrong with it.
    ///
    /// `guide_base` is where the pages of the built-in guide are shown: links of its answers begin with it.
    pub fn new(settings: Vec<Settings>, guide_base: &str) -> Result<Self, String> {
        let default_id = check(&settings)?.to_owned();
        let mut entries = BTreeMap::new();
        for settings in settings {
            let entry = Entry::new(&settings, guide_base)
                .map_err(|error| format!("the bot {:?}: {error}", settings.id))?;
            entries.insert(settings.id, entry);
        }
        Ok(Self { entries, default_id })
    }

    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Entry> {
        self.entries.get(id)
    }

    #[must_use]
    pub fn default_id(&self) -> &str {
        &self.default_id
    }
}

/// Whether these bots can stand side by side; if so, the default one's id.
pub fn check(settings: &[Settings]) -> Result<&str, String> {
    for (place, bot) in settings.iter().enumerate() {
        if settings[..place].iter().any(|other| other.id == bot.id) {
            return Err(format!("two bots have the id {:?}; each needs its own", bot.id));
        }
    }
    let defaults: Vec<&str> = settings.iter().filter(|bot| bot.default).map(|bot| bot.id.as_str()).collect();
    match defaults.as_slice() {
        [id] => Ok(id),
        [] if settings.is_empty() => Err("there is no bot; add a [[bot]] with default = true".to_owned()),
        [] => Err(format!(
            "no bot is the default; set default = true on exactly one of {}",
            settings.iter().map(|bot| bot.id.as_str()).collect::<Vec<_>>().join(", ")
        )),
        several => Err(format!(
            "exactly one bot is the default, but default = true stands on {}",
            several.join(", ")
        )),
    }
}

/// One bot with its limits.
pub struct Entry {
    bot: Box<dyn Bot>,
    open_to_visitors: bool,
    timeout: Duration,
    max_answer_bytes: usize,
    /// One permit a call.
    places: Semaphore,
    /// One permit a question that waits for a place.
    queue: Semaphore,
}

impl Entry {
    fn new(settings: &Settings, guide_base: &str) -> Result<Self, String> {
        let bot: Box<dyn Bot> = match &settings.kind {
            Kind::Documents(own) => Box::new(documents::Documents::new(&settings.id, own, guide_base)?),
            Kind::Http(own) => Box::new(http::Http::new(own, settings.max_answer_bytes)?),
        };
        Ok(Self::with_bot(settings, bot))
    }

    fn with_bot(settings: &Settings, bot: Box<dyn Bot>) -> Self {
        Self {
            bot,
            open_to_visitors: settings.public || settings.default,
            timeout: settings.timeout,
            max_answer_bytes: settings.max_answer_bytes,
            places: Semaphore::new(settings.concurrency),
            queue: Semaphore::new(settings.concurrency),
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

    /// Asks the bot and waits for all its answers: at least one. Dropping the future frees its place.
    pub async fn ask(&self, question: Question) -> Result<Vec<Answer>, Error> {
        let _place = self.place().await?;
        timeout(self.timeout, self.collect(question)).await.unwrap_or(Err(Error::Timeout(self.timeout)))
    }

    async fn place(&self) -> Result<SemaphorePermit<'_>, Error> {
        if let Ok(place) = self.places.try_acquire() {
            return Ok(place);
        }
        let _waiting = self.queue.try_acquire().map_err(|_| Error::Busy)?;
        match timeout(QUEUE_WAIT, self.places.acquire()).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(Error::Busy),
        }
    }

    async fn collect(&self, question: Question) -> Result<Vec<Answer>, Error> {
        let mut stream = self.bot.ask(question);
        let mut answers = Vec::new();
        let mut bytes = 0;
        while let Some(answer) = stream.next().await {
            let answer = answer?;
            bytes += answer.payload.as_ref().map_or(answer.text.len(), |payload| payload.as_str().len());
            if answers.len() == MAX_ANSWERS {
                return Err(Error::Unreadable(format!("it has more than {MAX_ANSWERS} parts")));
            }
            if bytes > self.max_answer_bytes {
                return Err(Error::too_large(self.max_answer_bytes));
            }
            answers.push(answer);
        }
        if answers.is_empty() {
            return Err(Error::Unreadable("it is an empty list".to_owned()));
        }
        Ok(answers)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Poll;

    use futures_util::stream;
    use futures_util::{FutureExt, poll};

    use super::*;
    use crate::bot::Answers;

    fn settings(id: &str, more: &str) -> Settings {
        let text = format!("id = '{id}'\nkind = 'http'\nurl = 'http://localhost'\n{more}");
        Settings::from_table(text.parse().unwrap()).unwrap()
    }

    /// Answers with these texts; with none, never.
    struct Fixed(Vec<&'static str>, Arc<AtomicUsize>);

    impl Bot for Fixed {
        fn ask(&self, _: Question) -> Answers {
            self.1.fetch_add(1, Ordering::Relaxed);
            if self.0.is_empty() {
                return stream::pending().boxed();
            }
            stream::iter(self.0.clone()).map(|text| Ok(Answer::text(text))).boxed()
        }
    }

    fn entry(texts: &[&'static str], more: &str) -> (Entry, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let bot = Fixed(texts.to_vec(), Arc::clone(&asked));
        (Entry::with_bot(&settings("a", more), Box::new(bot)), asked)
    }

    fn question() -> Question {
        Question { id: crate::model::MessageId(1), session_id: uuid::Uuid::nil(), text: "?".to_owned() }
    }

    #[tokio::test]
    async fn an_answer_of_too_many_parts_is_none() {
        let (bot, _) = entry(&["x"; MAX_ANSWERS], "");
        assert_eq!(bot.ask(question()).await.unwrap().len(), MAX_ANSWERS);
        let (bot, _) = entry(&["x"; MAX_ANSWERS + 1], "");
        let refused = bot.ask(question()).await;
        assert!(matches!(refused, Err(Error::Unreadable(_))), "{refused:?}");
    }

    #[test]
    fn exactly_one_bot_is_the_default_and_ids_are_unique() {
        let registry = Registry::new(
            vec![settings("a", "public = true"), settings("b", "default = true"), settings("c", "")],
            "",
        )
        .unwrap();
        assert_eq!(registry.default_id(), "b");
        let open = ["a", "b", "c"].map(|id| registry.get(id).unwrap().is_open_to_visitors());
        assert_eq!(open, [true, true, false]);
        assert!(registry.get("d").is_none());

        for (bots, expected) in [
            (vec![], "there is no bot"),
            (vec![settings("a", "")], "no bot is the default; set default = true on exactly one of a"),
            (
                vec![settings("a", "default = true"), settings("b", "default = true")],
                "exactly one bot is the default, but default = true stands on a, b",
            ),
            (vec![settings("a", "default = true"), settings("a", "")], "two bots have the id \"a\""),
        ] {
            let error = Registry::new(bots, "").err().unwrap();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[tokio::test]
    async fn a_question_beyond_the_places_waits_and_one_beyond_the_queue_is_refused() {
        let (entry, asked) = entry(&[], "concurrency = 1");
        let mut first = entry.ask(question()).boxed();
        assert!(poll!(&mut first).is_pending());
        let mut second = entry.ask(question()).boxed();
        assert!(poll!(&mut second).is_pending());
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        assert!(matches!(poll!(entry.ask(question()).boxed()), Poll::Ready(Err(Error::Busy))));

        drop(first);
        assert!(poll!(&mut second).is_pending());
        assert_eq!(asked.load(Ordering::Relaxed), 2);

        drop(second);
        assert!(poll!(entry.ask(question()).boxed()).is_pending());
        assert_eq!(asked.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn all_answers_together_stay_under_the_limit() {
        let half = "x".repeat(512).leak();
        let limit = "max_answer_bytes = 1024";
        assert_eq!(entry(&[half, half], limit).0.ask(question()).await.unwrap().len(), 2);
        let error = entry(&[half, half, "x"], limit).0.ask(question()).await.unwrap_err();
        assert!(matches!(error, Error::Unreadable(_)), "{error}");
    }
}
