//! The append: everything that puts messages at the end of a conversation, old or new.
//!
//! Opening a conversation, asking in it, answering and storing a message are all this one command, because
//! they are what a busy server does, and many of them go into one transaction with a handful of statements,
//! whatever their number, in three round trips unless a retry or a failed question is among them: (1) take claims and
//! end attempts, which decides what to skip; (2) lock conversations and reserve ids; (3) insert everything. Rows are
//! locked in one order: idempotency keys, asks, conversations by id, totals.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::conversations::{CONVERSATION, conversation_read};
use super::engine::{Result, Sql, Statement, Transaction, Value};
use super::idempotency::{self, Claim, Claimed, IdempotencyKey, Record};
use super::messages::bytes;
use super::questions::{self, Attempt};
use super::totals::Changes;
use crate::model::{
    Conversation, ConversationId, Handler, Json, Message, MessageId, NewConversation, NewMessage, Timestamp,
    role,
};

/// Messages for the end of a conversation.
#[derive(Debug)]
pub struct Append {
    pub at: Timestamp,
    pub target: Target,
    /// None, to open a conversation without a message.
    pub messages: Vec<NewMessage>,
    pub ask: Ask,
    /// Taken before anything else is stored.
    pub claim: Option<Claim>,
}

#[derive(Debug)]
pub enum Target {
    New(NewConversation),
    Existing(ConversationId),
}

/// What an append has to do with a bot that is being asked.
#[derive(Debug)]
pub enum Ask {
    No,
    /// The first message is a question that a bot is about to be asked, in this attempt.
    Opens(Uuid),
    /// The messages are what the attempt brought; its idempotency key, where it has one, gets its result.
    Closes {
        attempt: Attempt,
        key: Option<IdempotencyKey>,
    },
}

#[derive(Debug)]
pub enum Outcome {
    Stored(Appended),
    /// There is no such conversation (any more).
    Gone,
    /// The claim was taken before: nothing was stored now.
    Claimed(Claimed),
    /// These answers were dropped: the question has its answers already, is asked again, or is gone.
    Answered,
}

/// What an append stored. Also what an idempotency key gives again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Appended {
    /// As it is with the messages in it.
    pub conversation: Conversation,
    pub messages: Vec<Message>,
}

/// One append of a batch, the node that asks, and the place for its outcome.
pub(super) type Item<'a> = (&'a Append, i32, &'a mut Option<Outcome>);

pub(super) async fn append_many(transaction: &Transaction<'_>, batch: &mut [Item<'_>]) -> Result<()> {
    if batch.is_empty() {
        return Ok(());
    }
    let passed_over = pass_over(transaction, batch).await?;
    let mut places = Places::take(transaction, batch, &passed_over).await?;
    let messages = places.fill(batch, &passed_over);
    transaction.execute_many(insert_conversation(), places.new_rows()).await?;
    transaction.execute_many(insert_message(), messages.iter().flatten().map(message_row).collect()).await?;
    places.changes(batch, &messages).write(transaction).await?;
    finish(transaction, batch, &passed_over, &places, messages).await?;
    // Last, so that of equal requests in one batch the later ones see what the first one stored.
    let items = batch.iter_mut().enumerate().filter(|(index, _)| passed_over.lost.contains(index));
    for (_, (append, node, outcome)) in items {
        let claim = append.claim.as_ref().expect("only an append with a claim can lose it");
        **outcome = Some(match idempotency::look_up(transaction, claim, *node).await? {
            Some(claimed) => Outcome::Claimed(claimed),
            None => Outcome::Gone,
        });
    }
    Ok(())
}

/// The places in the batch of appends that store nothing.
struct PassedOver {
    /// Their claim was taken before.
    lost: HashSet<usize>,
    /// They answer a question that was answered or asked again meanwhile.
    late: HashSet<usize>,
}

