//! Appends on PostgreSQL that wait together, so that each writer takes its share of them in one batch.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{join, join_all};
use tokio::task::unconstrained;
use wicara_metrics::Metrics;
use wicara_model::ConversationId;
use wicara_platform::Random;
use wicara_store::{Append, Error, Outcome, Store, Target};

use super::append;
use crate::support::database::connect;
use crate::support::recording::RoundTrip;
use crate::support::{Database, Engine, Fault, PATIENCE, PostgresProxy, is_append, until, within};

/// As many as crates/store/src/writer/postgres.rs has.
pub const WRITERS: usize = 1;
/// There never is such a conversation, nor those with the next lower ids.
const GONE: i64 = i64::MAX;

/// Each writer's share of a batch is called for at most twice before what is locked is tried by itself.
const LOCKED_CALLS: usize = 2 * WRITERS + 1;

/// A store behind a proxy.
pub struct ProxiedStore {
    pub store: Arc<Store>,
    pub proxy: PostgresProxy,
    pub database: Database,
}

impl ProxiedStore {
    pub async fn open() -> Self {
        let database = Database::new(Engine::Postgres).await;
        let proxy = PostgresProxy::before(&database).await;
        Self { store: open(&proxy.url).await, proxy, database }
    }
}

pub async fn open(url: &str) -> Arc<Store> {
    Arc::new(Store::open(url, Duration::ZERO, &Random::System, &Metrics::default()).await.unwrap())
}

/// Hands over appends at once, in their order.
pub async fn at_once(store: &Store, appends: Vec<Append>) -> Vec<Result<Outcome, Error>> {
    // Or tokio would have some of them wait for their next turn.
    let sent = unconstrained(join_all(appends.into_iter().map(|append| store.append(append))));
    within(PATIENCE, "appends have their outcomes", sent).await
}

/// The same while every writer is busy with a call that is held back: each of them calls once for all of its share.
pub async fn in_one_batch(
    store: &Arc<Store>,
    proxy: &PostgresProxy,
    appends: Vec<Append>,
) -> Vec<Result<Outcome, Error>> {
    let held = proxy.at(is_append, WRITERS, Fault::Held);
    // Their appends go to one writer after the other.
    let plugs = (0..i64::try_from(WRITERS).unwrap()).map(|number| {
        let (store, gone) = (Arc::clone(store), append(Target::Existing(ConversationId(GONE - number)), &[]));
        tokio::spawn(async move { store.append(gone).await })
    });
    let plugs: Vec<_> = plugs.collect();
    until(PATIENCE, "every writer is busy", async || held.sprung() == WRITERS).await;
    let mut sent = std::pin::pin!(at_once(store, appends));
    proxy.record();
    let handed_over = sent.as_mut().now_or_never();
    proxy.thaw();
    let outcomes = match handed_over {
        Some(outcomes) => outcomes,
        None => sent.await,
    };
    for plug in plugs {
        assert!(matches!(plug.await.unwrap(), Ok(Outcome::Gone)));
    }
    let is_halved = outcomes.iter().any(Result::is_err);
    assert!(is_halved || calls(proxy) <= 2 * WRITERS, "a call for each writer's share, after the held ones");
    outcomes
}

/// Calls that store appends, since the proxy records.
fn calls(proxy: &PostgresProxy) -> usize {
    let is_call = |trip: &RoundTrip| trip.statements.iter().any(|sql| sql.contains("wicara_append_"));
    proxy.round_trips().iter().filter(|trip| is_call(trip)).count()
}

/// The same while another session holds the conversation of the first of them, until all others have been passed by it.
pub async fn past_a_lock(
    store: &Arc<Store>,
    proxy: &PostgresProxy,
    database: &Database,
    appends: Vec<Append>,
) -> Vec<Result<Outcome, Error>> {
    let locked = appends.iter().find_map(|append| match append.target {
        Target::Existing(id) => Some(id.0),
        Target::New(_) => None,
    });
    let holder = connect(&database.url).await;
    let lock = format!("BEGIN; SELECT 1 FROM conversations WHERE id = {} FOR UPDATE", locked.unwrap_or(0));
    holder.batch_execute(&lock).await.unwrap();
    proxy.record();
    let all_stored = Cell::new(false);
    let sent = async {
        let outcomes = at_once(store, appends).await;
        all_stored.set(true);
        outcomes
    };
    let release = async {
        // It may be gone, or its append may be refused without it.
        let is_tried_again = async || all_stored.get() || calls(proxy) >= LOCKED_CALLS;
        until(PATIENCE, "what is locked is tried again", is_tried_again).await;
        holder.batch_execute("ROLLBACK").await.unwrap();
    };
    join(sent, release).await.0
}
