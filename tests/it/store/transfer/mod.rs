//! Copies between databases, backups and restores.

pub mod dump;
mod meanwhile;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use uuid::Uuid;
use wicara_metrics::Metrics;
use wicara_model::{Answer, Api, Bots, NewKey, NewMessage, NewUser, Role, Timestamp};
use wicara_platform::Random;
use wicara_store::{
    Append, Ask, Attempt, Claim, ColumnType, Error, IdempotencyKey, Progress, ServerLock, Store, Target,
    Unfinished::{GoesOn, StartOver},
    backup, copy, restore, stored_tables,
};

use super::totals::totals_are_exact;
use super::{TestStore, append, asks, create, execute, manual, new_conversation, open, reopen, stored};
use crate::support::{Database, Engine, PATIENCE, on_both_engines};
use dump::{columns, dump, ids, is_sqlite, rows};

on_both_engines!(
    every_table_and_column_is_known,
    all_is_carried_to_the_other_engine_and_back,
    a_backup_under_load_is_consistent_on_the_other_engine,
    an_interrupted_copy_is_in_no_use_and_goes_on,
    a_source_that_changed_between_is_noticed,
    an_interrupted_restore_goes_on,
    what_is_unfinished_is_started_over,
    what_is_finished_is_never_emptied,
    a_database_in_use_is_not_copied,
    no_server_starts_on_a_source_meanwhile,
    a_target_that_is_not_empty_is_left_alone,
    a_damaged_backup_touches_nothing,
    a_backup_of_an_earlier_schema_is_brought_up_to_date,
);

fn other(engine: Engine) -> Engine {
    match engine {
        Engine::Sqlite => Engine::Postgres,
        Engine::Postgres => Engine::Sqlite,
    }
}