async fn pass_over(transaction: &Transaction<'_>, batch: &[Item<'_>]) -> Result<PassedOver> {
    let mut first: BTreeMap<&IdempotencyKey, (usize, &Claim)> = BTreeMap::new();
    let mut closed: BTreeMap<Attempt, usize> = BTreeMap::new();
    for (index, (append, ..)) in batch.iter().enumerate() {
        if let Some(claim) = &append.claim {
            first.entry(&claim.key).or_insert((index, claim));
        }
        if let Ask::Closes { attempt, .. } = append.ask {
            closed.entry(attempt).or_insert(index);
        }
    }
    let claims = first.values().map(|&(_, claim)| claim);
    let [taken, open] =
        transaction.query_all([idempotency::take(claims), questions::close(closed.keys().copied())]).await?;
    let taken = idempotency::taken(taken)?;
    let open = questions::closed(transaction, closed.keys().copied(), open).await?;
    let mut passed_over = PassedOver { lost: HashSet::new(), late: HashSet::new() };
    for (index, (append, ..)) in batch.iter().enumerate() {
        if let Some(claim) = &append.claim
            && (first[&claim.key].0 != index || !taken.contains(&claim.key))
        {
            passed_over.lost.insert(index);
        }
        if let Ask::Closes { attempt, .. } = append.ask
            && (closed[&attempt] != index || !open.contains(&attempt))
        {
            passed_over.late.insert(index);
        }
    }
    Ok(passed_over)
}

/// A conversation in this batch: known by its id, or new and known by its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Handle {
    Known(ConversationId),
    New(Uuid),
}

fn handle(append: &Append) -> Handle {
    match &append.target {
        Target::New(new) => Handle::New(new.session_id),
        Target::Existing(id) => Handle::Known(*id),
    }
}

/// A conversation that this batch writes to, as it is with the batch's messages in it.
struct Place {
    conversation: Conversation,
    /// The place of the next message that is filled in.
    seq: i64,
    is_new: bool,
}

/// The conversations, locked, with room for the batch's messages, and the ids of these.
struct Places {
    conversations: HashMap<Handle, Place>,
    message_ids: std::vec::IntoIter<MessageId>,
}

