//! What happens in databases while they are copied or backed up.

use std::time::Duration;

use wicara_store::Unfinished::GoesOn;
use wicara_store::{Progress, backup, copy};

use super::dump::dump;
use super::{execute, file, filled, other, reason, silent, try_open};
use crate::support::database::connect;
use crate::support::{Database, Engine, on_both_engines};

on_both_engines!(nothing_is_written_to_a_source_while_it_is_compared);

/// Tries to change the source from another session, in a thread of its own: the copy has this one.
fn write_to(url: &str) -> Result<(), String> {
    const CHANGE: &str = "UPDATE users SET name = 'late'";
    let url = url.to_owned();
    let write = move || match url.strip_prefix("sqlite:") {
        Some(path) => {
            let connection = rusqlite::Connection::open(path).unwrap();
            connection.busy_timeout(Duration::from_millis(50)).unwrap();
            connection.execute_batch(CHANGE).map_err(|error| error.to_string())
        }
        None => tokio::runtime::Runtime::new().unwrap().block_on(async {
            let client = connect(&url).await;
            client.batch_execute("SET lock_timeout = 50").await.unwrap();
            client.batch_execute(CHANGE).await.map_err(|error| format!("{error:?}"))
        }),
    };
    std::thread::spawn(write).join().unwrap()
}

async fn nothing_is_written_to_a_source_while_it_is_compared(engine: Engine) {
    let source = filled(engine).await;
    let target = Database::new(other(engine)).await;
    let mut refused = 0;
    let mut write = |progress: Progress<'_>| {
        if progress.step == "comparing" {
            let told = write_to(&source.url).unwrap_err();
            assert!(told.contains("lock"), "{told}");
            refused += 1;
        }
    };
    copy(&source.url, &target.url, GoesOn, &mut write).await.unwrap();
    assert!(refused > 0);
    assert_eq!(dump(&target).await, dump(&source).await);
    write_to(&source.url).unwrap();

    // Before the comparison it is noticed.
    let target = Database::new(other(engine)).await;
    let mut write = |progress: Progress<'_>| {
        if (progress.step, progress.table) == ("writing", "totals") {
            write_to(&source.url).unwrap();
        }
    };
    execute(&source, "UPDATE users SET name = 'early'").await;
    let told = reason(copy(&source.url, &target.url, GoesOn, &mut write).await);
    assert!(told.contains("changed meanwhile"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_revives_while_both_are_compared_is_noticed() {
    let source = filled(Engine::Postgres).await;
    let target = Database::new(Engine::Sqlite).await;
    let url = source.url.clone();
    let mut revive = |progress: Progress<'_>| {
        if (progress.step, progress.table) == ("comparing", "messages") {
            let url = url.clone();
            let renew = "INSERT INTO nodes VALUES (7, (extract(epoch FROM clock_timestamp()) * 1000)::bigint) \
                         ON CONFLICT (node) DO UPDATE SET renewed_at = excluded.renewed_at";
            let renew = async move { connect(&url).await.batch_execute(renew).await.unwrap() };
            std::thread::spawn(|| tokio::runtime::Runtime::new().unwrap().block_on(renew)).join().unwrap();
        }
    };
    let told = reason(copy(&source.url, &target.url, GoesOn, &mut revive).await);
    assert!(told.contains("the source: a server or a command uses this database"), "{told}");
    assert!(reason(try_open(&target.url).await).contains("unfinished copy"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_whose_statistics_fail_goes_on() {
    let source = filled(Engine::Sqlite).await;
    let target = Database::new(Engine::Postgres).await;
    try_open(&target.url).await.unwrap().close().await;
    // An index over an expression is computed for the statistics too.
    let fault = "CREATE FUNCTION no_statistics(bigint) RETURNS bigint IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN \
                     IF current_query() LIKE 'ANALYZE%' THEN RAISE EXCEPTION 'a fault of the test'; END IF; RETURN $1; \
                 END $$; CREATE INDEX no_statistics ON totals (no_statistics(bucket))";
    execute(&target, fault).await;
    let told = copy(&source.url, &target.url, GoesOn, &mut silent).await.unwrap_err().to_string();
    assert!(told.contains("a fault of the test"), "{told}");
    execute(&target, "DROP INDEX no_statistics").await;
    copy(&source.url, &target.url, GoesOn, &mut silent).await.unwrap();
    assert_eq!(dump(&target).await, dump(&source).await);
    try_open(&target.url).await.unwrap().close().await;
}

#[tokio::test]
async fn a_backup_that_is_dropped_leaves_no_file() {
    let source = filled(Engine::Sqlite).await;
    let file = file();
    let (stop, mut stopped) = tokio::sync::mpsc::unbounded_channel();
    let mut note = |_: Progress<'_>| stop.send(()).unwrap();
    tokio::select! {
        biased;
        _ = stopped.recv() => {}
        saved = backup(&source.url, &file.path, &mut note) => panic!("{saved:?}"),
    }
    assert_eq!(std::fs::read_dir(file.path.parent().unwrap()).unwrap().count(), 0);
}
