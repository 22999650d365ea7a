//! Searches where there is more than they look at, while what was stored before is still being indexed, and while long
//! conversations move.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use wicara_model::{
    ActivityFilter, Bots, ConversationFilter, ConversationPatch, Cursor, Listing, MessagePatch,
    MessageWalkFilter, Order, Sort, Timestamp, Walked,
};
use wicara_search::Query;
use wicara_store::{
    Append, ConversationSearch, ConversationWalk, Embed, MessageSearch, MessageWalk, Progress, SearchIndexed,
    Store, Target, Unfinished,
};

use super::{append, execute, handled, manual, new_conversation, open, operator, reopen, stored};
use crate::support::{Database, Engine, on_both_engines};

on_both_engines!(
    what_was_stored_before_becomes_searchable_in_steps,
    a_copy_and_a_restored_backup_become_searchable_anew,
    a_long_conversation_that_moves_is_found_by_its_new_bot_alone,
    totals_of_searches_stop_and_walks_go_on,
    words_that_never_come_together_are_passed_in_pages,
);

fn walk(limit: i64) -> ConversationWalk {
    ConversationWalk {
        filter: ConversationFilter::default(),
        activity: ActivityFilter::default(),
        reader: None,
        sort: Sort::Created,
        listing: Listing { cursor: Cursor::Page(1), limit, order: Order::Descending },
        after: None,
    }
}

async fn page(store: &Store, query: &str, walk: &ConversationWalk) -> (Vec<i64>, i64, Walked) {
    let query = Query::parse(query).unwrap();
    let search = ConversationSearch { query, is_by_relevance: false, notes: true, walk: walk.clone() };
    let list = store.conversation_search(&Bots::All, &search, Embed::Last).await.unwrap().list;
    (list.items.iter().map(|listed| listed.conversation.id.0).collect(), list.total, list.walked.unwrap())
}

/// How many messages of these bots a query finds, and how many pages that takes.
async fn messages(store: &Store, query: &str, bots: &Bots) -> (usize, usize) {
    let walk = MessageWalk {
        conversation_id: None,
        filter: MessageWalkFilter::default(),
        listing: Listing { cursor: Cursor::Page(1), limit: 100, order: Order::Descending },
        after: None,
    };
    let mut search = MessageSearch { query: Query::parse(query).unwrap(), is_by_relevance: false, walk };
    let (mut found, mut pages) = (BTreeSet::new(), 0);
    loop {
        let list = store.message_search(bots, &search).await.unwrap();
        found.extend(list.items.iter().map(|message| message.id));
        pages += 1;
        match list.walked.unwrap().next {
            Some(next) => search.walk.after = Some(next),
            None => return (found.len(), pages),
        }
    }
}

/// As a migration leaves it.
const NOTHING_INDEXED: &str = "DELETE FROM search_documents; UPDATE search_index SET \
     messages_below = (SELECT max(id) + 1 FROM messages), \
     conversations_below = (SELECT max(id) + 1 FROM conversations)";

async fn index_all(store: &Store) -> usize {
    let mut steps = 0;
    while store.search_index_step().await.unwrap() != SearchIndexed::All {
        steps += 1;
        assert!(steps < 100, "it comes to an end");
    }
    steps
}

