//! The append: everything that puts messages at the end of a conversation, old or new.
//!
//! Opening a conversation, asking in it, answering and storing a message are all this one command, because
//! they are what a busy server does, and many of them go into one transaction with a handful of statements,
//! whatever their number. Rows are locked in one order everywhere: idempotency keys, conversations by id,
//! counts.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::conversations::{CONVERSATION, conversation_read};
use super::engine::{Result, Sql, Transaction};
use super::idempotency::{self, Claim, Claimed, IdempotencyKey, Record};
use super::questions;
use crate::model::{
    Conversation, ConversationId, Handler, Message, MessageId, NewConversation, NewMessage, Timestamp, role,
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
    /// The first message is a question that a bot is about to be asked.
    Opens,
    /// The messages answer the question; its idempotency key, where it has one, gets its result.
    Closes {
        question: MessageId,
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
    /// The question has its answers already: these were dropped.
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
    let lost = claim(transaction, batch).await?;
    let mut passed_over: HashSet<usize> = lost.iter().copied().collect();
    let mut conversations = lock(transaction, batch, &passed_over).await?;
    refuse_late_answers(transaction, batch, &conversations, &mut passed_over).await?;
    let opened = place_messages(batch, &passed_over, &mut conversations);
    store_conversations(transaction, batch, opened, &mut conversations).await?;
    store_messages(transaction, &mut conversations).await?;
    let records = finish(transaction, batch, &passed_over, conversations).await?;
    idempotency::record(transaction, records).await?;
    // Last, so that of equal requests in one batch the later ones see what the first one stored.
    for index in lost {
        let (append, node, outcome) = &mut batch[index];
        let claim = append.claim.as_ref().expect("only an append with a claim can lose it");
        **outcome = Some(match idempotency::look_up(transaction, claim, append.at, *node).await? {
            Some(claimed) => Outcome::Claimed(claimed),
            None => Outcome::Gone,
        });
    }
    Ok(())
}

/// Takes the claims; returns the places in the batch of those that were taken before.
async fn claim(transaction: &Transaction<'_>, batch: &[Item<'_>]) -> Result<Vec<usize>> {
    let mut first: BTreeMap<&IdempotencyKey, usize> = BTreeMap::new();
    for (index, (append, ..)) in batch.iter().enumerate() {
        if let Some(claim) = &append.claim {
            first.entry(&claim.key).or_insert(index);
        }
    }
    if first.is_empty() {
        return Ok(Vec::new());
    }
    let claims = first.values().map(|&index| (claim_of(batch, index), batch[index].0.at)).collect();
    let taken = idempotency::take(transaction, claims).await?;
    let lost = |&index: &usize| {
        let (append, ..) = &batch[index];
        append.claim.as_ref().is_some_and(|claim| first[&claim.key] != index || !taken.contains(&claim.key))
    };
    Ok((0..batch.len()).filter(lost).collect())
}

