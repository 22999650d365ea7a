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

/// A connection to a PostgreSQL database, for what no store does.
pub async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, driver) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(driver);
    client
}

/// From now on, whatever is written to any of the tables fails with this SQLSTATE; on PostgreSQL.
pub async fn refuse_writes(url: &str, sqlstate: &str) {
    const REFUSE: &str = "
        CREATE TABLE IF NOT EXISTS refused (sqlstate text);
        CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE code text := (SELECT sqlstate FROM refused LIMIT 1);
        BEGIN
            IF code IS NOT NULL THEN
                RAISE EXCEPTION 'a fault of the test' USING ERRCODE = code;
            END IF;
            RETURN NULL;
        END $$";
    const TABLES: &str = "SELECT tablename::text FROM pg_tables \
         WHERE schemaname = 'public' AND tablename NOT IN ('refused', 'refinery_schema_history')";
    let client = connect(url).await;
    client.batch_execute(REFUSE).await.unwrap();
    // One by one, so that nobody meets these locks crosswise.
    for table in client.query(TABLES, &[]).await.unwrap() {
        let table: &str = table.get(0);
        let trigger = format!(
            "CREATE OR REPLACE TRIGGER refuse BEFORE INSERT OR UPDATE OR DELETE ON {table} \
             EXECUTE FUNCTION refuse()"
        );
        client.batch_execute(&trigger).await.unwrap();
    }
    client.execute("INSERT INTO refused VALUES ($1)", &[&sqlstate]).await.unwrap();
}

/// Ends what [`refuse_writes`] began.
pub async fn accept_writes(url: &str) {
    connect(url).await.batch_execute("DELETE FROM refused").await.unwrap();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn writes_are_refused_and_accepted() {
        let database = Database::new(Engine::Postgres).await;
        let client = connect(&database.url).await;
        client.batch_execute("CREATE TABLE t (number integer); INSERT INTO t VALUES (1)").await.unwrap();
        for code in ["25006", "XX000"] {
            refuse_writes(&database.url, code).await;
            for write in ["INSERT INTO t VALUES (2)", "UPDATE t SET number = 2", "DELETE FROM t"] {
                let refused = client.batch_execute(write).await.unwrap_err();
                assert_eq!(refused.code().unwrap().code(), code, "{write}");
            }
            accept_writes(&database.url).await;
            let updated = client.execute("UPDATE t SET number = number + 1", &[]).await.unwrap();
            assert_eq!(updated, 1);
        }
    }
}