async fn what_was_stored_before_becomes_searchable_in_steps(engine: Engine) {
    let store = open(engine).await;
    let opened = join_all((0..450).map(|number| {
        let opened = append(Target::New(new_conversation("guide")), &["kartu hilang"]);
        store.append(Append { at: Timestamp(number * 1000), ..opened })
    }));
    let mut opened: Vec<_> = opened.await.into_iter().map(|outcome| stored(outcome.unwrap())).collect();
    opened.sort_by_key(|opened| opened.conversation_id);
    execute(&store.database, NOTHING_INDEXED).await;
    store.close().await;
    let database = &store.database;
    let mut store = reopen(database).await;
    let (found, total, walked) = page(&store, "kartu", &walk(100)).await;
    assert_eq!((found.len(), total), (0, 0));
    assert!(walked.indexed_from.is_some());

    let SearchIndexed::From(below) = store.search_index_step().await.unwrap() else {
        panic!("there is more")
    };
    let (_, total, walked) = page(&store, "kartu", &walk(100)).await;
    assert_eq!((total, walked.is_exact), (200, true));
    let oldest = opened.iter().find(|opened| opened.messages[0].id == below).unwrap();
    assert_eq!(walked.indexed_from, Some(oldest.messages[0].created_at));

    // What is not indexed yet changes, goes and moves meanwhile.
    let [changed, deleted, gone, moved] = [0, 1, 2, 3].map(|place| &opened[place]);
    let patch = MessagePatch { text: Some("paspor".into()), ..MessagePatch::default() };
    let id = changed.messages[0].id;
    store.message_update(changed.conversation_id, id, patch, manual(1)).await.unwrap().unwrap();
    let id = deleted.messages[0].id;
    store.message_delete(deleted.conversation_id, id, manual(1)).await.unwrap().unwrap();
    store.conversation_delete(gone.conversation_id).await.unwrap().unwrap();
    let patch = ConversationPatch { bot_id: Some("other".into()), ..ConversationPatch::default() };
    handled(store.conversation_update(moved.conversation_id, patch, operator(), manual(1)).await.unwrap());
    let (found, ..) = page(&store, "paspor", &walk(100)).await;
    assert_eq!(found, [changed.conversation_id.0]);

    // A server that stops leaves the rest to the next one.
    store.close().await;
    store = reopen(database).await;
    assert!(index_all(&store).await > 1);
    let (_, total, walked) = page(&store, "kartu", &walk(100)).await;
    assert_eq!((total, walked.is_exact, walked.indexed_from), (447, true, None));
    assert_eq!(messages(&store, "kartu", &Bots::Only(vec!["other".into()])).await.0, 1);
    assert_eq!(messages(&store, "hilang", &Bots::Only(vec!["guide".into()])).await.0, 446);
    // Rooms too: each is named after its id.
    let (found, ..) = page(&store, &format!("website-{}", changed.conversation_id), &walk(100)).await;
    assert_eq!(found, [changed.conversation_id.0]);
}

async fn a_copy_and_a_restored_backup_become_searchable_anew(engine: Engine) {
    let store = open(engine).await;
    let created = super::create(&store, "guide", &["kartu", "hilang"]).await;
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
            let (_, _, walked) = page(&store, "kartu", &walk(10)).await;
            assert!(walked.indexed_from.is_some(), "nothing is said to be there that is not");
            index_all(&store).await;
            for query in ["kartu", "website"] {
                let (found, total, walked) = page(&store, query, &walk(10)).await;
                assert_eq!((found, total), (vec![created.conversation.id.0], 1), "{query}");
                assert_eq!(walked.indexed_from, None);
            }
            store.close().await;
        }
    }
}

async fn a_long_conversation_that_moves_is_found_by_its_new_bot_alone(engine: Engine) {
    let store = open(engine).await;
    let long = super::create(&store, "guide", &["kartu"; 450]).await.conversation.id;
    super::create(&store, "guide", &["kartu"]).await;
    let [before, after] = ["guide", "other"].map(|bot| Bots::Only(vec![bot.to_owned()]));
    assert_eq!(messages(&store, "kartu", &before).await.0, 451);
    let patch = ConversationPatch { bot_id: Some("other".into()), ..ConversationPatch::default() };
    handled(store.conversation_update(long, patch, operator(), manual(1)).await.unwrap());
    assert_eq!(messages(&store, "kartu", &before).await.0, 1, "nothing of it is counted any more");
    let first = messages(&store, "kartu", &after).await.0;
    assert!((1..450).contains(&first), "{first} are found at once");
    assert_eq!(messages(&store, "kartu", &Bots::All).await.0, 451);

    // Half of it is moved again, then it is deleted.
    assert!(store.search_move_step().await.unwrap());
    while store.search_move_step().await.unwrap() {}
    assert_eq!(messages(&store, "kartu", &after).await.0, 450);
    let patch = ConversationPatch { bot_id: Some("guide".into()), ..ConversationPatch::default() };
    handled(store.conversation_update(long, patch, operator(), manual(2)).await.unwrap());
    store.conversation_delete(long).await.unwrap().unwrap();
    assert!(!store.search_move_step().await.unwrap());
    store.search_merge().await.unwrap();
    assert_eq!(messages(&store, "kartu", &Bots::All).await.0, 1);
}

