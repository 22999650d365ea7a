//! Lists that are walked from place to place: while what they hold moves, where there is more than they count, and while
//! what was stored before is still being indexed.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use wicara_model::{
    ActivityFilter, Bots, ConversationFilter, ConversationId, Cursor, Handler, Listing, MessageWalkFilter,
    NewMessage, Order, Place, Sort, Timestamp, Walked,
};
use wicara_store::{
    ActivityIndexed, Append, ConversationWalk, Embed, MessageWalk, Progress, Store, Target, Unfinished,
};

use super::transfer::dump::rows;
use super::{append, execute, manual, new_conversation, open, reopen, stored};
use crate::support::{Database, Engine, on_both_engines};

on_both_engines!(
    what_does_not_move_is_never_passed_over,
    totals_stop_and_walks_go_on,
    what_was_stored_before_is_indexed_in_steps,
    a_copy_and_a_restored_backup_are_indexed_anew,
    many_that_do_not_match_are_passed_in_pages,
);

const MINUTE: i64 = 60_000;

fn walk(sort: Sort, order: Order, limit: i64) -> ConversationWalk {
    ConversationWalk {
        filter: ConversationFilter::default(),
        activity: ActivityFilter::default(),
        reader: None,
        sort,
        listing: Listing { cursor: Cursor::Page(1), limit, order },
        after: None,
    }
}

/// The ids of a page, and how the list goes on.
async fn page(store: &Store, walk: &ConversationWalk) -> (Vec<i64>, i64, Walked) {
    let list = store.conversation_walk(&Bots::All, walk, Embed::Last).await.unwrap();
    let ids = list.items.iter().map(|listed| listed.conversation.id.0).collect();
    (ids, list.total, list.walked.unwrap())
}

/// Conversations of which each was active in another minute; returns their ids.
async fn over_the_minutes(store: &Store, count: i64) -> Vec<i64> {
    let mut ids = Vec::new();
    for number in 0..count {
        let opened = append(Target::New(new_conversation("guide")), &["halo"]);
        let opened = store.append(Append { at: Timestamp(number * MINUTE), ..opened }).await.unwrap();
        ids.push(stored(opened).conversation_id.0);
    }
    ids
}

async fn what_does_not_move_is_never_passed_over(engine: Engine) {
    let store = open(engine).await;
    let ids = over_the_minutes(&store, 40).await;
    let unanswered = ActivityFilter { unanswered: Some(true), ..ActivityFilter::default() };
    for (round, (sort, order)) in (1..).zip([
        (Sort::Activity, Order::Descending),
        (Sort::Activity, Order::Ascending),
        (Sort::Created, Order::Descending),
        (Sort::Created, Order::Ascending),
    ]) {
        let mut walk = ConversationWalk { activity: unanswered.clone(), ..walk(sort, order, 3) };
        let (mut found, mut moved) = (Vec::new(), BTreeSet::new());
        for step in 0.. {
            let (part, _, walked) = page(&store, &walk).await;
            found.extend(part);
            walk.after = walked.next;
            if walk.after.is_none() {
                break;
            }
            // Not for ever: what moves to the end of a list is met there again.
            if step >= 6 {
                continue;
            }
            // One that was seen, one that is still to come, and one beside the place: they move to one end or the other, or
            // out of the list.
            for (number, place) in [step, 39 - step % 40, found.len()].into_iter().enumerate() {
                let id = ids[place % ids.len()];
                moved.insert(id);
                let at = Timestamp((1000 * round + i64::try_from(step).unwrap()) * MINUTE);
                let says = if number == 1 { "bot" } else { "client" };
                let messages = vec![NewMessage { role: says.into(), ..NewMessage::question("x".into()) }];
                let target = Target::Existing(ConversationId(id));
                stored(store.append(Append { at, messages, ..append(target, &[]) }).await.unwrap());
            }
        }
        let stayed: Vec<_> = ids.iter().filter(|id| !moved.contains(id)).collect();
        assert!(!stayed.is_empty() && !moved.is_empty());
        for id in ids.iter().filter(|id| !moved.contains(id)) {
            let times = found.iter().filter(|found| *found == id).count();
            assert_eq!(times, 1, "conversation {id} by {sort:?}, {order:?}: {found:?}");
        }
        // All wait again.
        for id in &moved {
            let target = Target::Existing(ConversationId(*id));
            stored(store.append(append(target, &["halo"])).await.unwrap());
        }
    }
}

