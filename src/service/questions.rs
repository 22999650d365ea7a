//! Questions: stored, passed to the bot, and answered. The question is committed before the bot is called,
//! the answer before it is returned.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use uuid::Uuid;

use super::attempts::Attempt;
use super::entries::{MessageEntries, MessageProof};
use super::once::Earlier;
use super::{Asker, Error, Missing, Once, Result, Service};
use crate::bot::tokens;
use crate::bot::{self, Question, Speaker, Turn};
use crate::metrics;
use crate::model::{
    Answer, Conversation, ConversationId, Handler, Message, MessageId, NewConversation, NewMessage, Rule,
    Violation, role,
};
use crate::store::{self, Append, Appended, Ask, Claim, Claimed, IdempotencyKey, Outcome, Target};

/// Where visitors' questions come from, as far as anybody knows.
const INTEGRATION_TYPE: &str = "website";
/// Messages that a visitor gets at once.
const THREAD: i64 = 50;
/// Characters that the key of a visitor's first question has at least: it is all that such a key is unique by.
const MIN_FIRST_KEY: usize = 16;
/// What a request may take beyond its bot's deadline before a retry takes over.
const LEASE_BEYOND_DEADLINE: Duration = Duration::from_secs(10);
/// How long whoever asked waits while the database is away that the answer is to be stored in.
const STORE_PATIENCE: Duration = Duration::from_secs(30);
const STORE_PAUSE: Duration = Duration::from_millis(250);
/// The same where the database refuses this answer alone: each try makes others wait for the row that it meets.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);
/// Bytes of answers that may wait for the database; while so many do, no more questions are taken. Those whose bots are
/// being asked already, as many as `concurrency` allows, may add to them.
const ANSWERS_WAITING_BYTES: usize = 64 * 1024 * 1024;
/// What an answer or a failure counts beside its text.
const ANSWER_OVERHEAD_BYTES: usize = 1024;

#[derive(Debug, Clone)]
pub struct NewQuestion {
    pub text: String,
    pub session_id: Option<Uuid>,
    pub bot_id: Option<String>,
}

/// A question that is stored and being answered, whether anybody waits for it or not.
pub struct Asking {
    pub session_id: Uuid,
    tokens: tokens::Receiver,
    answered: oneshot::Receiver<Result<Answered>>,
    abandoned: CancellationToken,
}

impl Asking {
    /// The next piece of the answer's text as it comes; none where it is there already or a human handles the
    /// conversation.
    pub async fn token(&mut self) -> Option<String> {
        tokio::select! {
            token = self.tokens.next() => token,
            () = self.abandoned.cancelled() => None,
        }
    }

    /// Waits until the answers are stored, or it is clear that there will be none; no longer than the server runs.
    pub async fn answered(self) -> Result<Answered> {
        let Self { session_id, answered, abandoned, .. } = self;
        tokio::select! {
            biased;
            answered = answered => answered.unwrap_or_else(|_| not_carried_out()),
            () = abandoned.cancelled() => Err(Error::Stopping { session_id }),
        }
    }
}

/// What came of a question that is stored.
enum Heard {
    /// It was settled before, or nobody has to answer.
    Settled(Answered),
    Now {
        conversation: Conversation,
        question: Message,
        said: std::result::Result<Vec<Answer>, bot::Error>,
        key: Option<IdempotencyKey>,
    },
}

/// A question's answers, stored.
#[derive(Debug, Clone)]
pub struct Answered {
    pub session_id: Uuid,
    pub bot_id: String,
    /// Empty where a human handles the conversation.
    pub answers: Vec<Message>,
}

/// What a visitor sees of a conversation.
pub struct Thread {
    pub session_id: Uuid,
    pub handler: Handler,
    /// The newest of what was asked for, oldest first, without notes.
    pub messages: MessageEntries,
}