fn silent(_: Progress<'_>) {}

async fn copied(from: &Database, engine: Engine) -> Database {
    let to = Database::new(engine).await;
    copy(&from.url, &to.url, GoesOn, &mut silent).await.unwrap();
    to
}

fn reason<T>(result: Result<T, Error>) -> String {
    match result.err().expect("it is refused") {
        Error::Setup(reason) => reason,
        other => panic!("{other:?}"),
    }
}

async fn try_open(url: &str) -> Result<Store, Error> {
    Store::open(url, Duration::ZERO, &Random::System, &Metrics::default()).await
}

fn user(email: &str) -> NewUser {
    NewUser {
        email: email.into(),
        name: "Ani \"x\" 😊".into(),
        password_hash: "hash".into(),
        role: Role::Agent,
        bots: Bots::Only(vec!["a".into(), "b,\"c".into()]),
    }
}

/// Something in every table, closed.
async fn filled(engine: Engine) -> Database {
    let store = open(engine).await;
    for email in ["ani@x", "gone@x", "b@x"] {
        let user = store.user_create(user(email), manual(1)).await.unwrap().person.id;
        store
            .session_create(user, [u8::try_from(email.len()).unwrap(); 32], manual(1), manual(9))
            .await
            .unwrap();
        let new = NewKey {
            name: email.into(),
            hash: [email.as_bytes()[0]; 32],
            role: Role::Viewer,
            bots: Bots::All,
            api: Api::Conversation,
        };
        store.key_create(new, manual(1)).await.unwrap();
    }
    // The last ids of people and keys are not given again.
    assert!(
        store.user_delete("b@x", Timestamp(9)).await.unwrap()
            && store.key_delete("b@x", Timestamp(9)).await.unwrap()
    );
    assert!(store.user_delete("gone@x", Timestamp(9)).await.unwrap());
    let key = |key: &str| IdempotencyKey { scope: "Scope é".into(), key: key.into() };
    for number in 0_u8..30 {
        let bot = ["guide", "Other", "ünder"][usize::from(number % 3)];
        let texts = vec!["Halo \"dunia\" \\ 😊\nbaris"; usize::from(number)];
        create(&store, bot, &texts).await;
        let attempt = Uuid::from_u128(u128::from(number) + 1);
        let claim = Claim {
            key: key(&format!("Key {number}")),
            body: [number; 32],
            lease: (number % 2 == 0).then_some(Duration::from_secs(60)),
            attempt: Some(attempt),
        };
        let question = Append {
            ask: asks(attempt),
            claim: Some(claim),
            ..append(Target::New(new_conversation("guide")), &["tanya"])
        };
        let asked = stored(store.append(question).await.unwrap());
        if number % 3 == 0 {
            let attempt = Attempt { question: asked.messages[0].id, id: attempt };
            let answer = NewMessage::answer(Answer::text("jawab"), attempt.question);
            let answer = Append {
                messages: vec![answer],
                ask: Ask::Answers { attempt },
                ..append(Target::Existing(asked.conversation_id), &[])
            };
            stored(store.append(answer).await.unwrap());
        }
    }
    // One whose messages are still to be deleted, and rows of more than a page, some of them long.
    let long = create(&store, "guide", &["x"; 2500]).await;
    store.conversation_delete(long.conversation.id).await.unwrap().unwrap();
    // Not the same words over and over: of those a damaged file may unpack to the same text.
    let long = |words: usize| (0..words).map(|word| format!("panjang {word} ")).collect::<String>();
    let texts: Vec<_> = (0..40).map(|number| long(1 + number * 400)).collect();
    create(&store, "guide", &texts.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let TestStore { store, database } = store;
    store.close().await;
    // What the store leaves empty in all of these rows.
    execute(
        &database,
        "UPDATE messages SET payload = '{}', failure = 'error', failed_at = 2, author_id = '1', author_kind = 'user', \
             author_name = 'Ani', first_token_ms = 3, answer_ms = 4, feedback = -1, feedback_text = 'f', feedback_at = 6 \
             WHERE id = 5; \
         INSERT INTO undos (what, id, conversation_id, bot_id, integration_type, until, content) \
             VALUES ('message', 9, 5, 'guide', 'website', 7, '{}'); \
         UPDATE conversations SET user_id = 'u', assignee_id = '1', assignee_kind = 'person', assignee_name = 'Ani', \
             handed_over_at = 5, handover_reason = 'visitor', unclaimed_since = 6 WHERE id = 5; \
         INSERT INTO seen_marks (reader, conversation_id, up_to) VALUES ('1', 5, 7), ('key-1', 5, 8); UPDATE keys SET bots = '[]' WHERE id = 1",
    )
    .await;
    leap(&database).await;
    database
}

/// Ids go on far beyond those that are stored, in every sequence that the schema has.
async fn leap(database: &Database) {
    if is_sqlite(database) {
        execute(
            database,
            "UPDATE sequences SET last = last + 1000; UPDATE sqlite_sequence SET seq = seq + 500",
        )
        .await;
        return;
    }
    for name in ids(database).await.keys() {
        execute(database, &format!("SELECT setval('{name}', nextval('{name}') + 700)")).await;
    }
}

async fn every_table_and_column_is_known(engine: Engine) {
    let store = open(engine).await;
    let mut found = columns(&store.database).await;
    for table in dump::OF_SERVERS {
        found.remove(table);
    }
    let kind = |kind| match (kind, engine) {
        (ColumnType::Int, Engine::Sqlite) => "integer",
        (ColumnType::Int, Engine::Postgres) => "bigint",
        (ColumnType::Text, _) => "text",
        (ColumnType::Uuid, Engine::Postgres) => "uuid",
        (ColumnType::Bytes, Engine::Postgres) => "bytea",
        (ColumnType::Uuid | ColumnType::Bytes, Engine::Sqlite) => "blob",
    };
    let known = stored_tables().into_iter().map(|table| {
        let columns = table.columns.into_iter().map(|(name, column)| (name, kind(column).to_owned()));
        (table.name, columns.collect::<BTreeSet<_>>())
    });
    let mut known: BTreeMap<_, _> = known.collect();
    if engine == Engine::Postgres {
        // PostgreSQL has sequences in place of the table, and counts in fewer bits.
        known.remove("sequences");
        let counts = known.get_mut("totals").unwrap();
        assert!(counts.remove(&("count".to_owned(), "bigint".to_owned())));
        counts.insert(("count".to_owned(), "integer".to_owned()));
    }
    assert_eq!(found, known, "crates/store/src/transfer/tables.rs and the migrations");
}

async fn all_is_carried_to_the_other_engine_and_back(engine: Engine) {
    let source = filled(engine).await;
    let expected = dump(&source).await;
    for (table, columns) in columns(&source).await {
        let rows: Vec<Vec<_>> = match expected.get(&table) {
            Some(rows) => rows.iter().map(|row| row.split(" | ").collect()).collect(),
            None => continue,
        };
        for (place, (column, _)) in columns.iter().enumerate() {
            let has_value = |row: &Vec<&str>| row.get(place).is_some_and(|value| *value != "-");
            assert!(rows.iter().any(has_value), "{table}.{column} is empty in all rows: fill it");
        }
    }
    let there = copied(&source, other(engine)).await;
    assert_eq!(dump(&there).await, expected);
    let back = copied(&there, engine).await;
    assert_eq!(dump(&back).await, expected);
    assert_eq!(ids(&back).await, ids(&source).await);
    let same = copied(&source, engine).await;
    assert_eq!((dump(&same).await, ids(&same).await), (expected, ids(&source).await));

    // Servers go on where the source was.
    let mut next = Vec::new();
    for database in [&source, &there, &back, &same] {
        let store = reopen(database).await;
        let created = create(&store, "guide", &["halo"]).await;
        let user = store.user_create(user("new@x"), manual(1)).await.unwrap().person.id;
        next.push((created.conversation.id, created.messages[0].id, user));
        assert!(store.question_interrupt(manual(5), |_| false).await.unwrap() > 0);
        store.conversation_delete_rest().await.unwrap();
        store.close().await;
        totals_are_exact(database).await;
    }
    assert!(next.iter().all(|given| *given == next[0]), "{next:?}");
}

/// Asks, answers, opens, changes and deletes until it is told to stop; counts what it did.
async fn load(store: Store, number: u128, done: Arc<AtomicUsize>, is_over: Arc<AtomicBool>) {
    let mut round = 0;
    while !is_over.load(Ordering::Relaxed) {
        round += 1;
        let id = Uuid::from_u128(number << 64 | round);
        let claim = Claim {
            key: IdempotencyKey { scope: "load".into(), key: id.to_string() },
            body: [1; 32],
            lease: Some(Duration::from_secs(60)),
            attempt: Some(id),
        };
        let question = Append {
            ask: asks(id),
            claim: Some(claim),
            ..append(Target::New(new_conversation("guide")), &["tanya"])
        };
        let asked = stored(store.append(question).await.unwrap());
        if round % 4 != 0 {
            let attempt = Attempt { question: asked.messages[0].id, id };
            let answer = Append {
                messages: vec![NewMessage::answer(Answer::text("jawab"), attempt.question)],
                ask: Ask::Answers { attempt },
                ..append(Target::Existing(asked.conversation_id), &[])
            };
            stored(store.append(answer).await.unwrap());
        }
        if round % 5 == 0 {
            store.conversation_delete(asked.conversation_id).await.unwrap().unwrap();
        }
        done.fetch_add(1, Ordering::Relaxed);
    }
}

struct File {
    _folder: TempDir,
    path: PathBuf,
}

fn file() -> File {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wicara.backup");
    File { _folder: folder, path }
}

async fn a_backup_under_load_is_consistent_on_the_other_engine(engine: Engine) {
    let store = open(engine).await;
    create(&store, "guide", &["x"; 3000]).await;
    let (done, is_over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let loads = (0..4).map(|number| {
        tokio::spawn(load(store.store.clone(), number, Arc::clone(&done), Arc::clone(&is_over)))
    });
    let loads: Vec<_> = loads.collect();
    let file = file();
    // Each page waits until more was stored after the one before.
    let (mut pages, begin) = (0, Instant::now());
    let mut wait = |_: Progress<'_>| {
        pages += 1;
        let before = done.load(Ordering::Relaxed);
        while done.load(Ordering::Relaxed) < before + 8 && begin.elapsed() < PATIENCE {
            std::thread::yield_now();
        }
    };
    wait(Progress { step: "", table: "", rows: 0 });
    let saved = backup(&store.database.url, &file.path, &mut wait).await.unwrap();
    is_over.store(true, Ordering::Relaxed);
    for load in loads {
        load.await.unwrap();
    }
    assert!(pages > 5, "it was read in pages");
    store.close().await;

    let restored = Database::new(other(engine)).await;
    assert_eq!(restore(&file.path, &restored.url, GoesOn, &mut silent).await.unwrap(), saved);
    let none = async |what: &str, sql: &str| assert_eq!(rows(&restored, sql).await, [["0"]], "{what}");
    none(
        "messages without a conversation",
        "SELECT count(*) FROM messages WHERE conversation_id NOT IN (SELECT id FROM conversations) \
             AND conversation_id NOT IN (SELECT conversation_id FROM deletions)",
    )
    .await;
    none(
        "conversations with other counts than messages",
        "SELECT count(*) FROM conversation_states WHERE message_count <> \
             (SELECT count(*) FROM messages WHERE conversation_id = conversation_states.id)",
    )
    .await;
    none(
        "asks without a question",
        "SELECT count(*) FROM asks WHERE message_id NOT IN (SELECT id FROM messages)",
    )
    .await;
    none(
        "questions that are neither open nor answered",
        "SELECT count(*) FROM messages AS question WHERE text = 'tanya' AND id NOT IN (SELECT message_id FROM asks) \
             AND id NOT IN (SELECT reply_to FROM messages WHERE reply_to IS NOT NULL) \
             AND conversation_id IN (SELECT id FROM conversations)",
    )
    .await;
    none(
        "keys that are done without an answer",
        "SELECT count(*) FROM idempotency WHERE done = 1 AND conversation_id IN (SELECT id FROM conversations) \
             AND message_id NOT IN (SELECT reply_to FROM messages WHERE reply_to IS NOT NULL)",
    )
    .await;
    totals_are_exact(&restored).await;
    // What is restored is what the file has.
    let again = self::file();
    assert_eq!(backup(&restored.url, &again.path, &mut silent).await.unwrap(), saved);
}

/// Lets the target refuse messages from this id on, as a full disk might.
async fn refuse_from(database: &Database, id: i64) {
    try_open(&database.url).await.unwrap().close().await;
    let sql = if is_sqlite(database) {
        format!(
            "CREATE TRIGGER stop BEFORE INSERT ON messages WHEN new.id >= {id} \
             BEGIN SELECT RAISE(ABORT, 'a fault of the test'); END"
        )
    } else {
        format!(
            "CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                 IF new.id >= {id} THEN RAISE EXCEPTION 'a fault of the test'; END IF; RETURN new; END $$; \
             CREATE TRIGGER stop BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION stop()"
        )
    };
    execute(database, &sql).await;
}

async fn accept(database: &Database) {
    let on = if is_sqlite(database) { "" } else { " ON messages" };
    execute(database, &format!("DROP TRIGGER stop{on}")).await;
}

async fn count(database: &Database, table: &str) -> i64 {
    rows(database, &format!("SELECT count(*) FROM {table}")).await[0][0].parse().unwrap()
}

async fn an_interrupted_copy_is_in_no_use_and_goes_on(engine: Engine) {
    let source = filled(other(engine)).await;
    let target = Database::new(engine).await;
    refuse_from(&target, 3014).await;
    let told = copy(&source.url, &target.url, GoesOn, &mut silent).await.unwrap_err().to_string();
    assert!(told.contains("a fault of the test"), "{told}");
    let half = count(&target, "messages").await;
    assert!(0 < half && half < count(&source, "messages").await, "{half}");

    let told = reason(try_open(&target.url).await);
    assert!(told.contains("unfinished copy") && told.contains("wicara copy"), "{told}");
    let told = reason(copy(&target.url, &Database::new(engine).await.url, GoesOn, &mut silent).await);
    assert!(told.contains("the source: this database is an unfinished copy"), "{told}");
    let file = file();
    let told = reason(backup(&target.url, &file.path, &mut silent).await);
    assert!(told.contains("unfinished copy") && !file.path.exists(), "{told}");
    let another = filled(engine).await;
    let told = reason(copy(&another.url, &target.url, GoesOn, &mut silent).await);
    assert!(told.contains("the target: it is an unfinished copy of something else"), "{told}");

    accept(&target).await;
    let mut first = None;
    let mut note = |progress: Progress<'_>| {
        first.get_or_insert((progress.step, progress.table.to_owned(), progress.rows));
    };
    copy(&source.url, &target.url, GoesOn, &mut note).await.unwrap();
    let (step, table, rows) = first.unwrap();
    assert!(
        (step, table.as_str()) == ("writing", "messages") && rows > half.unsigned_abs(),
        "{table} {rows}"
    );
    assert_eq!(dump(&target).await, dump(&source).await);
    try_open(&target.url).await.unwrap().close().await;
    let told = reason(copy(&source.url, &target.url, GoesOn, &mut silent).await);
    assert!(told.contains("the target: it is not empty"), "{told}");
}

async fn a_source_that_changed_between_is_noticed(engine: Engine) {
    let source = filled(engine).await;
    let target = Database::new(other(engine)).await;
    refuse_from(&target, 3014).await;
    copy(&source.url, &target.url, GoesOn, &mut silent).await.unwrap_err();
    accept(&target).await;
    execute(&source, "UPDATE users SET name = 'changed'").await;
    let told = reason(copy(&source.url, &target.url, GoesOn, &mut silent).await);
    assert!(told.contains("the table users") && told.contains("changed meanwhile"), "{told}");
    assert!(told.contains("--start-over"), "{told}");
    assert!(reason(try_open(&target.url).await).contains("--start-over"));
    assert!(reason(copy(&source.url, &target.url, GoesOn, &mut silent).await).contains("changed meanwhile"));
    copy(&source.url, &target.url, StartOver, &mut silent).await.unwrap();
    assert_eq!(dump(&target).await, dump(&source).await);
    try_open(&target.url).await.unwrap().close().await;
}

async fn an_interrupted_restore_goes_on(engine: Engine) {
    let source = filled(other(engine)).await;
    let file = file();
    let saved = backup(&source.url, &file.path, &mut silent).await.unwrap();
    let target = Database::new(engine).await;
    refuse_from(&target, 3014).await;
    let told = restore(&file.path, &target.url, GoesOn, &mut silent).await.unwrap_err().to_string();
    assert!(told.contains("a fault of the test"), "{told}");
    assert!(count(&target, "messages").await > 0);
    assert!(reason(try_open(&target.url).await).contains("wicara restore"));
    accept(&target).await;
    assert_eq!(restore(&file.path, &target.url, GoesOn, &mut silent).await.unwrap(), saved);
    assert_eq!(dump(&target).await, dump(&source).await);
    try_open(&target.url).await.unwrap().close().await;
}

async fn what_is_unfinished_is_started_over(engine: Engine) {
    let (source, another) = (filled(other(engine)).await, filled(engine).await);
    execute(&another, "UPDATE users SET name = 'changed'; DELETE FROM asks").await;
    let file = file();
    backup(&another.url, &file.path, &mut silent).await.unwrap();
    let target = Database::new(engine).await;
    refuse_from(&target, 3014).await;
    copy(&source.url, &target.url, StartOver, &mut silent).await.unwrap_err();
    accept(&target).await;
    let half = count(&target, "messages").await;
    assert!(half > 0);
    // A damaged file empties nothing.
    let damaged = self::file();
    std::fs::write(&damaged.path, b"no backup").unwrap();
    reason(restore(&damaged.path, &target.url, StartOver, &mut silent).await);
    assert_eq!(count(&target, "messages").await, half);

    let told = reason(restore(&file.path, &target.url, GoesOn, &mut silent).await);
    assert!(told.contains("unfinished copy of something else") && told.contains("--start-over"), "{told}");
    restore(&file.path, &target.url, StartOver, &mut silent).await.unwrap();
    assert_eq!((dump(&target).await, ids(&target).await), (dump(&another).await, ids(&another).await));
    try_open(&target.url).await.unwrap().close().await;
}

async fn what_is_finished_is_never_emptied(engine: Engine) {
    let (source, target) = (filled(other(engine)).await, filled(engine).await);
    let file = file();
    backup(&source.url, &file.path, &mut silent).await.unwrap();
    let before = (dump(&target).await, ids(&target).await);
    for told in [
        reason(copy(&source.url, &target.url, StartOver, &mut silent).await),
        reason(restore(&file.path, &target.url, StartOver, &mut silent).await),
    ] {
        assert!(told.contains("it is not empty"), "{told}");
    }
    assert_eq!((dump(&target).await, ids(&target).await), before);
}

async fn a_database_in_use_is_not_copied(engine: Engine) {
    let store = open(engine).await;
    let lock = ServerLock::take(&store.database.url).unwrap();
    store.node_renew().await.unwrap();
    let target = Database::new(other(engine)).await;
    let told = reason(copy(&store.database.url, &target.url, GoesOn, &mut silent).await);
    assert!(told.starts_with("the source: ") && told.contains("stop"), "{told}");
    let source = filled(other(engine)).await;
    let told = reason(copy(&source.url, &store.database.url, GoesOn, &mut silent).await);
    assert!(told.starts_with("the target: ") && told.contains("stop"), "{told}");
    drop(lock);
    store.close().await;
    copy(&store.database.url, &target.url, GoesOn, &mut silent).await.unwrap();
}

async fn no_server_starts_on_a_source_meanwhile(engine: Engine) {
    let source = filled(engine).await;
    let url = source.url.clone();
    let mut refused = 0;
    let mut try_to_start = |_: Progress<'_>| {
        let url = url.clone();
        // In a thread of its own: the copy has this one.
        let started = std::thread::spawn(move || {
            let lock = ServerLock::take(&url).map(|_| ());
            let runtime = tokio::runtime::Runtime::new().unwrap();
            lock.and_then(|()| runtime.block_on(try_open(&url)).map(|_| ()))
        });
        if !is_sqlite(&source) {
            let url = source.url.clone();
            let probe = move || tokio::runtime::Runtime::new().unwrap().block_on(Store::probe(&url));
            let told = std::thread::spawn(probe).join().unwrap().unwrap_err().to_string();
            assert!(told.contains("is using this database"), "{told}");
        }
        match started.join().unwrap() {
            Err(Error::Setup(_)) => refused += 1,
            other => panic!("{other:?}"),
        }
    };
    let target = Database::new(engine).await;
    copy(&source.url, &target.url, GoesOn, &mut try_to_start).await.unwrap();
    assert!(refused > 0);
    try_open(&source.url).await.unwrap().close().await;
}

