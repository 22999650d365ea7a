//! A batch of appends as one call of PostgreSQL's function `wicara_append_…`: its parameters, arrays of rows, and the
//! outcomes that it returns as arrays of numbers.

use wicara_model::{
    ConversationId, FailureReason, Handler, MessageId, NewConversation, NewMessage, Timestamp,
};
use wicara_search::Terms;

use super::PendingAppend;
use super::append::{Append, Ask, Decision, Target};
use super::message_numbers::content;
use crate::effects::Batch;
use crate::engine::{Error, Result, Row, Value, millis};
use crate::idempotency::REMEMBERED;

/// Version 4 of the function, created by a migration: see ARCHITECTURE.md on versions.
pub(in super::super) const CALL: &str = "SELECT o_outcomes, o_conversations, o_messages, o_seqs \
     FROM wicara_append_5($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";

/// The order of the conversations and messages in a call. The function locks conversations in this order.
struct CallOrder {
    /// The existing conversations, by id, without repetition. New ones follow them, in the order of the appends.
    existing: Vec<ConversationId>,
    /// For each append, the index of its conversation among the existing and the new ones.
    conversation_index: Vec<usize>,
    /// The indices of the appends, sorted by their conversation: the order of the messages.
    append_order: Vec<usize>,
}

impl CallOrder {
    fn of<'a>(appends: impl Iterator<Item = &'a Append> + Clone) -> Self {
        let existing = appends.clone().filter_map(|append| match append.target {
            Target::Existing(id) => Some(id),
            Target::New(_) => None,
        });
        let mut existing: Vec<_> = existing.collect();
        existing.sort_unstable();
        existing.dedup();
        let mut next_new = existing.len();
        let conversation_index = appends.map(|append| match append.target {
            Target::Existing(id) => existing.binary_search(&id).expect("it was collected above"),
            Target::New(_) => {
                next_new += 1;
                next_new - 1
            }
        });
        let conversation_index: Vec<_> = conversation_index.collect();
        let mut append_order: Vec<_> = (0..conversation_index.len()).collect();
        append_order.sort_by_key(|&append| conversation_index[append]);
        Self { existing, conversation_index, append_order }
    }
}

/// The parameters of [`CALL`]. `skip_locked`: appends to conversations that another session has locked are skipped, and
/// returned as [`CallOutcome::Locked`].
pub(in super::super) fn params(
    Batch { node, number }: Batch,
    skip_locked: bool,
    pending: &[&PendingAppend],
) -> Vec<Value> {
    let appends = pending.iter().map(|pending| &pending.append);
    let order = CallOrder::of(appends.clone());
    let commands =
        appends.clone().zip(&order.conversation_index).map(|(append, &index)| command_row(append, index));
    let commands = commands.collect();
    let opened = appends.clone().filter_map(|append| match &append.target {
        Target::New(new) => Some(conversation_row(new, append.at)),
        Target::Existing(_) => None,
    });
    let opened = opened.collect();
    let appends: Vec<_> = appends.collect();
    let messages = order.append_order.iter().flat_map(|&append| {
        let PendingAppend { append: Append { messages, .. }, terms, .. } = pending[append];
        messages.iter().zip(terms).map(move |(new, terms)| message_row(new, terms, append))
    });
    let messages = messages.collect();
    let any = |is: fn(&Append) -> bool| Value::from(appends.iter().any(|append| is(append)));
    vec![
        node.into(),
        number.into(),
        skip_locked.into(),
        millis(REMEMBERED).into(),
        any(|append| append.claim.is_some()),
        any(|append| matches!(append.ask, Ask::Opens { .. })),
        any(|append| append.ask.closes().is_some()),
        array(order.existing.into_iter().map(Value::from).collect()),
        array(opened),
        array(commands),
        array(messages),
    ]
}

/// An array, or null for an empty one: the function tests for null.
fn array(values: Vec<Value>) -> Value {
    if values.is_empty() { Value::Null } else { Value::Array(values) }
}

/// A row of the type `wicara_opened_2`.
fn conversation_row(new: &NewConversation, at: Timestamp) -> Value {
    let user = new.user_id.as_deref().unwrap_or_default();
    let (terms, terms_after_id) = match &new.room {
        Some(room) => (Terms::of(&format!("{room} {user}")), None),
        // The room is made of the type and the id that it gets.
        None => (Terms::of(&new.integration_type), Some(Terms::of(user))),
    };
    Value::Composite(vec![
        new.session_id.into(),
        new.by_visitor.into(),
        new.room.as_deref().into(),
        new.integration_type.as_str().into(),
        new.bot_id.as_str().into(),
        new.user_id.as_deref().into(),
        at.into(),
        terms.into(),
        terms_after_id.into(),
    ])
}

/// An index as PostgreSQL's arrays count: from 1.
fn ordinal(index: usize) -> Value {
    Value::Int(i64::try_from(index).unwrap_or(i64::MAX - 1) + 1)
}

