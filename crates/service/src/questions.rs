//! Questions: stored, passed to the bot, and answered. The question is committed before the bot is called, the answer
//! before it is returned.
//!
//! From the commit on the work runs in a task of its own, so that a client that disconnects does not stop it. Task and
//! caller share the channel of [`crate::pending_answer`]; [`crate::answers`] stores the result.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::OwnedSemaphorePermit;
use tracing::Instrument;
use uuid::Uuid;
use wicara_bots as bots;
use wicara_bots::tokens;
use wicara_metrics as metrics;
use wicara_model::{
    Author, Conversation, ConversationId, Ending, FailureReason, Handler, Message, MessageId,
    NewConversation, NewMessage, Question, QuestionIds,
};
use wicara_store::{self as store, Append, Ask, Claim, Outcome, PriorClaim, Reopened, Stored, Target};

use crate::answers::{Called, LEASE_BEYOND_DEADLINE, answered};
use crate::attempts::Attempt;
use crate::entries::ConversationMessages;
use crate::error::NotAskable;
use crate::handover::VisitorConversation;
use crate::idempotency::PriorRequest;
use crate::pending_answer::{Answered, AskEvent, PendingAnswer, TimedSink, task_panicked};
use crate::question_admission::idempotency_scope;
use crate::{Asker, Error, IdempotencyRequest, Missing, Result, Service, Writable};

/// The integration type of conversations that a question opens, where the request does not say which client it comes
/// from.
const INTEGRATION_TYPE: &str = "website";
/// Attempts to store a question whose conversation gets another bot each time.
const BOT_CHANGES: usize = 3;
/// Messages on one page of a visitor's thread.
const THREAD: i64 = 50;

#[derive(Debug, Clone)]
pub struct NewQuestion {
    pub text: String,
    pub session_id: Option<Uuid>,
    pub bot_id: Option<String>,
    /// Counts where the asker may say it ([`Asker::may_describe`]) and a conversation is opened.
    pub description: Description,
}

/// Where a new conversation comes from, as the program says that asks for somebody. `None`: as for a visitor.
#[derive(Debug, Clone, Default)]
pub struct Description {
    pub integration_type: Option<String>,
    pub user_id: Option<String>,
    pub room: Option<String>,
}

/// A stored question that has no answer yet.
struct StoredQuestion {
    conversation: Conversation,
    question: Message,
}

enum StoreOutcome {
    Stored(StoredQuestion),
    /// No bot is called: it is a retry of a question that has its answers, or a human handles the conversation.
    Answered(Answered),
    BotChanged,
}

/// A conversation as its visitor sees it.
pub struct Thread {
    pub conversation: VisitorConversation,
    /// Whether the visitor is told the names of those who answer.
    pub shows_names: bool,
    /// One page, oldest first, without notes.
    pub messages: ConversationMessages,
}

impl Service {
    /// Stores the question and calls the conversation's bot. Returns when the question is stored; the rest runs to its
    /// end even if the caller is gone.
    ///
    /// `found`: gets the conversation that the question goes on with before limits and the store may refuse it.
    pub async fn question_ask(
        self: &Arc<Self>,
        asker: &Asker,
        new: NewQuestion,
        idempotency: Option<IdempotencyRequest>,
        found: &(dyn Fn(ConversationId) + Sync),
    ) -> Result<PendingAnswer> {
        for _ in 0..BOT_CHANGES {
            if let Some(pending) = self.question_begin(asker, &new, idempotency.clone(), found).await? {
                return Ok(pending);
            }
        }
        Err(Error::Unavailable)
    }

