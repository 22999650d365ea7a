//! Opens the store for the server and for commands, with errors that name the setting.

use anyhow::{Context, Result};
use wicara_metrics::Metrics;
use wicara_platform::Random;
use wicara_store::{ServerLock, Store};

use crate::config;

/// Opens the store and migrates its schema. `source` is [`Config::source`](config::Config::source): where an error says that
/// the store is configured.
pub async fn open_store(
    settings: &config::Store,
    source: &str,
    random: &Random,
    metrics: &Metrics,
) -> Result<Store> {
    let opened = Store::open(&settings.url, settings.wait, random, metrics).await;
    opened.with_context(|| setting(source))
}

/// Reads the place and the schema version of the database, for people, and changes nothing.
pub async fn probe_store(url: &str, source: &str) -> Result<String> {
    Store::probe(url).await.with_context(|| setting(source))
}

/// Takes the lock that keeps a second server away from a SQLite file; on PostgreSQL nothing is locked.
pub fn lock_for_server(settings: &config::Store, source: &str) -> Result<ServerLock> {
    ServerLock::take(&settings.url).with_context(|| setting(source))
}

fn setting(source: &str) -> String {
    format!("store.url ({source} or WICARA_STORE__URL)")
}
