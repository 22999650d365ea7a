//! The append: everything that puts messages at the end of a conversation, old or new.
//!
//! Opening a conversation, asking in it, answering, failing and storing a message are all this one command, because they
//! are what a busy server does. SQLite applies it as it is written here. On PostgreSQL a whole batch of them is one
//! statement, see [`super::append_call`]; only the answers of a question that was given up are stored from here.

use std::sync::LazyLock;
use std::time::Duration;

use uuid::Uuid;
use wicara_model::{
    Conversation, ConversationId, FailureReason, Handler, Json, Message, MessageId, NewConversation,
    NewMessage, Timestamp,
};

use crate::effects::KeyRecord;
use crate::engine::{DatabaseClock, Result, Sql, Value, millis};
use crate::idempotency::{Claim, Claimed, REMEMBERED};
use crate::messages::bytes;
use crate::transaction::{Locked, Transaction};

/// Messages for the end of a conversation.
#[derive(Debug, Clone)]
pub struct Append {
    pub at: Timestamp,
    pub target: Target,
    /// None, to open a conversation without a message, or to note a failure.
    pub messages: Vec<NewMessage>,
    pub ask: Ask,
    /// Taken before anything else is stored.
    pub claim: Option<Claim>,
}

#[derive(Debug, Clone)]
pub enum Target {
    New(NewConversation),
    Existing(ConversationId),
}

impl Target {
    /// The conversation that is there already.
    pub(in super::super) fn conversation(&self) -> Option<ConversationId> {
        match self {
            Self::New(_) => None,
            Self::Existing(id) => Some(*id),
        }
    }
}

/// What an append has to do with a bot that is being asked.
#[derive(Debug, Clone)]
pub enum Ask {
    No,
    /// The first message is a question for this bot, in this attempt, unless a person handles the conversation.
    Opens {
        attempt: Uuid,
        bot_id: String,
    },
    /// The messages are what the attempt brought.
    Answers {
        attempt: Attempt,
    },
    /// The attempt brought no answer.
    Fails {
        attempt: Attempt,
        reason: FailureReason,
    },
}

/// One asking of a question. Its answers are taken while no other has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt {
    pub question: MessageId,
    pub id: Uuid,
}

#[derive(Debug)]
pub enum Outcome {
    Stored(Stored),
    /// There is no such conversation (any more).
    Gone,
    /// The claim was taken before: nothing was stored now.
    Claimed(Claimed),
    /// The question has its answers already, was given up (where it fails), is asked again, or is gone: nothing was
    /// stored.
    Superseded,
    /// The conversation has another bot than the one that was to be asked: nothing was stored.
    Moved,
}

/// What an append stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    pub conversation_id: ConversationId,
    /// As the conversation says that was locked: whether the bot is to be asked.
    pub handler: Handler,
    pub messages: Vec<Message>,
}

/// What the transaction decided, before what is rare is looked into.
#[derive(Debug)]
pub(in super::super) enum Decided {
    Stored {
        conversation_id: ConversationId,
        handler: Handler,
        /// Ids and places of its messages.
        numbers: Vec<(MessageId, i64)>,
    },
    Gone,
    /// See [`super::claim_look_up`].
    KeyTaken,
    /// Another node is storing a request with this key.
    KeyBusy,
    /// See [`super::answer_late`].
    NotOpen,
    Moved,
}

impl Ask {
    /// The attempt that is to be closed.
    pub(super) fn closes(&self) -> Option<Attempt> {
        match self {
            Self::Answers { attempt } | Self::Fails { attempt, .. } => Some(*attempt),
            Self::No | Self::Opens { .. } => None,
        }
    }
}

/// What is stored of new messages with the numbers that they got.
pub(super) fn stored(
    conversation_id: ConversationId,
    handler: Handler,
    new: Vec<NewMessage>,
    numbers: Vec<(MessageId, i64)>,
    at: Timestamp,
) -> Stored {
    let messages = new.into_iter().zip(numbers).map(|(new, (id, seq))| {
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
            author,
            time,
            created_at: at,
            updated_at: at,
        }
    });
    Stored { conversation_id, handler, messages: messages.collect() }
}