async fn totals_stop_and_walks_go_on(engine: Engine) {
    let store = open(engine).await;
    super::create(&store, "guide", &["halo"]).await;
    // Far more than one by one in time.
    let numbers = match engine {
        Engine::Postgres => "generate_series(2, 10105) AS numbers (n)",
        Engine::Sqlite => {
            "(WITH RECURSIVE numbers (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM numbers WHERE n < 10105) \
             SELECT n FROM numbers) AS numbers"
        }
    };
    let session = match engine {
        Engine::Postgres => "gen_random_uuid()",
        Engine::Sqlite => "randomblob(16)",
    };
    execute(
        &store.database,
        &format!(
            "INSERT INTO conversations (id, session_id, by_visitor, room, integration_type, bot_id, handler, next_seq, \
                 message_count, note_count, message_bytes, created_at, updated_at) \
             SELECT n, {session}, 1, 'r', 'website', 'guide', 'bot', 1, 0, 0, 0, n, n FROM {numbers}; \
             INSERT INTO conversation_activity (conversation_id, minute, state, bot_id, integration_type, handler) \
             SELECT id, updated_at / 60000, 0, bot_id, integration_type, handler FROM conversations WHERE id > 1"
        ),
    )
    .await;
    for sort in [Sort::Activity, Sort::Created] {
        let mut walk = walk(sort, Order::Descending, 100);
        walk.activity.handler = Some(Handler::Bot);
        let mut found = BTreeSet::new();
        loop {
            let (part, total, walked) = page(&store, &walk).await;
            assert_eq!((total, walked.is_exact), (10_000, false));
            found.extend(part);
            match walked.next {
                None => break,
                next => walk.after = next,
            }
        }
        assert_eq!(found.len(), 10_105, "{sort:?}");
        walk.after = None;
        for (number, length) in [(100, 100), (101, 0), (i64::MAX, 0)] {
            walk.listing.cursor = Cursor::Page(number);
            let (part, total, _) = page(&store, &walk).await;
            assert_eq!((part.len(), total), (length, 10_000), "page {number} by {sort:?}");
        }
    }
    let counts = store.conversation_counts(&Bots::All, Some("1")).await.unwrap();
    assert_eq!((counts.unanswered, counts.queue), (1, 0));
}

async fn many_that_do_not_match_are_passed_in_pages(engine: Engine) {
    let store = open(engine).await;
    let said = |role: &str| NewMessage { role: role.into(), ..NewMessage::question("x".into()) };
    let opened = append(Target::New(new_conversation("guide")), &[]);
    let first = Append { messages: vec![said("note")], ..opened.clone() };
    let id = stored(store.append(first).await.unwrap()).conversation_id;
    for _ in 0..6 {
        let messages = (0..2000).map(|_| said("bot")).collect();
        let target = Target::Existing(id);
        stored(store.append(Append { messages, target, ..opened.clone() }).await.unwrap());
    }
    let mut walk = MessageWalk {
        conversation_id: Some(id),
        filter: MessageWalkFilter { role: Some("note".into()), ..MessageWalkFilter::default() },
        listing: Listing { cursor: Cursor::Page(1), limit: 10, order: Order::Descending },
        after: None,
    };
    let (mut found, mut pages) = (0, 0);
    loop {
        let list = store.message_walk(&Bots::All, &walk).await.unwrap();
        let walked = list.walked.unwrap();
        // It is among those that were not looked at: there are so many at least.
        assert_eq!((list.total, walked.is_exact), (0, false));
        found += list.items.len();
        pages += 1;
        match walked.next {
            None => break,
            next => walk.after = next,
        }
    }
    assert_eq!(found, 1);
    assert!(pages > 1, "a page looks at a part of them");
}

