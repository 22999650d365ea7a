//! The feed: every change once, in one order, whoever commits and whatever else commits at the same time.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use wicara_model::{Change, ConversationPatch, Event, EventNumber, MessageId, Timestamp};
use wicara_store::{EventsOf, Store, Target};

use super::together::open;
use super::{append, handled, new_conversation, operator, stored};
use crate::support::{Database, Engine, on_both_engines};

on_both_engines!(
    each_change_is_an_event_once,
    old_events_are_dropped_but_never_the_newest,
    a_change_that_fails_leaves_no_event
);

const WRITERS: usize = 8;
const ROUNDS: usize = 12;

async fn events(store: &Store, mut after: EventNumber) -> Vec<Event> {
    let mut found = Vec::new();
    loop {
        let page = store.event_list(after, EventsOf::All).await.unwrap();
        found.extend(page.events);
        after = page.reached;
        if !page.has_more {
            return found;
        }
    }
}

/// Writes on one node; returns the messages that it stored.
async fn write(store: &Store) -> Vec<MessageId> {
    let opened = append(Target::New(new_conversation("guide")), &["halo"]);
    let opened = stored(store.append(opened).await.unwrap());
    let id = opened.conversation_id;
    let mut messages = vec![opened.messages[0].id];
    for round in 0..ROUNDS {
        if round % 3 == 0 {
            let patch = ConversationPatch { room: Some(format!("room {round}")), ..Default::default() };
            handled(store.conversation_update(id, patch, operator(), Timestamp(2_000)).await.unwrap());
        }
        let said = stored(store.append(append(Target::Existing(id), &["a", "b"])).await.unwrap());
        messages.extend(said.messages.iter().map(|message| message.id));
    }
    messages
}

async fn each_change_is_an_event_once(engine: Engine) {
    let database = Database::new(engine).await;
    let nodes = match engine {
        Engine::Postgres => vec![open(&database.url).await, open(&database.url).await],
        Engine::Sqlite => vec![open(&database.url).await],
    };
    let reader = async {
        // Reads while others write, from wherever it is.
        let (mut seen, mut after) = (Vec::new(), EventNumber(0));
        let expected = WRITERS * (2 + 2 * ROUNDS + ROUNDS.div_ceil(3));
        while seen.len() < expected {
            let page = nodes[0].event_list(after, EventsOf::All).await.unwrap();
            seen.extend(page.events);
            after = page.reached;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        seen
    };
    let writers = (0..WRITERS).map(|writer| write(&nodes[writer % nodes.len()]));
    let (seen, written) = tokio::join!(reader, join_all(writers));

    let numbers: Vec<_> = seen.iter().map(|event| event.number.0).collect();
    assert_eq!(numbers, (1..=i64::try_from(seen.len()).unwrap()).collect::<Vec<_>>());
    assert_eq!(events(&nodes[0], EventNumber(0)).await, seen, "the order does not change");
    let mut created: BTreeMap<MessageId, usize> = BTreeMap::new();
    for event in &seen {
        if let Change::MessageCreated { id, .. } = &event.change {
            *created.entry(*id).or_default() += 1;
        }
    }
    let expected = written.into_iter().flatten().map(|id| (id, 1)).collect();
    assert_eq!(created, expected);
}

async fn old_events_are_dropped_but_never_the_newest(engine: Engine) {
    let database = Database::new(engine).await;
    let store = open(&database.url).await;
    write(&store).await;
    let all = events(&store, EventNumber(0)).await;
    store.event_expire(Duration::from_secs(3600)).await.unwrap();
    assert_eq!(events(&store, EventNumber(0)).await, all);
    // Times in the database are whole milliseconds.
    tokio::time::sleep(Duration::from_millis(2)).await;
    store.event_expire(Duration::ZERO).await.unwrap();
    let page = store.event_list(EventNumber(0), EventsOf::All).await.unwrap();
    assert_eq!(page.head, all.last().unwrap().number);
    assert_eq!(page.events.last(), all.last());
    assert!(page.events.len() < all.len() / 2, "{}", page.events.len());
    assert_eq!(page.dropped.0 + 1, page.events[0].number.0);
    write(&store).await;
    assert!(events(&store, page.head).await.iter().all(|event| event.number > page.head));
}

async fn a_change_that_fails_leaves_no_event(engine: Engine) {
    let database = Database::new(engine).await;
    let store = open(&database.url).await;
    let new = new_conversation("guide");
    store.append(append(Target::New(new.clone()), &["halo"])).await.unwrap();
    let before = events(&store, EventNumber(0)).await;
    assert!(store.append(append(Target::New(new), &["halo"])).await.is_err());
    let gone = wicara_model::ConversationId(i64::MAX / 2);
    store.append(append(Target::Existing(gone), &["halo"])).await.unwrap();
    assert_eq!(events(&store, EventNumber(0)).await, before);
}
