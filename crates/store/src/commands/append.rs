//! The append: everything that puts messages at the end of a conversation, old or new.
//!
//! Opening a conversation, asking in it, answering, failing and storing a message are all this one command: they are
//! nearly all writes of a busy server, and one command can be batched. SQLite applies it as it is written here. On
//! PostgreSQL a whole batch of appends is one statement, see [`super::append_call`]; there only [`super::answer_late`]
//! stores messages with the code of this file.

use std::sync::LazyLock;
use std::time::Duration;

use uuid::Uuid;
use wicara_model::{
    Change, ConversationId, Ending, FailureReason, Handler, Message, MessageId, NewConversation, NewMessage,
    Timestamp,
};
use wicara_search::Terms;

use super::message_numbers::store_messages;
use crate::effects::KeyRecord;
use crate::engine::{DatabaseClock, Result, Sql, millis};
use crate::idempotency::{Claim, PriorClaim, REMEMBERED};
use crate::transaction::{LockedConversation, Transaction};

/// Messages for the end of a conversation.
#[derive(Debug, Clone)]
pub struct Append {
    pub at: Timestamp,
    pub target: Target,
    /// Empty to open a conversation without a message, or to record a failure.
    pub messages: Vec<NewMessage>,
    pub ask: Ask,
    /// Checked before anything is stored.
    pub claim: Option<Claim>,
}

#[derive(Debug, Clone)]
pub enum Target {
    New(NewConversation),
    Existing(ConversationId),
}

impl Target {
    /// The id of an existing conversation.
    pub(in super::super) fn conversation(&self) -> Option<ConversationId> {
        match self {
            Self::New(_) => None,
            Self::Existing(id) => Some(*id),
        }
    }
}

/// What an append does to the ask of a question: the row that says that a bot is being asked.
#[derive(Debug, Clone)]
pub enum Ask {
    No,
    /// The first message is a question for this bot, and this attempt begins, unless a person handles the conversation.
    Opens {
        attempt: Uuid,
        bot_id: String,
    },
    /// The messages are the answers of the attempt.
    Answers {
        attempt: Attempt,
    },
    /// The attempt failed without an answer.
    Fails {
        attempt: Attempt,
        reason: FailureReason,
    },
    /// The attempt was stopped: the messages are what had come of its answers. `failure`: where nothing had, and nobody
    /// else will answer.
    CutOff {
        attempt: Attempt,
        failure: Option<FailureReason>,
    },
}

/// One try of asking a bot a question. Its answers are stored until another attempt begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt {
    pub question: MessageId,
    pub id: Uuid,
}

#[derive(Debug)]
pub enum Outcome {
    Stored(Stored),
    /// The conversation does not exist (any more): nothing was stored.
    Gone,
    /// An earlier request has taken the idempotency key: nothing was stored now.
    Claimed(PriorClaim),
    /// The attempt has ended or was superseded: the question has its answers, was given up (for [`Ask::Fails`]), is
    /// asked in another attempt, or is deleted. Nothing was stored.
    Superseded,
    /// The conversation has another bot than [`Ask::Opens`] names: nothing was stored.
    Moved,
    /// People have the conversation, or the attempt was stopped: nothing was stored, and [`Ask::CutOff`] is to follow.
    Stopped,
}

/// What an append stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    pub conversation_id: ConversationId,
    /// From the locked conversation: whether the bot is to be asked.
    pub handler: Handler,
    pub messages: Vec<Message>,
}

/// The decision of the transaction. The rare cases need more transactions: see [`Store::append`](crate::Store::append).
#[derive(Debug)]
pub(in super::super) enum Decision {
    Stored {
        conversation_id: ConversationId,
        handler: Handler,
        /// The id and `seq` of each message.
        ids_and_seqs: Vec<(MessageId, i64)>,
    },
    Gone,
    /// See [`super::claim_look_up`].
    KeyTaken,
    /// A transaction of another node that is not committed yet stores a request with this key.
    KeyBusy,
    /// See [`super::answer_late`].
    NotOpen,
    Moved,
    Stopped,
}

impl Ask {
    /// The attempt that this append ends.
    pub(super) fn closes(&self) -> Option<Attempt> {
        match self {
            Self::Answers { attempt } | Self::Fails { attempt, .. } | Self::CutOff { attempt, .. } => {
                Some(*attempt)
            }
            Self::No | Self::Opens { .. } => None,
        }
    }
}