impl Append {
    pub(in super::super) async fn apply(&self, transaction: &mut Transaction<'_>) -> Result<Decided> {
        if let Some(claim) = &self.claim
            && is_taken(transaction, claim).await?
        {
            return Ok(Decided::KeyTaken);
        }
        let id = match &self.target {
            Target::New(new) => open(transaction, new, self.at).await?,
            Target::Existing(id) => *id,
        };
        let Some(locked) = transaction.conversation(id).await? else { return Ok(Decided::Gone) };
        let (handler, bot_id) = (locked.conversation.handler, locked.conversation.bot_id.clone());
        if let Some(attempt) = self.ask.closes()
            && !close(transaction, attempt).await?
        {
            return Ok(Decided::NotOpen);
        }
        let opens = match &self.ask {
            Ask::Opens { attempt, bot_id: asked } if handler == Handler::Bot => {
                // One that is just opened has not moved.
                if *asked != bot_id && matches!(self.target, Target::Existing(_)) {
                    return Ok(Decided::Moved);
                }
                Some(*attempt)
            }
            _ => None,
        };
        let numbers = store(transaction, id, &self.messages, self.at).await?;
        let first = numbers.first().map(|&(id, _)| id);
        if let (Some(attempt), Some(question)) = (opens, first) {
            let node = transaction.node;
            transaction.effects.asks.open(question, node, attempt);
        }
        match self.ask {
            Ask::No | Ask::Opens { .. } => {}
            Ask::Answers { attempt } => transaction.effects.keys.done(id, attempt.question),
            Ask::Fails { attempt, reason } => {
                fail(transaction, id, attempt.question, reason, self.at).await?
            }
        }
        if let Some(claim) = &self.claim {
            // What a person is to answer is done for the key.
            let lease = claim.lease.filter(|_| opens.is_some());
            let Claim { key, body, .. } = claim.clone();
            transaction.effects.keys.store(KeyRecord {
                key,
                body,
                lease,
                conversation_id: id,
                message_id: first,
            });
        }
        Ok(Decided::Stored { conversation_id: id, handler, numbers })
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
        Sql::each(taken(DatabaseClock::POSTGRES), taken(DatabaseClock::SQLITE))
    });
    if transaction.effects.keys.is_taken(&claim.key) {
        return Ok(true);
    }
    let params = vec![claim.key.scope.as_str().into(), claim.key.key.as_str().into()];
    Ok(!transaction.query(&*TAKEN, params).await?.is_empty())
}

/// Opens a conversation without messages.
async fn open(
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
    let locked = Locked { conversation, next_seq: 1, newest: MessageId(0), is_changed: false };
    transaction.effects.conversations.insert(id, Some(locked));
    Ok(id)
}

/// Ends an attempt that is under way; `false` if it is not.
async fn close(transaction: &Transaction<'_>, attempt: Attempt) -> Result<bool> {
    static CLOSE: LazyLock<Sql> = LazyLock::new(|| {
        Sql::both("DELETE FROM asks WHERE message_id = $1 AND attempt = $2 RETURNING message_id")
    });
    let params = vec![attempt.question.into(), attempt.id.into()];
    Ok(!transaction.query(&*CLOSE, params).await?.is_empty())
}

/// Puts messages at the end of a conversation that is locked; returns their ids and places. Each carries the conversation's
/// state with it in it.
pub(super) async fn store(
    transaction: &mut Transaction<'_>,
    id: ConversationId,
    new: &[NewMessage],
    at: Timestamp,
) -> Result<Vec<(MessageId, i64)>> {
    let mut numbers = Vec::with_capacity(new.len());
    for new in new {
        let message_id = transaction.message_id().await?;
        let Transaction { executor, effects, .. } = transaction;
        let locked = effects.conversations.get(id).expect("it was locked before");
        let seq = locked.next_seq;
        locked.next_seq += 1;
        locked.newest = message_id;
        locked.is_changed |= seq % NOTED_EVERY == 0;
        let conversation = &mut locked.conversation;
        conversation.message_count += 1;
        conversation.note_count += i64::from(new.is_note());
        conversation.message_bytes += bytes(&new.text, new.payload.as_ref());
        conversation.updated_at = conversation.updated_at.max(at);
        effects.totals.messages(conversation, message_id, 1);
        executor.query(&*INSERT_MESSAGE, row(new, message_id, seq, conversation, at)).await?;
        numbers.push((message_id, seq));
    }
    Ok(numbers)
}

static INSERT_MESSAGE: LazyLock<Sql> = LazyLock::new(|| {
    let sql = "INSERT INTO messages (id, conversation_id, seq, role, kind, text, payload, bytes, reply_to, author_id, \
         author_kind, author_name, first_token_ms, answer_ms, message_count, note_count, message_bytes, created_at, \
         updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $18)";
    Sql::both(sql)
});

/// `conversation`: with the message in it.
fn row(new: &NewMessage, id: MessageId, seq: i64, conversation: &Conversation, at: Timestamp) -> Vec<Value> {
    let mut row = vec![id.into(), conversation.id.into(), seq.into()];
    row.extend(content(new));
    row.extend([
        conversation.message_count.into(),
        conversation.note_count.into(),
        conversation.message_bytes.into(),
        at.into(),
    ]);
    row
}

/// What a message brings itself, in the order of the table's columns and of the type `wicara_message_1`.
pub(super) fn content(new: &NewMessage) -> [Value; 11] {
    let author = new.author.as_ref();
    [
        new.role.as_str().into(),
        new.kind.as_str().into(),
        new.text.as_str().into(),
        new.payload.as_ref().map(Json::as_str).into(),
        bytes(&new.text, new.payload.as_ref()).into(),
        new.reply_to.into(),
        author.map(|author| author.id.as_str()).into(),
        author.map(|author| author.kind.as_str()).into(),
        author.map(|author| author.name.as_str()).into(),
        new.time.and_then(|time| time.first_token_ms).into(),
        new.time.map(|time| time.answer_ms).into(),
    ]
}

/// Notes why a question of a locked conversation got no answer, and lets a retry with its key take over at once.
pub(super) async fn fail(
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
    transaction.effects.keys.free(conversation, question);
    Ok(())
}

/// Every so many messages the state of a conversation is noted in its row too. PostgreSQL's function says the same.
const NOTED_EVERY: i64 = 64;

/// How long a request waits whose key another node is just taking.
pub(super) const KEY_BUSY: Duration = Duration::from_secs(1);