fn claim_of<'a>(batch: &'a [Item<'_>], index: usize) -> &'a Claim {
    batch[index].0.claim.as_ref().expect("only places with a claim are asked for")
}

/// A conversation that this batch writes to.
struct Open {
    conversation: Conversation,
    next_seq: i64,
    is_new: bool,
    /// Each with the place in the batch of its append.
    messages: Vec<(usize, Message)>,
}

/// A conversation in this batch: known by its id, or new and not yet numbered.
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

type Opens = HashMap<Handle, Open>;

/// Locks the conversations that are there already.
async fn lock(
    transaction: &Transaction<'_>,
    batch: &[Item<'_>],
    passed_over: &HashSet<usize>,
) -> Result<Opens> {
    let mut ids: Vec<ConversationId> = batch
        .iter()
        .enumerate()
        .filter(|(index, _)| !passed_over.contains(index))
        .filter_map(|(_, (append, ..))| match append.target {
            Target::Existing(id) => Some(id),
            Target::New(_) => None,
        })
        .collect();
    ids.sort_unstable();
    ids.dedup();
    let sql = Sql::each(
        format!(
            "SELECT {CONVERSATION}, next_seq FROM conversations WHERE id = ANY($1) \
             ORDER BY id FOR NO KEY UPDATE"
        ),
        format!("SELECT {CONVERSATION}, next_seq FROM conversations WHERE id = $1"),
    );
    let rows = transaction.query_many(sql, ids.into_iter().map(|id| vec![id.into()]).collect()).await?;
    rows.into_iter()
        .map(|row| {
            let mut columns = row.columns("conversations");
            let conversation = conversation_read(&mut columns)?;
            let next_seq = columns.int("next_seq")?;
            let handle = Handle::Known(conversation.id);
            Ok((handle, Open { conversation, next_seq, is_new: false, messages: Vec::new() }))
        })
        .collect()
}

/// Passes over the answers of questions that were answered meanwhile: two requests with one key may both have
/// asked. The conversations are locked, so that of two such answers the first is stored.
async fn refuse_late_answers(
    transaction: &Transaction<'_>,
    batch: &mut [Item<'_>],
    conversations: &Opens,
    passed_over: &mut HashSet<usize>,
) -> Result<()> {
    let closes = |append: &Append| match append.ask {
        Ask::Closes { question, .. } if conversations.contains_key(&handle(append)) => Some(question),
        _ => None,
    };
    let questions: Vec<_> = batch.iter().filter_map(|(append, ..)| closes(append)).collect();
    if questions.is_empty() {
        return Ok(());
    }
    let mut open = questions::close(transaction, questions).await?;
    for (index, (append, _, outcome)) in batch.iter_mut().enumerate() {
        if closes(append).is_some_and(|question| !open.remove(&question)) {
            **outcome = Some(Outcome::Answered);
            passed_over.insert(index);
        }
    }
    Ok(())
}

/// Gives every message its place; returns the places in the batch of the appends that open a conversation.
fn place_messages(
    batch: &mut [Item<'_>],
    passed_over: &HashSet<usize>,
    conversations: &mut Opens,
) -> Vec<usize> {
    let mut opened = Vec::new();
    for (index, (append, ..)) in batch.iter_mut().enumerate() {
        if passed_over.contains(&index) {
            continue;
        }
        if let Target::New(new) = &append.target {
            opened.push(index);
            conversations.insert(handle(append), open(new, append.at));
        }
        let Some(open) = conversations.get_mut(&handle(append)) else { continue };
        open.conversation.updated_at = open.conversation.updated_at.max(append.at);
        for new in &append.messages {
            let message = Message {
                id: MessageId(0),
                conversation_id: open.conversation.id,
                seq: open.next_seq,
                role: new.role.clone(),
                kind: new.kind.clone(),
                text: new.text.clone(),
                payload: new.payload.clone(),
                reply_to: new.reply_to,
                failure: None,
                created_at: append.at,
                updated_at: append.at,
            };
            open.next_seq += 1;
            open.conversation.message_count += 1;
            open.conversation.note_count += i64::from(new.role == role::NOTE);
            open.messages.push((index, message));
        }
    }
    opened
}

fn open(new: &NewConversation, at: Timestamp) -> Open {
    let conversation = Conversation {
        id: ConversationId(0),
        session_id: new.session_id,
        by_visitor: new.by_visitor,
        room: new.room.clone().unwrap_or_default(),
        integration_type: new.integration_type.clone(),
        bot_id: new.bot_id.clone(),
        user_id: new.user_id.clone(),
        handler: Handler::Bot,
        message_count: 0,
        note_count: 0,
        created_at: at,
        updated_at: at,
    };
    Open { conversation, next_seq: 1, is_new: true, messages: Vec::new() }
}

/// Writes the conversations, new ones and what the messages change in old ones.
async fn store_conversations(
    transaction: &Transaction<'_>,
    batch: &[Item<'_>],
    opened: Vec<usize>,
    conversations: &mut Opens,
) -> Result<()> {
    let rows = opened
        .into_iter()
        .map(|index| {
            let append = batch[index].0;
            let Open { conversation, next_seq, .. } = &conversations[&handle(append)];
            let room = match &append.target {
                Target::New(new) => new.room.clone(),
                Target::Existing(_) => None,
            };
            vec![
                conversation.session_id.into(),
                conversation.by_visitor.into(),
                room.into(),
                conversation.integration_type.as_str().into(),
                conversation.bot_id.as_str().into(),
                conversation.user_id.clone().into(),
                conversation.handler.as_str().into(),
                (*next_seq).into(),
                conversation.message_count.into(),
                conversation.note_count.into(),
                conversation.created_at.into(),
            ]
        })
        .collect();
    for row in transaction.query_many(insert_conversation(), rows).await? {
        let mut columns = row.columns("conversations");
        let session_id = columns.uuid("session_id")?;
        if let Some(open) = conversations.get_mut(&Handle::New(session_id)) {
            open.conversation.id = ConversationId(columns.int("id")?);
            open.conversation.room = columns.text("room")?;
        }
    }
    let mut rows: Vec<_> = conversations
        .values()
        .filter(|open| !open.is_new && !open.messages.is_empty())
        .map(|Open { conversation, next_seq, .. }| (conversation, *next_seq))
        .collect();
    rows.sort_unstable_by_key(|(conversation, _)| conversation.id);
    let rows = rows
        .into_iter()
        .map(|(conversation, next_seq)| {
            vec![
                conversation.id.into(),
                next_seq.into(),
                conversation.message_count.into(),
                conversation.note_count.into(),
                conversation.updated_at.into(),
            ]
        })
        .collect();
    transaction.query_many(update_conversation(), rows).await?;
    Ok(())
}

fn insert_conversation() -> Sql {
    Sql::each(
        "INSERT INTO conversations (id, session_id, by_visitor, room, integration_type, bot_id, user_id, \
             handler, next_seq, message_count, note_count, created_at, updated_at) \
         SELECT id, session_id, by_visitor, coalesce(room, integration_type || '-' || id), integration_type, \
             bot_id, user_id, handler, next_seq, message_count, note_count, at, at \
         FROM (SELECT nextval('conversation_ids') AS id, new.* FROM unnest(CAST($1 AS uuid[]), \
             CAST($2 AS bigint[]), CAST($3 AS text[]), CAST($4 AS text[]), CAST($5 AS text[]), \
             CAST($6 AS text[]), CAST($7 AS text[]), CAST($8 AS bigint[]), CAST($9 AS bigint[]), \
             CAST($10 AS bigint[]), CAST($11 AS bigint[])) AS new (session_id, by_visitor, room, \
             integration_type, bot_id, user_id, handler, next_seq, message_count, note_count, at)) numbered \
         RETURNING session_id, id, room",
        // The next id, as AUTOINCREMENT would give it, because the room's default has it in its name.
        "INSERT INTO conversations (id, session_id, by_visitor, room, integration_type, bot_id, user_id, \
             handler, next_seq, message_count, note_count, created_at, updated_at) \
         SELECT id, $1, $2, coalesce($3, $4 || '-' || id), $4, $5, $6, $7, $8, $9, $10, $11, $11 \
         FROM (SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'conversations'), 0) + 1 AS id) \
         RETURNING session_id, id, room",
    )
}

fn update_conversation() -> Sql {
    Sql::each(
        "UPDATE conversations SET next_seq = new.next_seq, message_count = new.message_count, \
             note_count = new.note_count, updated_at = new.updated_at \
         FROM unnest(CAST($1 AS bigint[]), CAST($2 AS bigint[]), CAST($3 AS bigint[]), \
             CAST($4 AS bigint[]), CAST($5 AS bigint[])) AS new (id, next_seq, message_count, note_count, \
             updated_at) \
         WHERE conversations.id = new.id",
        "UPDATE conversations SET next_seq = $2, message_count = $3, note_count = $4, updated_at = $5 \
         WHERE id = $1",
    )
}

/// Writes the messages and gives them their ids.
async fn store_messages(transaction: &Transaction<'_>, conversations: &mut Opens) -> Result<()> {
    let mut order: Vec<&mut Open> = conversations.values_mut().collect();
    order.sort_unstable_by_key(|open| open.conversation.id);
    let mut rows = Vec::new();
    let mut numbered: HashMap<(i64, i64), &mut Message> = HashMap::new();
    for open in order {
        for (_, message) in &mut open.messages {
            message.conversation_id = open.conversation.id;
            let payload = message.payload.as_ref().map(|payload| payload.as_str().to_owned());
            let bytes = message.text.len() + payload.as_ref().map_or(0, String::len);
            rows.push(vec![
                message.conversation_id.into(),
                message.seq.into(),
                message.role.as_str().into(),
                message.kind.as_str().into(),
                message.text.as_str().into(),
                payload.into(),
                i64::try_from(bytes).unwrap_or(i64::MAX).into(),
                message.reply_to.into(),
                message.created_at.into(),
            ]);
            numbered.insert((message.conversation_id.0, message.seq), message);
        }
    }
    for row in transaction.query_many(insert_message(), rows).await? {
        let mut columns = row.columns("messages");
        let place = (columns.int("conversation_id")?, columns.int("seq")?);
        if let Some(message) = numbered.get_mut(&place) {
            message.id = MessageId(columns.int("id")?);
        }
    }
    Ok(())
}

fn insert_message() -> Sql {
    Sql::each(
        // ORDER BY, so that ids rise in the order of the places.
        "INSERT INTO messages (conversation_id, seq, role, kind, text, payload, bytes, reply_to, created_at, \
             updated_at) \
         SELECT conversation_id, seq, role, kind, text, payload, bytes, reply_to, at, at \
         FROM unnest(CAST($1 AS bigint[]), CAST($2 AS bigint[]), CAST($3 AS text[]), CAST($4 AS text[]), \
             CAST($5 AS text[]), CAST($6 AS text[]), CAST($7 AS bigint[]), CAST($8 AS bigint[]), \
             CAST($9 AS bigint[])) WITH ORDINALITY AS new (conversation_id, seq, role, kind, text, payload, \
             bytes, reply_to, at, place) \
         ORDER BY place RETURNING conversation_id, seq, id",
        "INSERT INTO messages (conversation_id, seq, role, kind, text, payload, bytes, reply_to, created_at, \
             updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9) RETURNING conversation_id, seq, id",
    )
}

/// Opens asks, counts, and gives each append its outcome; returns what its claim is to remember.
async fn finish(
    transaction: &Transaction<'_>,
    batch: &mut [Item<'_>],
    passed_over: &HashSet<usize>,
    conversations: Opens,
) -> Result<Vec<Record>> {
    let mut counts: BTreeMap<(String, String), (i64, i64)> = BTreeMap::new();
    let mut stored: HashMap<usize, Vec<Message>> = HashMap::new();
    let mut states = HashMap::with_capacity(conversations.len());
    for (handle, open) in conversations {
        let Conversation { bot_id, integration_type, .. } = &open.conversation;
        let count = counts.entry((bot_id.clone(), integration_type.clone())).or_default();
        count.0 += i64::from(open.is_new);
        count.1 += i64::try_from(open.messages.len()).unwrap_or(i64::MAX);
        for (index, message) in open.messages {
            stored.entry(index).or_default().push(message);
        }
        states.insert(handle, open.conversation);
    }
    super::conversations::count(transaction, counts).await?;

    let (mut opened, mut records, mut released) = (vec![], vec![], vec![]);
    for (index, (append, node, outcome)) in batch.iter_mut().enumerate() {
        if passed_over.contains(&index) {
            continue;
        }
        let Some(conversation) = states.get(&handle(append)) else {
            **outcome = Some(Outcome::Gone);
            released.extend(append.claim.as_ref().map(|claim| &claim.key));
            continue;
        };
        let messages = stored.remove(&index).unwrap_or_default();
        let appended = Appended { conversation: conversation.clone(), messages };
        let first = appended.messages.first().map(|message| message.id);
        match &append.ask {
            Ask::No => {}
            Ask::Opens => {
                if let Some(question) = first {
                    opened.push(vec![question.into(), i64::from(*node).into(), append.at.into()]);
                }
            }
            Ask::Closes { question, key } => {
                records.extend(key.as_ref().map(|key| Record::result(key, Some(*question), &appended)));
            }
        }
        if let Some(claim) = &append.claim {
            records.push(match claim.lease_until {
                Some(_) => Record::running(&claim.key, conversation.id, first),
                None => Record::result(&claim.key, first, &appended),
            });
        }
        **outcome = Some(Outcome::Stored(appended));
    }
    questions::open(transaction, opened).await?;
    idempotency::release(transaction, released).await?;
    Ok(records)
}
