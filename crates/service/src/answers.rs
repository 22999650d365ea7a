//! Stores the result of a question: the bot's answers, or its failure. While the database is away the question's task
//! waits with it and tries again; a bound on the bytes that wait keeps memory fixed.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::timeout;
use wicara_bots as bots;
use wicara_bots::tokens;
use wicara_model::{Conversation, Handler, Message, MessageId, NewMessage, QuestionIds};
use wicara_store::{self as store, Append, Ask, Outcome, Target};

use crate::pending_answer::{Answered, AskEvent};
use crate::{Error, Missing, Result, Service};

/// How long an idempotency key's lease lasts beyond the bot's deadline: time to store the question and its answer
/// before a retry takes over.
pub(super) const LEASE_BEYOND_DEADLINE: Duration = Duration::from_secs(10);

/// How long the caller waits for an answer that the database does not take. Then it gets `AnswerDelayed`, and the task
/// goes on.
const CALLER_WAIT: Duration = Duration::from_secs(30);
/// Between two attempts to store an answer.
const RETRY_PAUSE: Duration = Duration::from_millis(250);
/// The same where the database refuses this append alone, such as by a lock: every attempt makes others wait for that
/// lock too.
const REFUSED_RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Bytes of waiting answers beyond which no new question is admitted. Questions whose bots are already being called may
/// exceed it, by as many answers as the bots' `concurrency` allows.
const MAX_WAITING_BYTES: usize = 64 * 1024 * 1024;
/// What a waiting answer or failure counts for beside its text.
const WAITING_OVERHEAD_BYTES: usize = 1024;

impl Service {
    /// `Unavailable` while too many answers wait for the database.
    pub(super) fn check_answer_backlog(&self) -> Result<()> {
        let waiting = self.waiting_answer_bytes.load(Ordering::Relaxed);
        if waiting >= MAX_WAITING_BYTES { Err(Error::Unavailable) } else { Ok(()) }
    }

    /// Stores the bot's answers or its failure, however long that takes. `None` where the caller has got its result
    /// (`AnswerDelayed`) before.
    pub(super) async fn question_store_result(
        &self,
        conversation: Conversation,
        attempt: store::Attempt,
        answers: std::result::Result<Vec<NewMessage>, bots::Error>,
        events: &tokens::Sender<AskEvent>,
    ) -> Option<Result<Answered>> {
        let question = QuestionIds::new(&conversation, attempt.question);
        let mut storing = pin!(async {
            match answers {
                Ok(answers) => self.question_answer(&conversation, attempt, answers).await,
                Err(error) => self.question_fail(&conversation, attempt, &error).await,
            }
        });
        match timeout(CALLER_WAIT, &mut storing).await {
            Ok(result) => Some(result),
            Err(_) => {
                events.send_control(AskEvent::Finished(Err(Error::AnswerDelayed { question })));
                let _ = storing.await;
                None
            }
        }
    }

    async fn question_answer(
        &self,
        conversation: &Conversation,
        attempt: store::Attempt,
        messages: Vec<NewMessage>,
    ) -> Result<Answered> {
        let question = QuestionIds::new(conversation, attempt.question);
        let bytes = messages.iter().map(NewMessage::bytes).sum();
        let outcome = self.retry_while_unavailable(bytes, || {
            self.store.append(Append {
                at: self.clock.now(),
                target: Target::Existing(conversation.id),
                messages: messages.clone(),
                ask: Ask::Answers { attempt },
                claim: None,
            })
        });
        match outcome.await? {
            Outcome::Stored(stored) => return Ok(answered(conversation, attempt.question, stored.messages)),
            Outcome::Gone | Outcome::Claimed(_) | Outcome::Moved => {
                return Err(Error::NotFound(Missing::Session));
            }
            Outcome::Superseded | Outcome::Stopped => {}
        }
        // A retry has stored its answers first: the caller gets those. Where they cannot be read now, the question is
        // stored all the same.
        let delayed = |error: store::Error| match error.is_passing() {
            true => Error::AnswerDelayed { question },
            false => error.into(),
        };
        let messages =
            self.store.message_answers(conversation.id, attempt.question).await.map_err(delayed)?;
        if messages.is_empty() {
            return self.question_superseded(question).await.map_err(delayed)?;
        }
        Ok(answered(conversation, attempt.question, messages))
    }

