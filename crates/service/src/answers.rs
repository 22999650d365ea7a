//! Stores the result of a question: the bot's answers, or its failure. While the database is away the question's task
//! waits with it and tries again; a bound on the bytes that wait keeps memory fixed.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::timeout;
use wicara_bots as bots;
use wicara_bots::{ANSWER_SEPARATOR, tokens};
use wicara_model::{
    AnswerTime, Conversation, Ending, FailureReason, Handler, Message, MessageId, NewMessage, QuestionIds,
};
use wicara_store::{self as store, Append, Ask, HandOverAfter, Outcome, Target};

use crate::pending_answer::{Answered, AskEvent};
use crate::{Error, Missing, Result, Service};

/// How long an idempotency key's lease lasts beyond the bot's deadline: time to store the question and its answer
/// before a retry takes over.
pub(super) const LEASE_BEYOND_DEADLINE: Duration = Duration::from_secs(10);

/// How long the caller waits for an answer that the database does not take. Then it gets `AnswerDelayed`, and the task
/// goes on.
const CALLER_WAIT: Duration = Duration::from_secs(30);
/// Between two attempts to store an answer.
pub(super) const RETRY_PAUSE: Duration = Duration::from_millis(250);
/// The same where the database refuses this append alone, such as by a lock: every attempt makes others wait for that
/// lock too.
const REFUSED_RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Bytes of waiting answers beyond which no new question is admitted. Questions whose bots are already being called may
/// exceed it, by as many answers as the bots' `concurrency` allows.
const MAX_WAITING_BYTES: usize = 64 * 1024 * 1024;
/// What a waiting answer or failure counts for beside its text.
const WAITING_OVERHEAD_BYTES: usize = 1024;

/// How the call of a bot ended.
pub(super) enum Called {
    Answered(Vec<NewMessage>),
    Failed(bots::Error),
    /// Its answers are not wanted any more.
    CutOff,
}

impl Service {
    /// `Unavailable` while too many answers wait for the database.
    pub(super) fn check_answer_backlog(&self) -> Result<()> {
        let waiting = self.waiting_answer_bytes.load(Ordering::Relaxed);
        if waiting >= MAX_WAITING_BYTES { Err(Error::Unavailable) } else { Ok(()) }
    }

