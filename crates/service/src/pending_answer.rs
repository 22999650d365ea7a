//! The channel between the task that carries a question out and its caller. In order: the question is stored, the text
//! of the answer as the bot writes it, the result.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wicara_bots::tokens;
use wicara_model::{AnswerTime, Ending, Message, QuestionIds};

use crate::feed::ShownAnswer;
use crate::{Error, Result};

/// What a question's task tells its caller beside text.
pub(super) enum AskEvent {
    /// The question is committed. Text and `Finished` follow.
    Stored(QuestionIds),
    /// The conversation got another bot since it was read. Nothing was stored, and nothing follows.
    BotChanged,
    /// The result. Comes first where the question could not be stored.
    Finished(Result<Answered>),
}

/// A stored question whose answer is on its way. The task goes on where this is dropped.
pub struct PendingAnswer {
    pub question: QuestionIds,
    pub(super) events: tokens::Receiver<AskEvent>,
    pub(super) result: Option<Result<Answered>>,
    pub(super) abandoned: CancellationToken,
}

impl PendingAnswer {
    /// The next text of the answer; `None` after the last. There is no text for a question that was answered before,
    /// nor while a human handles the conversation.
    pub async fn token(&mut self) -> Option<String> {
        match self.next().await {
            Some(tokens::Event::Text(text)) => Some(text),
            Some(tokens::Event::Control(AskEvent::Finished(result))) => {
                self.result = Some(result);
                None
            }
            Some(tokens::Event::Control(_)) | None => None,
        }
    }

    /// Waits until the answers are stored or have failed. `Stopping` where the server stops before that.
    pub async fn answered(mut self) -> Result<Answered> {
        loop {
            if let Some(result) = self.result {
                return result;
            }
            match self.next().await {
                Some(tokens::Event::Control(AskEvent::Finished(result))) => return result,
                Some(_) => {}
                None if self.abandoned.is_cancelled() => {
                    return Err(Error::Stopping { question: self.question });
                }
                None => return task_panicked(),
            }
        }
    }

    async fn next(&mut self) -> Option<tokens::Event<AskEvent>> {
        tokio::select! {
            biased;
            event = self.events.next() => event,
            () = self.abandoned.cancelled() => None,
        }
    }
}

/// A question's answers, stored.
#[derive(Debug, Clone)]
pub struct Answered {
    pub question: QuestionIds,
    pub bot_id: String,
    /// Empty while a human handles the conversation.
    pub answers: Vec<Message>,
    pub ending: Ending,
}

/// The question's task ended without a result. The panic hook has logged where; the panic's message is left out here,
/// since it may quote the question.
pub(super) fn task_panicked<T>() -> Result<T> {
    Err(Error::Internal("a question was not carried out".to_owned()))
}

/// Passes a bot's text on to its caller and to streams of the feed, keeps it, and measures the time to its first token and
/// to its end.
pub(super) struct TimedSink<'a> {
    events: &'a tokens::Sender<AskEvent>,
    shown: ShownAnswer<'a>,
    start: Instant,
    first_token: OnceLock<Duration>,
    /// All text so far: what is stored of an answer that is stopped.
    text: Mutex<String>,
}

impl<'a> TimedSink<'a> {
    pub fn start(events: &'a tokens::Sender<AskEvent>, shown: ShownAnswer<'a>) -> Self {
        Self { events, shown, start: Instant::now(), first_token: OnceLock::new(), text: Mutex::default() }
    }

    /// Ends what streams are shown; returns all text, and the time that it took.
    pub fn finish(self) -> (String, AnswerTime) {
        let time = self.elapsed();
        (self.text.into_inner().unwrap_or_else(PoisonError::into_inner), time)
    }

    pub fn elapsed(&self) -> AnswerTime {
        let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        AnswerTime {
            first_token_ms: self.first_token.get().copied().map(millis),
            answer_ms: millis(self.start.elapsed()),
        }
    }
}

impl tokens::Sink for TimedSink<'_> {
    fn send(&self, text: &str) {
        self.first_token.get_or_init(|| self.start.elapsed());
        self.text.lock().unwrap_or_else(PoisonError::into_inner).push_str(text);
        self.events.send(text);
        self.shown.push(text);
    }
}