    /// `None` where the conversation got another bot between its look-up and the commit.
    async fn question_begin(
        self: &Arc<Self>,
        asker: &Asker,
        new: &NewQuestion,
        idempotency: Option<IdempotencyRequest>,
        found: &(dyn Fn(ConversationId) + Sync),
    ) -> Result<Option<PendingAnswer>> {
        let permit = self.write_permit()?;
        self.check_answer_backlog()?;
        let conversation = match new.session_id {
            Some(session_id) => Some(self.question_conversation(asker, session_id).await?),
            None => None,
        };
        if let Some(conversation) = &conversation {
            found(conversation.id);
        }
        let bot_id = self.question_bot(asker, conversation.as_ref(), new.bot_id.clone())?;
        self.check_page(asker, &bot_id)?;
        self.question_admit_in(conversation.as_ref())?;
        let deadline = self.bots.get(&bot_id).map(bots::ConfiguredBot::timeout).unwrap_or_default();
        let known = conversation.as_ref().map(|conversation| conversation.id);
        let attempt = self.attempts.begin(self.random.uuid(), known);
        let claim = match idempotency {
            Some(idempotency) => {
                let scope = idempotency_scope(asker, new.session_id, &idempotency)?;
                let lease = Some(deadline + LEASE_BEYOND_DEADLINE);
                Some(Claim { lease, attempt: Some(attempt.id), ..idempotency.claim(scope) })
            }
            None => None,
        };
        let target = match &conversation {
            Some(conversation) => Target::Existing(conversation.id),
            None => {
                let description = asker.may_describe().then(|| new.description.clone());
                let Description { integration_type, user_id, room } = description.unwrap_or_default();
                Target::New(NewConversation {
                    session_id: self.random.uuid(),
                    by_visitor: true,
                    room,
                    integration_type: integration_type.unwrap_or_else(|| INTEGRATION_TYPE.into()),
                    bot_id: bot_id.clone(),
                    user_id,
                })
            }
        };
        let messages = vec![NewMessage::question(new.text.clone())];
        // The transaction decides under the conversation's lock whether the bot is called: the conversation may be
        // handed over to a human, or back, before the lock is taken.
        let ask = Ask::Opens { attempt: attempt.id, bot_id };
        let append = Append { at: self.clock.now(), target, messages, ask, claim };
        let (sender, mut events) = tokens::channel();
        let (service, asker) = (Arc::clone(self), asker.clone());
        let task = async move {
            let result = service.question_run(&asker, append, conversation, permit, &attempt, &sender).await;
            if let Some(result) = result {
                sender.send_control(AskEvent::Finished(result));
            }
        };
        self.question_tasks.spawn_on(task.in_current_span(), &self.question_runtime);
        match events.next().await {
            Some(tokens::Event::Control(AskEvent::Stored(question))) => {
                let abandoned = self.abandoned.clone();
                Ok(Some(PendingAnswer { question, events, result: None, abandoned }))
            }
            Some(tokens::Event::Control(AskEvent::BotChanged)) => Ok(None),
            // The question could not be stored.
            Some(tokens::Event::Control(AskEvent::Finished(Err(error)))) => Err(error),
            Some(_) => Err(Error::Internal("a question was answered but not stored".to_owned())),
            None => task_panicked(),
        }
    }

    /// The question's task: stores the question, calls the bot, stores the result and returns it. `None` where the
    /// caller needs no `Finished` any more.
    async fn question_run(
        &self,
        asker: &Asker,
        append: Append,
        conversation: Option<Conversation>,
        permit: OwnedSemaphorePermit,
        running: &Attempt,
        events: &tokens::Sender<AskEvent>,
    ) -> Option<Result<Answered>> {
        let outcome = match self.question_store(asker, append, conversation, permit).await {
            Ok(outcome) => outcome,
            Err(error) => return Some(Err(error)),
        };
        let StoredQuestion { conversation, question } = match outcome {
            StoreOutcome::Stored(stored) => stored,
            StoreOutcome::Answered(answered) => {
                events.send_control(AskEvent::Stored(answered.question));
                return Some(Ok(answered));
            }
            StoreOutcome::BotChanged => {
                events.send_control(AskEvent::BotChanged);
                return None;
            }
        };
        running.is_in(conversation.id);
        events.send_control(AskEvent::Stored(QuestionIds::new(&conversation, question.id)));
        self.question_carry_out(conversation, question, running, events).await
    }