/// The messages as they are stored, from their content and the ids that they got.
pub(super) fn stored(
    conversation_id: ConversationId,
    handler: Handler,
    new: Vec<NewMessage>,
    ids_and_seqs: Vec<(MessageId, i64)>,
    at: Timestamp,
) -> Stored {
    let messages = new.into_iter().zip(ids_and_seqs).map(|(new, (id, seq))| {
        let NewMessage { role, kind, text, payload, reply_to, author, time } = new;
        Message {
            id,
            conversation_id,
            seq,
            role,
            kind,
            text,
            payload,
            reply_to,
            failure: None,
            feedback: None,
            author,
            time,
            created_at: at,
            updated_at: at,
        }
    });
    Stored { conversation_id, handler, messages: messages.collect() }
}

impl Append {
    /// `terms`: one element a message.
    pub(in super::super) async fn apply(
        &self,
        terms: &[Terms],
        transaction: &mut Transaction<'_>,
    ) -> Result<Decision> {
        if let Some(claim) = &self.claim
            && is_taken(transaction, claim).await?
        {
            return Ok(Decision::KeyTaken);
        }
        let id = match &self.target {
            Target::New(new) => open_conversation(transaction, new, self.at).await?,
            Target::Existing(id) => *id,
        };
        let Some(locked) = transaction.conversation(id).await? else { return Ok(Decision::Gone) };
        let (handler, bot_id) = (locked.conversation.handler, locked.conversation.bot_id.clone());
        if let Some(attempt) = self.ask.closes() {
            let even_if_stopped = matches!(self.ask, Ask::CutOff { .. });
            match close_ask(transaction, attempt, handler, even_if_stopped).await? {
                AskClosed::Closed => {}
                AskClosed::Stopped => return Ok(Decision::Stopped),
                AskClosed::NotOpen => return Ok(Decision::NotOpen),
            }
        }
        let opens = match &self.ask {
            Ask::Opens { attempt, bot_id: asked } if handler == Handler::Bot => {
                // A conversation that this append opens has the bot of its `NewConversation`.
                if *asked != bot_id && matches!(self.target, Target::Existing(_)) {
                    return Ok(Decision::Moved);
                }
                Some(*attempt)
            }
            _ => None,
        };
        let ids_and_seqs = store_messages(transaction, id, &self.messages, terms, self.at).await?;
        let first = ids_and_seqs.first().map(|&(id, _)| id);
        if let (Some(attempt), Some(question)) = (opens, first) {
            let node = transaction.node;
            transaction.effects.asks.open(id, question, node, attempt);
        }
        match self.ask {
            Ask::No | Ask::Opens { .. } => {}
            Ask::Answers { attempt } => {
                transaction.effects.keys.ended(id, attempt.question, Ending::Answered);
            }
            Ask::Fails { attempt, reason } => {
                record_failure(transaction, id, attempt.question, reason, self.at).await?;
                // A retry takes over at once.
                transaction.effects.keys.free(id, attempt.question);
            }
            Ask::CutOff { attempt, failure } => {
                if let Some(reason) = failure {
                    record_failure(transaction, id, attempt.question, reason, self.at).await?;
                }
                let ending = if handler == Handler::Bot { Ending::Stopped } else { Ending::ForPeople };
                transaction.effects.keys.ended(id, attempt.question, ending);
            }
        }
        if let Some(claim) = &self.claim {
            // Where a person is to answer, no bot is asked and the request is done.
            let lease = claim.lease.filter(|_| opens.is_some());
            let ending = match (&self.ask, lease) {
                (_, Some(_)) => None,
                (Ask::Opens { .. }, None) if claim.lease.is_some() => Some(Ending::ForPeople),
                _ => Some(Ending::Answered),
            };
            let Claim { key, body, .. } = claim.clone();
            transaction.effects.keys.store(KeyRecord {
                key,
                body,
                lease,
                ending,
                conversation_id: id,
                message_id: first,
            });
        }
        Ok(Decision::Stored { conversation_id: id, handler, ids_and_seqs })
    }
}