async fn a_target_that_is_not_empty_is_left_alone(engine: Engine) {
    let (source, target) = (filled(engine).await, filled(engine).await);
    let file = file();
    backup(&source.url, &file.path, &mut silent).await.unwrap();
    let before = dump(&target).await;
    let told = reason(copy(&source.url, &target.url, GoesOn, &mut silent).await);
    assert!(told.contains("the target: it is not empty: there are rows in users"), "{told}");
    let told = reason(restore(&file.path, &target.url, GoesOn, &mut silent).await);
    assert!(told.contains("it is not empty: there are rows in users"), "{told}");
    assert_eq!(dump(&target).await, before);
    try_open(&target.url).await.unwrap().close().await;
    let told = reason(copy(&source.url, &source.url, GoesOn, &mut silent).await);
    assert!(told.contains("the same database"), "{told}");
    let told = reason(backup(&source.url, &file.path, &mut silent).await);
    assert!(told.contains("exists already"), "{told}");
}

async fn a_damaged_backup_touches_nothing(engine: Engine) {
    let source = filled(engine).await;
    let file = file();
    backup(&source.url, &file.path, &mut silent).await.unwrap();
    let whole = std::fs::read(&file.path).unwrap();
    let target = Database::new(engine).await;
    for place in [1, 20, whole.len() / 2, whole.len() - 8, whole.len() - 2] {
        // One bit may leave the content as it is: a repetition that is found at another place.
        let mut wrong = whole.clone();
        wrong[place..].iter_mut().take(16).for_each(|byte| *byte ^= 0x5a);
        for bytes in [&whole[..place], &wrong[..]] {
            std::fs::write(&file.path, bytes).unwrap();
            let told = reason(restore(&file.path, &target.url, GoesOn, &mut silent).await);
            let expected = ["is no backup of wicara", "is damaged", "ends too early"];
            assert!(expected.iter().any(|expected| told.contains(expected)), "{place}: {told}");
        }
    }
    std::fs::write(&file.path, &whole).unwrap();
    restore(&file.path, &target.url, GoesOn, &mut silent).await.unwrap();
}

async fn a_backup_of_an_earlier_schema_is_brought_up_to_date(engine: Engine) {
    let row = r#"[7,"ada@x","hash","admin",null,1]"#;
    let sum: String = Sha256::digest(row)[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    let columns = r#"[["id","int"],["email","text"],["password_hash","text"],["role","text"],["bots","text"],["created_at","int"]]"#;
    let lines = [
        r#"{"format":"wicara backup","version":1,"schema":1}"#,
        &format!(r#"{{"table":"users","key":1,"columns":{columns}}}"#),
        row,
        &format!(r#"{{"rows":1,"sum":"{sum}"}}"#),
        r#"{"end":"wicara backup","tables":1}"#,
    ];
    let file = file();
    let mut packed = GzEncoder::new(std::fs::File::create(&file.path).unwrap(), Compression::fast());
    lines.iter().for_each(|line| packed.write_all(format!("{line}\n").as_bytes()).unwrap());
    packed.finish().unwrap();
    let target = Database::new(engine).await;
    restore(&file.path, &target.url, GoesOn, &mut silent).await.unwrap();
    assert_eq!(rows(&target, "SELECT CAST(id AS text), name FROM users").await, [["7", "ada"]]);
    create(&reopen(&target).await, "guide", &["halo"]).await;
}