/// Conversations from 2 on, each with a message of the same id, with the words that follow each other.
async fn fill(store: &super::TestStore, engine: Engine, count: usize, words: [&str; 2]) {
    let [first, second] = words;
    let document = match engine {
        Engine::Postgres => format!(
            "INSERT INTO search_documents (id, conversation_id, terms, place) \
             SELECT id, id, CAST('{first}:1 x:2 {second}:3' AS tsvector), wicara_place_1(id, 'guide', 0) FROM messages WHERE id > 1"
        ),
        Engine::Sqlite => format!(
            "INSERT INTO search_documents (rowid, conversation_id, terms, scope) \
             SELECT id, id, '{first} x {second}', 'b6775696465' FROM messages WHERE id > 1"
        ),
    };
    let (numbers, session) = match engine {
        Engine::Postgres => (format!("generate_series(2, {count}) AS numbers (n)"), "gen_random_uuid()"),
        Engine::Sqlite => (
            format!(
                "(WITH RECURSIVE numbers (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count}) \
                 SELECT n FROM numbers) AS numbers"
            ),
            "randomblob(16)",
        ),
    };
    execute(
        &store.database,
        &format!(
            "INSERT INTO conversations (id, session_id, by_visitor, room, integration_type, bot_id, handler, next_seq, \
                 message_count, note_count, message_bytes, created_at, updated_at) \
             SELECT n, {session}, 1, 'r', 'website', 'guide', 'bot', 2, 1, 0, 9, n, n FROM {numbers}; \
             INSERT INTO messages (id, conversation_id, seq, role, kind, text, bytes, message_count, note_count, \
                 message_bytes, created_at, updated_at) \
             SELECT n, n, 1, 'client', 'text', '{first} x {second}', 9, 1, 0, 9, n, n FROM {numbers}; {document}"
        ),
    )
    .await;
}

async fn totals_of_searches_stop_and_walks_go_on(engine: Engine) {
    let store = open(engine).await;
    super::create(&store, "guide", &["kartu"]).await;
    fill(&store, engine, 10_205, ["kartu", "hilang"]).await;
    say_in_5(&store, engine).await;
    let mut walk = walk(100);
    let (first, ..) = page(&store, "kartu", &walk).await;
    assert_eq!(first[..2], [5, 10_205]);
    for (number, length) in [(101, 0), (i64::MAX, 0), (100, 100)] {
        walk.listing.cursor = Cursor::Page(number);
        let (part, total, walked) = page(&store, "kartu", &walk).await;
        assert_eq!((part.len(), total, walked.is_exact), (length, 10_000, false), "page {number}");
        walk.after = walked.next;
    }
    // The pages that have no number.
    let mut found = Vec::new();
    while walk.after.is_some() {
        let (part, total, walked) = page(&store, "kartu", &walk).await;
        assert_eq!((total, walked.is_exact), (10_000, false));
        found.extend(part);
        walk.after = walked.next;
    }
    let expected: Vec<_> = (1..=206).rev().filter(|id| *id != 5).collect();
    assert_eq!(found, expected, "a conversation that an earlier page had does not come again");
}

/// In the conversation 5 of [`fill`]: the newest message with the first word, and more after it than are looked at again.
async fn say_in_5(store: &super::TestStore, engine: Engine) {
    let document = match engine {
        Engine::Postgres => {
            "(id, conversation_id, terms, place) VALUES (10206, 5, 'kartu:1', wicara_place_1(10206, 'guide', 0))"
        }
        Engine::Sqlite => "(rowid, conversation_id, terms, scope) VALUES (10206, 5, 'kartu', 'b6775696465')",
    };
    let mut said = format!("INSERT INTO search_documents {document};");
    for number in 1..=60 {
        let (id, seq, text) = (10_205 + number, 1 + number, if number == 1 { "kartu" } else { "lain" });
        said += &format!(
            "INSERT INTO messages (id, conversation_id, seq, role, kind, text, bytes, message_count, note_count, \
                 message_bytes, created_at, updated_at) \
             VALUES ({id}, 5, {seq}, 'client', 'text', '{text}', 5, {seq}, 0, {}, {id}, {id});",
            9 + 5 * number
        );
    }
    execute(&store.database, &said).await;
}

async fn words_that_never_come_together_are_passed_in_pages(engine: Engine) {
    let store = open(engine).await;
    let first = super::create(&store, "guide", &["kartu hilang"]).await;
    fill(&store, engine, 25_000, ["kartu", "hilang"]).await;
    let (found, pages) = messages(&store, "\"kartu hilang\"", &Bots::All).await;
    assert_eq!(found, 1);
    // SQLite's index has the positions in it.
    assert_eq!(pages > 1, engine == Engine::Postgres, "{pages} pages");
    let mut walk = walk(10);
    let mut found = Vec::new();
    loop {
        let (part, total, walked) = page(&store, "\"kartu hilang\"", &walk).await;
        assert!(walked.next.is_none() || !walked.is_exact, "{total}");
        found.extend(part);
        match walked.next {
            None => break,
            next => walk.after = next,
        }
    }
    assert_eq!(found, [first.conversation.id.0]);
}
