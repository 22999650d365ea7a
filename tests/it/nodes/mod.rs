//! The feed of several server processes, of which some are killed or freeze, as readers see it that come back again and
//! again: every change once, in one order.

mod fleet;
mod history;
mod key;
mod key_removed;
mod readers;
mod writers;

use std::time::Duration;

use crate::support::Engine;
use fleet::Fleet;
use history::History;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_of_two_servers_see_every_change_once_in_one_order() {
    let fleet = Fleet::start(Engine::Postgres, 2).await;
    let history =
        History::begin(&fleet, &[(24, &[0]), (24, &[1])], &[(1, &[0]), (1, &[1]), (2, &[0, 1])]).await;
    for _ in 0..10 {
        history.write(1000).await;
    }
    history.end(&fleet).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_beside_a_server_that_is_killed_see_every_change_once_in_one_order() {
    killed_again_and_again(Fleet::start(Engine::Postgres, 2).await, 10, &[0, 1]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_of_the_only_server_see_every_change_once_in_one_order_though_it_is_killed() {
    killed_again_and_again(Fleet::start(Engine::Sqlite, 1).await, 5, &[0]).await;
}

async fn killed_again_and_again(mut fleet: Fleet, times: usize, servers: &[usize]) {
    let history = History::begin(&fleet, &[(24, servers)], &[(4, servers)]).await;
    for round in 0..times {
        // A little later each round, so that the kill falls on different moments of a batch.
        history.write(100 + 7 * round).await;
        fleet.kill_9(0);
        if servers.len() > 1 {
            history.write(50).await;
        }
        fleet.start_again(0);
    }
    history.write(100).await;
    history.end(&fleet).await;
}

/// How long a server is frozen: longer than anybody waits for a commit or a heartbeat.
const FROZEN: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_beside_a_server_that_freezes_go_on_and_it_catches_up() {
    let fleet = Fleet::start(Engine::Postgres, 2).await;
    let history =
        History::begin(&fleet, &[(8, &[0]), (8, &[1])], &[(1, &[0]), (1, &[1]), (2, &[0, 1])]).await;
    history.write(300).await;
    fleet.server(0).freeze();
    history.write(100).await;
    tokio::time::sleep(FROZEN).await;
    history.write(100).await;
    fleet.server(0).thaw();
    history.write(300).await;
    history.end(&fleet).await;
}
