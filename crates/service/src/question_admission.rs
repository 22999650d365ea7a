//! Which questions are let in: rate limits, the bot that is asked, and the scope of an idempotency key.

use std::net::IpAddr;

use uuid::Uuid;
use wicara_model::{Bounds, Conversation, ConversationId, Rule, Violation};

use crate::{Asker, Error, IdempotencyRequest, Result, Service};

/// Characters that the key of a visitor's first question has at least. All visitors share one scope until they have a
/// session, so that only the length keeps their keys apart.
const MIN_FIRST_KEY: usize = 16;

impl Service {
    /// Counts a question of a caller without a key, before its body is read. `TooMany` beyond the limit.
    ///
    /// `address`: an IPv4 address, or the first one of an IPv6 /64. A client usually has a whole /64, and would get a
    /// fresh limit with each address of it.
    pub fn question_admit_from(&self, address: IpAddr) -> Result<()> {
        self.rate_limits.questions_per_address.take(address, self.clock.now())
    }

    /// Counts a question in an existing conversation; a new one has no limit of its own.
    pub(super) fn question_admit_in(&self, conversation: Option<&Conversation>) -> Result<()> {
        let Some(conversation) = conversation else { return Ok(()) };
        self.rate_limits.questions.take(conversation.id, self.clock.now())
    }

    /// The question did not reach a bot: it does not count.
    pub(super) fn question_refund(&self, id: ConversationId) {
        self.rate_limits.questions.refund(id);
    }

    /// The bot that is asked: the conversation's own, else the one that the request names, else the default.
    pub(super) fn question_bot(
        &self,
        asker: &Asker,
        conversation: Option<&Conversation>,
        requested: Option<String>,
    ) -> Result<String> {
        const FIELD: &str = "botId";
        let Some(conversation) = conversation else {
            return self.question_bot_named(asker, requested, FIELD);
        };
        match requested {
            Some(requested) if requested != conversation.bot_id => unknown(FIELD),
            _ => Ok(conversation.bot_id.clone()),
        }
    }

    /// The bot that the request names in `field`, else the default one.
    pub(super) fn question_bot_named(
        &self,
        asker: &Asker,
        requested: Option<String>,
        field: &'static str,
    ) -> Result<String> {
        let bot_id = requested.unwrap_or_else(|| self.bots.default_id().to_owned());
        if !asker.sees_bot(&bot_id) {
            return Err(Error::Forbidden);
        }
        match self.bots.get(&bot_id) {
            Some(bot) if asker.is_operator() || bot.is_open_to_visitors() => Ok(bot_id),
            _ => unknown(field),
        }
    }
}

fn unknown(field: &'static str) -> Result<String> {
    Err(Error::Invalid(vec![Violation::new(field, Rule::Exists)]))
}

/// The scope of a question's idempotency key: the program, else the session, else all visitors together.
pub(super) fn idempotency_scope(
    asker: &Asker,
    session_id: Option<Uuid>,
    idempotency: &IdempotencyRequest,
) -> Result<String> {
    const ROUTE: &str = "POST /api/questions";
    match (asker.caller().id(), session_id) {
        (Some(id), _) => Ok(format!("{id} {ROUTE}")),
        (None, Some(session_id)) => Ok(format!("session {session_id} {ROUTE}")),
        (None, None) if idempotency.key.len() >= MIN_FIRST_KEY => Ok(format!("visitor {ROUTE}")),
        (None, None) => {
            let too_short = Bounds::MinLength(MIN_FIRST_KEY);
            Err(Error::Invalid(vec![Violation::new("Idempotency-Key", too_short)]))
        }
    }
}