impl Service {
    /// Stores the question and asks the conversation's bot. Returns when the question is stored; the rest goes on to
    /// its end even if the caller is gone.
    pub async fn question_ask(
        self: &Arc<Self>,
        asker: &Asker,
        new: NewQuestion,
        once: Option<Once>,
    ) -> Result<Asking> {
        let place = self.place_to_write()?;
        if self.answers_waiting.load(Ordering::Relaxed) >= ANSWERS_WAITING_BYTES {
            return Err(Error::Unavailable);
        }
        let conversation = match new.session_id {
            Some(session_id) => Some(self.question_conversation(asker, session_id).await?),
            None => None,
        };
        let bot_id = self.question_bot(asker, conversation.as_ref(), new.bot_id)?;
        self.question_admit_in(conversation.as_ref())?;
        let asked = conversation.as_ref().is_none_or(|conversation| conversation.handler == Handler::Bot);
        let at = self.clock.now();
        let deadline = self.bots.get(&bot_id).map(bot::Entry::timeout).unwrap_or_default();
        let attempt = self.attempts.begin(self.random.uuid());
        let claim = match once {
            Some(once) => {
                let lease = asked.then_some(deadline + LEASE_BEYOND_DEADLINE);
                let scope = once_scope(asker, new.session_id, &once)?;
                Some(Claim { lease, attempt: Some(attempt.id), ..once.claim(scope) })
            }
            None => None,
        };
        let target = match conversation {
            Some(conversation) => Target::Existing(conversation.id),
            None => Target::New(NewConversation {
                session_id: self.random.uuid(),
                by_visitor: true,
                room: None,
                integration_type: INTEGRATION_TYPE.into(),
                bot_id,
                user_id: None,
            }),
        };
        let messages = vec![NewMessage::question(new.text)];
        let ask = if asked { Ask::Opens(attempt.id) } else { Ask::No };
        let question = Append { at, target, messages, ask, claim };
        let (stored, session_id) = oneshot::channel();
        let (reply, answered) = oneshot::channel();
        let (sender, tokens) = tokens::channel();
        let service = Arc::clone(self);
        let carried_out = async move {
            let heard = service.question_hear(question, place, stored, sender).await;
            service.question_settle(heard, &attempt, reply).await;
        };
        self.asking.spawn_on(carried_out.in_current_span(), &self.work);
        match session_id.await {
            Ok(session_id) => Ok(Asking { session_id, tokens, answered, abandoned: self.abandoned.clone() }),
            // It ended before the question was stored.
            Err(_) => Err(match answered.await.unwrap_or_else(|_| not_carried_out()) {
                Err(error) => error,
                Ok(_) => Error::Internal("a question was answered but not stored".to_owned()),
            }),
        }
    }

    /// The newest 50 messages before the id `before`.
    pub async fn question_list(
        &self,
        asker: &Asker,
        session_id: Uuid,
        before: Option<MessageId>,
    ) -> Result<Thread> {
        let conversation = self.store.conversation_get_by_session(session_id).await?;
        let conversation = conversation.and_then(|found| asker.join(found));
        let conversation = conversation.ok_or(Error::NotFound(Missing::Session))?;
        let messages = self.store.message_thread(conversation.id, before, THREAD).await?;
        let handler = conversation.handler;
        let proof = MessageProof::Joined(conversation);
        let messages = MessageEntries::new(self.store.clone(), proof, &messages);
        Ok(Thread { session_id, handler, messages })
    }

    /// The conversation that the asker goes on with.
    async fn question_conversation(&self, asker: &Asker, session_id: Uuid) -> Result<Conversation> {
        self.store
            .conversation_get_by_session(session_id)
            .await?
            .filter(|conversation| asker.reaches(conversation))
            .ok_or(Error::NotFound(Missing::Session))
    }

