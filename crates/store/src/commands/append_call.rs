//! A batch of appends as one call of PostgreSQL's function `wicara_append_…`: its parameters, an array of rows each, and
//! the outcomes that it returns, at most four numbers a command and a message.

use wicara_model::{ConversationId, Handler, MessageId, NewConversation, NewMessage, Timestamp};

use super::append::{Append, Ask, Decided, Target, content};
use crate::effects::Batch;
use crate::engine::{Error, Result, Row, Value, millis};
use crate::idempotency::REMEMBERED;

/// Version 1, which a migration makes: see ARCHITECTURE.md on versions.
pub(in super::super) const CALL: &str = "SELECT o_outcomes, o_conversations, o_messages, o_seqs \
     FROM wicara_append_1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";

/// The order in which a call has its conversations and messages, worked out from its appends.
struct Order {
    /// Those that are there already, by id, each once. Those that are opened follow, in the order of the appends.
    known: Vec<ConversationId>,
    /// The place of each append's conversation among all of them.
    targets: Vec<usize>,
    /// The places of the appends in the order of their conversations.
    by_target: Vec<usize>,
}

impl Order {
    fn of<'a>(appends: impl Iterator<Item = &'a Append> + Clone) -> Self {
        let known = appends.clone().filter_map(|append| match append.target {
            Target::Existing(id) => Some(id),
            Target::New(_) => None,
        });
        let mut known: Vec<_> = known.collect();
        known.sort_unstable();
        known.dedup();
        let mut opened = known.len();
        let targets = appends.map(|append| match append.target {
            Target::Existing(id) => known.binary_search(&id).expect("it is one of them"),
            Target::New(_) => {
                opened += 1;
                opened - 1
            }
        });
        let targets: Vec<_> = targets.collect();
        let mut by_target: Vec<_> = (0..targets.len()).collect();
        by_target.sort_by_key(|&append| targets[append]);
        Self { known, targets, by_target }
    }
}

/// `skip_locked`: whether conversations that another session has locked are passed over.
pub(in super::super) fn params<'a>(
    Batch { node, number }: Batch,
    skip_locked: bool,
    appends: impl Iterator<Item = &'a Append> + Clone,
) -> Vec<Value> {
    let order = Order::of(appends.clone());
    let commands = appends.clone().zip(&order.targets).map(|(append, &target)| command(append, target));
    let commands = commands.collect();
    let opened = appends.clone().filter_map(|append| match &append.target {
        Target::New(new) => Some(opened(new, append.at)),
        Target::Existing(_) => None,
    });
    let opened = opened.collect();
    let appends: Vec<_> = appends.collect();
    let messages = order
        .by_target
        .iter()
        .flat_map(|&place| appends[place].messages.iter().map(move |new| message(new, place)));
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
        many(order.known.into_iter().map(Value::from).collect()),
        many(opened),
        many(commands),
        many(messages),
    ]
}

/// An array, null where it would be empty.
fn many(values: Vec<Value>) -> Value {
    if values.is_empty() { Value::Null } else { Value::Many(values) }
}

/// A row of the type `wicara_opened_1`.
fn opened(new: &NewConversation, at: Timestamp) -> Value {
    Value::Fields(vec![
        new.session_id.into(),
        new.by_visitor.into(),
        new.room.as_deref().into(),
        new.integration_type.as_str().into(),
        new.bot_id.as_str().into(),
        new.user_id.as_deref().into(),
        at.into(),
    ])
}

/// PostgreSQL counts from 1.
fn ordinal(place: usize) -> Value {
    Value::Int(i64::try_from(place).unwrap_or(i64::MAX - 1) + 1)
}

