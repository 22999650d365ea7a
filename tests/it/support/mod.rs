//! What tests stand on: databases of their own on both engines.

pub mod app;
pub mod bot;
pub mod browser;
pub mod client;
pub mod database;
pub mod dice;
pub mod events;
pub mod feed;
pub mod hostile;
pub mod model;
pub mod patience;
pub mod postgres_proxy;
pub mod process;
pub mod recording;
pub mod redacted;
pub mod routed;

pub use app::{TestApp, manual_clock};
pub use bot::Bot;
pub use browser::{Browser, Call};
pub use client::{Answer, Client};
pub use database::{Database, Engine};
pub use dice::Dice;
pub use events::Events;
pub use feed::Feed;
pub use hostile::Hostile;
pub use model::Model;
pub use patience::{PATIENCE, found, side_by_side, until, within};
pub use postgres_proxy::{Fault, Passing, PostgresProxy, is_append, is_commit};
pub use routed::Routed;

/// Makes a test for each engine from functions that take the engine.
macro_rules! on_both_engines {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::support::Engine::Sqlite).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::support::Engine::Postgres).await;
            })*
        }
    };
}
pub(crate) use on_both_engines;