    /// Calls the bot for a stored question, stores the result and returns it. `None` as for [`Service::question_run`].
    async fn question_carry_out(
        &self,
        conversation: Conversation,
        question: Message,
        running: &Attempt,
        events: &tokens::Sender<AskEvent>,
    ) -> Option<Result<Answered>> {
        let attempt = store::Attempt { question: question.id, id: running.id };
        let shown = self.answer_show(conversation.id, question.id, &conversation.bot_id);
        let sink = TimedSink::start(events, shown);
        let called = tokio::select! {
            answers = self.question_call_bot(&conversation, &question, &sink) => {
                answers.map_or_else(Called::Failed, Called::Answered)
            }
            () = self.answers_unwanted(running, conversation.id, attempt) => Called::CutOff,
        };
        let streamed = sink.finish();
        self.question_store_result(conversation, attempt, called, streamed, events).await
    }

    /// Asks the bot of a stored question that has no answer. Returns the question when the attempt has begun; the answer is
    /// stored when it comes. `NotAskable` while a bot is asked already, while people have the conversation, and where the
    /// question was answered.
    pub async fn message_ask(self: &Arc<Self>, message: Writable<Message>) -> Result<Message> {
        self.check_answer_backlog()?;
        let (id, conversation_id) = (message.id, message.conversation_id);
        let attempt = self.attempts.begin(self.random.uuid(), Some(conversation_id));
        let (conversation, question) =
            match self.store.question_reopen(conversation_id, id, attempt.id).await? {
                Reopened::Opened(opened) => *opened,
                Reopened::Running => return Err(Error::NotAskable(NotAskable::Running)),
                Reopened::WithPeople => return Err(Error::NotAskable(NotAskable::WithPeople)),
                Reopened::Answered => return Err(Error::NotAskable(NotAskable::Answered)),
                Reopened::Gone => return Err(Error::NotFound(Missing::Message)),
            };
        let (service, asked) = (Arc::clone(self), question.clone());
        let task = async move {
            // Nobody waits for the answer here: the feed tells of it.
            let (sender, _) = tokens::channel();
            let _ = service.question_carry_out(conversation, asked, &attempt, &sender).await;
        };
        self.question_tasks.spawn_on(task.in_current_span(), &self.question_runtime);
        Ok(question)
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
        self.check_page(asker, &conversation.bot_id)?;
        let messages = self.store.message_thread(conversation.id, before, THREAD).await?;
        let messages = ConversationMessages::of_joined(self.store.clone(), &conversation, messages);
        let shows_names = self.shows_names();
        Ok(Thread { conversation: self.visitor_conversation(&conversation), shows_names, messages })
    }

    /// The conversation that the asker continues.
    pub(super) async fn question_conversation(
        &self,
        asker: &Asker,
        session_id: Uuid,
    ) -> Result<Conversation> {
        let conversation = self
            .store
            .conversation_get_by_session(session_id)
            .await?
            .filter(|conversation| asker.reaches(conversation))
            .ok_or(Error::NotFound(Missing::Session))?;
        self.check_page(asker, &conversation.bot_id)?;
        Ok(conversation)
    }