    /// Stores the bot's answers, its failure, or what had come until it was cut off, however long that takes. `None` where
    /// the caller has got its result (`AnswerDelayed`) before.
    pub(super) async fn question_store_result(
        &self,
        conversation: Conversation,
        attempt: store::Attempt,
        called: Called,
        (streamed, time): (String, AnswerTime),
        events: &tokens::Sender<AskEvent>,
    ) -> Option<Result<Answered>> {
        let question = QuestionIds::new(&conversation, attempt.question);
        let mut storing = pin!(async {
            // `None`: the answer is not wanted any more, as this node had heard, or as the store says.
            let (stored, text) = match called {
                Called::Answered(answers) => {
                    let stored = self.question_answer(&conversation, attempt, &answers).await?;
                    (stored, joined(answers))
                }
                Called::Failed(error) => {
                    (self.question_fail(&conversation, attempt, &error).await?, streamed)
                }
                Called::CutOff => (None, streamed),
            };
            match stored {
                Some(answered) => Ok(answered),
                None => self.question_cut_off(&conversation, attempt, text, time).await,
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
        messages: &[NewMessage],
    ) -> Result<Option<Answered>> {
        let question = QuestionIds::new(conversation, attempt.question);
        let bytes = messages.iter().map(NewMessage::bytes).sum();
        let hands_over = messages.iter().any(NewMessage::asks_for_people);
        let outcome = self.retry_while_unavailable(bytes, async || {
            let append = Append {
                at: self.clock.now(),
                target: Target::Existing(conversation.id),
                messages: messages.to_vec(),
                ask: Ask::Answers { attempt },
                claim: None,
            };
            match hands_over {
                true => self.store.append_hand_over(append, HandOverAfter::Answer).await,
                false => self.store.append(append).await,
            }
        });
        let outcome = outcome.await?;
        if !matches!(outcome, Outcome::Stopped) {
            self.question_count_ending(conversation, Ending::Answered);
        }
        match outcome {
            Outcome::Stored(stored) => {
                if hands_over {
                    self.answers_stop(conversation.id);
                }
                Ok(Some(answered(conversation, attempt.question, stored.messages, Ending::Answered)))
            }
            Outcome::Gone | Outcome::Claimed(_) | Outcome::Moved => Err(Error::NotFound(Missing::Session)),
            Outcome::Superseded => self.question_answered_elsewhere(question, conversation).await.map(Some),
            Outcome::Stopped => Ok(None),
        }
    }

    /// The result of an attempt that ended before its answers came: what another one has stored.
    pub(super) async fn question_answered_elsewhere(
        &self,
        question: QuestionIds,
        conversation: &Conversation,
    ) -> Result<Answered> {
        // A retry has stored its answers first: the caller gets those. Where they cannot be read now, the question is
        // stored all the same.
        let delayed = |error: store::Error| match error.is_passing() {
            true => Error::AnswerDelayed { question },
            false => error.into(),
        };
        let messages =
            self.store.message_answers(conversation.id, question.question_id).await.map_err(delayed)?;
        if messages.is_empty() {
            return self.question_superseded(question).await.map_err(delayed)?;
        }
        Ok(answered(conversation, question.question_id, messages, Ending::Answered))
    }

    /// The result of an attempt whose answers were dropped although the question has no others: the question was
    /// deleted, its answer was stopped, a human took the conversation over, or a retry is running.
    async fn question_superseded(&self, question: QuestionIds) -> store::Result<Result<Answered>> {
        let Some(stored) = self.store.message_get(question.question_id).await? else {
            return Ok(Err(Error::NotFound(Missing::Session)));
        };
        let is_stopped =
            stored.message.failure.is_some_and(|failure| failure.reason == FailureReason::Stopped);
        Ok(match self.store.conversation_get_by_session(question.session_id).await? {
            None => Err(Error::NotFound(Missing::Session)),
            Some(conversation) if is_stopped => {
                Ok(answered(&conversation, question.question_id, Vec::new(), Ending::Stopped))
            }
            Some(conversation) if conversation.handler == Handler::Human => {
                Ok(answered(&conversation, question.question_id, Vec::new(), Ending::ForPeople))
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
    ) -> Result<Option<Answered>> {
        tracing::warn!(bot = conversation.bot_id, %error, "a bot gave no answer");
        let (at, reason) = (self.clock.now(), error.reason());
        let bot = self.bots.get(&conversation.bot_id);
        let most = bot.map_or(0, bots::ConfiguredBot::handover_after_failures);
        let outcome = self.retry_while_unavailable(0, async || {
            let append = Append {
                at,
                target: Target::Existing(conversation.id),
                messages: Vec::new(),
                ask: Ask::Fails { attempt, reason },
                claim: None,
            };
            match most {
                0 => self.store.append(append).await,
                most => self.store.append_hand_over(append, HandOverAfter::Failures(most)).await,
            }
        });
        match outcome.await? {
            Outcome::Stopped => return Ok(None),
            Outcome::Gone => return Err(Error::NotFound(Missing::Session)),
            _ => self.metrics.question_count(&conversation.bot_id, reason.as_str()),
        }
        self.bot_failed(&conversation.bot_id, reason);
        if most > 0 {
            self.answers_stop(conversation.id);
        }
        let retry_after = error.retry_after();
        let question = QuestionIds::new(conversation, attempt.question);
        Err(Error::BotFailed { question, reason, retry_after })
    }

    /// Calls `store`, which writes `bytes` of text, until the database takes it or refuses it for good.
    ///
    /// Few tasks wait here: where the database is away, no new question is stored, so that no bot is called.
    pub(super) async fn retry_while_unavailable<T, F>(
        &self,
        bytes: usize,
        store: impl Fn() -> F,
    ) -> store::Result<T>
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

pub(super) fn answered(
    conversation: &Conversation,
    question: MessageId,
    answers: Vec<Message>,
    ending: Ending,
) -> Answered {
    let question = QuestionIds::new(conversation, question);
    Answered { question, bot_id: conversation.bot_id.clone(), answers, ending }
}

/// The text of answers as one, as it is streamed.
fn joined(answers: Vec<NewMessage>) -> String {
    let texts: Vec<_> =
        answers.into_iter().map(|answer| answer.text).filter(|text| !text.is_empty()).collect();
    texts.join(ANSWER_SEPARATOR)
}