    /// The bot that is asked: the conversation's own, else the one named, else the default.
    fn question_bot(
        &self,
        asker: &Asker,
        conversation: Option<&Conversation>,
        named: Option<String>,
    ) -> Result<String> {
        let unknown = || Err(Error::Invalid(vec![Violation { rule: Rule::Exists, field: "botId" }]));
        if let Some(conversation) = conversation {
            return match named {
                Some(named) if named != conversation.bot_id => unknown(),
                _ => Ok(conversation.bot_id.clone()),
            };
        }
        let bot_id = named.unwrap_or_else(|| self.bots.default_id().to_owned());
        if !asker.sees_bot(&bot_id) {
            return Err(Error::Forbidden);
        }
        match self.bots.get(&bot_id) {
            Some(bot) if asker.is_operator() || bot.is_open_to_visitors() => Ok(bot_id),
            _ => unknown(),
        }
    }

    /// Stores a question, in its place among the writes, and asks the bot. `stored` is told the session in between.
    async fn question_hear(
        &self,
        question: Append,
        place: OwnedSemaphorePermit,
        stored: oneshot::Sender<Uuid>,
        tokens: tokens::Sender,
    ) -> Result<Heard> {
        let key = question.claim.as_ref().map(|claim| claim.key.clone());
        let opened = matches!(question.ask, Ask::Opens(_));
        let existing = match question.target {
            Target::Existing(id) => Some(id),
            Target::New(_) => None,
        };
        let tell = |conversation: &Conversation| {
            // Nobody hears it if the caller has left.
            let _ = stored.send(conversation.session_id);
        };
        let outcome = self.store.append(question).await?;
        drop(place);
        let (conversation, question) = match outcome {
            Outcome::Gone | Outcome::Answered => return Err(Error::NotFound(Missing::Session)),
            Outcome::Stored(appended) if !opened => {
                tell(&appended.conversation);
                self.question_count(&appended.conversation, &Ok(Vec::new()));
                return Ok(Heard::Settled(answered(appended)));
            }
            Outcome::Stored(Appended { conversation, mut messages }) => {
                (conversation, messages.pop().expect("a question is one message"))
            }
            Outcome::Claimed(claimed) => match self.question_repeated(existing, claimed)? {
                Earlier::Done(appended) => {
                    tell(&appended.conversation);
                    return Ok(Heard::Settled(answered(appended)));
                }
                Earlier::Resumed { conversation, question } => (conversation, question),
            },
        };
        tell(&conversation);
        let said = match conversation.handler {
            Handler::Bot => self.question_pass_on(&conversation, &question, &tokens).await,
            // Handed over since the question was first asked: it gets no answer, and no failure.
            Handler::Human => Ok(Vec::new()),
        };
        self.question_count(&conversation, &said);
        Ok(Heard::Now { conversation, question, said, key })
    }

    /// Stores what was heard, however long that takes, also where whoever asked is told to come back.
    async fn question_settle(
        &self,
        heard: Result<Heard>,
        attempt: &Attempt,
        reply: oneshot::Sender<Result<Answered>>,
    ) {
        let (conversation, question, said, key) = match heard {
            Ok(Heard::Now { conversation, question, said, key }) => (conversation, question, said, key),
            Ok(Heard::Settled(answered)) => return drop(reply.send(Ok(answered))),
            Err(error) => return drop(reply.send(Err(error))),
        };
        let session_id = conversation.session_id;
        let attempt = store::Attempt { question: question.id, id: attempt.id };
        let mut settled = pin!(async {
            match said {
                Ok(answers) => self.question_answer(conversation, attempt, answers, key).await,
                Err(error) => self.question_fail(&conversation, attempt, &error).await,
            }
        });
        match timeout(STORE_PATIENCE, &mut settled).await {
            Ok(answered) => drop(reply.send(answered)),
            Err(_) => {
                let _ = reply.send(Err(Error::AnswerDelayed { session_id }));
                let _ = settled.await;
            }
        }
    }

    /// What a retry gets. One for which no bot is asked does not count against the conversation's limit.
    fn question_repeated(&self, existing: Option<ConversationId>, claimed: Claimed) -> Result<Earlier> {
        if let (Some(id), false) = (existing, matches!(claimed, Claimed::Resumed { .. })) {
            self.question_take_back(id);
        }
        self.claimed(claimed)
    }