    /// The result of an attempt whose answers were dropped although the question has no others: the question was
    /// deleted, a human took the conversation over, or a retry is running.
    async fn question_superseded(&self, question: QuestionIds) -> store::Result<Result<Answered>> {
        if self.store.message_get(question.question_id).await?.is_none() {
            return Ok(Err(Error::NotFound(Missing::Session)));
        }
        Ok(match self.store.conversation_get_by_session(question.session_id).await? {
            None => Err(Error::NotFound(Missing::Session)),
            Some(conversation) if conversation.handler == Handler::Human => {
                Ok(answered(&conversation, question.question_id, Vec::new()))
            }
            Some(_) => {
                Err(Error::StillRunning { retry_after: LEASE_BEYOND_DEADLINE, question: Some(question) })
            }
        })
    }

    async fn question_fail(
        &self,
        conversation: &Conversation,
        attempt: store::Attempt,
        error: &bots::Error,
    ) -> Result<Answered> {
        tracing::warn!(bot = conversation.bot_id, %error, "a bot gave no answer");
        let (at, reason) = (self.clock.now(), error.reason());
        let outcome = self.retry_while_unavailable(0, || {
            self.store.append(Append {
                at,
                target: Target::Existing(conversation.id),
                messages: Vec::new(),
                ask: Ask::Fails { attempt, reason },
                claim: None,
            })
        });
        if matches!(outcome.await?, Outcome::Gone) {
            return Err(Error::NotFound(Missing::Session));
        }
        let retry_after = error.retry_after();
        let question = QuestionIds::new(conversation, attempt.question);
        Err(Error::BotFailed { question, reason, retry_after })
    }

    /// Calls `store`, which writes `bytes` of text, until the database takes it or refuses it for good.
    ///
    /// Few tasks wait here: where the database is away, no new question is stored, so that no bot is called.
    async fn retry_while_unavailable<T, F>(&self, bytes: usize, store: impl Fn() -> F) -> store::Result<T>
    where
        F: Future<Output = store::Result<T>>,
    {
        let mut waiting = None;
        loop {
            let permit = self.queued_write_permit().await;
            let result = store().await;
            drop(permit);
            match result {
                Err(error) if error.is_passing() => {
                    tracing::debug!(%error, "an answer waits for the database");
                    waiting.get_or_insert_with(|| WaitingAnswer::new(&self.waiting_answer_bytes, bytes));
                    let is_refused = matches!(error, store::Error::Refused(_) | store::Error::Locked(_));
                    tokio::time::sleep(if is_refused { REFUSED_RETRY_PAUSE } else { RETRY_PAUSE }).await;
                }
                result => return result,
            }
        }
    }
}

/// Counts the bytes of an answer that waits for the database, until it is dropped.
struct WaitingAnswer<'a> {
    total: &'a AtomicUsize,
    bytes: usize,
}

impl<'a> WaitingAnswer<'a> {
    fn new(total: &'a AtomicUsize, bytes: usize) -> Self {
        let bytes = bytes + WAITING_OVERHEAD_BYTES;
        total.fetch_add(bytes, Ordering::Relaxed);
        Self { total, bytes }
    }
}

impl Drop for WaitingAnswer<'_> {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

pub(super) fn answered(conversation: &Conversation, question: MessageId, answers: Vec<Message>) -> Answered {
    let question = QuestionIds::new(conversation, question);
    Answered { question, bot_id: conversation.bot_id.clone(), answers }
}
