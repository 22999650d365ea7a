//! What the task that carries a question out and its caller have between them: one channel, on which the task tells that
//! the question is stored, the text as it comes, and how it ended.

use std::sync::OnceLock;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wicara_bots::tokens;
use wicara_model::{AnswerTime, Message};

use crate::{Error, Result};

/// What the task of a question tells its caller: one of the first three, text, and how it ended.
pub(super) enum Told {
    Stored {
        session_id: Uuid,
    },
    /// The conversation has another bot now: nothing was stored.
    Moved,
    Ended(Result<Answered>),
}

/// A question that is stored and being answered, whether its caller waits for it or not.
pub struct Asking {
    pub session_id: Uuid,
    pub(super) told: tokens::Receiver<Told>,
    pub(super) ended: Option<Result<Answered>>,
    pub(super) abandoned: CancellationToken,
}

impl Asking {
    /// The next piece of the answer's text as it comes; none where it is there already or a human handles the
    /// conversation.
    pub async fn token(&mut self) -> Option<String> {
        match self.next().await {
            Some(tokens::Event::Text(text)) => Some(text),
            Some(tokens::Event::Control(Told::Ended(ended))) => {
                self.ended = Some(ended);
                None
            }
            Some(tokens::Event::Control(_)) | None => None,
        }
    }

    /// Waits until the answers are stored, or it is clear that there will be none; no longer than the server runs.
    pub async fn answered(mut self) -> Result<Answered> {
        loop {
            if let Some(ended) = self.ended {
                return ended;
            }
            match self.next().await {
                Some(tokens::Event::Control(Told::Ended(ended))) => return ended,
                Some(_) => {}
                None if self.abandoned.is_cancelled() => {
                    return Err(Error::Stopping { session_id: self.session_id });
                }
                None => return not_carried_out(),
            }
        }
    }

    async fn next(&mut self) -> Option<tokens::Event<Told>> {
        tokio::select! {
            biased;
            event = self.told.next() => event,
            () = self.abandoned.cancelled() => None,
        }
    }
}

/// A question's answers, stored.
#[derive(Debug, Clone)]
pub struct Answered {
    pub session_id: Uuid,
    pub bot_id: String,
    /// Empty where a human handles the conversation.
    pub answers: Vec<Message>,
}

/// Why is in the log already, where the panic was: the error itself may quote what was asked.
pub(super) fn not_carried_out<T>() -> Result<T> {
    Err(Error::Internal("a question was not carried out".to_owned()))
}

/// Passes a bot's text on and remembers how long it took.
pub(super) struct Timed<'a> {
    teller: &'a tokens::Sender<Told>,
    begin: Instant,
    first: OnceLock<Duration>,
}

impl<'a> Timed<'a> {
    pub fn begin(teller: &'a tokens::Sender<Told>) -> Self {
        Self { teller, begin: Instant::now(), first: OnceLock::new() }
    }

    pub fn end(&self) -> AnswerTime {
        let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        AnswerTime {
            first_token_ms: self.first.get().copied().map(millis),
            answer_ms: millis(self.begin.elapsed()),
        }
    }
}

impl tokens::Sink for Timed<'_> {
    fn send(&self, text: &str) {
        self.first.get_or_init(|| self.begin.elapsed());
        self.teller.send(text);
    }
}
