//! The configured bots as people see them, a trial of one, and what the widget shows of it.

use std::sync::Arc;

use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;
use uuid::Uuid;
use wicara_bots::{self as bots, BotStatus, ConfiguredBot, Widget, tokens};
use wicara_model::{Answer, FailureReason, MessageId, Question};

use crate::{Asker, Error, Missing, Reader, Result, Service, Writer};

/// A configured bot, without what the configuration says about where it is.
#[derive(Debug, Clone)]
pub struct BotView {
    pub id: String,
    pub kind: &'static str,
    pub is_default: bool,
    pub is_public: bool,
    pub status: BotStatus,
}

/// What a bot's widget shows before anybody has asked.
#[derive(Debug, Clone)]
pub struct WidgetView {
    pub bot_id: String,
    pub widget: Widget,
    /// Whether visitors may hand their conversations with the bot over to people.
    pub may_hand_over: bool,
}

/// Answers that nobody stores, each with an id for the reader.
#[derive(Debug, Clone)]
pub struct Tried {
    pub bot_id: String,
    pub answers: Vec<(Uuid, Answer)>,
}

/// A trial whose answer is on its way. Where this is dropped, the call of the bot ends.
pub struct Trial {
    events: tokens::Receiver<Result<Tried>>,
    result: Option<Result<Tried>>,
    _task: AbortOnDropHandle<()>,
}

impl Trial {
    /// The next text of the answer; `None` after the last.
    pub async fn token(&mut self) -> Option<String> {
        match self.events.next().await {
            Some(tokens::Event::Text(text)) => Some(text),
            Some(tokens::Event::Control(result)) => {
                self.result = Some(result);
                None
            }
            None => None,
        }
    }

    /// Waits for the answers.
    pub async fn tried(mut self) -> Result<Tried> {
        while self.result.is_none() {
            if self.token().await.is_none() && self.result.is_none() {
                // The panic hook has logged where it was.
                return Err(Error::Internal("a bot was not tried out".to_owned()));
            }
        }
        self.result.expect("it is there")
    }
}

impl Service {
    /// Those of the reader's bots that are configured, sorted by id, as this node sees them.
    #[must_use]
    pub fn bot_list(&self, reader: &Reader) -> Vec<BotView> {
        let bots = self.bots.iter().filter(|(id, _)| reader.bots().contain(id));
        let view = |(id, bot): (&str, &ConfiguredBot)| BotView {
            id: id.to_owned(),
            kind: bot.kind(),
            is_default: bot.is_default(),
            is_public: bot.is_public(),
            status: bot.status(),
        };
        bots.map(view).collect()
    }

    /// Asks a bot without storing anything. The call counts among the bot's calls.
    pub fn bot_try(self: &Arc<Self>, writer: &Writer, bot_id: String, text: String) -> Result<Trial> {
        if !writer.has_bot(&bot_id) || self.bots.get(&bot_id).is_none() {
            return Err(Error::NotFound(Missing::Bot));
        }
        let (sender, events) = tokens::channel();
        let service = Arc::clone(self);
        let task = async move {
            let result = service.bot_tried(bot_id, text, &sender).await;
            sender.send_control(result);
        };
        let task = self.question_tasks.spawn_on(task.in_current_span(), &self.question_runtime);
        Ok(Trial { events, result: None, _task: AbortOnDropHandle::new(task) })
    }

    async fn bot_tried(
        &self,
        bot_id: String,
        text: String,
        sender: &tokens::Sender<Result<Tried>>,
    ) -> Result<Tried> {
        let bot = self.bots.get(&bot_id).ok_or(Error::NotFound(Missing::Bot))?;
        // A session of its own, so that the bot remembers nothing of it.
        let session_id = self.random.uuid();
        let question = Question { id: MessageId(1), session_id, text, history: Vec::new() };
        let answers = tokio::select! {
            answers = bot.ask(question, sender) => answers,
            () = self.interrupted.cancelled() => Err(bots::Error::Interrupted),
        };
        match answers {
            Ok(answers) => {
                let answers = answers.into_iter().map(|answer| (self.random.uuid(), answer)).collect();
                Ok(Tried { bot_id, answers })
            }
            Err(error) => {
                let (reason, retry_after) = (error.reason(), error.retry_after());
                tracing::info!(bot = bot_id, %error, "a bot that was tried out gave no answer");
                self.bot_failed(&bot_id, reason);
                Err(Error::TrialFailed { reason, retry_after })
            }
        }
    }

    /// Keeps why a bot failed, for those who look at it. What never reached the bot is no failure of it.
    pub(super) fn bot_failed(&self, bot_id: &str, reason: FailureReason) {
        use FailureReason::{Rejected, Timeout, Unreachable, Unreadable};
        if let Some(bot) = self.bots.get(bot_id)
            && matches!(reason, Timeout | Unreachable | Rejected | Unreadable)
        {
            bot.failed(reason, self.clock.now());
        }
    }

    /// What the widget shows of a bot, or of the default bot. The rule `exists` is broken where the asker cannot reach it.
    pub fn widget_get(&self, asker: &Asker, bot_id: Option<String>) -> Result<WidgetView> {
        let bot_id = self.question_bot_named(asker, bot_id, "bot")?;
        self.check_page(asker, &bot_id)?;
        let bot = self.bots.get(&bot_id).ok_or(Error::NotFound(Missing::Bot))?;
        let (widget, may_hand_over) = (bot.widget().clone(), bot.lets_visitors_hand_over());
        Ok(WidgetView { bot_id, widget, may_hand_over })
    }

    /// `Forbidden` for a page of a site that is not among those of the bot.
    pub(super) fn check_page(&self, asker: &Asker, bot_id: &str) -> Result<()> {
        let Some(origin) = asker.page() else { return Ok(()) };
        let is_allowed = self.bots.get(bot_id).is_none_or(|bot| bot.allows_origin(origin));
        if is_allowed { Ok(()) } else { Err(Error::Forbidden) }
    }
}