/// A row of the type `wicara_command_2`.
fn command_row(append: &Append, conversation_index: usize) -> Value {
    let (asks, attempt, question, failure) = match &append.ask {
        Ask::No => (None, None, None, None),
        Ask::Opens { attempt, bot_id } => (Some(bot_id.as_str()), Some(*attempt), None, None),
        Ask::Answers { attempt } => (None, Some(attempt.id), Some(attempt.question), None),
        Ask::Fails { attempt, reason } => {
            (None, Some(attempt.id), Some(attempt.question), Some(reason.as_str()))
        }
        Ask::CutOff { attempt, failure } => {
            (None, Some(attempt.id), Some(attempt.question), failure.map(FailureReason::as_str))
        }
    };
    let claim = append.claim.as_ref();
    // Where no bot is asked, the request is done with this append.
    let lease = claim.and_then(|claim| claim.lease).filter(|_| asks.is_some());
    Value::Composite(vec![
        ordinal(conversation_index),
        append.at.into(),
        asks.into(),
        attempt.into(),
        question.into(),
        failure.into(),
        claim.map(|claim| claim.key.scope.as_str()).into(),
        claim.map(|claim| claim.key.key.as_str()).into(),
        claim.map(|claim| &claim.body[..]).into(),
        lease.map(millis).into(),
        matches!(append.ask, Ask::CutOff { .. }).into(),
    ])
}

/// A row of the type `wicara_message_2`. `append`: the index of its append.
fn message_row(new: &NewMessage, terms: &Terms, append: usize) -> Value {
    Value::Composite([ordinal(append)].into_iter().chain(content(new)).chain([terms.into()]).collect())
}

/// The outcome of an append in a call.
pub(in super::super) enum CallOutcome {
    Decided(Decision),
    /// Skipped: another session has locked its conversation.
    Locked,
}

/// The outcomes as the function numbers them.
mod outcome {
    pub const STORED: i64 = 0;
    pub const FOR_A_PERSON: i64 = 1;
    pub const GONE: i64 = 2;
    pub const KEY_TAKEN: i64 = 3;
    pub const KEY_BUSY: i64 = 4;
    pub const NOT_OPEN: i64 = 5;
    pub const LOCKED: i64 = 6;
    pub const MOVED: i64 = 7;
    pub const STOPPED: i64 = 8;
}

/// Reads the outcomes of a call, in the order of its appends.
pub(in super::super) fn outcomes(rows: Vec<Row>, appends: &[&Append]) -> Result<Vec<CallOutcome>> {
    let order = CallOrder::of(appends.iter().copied());
    let row = rows.into_iter().next().ok_or_else(|| malformed("no row"))?;
    let mut columns = row.columns("wicara_append_5");
    let outcomes = columns.ints("o_outcomes")?;
    let conversations = columns.ints("o_conversations")?;
    let mut messages = columns.ints("o_messages")?.into_iter().zip(columns.ints("o_seqs")?);
    if outcomes.len() != appends.len() {
        return Err(malformed("another number of outcomes"));
    }
    let mut by_append: Vec<_> = appends.iter().map(|_| None).collect();
    for append in order.append_order {
        let outcome = outcomes[append].ok_or_else(|| malformed("an outcome that is null"))?;
        let result = match outcome {
            outcome::STORED | outcome::FOR_A_PERSON => {
                let conversation = conversations.get(order.conversation_index[append]).copied().flatten();
                let id = ConversationId(conversation.ok_or_else(|| malformed("no conversation"))?);
                let handler = if outcome == outcome::STORED { Handler::Bot } else { Handler::Human };
                let ids_and_seqs = appends[append].messages.iter().map(|_| match messages.next() {
                    Some((Some(message), Some(seq))) => Ok((MessageId(message), seq)),
                    _ => Err(malformed("too few messages")),
                });
                let ids_and_seqs = ids_and_seqs.collect::<Result<_>>()?;
                CallOutcome::Decided(Decision::Stored { conversation_id: id, handler, ids_and_seqs })
            }
            outcome::GONE => CallOutcome::Decided(Decision::Gone),
            outcome::KEY_TAKEN => CallOutcome::Decided(Decision::KeyTaken),
            outcome::KEY_BUSY => CallOutcome::Decided(Decision::KeyBusy),
            outcome::NOT_OPEN => CallOutcome::Decided(Decision::NotOpen),
            outcome::LOCKED => CallOutcome::Locked,
            outcome::MOVED => CallOutcome::Decided(Decision::Moved),
            outcome::STOPPED => CallOutcome::Decided(Decision::Stopped),
            other => return Err(malformed(&format!("the outcome {other}"))),
        };
        by_append[append] = Some(result);
    }
    Ok(by_append.into_iter().flatten().collect())
}

fn malformed(found: &str) -> Error {
    Error::Database(format!("the append returned {found}"))
}
