//! The feed: every change once, in one order, whoever commits and whatever else commits at the same time.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use wicara_model::{
    Answer, Author, AuthorKind, Bots, Change, ConversationId, ConversationPatch, Event, EventNumber,
    FailureReason, Handler, HandoverReason, MessageId, MessagePatch, NewMessage, NewUser, Role, Timestamp,
};
use wicara_store::{
    Append, Ask, Attempt, Claim, EventsOf, Handling, IdempotencyKey, Operator, Outcome, Store, Target,
};

use super::together::open;
use super::{append, asks, attempt, handled, new_conversation, operator, stored};
use crate::support::{Database, Engine, PATIENCE, on_both_engines, within};

on_both_engines!(
    each_change_is_an_event_once,
    old_events_are_dropped_but_never_the_newest,
    a_change_that_fails_leaves_no_event,
    what_changes_nothing_leaves_no_event,
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
    let both = async { tokio::join!(reader, join_all(writers)) };
    let (seen, written) = within(PATIENCE, "every event is read", both).await;

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
    assert_eq!(events(&store, EventNumber(0)).await, before);
}

/// Commands that are refused, or that find everything as they want it.
async fn what_changes_nothing_leaves_no_event(engine: Engine) {
    let database = Database::new(engine).await;
    let store = open(&database.url).await;
    let (now, gone) = (Timestamp(2_000), ConversationId(i64::MAX / 2));
    let user = NewUser {
        email: "ani@x".into(),
        name: "ani".into(),
        password_hash: "h".into(),
        role: Role::Agent,
        bots: Bots::All,
    };
    let person = store.user_create(user, now).await.unwrap().person;
    let author = Author { id: person.id.to_string(), kind: AuthorKind::Person, name: person.name };
    let ani = Operator { author, is_admin: false };
    let budi = Operator { author: Author { id: "key-9".into(), ..ani.author.clone() }, is_admin: false };
    let claim = Claim {
        key: IdempotencyKey { scope: "s".into(), key: "k".into() },
        body: [1; 32],
        lease: None,
        attempt: None,
    };
    let keyed = |target| Append { claim: Some(claim.clone()), ..append(target, &["halo"]) };
    let with = |target, ask| Append { ask, ..append(target, &[]) };
    let opened = stored(store.append(keyed(Target::New(new_conversation("guide")))).await.unwrap());
    let (id, message) = (opened.conversation_id, opened.messages[0].id);
    let asked = Append { ask: asks(attempt(message).id), ..append(Target::Existing(id), &["halo"]) };
    let question = stored(store.append(asked).await.unwrap()).messages[0].id;
    store.conversation_seen(id, person.id.to_string(), question).await.unwrap();
    store.conversation_seen_by_visitor(id, question).await.unwrap();

    let before = events(&store, EventNumber(0)).await;
    let elsewhere = Ask::Opens { attempt: attempt(message).id, bot_id: "other".into() };
    for (refused, outcome) in [
        (append(Target::Existing(gone), &["halo"]), "Gone"),
        (keyed(Target::Existing(id)), "Claimed"),
        (Append { ask: elsewhere, ..append(Target::Existing(id), &["halo"]) }, "Moved"),
        (with(Target::Existing(id), Ask::Answers { attempt: attempt(message) }), "Superseded"),
        (fails(id, message), "Superseded"),
    ] {
        let refused = store.append(refused).await.unwrap();
        assert!(format!("{refused:?}").starts_with(outcome), "{refused:?}");
    }
    let nothing = ConversationPatch::default();
    handled(store.conversation_update(id, nothing.clone(), operator(), now).await.unwrap());
    let room = ConversationPatch { room: Some("r".into()), ..nothing };
    assert_eq!(store.conversation_update(gone, room, operator(), now).await.unwrap(), Handling::Gone);
    let patch = MessagePatch { text: Some("x".into()), ..MessagePatch::default() };
    assert!(store.message_update(id, MessageId(i64::MAX), patch.clone(), now).await.unwrap().is_none());
    assert!(store.message_update(gone, message, patch, now).await.unwrap().is_none());
    assert!(store.message_delete(id, MessageId(i64::MAX), now).await.unwrap().is_none());
    assert!(store.message_delete(gone, message, now).await.unwrap().is_none());
    assert!(store.conversation_delete(gone).await.unwrap().is_none());
    assert_eq!(store.conversation_claim(id, budi.clone(), false, now).await.unwrap(), Handling::Gone);
    handled(store.conversation_release(id, ani.clone(), Handler::Bot, now).await.unwrap());
    for mark in [message, question] {
        store.conversation_seen(id, person.id.to_string(), mark).await.unwrap();
        store.conversation_seen_by_visitor(id, mark).await.unwrap();
    }
    assert_eq!(store.conversation_return(now, "back", now).await.unwrap(), 0);
    assert_eq!(events(&store, EventNumber(0)).await, before);

    handled(store.conversation_claim(id, ani.clone(), false, now).await.unwrap());
    let before = events(&store, EventNumber(0)).await;
    handled(store.conversation_claim(id, ani, false, now).await.unwrap());
    let claimed = store.conversation_release(id, budi, Handler::Bot, now).await.unwrap();
    assert!(matches!(claimed, Handling::Claimed(_)), "{claimed:?}");
    store.conversation_hand_over(id, HandoverReason::Visitor, now).await.unwrap();
    // Its answers were stopped already.
    assert!(store.answers_stop(id).await.unwrap());
    let answer = NewMessage::answer(Answer::text("Satu."), question);
    let ask = Ask::Answers { attempt: Attempt { question, ..attempt(message) } };
    let late = Append { messages: vec![answer], ..with(Target::Existing(id), ask) };
    assert!(matches!(store.append(late).await.unwrap(), Outcome::Stopped));
    assert_eq!(events(&store, EventNumber(0)).await, before);
}

/// A question is given up that is not being asked.
fn fails(id: ConversationId, question: MessageId) -> Append {
    let ask = Ask::Fails { attempt: attempt(question), reason: FailureReason::Timeout };
    Append { ask, ..append(Target::Existing(id), &[]) }
}