/// Whether a key was taken in the last 24 hours, by the database's clock, or in this transaction.
async fn is_taken(transaction: &Transaction<'_>, claim: &Claim) -> Result<bool> {
    static TAKEN: LazyLock<Sql> = LazyLock::new(|| {
        let taken = |now| {
            let remembered = millis(REMEMBERED);
            format!(
                "SELECT 1 FROM idempotency WHERE scope = $1 AND key = $2 AND created_at >= {now} - {remembered}"
            )
        };
        Sql::per_dialect(taken(DatabaseClock::POSTGRES), taken(DatabaseClock::SQLITE))
    });
    if transaction.effects.keys.is_taken(&claim.key) {
        return Ok(true);
    }
    let params = vec![claim.key.scope.as_str().into(), claim.key.key.as_str().into()];
    Ok(!transaction.query(&*TAKEN, params).await?.is_empty())
}

/// Opens a conversation without messages.
async fn open_conversation(
    transaction: &mut Transaction<'_>,
    new: &NewConversation,
    at: Timestamp,
) -> Result<ConversationId> {
    static INSERT: LazyLock<Sql> = LazyLock::new(|| {
        let sql = "INSERT INTO conversations (id, session_id, by_visitor, room, integration_type, bot_id, user_id, \
             handler, next_seq, message_count, note_count, message_bytes, created_at, updated_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1, 0, 0, 0, $9, $9)";
        Sql::both(sql)
    });
    let id = transaction.conversation_id().await?;
    let conversation = new.open(id, at);
    let params = vec![
        id.into(),
        conversation.session_id.into(),
        conversation.by_visitor.into(),
        conversation.room.as_str().into(),
        conversation.integration_type.as_str().into(),
        conversation.bot_id.as_str().into(),
        conversation.user_id.clone().into(),
        conversation.handler.as_str().into(),
        at.into(),
    ];
    transaction.query(&*INSERT, params).await?;
    transaction.effects.totals.conversation(&conversation, 1);
    transaction.effects.search.conversation_created(&conversation);
    transaction.effects.events.add(Change::ConversationCreated {
        id,
        bot_id: conversation.bot_id.clone(),
        is_restored: false,
    });
    let locked = LockedConversation { conversation, next_seq: 1, newest: MessageId(0), is_changed: false };
    transaction.effects.conversations.insert(id, Some(locked));
    Ok(id)
}

enum AskClosed {
    Closed,
    /// It is open, and nobody wants its answers: people have the conversation, or it was stopped.
    Stopped,
    /// The attempt has ended or was superseded.
    NotOpen,
}

/// Ends an attempt by deleting its ask.
async fn close_ask(
    transaction: &Transaction<'_>,
    attempt: Attempt,
    handler: Handler,
    even_if_stopped: bool,
) -> Result<AskClosed> {
    static CLOSE: LazyLock<Sql> = LazyLock::new(|| {
        Sql::both(
            "DELETE FROM asks WHERE message_id = $1 AND attempt = $2 AND (stopped = 0 OR CAST($3 AS bigint) = 1) RETURNING message_id",
        )
    });
    static OPEN: LazyLock<Sql> =
        LazyLock::new(|| Sql::both("SELECT message_id FROM asks WHERE message_id = $1 AND attempt = $2"));
    let params = || vec![attempt.question.into(), attempt.id.into()];
    if even_if_stopped || handler == Handler::Bot {
        let close = [params(), vec![even_if_stopped.into()]].concat();
        if !transaction.query(&*CLOSE, close).await?.is_empty() {
            return Ok(AskClosed::Closed);
        }
    }
    let is_open = !transaction.query(&*OPEN, params()).await?.is_empty();
    Ok(if is_open { AskClosed::Stopped } else { AskClosed::NotOpen })
}

/// Records why a question of a locked conversation got no answer.
pub(super) async fn record_failure(
    transaction: &mut Transaction<'_>,
    conversation: ConversationId,
    question: MessageId,
    reason: FailureReason,
    at: Timestamp,
) -> Result<()> {
    static FAIL: LazyLock<Sql> = LazyLock::new(|| {
        Sql::both("UPDATE messages SET failure = $2, failed_at = $3, updated_at = $3 WHERE id = $1")
    });
    transaction.query(&*FAIL, vec![question.into(), reason.as_str().into(), at.into()]).await?;
    let locked = transaction.effects.conversations.get(conversation).expect("it was locked before");
    transaction.effects.events.message_updated(&locked.conversation, question, false);
    Ok(())
}

/// The lease that is reported for a key that a transaction of another node is taking.
pub(super) const KEY_BUSY: Duration = Duration::from_secs(1);
