//! Questions: stored, passed to the bot, and answered. The question is committed before the bot is called,
//! the answer before it is returned.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tracing::Instrument;
use uuid::Uuid;
use wicara_bots as bots;
use wicara_bots::tokens;
use wicara_metrics as metrics;
use wicara_model::{
    Author, AuthorKind, Conversation, ConversationId, Handler, Message, MessageId, NewConversation,
    NewMessage, Rule, Violation, role,
};
use wicara_model::{Question, Speaker, Turn};
use wicara_store::{self as store, Append, Ask, Claim, Claimed, Outcome, Stored, Target};

use crate::asking::{Answered, Asking, Timed, Told, not_carried_out};
use crate::attempts::Attempt;
use crate::entries::{MessageEntries, MessageProof};
use crate::once::Earlier;
use crate::{Asker, Error, Missing, Once, Result, Service};

/// Where visitors' questions come from, as far as anybody knows.
const INTEGRATION_TYPE: &str = "website";
/// How often a question is begun again whose conversation got another bot meanwhile.
const MOVES: usize = 3;
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

/// A question of a conversation that its bot is to answer, or a person.
struct Asked {
    conversation: Conversation,
    question: Message,
}

/// What became of a question when it was stored.
enum Heard {
    Asked(Asked),
    /// A retry of one that has its answers, or one that a person is to answer.
    Answered(Answered),
    Moved,
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
        for _ in 0..MOVES {
            if let Some(asking) = self.question_begin(asker, &new, once.clone()).await? {
                return Ok(asking);
            }
        }
        Err(Error::Unavailable)
    }

    /// `None` where the conversation got another bot meanwhile.
    async fn question_begin(
        self: &Arc<Self>,
        asker: &Asker,
        new: &NewQuestion,
        once: Option<Once>,
    ) -> Result<Option<Asking>> {
        let permit = self.place_to_write()?;
        if self.answers_waiting.load(Ordering::Relaxed) >= ANSWERS_WAITING_BYTES {
            return Err(Error::Unavailable);
        }
        let conversation = match new.session_id {
            Some(session_id) => Some(self.question_conversation(asker, session_id).await?),
            None => None,
        };
        let bot_id = self.question_bot(asker, conversation.as_ref(), new.bot_id.clone())?;
        self.question_admit_in(conversation.as_ref())?;
        let deadline = self.bots.get(&bot_id).map(bots::ConfiguredBot::timeout).unwrap_or_default();
        let attempt = self.attempts.begin(self.random.uuid());
        let claim = match once {
            Some(once) => {
                let scope = once_scope(asker, new.session_id, &once)?;
                let lease = Some(deadline + LEASE_BEYOND_DEADLINE);
                Some(Claim { lease, attempt: Some(attempt.id), ..once.claim(scope) })
            }
            None => None,
        };
        let target = match &conversation {
            Some(conversation) => Target::Existing(conversation.id),
            None => Target::New(NewConversation {
                session_id: self.random.uuid(),
                by_visitor: true,
                room: None,
                integration_type: INTEGRATION_TYPE.into(),
                bot_id: bot_id.clone(),
                user_id: None,
            }),
        };
        let messages = vec![NewMessage::question(new.text.clone())];
        // Whether the bot is asked is decided where the conversation is locked: it may be handed over, or back, meanwhile.
        let ask = Ask::Opens { attempt: attempt.id, bot_id };
        let append = Append { at: self.clock.now(), target, messages, ask, claim };
        let (teller, mut told) = tokens::channel();
        let (service, asker) = (Arc::clone(self), asker.clone());
        let carried_out = async move {
            let ended =
                service.question_carry_out(&asker, append, conversation, permit, &attempt, &teller).await;
            if let Some(ended) = ended {
                teller.send_control(Told::Ended(ended));
            }
        };
        self.asking.spawn_on(carried_out.in_current_span(), &self.work);
        match told.next().await {
            Some(tokens::Event::Control(Told::Stored { session_id })) => {
                Ok(Some(Asking { session_id, told, ended: None, abandoned: self.abandoned.clone() }))
            }
            Some(tokens::Event::Control(Told::Moved)) => Ok(None),
            // It ended before the question was stored.
            Some(tokens::Event::Control(Told::Ended(Err(error)))) => Err(error),
            Some(_) => Err(Error::Internal("a question was answered but not stored".to_owned())),
            None => not_carried_out(),
        }
    }

    /// From storing the question to storing what came of it; `None` where its caller was told already.
    async fn question_carry_out(
        &self,
        asker: &Asker,
        append: Append,
        conversation: Option<Conversation>,
        permit: OwnedSemaphorePermit,
        attempt: &Attempt,
        teller: &tokens::Sender<Told>,
    ) -> Option<Result<Answered>> {
        let heard = match self.question_store(asker, append, conversation, permit).await {
            Ok(heard) => heard,
            Err(error) => return Some(Err(error)),
        };
        let Asked { conversation, question } = match heard {
            Heard::Asked(asked) => asked,
            Heard::Answered(answered) => {
                teller.send_control(Told::Stored { session_id: answered.session_id });
                return Some(Ok(answered));
            }
            Heard::Moved => {
                teller.send_control(Told::Moved);
                return None;
            }
        };
        teller.send_control(Told::Stored { session_id: conversation.session_id });
        let answers = match conversation.handler {
            Handler::Bot => self.question_pass_on(&conversation, &question, teller).await,
            Handler::Human => Ok(Vec::new()),
        };
        self.question_count(&conversation, &answers);
        let attempt = store::Attempt { question: question.id, id: attempt.id };
        self.question_settle(conversation, attempt, answers, teller).await
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

    /// Stores a question, while its permit is held.
    async fn question_store(
        &self,
        asker: &Asker,
        append: Append,
        conversation: Option<Conversation>,
        _permit: OwnedSemaphorePermit,
    ) -> Result<Heard> {
        let existing = conversation.as_ref().map(|conversation| conversation.id);
        let (at, new) = (
            append.at,
            match &append.target {
                Target::New(new) => Some(new.clone()),
                Target::Existing(_) => None,
            },
        );
        match self.store.append(append).await? {
            Outcome::Stored(Stored { conversation_id, handler, mut messages }) => {
                let opened = || new.map(|new| new.open(conversation_id, at));
                let conversation = conversation.or_else(opened).expect("it is known or new");
                let conversation = Conversation { handler, ..conversation };
                if handler == Handler::Human {
                    self.question_count(&conversation, &Ok(Vec::new()));
                    return Ok(Heard::Answered(answered(&conversation, Vec::new())));
                }
                let question = messages.pop().expect("a question is one message");
                Ok(Heard::Asked(Asked { conversation, question }))
            }
            Outcome::Gone | Outcome::Superseded => Err(Error::NotFound(Missing::Session)),
            Outcome::Moved => {
                if let Some(id) = existing {
                    self.question_take_back(id);
                }
                Ok(Heard::Moved)
            }
            Outcome::Claimed(claimed) => {
                // A retry for which no bot is asked does not count against the conversation's limit.
                if let (Some(id), false) = (existing, matches!(claimed, Claimed::Resumed { .. })) {
                    self.question_take_back(id);
                }
                match self.claimed(claimed)? {
                    Earlier::Done { conversation_id, message_id } => {
                        self.question_again(asker, conversation_id, message_id).await.map(Heard::Answered)
                    }
                    Earlier::Resumed { conversation, question } => {
                        Ok(Heard::Asked(Asked { conversation, question }))
                    }
                }
            }
        }
    }

    /// The answers that a question has now, for a retry.
    async fn question_again(
        &self,
        asker: &Asker,
        id: ConversationId,
        question: Option<MessageId>,
    ) -> Result<Answered> {
        let gone = Error::NotFound(Missing::Session);
        let conversation = self.store.conversation_get(id).await?;
        let conversation = conversation.filter(|conversation| asker.reaches(conversation));
        let (Some(conversation), Some(question)) = (conversation, question) else { return Err(gone) };
        if self.store.message_get(question).await?.is_none() {
            return Err(gone);
        }
        let answers = self.store.message_answers(id, question).await?;
        Ok(answered(&conversation, answers))
    }

    /// Stores what came of a question, however long that takes; `None` where its caller was told to come back meanwhile.
    async fn question_settle(
        &self,
        conversation: Conversation,
        attempt: store::Attempt,
        answers: std::result::Result<Vec<NewMessage>, bots::Error>,
        teller: &tokens::Sender<Told>,
    ) -> Option<Result<Answered>> {
        let session_id = conversation.session_id;
        let mut settled = pin!(async {
            match answers {
                Ok(answers) => self.question_answer(&conversation, attempt, answers).await,
                Err(error) => self.question_fail(&conversation, attempt, &error).await,
            }
        });
        match timeout(STORE_PATIENCE, &mut settled).await {
            Ok(settled) => Some(settled),
            Err(_) => {
                teller.send_control(Told::Ended(Err(Error::AnswerDelayed { session_id })));
                let _ = settled.await;
                None
            }
        }
    }

    /// Asks the bot; no database connection is held meanwhile.
    async fn question_pass_on(
        &self,
        conversation: &Conversation,
        question: &Message,
        teller: &tokens::Sender<Told>,
    ) -> std::result::Result<Vec<NewMessage>, bots::Error> {
        let Some(bot) = self.bots.get(&conversation.bot_id) else {
            return Err(bots::Error::Unconfigured);
        };
        let asked = Question {
            id: question.id,
            session_id: conversation.session_id,
            text: question.text.clone(),
            history: self.question_history(bot, question).await,
        };
        let timed = Timed::begin(teller);
        // A panic in a bot is that question's failure, and no more.
        let asking = AssertUnwindSafe(bot.ask(asked, &timed)).catch_unwind();
        let answers = tokio::select! {
            answers = asking => answers.unwrap_or_else(|_| Err(bots::Error::Unreadable("asking for it failed".to_owned())))?,
            () = self.interrupted.cancelled() => return Err(bots::Error::Interrupted),
        };
        let (bot_id, time) = (&conversation.bot_id, timed.end());
        let author = || Author { id: bot_id.clone(), kind: AuthorKind::Bot, name: bot_id.clone() };
        let message = |answer| NewMessage {
            author: Some(author()),
            time: Some(time),
            ..NewMessage::answer(answer, question.id)
        };
        Ok(answers.into_iter().map(message).collect())
    }

    /// What was said before a question, as far as its bot wants to know. A bot that cannot be told is asked all the
    /// same.
    async fn question_history(&self, bot: &bots::ConfiguredBot, question: &Message) -> Vec<Turn> {
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
        answers: &std::result::Result<Vec<NewMessage>, bots::Error>,
    ) {
        let outcome = match answers {
            Ok(answers) if answers.is_empty() => metrics::HUMAN,
            Ok(_) => metrics::ANSWERED,
            Err(error) => error.reason().as_str(),
        };
        self.metrics.question_count(&conversation.bot_id, outcome);
    }

    async fn question_answer(
        &self,
        conversation: &Conversation,
        attempt: store::Attempt,
        messages: Vec<NewMessage>,
    ) -> Result<Answered> {
        let session_id = conversation.session_id;
        let bytes = messages.iter().map(NewMessage::bytes).sum();
        let stored = self.patiently(bytes, || {
            self.store.append(Append {
                at: self.clock.now(),
                target: Target::Existing(conversation.id),
                messages: messages.clone(),
                ask: Ask::Answers { attempt },
                claim: None,
            })
        });
        match stored.await? {
            Outcome::Stored(stored) => return Ok(answered(conversation, stored.messages)),
            Outcome::Gone | Outcome::Claimed(_) | Outcome::Moved => {
                return Err(Error::NotFound(Missing::Session));
            }
            Outcome::Superseded => {}
        }
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
        Ok(answered(conversation, messages))
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
                Ok(answered(&conversation, Vec::new()))
            }
            Some(_) => Err(Error::StillRunning { retry_after: LEASE_BEYOND_DEADLINE }),
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
        let failed = self.patiently(0, || {
            self.store.append(Append {
                at,
                target: Target::Existing(conversation.id),
                messages: Vec::new(),
                ask: Ask::Fails { attempt, reason },
                claim: None,
            })
        });
        if matches!(failed.await?, Outcome::Gone) {
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
                    let refused = matches!(error, store::Error::Refused(_) | store::Error::Locked(_));
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

fn answered(conversation: &Conversation, answers: Vec<Message>) -> Answered {
    Answered { session_id: conversation.session_id, bot_id: conversation.bot_id.clone(), answers }
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