    /// Asks the bot; no database connection is held meanwhile.
    async fn question_pass_on(
        &self,
        conversation: &Conversation,
        question: &Message,
        tokens: &tokens::Sender,
    ) -> std::result::Result<Vec<Answer>, bot::Error> {
        let Some(bot) = self.bots.get(&conversation.bot_id) else {
            return Err(bot::Error::Unconfigured);
        };
        let asked = Question {
            id: question.id,
            session_id: conversation.session_id,
            text: question.text.clone(),
            history: self.question_history(bot, question).await,
        };
        // A panic in a bot is that question's failure, and no more.
        let heard = AssertUnwindSafe(bot.ask(asked, tokens)).catch_unwind();
        tokio::select! {
            heard = heard => heard.unwrap_or_else(|_| Err(bot::Error::Unreadable("asking for it failed".to_owned()))),
            () = self.interrupted.cancelled() => Err(bot::Error::Interrupted),
        }
    }

    /// What was said before a question, as far as its bot wants to know. A bot that cannot be told is asked all the
    /// same.
    async fn question_history(&self, bot: &bot::Entry, question: &Message) -> Vec<Turn> {
        if bot.history() == 0 || question.seq == 1 {
            return Vec::new();
        }
        let limit = i64::try_from(bot.history()).unwrap_or(i64::MAX);
        let said = self.store.message_history(question.conversation_id, question.id, limit).await;
        let said = said.unwrap_or_else(|error| {
            tracing::warn!(%error, "a bot is asked without what was said before");
            Vec::new()
        });
        let turn = |(role, text): (String, String)| {
            let speaker = if role == role::CLIENT { Speaker::User } else { Speaker::Assistant };
            Turn { speaker, text }
        };
        said.into_iter().map(turn).collect()
    }

    /// Counts how a question ended; a human has the one with neither answers nor a failure.
    fn question_count(
        &self,
        conversation: &Conversation,
        heard: &std::result::Result<Vec<Answer>, bot::Error>,
    ) {
        let outcome = match heard {
            Ok(answers) if answers.is_empty() => metrics::HUMAN,
            Ok(_) => metrics::ANSWERED,
            Err(error) => error.reason().as_str(),
        };
        self.metrics.question_count(&conversation.bot_id, outcome);
    }

    async fn question_answer(
        &self,
        conversation: Conversation,
        attempt: store::Attempt,
        answers: Vec<Answer>,
        key: Option<IdempotencyKey>,
    ) -> Result<Answered> {
        let session_id = conversation.session_id;
        let messages: Vec<_> =
            answers.into_iter().map(|answer| NewMessage::answer(answer, attempt.question)).collect();
        let bytes = messages.iter().map(NewMessage::bytes).sum();
        let stored = self.patiently(bytes, || {
            self.store.append(Append {
                at: self.clock.now(),
                target: Target::Existing(conversation.id),
                messages: messages.clone(),
                ask: Ask::Closes { attempt, key: key.clone() },
                claim: None,
            })
        });
        let conversation = match stored.await? {
            Outcome::Stored(appended) => return Ok(answered(appended)),
            Outcome::Gone | Outcome::Claimed(_) => return Err(Error::NotFound(Missing::Session)),
            Outcome::Answered => conversation,
        };
        // A retry was faster: its answers are the answers. The question is stored, whatever becomes of this read.
        let delayed = |error: store::Error| match error.is_passing() {
            true => Error::AnswerDelayed { session_id },
            false => error.into(),
        };
        let messages =
            self.store.message_answers(conversation.id, attempt.question).await.map_err(delayed)?;
        if messages.is_empty() {
            return self.question_superseded(session_id, attempt.question).await.map_err(delayed)?;
        }
        Ok(answered(Appended { conversation, messages }))
    }

