//! An empty database for one test.

use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// An empty database; a SQLite file goes with it, a PostgreSQL database with its throwaway cluster.
pub struct Database {
    pub url: String,
    _folder: Option<TempDir>,
}

impl Database {
    pub async fn new(engine: Engine) -> Self {
        match engine {
            Engine::Sqlite => {
                let folder = tempfile::tempdir().unwrap();
                let url = format!("sqlite:{}", folder.path().join("data/wicara.db").display());
                Self { url, _folder: Some(folder) }
            }
            Engine::Postgres => Self { url: postgres_database().await, _folder: None },
        }
    }

    /// A database whose server the test keeps itself.
    pub fn at(url: String) -> Self {
        Self { url, _folder: None }
    }
}

async fn postgres_database() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let server = std::env::var("WICARA_TEST_POSTGRES")
        .expect("these tests need PostgreSQL: run them with `cargo xtask test`, which starts one");
    let name = format!("test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let (client, driver) = tokio_postgres::connect(&server, tokio_postgres::NoTls).await.unwrap();
    let driver = tokio::spawn(driver);
    client.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
    drop(client);
    driver.await.unwrap().unwrap();
    let (server, _) = server.rsplit_once('/').expect("the URL ends in a database");
    format!("{server}/{name}")
}