    /// Stores a question. The permit is held until the commit.
    async fn question_store(
        &self,
        asker: &Asker,
        append: Append,
        conversation: Option<Conversation>,
        _permit: OwnedSemaphorePermit,
    ) -> Result<StoreOutcome> {
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
                let question = messages.pop().expect("a question is one message");
                if handler == Handler::Human {
                    let ending = Ending::ForPeople;
                    self.question_count_ending(&conversation, ending);
                    return Ok(StoreOutcome::Answered(answered(
                        &conversation,
                        question.id,
                        Vec::new(),
                        ending,
                    )));
                }
                Ok(StoreOutcome::Stored(StoredQuestion { conversation, question }))
            }
            Outcome::Gone | Outcome::Superseded | Outcome::Stopped => Err(Error::NotFound(Missing::Session)),
            Outcome::Moved => {
                if let Some(id) = existing {
                    self.question_refund(id);
                }
                Ok(StoreOutcome::BotChanged)
            }
            Outcome::Claimed(prior) => {
                // A retry counts against the conversation's limit only where its bot is called again.
                if let (Some(id), false) = (existing, matches!(prior, PriorClaim::Resumed { .. })) {
                    self.question_refund(id);
                }
                if let (None, PriorClaim::Running { lease_left, stored: Some(stored) }) = (existing, &prior) {
                    return Err(self.question_running(asker, *stored, *lease_left).await?);
                }
                match PriorRequest::of(prior)? {
                    PriorRequest::Done { conversation_id, message_id, ending } => self
                        .question_replay(asker, conversation_id, message_id, ending)
                        .await
                        .map(StoreOutcome::Answered),
                    PriorRequest::Resumed { conversation, question } => {
                        Ok(StoreOutcome::Stored(StoredQuestion { conversation, question }))
                    }
                }
            }
        }
    }

    /// What a retry of a first question is told while that is being answered: also its session, which the client may
    /// not have got.
    async fn question_running(
        &self,
        asker: &Asker,
        (id, question): (ConversationId, MessageId),
        retry_after: Duration,
    ) -> Result<Error> {
        let conversation = self.store.conversation_get(id).await?;
        let conversation = conversation.filter(|conversation| asker.reaches(conversation));
        let question = conversation.map(|conversation| QuestionIds::new(&conversation, question));
        Ok(Error::StillRunning { retry_after, question })
    }

    /// The answers that a question has now, for a retry.
    async fn question_replay(
        &self,
        asker: &Asker,
        id: ConversationId,
        question: Option<MessageId>,
        ending: Ending,
    ) -> Result<Answered> {
        let gone = Error::NotFound(Missing::Session);
        let conversation = self.store.conversation_get(id).await?;
        let conversation = conversation.filter(|conversation| asker.reaches(conversation));
        let (Some(conversation), Some(question)) = (conversation, question) else { return Err(gone) };
        if self.store.message_get(question).await?.is_none() {
            return Err(gone);
        }
        let answers = self.store.message_answers(id, question).await?;
        Ok(answered(&conversation, question, answers, ending))
    }

    /// Calls the bot. No database connection is held meanwhile.
    async fn question_call_bot(
        &self,
        conversation: &Conversation,
        question: &Message,
        sink: &TimedSink<'_>,
    ) -> std::result::Result<Vec<NewMessage>, bots::Error> {
        let Some(bot) = self.bots.get(&conversation.bot_id) else {
            return Err(bots::Error::Unconfigured);
        };
        let request = Question {
            id: question.id,
            session_id: conversation.session_id,
            text: question.text.clone(),
            history: self.question_history(bot, conversation, question).await,
        };
        // A panic in a bot fails this question alone.
        let call = AssertUnwindSafe(bot.ask(request, sink)).catch_unwind();
        let answers = tokio::select! {
            answers = call => answers.unwrap_or_else(|_| Err(bots::Error::Unreadable("asking for it failed".to_owned())))?,
            () = self.interrupted.cancelled() => return Err(bots::Error::Interrupted),
        };
        let (bot_id, time) = (&conversation.bot_id, sink.elapsed());
        let message = |answer| NewMessage {
            author: Some(Author::bot(bot_id)),
            time: Some(time),
            ..NewMessage::answer(answer, question.id)
        };
        Ok(answers.into_iter().map(message).collect())
    }

    /// Counts a question in the metrics by its outcome, unless it failed.
    pub(super) fn question_count_ending(&self, conversation: &Conversation, ending: Ending) {
        let outcome = match ending {
            Ending::Answered => metrics::ANSWERED,
            Ending::ForPeople => metrics::HUMAN,
            Ending::Stopped => FailureReason::Stopped.as_str(),
        };
        self.metrics.question_count(&conversation.bot_id, outcome);
    }
}