    /// What the caller of an attempt gets whose answers were dropped while there are no others.
    async fn question_superseded(
        &self,
        session_id: Uuid,
        question: MessageId,
    ) -> store::Result<Result<Answered>> {
        if self.store.message_get(question).await?.is_none() {
            return Ok(Err(Error::NotFound(Missing::Session)));
        }
        Ok(match self.store.conversation_get_by_session(session_id).await? {
            None => Err(Error::NotFound(Missing::Session)),
            Some(conversation) if conversation.handler == Handler::Human => {
                Ok(answered(Appended { conversation, messages: Vec::new() }))
            }
            Some(_) => Err(Error::StillRunning { retry_after: LEASE_BEYOND_DEADLINE }),
        })
    }

    async fn question_fail(
        &self,
        conversation: &Conversation,
        attempt: store::Attempt,
        error: &bot::Error,
    ) -> Result<Answered> {
        tracing::warn!(bot = conversation.bot_id, %error, "a bot gave no answer");
        let (at, reason) = (self.clock.now(), error.reason());
        let failed = self.patiently(0, || self.store.question_fail(attempt, reason, at)).await?;
        // A read that fails here changes nothing about the failure that is stored.
        if !failed && matches!(self.store.conversation_get(conversation.id).await, Ok(None)) {
            return Err(Error::NotFound(Missing::Session));
        }
        let retry_after = error.retry_after();
        Err(Error::BotFailed { session_id: conversation.session_id, reason, retry_after })
    }

    /// Stores what a bot has said, `bytes` of it, however long the database is away. Few wait here: a question that
    /// cannot be stored reaches no bot, and none is taken while [`ANSWERS_WAITING_BYTES`] wait.
    async fn patiently<T, F>(&self, bytes: usize, store: impl Fn() -> F) -> store::Result<T>
    where
        F: Future<Output = store::Result<T>>,
    {
        let mut waiting = None;
        loop {
            let place = self.place_to_write_in_turn().await;
            let stored = store().await;
            drop(place);
            match stored {
                Err(error) if error.is_passing() => {
                    tracing::debug!(%error, "an answer waits for the database");
                    waiting.get_or_insert_with(|| WaitingAnswer::begin(&self.answers_waiting, bytes));
                    let refused = matches!(error, store::Error::Refused(_));
                    tokio::time::sleep(if refused { REFUSED_PAUSE } else { STORE_PAUSE }).await;
                }
                stored => return stored,
            }
        }
    }
}

/// An answer that waits for the database, counted with its bytes.
struct WaitingAnswer<'a> {
    waiting: &'a AtomicUsize,
    bytes: usize,
}

impl<'a> WaitingAnswer<'a> {
    fn begin(waiting: &'a AtomicUsize, bytes: usize) -> Self {
        let bytes = bytes + ANSWER_OVERHEAD_BYTES;
        waiting.fetch_add(bytes, Ordering::Relaxed);
        Self { waiting, bytes }
    }
}

impl Drop for WaitingAnswer<'_> {
    fn drop(&mut self) {
        self.waiting.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Why is in the log already, where the panic was: the error itself may quote what was asked.
fn not_carried_out<T>() -> Result<T> {
    Err(Error::Internal("a question was not carried out".to_owned()))
}

fn answered(appended: Appended) -> Answered {
    let Appended { conversation, messages } = appended;
    Answered {
        session_id: conversation.session_id,
        bot_id: conversation.bot_id,
        // A claim that was settled at once remembers the question itself.
        answers: messages.into_iter().filter(|message| message.reply_to.is_some()).collect(),
    }
}

/// A key's scope: the program, else the session, else the key itself.
fn once_scope(asker: &Asker, session_id: Option<Uuid>, once: &Once) -> Result<String> {
    const ROUTE: &str = "POST /api/questions";
    match (asker.caller().id(), session_id) {
        (Some(id), _) => Ok(format!("{id} {ROUTE}")),
        (None, Some(session_id)) => Ok(format!("session {session_id} {ROUTE}")),
        (None, None) if once.key.len() >= MIN_FIRST_KEY => Ok(format!("visitor {ROUTE}")),
        (None, None) => {
            Err(Error::Invalid(vec![Violation { rule: Rule::MinLength, field: "Idempotency-Key" }]))
        }
    }
}
