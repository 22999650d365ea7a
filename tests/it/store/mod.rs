mod append;
mod feed;
mod handover;
mod histories;
mod idempotency;
mod lists;
mod locked;
mod moving;
mod nodes;
mod people;
mod pooler;
mod probe;
mod round_trips;
mod schema;
mod search;
mod together;
mod totals;
mod transfer;
mod walks;

pub use totals::totals_are_exact;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use uuid::Uuid;
use wicara_metrics::Metrics;
use wicara_model::{
    Author, AuthorKind, Bots, Conversation, ConversationId, FailureReason, Message, MessageId,
    NewConversation, NewMessage, Timestamp,
};
use wicara_platform::Random;
use wicara_store::{
    Append, Ask, Attempt, Detail, Embed, Handling, MessageChunk, Operator, Outcome, Store, Stored, Target,
};

use crate::support::database::connect;
use crate::support::{Database, Engine};

/// A store with a database of its own.
struct TestStore {
    store: Store,
    database: Database,
}

impl std::ops::Deref for TestStore {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

async fn open(engine: Engine) -> TestStore {
    let database = Database::new(engine).await;
    let store = reopen(&database).await;
    TestStore { store, database }
}

async fn reopen(database: &Database) -> Store {
    Store::open(&database.url, Duration::ZERO, &Random::System, &Metrics::default()).await.unwrap()
}

fn new_conversation(bot_id: &str) -> NewConversation {
    NewConversation {
        session_id: Uuid::new_v4(),
        by_visitor: true,
        room: None,
        integration_type: "website".into(),
        bot_id: bot_id.into(),
        user_id: None,
    }
}

fn append(target: Target, texts: &[&str]) -> Append {
    let messages = texts.iter().map(|text| NewMessage::question((*text).into())).collect();
    Append { at: Timestamp(1_000), target, messages, ask: Ask::No, claim: None }
}

fn stored(outcome: Outcome) -> Stored {
    match outcome {
        Outcome::Stored(stored) => stored,
        other => panic!("not stored: {other:?}"),
    }
}

/// The first attempt at a question.
fn attempt(question: MessageId) -> Attempt {
    Attempt { question, id: Uuid::from_u128(1) }
}

/// A conversation as it was when its messages were stored.
pub struct Created {
    pub conversation: Conversation,
    pub messages: Vec<Message>,
}

/// A conversation with these messages.
pub async fn create(store: &Store, bot_id: &str, texts: &[&str]) -> Created {
    let append = append(Target::New(new_conversation(bot_id)), texts);
    let Stored { conversation_id, messages, .. } = stored(store.append(append).await.unwrap());
    Created { conversation: get(store, conversation_id).await, messages }
}

/// Gives a question up; `false` if its attempt is not under way.
async fn fail(
    store: &Store,
    conversation: ConversationId,
    attempt: Attempt,
    reason: FailureReason,
    at: Timestamp,
) -> bool {
    let ask = Ask::Fails { attempt, reason };
    let failure = Append { at, ask, ..append(Target::Existing(conversation), &[]) };
    match store.append(failure).await.unwrap() {
        Outcome::Stored(_) => true,
        Outcome::Superseded => false,
        other => panic!("{other:?}"),
    }
}

/// An administrator, who may take what others have.
fn operator() -> Operator {
    Operator {
        author: Author { id: "1".into(), kind: AuthorKind::Person, name: "admin".into() },
        is_admin: true,
    }
}

fn handled(handling: Handling) -> Conversation {
    match handling {
        Handling::Done(conversation, _) => conversation,
        other => panic!("not done: {other:?}"),
    }
}

/// A question for the guide bot, in its first attempt.
fn asks(attempt: Uuid) -> Ask {
    Ask::Opens { attempt, bot_id: "guide".into() }
}

/// All messages of a conversation that are no notes.
async fn messages(store: &Store, id: ConversationId) -> Vec<Message> {
    let Detail { conversation, chunk, .. } = store.detail_get(&Bots::All, id).await.unwrap().unwrap();
    let MessageChunk { messages: mut all, mut remaining } = chunk;
    while let Some(after) = remaining {
        let chunk = store.message_chunk(id, after).await.unwrap();
        all.extend(chunk.messages);
        remaining = chunk.remaining;
    }
    if conversation.note_count == 0 {
        let bytes = |message: &Message| {
            message.text.len() + message.payload.as_ref().map_or(0, |payload| payload.as_str().len())
        };
        let bytes: usize = all.iter().map(bytes).sum();
        assert_eq!(conversation.message_bytes, i64::try_from(bytes).unwrap());
    }
    all
}

async fn total(store: &Store, bots: &Bots) -> (i64, i64) {
    use wicara_model::{ConversationFilter, MessageFilter};
    let listing = lists::page(1, 1);
    let conversations =
        store.conversation_list(bots, &ConversationFilter::default(), &listing, Embed::Last).await.unwrap();
    let messages = store.message_list(bots, &MessageFilter::default(), None, &listing).await.unwrap();
    (conversations.total, messages.total)
}

async fn get(store: &Store, id: ConversationId) -> Conversation {
    store.conversation_get(id).await.unwrap().unwrap()
}

fn manual(millis: i64) -> Timestamp {
    Timestamp(millis)
}

/// Randomness that differs from store to store, so that each is a node of its own.
fn node(number: u64) -> Random {
    // Far apart, so that none repeats what another drew.
    Random::Counter(Arc::new(AtomicU64::new(number * 1_000_000)))
}

/// Runs SQL behind the store's back.
/// Rows of a table.
pub async fn count(database: &Database, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table}");
    if let Some(path) = database.url.strip_prefix("sqlite:") {
        rusqlite::Connection::open(path).unwrap().query_row(&sql, [], |row| row.get(0)).unwrap()
    } else {
        connect(&database.url).await.query_one(&sql, &[]).await.unwrap().get(0)
    }
}

pub async fn execute(database: &Database, sql: &str) {
    if let Some(path) = database.url.strip_prefix("sqlite:") {
        rusqlite::Connection::open(path).unwrap().execute_batch(sql).unwrap();
    } else {
        connect(&database.url).await.batch_execute(sql).await.unwrap();
    }
}
