//! A key that is removed from outside, under load: after a second nothing passes, whatever keeps its server from knowing.

use std::time::{Duration, Instant};

use futures_util::future::join;
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;

use super::FROZEN;
use super::fleet::Fleet;
use super::history::History;
use super::key::{BELIEVED, KeyInUse};
use super::readers::head;
use crate::flow::process::Site;
use crate::store::create;
use crate::support::{Engine, Fault, PATIENCE, PostgresProxy, found, until, within};

/// Two servers, of which the second reaches the database by a proxy.
async fn proxied() -> (Fleet, PostgresProxy) {
    let site = Site::new(Engine::Postgres).await;
    let proxy = PostgresProxy::before(&site.database).await;
    let urls = [site.database.url.clone(), proxy.url.clone()];
    (Fleet::reached_by(site, &urls).await, proxy)
}

async fn load(fleet: &Fleet, servers: &[usize]) -> History {
    History::begin(fleet, &[(8, servers)], &[(1, servers)]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_key_is_refused_where_no_wake_up_comes() {
    let site = Site::new(Engine::Postgres).await;
    let proxy = PostgresProxy::before(&site.database).await;
    let lost = proxy.at(|statement| statement.sql.contains("LISTEN"), usize::MAX, Fault::CutBefore);
    let urls = [site.database.url.clone(), proxy.url.clone()];
    let fleet = Fleet::reached_by(site, &urls).await;
    // The second server commits nothing, and so is told of nothing at all.
    let load = load(&fleet, &[0]).await;
    let mut key = KeyInUse::at(&fleet, 1).await;
    key.follow().await;
    load.write(100).await;
    let removed = KeyInUse::remove(&fleet);
    key.assert_gone(removed, None).await;
    load.end(&fleet).await;
    assert!(lost.sprung() > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_key_is_refused_while_the_database_is_cut_off() {
    let (fleet, proxy) = proxied().await;
    let load = load(&fleet, &[0, 1]).await;
    let mut key = KeyInUse::at(&fleet, 1).await;
    key.follow().await;
    load.write(100).await;
    proxy.refuse();
    proxy.cut();
    let removed = KeyInUse::remove(&fleet);
    key.nothing_passes_after(removed, 8).await;
    let silent_since = Instant::now();
    proxy.accept();
    key.assert_gone(removed, Some(silent_since)).await;
    load.end(&fleet).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_key_is_refused_while_the_database_says_nothing() {
    let (fleet, proxy) = proxied().await;
    let load = load(&fleet, &[0, 1]).await;
    let mut key = KeyInUse::at(&fleet, 1).await;
    key.follow().await;
    load.write(100).await;
    proxy.freeze();
    let removed = KeyInUse::remove(&fleet);
    tokio::time::sleep(BELIEVED).await;
    key.knock(4);
    key.nothing_passes_after(removed, 4).await;
    let silent_since = Instant::now();
    proxy.thaw();
    key.assert_gone(removed, Some(silent_since)).await;
    load.end(&fleet).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_key_is_refused_by_a_server_that_was_frozen_meanwhile() {
    let fleet = Fleet::start(Engine::Postgres, 2).await;
    let load = load(&fleet, &[0, 1]).await;
    let mut key = KeyInUse::at(&fleet, 1).await;
    key.follow().await;
    load.write(100).await;
    fleet.server(1).freeze();
    // More than a server reads at once.
    load.write(200).await;
    let removed = KeyInUse::remove(&fleet);
    tokio::time::sleep(BELIEVED + Duration::from_millis(1)).await;
    // They wait at the frozen server.
    key.knock(8);
    load.write(50).await;
    tokio::time::sleep(FROZEN - BELIEVED).await;
    let silent_since = Instant::now();
    fleet.server(1).thaw();
    key.knock(8);
    key.assert_gone(removed, Some(silent_since)).await;
    load.end(&fleet).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_a_command_removes_on_sqlite_is_refused() {
    let fleet = Fleet::start(Engine::Sqlite, 1).await;
    let load = load(&fleet, &[0]).await;
    let mut key = KeyInUse::at(&fleet, 0).await;
    key.follow().await;
    load.write(100).await;
    let removed = KeyInUse::remove(&fleet);
    key.assert_gone(removed, None).await;
    load.end(&fleet).await;
}

/// More changes than a server reads back when its first reader comes.
async fn change_much(fleet: &Fleet) {
    for _ in 0..30 {
        create(&fleet.site.store, "echo", &["x"; 100]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_key_is_refused_where_readers_come_to_a_server_that_missed_much() {
    let (fleet, proxy) = proxied().await;
    let key = KeyInUse::at(&fleet, 1).await;
    proxy.refuse();
    proxy.cut();
    let removed = KeyInUse::remove(&fleet);
    change_much(&fleet).await;
    key.nothing_passes_after(removed, 8).await;
    let mut readers = JoinSet::new();
    for _ in 0..4 {
        let reader = fleet.program_at(1).with("accept", "application/json");
        readers.spawn(async move {
            loop {
                reader.get("/api/events").await;
            }
        });
    }
    proxy.accept();
    key.assert_gone(removed, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_key_reads_no_further_in_what_was_long_ago() {
    const MESSAGES: usize = 400;
    let fleet = Fleet::start(Engine::Postgres, 2).await;
    let position = head(&fleet.program).await;
    let text = "x".repeat(60_000);
    for _ in 0..MESSAGES {
        create(&fleet.site.store, "echo", &[&text]).await;
    }
    change_much(&fleet).await;
    let key = KeyInUse::at(&fleet, 1).await;
    let path = format!("/api/events?after={position}&kinds=message.created");
    let mut slow = key.unread(&path).await;
    // It has begun, and is far from its end.
    slow.read_exact(&mut vec![0; 2 * text.len()]).await.unwrap();
    let removed = KeyInUse::remove(&fleet);
    key.assert_gone(removed, None).await;
    let mut read = Vec::new();
    within(PATIENCE, "the stream ends", slow.read_to_end(&mut read)).await.unwrap();
    let count = String::from_utf8_lossy(&read).matches("event: message.created\n").count();
    assert!(count < MESSAGES, "{count}");
}

/// Its request was let in, and the server reads of the removal before the stream is there to be told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_key_ends_a_stream_that_was_being_opened() {
    let (fleet, proxy) = proxied().await;
    let load = load(&fleet, &[0]).await;
    // The first stream of a server gets a heartbeat at once, at which rights are looked at.
    let _first = fleet.program_at(1).follow("/api/events").await;
    let (key, removed) = found(PATIENCE, "the request comes before the removal", async || {
        let mut key = KeyInUse::at(&fleet, 1).await;
        // The stream waits for a look at the feed.
        let look = proxy.at(|statement| statement.sql.contains("event_batches"), 1, Fault::Held);
        until(PATIENCE, "the server looks", async || look.sprung() == 1).await;
        let (opened, removed) = join(key.try_follow(), async {
            let removed = KeyInUse::remove_at_once(&fleet).await;
            proxy.thaw();
            removed
        })
        .await;
        opened.map(|()| (key, removed))
    })
    .await;
    key.assert_gone(removed, None).await;
    load.end(&fleet).await;
}