async fn what_was_stored_before_is_indexed_in_steps(engine: Engine) {
    let store = open(engine).await;
    let opened = join_all((0..450).map(|number| {
        let opened = append(
            Target::New(new_conversation(if number % 3 == 0 { "seldom" } else { "guide" })),
            &["halo"],
        );
        store.append(Append { at: Timestamp(number * MINUTE), ..opened })
    }));
    let opened: Vec<_> = opened.await.into_iter().map(|outcome| stored(outcome.unwrap())).collect();
    let all = "SELECT CAST(conversation_id AS text), CAST(minute AS text), CAST(state AS text), bot_id, integration_type, \
         handler, coalesce(assignee_id, '-') FROM conversation_activity ORDER BY conversation_id";
    let expected = rows(&store.database, all).await;
    assert_eq!(expected.len(), 450);
    // As a migration leaves it.
    execute(
        &store.database,
        "DELETE FROM conversation_activity; UPDATE activity_index SET below = (SELECT max(id) + 1 FROM conversations)",
    )
    .await;
    store.close().await;
    let database = &store.database;
    let walk = walk(Sort::Activity, Order::Descending, 100);
    let mut store = reopen(database).await;
    let (found, total, walked) = page(&store, &walk).await;
    assert_eq!((found.len(), total), (0, 0));
    assert!(walked.indexed_from.is_some());

    let ActivityIndexed::From(below) = store.activity_index_step().await.unwrap() else {
        panic!("there is more")
    };
    let (found, total, walked) = page(&store, &walk).await;
    assert_eq!((found.len(), total, walked.is_exact), (100, 200, true));
    assert!(found.iter().all(|id| *id >= below.0), "the newest first");
    let oldest = opened.iter().find(|opened| opened.conversation_id == below).unwrap();
    assert_eq!(walked.indexed_from, Some(oldest.messages[0].created_at));
    let counts = store.conversation_counts(&Bots::All, None).await.unwrap();
    assert_eq!((counts.unanswered, counts.indexed_from), (200, walked.indexed_from));

    // What happens meanwhile is there at once, and what is deleted stays so.
    let [oldest, gone] = [0, 1].map(|place| {
        let mut ids: Vec<_> = opened.iter().map(|opened| opened.conversation_id).collect();
        ids.sort_unstable();
        ids[place]
    });
    let handed =
        store.conversation_hand_over(oldest, wicara_model::HandoverReason::Visitor, manual(MINUTE * 1000));
    handed.await.unwrap().unwrap();
    assert_eq!(page(&store, &walk).await.0[0], oldest.0);
    store.conversation_delete(gone).await.unwrap().unwrap();

    // A server that stops leaves the rest to the next one.
    store.close().await;
    store = reopen(database).await;
    let ActivityIndexed::From(next) = store.activity_index_step().await.unwrap() else {
        panic!("there is more")
    };
    assert!(next < below, "it goes on");
    let mut steps = 0;
    while store.activity_index_step().await.unwrap() != ActivityIndexed::All {
        steps += 1;
        assert!(steps < 10, "it comes to an end");
    }
    let found = rows(database, all).await;
    let is_other = |row: &&Vec<String>| ![oldest, gone].iter().any(|id| row[0] == id.to_string());
    assert_eq!(
        found.iter().filter(is_other).collect::<Vec<_>>(),
        expected.iter().filter(is_other).collect::<Vec<_>>()
    );
    assert_eq!(found.len(), 449);
    let (_, total, walked) = page(&store, &walk).await;
    assert_eq!((total, walked.is_exact, walked.indexed_from), (449, true, None));
    let mut after: Option<Place> = None;
    let mut all = BTreeSet::new();
    loop {
        let (part, _, walked) = page(&store, &ConversationWalk { after, ..walk.clone() }).await;
        all.extend(part);
        after = walked.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(all.len(), 449);
}

async fn a_copy_and_a_restored_backup_are_indexed_anew(engine: Engine) {
    let store = open(engine).await;
    let ids = over_the_minutes(&store, 3).await;
    store.close().await;
    let source = &store.database;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup");
    let silent = &mut |_: Progress<'_>| {};
    wicara_store::backup(&source.url, &file, silent).await.unwrap();
    for other in [Engine::Sqlite, Engine::Postgres] {
        let (copied, restored) = (Database::new(other).await, Database::new(other).await);
        wicara_store::copy(&source.url, &copied.url, Unfinished::GoesOn, silent).await.unwrap();
        wicara_store::restore(&file, &restored.url, Unfinished::GoesOn, silent).await.unwrap();
        for database in [&copied, &restored] {
            let store = reopen(database).await;
            let walk = walk(Sort::Activity, Order::Ascending, 10);
            assert!(
                page(&store, &walk).await.2.indexed_from.is_some(),
                "nothing is said to be there that is not"
            );
            while store.activity_index_step().await.unwrap() != ActivityIndexed::All {}
            let (found, total, walked) = page(&store, &walk).await;
            assert_eq!((&found, total, walked.indexed_from), (&ids, 3, None));
            store.close().await;
        }
    }
}