/// A row of the type `wicara_command_1`.
fn command(append: &Append, target: usize) -> Value {
    let (asks, attempt, question, failure) = match &append.ask {
        Ask::No => (None, None, None, None),
        Ask::Opens { attempt, bot_id } => (Some(bot_id.as_str()), Some(*attempt), None, None),
        Ask::Answers { attempt } => (None, Some(attempt.id), Some(attempt.question), None),
        Ask::Fails { attempt, reason } => {
            (None, Some(attempt.id), Some(attempt.question), Some(reason.as_str()))
        }
    };
    let claim = append.claim.as_ref();
    // Where no bot is to be asked, the request is done.
    let lease = claim.and_then(|claim| claim.lease).filter(|_| asks.is_some());
    Value::Fields(vec![
        ordinal(target),
        append.at.into(),
        asks.into(),
        attempt.into(),
        question.into(),
        failure.into(),
        claim.map(|claim| claim.key.scope.as_str()).into(),
        claim.map(|claim| claim.key.key.as_str()).into(),
        claim.map(|claim| &claim.body[..]).into(),
        lease.map(millis).into(),
    ])
}

/// A row of the type `wicara_message_1`; `command`: the place of its append.
fn message(new: &NewMessage, command: usize) -> Value {
    Value::Fields([ordinal(command)].into_iter().chain(content(new)).collect())
}

/// What became of an append in a call.
pub(in super::super) enum Called {
    Decided(Decided),
    /// Another session has locked its conversation.
    Locked,
}

/// The numbers that the function returns.
mod outcome {
    pub const STORED: i64 = 0;
    pub const FOR_A_PERSON: i64 = 1;
    pub const GONE: i64 = 2;
    pub const KEY_TAKEN: i64 = 3;
    pub const KEY_BUSY: i64 = 4;
    pub const NOT_OPEN: i64 = 5;
    pub const LOCKED: i64 = 6;
    pub const MOVED: i64 = 7;
}

/// The outcomes of a call, in the order of its appends.
pub(in super::super) fn outcomes(rows: Vec<Row>, appends: &[&Append]) -> Result<Vec<Called>> {
    let order = Order::of(appends.iter().copied());
    let row = rows.into_iter().next().ok_or_else(|| short("no row"))?;
    let mut columns = row.columns("wicara_append_1");
    let outcomes = columns.ints("o_outcomes")?;
    let conversations = columns.ints("o_conversations")?;
    let mut messages = columns.ints("o_messages")?.into_iter().zip(columns.ints("o_seqs")?);
    if outcomes.len() != appends.len() {
        return Err(short("another number of outcomes"));
    }
    let mut called: Vec<_> = appends.iter().map(|_| None).collect();
    for place in order.by_target {
        let outcome = outcomes[place].ok_or_else(|| short("an outcome that is null"))?;
        let decided = match outcome {
            outcome::STORED | outcome::FOR_A_PERSON => {
                let conversation = conversations.get(order.targets[place]).copied().flatten();
                let id = ConversationId(conversation.ok_or_else(|| short("no conversation"))?);
                let handler = if outcome == outcome::STORED { Handler::Bot } else { Handler::Human };
                let numbers = appends[place].messages.iter().map(|_| match messages.next() {
                    Some((Some(message), Some(seq))) => Ok((MessageId(message), seq)),
                    _ => Err(short("too few messages")),
                });
                let numbers = numbers.collect::<Result<_>>()?;
                Called::Decided(Decided::Stored { conversation_id: id, handler, numbers })
            }
            outcome::GONE => Called::Decided(Decided::Gone),
            outcome::KEY_TAKEN => Called::Decided(Decided::KeyTaken),
            outcome::KEY_BUSY => Called::Decided(Decided::KeyBusy),
            outcome::NOT_OPEN => Called::Decided(Decided::NotOpen),
            outcome::LOCKED => Called::Locked,
            outcome::MOVED => Called::Decided(Decided::Moved),
            other => return Err(short(&format!("the outcome {other}"))),
        };
        called[place] = Some(decided);
    }
    Ok(called.into_iter().flatten().collect())
}

fn short(found: &str) -> Error {
    Error::Database(format!("the append returned {found}"))
}
