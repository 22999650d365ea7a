//! Everything that is stored, compared with the model: through the store, and the tables that it shows nobody.

use wicara_model::{
    Bots, Conversation, ConversationFilter, ConversationId, Cursor, Ending, Listing, Message, MessageFilter,
    Order,
};
use wicara_store::{Embed, Store};

use super::super::totals::totals_are_exact;
use super::groups::{BOTS, KINDS};
use super::model::{Kept, Model};
use crate::support::Database;
use crate::support::database::connect;

pub async fn compare(store: &Store, database: &Database, model: &Model) {
    for id in &model.gone {
        assert_eq!(store.conversation_get(*id).await.unwrap(), None, "conversation {id}");
    }
    for kept in model.conversations.values() {
        conversation(store, kept).await;
    }
    let rows = rows(database, "SELECT id, next_seq FROM conversation_states ORDER BY id").await;
    let expected =
        model.conversations.values().map(|kept| format!("{} {}", kept.conversation.id, kept.next_seq));
    assert_eq!(rows, expected.collect::<Vec<_>>(), "places");
    asks_and_keys(database, model).await;
    activity(database, model).await;
    deletions(database, model).await;
    if model.following.is_empty() {
        totals_are_exact(database).await;
        lists(store, model).await;
    }
}

/// All messages of a conversation, by id; none where it is gone.
pub async fn messages(store: &Store, id: ConversationId) -> Vec<Message> {
    let Some(conversation) = store.conversation_get(id).await.unwrap() else { return Vec::new() };
    let filter = MessageFilter { conversation_id: Some(id) };
    let mut last = None;
    let mut found = Vec::new();
    loop {
        let cursor = Cursor::Between { after: last, before: None };
        let listing = Listing { cursor, limit: Listing::MAX_LIMIT, order: Order::Ascending };
        let count = Some(conversation.message_count);
        let list = store.message_list(&Bots::All, &filter, count, &listing).await.unwrap();
        let Some(newest) = list.items.last() else { break };
        last = Some(newest.id.0);
        let ids: Vec<_> = list.items.iter().map(|item| item.id).collect();
        let messages = store.message_get_many(&ids).await.unwrap();
        for (item, stored) in list.items.iter().zip(&messages) {
            assert_eq!(item.bytes, i64::try_from(stored.message.bytes()).unwrap());
            assert_eq!(stored.bot_id, conversation.bot_id);
        }
        found.extend(messages.into_iter().map(|stored| stored.message));
    }
    found
}

async fn conversation(store: &Store, kept: &Kept) {
    let id = kept.conversation.id;
    kept.assert_is(&store.conversation_get(id).await.unwrap().expect("it is there"));
    let found = messages(store, id).await;
    assert_eq!(found.len(), kept.messages.len(), "conversation {id}");
    for (found, expected) in found.iter().zip(&kept.messages) {
        assert_eq!(found, expected, "conversation {id}");
    }
}

async fn asks_and_keys(database: &Database, model: &Model) {
    let asks = "SELECT message_id, lower(hex(attempt)), stopped FROM asks ORDER BY message_id";
    let asks = rows(database, asks).await;
    let expected = model
        .asks
        .iter()
        .map(|(id, asking)| format!("{id} {} {}", asking.attempt.simple(), asking.mark as u8));
    assert_eq!(asks, expected.collect::<Vec<_>>(), "asks");

    let keys = "SELECT scope, key, lower(hex(body)), done, conversation_id, message_id FROM idempotency";
    let mut keys = rows(database, keys).await;
    keys.sort_unstable();
    let expected = model.keys.iter().map(|(of, key)| {
        let body: String = key.body.iter().map(|byte| format!("{byte:02x}")).collect();
        let message = key.message.map_or("-".into(), |id| id.to_string());
        let done = match key.ending {
            None => 0,
            Some(Ending::Answered) => 1,
            Some(Ending::ForPeople) => 2,
            Some(Ending::Stopped) => 3,
        };
        let conversation = key.conversation;
        format!("{} {} {body} {done} {conversation} {message}", of.scope, of.key)
    });
    let mut expected: Vec<_> = expected.collect();
    expected.sort_unstable();
    assert_eq!(keys, expected, "idempotency keys");
}