impl Places {
    async fn take(
        transaction: &Transaction<'_>,
        batch: &[Item<'_>],
        passed_over: &PassedOver,
    ) -> Result<Self> {
        let mut room: BTreeMap<ConversationId, (Size, Timestamp)> = BTreeMap::new();
        let mut new = Vec::new();
        let mut count = 0;
        for (index, (append, ..)) in batch.iter().enumerate() {
            if passed_over.lost.contains(&index) {
                continue;
            }
            // Whether its conversation is there is to be known of a late answer too.
            let late = passed_over.late.contains(&index);
            let size = if late { Size::default() } else { Size::of(append) };
            count += size.messages;
            match &append.target {
                Target::Existing(id) => {
                    let (all, at) = room.entry(*id).or_insert((Size::default(), Timestamp(0)));
                    all.add(size);
                    *at = (*at).max(if late { Timestamp(0) } else { append.at });
                }
                Target::New(conversation) => new.push((conversation, append.at, size)),
            }
        }
        let rows = room.iter().map(|(&id, &(Size { messages, notes, bytes }, at))| {
            vec![id.into(), messages.into(), notes.into(), bytes.into(), at.into()]
        });
        let statements =
            [(make_room(), rows.collect()), ids("conversation_ids", new.len()), ids("message_ids", count)];
        let [known, conversation_ids, message_ids] = transaction.query_all(statements).await?;

        let mut conversations = HashMap::with_capacity(known.len() + new.len());
        for row in known {
            let mut columns = row.columns("conversations");
            let conversation = conversation_read(&mut columns)?;
            let seq = columns.int("next_seq")? - room[&conversation.id].0.messages;
            let handle = Handle::Known(conversation.id);
            conversations.insert(handle, Place { conversation, seq, is_new: false });
        }
        for ((new, at, size), row) in new.into_iter().zip(conversation_ids) {
            let id = ConversationId(row.int("conversations", "id")?);
            let conversation = open(new, id, at, size);
            let handle = Handle::New(new.session_id);
            conversations.insert(handle, Place { conversation, seq: 1, is_new: true });
        }
        let message_ids = message_ids.into_iter().map(|row| Ok(MessageId(row.int("messages", "id")?)));
        let message_ids = message_ids.collect::<Result<Vec<_>>>()?.into_iter();
        Ok(Self { conversations, message_ids })
    }

    /// Each append's messages, in their places. Ids rise with them.
    fn fill(&mut self, batch: &[Item<'_>], passed_over: &PassedOver) -> Vec<Vec<Message>> {
        let fill = |(index, (append, ..)): (usize, &Item<'_>)| {
            if passed_over.lost.contains(&index) || passed_over.late.contains(&index) {
                return Vec::new();
            }
            let Some(place) = self.conversations.get_mut(&handle(append)) else { return Vec::new() };
            let messages = append.messages.iter().zip(&mut self.message_ids);
            let messages = messages.map(|(new, id)| {
                place.seq += 1;
                Message {
                    id,
                    conversation_id: place.conversation.id,
                    seq: place.seq - 1,
                    role: new.role.clone(),
                    kind: new.kind.clone(),
                    text: new.text.clone(),
                    payload: new.payload.clone(),
                    reply_to: new.reply_to,
                    failure: None,
                    created_at: append.at,
                    updated_at: append.at,
                }
            });
            messages.collect()
        };
        batch.iter().enumerate().map(fill).collect()
    }

    fn new_rows(&self) -> Vec<Vec<Value>> {
        let new = self.conversations.values().filter(|place| place.is_new);
        let row = |Place { conversation, seq, .. }: &Place| {
            vec![
                conversation.id.into(),
                conversation.session_id.into(),
                conversation.by_visitor.into(),
                conversation.room.as_str().into(),
                conversation.integration_type.as_str().into(),
                conversation.bot_id.as_str().into(),
                conversation.user_id.clone().into(),
                conversation.handler.as_str().into(),
                (*seq).into(),
                conversation.message_count.into(),
                conversation.note_count.into(),
                conversation.message_bytes.into(),
                conversation.created_at.into(),
            ]
        };
        new.map(row).collect()
    }

    /// What the batch adds to the totals.
    fn changes(&self, batch: &[Item<'_>], messages: &[Vec<Message>]) -> Changes<'_> {
        let mut changes = Changes::default();
        for place in self.conversations.values() {
            changes.conversation(&place.conversation, place.is_new.into());
        }
        for ((append, ..), messages) in batch.iter().zip(messages) {
            for message in messages {
                changes.messages(&self.conversations[&handle(append)].conversation, message.id, 1);
            }
        }
        changes
    }
}

/// What messages add to their conversation.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    messages: i64,
    notes: i64,
    bytes: i64,
}

impl Size {
    fn of(append: &Append) -> Self {
        let mut size = Self::default();
        for message in &append.messages {
            let notes = i64::from(message.role == role::NOTE);
            size.add(Self { messages: 1, notes, bytes: bytes(&message.text, message.payload.as_ref()) });
        }
        size
    }

    fn add(&mut self, more: Self) {
        self.messages += more.messages;
        self.notes += more.notes;
        self.bytes += more.bytes;
    }
}

fn open(new: &NewConversation, id: ConversationId, at: Timestamp, size: Size) -> Conversation {
    Conversation {
        id,
        session_id: new.session_id,
        by_visitor: new.by_visitor,
        room: new.room.clone().unwrap_or_else(|| format!("{}-{id}", new.integration_type)),
        integration_type: new.integration_type.clone(),
        bot_id: new.bot_id.clone(),
        user_id: new.user_id.clone(),
        handler: Handler::Bot,
        message_count: size.messages,
        note_count: size.notes,
        message_bytes: size.bytes,
        created_at: at,
        updated_at: at,
    }
}

/// Locks conversations and makes room for messages at their ends.
fn make_room() -> Sql {
    const SET: &str = "UPDATE conversations SET next_seq = next_seq";
    Sql::each(
        // The writer's connection joins row by row, in the order of the ids.
        format!(
            "{SET} + new.messages, message_count = message_count + new.messages, \
                 note_count = note_count + new.notes, message_bytes = message_bytes + new.bytes, \
                 updated_at = greatest(updated_at, new.at) \
             FROM unnest(CAST($1 AS bigint[]), CAST($2 AS bigint[]), CAST($3 AS bigint[]), \
                 CAST($4 AS bigint[]), CAST($5 AS bigint[])) AS new (of_id, messages, notes, bytes, at) \
             WHERE id = new.of_id RETURNING {CONVERSATION}, next_seq"
        ),
        format!(
            "{SET} + $2, message_count = message_count + $2, note_count = note_count + $3, \
                 message_bytes = message_bytes + $4, updated_at = max(updated_at, $5) \
             WHERE id = $1 RETURNING {CONVERSATION}, next_seq"
        ),
    )
}

/// The next ids. Taken under the conversations' locks, so that they rise within each.
fn ids(sequence: &'static str, count: impl TryInto<usize>) -> Statement {
    let sql = Sql::each(
        format!("SELECT nextval('{sequence}') FROM unnest(CAST($1 AS bigint[]))"),
        format!("UPDATE sequences SET last = last + $1 WHERE name = '{sequence}' RETURNING last"),
    );
    (sql, vec![vec![1.into()]; count.try_into().unwrap_or(0)])
}

fn insert_conversation() -> Sql {
    const INSERT: &str = "INSERT INTO conversations (id, session_id, by_visitor, room, integration_type, bot_id, \
         user_id, handler, next_seq, message_count, note_count, message_bytes, created_at, updated_at)";
    Sql::each(
        format!(
            "{INSERT} SELECT new.*, new.at FROM unnest(CAST($1 AS bigint[]), CAST($2 AS uuid[]), \
                 CAST($3 AS bigint[]), CAST($4 AS text[]), CAST($5 AS text[]), CAST($6 AS text[]), \
                 CAST($7 AS text[]), CAST($8 AS text[]), CAST($9 AS bigint[]), CAST($10 AS bigint[]), \
                 CAST($11 AS bigint[]), CAST($12 AS bigint[]), CAST($13 AS bigint[])) AS new (id, session_id, \
                 by_visitor, room, integration_type, bot_id, user_id, handler, next_seq, message_count, \
                 note_count, message_bytes, at)"
        ),
        format!("{INSERT} VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13)"),
    )
}

fn message_row(message: &Message) -> Vec<Value> {
    vec![
        message.id.into(),
        message.conversation_id.into(),
        message.seq.into(),
        message.role.as_str().into(),
        message.kind.as_str().into(),
        message.text.as_str().into(),
        message.payload.as_ref().map(Json::as_str).into(),
        bytes(&message.text, message.payload.as_ref()).into(),
        message.reply_to.into(),
        message.created_at.into(),
    ]
}

fn insert_message() -> Sql {
    const INSERT: &str = "INSERT INTO messages (id, conversation_id, seq, role, kind, text, payload, bytes, \
         reply_to, created_at, updated_at)";
    Sql::each(
        format!(
            "{INSERT} SELECT new.*, new.at FROM unnest(CAST($1 AS bigint[]), CAST($2 AS bigint[]), \
                 CAST($3 AS bigint[]), CAST($4 AS text[]), CAST($5 AS text[]), CAST($6 AS text[]), \
                 CAST($7 AS text[]), CAST($8 AS bigint[]), CAST($9 AS bigint[]), CAST($10 AS bigint[])) \
                 AS new (id, conversation_id, seq, role, kind, text, payload, bytes, reply_to, at)"
        ),
        format!("{INSERT} VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10)"),
    )
}

/// Opens asks, gives each append its outcome, and its claim what it is to remember.
async fn finish(
    transaction: &Transaction<'_>,
    batch: &mut [Item<'_>],
    passed_over: &PassedOver,
    places: &Places,
    messages: Vec<Vec<Message>>,
) -> Result<()> {
    let (mut opened, mut records, mut released) = (vec![], vec![], vec![]);
    for (index, ((append, node, outcome), messages)) in batch.iter_mut().zip(messages).enumerate() {
        if passed_over.lost.contains(&index) {
            continue;
        }
        let Some(place) = places.conversations.get(&handle(append)) else {
            **outcome = Some(Outcome::Gone);
            released.extend(append.claim.as_ref().map(|claim| &claim.key));
            continue;
        };
        if passed_over.late.contains(&index) {
            **outcome = Some(Outcome::Answered);
            continue;
        }
        let appended = Appended { conversation: place.conversation.clone(), messages };
        let first = appended.messages.first().map(|message| message.id);
        match &append.ask {
            Ask::No => {}
            Ask::Opens(attempt) => {
                if let Some(question) = first {
                    opened.push(vec![question.into(), i64::from(*node).into(), (*attempt).into()]);
                }
            }
            Ask::Closes { attempt, key } => {
                let question = Some(attempt.question);
                records.extend(key.as_ref().map(|key| Record::result(key, question, &appended)));
            }
        }
        if let Some(claim) = &append.claim {
            records.push(match claim.lease {
                Some(_) => Record::running(&claim.key, appended.conversation.id, first),
                None => Record::result(&claim.key, first, &appended),
            });
        }
        **outcome = Some(Outcome::Stored(appended));
    }
    questions::open(transaction, opened).await?;
    idempotency::release(transaction, released).await?;
    idempotency::record(transaction, records).await
}