/// What lists read, a row for each conversation. Where an append said an earlier time than the one before it, its minute may
/// be either's.
async fn activity(database: &Database, model: &Model) {
    let sql = "SELECT conversation_id, state, bot_id, integration_type, handler, assignee_id FROM conversation_activity \
         ORDER BY conversation_id";
    let expected = model.conversations.values().map(|kept| {
        let conversation = &kept.conversation;
        let Conversation { id, bot_id, integration_type, handler, assignee, .. } = conversation;
        let assignee = assignee.as_ref().map_or("-", |assignee| &assignee.id);
        format!("{id} {} {bot_id} {integration_type} {} {assignee}", model.state(kept), handler.as_str())
    });
    assert_eq!(rows(database, sql).await, expected.collect::<Vec<_>>(), "activity");
    let minutes = rows(database, "SELECT minute FROM conversation_activity ORDER BY conversation_id").await;
    for (minute, kept) in minutes.iter().zip(model.conversations.values()) {
        let minutes = kept.conversation.updated_at.0 / 60_000..=kept.latest.0 / 60_000;
        assert!(
            minutes.contains(&minute.parse().unwrap()),
            "{minute} in {minutes:?}: {:?}",
            kept.conversation
        );
    }
}

/// What is left of conversations that are gone.
async fn deletions(database: &Database, model: &Model) {
    let following = rows(database, "SELECT conversation_id FROM deletions ORDER BY conversation_id").await;
    let expected = model.following.keys().map(ToString::to_string);
    assert_eq!(following, expected.collect::<Vec<_>>(), "deletions");
    let count = rows(database, "SELECT count(*) FROM messages").await;
    let kept: usize = model.conversations.values().map(|kept| kept.messages.len()).sum();
    let following: usize = model.following.values().map(Vec::len).sum();
    assert_eq!(count, [(kept + following).to_string()], "messages");
}

async fn lists(store: &Store, model: &Model) {
    let listing = Listing { cursor: Cursor::Page(1), limit: 1, order: Order::Descending };
    for bot in BOTS {
        let bots = Bots::Only(vec![bot.into()]);
        let of_bot = || {
            let all = model.conversations.values().map(|kept| &kept.conversation);
            all.filter(|conversation| conversation.bot_id == bot)
        };
        for kind in KINDS {
            let filter = ConversationFilter { integration_type: Some(kind.into()), ..Default::default() };
            let list = store.conversation_list(&bots, &filter, &listing, Embed::Last).await.unwrap();
            let expected = of_bot().filter(|conversation| conversation.integration_type == kind).count();
            assert_eq!(list.total, i64::try_from(expected).unwrap(), "conversations of {bot} by {kind}");
        }
        let list = store.message_list(&bots, &MessageFilter::default(), None, &listing).await.unwrap();
        let expected: i64 = of_bot().map(|conversation| conversation.message_count).sum();
        assert_eq!(list.total, expected, "messages of {bot}");
    }
}

/// What a query finds, a line a row; nothing stands as `-`.
pub async fn rows(database: &Database, sql: &str) -> Vec<String> {
    if let Some(path) = database.url.strip_prefix("sqlite:") {
        use rusqlite::types::ValueRef;
        let connection = rusqlite::Connection::open(path).unwrap();
        let mut statement = connection.prepare(sql).unwrap();
        let columns = statement.column_count();
        let line = |row: &rusqlite::Row| {
            let word = |column| match row.get_ref(column).unwrap() {
                ValueRef::Null => "-".to_owned(),
                ValueRef::Integer(number) => number.to_string(),
                ValueRef::Text(text) => String::from_utf8(text.to_vec()).unwrap(),
                other => panic!("{other:?}"),
            };
            Ok((0..columns).map(word).collect::<Vec<_>>().join(" "))
        };
        statement.query_map([], line).unwrap().collect::<Result<_, _>>().unwrap()
    } else {
        let sql = sql
            .replace("lower(hex(body))", "encode(body, 'hex')")
            .replace("lower(hex(attempt))", "replace(CAST(attempt AS text), '-', '')");
        let mut lines = Vec::new();
        for message in connect(&database.url).await.simple_query(&sql).await.unwrap() {
            if let tokio_postgres::SimpleQueryMessage::Row(row) = message {
                let words = (0..row.len()).map(|column| row.get(column).unwrap_or("-"));
                lines.push(words.collect::<Vec<_>>().join(" "));
            }
        }
        lines
    }
}
